// Package cli is how the measuring programs begin and end.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit statuses. 130 is what a shell reports for a program that ended by Ctrl-C.
const (
	OK          = 0
	Failed      = 1
	BadUsage    = 2
	Interrupted = 130
)

// Main runs a program and exits with the status it returns. Its context ends by Ctrl-C, SIGTERM or SIGHUP. The last stays
// ignored under nohup(1); SIGINT is taken even where a script's background ignores it, so that what was started is removed.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	signals := []os.Signal{syscall.SIGTERM, os.Interrupt}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// Refuse says what is wrong with a command line, unless it only asked for help, and returns the exit status.
func Refuse(stderr io.Writer, program string, err error) int {
	if errors.Is(err, flag.ErrHelp) {
		return OK
	}
	fmt.Fprintf(stderr, "%s: %v\n", program, err)
	return BadUsage
}

// Finish says what kept a program from its work, if anything did, and returns the exit status. Programs stop and remove what
// they started before they call it.
func Finish(ctx context.Context, stderr io.Writer, program string, err error) int {
	switch {
	case ctx.Err() != nil: // what failed by it is no news
		fmt.Fprintf(stderr, "%s: interrupted; what was started is stopped and removed\n", program)
		return Interrupted
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return Failed
	}
	return OK
}
