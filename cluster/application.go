package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// application is how a worker calls into the program that it is: broadcasts,
// settings and the question whether it is healthy. Each kind has a lane of its own,
// and none of them the goroutine that hears the master.
type application struct {
	messages, settings lane
	health             healthCheck

	mu        sync.Mutex
	onMessage func(from int, data []byte)
	onSetting func(key, value string) error
	early     []setting // that came before there was an onSetting
	ready     bool
	missed    int64 // broadcasts that there was no room for
	unheard   complaints
}

type setting struct{ key, value string }

// errNoSettings is the answer of a worker without OnSetting.
var errNoSettings = errors.New("it takes no settings")

// errBusySetting is the answer when too many settings wait.
var errBusySetting = errors.New("it is busy with the settings before")

// settingLimit is how long the settings that were made before may take a worker that
// starts. A setting that blocks must not keep every later worker from being ready.
const settingLimit = 2 * time.Second

// log is the server's log, or the default one.
func (w *Worker) log() *slog.Logger {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.servers) == 0 {
		return slog.Default()
	}
	return w.servers[0].log()
}

// OnMessage sets what takes the broadcasts of siblings. It is called with one after
// the other, on a goroutine of its own. While it does not return, laneRoom (64)
// broadcasts wait; more are dropped, counted in the status, and told in the log. A
// panic in it is logged and ends this call only.
func (w *Worker) OnMessage(f func(from int, data []byte)) {
	a := &w.application
	a.mu.Lock()
	defer a.mu.Unlock()
	a.onMessage = f
}

// heardMessage hands a broadcast to the application.
func (w *Worker) heardMessage(from int, data []byte) {
	a := &w.application
	a.mu.Lock()
	f := a.onMessage
	a.mu.Unlock()
	if f == nil {
		return
	}
	if a.messages.put(func() {
		contained(w.log, "OnMessage", func() error { f(from, data); return nil }) //nolint:errcheck // it is in the log
	}) {
		return
	}
	a.mu.Lock()
	a.missed++
	a.mu.Unlock()
	a.unheard.say(func(before int) {
		w.log().Warn("broadcasts are dropped: OnMessage does not return", "waiting", laneRoom, "dropped", before+1)
	})
}

// OnSetting sets what applies settings. Call it before Ready or Serve. It is called
// with one setting after the other, on a goroutine of its own. An error refuses a
// setting, and is told to whoever makes it; a panic in it counts as one. A setting
// for which there is no answer within 2 s is taken to be refused. While it does not
// return 64 settings wait, and more are refused.
//
// Settings that were made before are applied at once. The error tells which of them
// are refused, or are not applied within 2 s. It is no reason for the worker not to
// serve: a worker that ends for it would make every reload fail until somebody takes
// the setting back ([Client.Unset]).
func (w *Worker) OnSetting(f func(key, value string) error) error {
	a := &w.application
	done := make(chan error, 1)
	a.mu.Lock()
	a.onSetting = f
	early := a.early
	a.early = nil
	queued := len(early) == 0 || a.settings.put(func() { done <- w.applyEarly(early, f) }) // before any that comes now
	a.mu.Unlock()
	switch {
	case len(early) == 0:
		return nil
	case !queued:
		return errBusySetting
	}
	timer := time.NewTimer(settingLimit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%s not applied within %v: OnSetting has not returned", theSettings(early), settingLimit)
	}
}

func (w *Worker) applyEarly(early []setting, f func(key, value string) error) error {
	var refused []error
	for _, s := range early {
		if err := w.apply(s, f); err != nil {
			refused = append(refused, fmt.Errorf("setting %s=%s: %w", s.key, s.value, err))
		}
	}
	return errors.Join(refused...)
}

func (w *Worker) apply(s setting, f func(key, value string) error) error {
	return contained(w.log, "OnSetting("+s.key+")", func() error { return f(s.key, s.value) })
}

