// Package apply does what a plan says, and takes it back.
//
// How everything was is written to a journal, and synced, before each change, so that
// it can be taken back also after a crash. What somebody else has changed in between
// is told, and left as it is.
package apply

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ringside/tuning/inventory"
	"ringside/tuning/plan"
	"ringside/tuning/setting"
)

// Fate is what became of a setting.
type Fate string

// Fates.
const (
	Done     Fate = "done"
	Adjusted Fate = "adjusted" // the driver made something else of it
	Already  Fate = "already"  // it was so
	Conflict Fate = "conflict" // somebody else has changed it: left as it is
	Gone     Fate = "gone"     // there is no such setting any more
	Failed   Fate = "failed"
)

// Outcome is what became of a setting.
type Outcome struct {
	Step string `json:"step,omitempty"`
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
	Fate Fate   `json:"fate"`
	Text string `json:"text,omitempty"` // what went wrong
}

// Tuner applies plans, and takes them back.
type Tuner struct {
	Machine *setting.Machine
	Dir     string // for journals
	Look    func() (*inventory.Facts, error)
	Tell    func(Outcome)     // as it happens; nil: nobody listens
	Settle  time.Duration     // that a link may take to come back; 0: it is not waited for
	crash   func(string) bool // tests stop it here
}

var errCrash = errors.New("stopped by a test")

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

func (t *Tuner) tell(o Outcome) Outcome {
	if t.Tell != nil {
		t.Tell(o)
	}
	return o
}

// boot is the id of this start of the machine.
func (t *Tuner) boot() (string, error) {
	b, err := os.ReadFile(filepath.Join(t.Machine.Root, "proc/sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("ask when the machine was started: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// snapshot is what all settings of an interface and of the machine are.
func snapshot(f *inventory.Facts, iface string) map[string]string {
	out := make(map[string]string)
	for i := range f.Interfaces {
		if f.Interfaces[i].Name == iface {
			maps.Copy(out, f.Interfaces[i].All())
		}
	}
	maps.Copy(out, f.Settings)
	return out
}

// Apply makes the changes of a plan, step by step. After a step that sets up the card
// anew it looks again, since interrupts and queues may be others then, and plans the
// rest from there. A step that fails is told, and the rest goes on: nothing of it
// depends on another. It returns the last plan with all outcomes.
func (t *Tuner) Apply(ctx context.Context, o plan.Options) (*plan.Plan, []Outcome, error) {
	if err := directory(t.Dir); err != nil {
		return nil, nil, err
	}
	release, err := lock(t.Dir)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	boot, err := t.boot()
	if err != nil {
		return nil, nil, err
	}
	facts, err := t.Look()
	if err != nil {
		return nil, nil, err
	}
	p, err := plan.Make(facts, o)
	if err != nil {
		return nil, nil, err
	}
	if len(p.Changes()) == 0 {
		return p, nil, nil
	}
	j, err := openJournal(t.Dir, head{version, o.Interface, boot, snapshot(facts, o.Interface)})
	if err != nil {
		return nil, nil, err
	}
	defer j.close()
	if err := t.finish(j, facts, o.Interface); err != nil {
		return nil, nil, err
	}
	return t.steps(ctx, j, p)
}

// finish ends a change that a crash has left open: all that is other than it should
// be is its doing.
func (t *Tuner) finish(j *journal, f *inventory.Facts, iface string) error {
	if j.past.open == nil {
		return nil
	}
	return j.end(end{j.past.others(snapshot(f, iface))})
}

// wide reports whether a change may change more than it was asked for.
func wide(key string) bool { return strings.HasPrefix(key, "nic/") }

// difference is what is other than before; what is not there any more is gone.
func difference(before, after map[string]string) map[string]string {
	out := make(map[string]string)
	for key, now := range after {
		if was, ok := before[key]; !ok || was != now {
			out[key] = now
		}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			out[key] = gone
		}
	}
	return out
}

// others are the settings that are other than they should be now, with what they are,
// as far as the change that is open can have made them so.
func (p *past) others(now map[string]string) map[string]string {
	out := make(map[string]string)
	if key := p.open.Key; !wide(key) {
		if value, ok := now[key]; ok && p.is(key) != value {
			out[key] = value
		}
		return out
	}
	for key, value := range now {
		if p.is(key) != value {
			out[key] = value
		}
	}
	for key := range p.head.Found {
		if _, ok := now[key]; !ok && p.is(key) != gone {
			out[key] = gone
		}
	}
	return out
}

func (t *Tuner) steps(ctx context.Context, j *journal, p *plan.Plan) (*plan.Plan, []Outcome, error) {
	var out []Outcome
	tried := map[string]bool{}
	for {
		at := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.State == plan.Change && !tried[s.ID] })
		if at < 0 {
			return p, out, nil
		}
		s := p.Steps[at]
		tried[s.ID] = true
		for _, c := range s.Changes {
			if err := ctx.Err(); err != nil {
				return p, out, fmt.Errorf("tune %s: stopped; ringside tune --undo %s takes back what was done: %w", p.Interface, p.Interface, err)
			}
			o, err := t.set(ctx, j, p.Interface, s, c)
			if err != nil {
				return p, out, err
			}
			out = append(out, t.tell(o))
		}
		if s.Resets {
			facts, err := t.Look()
			if err != nil {
				return p, out, err
			}
			next, err := plan.Make(facts, p.Asked)
			if err != nil {
				return p, out, fmt.Errorf("plan again after %s: %w", s.ID, err)
			}
			p = next
		}
	}
}

