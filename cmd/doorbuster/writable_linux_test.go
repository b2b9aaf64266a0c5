package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Where the runtime directory, or another place that is needed, is read-only,
// the start fails in one sentence that names the cause and the setting, and
// before anything slow was begun.
func TestReadOnlyPlaces(t *testing.T) {
	t.Parallel()
	namespace := []string{"unshare", "--mount"}
	if os.Getuid() != 0 {
		namespace = append(namespace, "--map-root-user")
	}
	if out, err := exec.Command(namespace[0], append(namespace[1:], "mount", "-t", "tmpfs", "none", t.TempDir())...).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v: %s", err, out)
	}
	for name, c := range map[string]struct {
		env  string // {} stands for the read-only place
		dev  bool   // "dev" only
		says string
	}{
		"user's runtime directory":    {env: "XDG_RUNTIME_DIR={}", says: "set XDG_RUNTIME_DIR to a folder that this account may write to"},
		"service's runtime directory": {env: "RUNTIME_DIRECTORY={}", says: "nothing can be written to {}: read-only file system; set CONTROL_SOCKET, or XDG_RUNTIME_DIR"},
		"PID file":                    {env: "PID_FILE={}/pid", says: "set PID_FILE, or XDG_RUNTIME_DIR"},
		"folder of the PID file":      {env: "PID_FILE={}/a/b/pid", says: "set PID_FILE, or XDG_RUNTIME_DIR"},
		"control socket":              {env: "CONTROL_SOCKET={}/socket", says: "set CONTROL_SOCKET, or XDG_RUNTIME_DIR"},
		"folder of the control socket": {
			env: "CONTROL_SOCKET={}/a/b/socket", says: "set CONTROL_SOCKET, or XDG_RUNTIME_DIR",
		},
		"temporary directory":   {env: "TMPDIR={}", dev: true, says: "nothing can be written to {}: read-only file system; set TMPDIR to a place"},
		"data":                  {env: "DATA={}", dev: true, says: "nothing can be written to {}: read-only file system; set DATA to a place"},
		"folder of the data":    {env: "DATA={}/a/b", dev: true, says: "set DATA to a place"},
		"Unix socket to listen": {env: "ADDR=unix:{}/shop", says: ""},
	} {
		for _, command := range []string{"serve", "dev"} {
			if c.dev && command == "serve" || c.says == "" && command == "dev" {
				continue
			}
			t.Run(name+"/"+command, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(shortTempDir(t), "ro")
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				const mounted = `mount -t tmpfs -o ro none "$0" && exec "$@"`
				program := append(slices.Clip(namespace), "sh", "-c", mounted, dir, binary, command)
				p := startProgram(t, []string{"ADDR=127.0.0.1:0", strings.ReplaceAll(c.env, "{}", dir)}, program...)
				code := p.wait()
				if lines := p.stderr.all(); code != 1 || len(lines) != 1 || !strings.Contains(lines[0], "read-only file system") ||
					!strings.Contains(lines[0], strings.ReplaceAll(c.says, "{}", dir)) {
					t.Errorf("got exit code %d and %q, want %q", code, lines, c.says)
				}
				if len(p.said) > 0 {
					t.Errorf("it has begun: %q", p.said)
				}
			})
		}
	}
}

// What is written to see whether that is possible is removed.
func TestWritablePlacesStayEmpty(t *testing.T) {
	t.Parallel()
	dir := shortTempDir(t)
	env := []string{"ADDR=nonsense", "CONTROL_SOCKET=" + filepath.Join(dir, "socket"), "PID_FILE=" + filepath.Join(dir, "pid")}
	if code, _, stderr := do(t, env, "serve"); code != 1 {
		t.Errorf("got exit code %d: %s", code, stderr)
	}
	wantEmpty(t, dir)
}
