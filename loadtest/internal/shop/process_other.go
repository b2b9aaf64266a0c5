//go:build !linux

package shop

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
