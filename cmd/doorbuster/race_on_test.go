//go:build race

package main_test

const raced = true // these tests have the race detector
