//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"doorbuster/loadtest/internal/shop"
)

// Bounds that clients feel.
const (
	maxSilence = 3 * time.Second // without an answer to anybody
	maxWait    = 3 * time.Second // for an answer on a fresh connection
)

// Tolerances for what two clocks, or two goroutines, say about one moment.
const (
	slack = time.Second
	// acceptRetry is how long a worker that was short of descriptors may sleep before it accepts again.
	acceptRetry = time.Second
	// silentMachine is how much of the heartbeat timeout this program has to have lost for a worker to have lost it all.
	silentMachine = heartbeatTimeout / 3
	// slowDatabase is the least that a worker waits for a database.
	slowDatabase = 3 * time.Second
)

// evidence is what is known of a run, from the script, the shop's log, and the machine.
type evidence struct {
	began, ended time.Time // of the script
	touched      map[int][]string
	deaths       map[int]time.Time // killed by the script, or by the master for what the script did
	stops        []stop
	short        []span
	broken       []span // a broken program was on the disk
	dark         []span // nobody was ready for long enough for the answerer
	pauses       []span // of the machine
	log          []shop.Entry
}

// gather adds what the log tells.
func (e *evidence) gather(log []shop.Entry) {
	e.log = log
	var since time.Time
	for _, l := range log {
		switch l.Msg {
		case "no worker is ready: clients are answered with 503 meanwhile":
			since = l.Time
		case "clients are not answered with 503 any more", "the process that answers clients while no worker is ready has ended":
			if !since.IsZero() {
				e.dark = append(e.dark, span{since, l.Time})
			}
			since = time.Time{}
		case "worker left": // it may have been told to, and died of what was done to it before it could
			if slices.Contains(e.touched[l.WorkerPID], outOfMemory) {
				e.deaths[l.WorkerPID] = l.Time
			}
		case "killing worker":
			e.deaths[l.WorkerPID] = l.Time
		case "worker crashed":
			// One that was told to leave by hand crashes by the master's book, and is to leave in order.
			_, known := e.deaths[l.WorkerPID]
			if !known && !slices.Equal(e.touched[l.WorkerPID], []string{terminated}) {
				e.deaths[l.WorkerPID] = l.Time
			}
		}
	}
	if !since.IsZero() {
		e.dark = append(e.dark, span{since, e.ended})
	}
}

func (e *evidence) stopSpans(pid int) (spans []span) {
	for _, s := range e.stops {
		if s.pid != 0 && (pid == 0 || s.pid == pid) {
			spans = append(spans, s.widened(0, slack))
		}
	}
	return spans
}

func (e *evidence) shortSpans() (spans []span) {
	for _, s := range e.short {
		spans = append(spans, s.widened(0, acceptRetry+slack))
	}
	return spans
}

// died reports whether a worker ended by force, or anybody did for 0, during a time.
func (e *evidence) died(pid int, during span) bool {
	for dead, at := range e.deaths {
		if (pid == 0 || dead == pid) && touches(during.widened(slack, slack), []span{{at, at}}) {
			return true
		}
	}
	return false
}

// A breach is a bound that was found broken.
type breach struct{ bound, how string }

// A verdict is what is wrong, and what was excused.
type verdict struct {
	breaches []breach
	excused  map[string]int
}

func (v *verdict) breach(bound, format string, args ...any) {
	v.breaches = append(v.breaches, breach{bound, fmt.Sprintf(format, args...)})
}

// The bounds, as the report calls them.
const (
	boundSilence   = "no time without an answer longer than 3 s"
	boundWait      = "an answer on a fresh connection within 3 s"
	boundNotice    = "no connection ends without a notice"
	boundDraining  = "nobody is told that a worker drains"
	boundAnswers   = "no 5xx but a 503 with Retry-After, for a reason"
	boundWorkers   = "nothing befalls a worker to which the script did nothing"
	boundProcesses = "never more than workers + 1 processes"
	boundCommands  = "each command has its outcome"
	boundRest      = "afterwards all is as at the start"
)

// judge holds what the clients saw against the bounds.
func (e *evidence) judge(w *witness) verdict {
	v := verdict{excused: map[string]int{}}
	for _, s := range w.silences {
		if own := covered(s, e.pauses); s.length()-own > maxSilence {
			v.breach(boundSilence, "%s: nobody got an answer for %v, of which the machine lost %v", e.when(s.from), round(s.length()), round(own))
		}
	}
	for _, a := range w.slow {
		e.judgeSlow(&v, a)
	}
	for _, a := range w.odd {
		e.judgeOdd(&v, a)
	}
	for _, l := range w.losses {
		if excuse := e.excuse(l); excuse != "" {
			v.excused[excuse]++
			continue
		}
		v.breach(boundNotice, "%s: %s on %s: %v after %v (worker %d, which was %s; connected %v before, idle for %v)", e.when(l.to), l.what, l.kind, l.err,
			round(l.length()), l.worker, e.story(l.worker), round(l.from.Sub(l.dialled)), round(l.idle))
	}
	e.judgeLog(&v)
	return v
}

