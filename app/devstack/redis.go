package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

const redisSocket = "redis.sock"

// Redis is a private Redis: a server program, or miniredis in this process. Its methods may be called from any
// goroutine.
type Redis struct {
	kind   string
	url    string
	server redisServer
}

// A redisServer is a program (daemon) or a goroutine (inProcess).
type redisServer interface {
	start(context.Context) error
	stop() error
	kill()
	pause() error
	resume() error
	close() error
}

// StartRedis starts Redis and returns when it answers. ctx bounds the start only.
func StartRedis(ctx context.Context, o Options) (*Redis, error) {
	return startRedis(ctx, o, exec.LookPath)
}

func startRedis(ctx context.Context, o Options, lookPath func(string) (string, error)) (_ *Redis, err error) {
	if needsUnix != "" {
		return startMiniredis(o)
	}
	home, err := openHome(ctx, o.Dir, "redis", redisSocket)
	if err != nil {
		return nil, fmt.Errorf("start Redis: %w", err)
	}
	program, kind := findRedis(ctx, home.as, lookPath)
	if program == "" {
		if err := home.close(); err != nil {
			return nil, err
		}
		return startMiniredis(o)
	}
	socket := filepath.Join(home.sockets, redisSocket)
	d := &daemon{
		name: kind, home: home,
		command: func() *exec.Cmd { return redisCommand(program, socket, home) },
		ready:   func(ctx context.Context, _ int) error { return pingRedis(ctx, socket) },
		stops:   []syscall.Signal{syscall.SIGTERM},
		death:   syscall.SIGKILL,
	}
	if !home.temporary {
		d.death = syscall.SIGTERM // writes what it remembers first
	}
	o.say(fmt.Sprintf("starting %s from %s", kind, program))
	if err := d.start(ctx); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return &Redis{kind: kind, url: (&url.URL{Scheme: "unix", Path: socket}).String(), server: d}, nil
}

// URL is understood by go-redis, and stays the same as long as this Redis is not closed.
func (r *Redis) URL() string { return r.url }

// Kind names the server: "redis-server 7.0.15", "valkey-server 8.1.1" or "miniredis (in this process)".
func (r *Redis) Kind() string { return r.kind }

// Start starts the server again after Stop or Kill, on the same URL. Without Options.Dir a server program has
// forgotten everything; miniredis forgets nothing.
func (r *Redis) Start(ctx context.Context) error { return r.server.start(ctx) }

// Stop shuts the server down in good order.
func (r *Redis) Stop() error { return r.server.stop() }

// Kill ends the server at once, as a crash would.
func (r *Redis) Kill() { r.server.kill() }

// Pause freezes the server: connections stay open and nobody answers. miniredis returns [errors.ErrUnsupported].
func (r *Redis) Pause() error { return r.server.pause() }

// Resume undoes Pause.
func (r *Redis) Resume() error { return r.server.resume() }

// Close stops the server for good and removes its directory if it is temporary. Closing again does nothing.
func (r *Redis) Close() error { return r.server.close() }

var redisVersion = regexp.MustCompile(`v=(\S+)`)

// findRedis returns the first server program that the account can run, and its name and version.
func findRedis(ctx context.Context, as *account, lookPath func(string) (string, error)) (program, kind string) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		path, err := lookPath(name)
		if err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, path, "--version")
		cmd.SysProcAttr, cmd.Dir = attributes(as, 0), "/"
		out, err := cmd.Output()
		if err != nil {
			continue
		}
		if m := redisVersion.FindSubmatch(out); m != nil {
			return path, name + " " + string(m[1])
		}
	}
	return "", ""
}

func redisCommand(program, socket string, home *home) *exec.Cmd {
	args := []string{
		"--port", "0", "--unixsocket", socket, "--unixsocketperm", "700",
		"--dir", home.dir, "--daemonize", "no", "--logfile", "", "--save", "",
	}
	if home.temporary {
		args = append(args, "--appendonly", "no")
	} else {
		args = append(args, "--appendonly", "yes", "--appendfsync", "everysec")
	}
	return exec.Command(program, args...) //nolint:noctx // it outlives the context of Start
}

// pingRedis connects once and sends PING. Redis answers an error while it still reads its data.
func pingRedis(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if answer != "+PONG\r\n" {
		return fmt.Errorf("it answers %q", strings.TrimSpace(answer))
	}
	return nil
}
