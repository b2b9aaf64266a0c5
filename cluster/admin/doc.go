// Package admin is the HTTP face of a cluster's master, for an address of its own:
//
//	/api/v1/…                     the commands, as package cluster documents them: status, logs, reload, back, check,
//	                              scale, restart, drain, reset, kill, stop, settings
//	/metrics                      all workers in one scrape, for Prometheus
//	/livez /readyz                of the cluster, in the style of Kubernetes
//	/debug/workers/{pid}/…        what that one worker serves under /debug/, such as pprof
//
// On a loopback address it trusts whoever can reach it, except for browsers that were led there by another site. On any
// other address every request but the probes needs the header "Authorization: Bearer TOKEN".
//
// # Metrics
//
// Each worker serves its own under /metrics to its master (cluster.Worker.HandleAdmin). A scrape asks all of them at once,
// gives every series the label slot, adds up what the two processes of a slot say while one replaces the other, and
// merges the families. A worker that does not answer in time, or with anything but metrics, is left out;
// cluster_worker_up tells. To that come the master's own, whose names begin with cluster_. Two of them are worth an
// alarm: cluster_answering is 1 while no worker is ready, and the answerer tells every client to come back;
// cluster_breaker_open is 1 while a release is not started any more.
//
// What is no amount is not added up: of gauges named …_time_seconds, …_timestamp_seconds and …_info the larger counts.
// Where two releases disagree about the type of a family, that of the lowest slot is told; where they disagree about the
// buckets of a histogram, those that both have. A label slot of the workers' own becomes exported_slot.
package admin
