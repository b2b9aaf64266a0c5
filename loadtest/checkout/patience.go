package main

import (
	"cmp"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"doorbuster/app/audit"
	"doorbuster/loadtest/internal/client"
)

// A member of a herd tries until it knows.
type member struct {
	buyer  buyer
	client *client.Client
	told   []told
}

// told is what a member was told by one try: a line of the acknowledgement log, and what we want to know besides.
type told struct {
	audit.Ack
	After int64 `json:"after_us"`       // from the release to the answer
	Last  bool  `json:"last,omitempty"` // a definite answer, or the last that it waited for
}

// How long a member is patient. An answer may take as long as the shop's own queue and everything after it; a customer
// who was sent away twenty times leaves.
const (
	answerLimit = time.Minute
	maxTries    = 20
	firstPause  = time.Second // where nobody says how long
)

// persist checks out until there is a definite answer: the same request with the same key each time.
func (m *member) persist(ctx context.Context, start time.Time, pause func(context.Context, time.Duration)) {
	for try := 1; ; try++ {
		t, again := read(m.buyer.checkOut(ctx, m.client))
		t.Key, t.SKU, t.Quantity = m.buyer.key, m.buyer.sku, 1
		t.After, t.Last = time.Since(start).Microseconds(), again == 0 || try == maxTries || ctx.Err() != nil
		m.told = append(m.told, t)
		if t.Last {
			return
		}
		pause(ctx, again)
	}
}

// jittered waits up to twice as long as it was told: or those who came as one come back as one.
func jittered(ctx context.Context, least time.Duration) {
	timer := time.NewTimer(least + rand.N(least))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// read turns an answer into what the log says of it, and how long to wait before a repeat; 0: the answer is definite. One
// that never came, or can't be read, is no answer: only a repeat can tell what became of the checkout.
func read(r client.Reply, err error) (t told, again time.Duration) {
	var body struct {
		ID     uuid.UUID       `json:"id"`
		Code   string          `json:"code"`
		Status json.RawMessage `json:"status"` // of an order a text, of a problem a number
		Total  struct {
			AmountMinor int64 `json:"amount_minor"`
		} `json:"total"`
	}
	if err != nil || json.Unmarshal(r.Body, &body) != nil {
		return told{}, firstPause
	}
	t.Status, t.Code = r.Status, body.Code
	switch {
	case ordered(r.Status):
		t.Order, t.TotalMinor, t.OrderStatus = body.ID, body.Total.AmountMinor, strings.Trim(string(body.Status), `"`)
		return t, 0
	case r.Status == http.StatusServiceUnavailable, r.Status == http.StatusTooManyRequests, r.Status == http.StatusConflict && r.RetryAfter != "":
		t.Held = body.Code == "out-of-stock"     // by payments under way, or there was no reason to come back
		seconds, _ := strconv.Atoi(r.RetryAfter) // a date, or nothing, is 0
		return t, cmp.Or(time.Duration(max(seconds, 0))*time.Second, firstPause)
	}
	return t, 0
}

func ordered(status int) bool {
	return status == http.StatusOK || status == http.StatusCreated || status == http.StatusAccepted
}
