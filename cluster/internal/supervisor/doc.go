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
// Only the word of the process itself makes it Ready, and only the kernel's (it was reaped) makes it gone. One that ends
// without being asked to has crashed, whatever its exit code is (M3).
//
// A process holds one of the slots 1 to target until it is told to leave. One that is killed holds it until it was reaped:
// a process that can't be killed, in uninterruptible sleep, must not multiply.
//
// # Planned exits
//
// A rollout, a rollback and the recycling of a process that has been too large for HeartbeatTimeout, which a crowd's peak
// is not, give up a healthy process on purpose. They share one token, the [Plan], and one rule: the replacement is started
// and ready first. The shrinking of the cluster needs no replacement. Whoever asks a process that serves to leave, and is
// not Shutdown, which lets all leave together, keeps to this (M8):
//
//   - More than target processes are ready, so that target are left.
//   - With it, at most a quarter of target, rounded up, are on their way out: told to leave, or killed, and not reaped.
//     Kills ask nobody, and Scale makes target smaller under those who are leaving; then nobody else is told to leave
//     until enough are gone.
//
// The slots 1 to target are held by at most target + 1 processes. The one above is the replacement of the plan, or that
// of a plan that was given up: it is killed if it has not served yet, else it is surplus, and leaves when the rule above
// lets it. In a slot that has no other process it stays, and is replaced in its turn. While there is a surplus, or a
// killed process holds a slot, no plan begins that would take it to two.
//
// # Rollouts
//
// The first replacement of a rollout also has to stay healthy for Config.Bake, and to answer a question after that, before
// the release that serves gives up its first process. If a slot waits for a process, the candidate is started there:
// nobody has to leave for it, and what serves may be what is broken. Once it has proven itself the new release fills
// all slots that are or become empty, without waiting; until then the one that serves does.
//
// A replacement that crashes, is late, silent, or too large in the bake ends the rollout, as does any other process of the
// release that crashes, is late or silent, and so does standing still for longer than any step can take. The replacement
// is the one that dies; what was already replaced goes back to the release that was serving, by the same path without the
// bake (M9). A process beyond target needs no replacement.
//
// Every [Reload] gets one [Verdict]: success when the release serves in all slots and nobody else is alive, failure when
// all who are alive run the release that served. Killed processes do not count as alive. Failure is told earlier when the
// way back stands still, or a process of the release that served crashes on it before it is ready: the verdict says so,
// and the way back goes on. A reload takes the place of a rollout under way, there or back: the newest release wins, and
// if it is asked for the same file again, both get the verdict of the second. Shutdown ends it too.
//
// A rollout goes forward when somebody is told to leave or has been replaced; Scale and time away count too, being none
// of its faults. From the last of these two, a verdict takes 2·n + 4 times as long as a rollout may stand still at most,
// n being the largest target since: the bake, each process there or beyond target, each back, and the end of either.
//
// # Crashes
//
// A slot whose process crashed waits before it is filled again: BackoffMin, doubling with each crash up to BackoffMax,
// plus a random quarter to keep slots apart; each BackoffDecay that a process was ready takes one crash back (M5). It is
// filled with the release that crashed, not with what happens to lie on disk. The candidate of a rollout does not wait,
// and neither does a slot whose process ran another release than the one that fills it.
//
// BreakerCrashes crashes of one release within BreakerWindow open its breaker (M6): nothing is forked from it, and what is
// healthy serves on. After a pause, one probe is forked, for an empty slot or as a replacement; if it is ready for
// BreakerProbe, the breaker closes, and if it crashes, the pause doubles, up to BreakerPauseMax. As a replacement it lets
// nobody leave before that. A reload is not held up, since a release has a breaker of its own. If no process has ever
// been ready when it opens, and none can get ready any more, there is nothing to keep alive: the master ends with the reason.
//
// # The end
//
// Once Shutdown was heard nothing is forked (M4). Everyone leaves, and when the last one was reaped the master ends. A
// process that does not leave within its limit is killed (M10). The second Shutdown shortens the limit, the third kills (M15).
//
// # Time
//
// Time is a duration on any monotonic clock. It never runs backwards in here: an earlier reading counts as the last one.
// Between events, nothing changes before the time that [State.Next] tells. Whoever drives the machine hands in what has
// arrived before a [Tick], or silence is seen where there was none.
//
// When the machine is woken AwayLimit later than it asked to be, or more, the master itself was not running, and could not
// have heard anybody: silence during that time is held against no process. Every limit moves by the delay, and is
// AwayLimit away at least.
package supervisor
