// Package ctl is the command line of whoever runs a service on package cluster: status,
// logs, reload, scale and all else that a master can be told on its control socket, with
// texts for people and exit codes for scripts. It needs the standard library and package
// cluster.
//
// A service that has no command line of its own calls [Service.Main]. One that has calls
// the methods, and takes the flags and the help from [Commands] and the types of options:
// their fields are the flags, and the tags name, short and help describe them.
//
// # Exit codes
//
//	0  done
//	1  refused, or failed: the message says why
//	2  a command line that can't be understood
//	3  no master listens on the control socket
//	4  the master does not answer, and will not carry the command out later
//
// Results go to [Service.Stdout]. What explains them goes to [Service.Stderr]: the last
// lines of a worker that failed, lines of the log that were dropped, and what a master of
// an older release can't tell. An error is one sentence, which whoever calls a method
// prints.
//
// A command that is interrupted, by the end of its context, says what is true then: that
// the master goes on with it, or that it has not heard of it and will not carry it out.
package ctl
