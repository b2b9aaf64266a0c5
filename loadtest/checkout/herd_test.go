package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"doorbuster/app/audit"
	"doorbuster/loadtest/internal/client"
)

const anOrder = "0192f0c1-0000-7000-8000-000000000001"

func orderBody(status string) string {
	return fmt.Sprintf(`{"id":%q,"status":%q,"total":{"amount_minor":1999,"currency":"USD"}}`, anOrder, status)
}

func TestAnswersAreRead(t *testing.T) {
	problem := func(status int, code, retryAfter string) client.Reply {
		return client.Reply{Status: status, RetryAfter: retryAfter, Body: fmt.Appendf(nil, `{"status":%d,"code":%q}`, status, code)}
	}
	order := func(status string) told {
		return told{Ack: audit.Ack{Status: 201, Order: uuid.MustParse(anOrder), TotalMinor: 1999, OrderStatus: status}}
	}
	for _, tt := range []struct {
		name  string
		reply client.Reply
		err   error
		want  told
		again time.Duration // 0: definite
	}{
		{"an order", client.Reply{Status: 201, Body: []byte(orderBody("confirmed"))}, nil, order("confirmed"), 0},
		{"an order that is not paid yet", client.Reply{Status: 201, Body: []byte(orderBody("pending"))}, nil, order("pending"), 0},
		{"sold out", problem(409, "out-of-stock", ""), nil, told{Ack: audit.Ack{Status: 409, Code: "out-of-stock"}}, 0},
		{"its twin is at work", problem(409, "request-in-flight", "1"), nil, told{Ack: audit.Ack{Status: 409, Code: "request-in-flight"}}, time.Second},
		{"held", problem(409, "out-of-stock", "2"), nil, told{Ack: audit.Ack{Status: 409, Code: "out-of-stock", Held: true}}, 2 * time.Second},
		{"busy", problem(503, "unavailable", "3"), nil, told{Ack: audit.Ack{Status: 503, Code: "unavailable"}}, 3 * time.Second},
		{"busy for how long?", problem(503, "unavailable", ""), nil, told{Ack: audit.Ack{Status: 503, Code: "unavailable"}}, firstPause},
		{"busy in the past", problem(503, "unavailable", "-5"), nil, told{Ack: audit.Ack{Status: 503, Code: "unavailable"}}, firstPause},
		{"a mistake", problem(500, "internal", ""), nil, told{Ack: audit.Ack{Status: 500, Code: "internal"}}, 0},
		{"no answer", client.Reply{}, errors.New("reset by peer"), told{}, firstPause},
		{"half an answer", client.Reply{Status: 201, Body: []byte(`{"id":`)}, nil, told{}, firstPause},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, again := read(tt.reply, tt.err); got != tt.want || again != tt.again {
				t.Errorf("got %+v and again in %v, want %+v in %v", got, again, tt.want, tt.again)
			}
		})
	}
}

