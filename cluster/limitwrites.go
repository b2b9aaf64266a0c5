package cluster

import (
	"net"
	"time"
)

// LimitWrites returns a listener on whose connections every write of 64 KiB or
// less fails that its client does not take within a time. It is for servers with
// few clients and long answers, such as events on an admin address; what a
// [Server] serves has [Server.ResponseRate]. The connections have the methods of
// [net.Conn] alone.
func LimitWrites(l net.Listener, limit time.Duration) net.Listener { return &limitedListener{l, limit} }

type limitedListener struct {
	net.Listener
	limit time.Duration
}

// Accept returns the next connection, limited.
func (l *limitedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &limitedConn{c, l.limit}, nil
}

type limitedConn struct {
	net.Conn
	limit time.Duration
}

// limitedPiece bounds what has to be taken within the limit.
const limitedPiece = 64 << 10

// Write writes in pieces, each of which has the limit to go.
func (c *limitedConn) Write(p []byte) (n int, err error) {
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
			return n, err
		}
		sent, err := c.Conn.Write(p[n:min(n+limitedPiece, len(p))])
		n += sent
		if err != nil || n == len(p) {
			return n, err
		}
	}
}
