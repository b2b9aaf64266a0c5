package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"

	"doorbuster/app"
)

// commands is the whole command line. A flag's environment variable has its name in capitals.
type commands struct {
	LogFormat string `name:"log-format" env:"LOG_FORMAT" enum:"auto,text,json" default:"auto" help:"text, json, or auto: text on a terminal, else json."`
	LogLevel  string `name:"log-level" env:"LOG_LEVEL" enum:"debug,info,warn,error" default:"info" help:"debug, info, warn or error."`

	Dev     devCommand     `cmd:"" help:"Run a shop with its own PostgreSQL and Redis, filled with a catalogue. Needs no setting."`
	Worker  workerCommand  `cmd:"" help:"Run one worker of the shop on a PostgreSQL and a Redis."`
	Migrate migrateCommand `cmd:"" help:"Bring the database's schema up to date, or back, or show where it is."`
	Seed    seedCommand    `cmd:"" help:"Fill a migrated database with a catalogue, and set its sale."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// environment is what commands get from run.
type environment struct {
	signals signals
	stdout  io.Writer
	log     *slog.Logger
}

// run carries out one command line and returns the exit code.
func run(signals signals, args []string, stdout, stderr io.Writer) int {
	var cli commands
	exit := -1
	parser, err := kong.New(&cli,
		kong.Name("doorbuster"),
		kong.Description("A shop that stays open on Black Friday. Begin with: doorbuster dev"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }), // after --help
	)
	if err != nil {
		fmt.Fprintln(stderr, "doorbuster: set up the command line:", err)
		return 1
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "doorbuster: %v. Try doorbuster --help.\n", err)
		return 2
	}
	log := newLog(stderr, cli.LogFormat, cli.LogLevel)
	redis.SetLogger(redisLog{log}) // it would write to standard error in a form of its own
	switch err := parsed.Run(&environment{signals, stdout, log}); {
	case err == nil:
		return 0
	case errors.Is(err, app.ErrCut):
		return 1 // said in the log, with the requests
	default:
		fmt.Fprintln(stderr, "doorbuster:", err)
		return 1
	}
}

// newLog returns a logger that puts the process on every line (W4).
func newLog(w io.Writer, format, level string) *slog.Logger {
	var options slog.HandlerOptions
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err == nil { // kong has checked it
		options.Level = l
	}
	if format == "auto" {
		format = "json"
		if f, ok := w.(*os.File); ok {
			if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
				format = "text"
			}
		}
	}
	var handler slog.Handler = slog.NewJSONHandler(w, &options)
	if format == "text" {
		handler = slog.NewTextHandler(w, &options)
	}
	return slog.New(handler).With("pid", os.Getpid())
}

// redisLog takes what go-redis has to say about its connections. Whoever asked for one gets the error, and reports it.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "redis client", "says", fmt.Sprintf(format, args...))
}

type versionCommand struct{}

func (versionCommand) Run(env *environment) error {
	_, err := fmt.Fprintln(env.stdout, "doorbuster", app.ReleaseName())
	return err
}
