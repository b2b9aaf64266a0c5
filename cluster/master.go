//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Master supervises workers. Make it with [New] and let it [Master.Run]. Its other methods may be called from any
// goroutine while it runs.
type Master struct {
	cfg       Config
	own       []string // this process's environment
	workers   int
	reason    string // for that number
	pid       *pidFile
	listeners []socket
	board     *board
	boardFD   int
	null      int
	stderr    int
	first     *release
	control   *net.UnixListener
	reserve   reserve // of descriptors, for workers and commands
	tasks     int64   // processes and threads that there may be more, as of the start
	handler   http.Handler
	notify    *notifier
	manager   *background // what notify sends
	output    *output     // what workers write, and the log
	logs      logbook     // the last of what workers wrote

	calls   chan func(*loop)
	inbox   chan inbound
	signals chan os.Signal // commands
	deaths  chan os.Signal // SIGCHLD: one waiting is enough, and many must not push a command out
	ignored chan os.Signal // nobody reads it

	stopRelay func() // of SIGTTIN and SIGTTOU

	quit    chan struct{} // closed when the loop has ended
	ended   chan struct{} // closed when all is given back
	readers sync.WaitGroup
	life    atomic.Int32 // of masterLife
	events  *background  // calls of OnEvent

	judging  chan struct{} // holds a token while Config.OnSetting is called
	adopting sync.Mutex    // held from looking at a new executable until the loop has it
}

// masterLife is where a master is in its life. It only ever grows.
type masterLife = int32

const (
	lifeMade    masterLife = iota // by New
	lifeRunning                   // Run was called
	lifeOver                      // Run has ended, or Close was called instead
)

// New checks the settings, takes the PID file, and binds the addresses, so that all that can be wrong before the first
// worker is found here. An error is one sentence. Signals are taken from here on, and the descriptors that this process
// was started with, but for standard input, output and error, are marked close-on-exec: they are not for workers.
func New(cfg Config) (_ *Master, err error) {
	cfg.setDefaults()
	if len(cfg.Listen)+len(cfg.Listeners) == 0 {
		if passed, _ := passedSockets(environment(os.Environ())); len(passed) > 0 { // an error is told where they are opened
			cfg.Listen = []string{PassedSockets}
		}
	}
	if err := errors.Join(cfg.check(), cfg.checkProcess()); err != nil {
		return nil, err
	}
	log := cfg.Log.Handler()
	lines := newBackground(func(lost int64) {
		slog.New(log).Warn("lines were lost: nobody read the log for a while", "lines", lost)
	})
	cfg.Log = slog.New(&backgroundHandler{lines, log})
	m := &Master{
		cfg: cfg, own: os.Environ(), output: &output{lines, cfg.Output},
		boardFD: -1, null: -1, stderr: -1,
		calls: make(chan func(*loop)), inbox: make(chan inbound), quit: make(chan struct{}), ended: make(chan struct{}),
		judging: make(chan struct{}, 1), signals: make(chan os.Signal, 16), deaths: make(chan os.Signal, 1), ignored: make(chan os.Signal, 1),
	}
	m.handler = m.routes()
	m.listen()
	defer func() {
		if err != nil {
			m.abandon()
		}
	}()
	keepToSelf()
	if len(cfg.AlertCommand) > 0 {
		path, err := exec.LookPath(cfg.AlertCommand[0])
		if err != nil {
			return nil, fmt.Errorf("the alert command can't be run: %w", err)
		}
		m.cfg.AlertCommand = append([]string{path}, cfg.AlertCommand[1:]...)
	}
	if len(cfg.Command) == 0 {
		cfg.Command = append([]string{""}, os.Args[1:]...)
	}
	if m.cfg.Command = slices.Clone(cfg.Command); m.cfg.Command[0] == "" {
		if m.cfg.Command[0], err = ownPath(); err != nil {
			return nil, err
		}
	}
	m.workers, m.reason = cfg.Workers, "as set"
	if m.workers == 0 {
		m.workers, m.reason = DefaultWorkers(cfg.MaxWorkerMemory)
	}
	if m.first, err = adopt(context.Background(), m.cfg.Command[0]); err != nil {
		return nil, err
	}
	if m.first.env, err = m.freshEnv(); err != nil {
		return nil, err
	}
	patience := time.Duration(0)
	if cfg.PIDFile != "" {
		if m.pid, err = lockPidFile(cfg.PIDFile); err != nil {
			return nil, err
		}
		if m.pid.stale() {
			patience = startingAnew
		}
	}
	if err := m.openSockets(patience); err != nil {
		return nil, err
	}
	if err := m.checkLimits(); err != nil {
		return nil, err
	}
	if m.notify, err = newNotifier(environment(os.Environ())); err != nil {
		return nil, err
	}
	m.manager = newBackground(func(int64) {})
	if cfg.ControlSocket != "" {
		if m.control, err = listenControl(cfg.ControlSocket); err != nil {
			return nil, err
		}
	}
	if err := m.openForWorkers(); err != nil {
		return nil, err
	}
	if cfg.OnEvent != nil {
		m.events = newBackground(func(int64) {})
	}
	m.closeOriginals()
	return m, nil
}

