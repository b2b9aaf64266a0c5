package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"doorbuster/cluster"
)

// A whole service. Started by hand it is the master; started by the master it is a worker.
func Example() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	worker, err := cluster.Join()
	if errors.Is(err, cluster.ErrNoMaster) {
		master, err := cluster.New(cluster.Config{Listen: []string{":8080"}, PIDFile: "service.pid", ControlSocket: "service.sock"})
		if err != nil {
			return err
		}
		return master.Run(context.Background()) // until SIGTERM
	}
	if err != nil {
		return err
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "hello from worker %d\n", worker.Slot())
	})
	return worker.Serve(&cluster.Server{HTTP: &http.Server{Handler: hello}}) // until the master says so
}
