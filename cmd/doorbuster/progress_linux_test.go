package main_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo terminal.
func openTerminal(t *testing.T) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	fd := int(screen.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("there are no pseudo terminals here: %v", err)
	}
	return screen, terminal
}

// On a terminal a reload draws a bar, in one line, to its end.
func TestReloadDrawsABar(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	screen, terminal := openTerminal(t)
	cmd := exec.Command(binary, "reload")
	cmd.Env = []string{"XDG_RUNTIME_DIR=" + s.dir}
	cmd.Stdout = terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	shown, _ := io.ReadAll(screen) // its error says that nobody holds the other end any more
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(strings.TrimRight(string(shown), "\r\n"), "\r\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[1], "reloaded in ") {
		t.Fatalf("got %q, want one line for the bar and one for the outcome", shown)
	}
	states := strings.Split(lines[0], "\r\x1b[K")
	for _, want := range []string{`^\[ {30}\] 0/2  to release `, `^\[={15} {15}\] 1/2  worker 1 .* takes over$`, `^\[={30}\] 2/2  worker 2 .* takes over$`} {
		re := regexp.MustCompile(want)
		found := false
		for _, state := range states {
			found = found || re.MatchString(state)
		}
		if !found {
			t.Errorf("the bar never shows %s: %q", want, states)
		}
	}
	if last := states[len(states)-1]; !strings.HasPrefix(last, "["+strings.Repeat("=", 30)+"] 2/2") {
		t.Errorf("the bar ends as %q", last)
	}
	s.close()
}
