package cluster_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is the side of a pseudoterminal that a person would sit at.
type terminal struct {
	*os.File
	programs *os.File // the other side
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudoterminals here: ", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetUint32(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	programs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("the pseudoterminals here can't be opened: ", err)
	}
	t.Cleanup(func() { programs.Close() })
	return &terminal{person, programs}
}

// tostop is "stty tostop": whoever writes in the background is stopped.
func (p *terminal) tostop(t *testing.T) {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(p.Fd()), unix.TCGETS)
	if err == nil {
		settings.Lflag |= unix.TOSTOP
		err = unix.IoctlSetTermios(int(p.Fd()), unix.TCSETS, settings)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// beginOnTerminal starts the master as an interactive shell does that is told
// to run it in the background.
func (z *zoo) beginOnTerminal(p *terminal) {
	z.Helper()
	z.cmd.Args = []string{"sh", "-mc", `"$0" & wait`, z.cmd.Path}
	z.cmd.Path = "/bin/sh"
	z.cmd.Stdin, z.cmd.Stdout, z.cmd.Stderr = p.programs, p.programs, p.programs
	z.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := z.cmd.Start(); err != nil {
		z.Fatal(err)
	}
	p.programs.Close()
	z.log, z.ended, z.gone = newJournal[entry](z.T), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(z.gone)
		for lines := bufio.NewReader(p); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			z.log.add(newEntry(strings.ReplaceAll(line, "\r", "")))
		}
	}()
	go func() {
		defer close(z.ended)
		z.cmd.Wait()
	}()
	z.Cleanup(func() {
		for _, pid := range z.processes() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		wait(z.T, z.ended, "end of the shell")
		wait(z.T, z.gone, "end of all workers")
		z.judge(z.log)
	})
}

// A terminal that stops those who write to it in the background, or read from
// it, neither stops a master, nor scales it, nor keeps it busy: its log gets
// through, and it has as many workers as it was told.
func TestBackgroundOfATerminal(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"tostop before the start": true, "tostop later": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openTerminal(t)
			if early {
				p.tostop(t)
			}
			z := newZoo(t, "good", nil)
			z.beginOnTerminal(p)
			z.dial()
			master := z.settle(2).Master.PID
			if !early {
				p.tostop(t)
			}
			if err := z.client.Scale(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			z.logged("scaling", 1)
			told := func(signal string) {
				t.Helper()
				z.log.wait(1, "word of "+signal, func(e entry) bool {
					return strings.HasPrefix(e.message, "the terminal sends this signal") && e.fields["signal"] == signal
				})
			}
			told("stopped (tty output)")
			if err := syscall.Kill(master, syscall.SIGTTIN); err != nil { // as for a read by somebody in its process
				t.Fatal(err)
			}
			told("stopped (tty input)")
			z.settle(3)
			if n := z.times("scaling"); n != 1 {
				t.Errorf("it was scaled %d times", n)
			}
			if err := z.client.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			wait(t, z.ended, "end of the shell")
			z.nothingLeft()
		})
	}
}

// Whoever starts a master under nohup(1) has it ignore SIGHUP. It does. The
// background of a script has it ignore SIGINT too; that one stops it all the
// same (M15).
func TestIgnoredSignals(t *testing.T) {
	t.Parallel()
	z := newZoo(t, "good", nil)
	z.cmd.Args = []string{"sh", "-c", `trap "" HUP INT; exec "$0"`, z.cmd.Path}
	z.cmd.Path = "/bin/sh"
	z.begin()
	z.dial()
	z.settle(2)
	z.signal(syscall.SIGHUP)
	z.signal(syscall.SIGTTIN)
	z.settle(3)
	for _, e := range z.log.list() {
		if strings.HasPrefix(e.message, "SIGHUP is kept") {
			t.Error("SIGHUP is taken")
		}
	}
	z.signal(syscall.SIGINT)
	wait(t, z.ended, "end after SIGINT")
	z.nothingLeft()
}
