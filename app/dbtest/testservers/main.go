// Testservers starts the servers that tests need once, runs a command with TEST_DATABASE_URL and TEST_REDIS_URL
// set to them, and closes them again:
//
//	go run ./app/dbtest/testservers -- go test -race ./...
//
// Package dbtest says which servers it chooses. The exit code is the command's.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"time"

	"doorbuster/app/dbtest"
)

const startTimeout = 10 * time.Minute // images may have to be pulled

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: testservers -- command [arguments]")
		os.Exit(2)
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testservers:", err)
	}
	os.Exit(code)
}

// run returns the exit code of the command; 1 with an error when there is none.
func run(args []string) (code int, err error) {
	signals := make(chan os.Signal, 8)
	for _, s := range passedOn {
		if s == os.Interrupt || !signal.Ignored(s) { // nohup(1) has SIGHUP ignored
			signal.Notify(signals, s)
		}
	}
	defer signal.Stop(signals)

	servers := dbtest.New(os.Getenv)
	defer func() {
		if closeErr := servers.Close(); closeErr != nil {
			code, err = max(code, 1), errors.Join(err, closeErr)
		}
	}()
	env, err := start(servers, signals)
	if err != nil {
		return 1, err
	}
	fmt.Fprintln(os.Stderr, "tests run on:", servers)

	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // running what it is told is its purpose
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	own(cmd)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			pass(cmd, s)
		case err := <-ended:
			if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
				return 1, err
			}
			return exitCode(cmd.ProcessState), nil
		}
	}
}

// start starts both servers at the same time. A signal cuts it short.
func start(servers *dbtest.Servers, signals <-chan os.Signal) (env []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	type started struct {
		env string
		err error
	}
	results := make(chan started, 2)
	go func() {
		url, err := servers.DatabaseURL(ctx)
		results <- started{"TEST_DATABASE_URL=" + url, err}
	}()
	go func() {
		url, err := servers.RedisURL(ctx)
		results <- started{"TEST_REDIS_URL=" + url, err}
	}()
	var errs []error
	for len(env) < 2 {
		select {
		case r := <-results:
			env = append(env, r.env)
			if !errors.Is(errors.Join(errs...), r.err) { // both may fail for the same reason
				errs = append(errs, r.err)
			}
		case s := <-signals:
			cancel()
			signals = nil
			errs = append(errs, fmt.Errorf("%s while the servers started", s))
		}
	}
	slices.Sort(env)
	return env, errors.Join(errs...)
}
