package cluster

import (
	"io"
	"net"
	"os"
	"syscall"
)

// stream is what *net.TCPConn and *net.UnixConn have in common.
type stream interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
	File() (*os.File, error)
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// tcpOnly has the methods of a TCP connection that are not a stream's, such as
// SetNoDelay. On a Unix socket it is empty, and they return [syscall.EINVAL].
// They are one embedding deeper than those of the stream, which go first.
type tcpOnly struct{ *net.TCPConn }

func tcpOf(s stream) tcpOnly {
	tcp, _ := s.(*net.TCPConn) // nil for others
	return tcpOnly{tcp}
}

// ReadFrom is that of the TCP connection (sendfile), or a copy.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if c.TCPConn != nil {
		if kernelTells { // elsewhere nothing would show that it gets on
			c.out.writing.Store(true)
			defer c.out.writing.Store(false)
		}
		return c.TCPConn.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// WriteTo is that of the TCP connection (splice), or a copy.
func (c *conn) WriteTo(w io.Writer) (int64, error) {
	if c.TCPConn != nil {
		return c.TCPConn.WriteTo(w)
	}
	return io.Copy(w, struct{ io.Reader }{c.stream})
}
