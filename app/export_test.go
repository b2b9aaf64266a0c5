package app

import (
	"net/http"
	"time"
)

// Edge lets tests put a handler of their own behind the outermost layer.
func (a *App) Edge(next http.Handler) http.Handler { return a.edge(next) }

// OldCursor returns a cursor that is a moment too old.
func OldCursor(list, after string) string {
	return cursor{list, after, time.Now().Add(-cursorLifetime - time.Minute)}.encode()
}

// Redact is tested on all the ways in which a password can be written.
func Redact(text, setting string) string { return redact(text, setting) }