// masterReserve is how many descriptors are held for what must not fail although
// others use up all that there are: the start of a worker takes nine for a moment.
const masterReserve = 10

// openForWorkers opens what workers inherit besides their executable and the sockets.
func (m *Master) openForWorkers() (err error) {
	if m.board, err = newBoard(2*maxWorkers, len(m.listeners)); err != nil {
		return err
	}
	if m.boardFD, err = dupCloseOnExec(int(m.board.file().Fd())); err != nil {
		return err
	}
	m.reserve.size = masterReserve
	m.reserve.fill()
	if m.null, err = unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	if m.stderr, err = dupCloseOnExec(unix.Stderr); err != nil {
		return fmt.Errorf("duplicate standard error: %w", err)
	}
	return nil
}

// ownPath is the path that this program was started by, symbolic links and all: a deployment may move the link.
func ownPath() (string, error) {
	own, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the running program: %w", err)
	}
	path := os.Args[0]
	if !strings.ContainsRune(path, filepath.Separator) {
		if path, err = exec.LookPath(path); err != nil {
			return own, nil //nolint:nilerr // started by another name: the file itself is known
		}
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("find the running program: %w", err)
	}
	a, errA := os.Stat(own)
	b, errB := os.Stat(path)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		return own, nil //nolint:nilerr // the name says something else
	}
	return path, nil
}

// environment looks variables up in a list.
func environment(list []string) func(string) string {
	return func(name string) string {
		for _, kv := range list {
			if n, v, _ := strings.Cut(kv, "="); n == name {
				return v
			}
		}
		return ""
	}
}

// Addrs returns the addresses that are listened on, in the order of [Worker.Listeners].
func (m *Master) Addrs() []string {
	addrs := make([]string, len(m.listeners))
	for i, l := range m.listeners {
		addrs[i] = l.addr
	}
	return addrs
}

// running returns nil while there is a loop that could answer.
func (m *Master) running() error {
	switch m.life.Load() {
	case lifeMade:
		return ErrNotRunning
	case lifeOver:
		return ErrStopped
	}
	return nil
}

// call runs a function on the master's goroutine, and waits until it has. Without such a goroutine it fails at once. What
// nobody waits for any more at the moment when it is its turn is not run: see caller.
func (m *Master) call(ctx context.Context, f func(*loop)) error {
	if err := m.running(); err != nil {
		return err
	}
	c, done := callerOf(ctx), make(chan error, 1)
	select {
	case m.calls <- func(l *loop) {
		err := c.take(ctx)
		if err == nil {
			f(l)
		}
		done <- err
	}:
	case <-m.ended:
		return ErrStopped
	case <-ctx.Done():
		done <- context.Cause(ctx)
	}
	err := <-done
	switch {
	case err == nil:
		c.tell()
	case c != nil && !c.taken:
		m.cfg.Log.WarnContext(ctx, "a command is not carried out: nobody waits for it any more", "by", c.by, "reason", err)
	}
	return err
}

// close gives back what New took. The PID file goes last: its lock is what keeps the next master from starting. Signals
// are taken until then: one that ends the process before would leave the files behind.
func (m *Master) close(leave func(*pidFile) error) {
	defer m.unlisten()
	if m.control != nil {
		m.control.Close() // and remove it; commands under way are still answered
	}
	for _, l := range m.listeners {
		l.close()
	}
	for _, fd := range []int{m.boardFD, m.null, m.stderr} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	m.reserve.giveUp()
	if m.board != nil {
		if err := m.board.Close(); err != nil {
			m.cfg.Log.Warn("close the board", "error", err)
		}
	}
	if m.pid != nil {
		if err := leave(m.pid); err != nil {
			m.cfg.Log.Warn("leave the PID file", "error", err)
		}
	}
}

// abandon gives back what New took, of a master that never ran.
func (m *Master) abandon() {
	m.close((*pidFile).giveBack)
	if m.first != nil {
		m.first.Close()
	}
	m.flush()
}

// flush lets the last words out.
func (m *Master) flush() {
	if m.events != nil {
		m.events.close(flushTimeout)
	}
	if m.manager != nil {
		m.manager.close(flushTimeout)
	}
	m.output.lines.close(flushTimeout)
	signal.Stop(m.ignored)
}

// Close gives back what New took, of a master that is not going to run. A second Close, or one after Run, does nothing; one
// during Run is refused.
func (m *Master) Close() error {
	if m.life.CompareAndSwap(lifeMade, lifeOver) {
		m.abandon()
		close(m.ended)
		return nil
	}
	if m.life.Load() == lifeRunning {
		return errors.New("close a master that runs: end it by Stop, or by the context of Run")
	}
	return nil
}
