// Package cluster runs a service as a master and a number of workers that share its listening sockets: it replaces workers
// that crash, without fork bombs, and all of them by a new release in the middle of the traffic, without losing a request.
// It knows nothing about the service but that it is a program which calls [Join]; it needs the standard library and
// golang.org/x/sys. Example shows a whole service, and testdata/lift one with all that services have: plain and TLS, HTTP/1.1
// and HTTP/2, server-sent events and upgraded connections.
//
// # Processes
//
//	master ── PID file, control socket, signals; binds the addresses, and never accepts on them
//	  ├─ worker, slot 1, release A    ⟵ the same listening sockets, inherited
//	  ├─ worker, slot 2, release A
//	  ├─ …                            one socket pair each; their output is a pipe to the master
//	  └─ answerer                     only while no worker is ready, after one was; the same listening sockets
//
// The master forks every worker from a release: an executable as it was when the master adopted it, held open, so that a
// crash restart runs what ran before, whatever became of the file. The release before stays open, too, for
// [Master.ReloadBack].
//
// # Accepting
//
// All workers accept from the same queue of the kernel, one for each address, so nothing that waits in it is lost when one
// leaves or dies. Counters in shared memory keep the number of connections of each address even: a worker with more than its
// share waits a moment, 1 ms at most, before it accepts. That holds for TCP and Unix sockets, with TLS and without, that are
// served by [Worker.Serve].
//
// On Linux four workers are on watch at a time: the kernel wakes all of them for a connection, and nobody else. The others
// stand by until one that has more than its share calls the one that has the fewest. A worker that leaves or can't accept
// calls another one. When all four are killed, stopped or without a processor at once, a connection waits for 100 ms at most
// until one that stands by sees it. Elsewhere every connection wakes all workers.
//
// Connections that are kept stay where they are, also when workers are added. So
// a worker that has more than 1.5 times the connections of another one on the
// same address, and 2 or more above the mean, for 2 s, says Connection: close in
// some of its answers, over HTTP/2 GOAWAY, until it has the mean; the clients
// come back to those who have fewer. It tells no more clients than it had
// connections above the mean when it began, 1 in 16 of its answers, and every
// 100 ms 1 in 64 of its connections, at least 1. After that it rests for 10 s.
// Siblings that don't accept, or don't take what they are left, count for
// nothing: a worker that is alone tells nobody, and neither does one that leaves.
// When clients do not come back to those for whose sake they were told, that is
// the most that it costs: a connection for every 16 answers.
//
// A worker without file descriptors leaves the connections to its siblings and tries again, after 5 ms to 1 s. When all are,
// the connections wait in the queue. It is an ERROR line, once a second at most, with what to do, and a number in status:
// accept_errors_total.
//
// The answerer is the master's own program, started again with CLUSTER_ANSWERER in its environment, and ends before its main
// begins. It has nothing of the environment else but what is for the Go runtime, and these descriptors: 3 a pair that ends
// when it has to leave, 4 and on the listening sockets. It takes 512 connections at a time, or as many as descriptors
// allow, gives each 2 s to send its request and 1 s to take the answer, and a moment to close. Programs that use this
// package must not do in an init function what may be done once only.
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
// A worker drains in this order (W2); [Server.Serve] has the details. It closes
// its copy of the listening socket, and tells whoever asked for it
// ([Server.OnDrain]). It answers what it has accepted, and what still arrives
// on connections that are open: every answer says Connection: close, or GOAWAY
// over HTTP/2. A connection that is idle is kept for the lame duck
// (Server.LameDuck), counted from when the drain began or from when it became
// idle, whichever is later; after that, when nothing is in flight, it is
// closed. So a connection ends without a notice only after its client has had
// that time, or when the drain limit is near: the log counts both. Shortly
// before its drain limit the contexts of requests end, so that those who only
// wait for their turn can be told, and what arrives even then is answered 503;
// at the limit it cuts what is left, says in the log what that is, and exits
// with 1. A client that does not read its answer is cut before: it has to take
// 8 KiB/s with 10 s of patience, and 32 KiB/s with 2 s in a drain ([DataRate]).
//
// # The life of a master
//
// [New] takes all that a master needs, [Master.Run] runs it. Before Run, other methods fail with [ErrNotRunning], after it, and
// after [Master.Close], with [ErrStopped]; they never wait for what does not come.
//
// New refuses more workers than its limits have room for, and the log says when
// there is little: of descriptors, and of processes, which are what the cgroups
// leave (pids.max) and, unless workers are root's, what their user may have
// (RLIMIT_NPROC).
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
// Each has its command on the control socket ([Client]). SIGHUP stays ignored where whoever started the master had it ignore
// that, as nohup(1) does. SIGINT is taken even where a shell without job control had what it runs in the background ignore it.
//
// The kernel merges equal signals that wait: a burst of eight SIGTTIN may add one worker. [Master.Scale] counts. Terminals
// send these two signals as well, to processes in their background that read or write; [RelayScaleSignals] says how the
// two are told apart, and what becomes of a SIGTTOU after "stty tostop".
//
// SIGCHLD is the master's, for its workers. Process 1 is the parent of every orphan, and collects those too. The application
// may use os/exec beside that: what it has started is left to it. To one worker: SIGTERM or SIGINT make it drain, again: cut. Since
// the master has not asked for that, it starts another one. Workers are in process groups of their own, so that Ctrl-C
// on a terminal reaches the master only. SIGHUP and SIGPIPE do nothing to a worker. They are taken and not ignored, so that
// programs that a worker executes are ended by them; a SIGHUP that the worker was started to ignore stays ignored.
//
// # Commands
//
// The control socket takes them as HTTP, and so does whatever [Master.Handler] is mounted on. [Client] gives them from Go,
// and package ctl from a command line.
//
//	GET  /api/v1/status                  Status
//	GET  /api/v1/logs?slot=2&n=100&follow=true  a LogLine in each line; see LogOptions
//	POST /api/v1/reload                  waits; {"ok": true}, or 409 with {"ok": false, "reason", "output"}
//	POST /api/v1/back                    as reload, but to the release before
//	POST /api/v1/check                   {"ok": true, "release"}, or 409 with why a reload would be refused
//	POST /api/v1/scale     {"workers", "force"}  waits; {"ok": true}, or as reload; with ?wait=false when it has begun
//	POST /api/v1/restart   {"slot"}      waits; {"ok": true}, or as reload
//	POST /api/v1/drain     {"slot"}      waits; {"ok": true}, or as reload
//	POST /api/v1/reset                   {"ok": true}
//	POST /api/v1/kill      {"slot"}      {"ok": true}
//	POST /api/v1/stop                    {"ok": true}; with ?wait=true when the last worker is gone; with ?now=true what is
//	                                     in flight is cut
//	POST /api/v1/settings  {"key", "value"}  {"ok": true, "workers": how many have it}
//	DELETE /api/v1/settings?key=KEY      {"ok": true, "workers": how many have it still}
//
// What is refused is answered with {"ok": false, "reason"}: 400 where the request can't be understood, 422 where it can't be
// done, 409 where workers have failed, 503 where the master does not run, or not any more.
//
// With "Accept: application/x-ndjson" reload and back answer line by line: an [Event] for each thing that happens, and the
// outcome last. An event that belongs to another reload is left out.
//
// The last 64 KiB that the workers of each slot have written are kept, across crashes and reloads. One who follows and does
// not read holds up nobody: 256 KiB wait for him, and what is dropped after that is counted. The log is read without the
// master's goroutine, also while that hangs.
//
// A command that nobody waits for any more when its turn comes is not carried out: one whose connection to the control
// socket was closed, or whose header Cluster-Deadline (RFC 3339) has passed. Whoever sends that header gets a 102
// (Processing, RFC 2518) when the command was taken, or the header of the answer. Every answer has the header
// Cluster-Abilities with the word deadline: masters of older releases don't know it. A command that changes something is in
// the status, in the history, with whose it is; also one that is refused.
//
// # Messages
//
// Each worker has a pair of connected Unix sockets with its master: SOCK_SEQPACKET on Linux, a stream with lengths elsewhere.
// A message is one JSON object. The end of the file is the death of the other side; nobody polls.
//
//	to the master   ready{protocol, abilities}     it serves from now on
//	                beat{memory, goroutines, in_flight, connections, requests, accept_errors, lag, missed, unhealthy}
//	                broadcast{data}                for all siblings
//	                applied{id, error}             answers set
//	                refused{id, error}             answers serve, when the connection can't be taken
//	to a worker     drain{delay, reason}           leave; serve on, unready, for delay
//	                hurry                          cut what is in flight, and leave
//	                ask                            a beat now
//	                set{id, key, value}            a setting
//	                message{from, data}            a sibling's broadcast
//	                serve{id} + descriptor         answer HTTP on this connection: metrics, profiles
//
// No message can end the one who gets it. What can't be understood, what is too long, and a descriptor that nobody announced
// or that there is no room for are refused one by one, closed, and told in the log at most every 10 s. For descriptors that
// a worker is passed it holds a reserve, and so does the master for starting workers and for its control socket. On
// a stream, a length that can't be ends the link all the same: nobody could tell where the next message begins.
//
// The protocol is additive, and this is number 1. Either side ignores kinds and fields that it does not know, and leaves
// out what it has nothing to say in. Each announces its number and its abilities, the master in the invitation. The number
// rises when workers come to depend on something new of their master; a worker joins every master whose number is at
// least the lowest that it can work under, and refuses others in words. An ability is something that is only sent, or waited
// for, where the other side has it: health (beat{unhealthy}) and refusal (refused) so far. The first release of number 1
// announced nothing, and its workers take masters of number 1 only.
//
// The application never sits between two messages: OnMessage, OnSetting and Healthy run on goroutines of their own. A worker
// whose application blocks hears what it is told. Broadcasts that it leaves no room for are dropped and counted; settings
// are refused.
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
//	a release crashes on and on 5 crashes in 60 s open its breaker: it is not forked any more while another worker is ready;
//	                            a probe each 30 s and more, a reload, or [Master.Reset] closes it. What was killed by a signal
//	                            from outside, had served for 10 s, or was an additional worker that never got ready beside
//	                            others, does not count
//	no worker is ready          one is tried within 1.25 s, always, so that a release that can serve does so again after the
//	                            time that it takes to start and 2 s at most. After 250 ms the answerer is there: it tells
//	                            every client at once to come back, by 503 with Retry-After over HTTP/1, GOAWAY over HTTP/2, an
//	                            alert over TLS. With one worker, there is none while a reload brings a second one: there
//	                            are never more than workers + 1 children, but for those who are leaving. Before a first worker
//	                            was ready, clients wait
//	the answerer fails          is started again after 1 s, 2 s, 4 s … 30 s; nothing else depends on it
//	a worker is stopped         or can't run: no beat for 30 s: killed and replaced
//	a worker hangs              requests are at work and none gets on for 30 s (Server.StallTimeout), or its Worker.Healthy
//	                            fails: it is unhealthy, and its beats and the status say so
//	a worker is unhealthy       by its own word, for HeartbeatTimeout: replaced, by one that is ready and healthy first, and
//	                            never killed. When the new one is unhealthy as well, what is broken is elsewhere: nobody is
//	                            replaced for that for 5 minutes, or until somebody is healthy again
//	the master hangs            commands fail within 5 s (Client.Timeout) with ErrNotHeard, and are not carried out when it
//	                            goes on: nobody waits for them any more
//	the master is older         than the client, and does not tell when it takes a command: the client waits on while it
//	                            answers questions, and says so (Client.Notice)
//	a client does not read      its answer is cut after 10 s, or 2 s in a drain, also if those were before: it delays no
//	                            reload, and nobody else's answers. One that reads at the least rate keeps a drain until its
//	                            limit at the most
//	a callback blocks           the worker drains and ends as ever; a panic in one is logged, and ends nothing
//	a setting does harm         one that no worker applies is not kept; one that later workers refuse, or hang on for 2 s, does
//	                            not keep them from serving; unset takes it back
//	workers are uneven          as after a crash or a scale: the busiest tell some of their clients to come back, see Accepting
//	a worker grows too large    and stays so for HeartbeatTimeout: replaced, the new one first
//	a bad release               the rollout ends with a verdict that names the reason and the last lines of the worker; the
//	                            old release never gives up a worker before one of the new has proven itself: the first
//	                            replacement bakes, the others have to be ready
//	a drain never ends          killed after KillTimeout, by the master's clock, with what it has started, if that is in its
//	                            process group
//	the master is killed        workers read the end of the file at once, close their sockets, finish what they hold within
//	                            their drain limit, and exit; a new master can start meanwhile. A worker that hangs ends
//	                            itself after KillTimeout; a program that has not called Join yet does not notice
//	nobody reads the log        the master and the workers go on; lines are lost, and how many is said when somebody reads
//	the machine runs short      of processes, memory or descriptors: forks fail, and are tried again like crashes, but count
//	                            against a release only before it has ever served, or while it is being rolled out
//	no descriptor is left       a worker refuses what it has no reserve for, and hears on; its master answers the control
//	                            socket, and replaces workers, out of a reserve
//	the master is stopped       workers serve on, until one has written more than its pipe holds (64 KiB); when it goes on
//	                            it holds nobody's silence against them
//	the executable is replaced  by rename: as it should be. Overwritten in place: the kernel refuses that while a process
//	                            runs it (ETXTBSY); where it does not, the log says that crash restarts run what is there now
//	the executable is damaged   truncated, for another machine, not executable, still being written: refused before a
//	                            process is started
//	memory runs out             the kernel kills a worker, and on Linux rather a worker than the master: a crash like any other
package cluster
