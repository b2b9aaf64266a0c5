//go:build !unix

package main

import (
	"os"
	"os/exec"
)

var passedOn = []os.Signal{os.Interrupt}

func own(*exec.Cmd) {}

// pass does nothing: the console has told the command already.
func pass(*exec.Cmd, os.Signal) {}

func exitCode(state *os.ProcessState) int { return state.ExitCode() }
