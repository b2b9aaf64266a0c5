//go:build unix

package cluster

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// releaseSource says which release it is and, with an argument, waits for the end of its input.
const releaseSource = `package main

import (
	"io"
	"os"
)

func main() {
	os.Stdout.WriteString("release one\n")
	if len(os.Args) > 1 {
		io.Copy(io.Discard, os.Stdin)
	}
}
`

var (
	releaseBuild sync.Once
	releaseOne   []byte
	releaseTwo   []byte // of the same length and with the same build id
)

// releasePrograms returns two small real programs.
func releasePrograms(t testing.TB) (one, two []byte) {
	t.Helper()
	releaseBuild.Do(func() {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(releaseSource), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", "program", "main.go")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var err error
		if releaseOne, err = os.ReadFile(filepath.Join(dir, "program")); err != nil {
			t.Fatal(err)
		}
		releaseTwo = bytes.ReplaceAll(releaseOne, []byte("release one"), []byte("release two"))
	})
	if len(releaseOne) == 0 || bytes.Equal(releaseOne, releaseTwo) {
		t.Fatal("no programs to test with")
	}
	return releaseOne, releaseTwo
}

// quietSince is the mtime of files that a test does not want to be waited for.
var quietSince = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)

func putRelease(t testing.TB, path string, content []byte, mode os.FileMode) string {
	t.Helper()
	defer keepDescriptors()()
	if err := errors.Join(os.WriteFile(path, content, mode), os.Chmod(path, mode), os.Chtimes(path, quietSince, quietSince)); err != nil {
		t.Fatal(err)
	}
	return path
}

// keepDescriptors keeps what is opened from now on out of other tests' processes, until release is called: a child has all
// descriptors from fork to exec, and a file that is open for writing is taken to be in the middle of a copy.
func keepDescriptors() (release func()) {
	syscall.ForkLock.RLock()
	return syscall.ForkLock.RUnlock
}

func mustAdopt(t testing.TB, path string) *release {
	t.Helper()
	r, err := adopt(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func shaPrefix(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:4])
}

// M8: the name tells one content from another, wherever it lies and whenever it was copied, and programs that Go would
// give the same build id too.
func TestReleaseName(t *testing.T) {
	t.Parallel()
	one, two := releasePrograms(t)
	dir := t.TempDir()
	a := mustAdopt(t, putRelease(t, dir+"/a", one, 0o755))
	b := mustAdopt(t, putRelease(t, dir+"/b", two, 0o755))
	if want := "dev+" + shaPrefix(one); a.name != want {
		t.Errorf("got %s, want %s", a.name, want)
	}
	if want := "dev+" + shaPrefix(two); b.name != want {
		t.Errorf("got %s, want %s", b.name, want)
	}
	again := putRelease(t, dir+"/again", one, 0o700)
	if err := os.Chtimes(again, quietSince, quietSince.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if c := mustAdopt(t, again); c.name != a.name {
		t.Errorf("the same content elsewhere is %s, want %s", c.name, a.name)
	}
	script := []byte("#!/bin/sh\necho script\n")
	if s := mustAdopt(t, putRelease(t, dir+"/script", script, 0o755)); s.name != "dev+"+shaPrefix(script) {
		t.Errorf("a script is %s, want dev+%s", s.name, shaPrefix(script))
	}
}

// M8: the version in the name is the commit where there is one, and says when it was not clean.
func TestReleaseVersion(t *testing.T) {
	t.Parallel()
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for want, c := range map[string]struct{ revision, modified, main string }{
		"0123456789ab":       {commit, "false", "v1.2.3"},
		"0123456789ab-dirty": {commit, "true", "(devel)"},
		"42":                 {"42", "", ""},
		"v1.2.3":             {"", "", "v1.2.3"},
		"dev":                {"", "true", "(devel)"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.main}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: c.revision}, {Key: "vcs.modified", Value: c.modified},
		}}
		if got := buildVersion(info); got != want {
			t.Errorf("%+v: got %s, want %s", c, got, want)
		}
	}
	if got := buildVersion(&debug.BuildInfo{}); got != "dev" {
		t.Errorf("nothing known: got %s, want dev", got)
	}
}

