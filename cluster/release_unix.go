//go:build unix && !linux

package cluster

import "os"

// heldPath names what the path names by now: only Linux has names for descriptors of files.
func (r *release) heldPath() string { return r.path }

// openForWriting cannot be known here; the file's times must do.
func openForWriting(*os.File) bool { return false }

func openOwnExecutable() (*os.File, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}
