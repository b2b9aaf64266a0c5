//go:build unix

package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asPidFileHolder makes this test binary a master that holds the PID file named here until its standard input ends.
// With asPidFileParent it leaves a child behind that lives until the same input ends.
const (
	asPidFileHolder = "CLUSTER_TEST_PIDFILE"
	asPidFileParent = "CLUSTER_TEST_PIDFILE_CHILD"
	pidFileChild    = "only wait"
)

func init() {
	path := os.Getenv(asPidFileHolder)
	if path == "" {
		return
	}
	if path != pidFileChild {
		f, err := lockPidFile(path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		defer f.Close()
		if os.Getenv(asPidFileParent) != "" {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), asPidFileHolder+"="+pidFileChild)
			child.Stdin, child.Stdout = os.Stdin, os.Stdout
			if err := child.Start(); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			defer child.Wait()
		} else {
			fmt.Printf("holding, stale %v\n", f.stale())
		}
		io.Copy(io.Discard, os.Stdin)
		if err := f.Close(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	fmt.Println("child waits")
	io.Copy(io.Discard, os.Stdin)
	fmt.Println("child ends")
	os.Exit(0)
}

// A pidFileHolder is a master in a process of its own.
type pidFileHolder struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Reader
}

func startPidFileHolder(t *testing.T, path string, env ...string) *pidFileHolder {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), asPidFileHolder+"="+path), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &pidFileHolder{cmd, stdin, bufio.NewReader(stdout)}
}

func (h *pidFileHolder) says(t *testing.T, want string) {
	t.Helper()
	if got, err := h.lines.ReadString('\n'); err != nil || strings.TrimSpace(got) != want {
		t.Fatalf("process %d says %q (%v), want %q", h.cmd.Process.Pid, got, err, want)
	}
}

func mustLockPidFile(t *testing.T, path string) *pidFile {
	t.Helper()
	f, err := lockPidFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// M17: the second master on a PID file is refused and told the pid of the first; when that has left, so has the file.
func TestPidFileRefusesASecondMaster(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "er", "master.pid")
	first := startPidFileHolder(t, path)
	first.says(t, "holding, stale false")
	if raw, _ := os.ReadFile(path); string(raw) != strconv.Itoa(first.cmd.Process.Pid)+"\n" {
		t.Errorf("the file holds %q, want the pid %d", raw, first.cmd.Process.Pid)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v; want mode 0700", info.Mode(), err)
	}
	_, err := lockPidFile(path)
	running, ok := errors.AsType[*RunningError](err)
	if !ok || running.PID != first.cmd.Process.Pid || running.Path != path {
		t.Fatalf("got %v, want a RunningError with pid %d and %s", err, first.cmd.Process.Pid, path)
	}
	if want := fmt.Sprintf("pid %d is running already", running.PID); !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want it to say %q", err, want)
	}
	first.stdin.Close()
	if err := first.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there after its master left: %v", err)
	}
	if f := mustLockPidFile(t, path); f.stale() {
		t.Error("stale after a clean end")
	}
}

// M17: a master that is killed leaves its file, which is in nobody's way and is recognised.
func TestPidFileOfAKilledMaster(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.pid")
	first := startPidFileHolder(t, path)
	first.says(t, "holding, stale false")
	first.cmd.Process.Kill()
	first.cmd.Wait()
	second := startPidFileHolder(t, path)
	second.says(t, "holding, stale true")
}

// M17: workers outlive a master that is killed, and must not keep its lock.
func TestPidFileIsNotInherited(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.pid")
	first := startPidFileHolder(t, path, asPidFileParent+"=1")
	first.says(t, "child waits")
	first.cmd.Process.Signal(syscall.SIGKILL)
	first.cmd.Process.Wait() // and not cmd.Wait, which would close the child's output for us
	mustLockPidFile(t, path)
	first.stdin.Close()
	first.says(t, "child ends") // so it lived until now
}

