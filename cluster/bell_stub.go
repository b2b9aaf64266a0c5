//go:build unix && !linux

package cluster

import "errors"

// bell needs names that the kernel chooses.
type bell struct{ name uint32 }

func newBell() (*bell, error) { return nil, errors.ErrUnsupported }

func (*bell) wait() error { return errors.ErrUnsupported }
func (*bell) ring(uint32) {}
func (*bell) close()      {}
