package cluster

import (
	"bytes"
	"os"
	"runtime/metrics"
	"strconv"
	"sync"
)

// statm is held open: a process that has no descriptor left must not seem to have no
// memory.
var statm = sync.OnceValues(func() (*os.File, error) { return os.Open("/proc/self/statm") })

// residentBytes returns the resident memory of this process, from the second field of /proc/self/statm (proc(5)). Where
// there is none it returns what the Go runtime holds, the nearest thing that is the same on all systems.
func residentBytes() int64 {
	if file, err := statm(); err == nil {
		var buf [128]byte              // seven numbers
		n, _ := file.ReadAt(buf[:], 0) // io.EOF, or nothing was read
		if fields := bytes.Fields(buf[:n]); len(fields) > 1 {
			if pages, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
				return pages * int64(os.Getpagesize())
			}
		}
	}
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// Memory returns the resident memory of this process in bytes.
func (s *Server) Memory() int64 { return residentBytes() }
