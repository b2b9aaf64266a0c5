package main

import (
	"net/http"
	"net/http/pprof"

	"doorbuster/app"
)

// debugHandler answers what the master asks a worker: its metrics, and what pprof tells (W6).
func debugHandler(shop *app.App) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", shop.Metrics())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
