// Command doorbuster is a shop that stays open on Black Friday.
//
// Run "doorbuster dev" for a shop with everything it needs, or "doorbuster --help" for the other commands. Logs go to
// standard error, results to standard output. Every flag can be given as an environment variable, whose name the
// help shows.
//
// Exit codes: package ctl has the table. 0 is done, 1 refused or failed, 2 a command line that can't be understood, 3 that
// no shop runs, 4 that its master does not answer.
package main

import (
	"os"
)

func main() {
	signals := notify()
	os.Exit(run(signals, os.Args[1:], os.Stdout, os.Stderr))
}
