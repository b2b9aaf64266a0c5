//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder in which the commands of this user's shop arrive has to be this user's: one that somebody else has made in /tmp
// before, or can write to, is none.
func TestOwnFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, mode := range map[string]os.FileMode{"private": 0o700, "readable": 0o755, "group": 0o770, "others": 0o702} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("private"), at("link")); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"private": true, "readable": true, "group": false, "others": false, "file": false, "link": false}
	if os.Getuid() == 0 { // who else can give a folder away?
		if err := os.Mkdir(at("foreign"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(at("foreign"), 12345, -1); err != nil {
			t.Fatal(err)
		}
		want["foreign"] = false
	}
	for name, own := range want {
		info, err := os.Lstat(at(name))
		if err != nil {
			t.Fatal(err)
		}
		if got := isOwn(info); got != own {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Somebody may make the runtime directory between a look at it and ours: what is there after that counts.
func TestMakeRuntimeDir(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "")
	dir := t.TempDir()
	fresh := filepath.Join(dir, "deep", "fresh")
	for range 2 {
		if err := makeRuntimeDir(fresh); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(fresh); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	link, open := filepath.Join(dir, "link"), filepath.Join(dir, "open")
	if err := os.Symlink(fresh, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []string{link, open} {
		if err := makeRuntimeDir(foreign); err == nil || !strings.Contains(err.Error(), foreign+" is not a folder that only this account can write to") {
			t.Errorf("%s: %v", foreign, err)
		}
	}
}
