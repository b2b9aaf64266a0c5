//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkProcess refuses what no worker can be started with.
func (c *Config) checkProcess() error {
	if c.User != nil && os.Geteuid() != 0 && os.Geteuid() != int(c.User.UID) {
		return fmt.Errorf("workers can't run as user %d: only root may start them as somebody else, and this is user %d",
			c.User.UID, os.Geteuid())
	}
	if c.Nice != 0 {
		if err := onThreadOfItsOwn(func() error { return setNice(c.Nice) }); err != nil {
			return fmt.Errorf("workers can't run with nice value %d: %w; only root may give one below its own", c.Nice, err)
		}
	}
	for _, l := range c.Rlimits {
		var own syscall.Rlimit
		if err := syscall.Getrlimit(l.Resource, &own); err != nil {
			return fmt.Errorf("limit of resource %d: %w", l.Resource, err)
		}
		if l.Soft > l.Hard {
			return fmt.Errorf("limit of resource %d: the soft limit of %d is above the hard one of %d", l.Resource, l.Soft, l.Hard)
		}
		raises := os.Geteuid() == 0 && (c.User == nil || c.User.UID == 0)
		if l.Hard > rlimitValue(own.Max) && !raises {
			return fmt.Errorf("limit of resource %d: workers set it themselves, and can't raise the hard limit of %d to %d: raise that of "+
				"the master before it starts", l.Resource, rlimitValue(own.Max), l.Hard)
		}
	}
	return nil
}

// rlimitValue is a limit as every system has it: some use signed numbers.
func rlimitValue[T int64 | uint64](v T) uint64 { return uint64(v) }

func setRlimitValue[T int64 | uint64](to *T, v uint64) { *to = T(v) }

// setRlimits limits this process. By syscall.Setrlimit: package os raises the soft limit of descriptors when it starts, and
// would put the old one back in every child.
func setRlimits(limits []Rlimit) error {
	for _, l := range limits {
		var r syscall.Rlimit
		setRlimitValue(&r.Cur, l.Soft)
		setRlimitValue(&r.Max, l.Hard)
		if err := syscall.Setrlimit(l.Resource, &r); err != nil {
			return fmt.Errorf("set the limit of resource %d to %d and %d: %w", l.Resource, l.Soft, l.Hard, err)
		}
	}
	return nil
}

// credential is whom workers run as: nil for the master's own user.
func (c *Config) credential() *syscall.Credential {
	if c.User == nil || os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: c.User.UID, Gid: c.User.GID, Groups: c.User.Groups}
}

// freshEnv returns the environment of a release that is just being adopted.
func (m *Master) freshEnv() ([]string, error) {
	added := m.cfg.Env
	if m.cfg.EnvFunc != nil {
		more, err := m.cfg.EnvFunc()
		if err != nil {
			return nil, fmt.Errorf("ask for the environment of workers: %w", err)
		}
		added = slices.Concat(added, more)
	}
	for _, kv := range added {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" || strings.ContainsRune(kv, 0) {
			return nil, errors.New("the environment of workers: each entry has to be NAME=value, without a zero byte")
		}
	}
	return workerEnv(m.own, added), nil
}

// fork starts a process with the nice value that workers should have.
func (m *Master) fork(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	if m.cfg.Nice == 0 {
		return syscall.ForkExec(path, argv, attr)
	}
	return forkNice(m.cfg.Nice, path, argv, attr)
}

// setNice sets the nice value of the calling thread on Linux, and of this process elsewhere (setpriority(2)).
func setNice(nice int) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, nice); err != nil {
		return os.NewSyscallError("setpriority", err)
	}
	return nil
}