// theSettings names settings, and says "is" or "are".
func theSettings(all []setting) string {
	if len(all) == 1 {
		return "setting " + all[0].key + " is"
	}
	return fmt.Sprintf("%d settings, from %s on, are", len(all), all[0].key)
}

// heardSetting hands a setting to the application, which answers when it has applied
// it. Without OnSetting it is kept for it while the worker starts.
func (w *Worker) heardSetting(key, value string, answer func(error)) {
	a := &w.application
	s := setting{key, value}
	a.mu.Lock()
	f := a.onSetting
	var err error
	switch {
	case f == nil && a.ready:
		err = errNoSettings
	case f == nil && len(a.early) >= maxEarly:
		err = errBusySetting
	case f == nil:
		a.early = append(a.early, s)
	case !a.settings.put(func() { answer(w.apply(s, f)) }):
		err = errBusySetting
	default:
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	answer(err)
}

// maxEarly bounds the settings that a worker keeps for its OnSetting: as many as the
// master can keep, which are none of no bytes.
const maxEarly = 48 << 10

// healthCheck asks the application whether it is healthy.
type healthCheck struct {
	mu      sync.Mutex
	check   func(context.Context) error
	running chan struct{} // closed when the check under way has returned; nil: none is
	began   time.Time     // of the one under way, or of the last one
	verdict string        // of the last one that has returned; empty: healthy
}

const (
	// healthPatience is how long a heartbeat waits for a check. A slow one is told
	// of by the heartbeat after it.
	healthPatience = 100 * time.Millisecond
	// healthLimit is how long a check may take where heartbeats come more often.
	healthLimit = time.Second
	// healthRest is how long a check's answer is good for: the master asks for
	// heartbeats besides those that come by themselves.
	healthRest = time.Second
)

// Healthy sets what says whether this worker can do its work: nil, or what is wrong
// with it. It is asked before each heartbeat, on a goroutine of its own and never
// twice at the same time. ctx ends after the heartbeat interval, 1 s at least; a
// check that has not returned then is unhealthy by itself, and so is a panic.
//
// The master replaces a worker that stays unhealthy for the heartbeat timeout, and a
// rolling restart does not go on with one. So check only what a new process would
// mend: a deadlock, a queue that nobody serves any more. A database that is away is
// away for the next process, too, and a check of it would restart all workers over
// and over.
//
// Besides, [Server.StallTimeout] watches the requests.
func (w *Worker) Healthy(check func(ctx context.Context) error) {
	h := &w.application.health
	h.mu.Lock()
	defer h.mu.Unlock()
	h.check = check
}

// ask returns why the application is unhealthy, or nothing. It begins a check unless
// the last one is recent, and waits a moment for it.
func (h *healthCheck) ask(log func() *slog.Logger, heartbeat time.Duration) string {
	limit := max(heartbeat, healthLimit)
	h.mu.Lock()
	if h.check == nil {
		h.mu.Unlock()
		return ""
	}
	rest := min(healthRest, heartbeat/2) // each heartbeat has its own
	if h.running == nil && (h.began.IsZero() || time.Since(h.began) >= rest) {
		h.running, h.began = make(chan struct{}), time.Now()
		go h.run(log, h.check, limit, h.running)
	}
	running := h.running
	h.mu.Unlock()
	if running != nil {
		timer := time.NewTimer(healthPatience)
		defer timer.Stop()
		select {
		case <-running:
		case <-timer.C:
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if taken := time.Since(h.began); h.running != nil && taken >= limit {
		return fmt.Sprintf("its health check has not returned for %v", taken.Round(time.Second))
	}
	return h.verdict
}

func (h *healthCheck) run(log func() *slog.Logger, check func(context.Context) error, limit time.Duration, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := contained(log, "Healthy", func() error { return check(ctx) })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running, h.verdict = nil, ""
	if err != nil {
		text := err.Error()
		h.verdict = cmp.Or(text[:min(len(text), maxVerdict)], "its health check failed without a word")
	}
	close(done)
}

// maxVerdict bounds what a heartbeat says about health, in bytes.
const maxVerdict = 500
