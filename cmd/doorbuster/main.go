// Command doorbuster is a shop that stays open on Black Friday.
//
// Run "doorbuster dev" for a shop with everything it needs, or "doorbuster --help" for the other commands. Logs go to
// standard error, results to standard output. Every flag can be given as an environment variable, whose name the
// help shows. The exit code is 0, 1 for a failure, and 2 for a command line that can't be understood.
package main

import (
	"os"
)

func main() {
	signals := notify()
	os.Exit(run(signals, os.Args[1:], os.Stdout, os.Stderr))
}
