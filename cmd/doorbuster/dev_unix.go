//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"

	"doorbuster/app/devstack"
	"doorbuster/cluster"
)

// runShop runs "doorbuster serve" as a child until that ends, and calls ready with the shop's address when it serves.
// Signals are passed on, so that it does not matter which of the two gets one.
func (c *devCommand) runShop(env *environment, databases databaseFlags, ready func(addr string)) error {
	own, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the running program: %w", err)
	}
	dir, remove, err := devstack.TempDir(notifyParent(), "dev")
	if err != nil {
		return fmt.Errorf("make a folder for the shop's word that it is open: %w", err)
	}
	defer remove() //nolint:errcheck // the next one sweeps it
	notified, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("listen for the shop's word that it is open: %w", err)
	}
	defer notified.Close()

	cmd := exec.Command(own, "serve") //nolint:noctx // it is stopped by a signal, and waited for
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notified.LocalAddr().String(), "STOP_WITH_STDIN=true")
	for _, flags := range []any{databases, c.shopFlags, c.clusterFlags, env.logFlags} {
		cmd.Env = appendFlags(cmd.Env, reflect.ValueOf(flags))
	}
	cmd.Stdout, cmd.Stderr = env.stdout, env.stderr
	// A session of its own: Ctrl-C goes to this process alone, which passes it on, as a second one would cut the drain
	// short; and no terminal stops the shop, which is never in its foreground, for writing to it (stty tostop).
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	lifeline, err := cmd.StdinPipe() // its end tells the shop that this process is no more
	if err != nil {
		return err
	}
	defer lifeline.Close()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) { // as in notify
		signal.Notify(signals, syscall.SIGHUP)
	}
	defer signal.Stop(signals)
	defer cluster.RelayScaleSignals(signals, env.log)()
	if env.signals.settle(); env.signals.stop.Err() != nil {
		return nil // it came before signals were passed on
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the shop: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	open := make(chan string, 1)
	go func() { open <- c.waitUntilOpen(env.signals.stop, notified) }()
	for told := false; ; {
		select {
		case addr := <-open:
			if addr != "" {
				ready(addr)
			}
		case s := <-signals:
			if s == syscall.SIGINT || s == syscall.SIGHUP {
				s = syscall.SIGTERM
			}
			// On a busy machine env.signals.stop may know of it later than the shop, which can end by it meanwhile.
			told = told || s == syscall.SIGTERM
			cmd.Process.Signal(s) //nolint:errcheck // it has ended, or gets it
		case err := <-done:
			env.signals.settle() // somebody may have told both
			return judgeEnd(err, told || env.signals.stop.Err() != nil)
		}
	}
}

// judgeEnd returns nil when the shop's process has ended as it should. told says that it was told to stop.
func judgeEnd(err error, told bool) error {
	exit := new(exec.ExitError)
	switch {
	case !errors.As(err, &exit):
		return err
	case told && endedBy(exit, syscall.SIGTERM):
		return nil // it was told before it could listen
	}
	return errSaid
}

const (
	notifyFolder = "doorbuster-dev-"
	maxSocket    = 103 // bytes of a socket's path: sun_path of macOS less its final zero; Linux has 107
)

// notifyParent is where the folder of the socket for the shop's word is made: the
// system's temporary directory, or /tmp if a socket's path would be too long there.
func notifyParent() string {
	const random = "4294967295" // that os.MkdirTemp adds, at its longest
	if dir := os.TempDir(); len(filepath.Join(dir, notifyFolder+random, "notify")) <= maxSocket {
		return dir
	}
	return "/tmp"
}

// endedBy reports whether a signal has ended a process, which had nothing to say about it.
func endedBy(exit *exec.ExitError, s syscall.Signal) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == s
}

// waitUntilOpen returns the shop's address when it says that it is ready (sd_notify(3)), or nothing if it never does.
func (c *devCommand) waitUntilOpen(ctx context.Context, notified *net.UnixConn) string {
	buf := make([]byte, 4096)
	for {
		n, err := notified.Read(buf)
		if err != nil {
			return ""
		}
		for line := range strings.Lines(string(buf[:n])) {
			if strings.TrimSpace(line) != "READY=1" {
				continue
			}
			client, err := cluster.Dial(ctx, c.ControlSocket)
			if err != nil {
				return ""
			}
			status, err := client.Status(ctx)
			if err != nil || len(status.Master.Listeners) == 0 {
				return ""
			}
			go io.Copy(io.Discard, notified) //nolint:errcheck // whoever notifies must not wait for room
			return status.Master.Listeners[0]
		}
	}
}

// appendFlags adds flags to an environment, by the names that they have there.
func appendFlags(env []string, flags reflect.Value) []string {
	for i := range flags.NumField() {
		field, value := flags.Type().Field(i), flags.Field(i)
		if field.Anonymous {
			env = appendFlags(env, value)
		} else if name := field.Tag.Get("env"); name != "" && name != "STOP_WITH_STDIN" {
			env = append(env, fmt.Sprintf("%s=%v", name, value.Interface()))
		}
	}
	return env
}
