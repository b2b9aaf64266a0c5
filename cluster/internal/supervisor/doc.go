// Package supervisor decides what the master of a cluster does. It is a deterministic state machine,
//
//	(state, event, now) -> (state, actions)
//
// and it is all there is to decide: package cluster around it only turns actions into forks, messages and kills, and the
// world into events. There is no clock, no process, no goroutine and no randomness from outside in here, so every promise
// below is a property that random sequences of events are held against, and every time limit is tested in virtual time.
//
// # A process
//
//	          Fork                Ready                 Drain                reaped
//	(none) ─────────▶ Starting ─────────▶ Ready ─────────────────▶ Leaving ─────────▶ (gone)
//	                     │ late, not       │ silent                 │ does not leave    ▲
//	                     │ wanted any more ▼                        ▼                   │
//	                     └──────────────▶ Killed ◀──────────────────┘  ─────────────────┘
//
// Only the word of the process itself makes it Ready, and only the kernel's (it was reaped) makes it gone. A process
// holds one of the slots 1 to target. One that ends without being asked to has crashed, whatever its exit code is (M3).
//
// # Planned exits
//
// A rollout, a rollback, the recycling of a process that grew too large and the shrinking of the cluster all give up a
// healthy process on purpose. They share one token, the [Plan], and one rule: the replacement is started and ready
// first, and nobody is told to leave while that would bring the ready processes below target (M8). So at most target + 1
// processes are alive, besides those that were told to leave, and of these there are never more than a quarter of
// target, rounded up. Only Shutdown lets all leave together.
//
// The first replacement of a rollout also has to stay healthy for Config.Bake, and to answer a question after that, before
// the release that serves gives up its first process. A replacement that fails, is late or too large ends the rollout: it
// is the one that dies, and what was already replaced goes back to the release that was serving (M9). Every [Reload] gets
// one [Verdict], in bounded time. A reload during a rollout takes its place: the newest release wins.
//
// # Crashes
//
// A slot whose process crashed waits before it is filled again: BackoffMin, doubling with each crash up to BackoffMax,
// plus a random quarter to keep slots apart; each BackoffDecay that a process was ready takes one crash back (M5). It is
// filled with the release that crashed, not with what happens to lie on disk.
//
// BreakerCrashes crashes of one release within BreakerWindow open its breaker (M6): nothing is forked from it, and what is
// healthy serves on. After a pause, one probe is forked; if it is ready for BreakerProbe, the breaker closes, and if it
// crashes, the pause doubles. A reload closes it as well, since a release has its own. If no process has ever been ready
// when it opens, there is nothing to keep alive: the master ends with the reason.
//
// # The end
//
// Once Shutdown was heard nothing is forked (M4). Everyone leaves, and when the last one was reaped the master ends. A
// process that does not leave within its limit is killed (M10).
//
// # Time
//
// Time is a duration on any monotonic clock. It never runs backwards in here: an earlier reading counts as the last one.
// When the machine is woken much later than it asked to be, the master itself was not running, and could not have heard
// anybody: silence during that time is held against no process.
package supervisor
