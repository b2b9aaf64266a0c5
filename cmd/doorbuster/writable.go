package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkWritable says in a sentence that nothing can be put into a folder, and
// which setting names another one. A folder that is not there yet is judged by
// the one that it will be made in. Looking at modes would not do: a file system
// may be read-only, or full.
func checkWritable(folder, setting string) error {
	there := folder
	for _, err := os.Stat(there); errors.Is(err, fs.ErrNotExist) && there != filepath.Dir(there); _, err = os.Stat(there) {
		there = filepath.Dir(there)
	}
	f, err := os.CreateTemp(there, ".doorbuster-*")
	if err != nil {
		return fmt.Errorf("nothing can be written to %s: %w; set %s to a place where that is possible", folder, cause(err), setting)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("remove a file that was to show whether %s can be written to: %w", folder, err)
	}
	return nil
}

// cause is an error without the path that it was met on.
func cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
