package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"ringside/tuning/setting"
)

// ErrNothing says that there is nothing to take back.
var ErrNothing = errors.New("nothing is to be taken back")

// Undo takes back what was done to an interface: settings are what they were before
// the first change. What somebody else has changed since is told and left as it is,
// unless it is forced. The journal stays as long as something could not be taken
// back. ErrNothing if there is no journal, or the machine was started anew since,
// which has taken everything back.
func (t *Tuner) Undo(ctx context.Context, iface string, force bool) ([]Outcome, error) {
	if err := directory(t.Dir); err != nil {
		return nil, err
	}
	release, err := lock(t.Dir)
	if err != nil {
		return nil, err
	}
	defer release()
	boot, err := t.boot()
	if err != nil {
		return nil, err
	}
	at := path(t.Dir, iface)
	p, err := readJournal(at)
	if err != nil {
		return nil, err
	}
	if p == nil || p.head.Boot != boot {
		if p != nil {
			if err := t.forget(at); err != nil {
				return nil, err
			}
		}
		return nil, ErrNothing
	}
	// Taking back is a change, too, and is written down as one.
	j := &journal{path: at, past: p}
	if err := j.rewrite(); err != nil {
		return nil, err
	}
	defer j.close()
	if p.open != nil {
		facts, err := t.Look()
		if err != nil {
			return nil, err
		}
		if err := t.finish(j, facts, iface); err != nil {
			return nil, err
		}
	}
	u := &undoing{Tuner: t, past: p, journal: j, force: force}
	out, err := u.run(ctx)
	if err != nil {
		return out, err
	}
	if slices.ContainsFunc(out, func(o Outcome) bool { return o.Fate == Conflict || o.Fate == Failed }) {
		return out, nil
	}
	return out, t.forget(at)
}

// forget removes a journal.
func (t *Tuner) forget(at string) error {
	if err := os.Remove(at); err != nil {
		return fmt.Errorf("forget what was done: %w", err)
	}
	return syncDir(t.Dir)
}

// undoing is a journal that is taken back.
type undoing struct {
	*Tuner
	past    *past
	journal *journal
	force   bool
}

// run takes back settings in the order in which they were changed: the number of
// queues before what belongs to each of them. Taking back one may change others, and
// may bring back those that were gone, so it goes round until nothing moves.
func (u *undoing) run(ctx context.Context) ([]Outcome, error) {
	const rounds = 4
	fates := make(map[string]Outcome)
	theirs := u.theirs()
	for range rounds {
		moved := false
		for n := 0; n < len(u.past.order); n++ { // it may grow
			if err := ctx.Err(); err != nil {
				return u.sorted(fates), fmt.Errorf("take back: stopped: %w", err)
			}
			key := u.past.order[n]
			o, err := u.restore(key)
			if err != nil {
				return u.sorted(fates), err
			}
			moved = moved || o.Fate == Done
			if was, ok := fates[key]; !ok || !(was.Fate == Done && o.Fate == Already) {
				fates[key] = o
			}
		}
		if !moved {
			break
		}
	}
	for key, was := range theirs {
		if o := fates[key]; o.Fate != Conflict && !u.force {
			o.Text = "somebody had made it " + was + ", which went when the driver set up its queues anew"
			fates[key] = o
		}
	}
	out := u.sorted(fates)
	for _, o := range out {
		u.tell(o)
	}
	return out, nil
}

// theirs are the settings that somebody else has changed since, with what they are.
func (u *undoing) theirs() map[string]string {
	out := make(map[string]string)
	for _, key := range u.past.order {
		if now, err := u.read(key); err == nil && now != gone && now != u.past.found[key] && now != u.past.left[key] {
			out[key] = now
		}
	}
	return out
}

// sorted are outcomes in the order of the journal.
func (u *undoing) sorted(fates map[string]Outcome) (out []Outcome) {
	for _, key := range u.past.order {
		if o, ok := fates[key]; ok {
			out = append(out, o)
		}
	}
	return out
}

// restore makes a setting what it was. An error is one of the journal.
func (u *undoing) restore(key string) (Outcome, error) {
	found, left := u.past.found[key], u.past.left[key]
	o := Outcome{Key: key, From: left, To: found}
	now, err := u.read(key)
	switch {
	case err != nil:
		o.Fate, o.Text = Failed, err.Error()
		return o, nil
	case now == found:
		o.Fate = Already
		return o, nil
	case now == gone, found == gone:
		// It was not there, or is not any more: whoever has the queues decides.
		o.Fate = Gone
		return o, nil
	case now != left && !u.force:
		o.Fate, o.Text = Conflict, fmt.Sprintf("somebody has made it %s since: it stays so", now)
		return o, nil
	}
	o.From = now
	before := u.around(key)
	if err := u.journal.begin(begin{key}); err != nil {
		return o, err
	}
	failed := u.Machine.Write(key, found)
	if u.crash != nil && u.crash("undo "+key) {
		return o, errCrash
	}
	// What this has changed beside is ours, too.
	if err := u.journal.end(end{difference(before, u.around(key))}); err != nil {
		return o, err
	}
	now, err = u.read(key)
	switch {
	case failed != nil:
		o.Fate, o.Text = Failed, failed.Error()
	case err != nil:
		o.Fate, o.Text = Failed, err.Error()
	case now != found:
		o.Fate, o.Text = Failed, fmt.Sprintf("it was to be %s again, and is %s", found, now)
	default:
		o.Fate = Done
	}
	return o, nil
}

// read is what a setting is; gone is a value.
func (u *undoing) read(key string) (string, error) {
	now, err := u.Machine.Read(key)
	if errors.Is(err, setting.ErrGone) {
		return gone, nil
	}
	return now, err
}

// around are the settings that a change may change: itself, and of a driver's all
// that are known.
func (u *undoing) around(key string) map[string]string {
	out := make(map[string]string)
	read := func(k string) {
		if now, err := u.read(k); err == nil {
			out[k] = now
		}
	}
	read(key)
	if wide(key) {
		for k := range u.past.head.Found {
			read(k)
		}
		for _, k := range u.past.order {
			read(k)
		}
	}
	return out
}
