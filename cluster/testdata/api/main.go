// Api uses every exported name of package cluster. It is built for every system
// and never run.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"doorbuster/cluster"
)

func main() {
	ctx := context.Background()
	if err := errors.Join(supervise(ctx), work(ctx), command(ctx)); err != nil {
		fmt.Fprintln(os.Stderr, explain(err))
		os.Exit(1)
	}
}

func supervise(ctx context.Context) error {
	workers, reason := cluster.DefaultWorkers(1 << 30)
	slog.Info("workers", "number", workers, "because", reason)
	m, err := cluster.New(cluster.Config{
		Listen: []string{":8080", cluster.PassedSockets}, Listeners: []net.Listener{}, Command: os.Args, Env: os.Environ(),
		EnvFunc: func() ([]string, error) { return nil, nil },
		User:    &cluster.User{UID: 1, GID: 1, Groups: []uint32{1}}, Nice: 1,
		Rlimits: []cluster.Rlimit{{Resource: 7, Soft: 1, Hard: 1}},
		Workers: workers, PIDFile: "pid", ControlSocket: "socket",
		ReadyTimeout: time.Second, Bake: time.Second, KillTimeout: time.Second, ShutdownDelay: time.Second,
		HeartbeatInterval: time.Second, HeartbeatTimeout: time.Second, MaxWorkerMemory: 1, StatusInterval: time.Second,
		OnSetting: func(_, _ string) error { return nil }, OnEvent: func(e cluster.Event) { fmt.Println(tell(e)) },
		AlertCommand: []string{"true"}, Output: os.Stderr, Log: slog.Default(),
	})
	if err != nil {
		return err
	}
	stop := cluster.RelayScaleSignals(make(chan os.Signal, 1), slog.Default())
	defer stop()
	http.Handle("/", m.Handler())
	fmt.Println(m.Addrs())
	status, statusErr := m.Status(ctx)
	show(status)
	_, setErr := m.Set(ctx, "key", "value")
	_, unsetErr := m.Unset(ctx, "key")
	release, checkErr := m.Check(ctx)
	fmt.Println(release)
	resp, getErr := m.Get(ctx, 1, "/metrics")
	if getErr == nil {
		resp.Body.Close()
	}
	return errors.Join(statusErr, setErr, unsetErr, checkErr, getErr, m.Reload(ctx, make(chan cluster.Event, 1)), m.Scale(ctx, 1),
		m.Restart(ctx, 1), m.Drain(ctx, 1), m.Reset(ctx), m.Kill(ctx, 1), m.Stop(ctx), m.StopNow(ctx),
		m.ReloadBack(ctx, nil), m.Run(ctx), m.Close())
}

func tell(e cluster.Event) string {
	switch e.Kind {
	case cluster.EventReady, cluster.EventLeft, cluster.EventCrashed, cluster.EventLate, cluster.EventSilent, cluster.EventStuck,
		cluster.EventLag, cluster.EventRecycle, cluster.EventRollout, cluster.EventBaking, cluster.EventReplaced, cluster.EventRollback,
		cluster.EventOpened, cluster.EventProbe, cluster.EventForced, cluster.EventClosed, cluster.EventUnhealthy, cluster.EventHealthy,
		cluster.EventCure, cluster.EventIncurable, cluster.EventScaled, cluster.EventScaleFailed, cluster.EventReset,
		cluster.EventAnswering, cluster.EventAnswered, cluster.EventAnswererEnd, cluster.EventShutdown, cluster.EventShutdownNow,
		cluster.EventAway:
	}
	kind := cluster.EventKind("new")
	return fmt.Sprint(kind, e.Time, e.Slot, e.PID, e.Release, e.Reason, e.Wait, e.Done, e.Total, e.Missed)
}

