//go:build unix

package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

// Tests of whole clusters run testdata/zoo: a real master with real workers, as processes, since signals, wait statuses
// and inherited descriptors can't be had otherwise. What a test waits for is always told to it, by the log of the master,
// its control socket, or a worker at a gate.

// hang is when a test that waits gives up. It is no measure: only something that never comes takes that long.
const hang = time.Minute

var zooDir string // where the programs are built; removed at the end

func TestMain(m *testing.M) {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(s) { // as in the background of a script; what is run here would have it ignored, too
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	dir, err := os.MkdirTemp("", "zoo")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	zooDir = dir
	// Most of a test is waiting: for other processes, and for time limits.
	if err := flag.Set("test.parallel", strconv.Itoa(4*runtime.GOMAXPROCS(0))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// blank is the behaviour that the zoo is linked with. A release is a copy with another one in its place: linking takes
// seconds.
var blank = "good" + strings.Repeat(" ", 200) + "."

var (
	linked = sync.OnceValues(func() ([]byte, error) { return link() })
	// The master, and workers that say so in their behaviour, have the race detector when the tests have it. All of them
	// would take three times as long.
	linkedRaced = sync.OnceValues(func() ([]byte, error) { return link("-race") })
	releases    sync.Map // by behaviour: func() (string, error)
)

func link(flags ...string) ([]byte, error) {
	path := filepath.Join(zooDir, strings.Join(append([]string{"linked"}, flags...), ""))
	args := append([]string{"build", "-buildvcs=false", "-o", path, "-ldflags", "-s -w -X 'main.behaviour=" + blank + "'"}, flags...)
	if out, err := exec.Command("go", append(args, "./testdata/zoo")...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the zoo: %w\n%s", err, out)
	}
	return os.ReadFile(path)
}

// raced reports whether the tests run under the race detector.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// release returns the path of the zoo with a behaviour. It is made once and shared: nobody may write to it.
func release(t *testing.T, behaviour string) string {
	t.Helper()
	build, _ := releases.LoadOrStore(behaviour, sync.OnceValues(func() (string, error) {
		build := linked
		if raced() && slices.Contains(strings.Fields(behaviour), "raced") {
			build = linkedRaced
		}
		program, err := build()
		if err != nil {
			return "", err
		}
		if len(behaviour) > len(blank) {
			return "", errors.New("the behaviour is too long")
		}
		program = bytes.ReplaceAll(program, []byte(blank), fmt.Appendf(nil, "%-*s", len(blank), behaviour))
		path := filepath.Join(zooDir, strings.NewReplacer("/", "_", " ", "_").Replace(behaviour))
		return path, writeProgram(path, program)
	}))
	path, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// writeProgram writes an executable. No process is started meanwhile: it would hold the file open for writing until its
// exec, and whoever runs the file in that moment gets ETXTBSY (golang/go#22315).
func writeProgram(path string, program []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, program, 0o755)
}

// config is a cluster.Config as the zoo reads it. Time limits that a test does not speak of are ones that a busy machine
// does not reach.
type config map[string]any

// zoo is a cluster under test.
type zoo struct {
	*testing.T
	dir     string
	program string // what workers are started from
	cfg     config
	cmd     *exec.Cmd
	gate    *gate
	mute    <-chan struct{} // not nil: nobody reads the log and the workers' output until it is closed
	log     *journal[entry] // of the master
	client  *cluster.Client
	ended   chan struct{} // closed when the master was reaped
	gone    chan struct{} // closed when no process of the cluster is left
}

// newZoo prepares a master whose workers run a release.
func newZoo(t *testing.T, behaviour string, cfg config) *zoo {
	t.Helper()
	dir, err := os.MkdirTemp("", "c") // that of the test is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	z := &zoo{T: t, dir: dir, program: filepath.Join(dir, "service")}
	z.cfg = config{
		"Listen": []string{"127.0.0.1:0"}, "Command": []string{z.program}, "Workers": 2,
		"PIDFile": filepath.Join(dir, "pid"), "ControlSocket": filepath.Join(dir, "control"),
		"ReadyTimeout": hang, "Bake": 50 * time.Millisecond, "KillTimeout": hang,
		"HeartbeatInterval": 50 * time.Millisecond, "HeartbeatTimeout": hang,
	}
	maps.Copy(z.cfg, cfg)
	z.gate = newGate(t, filepath.Join(dir, "gate"))
	z.deploy(behaviour)
	z.prepare()
	return z
}

// prepare makes the command of a master; the one before has ended.
func (z *zoo) prepare() {
	raw, err := json.Marshal(z.cfg)
	if err != nil {
		z.Fatal(err)
	}
	z.cmd = exec.Command(release(z.T, "good raced"))
	z.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "ZOO_CONFIG="+string(raw), "ZOO_GATE="+filepath.Join(z.dir, "gate"), "ZOO_DEBUG="+filepath.Join(z.dir, "debug"))
}

// deploy puts a release in place as deployments do, by a rename. It is a link to the program: a copy would be a file that
// was just written, which the master gives a moment to settle.
func (z *zoo) deploy(behaviour string) {
	z.Helper()
	if err := os.Symlink(release(z.T, behaviour), z.program+".new"); err != nil {
		z.Fatal(err)
	}
	z.replace(z.program + ".new")
}

func (z *zoo) replace(by string) {
	z.Helper()
	if err := os.Rename(by, z.program); err != nil {
		z.Fatal(err)
	}
}

// begin starts the master.
func (z *zoo) begin() {
	z.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		z.Fatal(err)
	}
	z.cmd.Stderr = write
	if z.mute != nil {
		z.cmd.Stdout = write
	}
	os.Remove(filepath.Join(z.dir, "debug"))
	if err := z.cmd.Start(); err != nil {
		z.Fatal(err)
	}
	write.Close()
	z.log, z.ended, z.gone = newJournal[entry](z.T), make(chan struct{}), make(chan struct{})
	cmd, log, ended, gone, mute := z.cmd, z.log, z.ended, z.gone, z.mute
	go func() {
		defer close(gone) // every process of the cluster has this pipe
		defer read.Close()
		if mute != nil {
			<-mute
		}
		for lines := bufio.NewReader(read); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			log.add(newEntry(line))
		}
	}()
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	z.Cleanup(func() {
		cmd.Process.Kill()
		wait(z.T, ended, "end of the master")
		for _, pid := range z.processes() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		wait(z.T, gone, "end of all workers")
		z.judge(log)
	})
}

