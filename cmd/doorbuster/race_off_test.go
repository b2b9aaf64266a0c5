//go:build !race

package main_test

const raced = false // these tests have no race detector
