//go:build unix

package cluster

// AcceptErrorsTold is what heartbeats tell of servers.
func AcceptErrorsTold(servers ...*Server) int64 {
	var w Worker
	w.Report(servers...)
	var b beat
	w.numbers(&b)
	return b.AcceptErrors
}