// patched returns a copy of content with other bytes at offset.
func patched(content []byte, offset int, b ...byte) []byte {
	content = bytes.Clone(content)
	copy(content[offset:], b)
	return content
}

// M9: what can be seen to be no program for this machine is refused with a sentence before anything is started, and no
// descriptor stays open.
func TestReleaseRefusals(t *testing.T) {
	t.Parallel()
	one, _ := releasePrograms(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(at("directory"), 0o755), unix.Mkfifo(at("fifo"), 0o755)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		at("missing"):        "there is no such file",
		at("directory"):      "it is a directory",
		at("fifo"):           "it is no regular file",
		at("missing/deeper"): "there is no such file",
		putRelease(t, at("not executable"), one, 0o644): "it is not executable (-rw-r--r--); chmod +x it",
	}
	if os.Getuid() != 0 {
		want[putRelease(t, at("unreadable"), one, 0o311)] = "may not read it"
		want[putRelease(t, at("for others"), one, 0o655)] = "may not execute it"
	}
	if runtime.GOOS != "darwin" {
		for name, c := range map[string]struct {
			content []byte
			want    string
		}{
			"empty":   {nil, "it is empty"},
			"text":    {[]byte("hello, world\n"), "it is not a program"},
			"windows": {[]byte("MZ\x90\x00"), "it is a Windows program; build it with GOOS=" + runtime.GOOS},
			"macOS":   {[]byte("\xcf\xfa\xed\xfe\x0c\x00\x00\x01"), "it is a macOS program"},
			"class":   {patched(one, elf.EI_CLASS, 3-one[elf.EI_CLASS]), "and this machine is"},
			"system":  {patched(one, elf.EI_OSABI, byte(elf.ELFOSABI_OPENVMS)), "it is for the system openvms, and this is " + runtime.GOOS},
			"version": {patched(one, elf.EI_VERSION, 77), "it is damaged"},
		} {
			want[putRelease(t, at(name), c.content, 0o755)] = c.want
		}
	}
	for path, sentence := range want {
		r, err := adopt(t.Context(), path)
		if err == nil {
			r.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), "cannot adopt "+path+": ") || !strings.Contains(err.Error(), sentence) {
			t.Errorf("got %v, want a sentence about %s with %q", err, path, sentence)
		}
	}
	open, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range open {
		if target, _ := os.Readlink(fd); strings.HasPrefix(target, dir) {
			t.Errorf("%s is still open", target)
		}
	}
}