func show(s cluster.Status) {
	fmt.Println(s.Master, s.Waiting, s.Breakers, s.LastCrash, s.LastVerdict, s.History)
	for _, w := range s.Waiting {
		fmt.Println(w.Slot, w.Release, w.Crashes, w.CrashesTotal, w.Reason, w.SinceSeconds, w.InSeconds, w.Breaker)
	}
	for _, b := range s.Breakers {
		fmt.Println(b.Release, b.Crashes, b.Reason, b.Probing, b.ProbeInSeconds)
	}
	for _, h := range s.History {
		fmt.Println(h.Time, h.What, h.By)
	}
	fmt.Println(cluster.WaitingSlot{}, cluster.BreakerStatus{}, cluster.CrashStatus{}, cluster.VerdictStatus{OK: true, Command: "reload"}, cluster.HistoryEntry{})
	for _, w := range s.Workers {
		show := func(w cluster.WorkerStatus) {
			fmt.Println(w.Slot, w.PID, w.Release, w.State, w.UptimeSeconds, w.RSSBytes, w.Goroutines, w.InFlight, w.Connections,
				w.RequestsTotal, w.AcceptErrors, w.LagSeconds, w.Unhealthy, w.SilentSeconds, w.MissedMessages, w.Protocol, w.Abilities)
		}
		show(w)
	}
}

func work(ctx context.Context) error {
	var w *cluster.Worker
	w, err := cluster.Join()
	if err != nil {
		return err
	}
	fmt.Println(w.Slot(), w.Release(), w.Workers(), w.Listeners())
	w.HandleAdmin(http.DefaultServeMux)
	w.OnMessage(func(from int, data []byte) { fmt.Println(from, string(data)) })
	server := &cluster.Server{
		HTTP: &http.Server{ReadHeaderTimeout: time.Second}, ShutdownDelay: time.Second, DrainTimeout: time.Second, LameDuck: time.Second,
		StallTimeout: time.Second, Log: slog.Default(),
		ResponseRate: cluster.DataRate{BytesPerSecond: 1, Grace: time.Second}, DrainResponseRate: cluster.DataRate{Grace: time.Second},
	}
	w.Healthy(func(context.Context) error { return nil })
	w.Report(server)
	server.OnDrain(func() {})()
	fmt.Println(server.DrainBegan(), cluster.DrainBegan(ctx), server.AcceptErrors())
	fmt.Println(server.Memory(), server.Unready(), server.Draining(), server.InFlight(), server.Requests(), server.Connections(), server.SlowReaders())
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", ":0")
	l = cluster.LimitWrites(l, time.Second)
	return errors.Join(err, w.OnSetting(func(_, _ string) error { return nil }), w.Ready(), w.Broadcast(nil), w.Serve(server),
		server.Serve(w.Stop(), w.Hurry(), l))
}

func command(ctx context.Context) error {
	var c *cluster.Client
	c, err := cluster.Dial(ctx, "socket")
	if err != nil {
		return err
	}
	c.Timeout = time.Second
	c.Notice = func(notice string) { fmt.Println(notice) }
	release, checkErr := c.Check(ctx)
	fmt.Println(release, checkErr)
	_, statusErr := c.Status(ctx)
	_, setErr := c.Set(ctx, "key", "value")
	_, unsetErr := c.Unset(ctx, "key")
	logsErr := c.Logs(ctx, cluster.LogOptions{Slot: 1, Last: 10, Follow: true}, func(l cluster.LogLine) {
		fmt.Println(l.Time, l.Slot, l.PID, l.Text, l.Missed)
	})
	return errors.Join(statusErr, setErr, unsetErr, logsErr, c.Reload(ctx, nil), c.Scale(ctx, 1), c.Kill(ctx, 1), c.Stop(ctx), c.StopNow(ctx), c.ReloadBack(ctx, nil),
		c.ScaleWith(ctx, 1, cluster.ScaleOptions{Force: true, NoWait: true}), c.Restart(ctx, 1), c.Drain(ctx, 1), c.Reset(ctx))
}

func explain(err error) string {
	for _, known := range []error{
		cluster.ErrNoMaster, cluster.ErrSuperseded, cluster.ErrStopped, cluster.ErrNotRunning, cluster.ErrUnsupported,
		cluster.ErrLastCall, cluster.ErrNotHeard, cluster.ErrOlder, cluster.ErrCut,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if verdict := new(cluster.VerdictError); errors.As(err, &verdict) {
		return fmt.Sprint(verdict.Error(), verdict.Reason, verdict.Output)
	}
	if start := new(cluster.StartError); errors.As(err, &start) {
		return fmt.Sprint(start.Error(), start.Reason, start.Output)
	}
	if running := new(cluster.RunningError); errors.As(err, &running) {
		return fmt.Sprint(running.Error(), running.PID, running.Path)
	}
	return err.Error()
}