// look is a snapshot before or after a change that may change more than its setting.
func (t *Tuner) look(key, iface string) (map[string]string, error) {
	if !wide(key) {
		return nil, nil
	}
	f, err := t.Look()
	if err != nil {
		return nil, err
	}
	return snapshot(f, iface), nil
}

// set makes one change. An error is one of the journal, or of looking: then nothing
// more may be done.
func (t *Tuner) set(ctx context.Context, j *journal, iface string, s plan.Step, c plan.Setting) (Outcome, error) {
	o := Outcome{Step: s.ID, Key: c.Key, From: c.Found, To: c.Want}
	now, err := t.Machine.Read(c.Key)
	switch {
	case errors.Is(err, setting.ErrGone):
		o.Fate, o.Text = Gone, err.Error()
		return o, nil
	case err != nil:
		o.Fate, o.Text = Failed, err.Error()
		return o, nil
	case now == c.Want:
		o.Fate = Already
		return o, nil
	case now != c.Found:
		o.Fate, o.Text = Conflict, fmt.Sprintf("somebody has made it %s since it was looked at", now)
		return o, nil
	}
	before, err := t.look(c.Key, iface)
	if err != nil {
		return o, err
	}
	if err := j.begin(begin{s.ID, c.Key, c.Found, c.Want}); err != nil {
		return o, err
	}
	if t.crash != nil && t.crash("begin "+c.Key) {
		return o, errCrash
	}
	failed := t.Machine.Write(c.Key, c.Want)
	if t.crash != nil && t.crash("change "+c.Key) {
		return o, errCrash
	}
	if s.Resets {
		t.settle(ctx, iface)
	}
	after, err := t.look(c.Key, iface)
	if err != nil {
		return o, err
	}
	changed := difference(before, after)
	if value, err := t.Machine.Read(c.Key); err == nil {
		if now = value; now != c.Found {
			changed[c.Key] = now
		}
	}
	if err := j.end(end{changed}); err != nil {
		return o, err
	}
	switch {
	case failed != nil:
		o.Fate, o.Text = Failed, failed.Error()
	case now == c.Want:
		o.Fate = Done
	case now == c.Found:
		o.Fate, o.Text = Failed, "it was taken without an error, and is as before"
	default:
		o.Fate, o.To, o.Text = Adjusted, now, "asked for "+c.Want
	}
	return o, nil
}

// settle waits until the link is back, if it is to come back.
func (t *Tuner) settle(ctx context.Context, iface string) {
	deadline := time.Now().Add(t.Settle)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		b, err := os.ReadFile(filepath.Join(t.Machine.Root, "sys/class/net", iface, "carrier"))
		if err != nil || strings.TrimSpace(string(b)) == "1" {
			return // down altogether, or up
		}
		const pause = 50 * time.Millisecond
		time.Sleep(pause)
	}
}
