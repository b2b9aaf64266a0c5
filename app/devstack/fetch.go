package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	mavenCentral = "https://repo1.maven.org/maven2"
	fetchVersion = embeddedpostgres.V17
	fetchTimeout = 5 * time.Minute // some 20 MB
)

// fetchFrom returns a fetch that downloads PostgreSQL from a Maven repository, once: the next call finds it in the
// cache directory.
func fetchFrom(repository string) func(context.Context, func(string)) (string, error) {
	return func(ctx context.Context, say func(string)) (string, error) {
		cache, err := cacheDir()
		if err != nil {
			return "", err
		}
		return fetch(ctx, repository, cache, say)
	}
}

// cacheDir is the user's cache directory; for root one that the servers' user can enter, which ~root is not.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/doorbuster", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w", err)
	}
	return filepath.Join(dir, "doorbuster"), nil
}

func fetch(ctx context.Context, repository, cache string, say func(string)) (string, error) {
	place := filepath.Join(cache, "postgresql-"+string(fetchVersion))
	bin := filepath.Join(place, "bin")
	if unpacked(bin) {
		return bin, nil
	}
	say(fmt.Sprintf("downloading PostgreSQL %s from %s, once", fetchVersion, repository))
	if err := makeWay(cache); err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	// Unpacked beside its place and then renamed, so that half an installation is never found there.
	work, err := os.MkdirTemp(cache, "unpacking-")
	if err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, fetchTimeout, fmt.Errorf("the download took more than %s", fetchTimeout))
	defer cancel()
	done := make(chan error, 1)
	go func() { // the library takes no context: when time is up it is left to end by itself
		err := unpack(repository, work)
		if err == nil {
			err = openToAll(filepath.Join(work, "postgresql"))
		}
		if err == nil {
			err = os.Rename(filepath.Join(work, "postgresql"), place)
		}
		done <- errors.Join(err, os.RemoveAll(work))
	}()
	select {
	case err := <-done:
		if unpacked(bin) { // by us, or by another process at the same time
			return bin, nil
		}
		return "", err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// openToAll lets everybody use what its owner may, whatever the umask was: root
// unpacks the programs, and another user runs them.
func openToAll(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		owner := info.Mode().Perm() & 0o500
		return root.Chmod(path, info.Mode().Perm()|owner>>3|owner>>6)
	})
}

func unpacked(bin string) bool {
	_, err := os.Stat(filepath.Join(bin, "postgres"))
	return err == nil
}

// unpack downloads PostgreSQL and unpacks it to work/postgresql.
//
// embedded-postgres offers no call for that alone: Start downloads, unpacks, and goes on to run initdb, which
// refuses root. So it is given a data directory that it cannot clear (Go refuses to remove a path that ends in a
// dot); that is the step right after unpacking, and its complaint is how we know that unpacking was complete.
func unpack(repository, work string) error {
	postgresql := filepath.Join(work, "postgresql")
	if err := os.Mkdir(postgresql, 0o755); err != nil { //nolint:gosec // the servers' user must be able to enter
		return err
	}
	err := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(fetchVersion).
		BinaryRepositoryURL(repository).
		CachePath(filepath.Join(work, "archive")).
		BinariesPath(postgresql).
		RuntimePath(filepath.Join(work, "runtime")).
		DataPath(work + "/.").
		Port(0).
		Logger(io.Discard)).Start()
	removeLogs()
	if err == nil {
		return errors.New("embedded-postgres started a server that it was not meant to start")
	}
	if unpacked(filepath.Join(postgresql, "bin")) && isStopper(err, work) {
		return nil
	}
	return err
}

// removeLogs removes the empty log files that embedded-postgres leaves in the temporary directory, one per Start and
// open for ever. The list of open files tells ours from another program's; where there is none they stay.
func removeLogs() {
	open, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range open {
		name, err := os.Readlink(fd)
		if err == nil && strings.HasPrefix(name, filepath.Join(os.TempDir(), "embedded_postgres_log")) {
			_ = os.Remove(name)
		}
	}
}

func isStopper(err error, work string) bool {
	want := fmt.Sprintf("unable to clean up data directory %s/. with error:", work)
	return strings.HasPrefix(err.Error(), want)
}
