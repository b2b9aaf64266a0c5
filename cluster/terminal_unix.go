//go:build unix

package cluster

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// RelayScaleSignals passes SIGTTIN and SIGTTOU on for as long as they are
// commands: one worker more, one fewer. It never blocks on to. The function
// that it returns ends it.
//
// Terminals send the same two signals. Whoever reads from its controlling
// terminal while in the background gets SIGTTIN, and whoever writes to it gets
// SIGTTOU if "stty tostop" is set (termios(3)). The kernel then restarts the
// call after the handler and sends the signal again, without end. Go does not
// show who sent a signal (si_code), so the state of the terminal decides: a
// SIGTTOU is the terminal's while it has tostop set and this process is in its
// background, a SIGTTIN while it is standard input and this process is in its
// background. From the first of these on that signal is ignored, which lets
// writes through and has reads fail with EIO (n_tty.c, job_control), and log
// says so once.
//
// What is ignored is inherited by what this process starts. Workers are none
// the worse for that: it lets them write to a terminal, too.
func RelayScaleSignals(to chan<- os.Signal, log *slog.Logger) (stop func()) {
	received := make(chan os.Signal, 8)
	quit, done := make(chan struct{}), make(chan struct{})
	told := map[os.Signal]bool{}
	ignore := func(s os.Signal) {
		signal.Ignore(s)
		if !told[s] { // others may have been waiting already
			told[s] = true
			log.Warn("the terminal sends this signal to processes in its background: it is no command any more", "signal", s.String())
		}
	}
	signal.Notify(received, syscall.SIGTTIN, syscall.SIGTTOU)
	if stopsWriters() { // or the first line of the log would not get through
		ignore(syscall.SIGTTOU)
	}
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case s := <-received:
				if s == syscall.SIGTTOU && stopsWriters() || s == syscall.SIGTTIN && stopsReaders() {
					ignore(s)
					continue
				}
				select {
				case to <- s:
				default:
				}
			}
		}
	}()
	return func() {
		signal.Stop(received)
		close(quit)
		<-done
	}
}

// stopsWriters reports whether the kernel answers writes of this process to
// its controlling terminal with SIGTTOU.
func stopsWriters() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false // there is none
	}
	defer unix.Close(fd)
	settings, err := unix.IoctlGetTermios(fd, getTermios)
	return err == nil && settings.Lflag&unix.TOSTOP != 0 && inBackground(fd)
}

// stopsReaders reports whether the kernel answers reads of this process from
// its standard input with SIGTTIN.
func stopsReaders() bool { return inBackground(unix.Stdin) }

// inBackground reports whether a descriptor is this process's controlling
// terminal, and another process group is in its foreground.
func inBackground(fd int) bool {
	foreground, err := foregroundGroup(fd)
	return err == nil && foreground != unix.Getpgrp()
}
