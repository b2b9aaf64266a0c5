package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
	"time"
)

const (
	heardTimeout = 5 * time.Second
	// The last part of the time limit, half of it and this at most, is for finding out
	// why the master has not said that it took a command. The word that it did has
	// that time to arrive.
	probeTimeout = 2 * time.Second
	// leavingTimeout is how long that takes for one who leaves before.
	leavingTimeout = time.Second

	deadlineHeader  = "Cluster-Deadline"  // of a command: after that it is not carried out
	abilitiesHeader = "Cluster-Abilities" // of every answer: the master knows deadlines
	ndjson          = "application/x-ndjson"
)

var errUnknown = fmt.Errorf("%w, which does not know this command: it has to be stopped and started once", ErrOlder)

// response is what a master has answered.
type response struct {
	*http.Response
	tells bool // that it takes a command; if not, the master is of an older release
}

// What is known of a command.
const (
	underWay int32 = iota
	heard          // the master has taken it, or has answered
	older          // the master answers, but does not tell
	givenUp
)

// send gives a command, and returns when the master has answered or will not.
func (c *Client) send(ctx context.Context, method, name string, body any, accept string) (*response, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(raw)
	}
	limit := cmp.Or(c.Timeout, heardTimeout)
	probe := min(limit/2, probeTimeout)
	until := time.Now().Add(limit - probe)
	var state atomic.Int32
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	taken := &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
		state.CompareAndSwap(underWay, heard)
		return nil
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, taken), method, "http://master/api/v1/"+name, content)
	if err != nil {
		cancel(err)
		return nil, err
	}
	req.Header.Set(deadlineHeader, until.Format(time.RFC3339Nano))
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	timer := time.AfterFunc(limit-probe, func() {
		if state.Load() != underWay {
			return
		}
		last := time.NewTimer(probe)
		defer last.Stop()
		if c.isOlder(outer, probe) {
			if state.CompareAndSwap(underWay, older) {
				c.notify("the master is of an older release, which does not tell whether it has taken a command; it answers, so it most likely has: waiting on")
			}
			return
		}
		select {
		case <-last.C:
			if state.CompareAndSwap(underWay, givenUp) {
				cancel(ErrNotHeard)
			}
		case <-ctx.Done():
		}
	})
	resp, err := c.http.Do(req)
	timer.Stop()
	if err == nil && state.Load() != givenUp {
		tells := state.Load() == heard || resp.Header.Get(abilitiesHeader) != ""
		state.Store(heard)
		resp.Body = &answerBody{resp.Body, cancel}
		return &response{resp, tells}, nil
	}
	if err == nil { // in the very moment of giving up
		resp.Body.Close()
		err = ErrNotHeard
	}
	defer cancel(err)
	cause := context.Cause(ctx)
	silent := cause != nil && state.Load() == underWay
	switch {
	case errors.Is(cause, ErrNotHeard):
		return nil, fmt.Errorf("%w within %v: %s", ErrNotHeard, limit, stateOf(int(c.pid.Load())))
	case cause != nil && state.Load() == older, silent && c.isOlder(context.WithoutCancel(outer), leavingTimeout):
		return nil, fmt.Errorf("%w; %w, and may carry the command out", cause, ErrOlder)
	case silent:
		return nil, fmt.Errorf("%w, and %w", ErrNotHeard, cause)
	}
	return nil, fmt.Errorf("talk to the master on %s: %w", c.path, err)
}

// isOlder reports whether the master answers a question within a time limit, and is of
// a release that does not tell when it takes a command.
func (c *Client) isOlder(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://master/api/v1/status", nil)
	if err != nil {
		return false
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && resp.Header.Get(abilitiesHeader) == ""
}

func (c *Client) notify(notice string) {
	if c.Notice != nil {
		c.Notice(notice)
	}
}

// answerBody is that of an answer; its Close ends the context, too.
type answerBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (a *answerBody) Close() error {
	defer a.cancel(nil)
	return a.ReadCloser.Close()
}
