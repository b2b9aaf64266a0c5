//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

var passedOn = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// own gives the command a session, so that it gets a Ctrl-C from us and not from the terminal as well: to some commands a
// second one means "at once". In a mere process group it would be stopped for writing to the terminal (stty tostop).
func own(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// pass sends the signal to the command and what it started.
func pass(cmd *exec.Cmd, s os.Signal) {
	if s, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(-cmd.Process.Pid, s)
	}
}

// exitCode is what a shell would say: 128 and the signal for a command that died of one.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
