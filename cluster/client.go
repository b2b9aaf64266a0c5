package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"
)

// Client gives commands to a running master. Make it with [Dial].
//
// A master that is stopped, or hangs, is no reason to wait for ever: a command that it
// does not take within Timeout fails with [ErrNotHeard], and is not carried out later
// either. The same goes for one whose context ends before that.
//
// A master of an older release, which runs on until it is stopped, may not know that:
// it does not say when it takes a command. When it answers other questions, the
// command goes on, and Notice tells. When it answers nothing, the command fails with
// [ErrNotHeard], too, and there is no way to tell that an older one may carry it out.
type Client struct {
	// Timeout is how long it may take until it is known whether the master has taken a
	// command, which it has to do within half of it, or all but 2 s. What the command
	// does may take longer. Default 5 s. Set it before the first command.
	Timeout time.Duration
	// Notice is told, in a sentence, what whoever waits for a command should know
	// about an older master. It is called from any goroutine. Default: nobody. Set it
	// before the first command.
	Notice func(string)

	http http.Client
	path string
	pid  atomic.Int64 // of the master, once known
}

// errorCodes are the codes of outcomes that are errors of this package.
var errorCodes = map[string]error{"stopped": ErrStopped, "superseded": ErrSuperseded, "not running": ErrNotRunning, "not heard": ErrNotHeard}

// maxSocketPath is the room for the path of a Unix socket in bytes, on the system that has the least (sun_path of macOS).
const maxSocketPath = 104

const socketPathTooLong = "a path of more than about 100 bytes does not work"

// Dial reaches the master that listens on a control socket. The error says if there is none.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	c := &Client{path: path}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		if raw, err := conn.(*net.UnixConn).SyscallConn(); err == nil { //nolint:forcetypeassert // of "unix"
			if _, pid, ok := credentials(raw); ok {
				c.pid.Store(int64(pid))
			}
		}
		return conn, nil
	}
	conn, err := dial(ctx, "", "")
	if err != nil {
		if len(path) >= maxSocketPath {
			err = fmt.Errorf("%w: %s", err, socketPathTooLong)
		}
		return nil, fmt.Errorf("no master listens on %s: %w", path, err)
	}
	if err := conn.Close(); err != nil {
		return nil, err
	}
	c.http.Transport = &http.Transport{DialContext: dial, DisableKeepAlives: true}
	return c, nil
}

// Status returns the state of the cluster.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	resp, err := c.send(ctx, http.MethodGet, "status", nil, "")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, failure(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("read the status: %w", err)
	}
	return s, nil
}

// Reload replaces all workers and waits for the outcome, which is that of [Master.Reload]. Meanwhile watch is called with
// what happens, if it is not nil.
func (c *Client) Reload(ctx context.Context, watch func(Event)) error {
	return c.rollout(ctx, "reload", watch)
}

// ReloadBack goes back to the release before, as [Master.ReloadBack] does, and is like
// Reload otherwise.
func (c *Client) ReloadBack(ctx context.Context, watch func(Event)) error {
	return c.rollout(ctx, "back", watch)
}

func (c *Client) rollout(ctx context.Context, name string, watch func(Event)) error {
	resp, err := c.send(ctx, http.MethodPost, name, nil, ndjson)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return failure(resp)
	}
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("the master ended before the reload did: %w", err)
		}
		var got struct {
			Event
			OK     *bool    `json:"ok"`
			Code   string   `json:"code"`
			Reason string   `json:"reason"`
			Output []string `json:"output"`
		}
		if err := json.Unmarshal(line, &got); err != nil {
			return fmt.Errorf("read what the master says: %w", err)
		}
		if got.OK == nil {
			got.Event.Reason = got.Reason
			if watch != nil {
				watch(got.Event)
			}
			continue
		}
		if *got.OK {
			return nil
		}
		if err := errorCodes[got.Code]; err != nil { // no verdict about a release
			return err
		}
		return &VerdictError{Reason: got.Reason, Output: got.Output}
	}
}

