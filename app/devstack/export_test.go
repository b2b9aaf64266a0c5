//go:build unix

package devstack

// Alive reports whether a process runs and is no zombie.
var Alive = alive
