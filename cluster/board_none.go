//go:build !unix

package cluster

import (
	"errors"
	"os"
)

func boardFile() (*os.File, error)            { return nil, errors.ErrUnsupported }
func mapShared(*os.File, int) ([]byte, error) { return nil, errors.ErrUnsupported }
func unmapShared([]byte) error                { return errors.ErrUnsupported }
