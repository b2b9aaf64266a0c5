//go:build unix

package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"doorbuster/cluster"
)

// strangersModule is testdata/lift as a module of somebody else: in a folder
// outside this repository, with no other file of it.
var strangersModule = sync.OnceValues(func() (dir string, err error) {
	checkout, err := filepath.Abs("..")
	if err != nil {
		return "", err
	}
	program, programErr := os.ReadFile(filepath.Join("testdata", "lift", "main.go"))
	sums, sumsErr := os.ReadFile(filepath.Join(checkout, "go.sum")) // a stranger's own would say the same
	dir = filepath.Join(zooDir, "lift")
	module := fmt.Sprintf("module example.com/lift\n\ngo 1.26.0\n\nrequire doorbuster v0.0.0\n\nreplace doorbuster => %s\n", checkout)
	if err := errors.Join(
		programErr, sumsErr, os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "go.mod"), []byte(module), 0o644),
		os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644),
		os.WriteFile(filepath.Join(dir, "main.go"), program, 0o644),
	); err != nil {
		return "", err
	}
	return dir, runIn(dir, nil, "go", "mod", "tidy")
})

func runIn(dir string, env []string, command ...string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "GOFLAGS=", "GOWORK=off"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
	}
	return nil
}

// firstVersion is the version that the program is linked with. A new one is a
// copy with another in its place: linking takes seconds.
const firstVersion = "version-00"

// A program of a stranger's that uses this package builds, on every system, and
// takes no module along but golang.org/x/sys.
func TestLiftBuilds(t *testing.T) {
	t.Parallel()
	dir, err := strangersModule()
	if err != nil {
		t.Fatal(err)
	}
	for _, system := range systems {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			if err := runIn(dir, []string{"GOOS=" + system, "CGO_ENABLED=0"}, "go", "build", "-o", os.DevNull, "."); err != nil {
				t.Error(err)
			}
		})
	}
	module, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(module)) {
		if strings.Contains(line, " // indirect") && !strings.Contains(line, "golang.org/x/sys ") {
			t.Errorf("it takes along %s", line)
		}
	}
}

// The whole promise, to a stranger: the service of testdata/lift, on two
// addresses, plain and TLS, over HTTP/1.1 and HTTP/2, with streams and upgraded
// connections, is reloaded ten times under traffic by another executable, and
// twice by the same one. No client fails that honours what it is told.
func TestLift(t *testing.T) {
	t.Parallel()
	l := startLifted(t)
	c := l.admit()
	reloads := 0
	reload := func(how string) {
		t.Helper()
		reloads++
		if how == "by a signal" {
			if err := l.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
		} else if err := l.client.Reload(t.Context(), nil); err != nil {
			t.Fatalf("reload %d: %v", reloads, err)
		}
		l.settle(reloads)
	}
	for n := range 10 {
		version := fmt.Sprintf("version-%02d", n+1)
		l.deploy(version)
		reload([]string{"by command", "by a signal"}[n%2])
		c.meet(version)
		switch n {
		case 3, 7: // the same executable again
			reload("by command")
		case 5:
			l.renew()
		}
	}
	c.dismiss()
	l.stop()
}

// lifted is the service of testdata/lift while it runs.
type lifted struct {
	*testing.T
	dir           string
	program       []byte // as it was linked
	trusted       *x509.CertPool
	second        *tls.Certificate // the one that is put in place later
	cmd           *exec.Cmd
	log           *journal[string] // what the master and the workers say
	ended         chan struct{}    // closed when the master was reaped
	gone          chan struct{}    // closed when no process is left
	client        *cluster.Client
	plain, secure string // addresses
}