// judge looks for what no test may cause, and shows the log of one that failed.
func (z *zoo) judge(log *journal[entry]) {
	for _, e := range log.list() {
		if strings.Contains(e.raw, "DATA RACE") || strings.HasPrefix(e.raw, "panic:") {
			z.Errorf("the master says: %s", e.raw)
		}
	}
	if z.Failed() {
		list := log.list()
		for _, e := range list[max(0, len(list)-60):] {
			z.Log(e.raw)
		}
	}
}

// startZoo starts a master and waits until all workers are ready.
func startZoo(t *testing.T, behaviour string, cfg config) *zoo {
	t.Helper()
	z := newZoo(t, behaviour, cfg)
	z.begin()
	z.dial()
	z.logged("all workers are ready", 1)
	return z
}

// dial opens the control socket of a master that has just begun.
func (z *zoo) dial() {
	z.Helper()
	z.logged("master started", 1)
	client, err := cluster.Dial(z.Context(), z.cfg["ControlSocket"].(string))
	if err != nil {
		z.Fatal(err)
	}
	z.client = client
}

func (z *zoo) signal(s syscall.Signal) {
	z.Helper()
	if err := z.cmd.Process.Signal(s); err != nil {
		z.Fatal(err)
	}
}

// exit waits for the end of the master and of all its workers, and returns the master's exit code.
func (z *zoo) exit() int {
	z.Helper()
	wait(z.T, z.ended, "end of the master")
	wait(z.T, z.gone, "end of all workers")
	return z.cmd.ProcessState.ExitCode()
}

// stop ends the cluster.
func (z *zoo) stop() {
	z.Helper()
	z.gate.open()
	z.signal(syscall.SIGTERM)
	if code := z.exit(); code != 0 {
		z.Errorf("the master ended with code %d", code)
	}
	z.nothingLeft()
}

// nothingLeft looks for the files of a master that has ended.
func (z *zoo) nothingLeft() {
	z.Helper()
	for _, name := range []string{"PIDFile", "ControlSocket"} {
		if _, err := os.Lstat(z.cfg[name].(string)); !errors.Is(err, os.ErrNotExist) {
			z.Errorf("%s is left: %v", name, err)
		}
	}
}

func (z *zoo) status() cluster.Status {
	z.Helper()
	s, err := z.client.Status(z.Context())
	if err != nil {
		z.Fatal(err)
	}
	return s
}

// pids returns those of the workers, by slot.
func (z *zoo) pids() []int {
	z.Helper()
	var pids []int
	for _, w := range z.status().Workers {
		pids = append(pids, w.PID)
	}
	return pids
}

// settle waits until the cluster is what it should be, with so many workers, and returns its state.
func (z *zoo) settle(workers int) (s cluster.Status) {
	z.Helper()
	eventually(z.T, "a settled cluster", func() bool {
		s = z.status()
		return s.Master.State == "running" && s.Master.Ready == workers && s.Master.Target == workers && len(s.Workers) == workers
	})
	return s
}

// reload replaces the workers by a release. All the while it asks how many are ready: never fewer than there should be
// (M8, anchors/cluster.md 2.3).
func (z *zoo) reload(behaviour string) (events []cluster.Event, err error) {
	z.Helper()
	z.deploy(behaviour)
	return z.reloadFile()
}

func (z *zoo) reloadFile() (events []cluster.Event, err error) {
	z.Helper()
	ctx, cancel := context.WithCancel(z.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	asking.Go(func() {
		for ticker := time.NewTicker(5 * time.Millisecond); ; {
			s, err := z.client.Status(ctx)
			if err == nil && s.Master.Ready < s.Master.Target {
				z.Errorf("%d of %d workers were ready during the reload", s.Master.Ready, s.Master.Target)
				return
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
	limit, stop := context.WithTimeout(z.Context(), hang)
	defer stop()
	err = z.client.Reload(limit, func(e cluster.Event) { events = append(events, e) })
	return events, err
}

// get asks any worker over the network.
func (z *zoo) get(path string) (string, error) {
	client := http.Client{Timeout: hang, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + z.address() + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// address is where the workers listen.
func (z *zoo) address() string {
	z.Helper()
	addresses := z.logged("master started", 1).fields["listening"].([]any)
	return addresses[0].(string)
}

// ask asks the master something that only its process knows, or a worker through its master.
func (z *zoo) ask(path string, into any) {
	z.Helper()
	if err := z.tryAsk(path, into); err != nil {
		z.Fatal(err)
	}
}

func (z *zoo) tryAsk(path string, into any) error {
	client := http.Client{Timeout: hang, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(z.dir, "debug"))
	}}}
	resp, err := client.Get("http://zoo" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s %w", path, resp.Status, body, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %s: %w", path, body, err)
	}
	return nil
}

func (z *zoo) askWorker(pid int, path string, into any) {
	z.Helper()
	z.ask("/worker/"+strconv.Itoa(pid)+"/"+path, into)
}
