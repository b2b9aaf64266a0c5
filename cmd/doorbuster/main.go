// Command doorbuster is a shop that stays open on Black Friday.
//
// Run "doorbuster dev" for a shop with everything it needs, or "doorbuster --help" for the other commands. Logs go to
// standard error, results to standard output. Every flag can be given as an environment variable, whose name the
// help shows.
//
// Exit codes:
//
//	0  done
//	1  refused, or failed: the message says why
//	2  a command line that can't be understood
//	3  there is no running shop: no master listens on the control socket
//	4  the master does not answer, and will not carry the command out later
package main

import (
	"os"
)

func main() {
	signals := notify()
	os.Exit(run(signals, os.Args[1:], os.Stdout, os.Stderr))
}
