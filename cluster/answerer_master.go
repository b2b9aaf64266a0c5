//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster/internal/supervisor"
)

// standIn is the answerer as its master sees it.
type standIn struct {
	pid  int
	link *net.UnixConn // its end tells the answerer to leave
}

// answerAfter is how long nobody may be ready before the answerer is started. A
// crash of one worker among several, and most of all workers, are over sooner.
const answerAfter = 250 * time.Millisecond

// selfProgram is the program that this process runs, to be started again.
type selfProgram struct {
	path string
	file os.FileInfo // not nil: what the path has to lead to still
}

// findSelf finds the program of this process.
func findSelf() (selfProgram, error) {
	if path := runningProgram; path != "" {
		if _, err := os.Stat(path); err == nil {
			return selfProgram{path: path}, nil
		}
	}
	path, err := os.Executable()
	if err != nil {
		return selfProgram{}, fmt.Errorf("find the running program: %w", err)
	}
	file, err := os.Stat(path)
	return selfProgram{path, file}, err
}

// startable returns the path to start it by. Another program at that path may know
// nothing of answerers, and would be a second master.
func (p selfProgram) startable() (string, error) {
	if p.file == nil {
		return p.path, nil
	}
	now, err := os.Stat(p.path)
	if err != nil {
		return "", err
	}
	if !os.SameFile(now, p.file) || now.Size() != p.file.Size() || !now.ModTime().Equal(p.file.ModTime()) {
		return "", fmt.Errorf("%s is not the program that the master runs any more", p.path)
	}
	return p.path, nil
}

// prepareAnswerer finds out whether there can be an answerer, and after which time.
func (l *loop) prepareAnswerer() time.Duration {
	var err error
	if l.self, err = findSelf(); err != nil {
		l.cfg.Log.Warn("clients will wait while no worker is ready: nobody can answer them", "error", err)
		return 0
	}
	return answerAfter
}

// stand starts the answerer. The answer to the supervisor comes at once.
func (l *loop) stand() {
	a, err := l.startAnswerer()
	if err != nil {
		l.step(supervisor.AnswererEnded{Reason: fmt.Sprintf("could not be started: %v", err)})
		return
	}
	l.answerer = a
	l.step(supervisor.AnswererStarted{PID: a.pid})
}

// startAnswerer starts this program again; see answererVariable. Of the environment
// it gets only what is for the Go runtime: nothing else is for it.
func (l *loop) startAnswerer() (*standIn, error) {
	program, err := l.self.startable()
	if err != nil {
		return nil, err
	}
	conn, theirs, err := newPair(pairKind)
	if err != nil {
		return nil, err
	}
	defer unix.Close(theirs)
	env := []string{answererVariable + "=" + strconv.Itoa(len(l.listeners))}
	for _, kv := range l.own {
		if strings.HasPrefix(kv, "GO") {
			env = append(env, kv)
		}
	}
	files := []uintptr{uintptr(l.null), uintptr(l.null), uintptr(l.stderr), uintptr(theirs)}
	for _, s := range l.listeners {
		files = append(files, uintptr(s.fd))
	}
	argv := []string{filepath.Base(ownName()) + ": answerer"}
	pid, err := syscall.ForkExec(program, argv, &syscall.ProcAttr{
		Env: env, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true}, // as workers: see spawn
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &standIn{pid: pid, link: conn}, nil
}

// standDown tells the answerer to leave.
func (l *loop) standDown() {
	if l.answerer != nil {
		l.answerer.link.Close()
	}
}

func (l *loop) killAnswerer() {
	if l.answerer != nil {
		l.kill(l.answerer.pid)
	}
}

// answererReaped reports whether it was the answerer that has ended.
func (l *loop) answererReaped(pid int, ws syscall.WaitStatus) bool {
	if l.answerer == nil || l.answerer.pid != pid {
		return false
	}
	l.standDown()
	l.answerer = nil
	l.step(supervisor.AnswererEnded{Reason: howItEnded(ws)})
	return true
}
