// Package cluster runs a service as a master and a number of workers that share its listening sockets: it replaces workers
// that crash, without fork bombs, and all of them by a new release in the middle of the traffic, without losing a request.
// It knows nothing about the service but that it is a program which calls [Join]; it needs the standard library and
// golang.org/x/sys. Example shows a whole service.
//
// # Processes
//
//	master ── PID file, control socket, signals; binds the addresses, and never accepts on them
//	  ├─ worker, slot 1, release A    ⟵ the same listening sockets, inherited
//	  ├─ worker, slot 2, release A
//	  └─ …                            one socket pair each; their output is a pipe to the master
//
// The master forks every worker from a release: an executable as it was when the master adopted it, held open, so that a
// crash restart runs what ran before, whatever became of the file. All workers accept from the same queue of the kernel,
// so nothing that waits in it is lost when one leaves or dies. Counters in shared memory keep the number of connections
// even: a worker with more than its share waits a moment before it accepts.
//
// What the master decides is decided by a deterministic state machine, internal/supervisor; its documentation is part of
// this one. The master itself is one goroutine that owns all state; others send it functions.
//
// # The life of a worker
//
//	started ──────▶ joined ──────▶ ready ──────▶ draining ──────▶ gone
//	   │   Join        │   Ready      │   drain, SIGTERM,  │ all answered: exit code 0
//	   │               │   or Serve   │   or the end of    │ the drain limit: exit code 1
//	   └───────────────┴──────────────┴── the master ──────┘
//	       any end that was not asked for is a crash, whatever the exit code
//
// A worker drains in this order (W2; [Server]): it closes its copy of the listening socket; answers what it has accepted, and
// what still arrives on connections that are open, with Connection: close; closes idle connections last, when nothing is in
// flight and at least a second has passed; answers 503 to what arrives even then. Shortly before its drain limit the contexts
// of requests end, so that those who only wait for their turn can be told; at the limit it cuts what is left, says in the log
// what that is, and exits with 1.
//
// # The life of a master
//
// [New] takes all that a master needs, [Master.Run] runs it. Before Run, other methods fail with [ErrNotRunning], after it, and
// after [Master.Close], with [ErrStopped]; they never wait for what does not come.
//
//	starting ──▶ running ⇄ rolling ──▶ (verdict)
//	                ⇅          └─▶ rolling back ──▶ (verdict)
//	             degraded: a breaker is open, or workers are missing
//	any of them ── SIGTERM ──▶ stopping ── the last worker was reaped ──▶ exit 0
//	starting ── no worker was ever ready, and the breaker opens ──▶ exit with a *StartError
//
// # Signals
//
// To the master:
//
//	SIGUSR2            reload: replace all workers, one after the other, by the executable now on disk
//	SIGTERM, SIGINT    shut down; again: cut what is in flight; a third time: kill
//	SIGTTIN, SIGTTOU   one worker more, one fewer
//	SIGHUP             kept for replacing the master in place; says so in the log
//
// Each has its command on the control socket ([Client]). SIGINT and SIGHUP stay ignored where whoever started the master had it
// ignore them: nohup(1), and shells without job control that run it in the background.
//
// The kernel merges equal signals that wait: a burst of eight SIGTTIN may add one worker. [Master.Scale] counts. Terminals
// send these two signals as well, to processes in their background that read or write; [RelayScaleSignals] says how the
// two are told apart, and what becomes of a SIGTTOU after "stty tostop".
//
// SIGCHLD is the master's, for its workers. Process 1 is the parent of every orphan, and collects those too. The application
// may use os/exec beside that: what it has started is left to it. To one worker: SIGTERM or SIGINT make it drain, again: cut. Since
// the master has not asked for that, it starts another one. Workers are in process groups of their own, so that Ctrl-C
// on a terminal reaches the master only.
//
// # Messages
//
// Each worker has a pair of connected Unix sockets with its master: SOCK_SEQPACKET on Linux, a stream with lengths elsewhere.
// A message is one JSON object. The end of the file is the death of the other side; nobody polls.
//
//	to the master   ready                          it serves from now on
//	                beat{memory, goroutines, in_flight, connections, requests, lag}
//	                broadcast{data}                for all siblings
//	                applied{id, error}             answers set
//	to a worker     drain{delay}                   leave; serve on, unready, for delay
//	                hurry                          cut what is in flight, and leave
//	                ask                            a beat now
//	                set{id, key, value}            a setting
//	                message{from, data}            a sibling's broadcast
//	                serve + descriptor             answer HTTP on this connection: metrics, profiles
//
// A worker starts in a process group of its own, with the user, the nice value and the limits of [Config], and with the
// environment that its release was adopted in: the master's at its start, Config.Env, and what Config.EnvFunc returned when
// the release was adopted. So nothing but a reload changes it. What is meant for the master alone is left out:
// NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES.
//
// It has CLUSTER_WORKER in its environment besides, and these descriptors: 3 its end of the pair, 4 the shared
// counters, 5 the master's standard error, 6 its executable, 7 and on the listening sockets.
//
// # Failures
//
//	a worker crashes            the kernel gives its queue to the others; its slot is filled again after 1 s, 2 s, 4 s … 30 s
//	a release crashes on and on 5 crashes in 60 s open its breaker: it is not forked any more; what is healthy serves on; a
//	                            probe each 30 s and more, or a reload, closes it
//	a worker hangs              no beat for 30 s: killed and replaced
//	a worker grows too large    and stays so for HeartbeatTimeout: replaced, the new one first
//	a bad release               the rollout ends with a verdict that names the reason and the last lines of the worker; the
//	                            old release never gives up a worker before one of the new has proven itself: the first
//	                            replacement bakes, the others have to be ready
//	a drain never ends          killed after KillTimeout, by the master's clock
//	the master is killed        workers read the end of the file at once, close their sockets, finish what they hold within
//	                            their drain limit, and exit; a new master can start meanwhile. A worker that hangs ends
//	                            itself after KillTimeout; a program that has not called Join yet does not notice
//	nobody reads the log        the master and the workers go on; lines are lost, and how many is said when somebody reads
//	the machine runs short      of processes, memory or descriptors: forks fail, and are tried again like crashes, but count
//	                            against a release only before it has ever served, or while it is being rolled out
//	the master is stopped       workers serve on, until one has written more than its pipe holds (64 KiB); when it goes on
//	                            it holds nobody's silence against them
//	the executable is replaced  by rename: as it should be. Overwritten in place: the kernel refuses that while a process
//	                            runs it (ETXTBSY); where it does not, the log says that crash restarts run what is there now
//	the executable is damaged   truncated, for another machine, not executable, still being written: refused before a
//	                            process is started
//	memory runs out             the kernel kills a worker, and on Linux rather a worker than the master: a crash like any other
package cluster