// M9: programs of another machine, and what the linker left unfinished. Offsets are those of 64-bit little-endian ELF.
func TestReleaseRefusesForeignAndBrokenELF(t *testing.T) {
	t.Parallel()
	one, _ := releasePrograms(t)
	ours, ok := parseELFStart(one)
	if !ok || ours.class != elf.ELFCLASS64 || ours.data != elf.ELFDATA2LSB {
		t.Skip("not a 64-bit little-endian ELF system")
	}
	le := binary.LittleEndian
	phoff, phnum := int(le.Uint64(one[0x20:])), int(le.Uint16(one[0x38:]))
	load, section := -1, int(le.Uint64(one[0x28:]))
	for elf.SectionType(le.Uint32(one[section+4:])) != elf.SHT_SYMTAB { // which elf.NewFile does not read
		section += 64
	}
	for i := range phnum {
		if header := one[phoff+i*56:]; elf.ProgType(le.Uint32(header)) == elf.PT_LOAD {
			load = phoff + i*56
		}
	}
	huge := le.AppendUint64(nil, uint64(len(one))+1)
	path := filepath.Join(t.TempDir(), "program")
	other, otherName := elf.EM_AARCH64, "aarch64"
	if ours.machine == other {
		other, otherName = elf.EM_X86_64, "x86-64"
	}
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"machine": {
			patched(one, 18, byte(other)),
			"it is for " + otherName + ", and this machine is " + ours.String() + "; build it with GOARCH=" + runtime.GOARCH,
		},
		"byte order": {
			patched(patched(one, 18, one[19], one[18]), elf.EI_DATA, byte(elf.ELFDATA2MSB)),
			"it is for " + ours.String() + " big-endian, and this machine is " + ours.String(),
		},
		"object file":          {patched(one, 16, byte(elf.ET_REL)), "it is not a program but ET_REL"},
		"no segments":          {patched(one, 0x38, 0, 0), "it is not a program but"},
		"program table beyond": {patched(one, 0x20, huge...), "it is cut short"},
		"section table beyond": {patched(one, 0x28, huge...), "it is cut short"},
		"segment beyond":       {patched(one, load+32, huge...), "it is cut short"},
		"negative segment":     {patched(one, load+32, bytes.Repeat([]byte{0xff}, 8)...), "it is damaged"},
		"section beyond":       {patched(one, section+32, huge...), "it is cut short"},
	} {
		_, err := adopt(t.Context(), putRelease(t, path, c.content, 0o755))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// M9: a copy that stopped anywhere is refused, the last byte included.
func TestReleaseCutShort(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "darwin" {
		t.Skip("Mach-O is not looked into")
	}
	one, _ := releasePrograms(t)
	path := filepath.Join(t.TempDir(), "program")
	sizes := []int{4, 19, 20, 21, 63, 64, 100, 1000, 4096, len(one) / 2, len(one) - 1000, len(one) - 1}
	for i := range 50 {
		sizes = append(sizes, 5000+i*(len(one)-5000)/50)
	}
	for _, size := range sizes {
		_, err := adopt(t.Context(), putRelease(t, path, one[:size], 0o755))
		if err == nil || !strings.Contains(err.Error(), "it is cut short") {
			t.Errorf("%d of %d bytes: got %v", size, len(one), err)
		}
	}
}

// M8: a copy that is under way is waited for, and what is adopted is the whole of it.
// (rename over it, remove it, change its mode or times) does not change it.
func TestReleaseChanged(t *testing.T) {
	t.Parallel()
	one, two := releasePrograms(t)
	overwrite := func(content []byte) func(string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path, content, 0o755), os.Chtimes(path, quietSince, quietSince))
		}
	}
	for name, c := range map[string]struct {
		do      func(path string) error
		changed bool
	}{
		"nothing":        {func(string) error { return nil }, false},
		"renamed over":   {func(path string) error { return os.Rename(putRelease(t, path+".new", two, 0o755), path) }, false},
		"removed":        {os.Remove, false},
		"chmod":          {func(path string) error { return os.Chmod(path, 0o500) }, false},
		"touched":        {func(path string) error { return os.Chtimes(path, time.Now(), time.Now()) }, false},
		"copied again":   {overwrite(one), false},
		"overwritten":    {overwrite(two), true},
		"cut":            {func(path string) error { return os.Truncate(path, 1000) }, true},
		"something more": {overwrite(append(bytes.Clone(one), 0)), true},
	} {
		path := putRelease(t, filepath.Join(t.TempDir(), "program"), one, 0o755)
		r := mustAdopt(t, path)
		if err := c.do(path); err != nil {
			t.Fatal(err)
		}
		err := r.changed()
		if (err != nil) != c.changed {
			t.Errorf("%s: got %v, want changed: %v", name, err, c.changed)
		}
		if err != nil && (!strings.Contains(err.Error(), r.name) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %q does not say %s and %s", name, err, r.name, path)
		}
	}
}

// M8: a reload of the file that already serves can be told from a deploy.
func TestReleaseSame(t *testing.T) {
	t.Parallel()
	one, two := releasePrograms(t)
	path := putRelease(t, filepath.Join(t.TempDir(), "program"), one, 0o755)
	first := mustAdopt(t, path)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if !first.same(mustAdopt(t, path)) {
		t.Error("adopted twice: not the same")
	}
	if err := os.WriteFile(path, two, 0o755); err != nil {
		t.Fatal(err)
	}
	if first.same(mustAdopt(t, path)) {
		t.Error("overwritten in place: the same")
	}
	if first.same(mustAdopt(t, putRelease(t, path+".copy", one, 0o755))) {
		t.Error("another file: the same")
	}
}

// What adopting a binary of 40 MB costs, once it is in the page cache.
func BenchmarkAdopt(b *testing.B) {
	one, _ := releasePrograms(b)
	path := putRelease(b, filepath.Join(b.TempDir(), "program"), append(bytes.Clone(one), make([]byte, 40<<20)...), 0o755)
	for b.Loop() {
		r, err := adopt(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
