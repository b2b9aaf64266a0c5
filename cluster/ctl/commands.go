package ctl

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Command describes a command, for the help of a command line.
type Command struct {
	Name     string
	Args     string   // "SLOT"; in brackets what may be left out
	Summary  string   // in sentences
	Examples []string // without the program's name
	Note     string   // what one should know besides
}

// Details are the examples and the note, as a text that follows the flags.
func (c Command) Details(program string) string {
	text := Examples(program, c.Examples...)
	if c.Note != "" {
		text += "\n\n" + c.Note
	}
	return text
}

// Examples lists command lines for a help.
func Examples(program string, lines ...string) string {
	title := "Examples:"
	if len(lines) == 1 {
		title = "Example:"
	}
	all := []string{title}
	for _, line := range lines {
		all = append(all, "  "+program+" "+line)
	}
	return strings.Join(all, "\n")
}

// Commands returns all commands, in the order of a help.
func Commands() []Command {
	all := make([]Command, len(table))
	for i, e := range table {
		all[i] = e.Command
	}
	return all
}

// Lookup returns the command of a name.
func Lookup(name string) (c Command, ok bool) {
	i := slices.IndexFunc(table, func(e entry) bool { return e.Name == name })
	if i < 0 {
		return c, false
	}
	return table[i].Command, true
}

// entry is a command that can be carried out.
type entry struct {
	Command
	flags func(*flag.FlagSet) runner // adds its flags, and returns what they are for
}

type runner func(ctx context.Context, s *Service, args []string) error

// with is entry.flags of a command with options.
func with[O any](run func(ctx context.Context, s *Service, o O, args []string) error) func(*flag.FlagSet) runner {
	return func(flags *flag.FlagSet) runner {
		options := new(O)
		addFlags(flags, options)
		return func(ctx context.Context, s *Service, args []string) error { return run(ctx, s, *options, args) }
	}
}

// without is that of a command without any.
func without(run runner) func(*flag.FlagSet) runner {
	return func(*flag.FlagSet) runner { return run }
}

var table = []entry{
	{Command{
		Name: "status", Summary: "Show how the workers are, and why.",
		Examples: []string{"status", "status --json", "status --complete"},
	}, with(func(ctx context.Context, s *Service, o StatusOptions, _ []string) error {
		return s.Status(ctx, o)
	})},
	{Command{
		Name: "logs", Args: "[SLOT]", Summary: "Show the last lines that workers have written, also those of workers that have crashed.",
		Examples: []string{"logs", "logs 2 --follow", "logs -n 20"},
		Note:     "The master keeps 64 KiB for each slot. One who follows and does not keep up loses lines, and is told how many.",
	}, with(func(ctx context.Context, s *Service, o LogsOptions, args []string) error {
		slot := 0
		if len(args) > 0 {
			var err error
			if slot, err = number("SLOT", args); err != nil {
				return err
			}
		}
		return s.Logs(ctx, slot, o)
	})},
	{Command{
		Name: "reload", Summary: "Replace the workers by the program that is now on disk, one after the other, and tell how it went.",
		Examples: []string{"reload", "reload --check", "reload --back"},
		Note:     "If the new workers fail, the release before serves on.",
	}, with(func(ctx context.Context, s *Service, o ReloadOptions, _ []string) error {
		return s.Reload(ctx, o)
	})},
	{Command{
		Name: "scale", Args: "WORKERS", Summary: "Set the number of workers, from 1 to 1024.",
		Examples: []string{"scale 4", "scale 4 --no-wait"},
		Note:     "Workers are added a few at a time; the first one that fails ends it.",
	}, with(func(ctx context.Context, s *Service, o ScaleOptions, args []string) error {
		n, err := number("WORKERS", args)
		if err != nil {
			return err
		}
		return s.Scale(ctx, n, o)
	})},
	{Command{
		Name: "restart", Args: "SLOT", Summary: "Replace one worker by another of the same release, which is ready before the old one leaves.",
		Examples: []string{"restart 2"},
		Note:     "If the new one fails the old one serves on.",
	}, without(aboutSlot((*Service).Restart))},
	{Command{
		Name: "drain", Args: "SLOT", Summary: "Tell one worker to leave now, in order. Another one takes its slot.",
		Examples: []string{"drain 2"},
		Note:     "There is one worker fewer until another one is ready; restart is the way without that.",
	}, without(aboutSlot((*Service).Drain))},
	{Command{
		Name: "reset", Summary: "Close all circuit breakers, and start at once who waits after a crash.",
		Examples: []string{"reset"},
	}, without(func(ctx context.Context, s *Service, _ []string) error { return s.Reset(ctx) })},
	{Command{
		Name: "kill", Args: "SLOT", Summary: "Kill a worker with SIGKILL, with no notice to its clients: for one that hangs, or to try how it is replaced.",
		Examples: []string{"kill 2"},
	}, without(aboutSlot((*Service).Kill))},
	{Command{
		Name: "set", Args: "KEY=VALUE ...", Summary: "Change a setting while it runs.",
		Examples: []string{"set log-level=debug"},
		Note:     "Workers that start later get it, too.",
	}, without(func(ctx context.Context, s *Service, args []string) error {
		for _, arg := range args {
			key, value, ok := strings.Cut(arg, "=")
			if !ok {
				return usageError{fmt.Errorf("%q is not KEY=VALUE", arg)}
			}
			if err := s.Set(ctx, key, value); err != nil {
				return err
			}
		}
		return nil
	})},
	{Command{
		Name: "unset", Args: "KEY ...", Summary: "Forget a setting: workers that start from now on do not get it.",
		Examples: []string{"unset log-level"},
	}, without(func(ctx context.Context, s *Service, args []string) error {
		for _, key := range args {
			if err := s.Unset(ctx, key); err != nil {
				return err
			}
		}
		return nil
	})},
	{Command{
		Name: "stop", Summary: "Stop in order, and wait for that. Again: at once.",
		Examples: []string{"stop", "stop --now"},
	}, with(func(ctx context.Context, s *Service, o StopOptions, _ []string) error { return s.Stop(ctx, o) })},
}

// usageError is about a command line that can't be understood.
type usageError struct{ error }

func number(name string, args []string) (int, error) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return 0, usageError{fmt.Errorf("%s is %q: it is a number", name, args[0])}
	}
	return n, nil
}

func aboutSlot(do func(s *Service, ctx context.Context, slot int) error) runner {
	return func(ctx context.Context, s *Service, args []string) error {
		slot, err := number("SLOT", args)
		if err != nil {
			return err
		}
		return do(s, ctx, slot)
	}
}

// checkArgs compares the number of arguments with what a command takes.
func (c Command) checkArgs(n int) error {
	least, most := len(strings.Fields(c.Args)), len(strings.Fields(c.Args))
	switch {
	case strings.HasSuffix(c.Args, " ..."):
		least, most = 1, n
	case strings.HasPrefix(c.Args, "["):
		least = 0
	}
	switch {
	case n < least:
		return usageError{fmt.Errorf("%s is missing", c.Args)}
	case n > most && most == 0:
		return usageError{errors.New("it takes no arguments")}
	case n > most:
		return usageError{fmt.Errorf("too many arguments: it takes %s", c.Args)}
	}
	return nil
}
