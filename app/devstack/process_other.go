//go:build !unix

package devstack

import (
	"os"
	"syscall"
)

// needsUnix is why no server program runs here; Redis is always miniredis.
const needsUnix = "a private PostgreSQL needs a Unix (Unix sockets and signals): set DATABASE_URL to one that runs"

type account struct{}

func serverAccount(string) (*account, error) { return nil, nil }

func (*account) String() string        { return "the current user" }
func (*account) own(string) error      { return nil }
func (*account) owns(os.FileInfo) bool { return false }
func alive(int) bool                   { return true }
func programOf(int) string             { return "" }

func (p *process) freeze() []int { return nil }
func (p *process) thaw()         {}
func lock(*os.File) error        { return nil }
func unlock(*os.File) error      { return nil }

func attributes(*account, syscall.Signal) *syscall.SysProcAttr { return nil }

func (p *process) killTree() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}
