//go:build unix

package devstack

import (
	"errors"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

const needsUnix = "" // nothing to complain about here

// An account is whom a server runs as. The nil account is the one we run as ourselves.
type account struct {
	name     string
	uid, gid uint32
}

// serverAccount chooses whom servers on dir run as. Only root has a choice, and needs one: PostgreSQL refuses
// root. Data that is already there belongs to whoever created it, so its owner comes first.
func serverAccount(dir string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if info, err := os.Stat(dir); dir != "" && err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return &account{name: "user " + strconv.Itoa(int(st.Uid)), uid: st.Uid, gid: st.Gid}, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseInt(u.Uid, 10, 64)
		gid, gidErr := strconv.ParseInt(u.Gid, 10, 64)
		if uidErr != nil || gidErr != nil || uid == 0 {
			continue
		}
		// macOS writes the ids of nobody as -2, which is 4294967294 to the kernel.
		return &account{name: "user " + name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("running as root, and there is neither a user postgres nor a user nobody to run the servers as")
}

func (a *account) String() string {
	if a == nil {
		return "the current user"
	}
	return a.name
}

// own hands path to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// owns reports whether path was made for the account.
func (a *account) owns(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	if a == nil {
		return int(st.Uid) == os.Geteuid()
	}
	return st.Uid == a.uid
}

func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// killTree ends the child and all its descendants at once, as a power cut would.
//
// The process group is not enough: each backend of PostgreSQL calls setsid and so leaves it. The child is stopped
// first, so that it neither forks more nor notices that its children die.
func (p *process) killTree() {
	defer func() { <-p.exited }()
	if p.cmd.Process.Signal(syscall.Signal(0)) != nil {
		return // it was reaped, and its number may be somebody else's
	}
	for _, pid := range p.freeze() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	p.signal(syscall.SIGKILL)
}

// freeze stops the child and its descendants and returns the descendants. Parents stop before children are
// listed, so after a round without news there is nobody left who could fork.
func (p *process) freeze() []int {
	if p.cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return nil // as in killTree
	}
	stopped := map[int]bool{}
	var family []int
	for news := true; news; {
		news = false
		for _, pid := range descendants(p.pid()) {
			if !stopped[pid] {
				_ = syscall.Kill(pid, syscall.SIGSTOP)
				stopped[pid], news = true, true
				family = append(family, pid)
			}
		}
	}
	return family
}

// thaw undoes freeze.
func (p *process) thaw() {
	if p.cmd.Process.Signal(syscall.Signal(0)) != nil {
		return // as in killTree
	}
	for _, pid := range descendants(p.pid()) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	p.signal(syscall.SIGCONT)
}

// lineage returns all that descend from root, given the parent of every process.
func lineage(root int, parents map[int]int) []int {
	family := map[int]bool{root: true}
	var found []int
	for grew := true; grew; {
		grew = false
		for pid, parent := range parents {
			if family[parent] && !family[pid] {
				family[pid], grew = true, true
				found = append(found, pid)
			}
		}
	}
	return found
}
