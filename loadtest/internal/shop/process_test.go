package shop

import (
	"io"
	"os"
	"strings"
	"testing"
)

func TestTicks(t *testing.T) {
	stat := "4711 (a ) (b) S 1 4711 4711 0 -1 4194304 900 0 0 0 123 45 6 7 20 0 9 0 100 1000 200 18446744073709551615"
	if got, err := ticksOf(stat); err != nil || got != 123+45 {
		t.Errorf("got %d ticks, %v, want %d", got, err, 123+45)
	}
	if _, err := ticksOf("4711 (a) S 1"); err == nil {
		t.Error("no error for a short line")
	}
}

func TestJournal(t *testing.T) {
	j := newJournal()
	for _, part := range []string{"plain text\n{\"msg\":\"ser", "ving\",\"addr\":\"127.0.0.1:1\"}\n", "{\"msg\":\"worker ready\",\"after\":\"31ms\"}\n"} {
		if n, err := io.WriteString(j, part); n != len(part) || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	if got, err := j.await(t.Context(), nil, "serving", 1); err != nil || got[0].Addr != "127.0.0.1:1" {
		t.Errorf("got %v, %v", got, err)
	}
	exited := make(chan struct{})
	close(exited)
	if _, err := j.await(t.Context(), exited, "worker ready", 2); err == nil {
		t.Error("no error though the process is gone")
	}
	if got := j.tail(); !strings.HasPrefix(got, "plain text\n") {
		t.Errorf("got tail %q", got)
	}
}

func TestPeakMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("there is no /proc here")
	}
	if got, err := peakMemory(os.Getpid()); err != nil || got < 1<<20 || got > 1<<40 {
		t.Errorf("got %d bytes, %v", got, err)
	}
}