// What a herd writes is what the audit reads, and its bookkeeping is of buyers, not of tries.
func TestOutcome(t *testing.T) {
	line := func(key string, status int, code string, after int64, last, pending bool) told {
		l := told{Ack: audit.Ack{Key: key, Status: status, Code: code, SKU: "A", Quantity: 1}, After: after, Last: last}
		if pending {
			l.OrderStatus = "pending"
		}
		if ordered(status) {
			l.Order = uuid.MustParse(anOrder)
		}
		return l
	}
	var lines, log bytes.Buffer
	for _, l := range []told{
		line("b", 0, "", 100, false, false), line("b", 200, "", 4_000_000, true, true),
		line("a", 503, "unavailable", 100, false, false), line("a", 201, "", 2_000_000, true, false),
		line("c", 409, "out-of-stock", 1_000_000, true, false),
		line("d", 409, "request-in-flight", 100, false, false), line("d", 503, "unavailable", 9_000_000, true, false),
		line("e", 500, "internal", 3_000_000, true, false),
		line("f", 0, "", 5_000_000, true, false),
	} {
		if err := json.NewEncoder(&lines).Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	var o outcome
	if err := o.add(lines.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	got := []int{o.ordered, o.pending, o.soldOut, o.busy, o.other, o.sentAway, o.unanswered, len(o.times)}
	if want := []int{2, 1, 1, 1, 2, 2, 2, 6}; !slices.Equal(got, want) {
		t.Errorf("got ordered, pending, sold out, busy, other, sent away, unanswered, buyers %v, want %v", got, want)
	}
	if o.perSecond() != 0.5 || o.within(1) != 9*time.Second || o.within(0) != time.Second {
		t.Errorf("got %v orders/s, from %v to %v, want 0.5, from 1s to 9s", o.perSecond(), o.within(0), o.within(1))
	}
	acks, err := audit.ReadAcks(&log)
	if err != nil || len(acks) != 6 || len(acks["a"]) != 2 || acks["a"][1].Order != uuid.MustParse(anOrder) || acks["c"][0].SKU != "A" {
		t.Errorf("the audit reads %v, %v", acks, err)
	}
	if err := o.add([]byte("{\n"), &log); err == nil {
		t.Error("no error for half a line")
	}
}

func TestOutcomeIsChecked(t *testing.T) {
	some := func(n int) []time.Duration { return make([]time.Duration, n) }
	for _, tt := range []struct {
		name          string
		o             outcome
		buyers, units int
		want          string
	}{
		{"all is sold", outcome{ordered: 3, soldOut: 7, times: some(10)}, 10, 3, ""},
		{"enough for all", outcome{ordered: 10, times: some(10)}, 10, 30, ""},
		{"busy to the end", outcome{ordered: 2, soldOut: 5, busy: 3, times: some(10)}, 10, 3, ""},
		{"oversold", outcome{ordered: 4, soldOut: 6, times: some(10)}, 10, 3, "4 buyers have an order"},
		{"undersold", outcome{ordered: 2, soldOut: 8, times: some(10)}, 10, 3, "2 buyers have an order"},
		{"somebody is missing", outcome{ordered: 3, soldOut: 6, times: some(9)}, 10, 3, "9 buyers ended"},
		{"a mistake", outcome{ordered: 3, soldOut: 6, other: 1, example: "500 internal", times: some(10)}, 10, 3, "500 internal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.o.check(tt.buyers, tt.units)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAuditIsJudged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		checks []audit.Check
		want   int
	}{
		{"nothing wrong", []audit.Check{{Name: "stock"}, {Name: "undersold"}}, 0},
		{"not durable", []audit.Check{{Name: "stock"}, {Name: "durable", Findings: 1}}, 0},
		{"lost", []audit.Check{{Name: "stock"}, {Name: "acknowledged", Findings: 2, Examples: []string{"key a", "key b"}}}, 2},
		{"skipped", []audit.Check{{Name: "stock"}, {Name: "undersold", Skipped: "it takes a log"}}, 1},
		{"nothing checked", nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, words := judge(&audit.Report{Checks: tt.checks}); got != tt.want || words == "" {
				t.Errorf("got %d, %q, want %d", got, words, tt.want)
			}
		})
	}
}

// fakeShop fills every cart, and answers checkouts as it is told.
func fakeShop(t *testing.T, checkout http.HandlerFunc) (addr string, carts *atomic.Int64) {
	t.Helper()
	carts = new(atomic.Int64)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/cart/items", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: fmt.Sprint(carts.Add(1)), Path: "/"})
	})
	mux.HandleFunc("POST /v1/checkout", checkout)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), carts
}

