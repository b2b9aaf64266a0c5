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
// A rollout, a rollback, a [Restart], and the recycling of a process that has been too large or unhealthy for
// HeartbeatTimeout, which a crowd's peak is not, give up a process that serves on purpose. They share one token, the
// [Plan], and one rule: the replacement is started and ready first. The shrinking of the cluster needs no replacement.
// Whoever asks a process that serves to leave, and is neither Shutdown, which lets all leave together, nor [Leave], keeps
// to this (M8):
//
//   - More than target processes are ready, so that target are left.
//   - With it, at most a quarter of target, rounded up, are on their way out: told to leave, or killed, and not reaped.
//     Kills ask nobody, and Scale makes target smaller under those who are leaving; then nobody else is told to leave
//     until enough are gone.
//
// The slots 1 to target are held by at most target + 1 processes. The one above is the replacement of the plan, or that
// of a plan that was given up, or one that was tried in the dark: it is killed if a plan was given up and it has not
// served yet, else it is surplus, and leaves when the rule above lets it. Of two that share a slot, the surplus is the one
// that does not run what slots are filled with, or else the younger one. In a slot that has no other process it stays,
// and is replaced in its turn. While there is a surplus, or a killed process holds a slot, no plan begins that would take
// it to two. The answerer counts as one of the target + 1.
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
// The first replacement fails as well if its answer says that it is unhealthy.
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
// BreakerCrashes crashes that speak against one release within BreakerWindow open its breaker (M6): nothing is forked from
// it, and what is healthy serves on. After a pause, one probe is forked, for an empty slot or as a replacement; if it is
// ready for BreakerProbe, the breaker closes, and if it crashes, the pause doubles, up to BreakerPauseMax. As a replacement
// it lets nobody leave before that. A reload is not held up, since a release has a breaker of its own. If no process has
// ever been ready when it opens, and none can get ready any more, there is nothing to keep alive: the master ends with the
// reason.
//
// Once somebody has been ready, these crashes speak against no release:
//
//   - A fork that failed because the machine is short of something.
//   - An end by a signal from outside: the kernel's when memory ran out, a person's.
//     Those that the master killed itself are no such.
//   - The crash of a process that had been ready for BreakerProbe. That is what
//     proves a release, and closes a breaker: it can't be what opens one.
//   - The crash of a process in a slot that [Scale] has added and in which nobody
//     was ever ready, while the release serves elsewhere. There may be no room for
//     more.
//
// They all have their back-off. What an open breaker costs at worst: of a release
// that could serve again, one process is ready or being tried, and the other slots
// stay empty for BreakerPauseMax, the time to get ready, and BreakerProbe. With
// more than one ready the others serve on. Reload, [Reset] and Restart end it
// sooner.
//
// # In the dark
//
// With nobody ready there is nothing that a breaker or a long back-off could
// protect. So, once somebody has ever been ready: when nobody is ready, and nobody
// is starting that runs what slots are filled with, then somebody is forked as
// soon as BackoffMin and a quarter of it have passed, which are 1.25 s, or before,
// whatever the breaker says and however often that has failed. A candidate
// that starts is no substitute: it may be what is broken.
//
// Who is forked so while the breaker is open, and no probe is due, is a probe as
// any other when it succeeds. When it crashes, neither the pause nor the time of
// the probe changes, so that the operator is alerted as often as in the light.
//
// If all slots are held by processes that were killed and not reaped, one more is
// forked, in slot 1, as far as the bound of target + 1 allows.
//
// Therefore: of a release that can serve, the time without a ready process is the
// time that it takes to get ready and two seconds at most, whatever crashes how and
// when, and what is deployed meanwhile. It starts anew when who was to be ready
// crashes, or is killed by a smaller target, before it is. It is longer only while
// target + 1 processes can't be killed.
//
// # The answerer
//
// When nobody has been ready for AnswerAfter, after somebody was, the answerer is
// started, and when somebody is ready, it is told to leave, and killed when it has
// not gone AnswerTimeout later. It is no process of the release, and holds no slot,
// but it counts as one of the target + 1. It gives way where there is no room for
// it and for those who are to be forked, and does not come where there would not
// be. When it ends by itself, or can't be started, it is tried again after the
// times of the back-off, and that is all. Shutdown sends it away, and waits for it.
//
// Without room, which takes a target of one in a rollout, or processes that can't
// be killed, there is no answerer: starting a worker comes first.
//
// # Health
//
// A heartbeat may say why the process is unhealthy. It is never killed for that.
// When it has said so for HeartbeatTimeout, it is recycled, with one more
// condition: it leaves only when the replacement has said that it is healthy. If the
// replacement has not within HeartbeatTimeout of being ready, it is the one that
// leaves; if the old one is healthy again before, too.
//
// What all suffer from, such as a database that is away, is cured by no
// replacement. So at most one is started in HeartbeatTimeout, and when one says
// within HeartbeatTimeout of being ready that it is unhealthy, the next one is not
// started for UnhealthyPause, unless somebody has become healthy again. The worst
// case is thus one process per UnhealthyPause that was started for nothing, and
// capacity never falls for it.
//
// # Scale
//
// A Scale without a ticket sets the target at once. With one, it is carried out
// like this, and answered with a Verdict:
//
//   - Up: as many slots are added as may be waited for at the same time, four or a
//     quarter of the target before; the next when one of these is ready. When all
//     slots have somebody who is ready, it has succeeded. When a process of a slot
//     that was added crashes before that, it has failed: the target goes back to
//     the last slot up to which all that were added are ready. Slots have no gaps,
//     so who is ready beyond leaves again.
//   - Down: it has succeeded when the surplus has left. Killed processes do not
//     count.
//   - It has failed as well when it stands still for as long as a rollout may; the
//     target stays where it was reached. Nothing is added while the breaker of the
//     release is open. A newer Scale takes its place.
//
// # Orders
//
// Restart replaces the process in a slot. Neither a back-off nor a breaker holds
// it up, since the old process stays if the new one crashes, and then it has
// failed. Leave is for who has to go now: it is told to leave before its slot is
// filled anew. It is refused if nobody else is ready, if a quarter of target is on
// its way out already, and if the breaker would keep the slot empty. Both have
// succeeded when the old process has gone and another one is ready in the slot.
// Both are refused during a rollout, and a reload takes their place.
//
// Reset closes all breakers and ends all pauses. What is wrong will say so again.
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
// AwayLimit away at least. So that no such time looks like the wait for a limit, the
// machine asks to be woken at every multiple of AwayLimit while there is a process: of
// two AwayLimits and more, none is missed.
package supervisor