// M17: what lies in the file does not matter, only who holds its lock.
func TestPidFileWithContents(t *testing.T) {
	t.Parallel()
	own := strconv.Itoa(os.Getpid())
	for contents, stale := range map[string]bool{
		"": false, "\n": false, "rubbish\nin two lines, longer than any pid": false, "-5\n": false, "99999999999999999999\n": false,
		"\x00\x00\x00\x00\x00": false, own + "\n": false, "999999999\nand more\n": true, "  999999999  ": true,
	} {
		path := filepath.Join(t.TempDir(), "master.pid")
		if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
		f := mustLockPidFile(t, path)
		if f.stale() != stale {
			t.Errorf("%q: stale is %v, want %v", contents, f.stale(), stale)
		}
		if raw, _ := os.ReadFile(path); string(raw) != own+"\n" {
			t.Errorf("%q: became %q, want %s and a line break", contents, raw, own)
		}
	}
}

// M17: a master between lock and write has no number to tell yet; the refusal says so instead of "pid 0".
func TestPidFileOfAMasterThatIsStarting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.pid")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = lockPidFile(path)
	running, ok := errors.AsType[*RunningError](err)
	if !ok || running.PID != 0 || !strings.Contains(err.Error(), "just starting") {
		t.Errorf("got %v, want a RunningError without a pid, in other words", err)
	}
}

// M17: only what is surely a PID file is written to and later removed. The refusal says what is wrong with the rest.
func TestPidFileRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.WriteFile(at("document"), make([]byte, maxPidFile+1), 0o600),
		os.WriteFile(at("target"), []byte("keep\n"), 0o600),
		os.Symlink(at("target"), at("link")),
		os.Symlink(at("nowhere"), at("dangling")),
		unix.Mkfifo(at("fifo"), 0o600),
		os.Mkdir(at("folder"), 0o700),
		os.Mkdir(at("closed"), 0o500),
	); err != nil {
		t.Fatal(err)
	}
	closed := at("closed/master.pid")
	if os.Getuid() == 0 { // root may write in all folders but those of the kernel
		closed = "/sys/doorbuster-test.pid"
	}
	for path, want := range map[string]string{
		at("document"):          "is left alone",
		at("link"):              "is a symbolic link",
		at("dangling"):          "is a symbolic link",
		at("fifo"):              "is no regular file",
		at("folder"):            "name a file that this account may write",
		at("target/master.pid"): "make its folder",
		closed:                  "name a file that this account may write",
	} {
		if path == closed && os.Getuid() == 0 && runtime.GOOS != "linux" {
			continue
		}
		f, err := lockPidFile(path)
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want a sentence with %q", path, err, want)
		}
	}
	if raw, _ := os.ReadFile(at("target")); string(raw) != "keep\n" {
		t.Errorf("the target of the link became %q", raw)
	}
	// The folder may be reached by a link, as /var/run often is.
	if err := os.Symlink(dir, at("run")); err != nil {
		t.Fatal(err)
	}
	mustLockPidFile(t, at("run/master.pid"))
}

// M17: Close leaves alone what somebody else put in the file's place, and may come twice.
func TestPidFileCloseRemovesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.pid")
	f := mustLockPidFile(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := mustLockPidFile(t, path)
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if !other.named() {
		t.Error("the other master's file is gone")
	}
}

// M17: Close unlocks even while a child between fork and exec still has the open file.
func TestPidFileCloseUnlocks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.pid")
	f := mustLockPidFile(t, path)
	child, err := unix.FcntlInt(f.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := os.Link(path, path+".too"); err != nil { // to find the file after its removal
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	mustLockPidFile(t, path+".too")
}

// M17: masters that come and go in a hurry, each removing its file: at no time do two of them hold the lock.
func TestPidFileIsHeldByOneAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.pid")
	var (
		holders, taken atomic.Int32
		crowd          sync.WaitGroup
	)
	end := time.Now().Add(time.Minute) // only bounds a hang
	for range 8 {
		crowd.Go(func() {
			for taken.Load() < 2000 && time.Now().Before(end) {
				f, err := lockPidFile(path)
				if _, running := errors.AsType[*RunningError](err); running {
					runtime.Gosched()
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				taken.Add(1)
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d masters at once", n)
				}
				runtime.Gosched()
				holders.Add(-1)
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	crowd.Wait()
	if taken.Load() < 2000 {
		t.Errorf("the lock was taken %d times in a minute", taken.Load())
	}
}