// judgeSlow is for fresh connections. Where a worker was stopped, or all were short of descriptors, it waited for that.
func (e *evidence) judgeSlow(v *verdict, a answered) {
	wait := a.span()
	left := wait.length() - covered(wait, e.pauses)
	for _, excuse := range [][]span{e.stopSpans(0), e.shortSpans()} {
		left -= covered(wait, excuse)
	}
	switch {
	case wait.length() <= maxWait:
	case left <= maxWait:
		v.excused["slow answers on fresh connections while a worker was stopped or short"]++
	default:
		v.breach(boundWait, "%s: an answer on a fresh connection took %v (%d, worker %d)", e.when(a.began), round(wait.length()), a.status, a.worker)
	}
}

// judgeOdd is for answers of 500 and more.
func (e *evidence) judgeOdd(v *verdict, a answered) {
	during := a.span()
	dark := touches(during.widened(slack, 0), e.widerDark())
	switch {
	case a.status == 503 && a.code == "draining":
		v.breach(boundDraining, "%s: %s was answered that the worker drains (worker %d, which was %s)", e.when(a.at), a.what, a.worker, e.story(a.worker))
	case a.status != 503 || a.retryAfter == "":
		v.breach(boundAnswers, "%s: %s was answered %s, with Retry-After %q: %s (worker %d)", e.when(a.at), a.what, a.says(), a.retryAfter, a.detail, a.worker)
	case a.worker == 0 && a.code == "unavailable" && dark:
		v.excused["503 by the answerer while no worker was ready"]++
	case a.code == "unavailable" && a.at.Sub(a.began) >= slowDatabase:
		v.excused["503 after a database did not answer in time"]++
	case a.worker != 0 && touches(during, e.stopSpans(a.worker)):
		v.excused["503 by a worker that was stopped while it was at work"]++
	case touches(during, e.shortSpans()):
		v.excused["503 while somebody was short of descriptors or memory"]++
	case dark:
		v.excused["503 by a worker right after nobody was ready"]++
	default:
		v.breach(boundAnswers, "%s: %s was answered %s: %s (worker %d, which was %s)", e.when(a.at), a.what, a.says(), a.detail, a.worker, e.story(a.worker))
	}
}

// widerDark is the dark with the time in which the answerer, told to leave, finishes.
func (e *evidence) widerDark() (spans []span) {
	for _, d := range e.dark {
		spans = append(spans, d.widened(0, time.Second+slack))
	}
	return spans
}

// excuse says why a request got no answer, where the shop could not help it.
func (e *evidence) excuse(l loss) string {
	wait := l.span
	if wait.from.Before(l.dialled) {
		l.dialled = wait.from
	}
	life := span{l.dialled, l.to}
	switch {
	case l.refused: // the queue is there as long as the master
		return ""
	case l.worker != 0 && e.died(l.worker, life):
		return "lost with a worker that was killed"
	case l.worker == 0 && e.died(0, life):
		return "lost on a fresh connection while a worker was killed"
	case l.idle >= lameDuck:
		return "sent later than the lame duck: the machine was slow"
	case l.late && touches(wait, e.stopSpans(l.worker)):
		return "given up while a worker was stopped"
	case l.late && l.worker == 0 && touches(wait, e.shortSpans()):
		return "given up while somebody was short of descriptors or memory"
	}
	return ""
}

// judgeLog looks for what befell workers that nobody had touched.
func (e *evidence) judgeLog(v *verdict) {
	for _, l := range e.log {
		if l.Msg != "worker crashed" && l.Msg != "killing worker" {
			continue
		}
		moment := span{l.Time, l.Time}
		switch done := e.touched[l.WorkerPID]; {
		case strings.HasPrefix(l.Reason, "sent no heartbeat") &&
			covered(span{l.Time.Add(-heartbeatTimeout), l.Time}, e.pauses) >= silentMachine:
			v.excused["killed for its silence while the machine had no processor"]++
		case l.WorkerPID == 0 && touches(moment, e.shortSpans()): // it could not be started
		case len(done) == 0 && touches(moment, e.broken) && strings.Contains(l.Reason, "before it was ready"):
		case len(done) == 0:
			v.breach(boundWorkers, "%s: %s: %d, to which the script did nothing: %s", e.when(l.Time), l.Msg, l.WorkerPID, l.Reason)
		case l.Msg == "killing worker" && !slices.Contains(done, stopped) && !slices.Contains(done, outOfMemory):
			v.breach(boundWorkers, "%s: worker %d, which was %s, was killed: it %s", e.when(l.Time), l.WorkerPID, e.story(l.WorkerPID), l.Reason)
		}
	}
}

// story is what the script did to a worker.
func (e *evidence) story(pid int) string {
	if done := e.touched[pid]; len(done) > 0 {
		return strings.Join(done, ", ")
	}
	return "left alone"
}

// when is a moment of the script, for people.
func (e *evidence) when(t time.Time) string { return fmt.Sprintf("%.1fs", t.Sub(e.began).Seconds()) }

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
