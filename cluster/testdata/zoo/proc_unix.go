//go:build unix && !linux

package main

import "errors"

func mountProc() error { return errors.ErrUnsupported }
