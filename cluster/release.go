//go:build unix

package cluster

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A release is one executable as it was when the master adopted it.
//
// Its file stays open, and on Linux a worker inherits the descriptor and is started from it, by /proc/self/fd/N. So a
// crash restart runs the release that serves, although the path names another file by now or none at all, and an
// aborted rollout has something to go back to. A master that keeps only the path runs whatever lies there after the
// next crash, checked by nobody. (macOS starts nothing from a descriptor, and has to be that master.)
//
// An open file can still be overwritten in place. Linux refuses that while any process executes the program (ETXTBSY,
// execve(2); 6.11 and 6.12 did not at first, macOS never does), and deploys that rename a new file into place never try.
// So [release.changed] rarely finds anything. It is there for the rest, scripts among them, which nothing protects.
//
// A release belongs to one goroutine: changed and Close change it.
type release struct {
	name  string // for people and logs: version+hash, where hash is how the output of sha256sum begins
	path  string // as given to adopt
	file  *os.File
	stamp releaseStamp
	sum   [sha256.Size]byte
	env   []string // of its workers: crash restarts keep it
}

// A releaseStamp is what a file shows of its identity without being read. Times are in nanoseconds.
type releaseStamp struct {
	dev, ino           uint64
	size, mtime, ctime int64
}

const (
	// A file that was written to less than this ago may be in the middle of a copy. Others are not waited for.
	releaseQuiet = 100 * time.Millisecond
	// How long adopt waits for a copy to end.
	releasePatience = 2 * time.Second
	// How often it looks whether the writer is done; nothing tells.
	releasePoll = 10 * time.Millisecond
)

// adopt opens the executable, checks it and names it. It waits while the file is being written, up to 2 s or the end of
// ctx. Each thing that is wrong with the file has a sentence of its own, and nothing of it has been executed.
func adopt(ctx context.Context, path string) (_ *release, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot adopt %s: %w", path, err)
		}
	}()
	file, err := openRelease(path)
	if err != nil {
		return nil, err
	}
	r := &release{path: path, file: file}
	if err := r.settle(ctx, r.inspect); err != nil {
		file.Close()
		return nil, err
	}
	return r, nil
}

func openRelease(path string) (*os.File, error) {
	// Not blocking, or a named pipe would hold us up; it changes nothing for a regular file.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // and close-on-exec, as all that os opens
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errors.New("there is no such file; was it built, and is the path right?")
	case errors.Is(err, os.ErrPermission):
		return nil, errors.New("this account may not read it; chmod a+rx it, and a+x the folders above")
	case err != nil:
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = errors.New("it is a directory; name the program in it")
	case !info.Mode().IsRegular():
		err = fmt.Errorf("it is no regular file (%v); name the program itself", info.Mode())
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// settle reads the file once it is quiet, and again if somebody wrote to it meanwhile. A file that has been quiet since
// before we came is read at once.
func (r *release) settle(ctx context.Context, read func(ctx context.Context, size int64) error) error {
	patience, cancel := context.WithTimeoutCause(ctx, releasePatience,
		fmt.Errorf("waited %v for it; copy under another name and rename it into place, then try again", releasePatience))
	defer cancel()
	var (
		last  releaseStamp
		since time.Time // of its last change, as far as known
	)
	for {
		now, err := r.look()
		if err != nil {
			return err
		}
		if !now.sameContent(last) {
			last, since = now, time.Unix(0, now.mtime)
			if since.After(time.Now()) { // by somebody else's clock; go by what we see
				since = time.Now()
			}
		}
		wait := releaseQuiet - time.Since(since)
		if wait <= 0 && openForWriting(r.file) {
			wait = releasePoll
		}
		if wait <= 0 {
			wrong := read(ctx, now.size)
			after, err := r.look()
			if err != nil {
				return err
			}
			if after.sameContent(now) {
				r.stamp = now
				return wrong
			}
			wait = releasePoll // what was read is of no file that ever was
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-patience.Done():
			timer.Stop()
			return fmt.Errorf("it is still being written: %w", context.Cause(patience))
		}
	}
}

// inspect checks and names the file of the given size.
func (r *release) inspect(ctx context.Context, size int64) error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&0o111 == 0 {
		return fmt.Errorf("it is not executable (%v); chmod +x it", info.Mode())
	}
	// The mode for others may be the wrong one, and the file system mounted noexec. Any other error is about our question.
	if err := unix.Access(r.heldPath(), unix.X_OK); errors.Is(err, unix.EACCES) {
		return fmt.Errorf("this account may not execute it where it is (%w); see its owner, its mode and the mount options", err)
	}
	if size == 0 {
		return errors.New("it is empty; copy it again")
	}
	if runtime.GOOS != "darwin" { // Mach-O is checked by whoever executes it
		if err := r.checkFormat(size); err != nil {
			return err
		}
	}
	if r.sum, err = contentSum(ctx, r.file); err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	version := "dev"
	if info, err := buildinfo.Read(r.file); err == nil { // an error: not built by Go, which is fine
		version = buildVersion(info)
	}
	r.name = version + "+" + hex.EncodeToString(r.sum[:4])
	return nil
}

