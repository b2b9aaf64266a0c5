package devstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const minMajor = 13 // DROP DATABASE … WITH (FORCE), which tests use, is new in 13

// Binaries are the programs of one PostgreSQL installation.
type binaries struct {
	dir     string
	version string // "15.18"
	major   int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// A finder looks for PostgreSQL on the machine and, when there is none, elsewhere. Tests replace both.
type finder struct {
	search func(ctx context.Context) []string                                  // directories that may hold it, best first
	fetch  func(ctx context.Context, say func(string)) (dir string, err error) // from the internet, into a cache
}

func systemFinder() finder {
	return finder{search: searchSystem, fetch: fetchFrom(mavenCentral)}
}

// find returns the first installation that the account can run. If data of a certain major version is waiting
// (0: none), one of that version comes first, since PostgreSQL reads no other's files.
func (f finder) find(ctx context.Context, as *account, major int, say func(string)) (binaries, error) {
	var (
		found []binaries
		unfit string // why the best of those that were found is no good
	)
	for _, dir := range f.search(ctx) {
		b, err := inspect(ctx, dir, as)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			unfit = cmp.Or(unfit, fmt.Sprintf("; the one in %s cannot be used: %v", dir, err))
		case b.major < minMajor:
			unfit = cmp.Or(unfit, fmt.Sprintf("; the one in %s is version %s and %d is the least", dir, b.version, minMajor))
		case !slices.Contains(found, b):
			found = append(found, b)
		}
	}
	if i := slices.IndexFunc(found, func(b binaries) bool { return b.major == major }); i >= 0 {
		return found[i], nil
	}
	if len(found) > 0 {
		return found[0], nil
	}
	dir, err := f.fetch(ctx, say)
	if err == nil {
		var b binaries
		if b, err = inspect(ctx, dir, as); err == nil {
			return b, nil
		}
	}
	if ctx.Err() != nil {
		return binaries{}, fmt.Errorf("find PostgreSQL: %w", context.Cause(ctx))
	}
	return binaries{}, fmt.Errorf("PostgreSQL was not found on this machine%s, and it could not be downloaded (%w): "+
		"install it (apt-get install postgresql, dnf install postgresql-server, brew install postgresql@17) "+
		"or set DATABASE_URL to one that runs", unfit, err)
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)[^ \n]*)`)

// inspect asks the programs in dir for their version, as the account that is to run them: what root can execute,
// "postgres" perhaps cannot reach.
func inspect(ctx context.Context, dir string, as *account) (binaries, error) {
	// A link on PATH is followed: initdb looks for its share directory beside where it really is.
	real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err != nil {
		return binaries{}, err
	}
	dir = filepath.Dir(real)
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, err
	}
	cmd := exec.CommandContext(ctx, real, "--version")
	cmd.SysProcAttr, cmd.Dir, cmd.Env = attributes(as, 0), "/", serverEnv()
	out, err := cmd.Output()
	if err != nil {
		return binaries{}, fmt.Errorf("run as %s: %w", as, err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return binaries{}, fmt.Errorf("not a version: %q", out)
	}
	major, err := strconv.Atoi(string(m[2]))
	if err != nil {
		return binaries{}, fmt.Errorf("not a version: %q", out)
	}
	return binaries{dir: dir, version: string(m[1]), major: major}, nil
}

// searchSystem lists the directories where PostgreSQL usually is: what the user chose by PATH first, then newest
// first.
func searchSystem(ctx context.Context) []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
		"/usr/pgsql-*/bin",          // Fedora, RHEL from postgresql.org
		"/usr/lib/postgresql*/bin",  // SUSE
		"/usr/libexec/postgresql*",  // Alpine
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	} {
		matches, _ := filepath.Glob(pattern)
		slices.SortFunc(matches, func(a, b string) int { return numberIn(b) - numberIn(a) })
		dirs = append(dirs, matches...)
	}
	return dirs
}

var digits = regexp.MustCompile(`\d+`)

// numberIn returns the last number in path: its major version, in all the places above.
func numberIn(path string) int {
	all := digits.FindAllString(path, -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1])
	return n
}
