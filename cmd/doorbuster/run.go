package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"

	"doorbuster/app"
	"doorbuster/cluster"
	"doorbuster/cluster/ctl"
)

// commands is the whole command line. A flag's environment variable has its name in capitals. Commands without a help here
// have it in package ctl.
type commands struct {
	logFlags

	Dev     devCommand     `cmd:"" help:"Run a shop with its own PostgreSQL and Redis, filled with a catalogue. Needs no setting."`
	Serve   serveCommand   `cmd:"" help:"Run the shop on a PostgreSQL and a Redis: a master, and a worker for each core."`
	Worker  workerCommand  `cmd:"" help:"Run one worker of the shop, without a master."`
	Status  statusCommand  `cmd:""`
	Logs    logsCommand    `cmd:""`
	Reload  reloadCommand  `cmd:""`
	Scale   scaleCommand   `cmd:""`
	Restart restartCommand `cmd:""`
	Drain   drainCommand   `cmd:""`
	Reset   resetCommand   `cmd:""`
	Kill    killCommand    `cmd:""`
	Set     setCommand     `cmd:""`
	Unset   unsetCommand   `cmd:""`
	Stop    stopCommand    `cmd:""`
	Migrate migrateCommand `cmd:"" help:"Bring the database's schema up to date, or back, or show where it is."`
	Seed    seedCommand    `cmd:"" help:"Fill a migrated database with a catalogue, and set its sale."`
	Audit   auditCommand   `cmd:"" help:"Check the books: stock, orders, payments, and what customers were told."`
	Forget  forgetCommand  `cmd:"" help:"Forget a customer's e-mail address: account, sessions and cart go; orders stay, under a pseudonym."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// logFlags say how the log is written.
type logFlags struct {
	LogFormat string `name:"log-format" group:"Log flags:" env:"LOG_FORMAT" enum:"auto,text,json" default:"auto" help:"text, json, or auto: text on a terminal, else json."`
	LogLevel  string `name:"log-level" group:"Log flags:" env:"LOG_LEVEL" enum:"debug,info,warn,error" default:"info" help:"debug, info, warn or error."`
}

// errSaid ends a command whose failure was told already.
var errSaid = errors.New("said already")

// environment is what commands get from run.
type environment struct {
	signals        signals
	stdout, stderr io.Writer
	log            *slog.Logger
	level          *slog.LevelVar
	logFlags       logFlags
	tunables       *app.Tunables // of the worker that this process may be
}

// set changes a setting of the running process (M14).
func (e *environment) set(key, value string) error {
	if key != "log-level" {
		err := e.tunables.Set(key, value)
		if errors.Is(err, app.ErrNoTunable) {
			return fmt.Errorf("there is no setting %q that can be changed while the shop runs: log-level can, and %s", key, strings.Join(app.TunableKeys(), ", "))
		}
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(value)); err != nil {
		return fmt.Errorf("log-level can be debug, info, warn or error, and not %q", value)
	}
	e.level.Set(level)
	return nil
}

// run carries out one command line and returns the exit code.
func run(signals signals, args []string, stdout, stderr io.Writer) int {
	var cli commands
	exit := -1
	parser, err := kong.New(&cli,
		kong.Name("doorbuster"),
		kong.Description("A shop that stays open on Black Friday. Begin with: doorbuster dev\n\n"+ctl.ExitCodes),
		kong.Writers(stdout, stderr),
		kong.Vars{"limits": app.DefaultLimits()},
		kong.Exit(func(code int) { exit = code }), // after --help
	)
	if err != nil {
		fmt.Fprintln(stderr, "doorbuster: set up the command line:", err)
		return ctl.ExitFailed
	}
	describeCommands(parser.Model.Node)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		if n, ok := negative(args); ok && args[0] == "scale" { // kong takes it for a flag
			err = fmt.Errorf("%s workers: there can be 1 to 1024", n)
		}
		fmt.Fprintf(stderr, "doorbuster: %v. Try doorbuster --help.\n", err)
		return ctl.ExitUsage
	}
	level := new(slog.LevelVar)
	if cli.LogFormat == "auto" {
		cli.LogFormat = "json"
		if f, ok := stderr.(*os.File); ok && isTerminal(f) {
			cli.LogFormat = "text"
		}
	}
	log := newLog(stderr, cli.LogFormat, level)
	env := &environment{signals, stdout, stderr, log, level, cli.logFlags, app.NewTunables()}
	if err := env.set("log-level", cli.LogLevel); err != nil { // kong has checked it
		fmt.Fprintln(stderr, "doorbuster:", err)
		return ctl.ExitUsage
	}
	redis.SetLogger(redisLog{log}) // it would write to standard error in a form of its own
	switch err := parsed.Run(env); {
	case err == nil:
		return 0
	case errors.Is(err, cluster.ErrCut), errors.Is(err, errSaid):
		return ctl.ExitFailed // the former is in the log, with the requests
	default:
		fmt.Fprintln(stderr, "doorbuster:", err)
		return ctl.ExitCode(err)
	}
}

// negative returns the first argument that is a negative number.
func negative(args []string) (n string, ok bool) {
	i := slices.IndexFunc(args, func(arg string) bool {
		n, err := strconv.Atoi(arg)
		return err == nil && n < 0
	})
	if i < 0 {
		return "", false
	}
	return args[i], true
}

// newLog returns a logger that puts the process on every line (W4).
func newLog(w io.Writer, format string, level *slog.LevelVar) *slog.Logger {
	options := slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(w, &options)
	if format == "text" {
		handler = slog.NewTextHandler(w, &options)
	}
	return slog.New(handler).With("pid", os.Getpid())
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// redisLog takes what go-redis has to say about its connections. Whoever asked for one gets the error, and reports it.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "redis client", "says", fmt.Sprintf(format, args...))
}

// version is set by those who build where there is no repository: -ldflags "-X main.version=1.2.3".
var version string

// releaseName is what this program is called in logs.
func releaseName() string { return cmp.Or(version, app.ReleaseName()) }

type versionCommand struct{}

// Run prints the release, the commit that it was built from, and by which Go.
func (versionCommand) Run(env *environment) error {
	_, err := fmt.Fprintf(env.stdout, "doorbuster %s (%s, %s)\n", releaseName(), commit(), runtime.Version())
	return err
}

// commit is what the build knew of the repository.
func commit() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return "commit not known"
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = ", with changes that are not committed"
			}
		}
	}
	if revision == "" {
		return "commit not known: built without a repository, or with -buildvcs=false"
	}
	return "commit " + revision + modified
}
