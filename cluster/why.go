//go:build unix

package cluster

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"doorbuster/cluster/internal/supervisor"
)

// maxHistory is how many entries of the history are kept.
const maxHistory = 32

// record remembers something that happened, or that somebody has asked for.
func (l *loop) record(what, by string) {
	l.history = append(l.history, HistoryEntry{Time: time.Now(), What: what, By: by})
	l.history = l.history[max(0, len(l.history)-maxHistory):]
}

// asked remembers a command and whose it is, and says so in the log.
func (l *loop) asked(ctx context.Context, what string) {
	by := askedBy(ctx)
	l.record(what, by)
	l.cfg.Log.InfoContext(ctx, "command", "command", what, "by", by)
}

// judged remembers a verdict.
func (l *loop) judged(command, release string, err error) {
	v := &VerdictStatus{Time: time.Now(), Command: command, Release: release, OK: err == nil}
	outcome := command + ": done"
	if err != nil {
		v.Reason = err.Error()
		outcome = command + ": " + v.Reason
	}
	l.lastVerdict = v
	l.record(outcome, "")
}

// recordNote remembers what is worth it of what the supervisor tells.
func (l *loop) recordNote(n supervisor.Note, e Event) {
	worker := fmt.Sprintf("worker %d (pid %d, release %s) ", e.Slot, e.PID, e.Release)
	switch n.Kind {
	case supervisor.NoteCrashed:
		l.lastCrash = &CrashStatus{Time: e.Time, Slot: e.Slot, PID: e.PID, Release: e.Release, Reason: e.Reason, Output: l.remembered(n.ID).said}
		l.record(worker+e.Reason, "")
	case supervisor.NoteLate, supervisor.NoteSilent, supervisor.NoteStuck:
		l.record(worker+"is killed: it "+e.Reason, "")
	case supervisor.NoteRecycle, supervisor.NoteCure:
		l.record(worker+"is replaced: it "+e.Reason, "")
	case supervisor.NoteOpened:
		l.record("the circuit breaker of release "+e.Release+" opens: "+e.Reason, "")
	case supervisor.NoteClosed:
		l.record("the circuit breaker of release "+e.Release+" closes", "")
	case supervisor.NoteRollback:
		l.record("going back to release "+e.Release+": "+e.Reason, "")
	case supervisor.NoteAway:
		l.record("the master itself did not run for "+n.Wait.Round(time.Millisecond).String(), "")
	}
}

// explain fills in why the cluster is as it is.
func (l *loop) explain(s *Status) {
	s.History, s.LastCrash, s.LastVerdict = append([]HistoryEntry(nil), l.history...), l.lastCrash, l.lastVerdict
	now := l.sup.Now
	if t := l.now(); t > now {
		now = t
	}
	until := func(t time.Duration) float64 { return max(0, (t - now).Seconds()) }
	because := func(format string, args ...any) {
		s.Master.Reasons = append(s.Master.Reasons, fmt.Sprintf(format, args...))
	}
	switch r := l.sup.Rollout; {
	case l.sup.Stopping > 0:
		because("told to stop by %s; %s to leave", cmp.Or(l.stoppedBy, "the end of its context"), countOf(len(l.sup.Processes), "worker has", "workers have"))
	case r != nil && r.Back:
		because("going back to release %s: %s", s.Master.Release, r.Reason)
	case r != nil:
		because("a reload to release %s is under way", l.nameOf(r.Release))
	}
	if sc := l.sup.Scaling; sc != nil {
		because("scaling to %d workers", sc.Goal)
	}
	for _, b := range l.sup.Breakers {
		if !b.Open {
			continue
		}
		b := BreakerStatus{Release: l.nameOf(b.Release), Crashes: len(b.Crashes), Reason: b.Reason, Probing: b.Probe != 0, ProbeInSeconds: until(b.ProbeAt)}
		s.Breakers = append(s.Breakers, b)
		next := fmt.Sprintf("the next try is in %v", inWords(b.ProbeInSeconds))
		if b.Probing {
			next = "one worker is being tried"
		}
		because("the circuit breaker of release %s is open, after %s within a minute; %s; the last: %s", b.Release, countOf(b.Crashes, "crash", "crashes"), next, b.Reason)
	}
	for _, v := range l.sup.Vacancies() {
		w := WaitingSlot{Slot: v.Slot, Release: l.nameOf(v.Release), Crashes: v.Crashes, CrashesTotal: l.crashesIn[v.Slot], InSeconds: until(v.At), Breaker: v.Breaker != nil}
		text := fmt.Sprintf("slot %d has no worker", v.Slot)
		if v.Last != nil {
			w.Reason, w.SinceSeconds = v.Last.Reason, max(0, (now-v.Last.At).Seconds())
			text += fmt.Sprintf(" since %v ago, when it %s", inWords(w.SinceSeconds), v.Last.Reason)
		}
		if v.Breaker != nil && v.Breaker.Probe != 0 {
			text += "; it waits for the one that is being tried"
		} else {
			text += fmt.Sprintf("; it is started in %v", inWords(w.InSeconds))
		}
		s.Waiting = append(s.Waiting, w)
		because("%s", text)
	}
	for _, w := range s.Workers {
		worker := fmt.Sprintf("worker %d (pid %d)", w.Slot, w.PID)
		switch {
		case w.State == supervisor.Starting.String():
			because("%s is starting, for %v", worker, inWords(w.UptimeSeconds))
		case w.Unhealthy != "":
			because("%s is unhealthy: %s", worker, w.Unhealthy)
		case w.SilentSeconds > 2*l.cfg.HeartbeatInterval.Seconds():
			because("%s has said nothing for %v: it is stopped, or in trouble", worker, inWords(w.SilentSeconds))
		}
	}
	for _, p := range l.sup.Processes {
		if p.Phase == supervisor.Killed {
			because("worker %d (pid %d) is killed and not gone yet", p.Slot, p.PID)
		}
	}
	if s.Master.State == "degraded" && len(s.Master.Reasons) == 0 {
		because("%d of %d workers are ready", s.Master.Ready, s.Master.Target)
	}
}

func (l *loop) nameOf(r supervisor.Release) string {
	if r := l.releases[r]; r != nil {
		return r.name
	}
	return "of before"
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// inWords is a time that people read.
func inWords(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(100 * time.Millisecond)
}
