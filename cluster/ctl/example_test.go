//go:build unix

package ctl_test

import (
	"context"
	"fmt"
	"os"

	"doorbuster/cluster/ctl"
)

// The command line of a service: "shop ctl reload", "shop ctl logs 2 --follow". Here
// nothing runs, which is exit code 3.
func ExampleService_Main() {
	shop := &ctl.Service{
		Program: "shop ctl",
		Socket:  "/nowhere/shop.sock", // Config.ControlSocket of the master
		Hint:    `Is "shop serve" running?`,
		Stdout:  os.Stdout,
		Stderr:  os.Stdout, // os.Stderr, but for this example
	}
	code := shop.Main(context.Background(), []string{"scale", "4", "--no-wait"}) // os.Args[2:]
	fmt.Println("exit code", code)                                               // os.Exit(code)
	// Output:
	// shop ctl: no master listens on /nowhere/shop.sock: dial unix /nowhere/shop.sock: connect: no such file or directory. Is "shop serve" running?
	// exit code 3
}
