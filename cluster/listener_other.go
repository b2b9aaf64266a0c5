//go:build !unix

package cluster

import (
	"errors"
	"net"
)

// pacer exists where processes can share a board.
type pacer struct{}

func newPacer(*board, int, *net.TCPListener) (*pacer, error) { return nil, errors.ErrUnsupported }

func (*pacer) turn() error { return nil }

func (*pacer) close() {}
