package devstack

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// A process is one child that is running or has been reaped.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once the child is reaped, and its descendants have ended or goneTimeout has passed
	err    error         // of Wait; read it after exited
}

// spawn starts cmd in a process group of its own under the given account (nil: our own). On Linux the child gets
// the signal death when this process ends, however it ends.
//
// The kernel sends that signal when the THREAD that forked the child ends, not the process (golang/go#27505), and
// the Go runtime may end a thread at any time. So the goroutine that starts the child keeps its thread to itself
// until the child is gone.
func spawn(cmd *exec.Cmd, as *account, death syscall.Signal) (*process, error) {
	cmd.SysProcAttr = attributes(as, death)
	family, member, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, member)
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer family.Close()
		err := cmd.Start()
		member.Close()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		// All descendants have the pipe's other end, whatever session they moved to, and it ends with the last of them. A
		// backend of PostgreSQL that still detached from shared memory would make the next start on the same data fail.
		_ = family.SetReadDeadline(time.Now().Add(goneTimeout))
		_, _ = family.Read(make([]byte, 1))
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// pid of the child, which is also the id of its process group.
func (p *process) pid() int { return p.cmd.Process.Pid }

// signal is safe at any time: a child that was reaped is never mistaken for another process with its number.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}