// Check returns the name of the release that a reload would adopt now, or why it would
// be refused, as [Master.Check] does.
func (c *Client) Check(ctx context.Context) (release string, err error) {
	resp, err := c.send(ctx, http.MethodPost, "check", nil, "")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", failure(resp)
	}
	var o struct {
		Release string `json:"release"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
		return "", fmt.Errorf("read what the master says: %w", err)
	}
	return o.Release, nil
}

// ScaleOptions say how to scale.
type ScaleOptions struct {
	// Force adds more workers than the machine has room for: four for each CPU (what
	// [DefaultWorkers] counts), and no more than fit into memory by
	// Config.MaxWorkerMemory. Without it that is refused. Fewer workers than there are
	// is never refused.
	Force bool
	// NoWait returns when it has begun, and does not tell how it ends.
	NoWait bool
}

// Scale sets how many workers there should be, and waits for the outcome, which is
// that of [Master.Scale].
func (c *Client) Scale(ctx context.Context, workers int) error {
	return c.ScaleWith(ctx, workers, ScaleOptions{})
}

// ScaleWith is Scale with options.
func (c *Client) ScaleWith(ctx context.Context, workers int, options ScaleOptions) error {
	name := "scale"
	if options.NoWait {
		name += "?wait=false"
	}
	body := map[string]any{"workers": workers}
	if options.Force {
		body["force"] = true
	}
	_, resp, err := c.request(ctx, http.MethodPost, name, body)
	if err == nil && !resp.tells && !options.NoWait {
		c.notify("the master is of an older release, which does not tell how scaling ends: the status does")
	}
	return err
}

// Restart replaces the worker in a slot, as [Master.Restart] does, and waits for the
// outcome.
func (c *Client) Restart(ctx context.Context, slot int) error {
	_, err := c.command(ctx, "restart", map[string]int{"slot": slot})
	return err
}

// Drain tells the worker in a slot to leave, as [Master.Drain] does, and waits for
// the outcome.
func (c *Client) Drain(ctx context.Context, slot int) error {
	_, err := c.command(ctx, "drain", map[string]int{"slot": slot})
	return err
}

// Reset closes all circuit breakers, as [Master.Reset] does.
func (c *Client) Reset(ctx context.Context) error {
	_, err := c.command(ctx, "reset", nil)
	return err
}

// Kill kills the worker in a slot, as [Master.Kill] does.
func (c *Client) Kill(ctx context.Context, slot int) error {
	_, err := c.command(ctx, "kill", map[string]int{"slot": slot})
	return err
}

// Stop shuts the cluster down, as [Master.Stop] does, and waits until the last worker is gone. It returns nil also when
// the master has ended meanwhile for another reason.
func (c *Client) Stop(ctx context.Context) error {
	_, err := c.command(ctx, "stop?wait=true", nil)
	return c.unlessEnded(err)
}

// StopNow shuts the cluster down at once, as [Master.StopNow] does, and is like Stop otherwise.
func (c *Client) StopNow(ctx context.Context) error {
	_, resp, err := c.request(ctx, http.MethodPost, "stop?now=true", nil)
	if err != nil {
		return c.unlessEnded(err)
	}
	wait := "stop?now=true&wait=true" // which asks for nothing more
	if !resp.tells {
		wait = "stop?wait=true" // to an older master the first was a plain one, and a second one is what is meant: if it was stopping already, it kills
	}
	_, err = c.command(ctx, wait, nil)
	return c.unlessEnded(err)
}

// unlessEnded is nil when the master has ended in order: it removes the socket when the last worker is gone.
func (c *Client) unlessEnded(err error) error {
	if _, gone := os.Lstat(c.path); errors.Is(gone, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Set gives a setting to all workers and returns how many have it.
func (c *Client) Set(ctx context.Context, key, value string) (applied int, err error) {
	return c.command(ctx, "settings", map[string]string{"key": key, "value": value})
}

// Unset takes a setting back, as [Master.Unset] does, and returns how many workers
// have it until they are replaced.
func (c *Client) Unset(ctx context.Context, key string) (left int, err error) {
	left, _, err = c.request(ctx, http.MethodDelete, "settings?key="+url.QueryEscape(key), nil)
	return left, err
}

func (c *Client) command(ctx context.Context, name string, body any) (workers int, err error) {
	workers, _, err = c.request(ctx, http.MethodPost, name, body)
	return workers, err
}

func (c *Client) request(ctx context.Context, method, name string, body any) (workers int, resp *response, err error) {
	resp, err = c.send(ctx, method, name, body, "")
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, resp, failure(resp)
	}
	var o struct {
		Workers int `json:"workers"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
		return 0, resp, fmt.Errorf("read what the master says: %w", err)
	}
	return o.Workers, resp, nil
}

// failure reads why a command failed.
func failure(resp *response) error {
	var o struct {
		Code   string   `json:"code"`
		Reason string   `json:"reason"`
		Output []string `json:"output"`
	}
	err := json.NewDecoder(resp.Body).Decode(&o)
	switch known := errorCodes[o.Code]; {
	case !resp.tells && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed):
		return errUnknown
	case err != nil || o.Reason == "":
		return fmt.Errorf("the master answered %s", resp.Status)
	case known != nil:
		return known
	case resp.StatusCode == http.StatusConflict:
		return &VerdictError{Reason: o.Reason, Output: o.Output}
	case !resp.tells && resp.StatusCode == http.StatusBadRequest:
		return fmt.Errorf("%w: %s", errUnknown, o.Reason)
	}
	return errors.New(o.Reason)
}