// Each buyer is used once, whoever has no turn waits for the next sale, and a sale ends when nobody is left.
func TestQueue(t *testing.T) {
	var orders atomic.Int64
	seen := make(chan string, 100)
	addr, carts := fakeShop(t, func(w http.ResponseWriter, r *http.Request) {
		orders.Add(1)
		seen <- r.Header.Get("Idempotency-Key")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, orderBody("confirmed"))
	})
	q := newQueue(spreadSKU)
	for _, n := range []int{20, 10, 25} { // the second is there already
		if err := q.fillUp(t.Context(), addr, n); err != nil {
			t.Fatal(err)
		}
	}
	if carts.Load() != 25 || len(q.ready) != 25 {
		t.Fatalf("%d carts for %d buyers, want 25", carts.Load(), len(q.ready))
	}
	did, err := q.sell(t.Context(), addr, 4, time.Minute)
	if err != nil || len(did.times) != 25 || orders.Load() != 25 || len(q.ready) != 0 {
		t.Errorf("%d orders, %d acknowledged, %d buyers left, %v", orders.Load(), len(did.times), len(q.ready), err)
	}
	if _, err := q.sell(t.Context(), addr, 4, time.Minute); err == nil {
		t.Error("no error though nobody bought anything")
	}
	close(seen)
	keys := map[string]bool{}
	for key := range seen {
		keys[key] = true
	}
	if len(keys) != 25 {
		t.Errorf("%d different keys, want 25", len(keys))
	}
}

func TestAnythingButAPaidOrderEndsASale(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) },
		"pending": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, orderBody("pending"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := fakeShop(t, answer)
			q := newQueue(func(int) string { return hotSKU })
			if err := q.fillUp(t.Context(), addr, 8); err != nil {
				t.Fatal(err)
			}
			if _, err := q.sell(t.Context(), addr, 2, time.Minute); err == nil {
				t.Error("no error")
			}
		})
	}
}

// A herd repeats with the same key until it knows: it was sent away, then cut off, then answered.
func TestHerdPersists(t *testing.T) {
	var tries atomic.Int64
	keys := make(chan string, 10)
	addr, _ := fakeShop(t, func(w http.ResponseWriter, r *http.Request) {
		keys <- r.Header.Get("Idempotency-Key")
		switch tries.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"status":503,"code":"unavailable"}`)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, orderBody("confirmed"))
		}
	})
	members, err := gather(t.Context(), &crowdOrder{Addr: addr, SKU: "A", Name: "n", First: 7, Buyers: 1, Net: 1})
	if err != nil {
		t.Fatal(err)
	}
	var pauses []time.Duration
	release(t.Context(), members, func(_ context.Context, least time.Duration) { pauses = append(pauses, least) })
	got := members[0].told
	if len(got) != 3 || got[0].Status != 503 || got[1].Status != 0 || got[2].Status != 201 || !got[2].Last || got[0].Last || got[1].Last {
		t.Errorf("got %+v, want 503, nothing, 201", got)
	}
	if want := []time.Duration{2 * time.Second, firstPause}; !slices.Equal(pauses, want) {
		t.Errorf("it paused for %v, want %v", pauses, want)
	}
	close(keys)
	for key := range keys {
		if key != "n-7" {
			t.Errorf("got key %s, want n-7 each time", key)
		}
	}
}

// Whoever is always sent away leaves at last, and that is what it was told.
func TestHerdGivesUp(t *testing.T) {
	addr, _ := fakeShop(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"status":503,"code":"unavailable"}`)
	})
	members, err := gather(t.Context(), &crowdOrder{Addr: addr, SKU: "A", Name: "n", Buyers: 2, Net: 1})
	if err != nil {
		t.Fatal(err)
	}
	release(t.Context(), members, func(context.Context, time.Duration) {})
	for _, m := range members {
		if n := len(m.told); n != maxTries || !m.told[n-1].Last || m.told[n-1].Status != 503 {
			t.Errorf("got %d answers, the last %+v, want %d", n, m.told[n-1], maxTries)
		}
	}
}

// Ctrl-C ends a herd that would wait for minutes.
func TestHerdGoesHome(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr, _ := fakeShop(t, func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"status":503,"code":"unavailable"}`)
	})
	members, err := gather(ctx, &crowdOrder{Addr: addr, SKU: "A", Name: "n", Buyers: 3, Net: 1})
	if err != nil {
		t.Fatal(err)
	}
	release(ctx, members, jittered)
	for _, m := range members {
		if len(m.told) != 1 || !m.told[0].Last {
			t.Errorf("got %+v, want an end at once", m.told)
		}
	}
}
