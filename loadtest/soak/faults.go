//go:build linux

package main

import "time"

// Time limits of the shop under test, which the faults have to be shorter or longer than.
const (
	heartbeatTimeout = 3 * time.Second
	workers          = 3
	fewestWorkers    = 2
	mostWorkers      = 5
)

// faults are all kinds of steps. Two rules bound what a script may ask of a shop. A worker is stopped only while another
// one is ready, and nobody is killed meanwhile: a stopped worker counts as ready until it is silent for the heartbeat
// timeout. And the longest shortage of all workers is shorter than what fresh connections may wait.
var faults = []fault{
	{name: "kill a worker", lane: violence, weight: 20, do: (*script).killOne},
	{name: "kill workers one after the other", lane: violence, weight: 8, count: 5, do: (*script).killSome},
	{name: "kill all workers at once", lane: violence, weight: 10, do: (*script).killAll},
	{name: "kill all workers under a stopped master", lane: violence, weight: 4, least: 100 * time.Millisecond, most: time.Second, do: (*script).killAllUnheard},
	{name: "kill all workers, and the answerer", lane: violence, weight: 4, do: (*script).killAnswerer},
	{name: "stop a worker for a moment", lane: violence, weight: 10, least: 50 * time.Millisecond, most: heartbeatTimeout / 2, do: (*script).stopWorker},
	{name: "stop a worker for too long", lane: violence, weight: 6, least: heartbeatTimeout + time.Second, most: heartbeatTimeout + 2*time.Second, do: (*script).stopWorker},
	{name: "stop the master", lane: violence, weight: 8, least: 100 * time.Millisecond, most: heartbeatTimeout + time.Second, do: (*script).stopMaster},
	{name: "terminate a worker by hand", lane: violence, weight: 10, do: (*script).terminate},
	{name: "no descriptors for a worker", lane: violence, weight: 8, least: 200 * time.Millisecond, most: 2 * time.Second, do: (*script).starveOne},
	{name: "no descriptors for all workers", lane: violence, weight: 6, least: 200 * time.Millisecond, most: time.Second, do: (*script).starveAll},
	{name: "no descriptors for the master", lane: violence, weight: 6, least: 200 * time.Millisecond, most: 2 * time.Second, do: (*script).starveMaster},
	{name: "no memory for a worker", lane: violence, weight: 4, least: 200 * time.Millisecond, most: 2 * time.Second, do: (*script).noMemory},

	{name: "reload", lane: orders, weight: 16, do: (*script).reload},
	{name: "reload by SIGUSR2", lane: orders, weight: 8, do: (*script).reloadBySignal},
	{name: "two reloads at once", lane: orders, weight: 6, do: (*script).reloadTwice},
	{name: "reload with a broken program", lane: orders, weight: 8, count: len(brokenPrograms), do: (*script).reloadBroken},
	{name: "scale", lane: orders, weight: 10, count: mostWorkers - fewestWorkers + 1, do: (*script).scale},
	{name: "scale by signal", lane: orders, weight: 8, do: (*script).scaleBySignal},
	{name: "restart a slot", lane: orders, weight: 6, do: (*script).restart},
	{name: "drain a slot", lane: orders, weight: 6, do: (*script).drain},
	{name: "scrapes, profiles, status in bursts", lane: orders, weight: 10, least: 200 * time.Millisecond, most: 2 * time.Second, count: 16, do: (*script).scrape},
	{name: "clients that send nothing", lane: orders, weight: 6, least: time.Second, most: 3 * time.Second, count: 200, do: (*script).sendNothing},
	{name: "clients that do not read", lane: orders, weight: 6, least: time.Second, most: 6 * time.Second, count: 8, do: (*script).readNothing},
	{name: "settings", lane: orders, weight: 4, do: (*script).settings},
	{name: "SIGHUP to the master", lane: orders, weight: 3, do: (*script).hangUp},
	{name: "reset", lane: orders, weight: 3, do: (*script).reset},
}
