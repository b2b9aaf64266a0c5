//go:build unix

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"
)

// setLimit is how long each step of a setting may take: to be the next one, to be
// judged by Config.OnSetting, and to be applied by the workers.
const setLimit = 2 * time.Second

// maxSettings bounds all settings together, in bytes of JSON. One goes in a message, which holds maxMessage; new workers get
// all of them in a variable, which holds 128 KiB on Linux (execve(2)).
const maxSettings = 48 << 10

// Set gives a setting to all workers, now and later, if Config.OnSetting agrees, and
// returns how many have it already. The error tells which of them refused it, or did
// not answer within 2 s. Set takes 6 s at most.
//
// The setting is kept for later workers when at least one has applied it. One that
// nobody applied is forgotten, and what was set before is kept: it could keep every
// later worker from working. So Set is refused while no worker is ready. What
// Config.OnSetting has done stays done. [Master.Unset] takes a setting back.
func (m *Master) Set(ctx context.Context, key, value string) (applied int, err error) {
	if err := m.running(); err != nil {
		return 0, err
	}
	if m.cfg.OnSetting == nil {
		return 0, fmt.Errorf("there is no setting %q", key)
	}
	var refused error
	if err := m.call(ctx, func(l *loop) {
		l.asked(ctx, "set "+key)
		refused = l.refuseSetting(key, value)
	}); err != nil {
		return 0, err
	}
	if refused != nil {
		return 0, refused
	}
	if err := m.judge(ctx, key, value); err != nil {
		return 0, err
	}
	type outcome struct {
		applied int
		err     error
	}
	reply := make(chan outcome, 1)
	if err := m.call(ctx, func(l *loop) {
		l.set(ctx, key, value, func(applied int, err error) { reply <- outcome{applied, err} })
	}); err != nil {
		return 0, err
	}
	select {
	case o := <-reply:
		return o.applied, o.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-m.ended:
		return 0, ErrStopped
	}
}

// refuseSetting says why a setting can't be made, before anybody is asked.
func (l *loop) refuseSetting(key, value string) error {
	all := maps.Clone(l.settings)
	all[key] = value
	raw, err := json.Marshal(all)
	switch {
	case l.sup.Stopping > 0:
		return ErrStopped
	case err != nil:
		return fmt.Errorf("encode the settings: %w", err)
	case len(raw) > maxSettings:
		return fmt.Errorf("all settings together would have %d bytes: the limit is %d", len(raw), maxSettings)
	case l.sup.Ready() == 0:
		return errors.New("no worker is ready to apply a setting: set it again when one is")
	}
	return nil
}

// judge asks Config.OnSetting, which may block, panic, or call the master.
func (m *Master) judge(ctx context.Context, key, value string) error {
	timer := time.NewTimer(setLimit)
	defer timer.Stop()
	select {
	case m.judging <- struct{}{}:
	case <-timer.C:
		return errors.New("the setting before is still being judged: Config.OnSetting has not returned")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	timer.Reset(setLimit)
	verdict := make(chan error, 1)
	go func() {
		defer func() { <-m.judging }()
		verdict <- contained(func() *slog.Logger { return m.cfg.Log }, "Config.OnSetting", func() error { return m.cfg.OnSetting(key, value) })
	}()
	select {
	case err := <-verdict:
		return err
	case <-timer.C:
		return fmt.Errorf("setting %s is refused: Config.OnSetting has not returned within %v", key, setLimit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// set asks the workers that are ready to apply a setting, and keeps it for the others
// if one does.
func (l *loop) set(ctx context.Context, key, value string, answer func(applied int, err error)) {
	if err := l.refuseSetting(key, value); err != nil { // things may have changed while it was judged
		answer(0, err)
		return
	}
	l.lastSet++
	msg := message{Kind: msgSet, Key: key, Value: value, ID: l.lastSet}
	asked := map[*child]bool{}
	for _, c := range l.children {
		asked[c] = l.answers(c)
	}
	l.ask(msg, msgApplied, setLimit, func(agreed, missing int, err error) {
		if missing > 0 {
			err = errors.Join(err, fmt.Errorf("%d workers did not answer within %v; they get it when they do", missing, setLimit))
		}
		if agreed == 0 {
			l.cfg.Log.WarnContext(ctx, "setting is not kept: no worker has applied it", "key", key, "value", value, "error", err)
			answer(0, errors.Join(fmt.Errorf("setting %s is not kept for later workers: none has applied it", key), err))
			return
		}
		l.settings[key] = value
		for _, c := range l.children {
			if !asked[c] { // it is starting, or has started meanwhile; one that starts from now on reads it when it joins
				l.send(c.id, msg)
			}
		}
		l.cfg.Log.InfoContext(ctx, "set", "key", key, "value", value, "workers", agreed)
		answer(agreed, err)
	})
}

// Unset forgets a setting, so that workers that start from now on do not get it, and
// returns how many run that may have it. Those keep it until they are replaced:
// [Master.Reload] does that. The error says that there is no such setting.
func (m *Master) Unset(ctx context.Context, key string) (left int, err error) {
	unknown := fmt.Errorf("setting %q was not made, or was not kept", key)
	if err := m.call(ctx, func(l *loop) {
		l.asked(ctx, "unset "+key)
		if _, ok := l.settings[key]; !ok {
			return
		}
		unknown = nil
		delete(l.settings, key)
		for _, c := range l.children {
			if !c.reaped {
				left++
			}
		}
		l.cfg.Log.InfoContext(ctx, "unset", "key", key, "workers", left)
	}); err != nil {
		return 0, err
	}
	return left, unknown
}
