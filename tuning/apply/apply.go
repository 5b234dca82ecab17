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

// snapshot is what all settings of an interface and of the machine are; nothing of no
// facts.
func snapshot(f *inventory.Facts, iface string) map[string]string {
	out := make(map[string]string)
	if f == nil {
		return out
	}
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
		var latest *inventory.Facts // after the last change to the card
		for _, c := range s.Changes {
			if err := ctx.Err(); err != nil {
				return p, out, fmt.Errorf("tune %s: stopped; ringside tune --undo %s takes back what was done: %w", p.Interface, p.Interface, err)
			}
			o, after, err := t.set(ctx, j, p.Interface, s, c)
			if err != nil {
				return p, out, err
			}
			if after != nil {
				latest = after
			}
			out = append(out, t.tell(o))
		}
		if s.Resets && latest != nil {
			next, err := plan.Make(latest, p.Asked)
			if err != nil {
				return p, out, fmt.Errorf("plan again after %s: %w", s.ID, err)
			}
			p = next
		}
	}
}

// look reads everything before or after a change that may change more than its
// setting; nil where it may not.
func (t *Tuner) look(key string) (*inventory.Facts, error) {
	if !wide(key) {
		return nil, nil
	}
	return t.Look()
}

// set makes one change, and returns what it has read afterwards, if it had to. An
// error is one of the journal, or of looking: then nothing more may be done.
func (t *Tuner) set(ctx context.Context, j *journal, iface string, s plan.Step, c plan.Setting) (o Outcome, after *inventory.Facts, err error) {
	o = Outcome{Step: s.ID, Key: c.Key, From: c.Found, To: c.Want}
	if o.Fate, o.Text = t.needless(c); o.Fate != "" {
		return o, nil, nil
	}
	before, err := t.look(c.Key)
	if err != nil {
		return o, nil, err
	}
	if err := j.begin(begin{c.Key}); err != nil {
		return o, nil, err
	}
	if t.crash != nil && t.crash("begin "+c.Key) {
		return o, nil, errCrash
	}
	up, _ := t.carrier(iface) // one that is down does not come back
	failed := t.Machine.Write(c.Key, c.Want)
	if t.crash != nil && t.crash("change "+c.Key) {
		return o, nil, errCrash
	}
	if s.Resets && up {
		t.settle(ctx, iface)
	}
	if after, err = t.look(c.Key); err != nil {
		return o, nil, err
	}
	changed, now := difference(snapshot(before, iface), snapshot(after, iface)), c.Found
	if value, err := t.Machine.Read(c.Key); err == nil && value != c.Found {
		now, changed[c.Key] = value, value
	}
	if err := j.end(end{changed}); err != nil {
		return o, after, err
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
	return o, after, nil
}

// needless says why a change is not made, if it is not.
func (t *Tuner) needless(c plan.Setting) (Fate, string) {
	now, err := t.Machine.Read(c.Key)
	switch {
	case errors.Is(err, setting.ErrGone):
		return Gone, err.Error()
	case err != nil:
		return Failed, err.Error()
	case now == c.Want:
		return Already, ""
	case now != c.Found:
		return Conflict, fmt.Sprintf("somebody has made it %s since it was looked at", now)
	}
	return "", ""
}

// carrier reports whether the link is up; an error if the interface is down altogether.
func (t *Tuner) carrier(iface string) (bool, error) {
	b, err := os.ReadFile(filepath.Join(t.Machine.Root, "sys/class/net", iface, "carrier"))
	return err == nil && strings.TrimSpace(string(b)) == "1", err
}

// settle waits until a link that was up is back.
func (t *Tuner) settle(ctx context.Context, iface string) {
	const pause = 50 * time.Millisecond
	for deadline := time.Now().Add(t.Settle); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(pause) {
		if up, err := t.carrier(iface); up || err != nil {
			return
		}
	}
}
