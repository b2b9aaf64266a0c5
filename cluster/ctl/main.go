package ctl

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Main carries out a command line, such as os.Args[1:], and returns its exit code. An
// error is said on Stderr. Flags may stand before and after the arguments of a command.
func (s *Service) Main(ctx context.Context, args []string) int {
	err := s.main(ctx, args)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return ExitDone
	case errors.As(err, &usage):
		s.explain(fmt.Sprintf("%v. Try %s --help.", err, s.Program))
		return ExitUsage
	}
	s.explain(err.Error())
	return ExitCode(err)
}

func (s *Service) main(ctx context.Context, args []string) error {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		return s.help()
	}
	i := slices.IndexFunc(table, func(e entry) bool { return e.Name == args[0] })
	if i < 0 {
		return usageError{fmt.Errorf("there is no command %q", args[0])}
	}
	e, own := table[i], *s
	flags := flag.NewFlagSet(e.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // it would say things twice
	run := e.flags(flags)
	flags.StringVar(&own.Socket, "control-socket", s.Socket, "Where the master takes commands.")
	flags.DurationVar(&own.Timeout, "timeout", timeoutOf(s), "How long the master may take to hear the command. One that it does not hear in time it does not carry out later either.")
	left, err := parse(flags, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return s.helpOf(e, flags)
	case err != nil:
		return usageError{fmt.Errorf("%s: %w", e.Name, err)}
	}
	if err := e.checkArgs(len(left)); err != nil {
		return usageError{fmt.Errorf("%s: %w", e.Name, err)}
	}
	return run(ctx, &own, left)
}

func timeoutOf(s *Service) time.Duration {
	if s.Timeout == 0 {
		return defaultTimeout
	}
	return s.Timeout
}

// parse takes flags from anywhere among the arguments. What follows "--" is none, nor is
// a negative number.
func parse(flags *flag.FlagSet, args []string) (left []string, err error) {
	for len(args) > 0 {
		if args[0] == "--" {
			return append(left, args[1:]...), nil
		}
		if _, err := strconv.Atoi(args[0]); err == nil || !strings.HasPrefix(args[0], "-") {
			left, args = append(left, args[0]), args[1:]
			continue
		}
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if n := len(args) - flags.NArg(); args[n-1] == "--" { // it was taken for the end of the flags
			return append(left, flags.Args()...), nil
		}
		args = flags.Args()
	}
	return left, nil
}

// addFlags makes a flag of each field of a struct.
func addFlags(flags *flag.FlagSet, options any) {
	fields := reflect.ValueOf(options).Elem()
	for i := range fields.NumField() {
		field := fields.Type().Field(i)
		for _, name := range []string{field.Tag.Get("name"), field.Tag.Get("short")} {
			if name == "" {
				continue
			}
			switch value := fields.Field(i).Addr().Interface().(type) {
			case *bool:
				flags.BoolVar(value, name, false, field.Tag.Get("help"))
			case *int:
				n, _ := strconv.Atoi(field.Tag.Get("default"))
				flags.IntVar(value, name, n, field.Tag.Get("help"))
			default:
				panic(fmt.Sprintf("ctl: no flag can be made of %s %s", field.Name, field.Type))
			}
		}
	}
}

func (s *Service) help() error {
	var text strings.Builder
	fmt.Fprintf(&text, "Usage: %s COMMAND [ARGUMENTS] [FLAGS]\n\n", s.Program)
	for _, e := range table {
		fmt.Fprintf(&text, "  %-20s %s\n", strings.TrimSpace(e.Name+" "+e.Args), e.Summary)
	}
	fmt.Fprintf(&text, "\n%s COMMAND --help shows its flags, and examples.\n%s\n", s.Program, ExitCodes)
	_, err := io.WriteString(s.Stdout, text.String())
	return err
}

func (s *Service) helpOf(e entry, flags *flag.FlagSet) error {
	var text strings.Builder
	fmt.Fprintf(&text, "Usage: %s\n\n%s\n\n", strings.TrimSpace(s.Program+" "+e.Name+" "+e.Args)+" [FLAGS]", e.Summary)
	flags.VisitAll(func(f *flag.Flag) {
		if len(f.Name) > 1 {
			fmt.Fprintf(&text, "  --%-18s %s\n", f.Name, f.Usage)
		} else {
			fmt.Fprintf(&text, "  -%-19s %s\n", f.Name, f.Usage)
		}
	})
	fmt.Fprintf(&text, "\n%s\n", e.Details(s.Program))
	_, err := io.WriteString(s.Stdout, text.String())
	return err
}
