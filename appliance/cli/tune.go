package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringside/tuning/apply"
	"ringside/tuning/driver"
	"ringside/tuning/gauge"
	"ringside/tuning/inventory"
	"ringside/tuning/plan"
	"ringside/tuning/setting"
)

const (
	tuneDir  = "/var/lib/ringside-tune"
	tuneUnit = "ringside-tune.service"
)

// tuneFlags say what is tuned, and for what.
type tuneFlags struct {
	o        plan.Options
	workload string
	cpus     string
	apply    bool
	dryRun   bool
	undo     bool
	persist  bool
	saved    bool
	all      bool
	measure  bool
	verbose  bool
	json     bool
	seconds  float64
	state    string

	host tuneHost
}

// tuneHost is the machine that is tuned; tests have another one.
type tuneHost struct {
	root      string
	caller    inventory.Caller
	driver    setting.Driver
	stats     func(iface string) (map[string]uint64, error)
	systemctl func(ctx context.Context, args ...string) error
	appears   time.Duration // that an interface may take to be there, when the machine starts
}

func newTune(st *style) *cobra.Command {
	var f tuneFlags
	c := &cobra.Command{
		Use:   "tune [flags] INTERFACE",
		Short: "set up the card, its interrupts and the kernel for a capture",
		Long: `Look at an interface, its interrupts and the processors, and say how they should be
set up to capture on it: what was found, what it should be, why, what to expect of it,
and who says so. Nothing is changed without --apply.

--apply makes the changes, and writes down before each how it was. --undo takes back
everything, also after a crash; what somebody else has changed since is told and stays.
With --persist the plan is made and applied again at each start of the machine, by
ringside-tune.service; else the machine is as before when it has been started anew.

Where the host itself needs the interface, for its addresses or a default route, what
could cut it off is held back, unless --force is given.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), args, st.on(c.OutOrStdout()), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.workload, "workload", string(plan.Meter), "what is done with RTP: `WHAT` is sip (dropped), meter (measured), header or full (stored)")
	fl.IntVar(&f.o.Queues, "queues", 0, "use `N` queues of the card (0: as many as the workload takes)")
	fl.StringVar(&f.cpus, "cpus", "", "give the queues to these processors, as a `LIST` like 2-5,8 (default: those near the card, but the first core)")
	fl.BoolVar(&f.o.Shared, "shared", false, "the host needs the interface, whatever it looks like")
	fl.BoolVar(&f.o.Force, "force", false, "also change what is held back; with --undo, also what somebody else has changed since")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only say what would be changed (the default)")
	fl.BoolVar(&f.apply, "apply", false, "make the changes")
	fl.BoolVar(&f.undo, "undo", false, "make everything as it was")
	fl.BoolVar(&f.persist, "persist", false, "with --apply: again at each start of the machine")
	fl.BoolVar(&f.saved, "saved", false, "with --apply and no interface: apply all plans that were kept by --persist")
	fl.BoolVar(&f.all, "all", false, "with --undo and no interface: of all interfaces")
	fl.BoolVar(&f.measure, "measure", false, "only measure: packets, losses, processors and queues of some seconds")
	fl.Float64Var(&f.seconds, "seconds", 3, "measure for so many `SECONDS` before and after (0: do not)")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "say everything also of steps that need nothing")
	fl.BoolVar(&f.json, "json", false, "as JSON")
	fl.StringVar(&f.state, "state", tuneDir, "keep journals and plans in this `DIR`")
	return c
}

// check looks for flags that do not go together.
func (f *tuneFlags) check(args []string) error {
	const longest = 60
	modes := 0
	for _, m := range []bool{f.apply, f.undo, f.measure, f.dryRun} {
		if m {
			modes++
		}
	}
	everything := f.saved && f.apply || f.all && f.undo
	switch {
	case modes > 1:
		return usage("give one of --dry-run, --apply, --undo and --measure")
	case f.persist && !f.apply:
		return usage("--persist goes with --apply")
	case f.saved && !f.apply, f.all && !f.undo:
		return usage("--saved goes with --apply, and --all with --undo")
	case everything && len(args) > 0:
		return usage("%s: with --saved or --all no interface is named", args[0])
	case !everything && len(args) == 0:
		return usage("name an interface: ringside tune INTERFACE")
	case f.measure && f.seconds == 0:
		return usage("--measure --seconds 0: nothing would be measured: write a number above 0")
	case f.seconds < 0 || f.seconds > longest:
		return usage("--seconds %g: write a number from 0 to %d", f.seconds, longest)
	case f.o.Queues < 0:
		return usage("--queues %d: write a number from 0 on", f.o.Queues)
	case !slices.Contains(plan.Workloads, plan.Workload(f.workload)):
		return usage("--workload %s: write sip, meter, header or full", f.workload)
	}
	if f.cpus != "" {
		var err error
		if f.o.CPUs, err = inventory.ParseSet(f.cpus); err != nil {
			return usage("--cpus %s: %w: write a list like 2-5,8", f.cpus, err)
		}
	}
	f.o.Workload = plan.Workload(f.workload)
	if len(args) > 0 {
		if f.o.Interface = args[0]; !setting.Plain(args[0]) {
			return usage("%s is no name of an interface", clean(args[0]))
		}
	}
	return nil
}

func (f *tuneFlags) run(ctx context.Context, args []string, l look, out, progress io.Writer) error {
	if err := f.check(args); err != nil {
		return err
	}
	if f.host.root == "" {
		s, err := driver.Open()
		if err != nil {
			return err
		}
		defer s.Close()
		f.host = thisHost(s)
	}
	switch {
	case f.saved:
		return f.applySaved(ctx, l, out, progress)
	case f.undo:
		return f.undoing(ctx, l, out)
	case f.apply:
		return f.applying(ctx, f.o, l, out, progress)
	case f.measure:
		r, err := f.rates(ctx, f.o.Interface, progress)
		if err != nil {
			return err
		}
		return f.show(out, l, tuneReport{Now: r})
	}
	facts, err := f.look(f.o.Interface)
	if err != nil {
		return err
	}
	p, err := plan.Make(facts, f.o)
	if err != nil {
		return err
	}
	return f.show(out, l, tuneReport{Plan: p, dry: true})
}

// thisHost is the machine that the program runs on.
func thisHost(s *driver.Socket) tuneHost {
	return tuneHost{root: "/", caller: inventory.System{}, driver: s, appears: 30 * time.Second, stats: gauge.Statistics,
		systemctl: func(ctx context.Context, args ...string) error {
			if _, err := os.Stat("/run/systemd/system"); err != nil {
				return errors.New("systemd does not run here")
			}
			if text, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput(); err != nil {
				return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, oneLine(string(text)))
			}
			return nil
		}}
}

// look reads the inventory, with one interface.
func (f *tuneFlags) look(iface string) (*inventory.Facts, error) {
	facts := inventory.Read(inventory.Options{Root: f.host.root, Caller: f.host.caller, Interfaces: []string{iface}})
	if len(facts.Interfaces) == 0 {
		return nil, coded{exitUnavailable, fmt.Errorf("look at %s: there is no such interface: ip link show names those that there are", iface)}
	}
	return facts, nil
}

func (f *tuneFlags) tuner(ctx context.Context, iface string) *apply.Tuner {
	const linkComesBack = 15 * time.Second
	return &apply.Tuner{
		Machine: &setting.Machine{Root: f.host.root, Driver: f.host.driver, Restart: func(unit string) error {
			if err := f.host.systemctl(ctx, "daemon-reload"); err != nil {
				return err
			}
			return f.host.systemctl(ctx, "try-restart", unit)
		}},
		Dir: f.state, Settle: linkComesBack,
		Look: func() (*inventory.Facts, error) { return f.look(iface) },
	}
}

// rates measures for the time that was asked for.
func (f *tuneFlags) rates(ctx context.Context, iface string, progress io.Writer) (*gauge.Rates, error) {
	if f.seconds == 0 {
		return nil, nil
	}
	facts, err := f.look(iface)
	if err != nil {
		return nil, err
	}
	take := func() (gauge.Sample, error) {
		stats, err := f.host.stats(iface)
		return gauge.Take(f.host.root, &facts.Interfaces[0], stats), err
	}
	fmt.Fprintf(progress, "measuring %s for %g seconds\n", iface, f.seconds)
	begin := time.Now()
	first, err := take()
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Duration(f.seconds * float64(time.Second))):
	}
	last, err := take()
	if err != nil {
		return nil, err
	}
	r := gauge.Between(first, last, time.Since(begin).Seconds())
	return &r, nil
}

// applying makes the changes, and says what they have brought. What was done is shown
// whatever goes wrong afterwards.
func (f *tuneFlags) applying(ctx context.Context, o plan.Options, l look, out, progress io.Writer) error {
	before, err := f.rates(ctx, o.Interface, progress)
	if err != nil {
		return err
	}
	p, done, err := f.tuner(ctx, o.Interface).Apply(ctx, o)
	report := tuneReport{Plan: p, Outcomes: done, Kept: f.saved, persist: f.persist}
	if err != nil {
		return errors.Join(rooted(err), f.show(out, l, report))
	}
	var failures []error
	if after, err := f.rates(ctx, o.Interface, progress); err != nil {
		failures = append(failures, fmt.Errorf("measure what it has brought: %w", err))
	} else if before != nil && after != nil && len(done) > 0 {
		c := gauge.Compare(*before, *after)
		report.Measured = &c
	}
	if f.persist {
		if err := f.keep(ctx, o); err != nil {
			failures = append(failures, err)
		} else {
			report.Kept = true
		}
	}
	failures = append(failures, f.show(out, l, report), unsettled(done, "tune "+o.Interface))
	return errors.Join(failures...)
}

// keep sees to it that a plan is applied again when the machine starts.
func (f *tuneFlags) keep(ctx context.Context, o plan.Options) error {
	if err := apply.Save(f.state, o); err != nil {
		return rooted(err)
	}
	if err := f.host.systemctl(ctx, "enable", tuneUnit); err != nil {
		return fmt.Errorf("the plan is kept, but nobody applies it at the next start: %w", err)
	}
	return nil
}

// rooted says what to do when a right is missing.
func rooted(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: run it as root", err)
	}
	return err
}

// unsettled is an error if something was not done.
func unsettled(done []apply.Outcome, doing string) error {
	n := 0
	for _, o := range done {
		if o.Fate == apply.Failed || o.Fate == apply.Conflict {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return coded{exitFailure, fmt.Errorf("%s: %d of %d settings are not as they should be, see above", doing, n, len(done))}
}

// applySaved is what the unit does when the machine starts.
func (f *tuneFlags) applySaved(ctx context.Context, l look, out, progress io.Writer) error {
	saved, err := apply.Saved(f.state)
	if err != nil {
		return rooted(err)
	}
	if len(saved) == 0 {
		fmt.Fprintln(progress, "no plan is kept: ringside tune --apply --persist INTERFACE keeps one")
		return nil
	}
	f.seconds, f.persist = 0, false
	var failures []error
	for _, o := range saved {
		f.await(ctx, o.Interface)
		if err := f.applying(ctx, o, l, out, progress); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", o.Interface, err))
		}
	}
	return errors.Join(failures...)
}

// await waits for an interface that is not there yet.
func (f *tuneFlags) await(ctx context.Context, iface string) {
	const pause = 200 * time.Millisecond
	for end := time.Now().Add(f.host.appears); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(pause) {
		if _, err := os.Stat(filepath.Join(f.host.root, "sys/class/net", iface)); err == nil {
			return
		}
	}
}

// undoing makes everything as it was. What fails for one interface keeps nobody from
// the next.
func (f *tuneFlags) undoing(ctx context.Context, l look, out io.Writer) error {
	names := []string{f.o.Interface}
	if f.all {
		var err error
		if names, err = f.tuned(); err != nil {
			return rooted(err)
		}
	}
	failures := map[string]error{}
	undo := func(names []string) {
		for _, name := range names {
			delete(failures, name)
			if err := f.undoOne(ctx, name, l, out); err != nil {
				failures[name] = err
			}
		}
	}
	undo(names)
	var unread error
	if f.all && len(failures) > 0 {
		// What two interfaces share goes back with the one that was tuned last; now the
		// other one finds it as before, too.
		var left []string
		left, unread = apply.Journals(f.state)
		undo(left)
	}
	if left, err := apply.Plans(f.state); err == nil && len(left) == 0 {
		_ = f.host.systemctl(ctx, "disable", tuneUnit) // with no plan it does nothing either
	}
	all := []error{unread}
	for _, name := range slices.Sorted(maps.Keys(failures)) {
		all = append(all, failures[name])
	}
	return errors.Join(all...)
}

// tuned are the interfaces that were tuned, or are when the machine starts.
func (f *tuneFlags) tuned() ([]string, error) {
	names, err := apply.Journals(f.state)
	if err != nil {
		return nil, err
	}
	planned, err := apply.Plans(f.state)
	if err != nil {
		return nil, err
	}
	for _, name := range planned {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// undoOne makes one interface as it was, and forgets its plan.
func (f *tuneFlags) undoOne(ctx context.Context, name string, l look, out io.Writer) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("undo %s: stopped: %w", name, err)
	}
	forgotten, err := apply.Forget(f.state, name)
	if err != nil {
		return fmt.Errorf("undo %s: %w", name, rooted(err))
	}
	done, err := f.tuner(ctx, name).Undo(ctx, name, f.o.Force)
	if errors.Is(err, apply.ErrNothing) {
		err = nil
	}
	shown := f.show(out, l, tuneReport{Undone: name, Forgotten: forgotten, Outcomes: done, failed: err != nil})
	if err != nil {
		return errors.Join(fmt.Errorf("undo %s: %w", name, rooted(err)), shown)
	}
	return errors.Join(shown, unsettled(done, "undo "+name))
}

// tuneReport is what is shown.
type tuneReport struct {
	Plan      *plan.Plan        `json:"plan,omitempty"`
	Outcomes  []apply.Outcome   `json:"outcomes,omitempty"`
	Measured  *gauge.Comparison `json:"measured,omitempty"`
	Now       *gauge.Rates      `json:"now,omitempty"`
	Kept      bool              `json:"kept,omitempty"`
	Undone    string            `json:"undone,omitempty"`
	Forgotten bool              `json:"forgotten,omitempty"`

	dry     bool
	persist bool // it was to be kept
	failed  bool // taking back went wrong
}

func (f *tuneFlags) show(out io.Writer, l look, r tuneReport) error {
	if f.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return writeTune(out, l, &r, f.verbose)
}
