package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// LogLine is a line that a worker has written to its standard output or standard
// error.
type LogLine struct {
	Time time.Time `json:"time"` // when the master has read it
	Slot int       `json:"slot,omitempty"`
	PID  int       `json:"pid,omitempty"`
	Text string    `json:"text,omitempty"` // in UTF-8; other bytes are a question mark
	// Missed is not 0 in what is no line: so many lines were dropped here, because
	// whoever follows did not keep up.
	Missed int `json:"missed,omitempty"`
}

// LogOptions say which lines are read.
type LogOptions struct {
	// Slot is that of the workers whose lines are read. 0: all.
	Slot int
	// Last is how many of the last lines come first. 0: all that are kept, which is 64
	// KiB for each slot; negative: none.
	Last int
	// Follow goes on with what workers write from then on.
	Follow bool
}

// Logs reads what workers have written, one line after the other, in the order in
// which the master has read them. Those of workers that are no more are among them,
// as long as their slot has not written too much since.
//
// It returns nil at the end: of the lines that are there, or, for one who follows,
// of the master. The master waits for nobody: what one who follows is too slow for
// is dropped, and LogLine.Missed tells.
func (c *Client) Logs(ctx context.Context, o LogOptions, each func(LogLine)) error {
	q := url.Values{}
	if o.Slot != 0 {
		q.Set("slot", strconv.Itoa(o.Slot))
	}
	if o.Last != 0 {
		q.Set("n", strconv.Itoa(max(o.Last, 0)))
	}
	if o.Follow {
		q.Set("follow", "true")
	}
	resp, err := c.send(ctx, http.MethodGet, "logs?"+q.Encode(), nil, ndjson)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return failure(resp)
	}
	for lines := json.NewDecoder(resp.Body); ; {
		var line LogLine
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("the master ended in the middle of its log: %w", err)
		}
		each(line)
	}
}
