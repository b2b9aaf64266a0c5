package main

import (
	"fmt"
	"runtime"
	"strconv"
	"time"

	"doorbuster/loadtest/internal/shop"
	"doorbuster/loadtest/internal/wrk"
)

// A setup is one way of running the shop; a server is one that runs.
type (
	setup  = shop.Setup
	server = shop.Server
)

func setups() []setup {
	workers := "WORKERS=" + strconv.Itoa(runtime.NumCPU())
	return []setup{
		{Letter: "A", What: "one process, one core", Command: "worker", Env: []string{"GOMAXPROCS=1"}},
		{Letter: "B", What: "one process, all cores", Command: "worker"},
		{Letter: "C", What: "cluster, 1 thread a worker", Command: "serve", Env: []string{workers, "WORKER_PROCS=1"}},
		{Letter: "D", What: "cluster, 2 threads a worker", Command: "serve", Env: []string{workers, "WORKER_PROCS=2"}},
	}
}

// clusterOf is a cluster as somebody gets it who sets nothing but the number of workers.
func clusterOf(workers int, env ...string) setup {
	return setup{
		What: fmt.Sprintf("cluster of %d", workers), Command: "serve", Env: append([]string{"WORKERS=" + strconv.Itoa(workers)}, env...),
	}
}

// reads is a load of one thread, for wrk shares the cores with what it loads.
func reads(s *server, connections int, d time.Duration) wrk.Load {
	return wrk.Load{URL: "http://" + s.Addr + readPath, Threads: 1, Connections: connections, Duration: d}
}