func startLifted(t *testing.T) *lifted {
	t.Helper()
	module, err := strangersModule()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "l") // that of the test is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lifted{
		T: t, dir: dir, trusted: x509.NewCertPool(), second: certificate(t, "second"), log: newJournal[string](t),
		ended: make(chan struct{}), gone: make(chan struct{}),
	}
	build := []string{"go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "linked"), "-ldflags", "-s -w -X main.version=" + firstVersion}
	if raced() {
		build = append(build, "-race")
	}
	if err := runIn(module, nil, append(build, ".")...); err != nil {
		t.Fatal(err)
	}
	if l.program, err = os.ReadFile(filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	l.deploy(firstVersion)
	first := certificate(t, "first")
	l.trusted.AddCert(first.Leaf)
	l.trusted.AddCert(l.second.Leaf)
	l.certify(first)
	l.begin()
	return l
}

// begin starts the master, and waits until all workers are ready.
func (l *lifted) begin() {
	l.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		l.Fatal(err)
	}
	l.cmd = exec.Command(filepath.Join(l.dir, "service"), "-plain", "127.0.0.1:0", "-tls", "127.0.0.1:0",
		"-certificate", filepath.Join(l.dir, "service.pem"), "-state", l.dir, "-workers", "2")
	l.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	l.cmd.Stderr = write
	if err := l.cmd.Start(); err != nil {
		l.Fatal(err)
	}
	write.Close()
	go func() {
		defer close(l.gone) // every process has this pipe
		defer read.Close()
		for lines := bufio.NewScanner(read); lines.Scan(); {
			l.log.add(lines.Text())
		}
	}()
	go func() {
		defer close(l.ended)
		l.cmd.Wait()
	}()
	l.Cleanup(func() {
		l.cmd.Process.Kill()
		wait(l.T, l.ended, "end of the master")
		wait(l.T, l.gone, "end of the workers, which their master's end tells to leave")
		l.judge()
	})
	l.log.wait(1, "all workers are ready", func(line string) bool { return strings.Contains(line, "all workers are ready") })
	if l.client, err = cluster.Dial(l.Context(), filepath.Join(l.dir, "lift.sock")); err != nil {
		l.Fatal(err)
	}
	listeners := l.status().Master.Listeners
	l.plain, l.secure = listeners[0], listeners[1]
}

// judge looks for what no reload may cause, and shows the log of a failure.
func (l *lifted) judge() {
	lines := l.log.list()
	for _, line := range lines {
		if strings.Contains(line, " ERROR ") || strings.Contains(line, "DATA RACE") || strings.HasPrefix(line, "panic:") {
			l.Errorf("the service says: %s", line)
		}
	}
	if l.Failed() {
		l.Log(strings.Join(lines[max(0, len(lines)-100):], "\n"))
	}
}

func (l *lifted) status() cluster.Status {
	l.Helper()
	s, err := l.client.Status(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return s
}

// deploy puts an executable with another content in place, by a rename.
func (l *lifted) deploy(version string) {
	l.Helper()
	path := filepath.Join(l.dir, "service")
	program := bytes.ReplaceAll(l.program, []byte(firstVersion), []byte(version))
	if err := errors.Join(writeProgram(path+".new", program), os.Rename(path+".new", path)); err != nil {
		l.Fatal(err)
	}
}

// settle waits until the last of so many reloads is over, and all went well.
func (l *lifted) settle(reloads int) {
	l.Helper()
	var s cluster.Status
	eventually(l.T, "the end of the reload", func() bool {
		s = l.status()
		return s.Master.ReloadsTotal == reloads && s.Master.State == "running"
	})
	if s.Master.ReloadsFailed != 0 || s.Master.CrashesTotal != 0 {
		l.Fatalf("%d of %d reloads failed, and %d workers crashed", s.Master.ReloadsFailed, reloads, s.Master.CrashesTotal)
	}
}

// certify puts a certificate in place.
func (l *lifted) certify(c *tls.Certificate) {
	l.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		l.Fatal(err)
	}
	text := slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	)
	path := filepath.Join(l.dir, "service.pem")
	if err := errors.Join(os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path)); err != nil {
		l.Fatal(err)
	}
}

// renew replaces the certificate. Workers show the new one without a reload.
func (l *lifted) renew() {
	l.Helper()
	l.certify(l.second)
	conn, err := l.dialTLS(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	defer conn.Close()
	if got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]; !got.Equal(l.second.Leaf) {
		l.Errorf("a worker shows the certificate %v, and there is the newer one %v", got.Subject, l.second.Leaf.Subject)
	}
}

func (l *lifted) dialPlain(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", l.plain)
}

// dialTLS offers HTTP/1.1 only.
func (l *lifted) dialTLS(ctx context.Context) (net.Conn, error) {
	d := tls.Dialer{Config: &tls.Config{RootCAs: l.trusted, NextProtos: []string{"http/1.1"}}}
	return d.DialContext(ctx, "tcp", l.secure)
}

// stop ends the service, and looks for what it may have left behind.
func (l *lifted) stop() {
	l.Helper()
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		l.Fatal(err)
	}
	wait(l.T, l.ended, "end of the master")
	wait(l.T, l.gone, "end of all workers")
	if code := l.cmd.ProcessState.ExitCode(); code != 0 {
		l.Errorf("the service ended with code %d", code)
	}
	for _, name := range []string{"lift.pid", "lift.sock"} {
		if _, err := os.Lstat(filepath.Join(l.dir, name)); !errors.Is(err, os.ErrNotExist) {
			l.Errorf("%s is left: %v", name, err)
		}
	}
}