// changed returns nil while the file that is held open is the one that was adopted, and else a sentence that says it is
// not. It reads the file only when something was done to it since the last look; renaming another one over it counts.
func (r *release) changed() error {
	now, err := r.look()
	if err != nil {
		return fmt.Errorf("release %s: look at its file: %w", r.name, err)
	}
	if now == r.stamp { // nobody can set the ctime
		return nil
	}
	if now.size == r.stamp.size {
		sum, err := contentSum(context.Background(), r.file)
		if err != nil {
			return fmt.Errorf("release %s: read its file: %w", r.name, err)
		}
		if sum == r.sum {
			r.stamp = now
			return nil
		}
	}
	return fmt.Errorf("release %s is gone: its file, once %s, was overwritten in place since it was adopted; reload to adopt what "+
		"is there, and deploy by renaming a new file over the old one", r.name, r.path)
}

// same reports whether o is the same file with the same content, and runs in the same environment.
func (r *release) same(o *release) bool {
	return r.stamp.dev == o.stamp.dev && r.stamp.ino == o.stamp.ino && r.sum == o.sum && slices.Equal(r.env, o.env)
}

// again returns the same release with a file of its own.
func (r *release) again() (*release, error) {
	fd, err := dupCloseOnExec(int(r.file.Fd()))
	if err != nil {
		return nil, fmt.Errorf("hold release %s open: %w", r.name, err)
	}
	twin := *r
	twin.file = os.NewFile(uintptr(fd), r.path)
	return &twin, nil
}

// Close lets go of the file. Processes that run it go on.
func (r *release) Close() error { return r.file.Close() }

func (r *release) look() (releaseStamp, error) {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(int(r.file.Fd()), &st) }); err != nil {
		return releaseStamp{}, err
	}
	return releaseStamp{
		dev: uint64(st.Dev), ino: st.Ino, //nolint:unconvert // Dev is an int32 on macOS
		size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
	}, nil
}

// sameContent leaves the ctime out: chmod and rename change it too, and deploys do both.
func (s releaseStamp) sameContent(o releaseStamp) bool {
	s.ctime, o.ctime = 0, 0
	return s == o
}

// contentSum reads the whole file: 40 MB take some 30 ms, once per deploy. The build id that Go leaves in a program would
// cost nothing, but strip, -ldflags=-buildid= and a patched byte leave it as it is.
func contentSum(ctx context.Context, file io.ReaderAt) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for offset := int64(0); ; {
		if ctx.Err() != nil {
			return sum, context.Cause(ctx)
		}
		n, err := file.ReadAt(buf, offset)
		h.Write(buf[:n])
		offset += int64(n)
		if errors.Is(err, io.EOF) {
			h.Sum(sum[:0])
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
	}
}

// buildVersion is the commit, where the build knew it, else the module's version, else "dev".
func buildVersion(info *debug.BuildInfo) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	version := settings["vcs.revision"]
	switch {
	case version != "":
		version = version[:min(len(version), 12)]
		if settings["vcs.modified"] == "true" {
			version += "-dirty"
		}
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		version = info.Main.Version
	default:
		version = "dev"
	}
	return version
}
