//go:build unix

package cluster

import (
	"context"
	"fmt"
	"slices"
)

// ReloadBack replaces all workers by such that run the release before the one that
// serves, in the environment that it had, and is like Reload otherwise. While a reload
// is under way it ends that: the release before is then the one that is being replaced.
//
// The master holds one executable open for this, whatever has become of its file. It is
// the last other one that all workers have run: to go back twice is to come back. What
// differs in nothing, neither in the program nor in the environment, is the same
// release. There is none at the start of a master, nor on systems that start programs
// by their path only (all but Linux): a *[VerdictError] says so.
func (m *Master) ReloadBack(ctx context.Context, watch chan<- Event) error {
	verdict := make(chan error, 1)
	refused := ""
	if err := m.call(ctx, func(l *loop) {
		l.asked(ctx, "reload --back")
		r, err := l.releaseBefore()
		if err != nil {
			refused = err.Error()
			return
		}
		l.reload(r, verdict, watch)
	}); err != nil {
		return err
	}
	if refused != "" {
		return m.refuse(ctx, refused)
	}
	return m.awaitReload(ctx, verdict, watch)
}

// releaseBefore returns where a reload goes back to.
func (l *loop) releaseBefore() (*release, error) {
	before := l.before
	if l.sup.Rollout != nil {
		before = l.releases[l.sup.Serving]
	}
	switch {
	case before == nil:
		return nil, fmt.Errorf("this master has not run any other release than %s: put the one to go back to in its place, and reload", l.nameOf(l.sup.Serving))
	case executable(before) == before.path:
		return nil, fmt.Errorf("this system starts programs by their path only: put release %s back at %s, and reload", before.name, before.path)
	}
	if err := before.changed(); err != nil {
		return nil, err
	}
	return before.again()
}

// keepBefore holds on to the release that has served until now.
func (l *loop) keepBefore(old, now *release) {
	if old == nil || now == nil || old.sum == now.sum && slices.Equal(old.env, now.env) {
		return
	}
	kept, err := old.again()
	if err != nil {
		l.cfg.Log.Warn("there will be no way back to the release before", "error", err)
	}
	if l.before != nil {
		l.before.Close()
	}
	l.before = kept
}
