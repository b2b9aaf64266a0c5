package devstack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	tempPrefix = "doorbuster-" // of every temporary directory, so that a later start can find what was left
	shortTemp  = "/tmp"
	maxSocket  = 103 // bytes of a socket's path: sun_path of macOS less its final zero; Linux has 107
)

// A home is the directory of one server.
type home struct {
	dir       string // holds all the rest
	sockets   string // dir/s, or a directory with a shorter name
	temporary bool
	as        *account
	locks     []*os.File // kept open: closing one unlocks it
}

// openHome makes or reopens the directory of the server called noun and locks it. dir is Options.Dir; socket is
// the file name of the server's socket.
func openHome(ctx context.Context, dir, noun, socket string) (*home, error) {
	h := &home{temporary: dir == ""}
	if err := h.open(ctx, dir, noun, socket); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *home) open(ctx context.Context, dir, noun, socket string) (err error) {
	if h.temporary {
		err = h.discard(noun)
	} else {
		err = h.keep(ctx, dir, noun)
	}
	if err != nil {
		return err
	}
	if err := h.enter(); err != nil {
		return err
	}
	sweep(tempDir(h.as), h.as)
	h.sockets = filepath.Join(h.dir, "s")
	// A comma in a URL would separate two hosts, and there is no way to escape it.
	if len(filepath.Join(h.sockets, socket)) <= maxSocket && !strings.Contains(h.sockets, ",") {
		return h.mkdir(h.sockets)
	}
	if os.TempDir() != shortTemp {
		sweep(shortTemp, h.as)
	}
	h.sockets, err = h.makeTemp(shortTemp, "s")
	return err
}

// discard makes a directory that close removes.
func (h *home) discard(noun string) (err error) {
	if h.as, err = serverAccount(""); err != nil {
		return err
	}
	h.dir, err = h.makeTemp(tempDir(h.as), noun)
	return err
}

// tempDir is the system's temporary directory. Root's may be a private one
// (pam_tmpdir); then it is the one that everybody has.
func tempDir(as *account) string {
	dir := os.TempDir()
	if as != nil && dir != shortTemp && as.enter(dir) != nil {
		return shortTemp
	}
	return dir
}

// enter proves that the servers' user can reach the directory, by having it do so: modes, access lists and mounts
// all have a say in that.
func (h *home) enter() error {
	if h.as == nil {
		return nil
	}
	if err := h.as.enter(h.dir); err != nil {
		if err := h.as.enter("/"); err != nil { // a container without the capability, say
			return fmt.Errorf("running as root, the servers run as %s, and that is not permitted here: "+
				"start as another user than root (%w)", h.as, err)
		}
		return fmt.Errorf("running as root, the servers run as %s, who cannot enter %s: choose a data directory "+
			"outside of private ones, or start as another user than root (%w)", h.as, h.dir, err)
	}
	return nil
}

// enter has the account go to a directory, and says what keeps it out.
func (a *account) enter(dir string) error {
	cmd := exec.Command("/bin/sh", "-c", "true") //nolint:noctx // ends by itself
	cmd.Dir, cmd.SysProcAttr = dir, attributes(a, 0)
	return cmd.Run()
}

// keep opens the noun directory of a kept dir. Only that directory is made private and given away; dir itself may
// be one that the user has other things in.
func (h *home) keep(ctx context.Context, dir, noun string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find data directory: %w", err)
	}
	if err := makeWay(dir); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	home := filepath.Join(dir, noun)
	if h.as, err = serverAccount(home); err != nil {
		return err
	}
	if err := h.mkdir(home); err != nil {
		return err
	}
	file, err := takeLock(home)
	if errors.Is(err, errLocked) {
		return fmt.Errorf("%s is in use by %s: stop that first, or choose another data directory", dir, holder(home))
	}
	if err != nil {
		return err
	}
	h.dir, h.locks = home, append(h.locks, file)
	return h.awaitOrphan(ctx)
}

// awaitOrphan waits for a server that outlived the process which started it. On Linux it is about to end; elsewhere
// somebody has to end it.
func (h *home) awaitOrphan(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for {
		pid := serverIn(h.dir)
		if pid == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is in use by process %d, a server whose parent is gone: stop that first", h.dir, pid)
		}
	}
}

// makeWay makes a directory, and those that lead to it. Under root the servers'
// user must be able to enter all that are new, whatever the umask.
func makeWay(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := makeWay(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	const mode = 0o755
	switch err := os.Mkdir(dir, mode); {
	case errors.Is(err, fs.ErrExist):
		return os.MkdirAll(dir, mode) // refuses what is no directory
	case err != nil || os.Geteuid() != 0:
		return err
	}
	return os.Chmod(dir, mode)
}

func (h *home) mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make server directory: %w", err)
	}
	if err := h.as.own(path); err != nil {
		return fmt.Errorf("give %s to %s: %w", path, h.as, err)
	}
	return nil
}

// makeTemp makes a locked temporary directory. Between making and locking it, someone else's sweep may take it for
// a leftover; then the next one is tried.
func (h *home) makeTemp(parent, noun string) (string, error) {
	for {
		dir, err := os.MkdirTemp(parent, tempPrefix+noun+"-")
		if err != nil {
			return "", fmt.Errorf("make temporary directory: %w", err)
		}
		file, err := takeLock(dir)
		if errors.Is(err, errLocked) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			h.locks = append(h.locks, file)
			err = h.as.own(dir)
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
		return dir, nil
	}
}

// TempDir makes a temporary directory in another one, for what a program needs beside its servers. If the program is killed
// before it calls remove, the next one that makes such a directory there on the same account removes it.
func TempDir(parent, noun string) (dir string, remove func() error, err error) {
	h := &home{temporary: true}
	if h.dir, err = h.makeTemp(parent, noun); err != nil {
		return "", nil, err
	}
	sweep(parent, nil)
	return h.dir, h.close, nil
}

// close unlocks the directory, and removes it if it was temporary.
func (h *home) close() error {
	var errs []error
	if h.temporary && h.dir != "" {
		errs = append(errs, os.RemoveAll(h.dir))
	}
	if h.sockets != "" && filepath.Dir(h.sockets) != h.dir {
		errs = append(errs, os.RemoveAll(h.sockets))
	}
	for _, file := range h.locks {
		errs = append(errs, unlock(file), file.Close())
	}
	h.locks = nil
	return errors.Join(errs...)
}
