package cluster_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"doorbuster/cluster"
)

// A write that its client does not take fails at the limit, and what it takes goes
// on for longer than that.
func TestLimitWrites(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := cluster.LimitWrites(inner, time.Second)
	t.Cleanup(func() { l.Close() })
	dial := func() (client, server net.Conn) {
		client, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		return client, server
	}
	_, server := dial()
	if n, err := server.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nobody reads: %d bytes were written, %v", n, err)
	}
	client, server := dial()
	go io.Copy(io.Discard, client)
	if n, err := server.Write(make([]byte, 64<<20)); n != 64<<20 || err != nil {
		t.Errorf("somebody reads: %d bytes were written, %v", n, err)
	}
}
