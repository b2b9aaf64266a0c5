//go:build !linux

package main

// descriptorLimit is not asked here: requirements says so before.
func descriptorLimit(want int) int { return want }
