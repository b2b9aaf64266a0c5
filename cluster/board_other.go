//go:build unix && !linux

package cluster

import "os"

// boardFile is a temporary file without a name. Its pages are shared like memory, though the system may write them out.
func boardFile() (*os.File, error) {
	f, err := os.CreateTemp("", "cluster-board-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
