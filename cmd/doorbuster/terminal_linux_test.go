package main_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"doorbuster/app/dbtest"
)

// openPseudoterminal returns both sides of a pseudoterminal that stops those who
// write to it in the background.
func openPseudoterminal(t *testing.T) (person, programs *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudoterminals here: ", err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		settings.Lflag |= unix.TOSTOP
		err = unix.IoctlSetTermios(fd, unix.TCSETS, settings)
	}
	if err != nil {
		t.Fatal(err)
	}
	programs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("the pseudoterminals here can't be opened: ", err)
	}
	return person, programs
}

// onTerminal is a program that was started on a terminal of its own.
type onTerminal struct {
	t      *testing.T
	dir    string // its runtime directory
	person *os.File
	said   *journal
	at     position
	ended  chan error
}

// startOnTerminal runs a command, with a shop's settings, as the leader of a
// session on a terminal with "stty tostop".
func startOnTerminal(t *testing.T, command ...string) *onTerminal {
	t.Helper()
	person, programs := openPseudoterminal(t)
	defer programs.Close()
	p := &onTerminal{t: t, dir: shortTempDir(t), person: person, ended: make(chan error, 1)}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "XDG_RUNTIME_DIR=" + p.dir, "TMPDIR=" + shortTempDir(t),
		"ADMIN_ADDR=127.0.0.1:0", "ADDR=127.0.0.1:0", "WORKERS=2", "DATABASE_URL=" + dbtest.Database(t), "REDIS_URL=" + dbtest.Redis(t),
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = programs, programs, programs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.said = newJournal(person)
	go func() { p.ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		if t.Failed() {
			t.Log(p.said)
		}
	})
	return p
}

func (p *onTerminal) says(text string) {
	p.t.Helper()
	if !p.said.await(&p.at, func(line string) bool { return strings.Contains(line, text) }) {
		p.t.Fatalf("it does not say %q", text)
	}
}

// end waits until the program has ended in order.
func (p *onTerminal) end() {
	p.t.Helper()
	p.says("master stopped")
	if err := <-p.ended; err != nil {
		p.t.Error(err)
	}
	for _, line := range p.said.all() {
		if strings.Contains(line, "crash") {
			p.t.Errorf("it says %q", line)
		}
	}
}

func (p *onTerminal) scaled() (times int) {
	for _, line := range p.said.all() {
		if strings.Contains(line, "msg=scaling") {
			times++
		}
	}
	return times
}

// dev opens the shop on a terminal with "stty tostop", in whose background its
// child would be, and ends on Ctrl-C, with nothing scaled in between.
func TestDevOnATerminal(t *testing.T) {
	t.Parallel()
	p := startOnTerminal(t, binary, "dev")
	p.says("Ctrl-C stops everything")
	if _, err := p.person.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	p.end()
	if n := p.scaled(); n != 0 {
		t.Errorf("it was scaled %d times", n)
	}
}

// serve opens the shop in the background of such a terminal, and takes a SIGTTIN
// for the command that it is there: it does not read from the terminal.
func TestServeInTheBackgroundOfATerminal(t *testing.T) {
	t.Parallel()
	p := startOnTerminal(t, "/bin/sh", "-mc", `"$0" serve & wait`, binary)
	p.says("all workers are ready")
	raw, err := os.ReadFile(filepath.Join(p.dir, "doorbuster", "doorbuster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	master, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if len(p.ended) == 0 && t.Failed() {
			syscall.Kill(master, syscall.SIGKILL)
		}
	})
	if err := syscall.Kill(master, syscall.SIGTTIN); err != nil {
		t.Fatal(err)
	}
	p.says("msg=scaling")
	if code, stdout, stderr := do(t, []string{"XDG_RUNTIME_DIR=" + p.dir}, "stop"); code != 0 {
		t.Errorf("stop: got exit code %d, output %q, errors %q", code, stdout, stderr)
	}
	p.end()
	if n := p.scaled(); n != 1 {
		t.Errorf("it was scaled %d times", n)
	}
}

// ignoredBy reads which signals a process ignores.
func ignoredBy(t *testing.T, pid int) (mask uint64) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if digits, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			if mask, err = strconv.ParseUint(strings.TrimSpace(digits), 16, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	return mask
}

// A SIGHUP that nohup(1) has a program ignore stays ignored: a terminal that
// closes ends none of them. A SIGINT that the background of a script has it
// ignore ends it in order: "kill -INT $!" is meant.
func TestNohup(t *testing.T) {
	t.Parallel()
	servers := []string{"ADDR=127.0.0.1:0", "PLAIN_HTTP=true", "DATABASE_URL=" + dbtest.Database(t), "REDIS_URL=" + dbtest.Redis(t)}
	for name, serving := range map[string]func(*process){
		"worker": func(p *process) { p.await(new(position), "serving", nil) },
		"serve":  func(p *process) { p.await(new(position), "all workers are ready", nil) },
		"dev":    func(p *process) { p.until("Ctrl-C stops everything") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, append([]string{"TMPDIR=" + shortTempDir(t), "WORKERS=1"}, servers...),
				"/bin/sh", "-c", `trap "" HUP INT; exec "$0" "$1"`, binary, name)
			serving(p)
			const hangup, interrupt = 1 << (syscall.SIGHUP - 1), 1 << (syscall.SIGINT - 1)
			if mask := ignoredBy(t, p.cmd.Process.Pid); mask&hangup == 0 || mask&interrupt != 0 {
				t.Errorf("it ignores the signals %#x, want SIGHUP and not SIGINT among them", mask)
			}
			p.signal(syscall.SIGHUP)
			p.signal(syscall.SIGINT)
			if code := p.wait(); code != 0 {
				t.Errorf("got exit code %d", code)
			}
		})
	}
}

// The token of the admin address is not among the arguments of workers, which
// everybody on the machine can read, nor in their environment.
func TestAdminTokenIsTheMastersAlone(t *testing.T) {
	t.Parallel()
	const token = "hunter2-pa55"
	for name, args := range map[string][]string{"one word": {"--admin-token=" + token}, "two words": {"--admin-token", token}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := launchShop(t, []string{"WORKERS=1", "ADMIN_TOKEN=another"}, append([]string{binary, "serve", "--log-level=debug"}, args...)...)
			s.await(&s.at, "all workers are ready", nil)
			pid := s.pids()[1]
			for _, file := range []string{"cmdline", "environ"} {
				raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
				if err != nil || strings.Contains(string(raw), token) || strings.Contains(string(raw), "admin-token") || strings.Contains(string(raw), "ADMIN_TOKEN") {
					t.Errorf("%s of a worker: %q, %v", file, raw, err)
				}
				if file == "cmdline" && !strings.Contains(string(raw), "--log-level=debug") {
					t.Errorf("the other arguments are gone: %q", raw)
				}
			}
			if code, _ := get(t, stranger(), "GET", s.admin+"/api/v1/status", "", "Authorization", "Bearer "+token); code != http.StatusOK {
				t.Errorf("with the token: got %d", code)
			}
			s.close()
		})
	}
}
