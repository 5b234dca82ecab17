package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ringside/appliance/config"
	"ringside/appliance/daemon"
	"ringside/tuning/doctor"
	"ringside/tuning/inventory"
)

// doctorFlags say what is examined.
type doctorFlags struct {
	control    string
	config     string
	interfaces []string
	json       bool
}

func newDoctor(st *style) *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: "explain what on this machine hurts the capture, and the remedy",
		Long: `Look at this machine (kernel, processors, memory, clock, interfaces, volumes) and at
the service that runs on it, and explain what hurts: what was read, why it matters,
and the command that helps. Nothing is changed.

It exits with 0 when nothing is severe, and with 1 otherwise.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c.Context(), st, c.Flags().Changed("config"), c.OutOrStdout())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	controlFlag(c, &f.control)
	fl.StringVar(&f.config, "config", configFile, "configuration `FILE` that says what is captured and kept where; it need not be there")
	fl.StringSliceVarP(&f.interfaces, "interface", "i", nil, "look at these `INTERFACES` (default: those that are captured, or all that have a device)")
	fl.BoolVar(&f.json, "json", false, "as JSON, with all facts")
	return c
}

func (f *doctorFlags) run(ctx context.Context, st *style, named bool, out io.Writer) error {
	o := inventory.Options{Root: "/", Caller: inventory.System{}, Interfaces: f.interfaces}
	if file, err := os.Open(f.config); err == nil || named {
		if file != nil {
			file.Close()
		}
		cfg, _, err := loadConfig(f.config)
		if err != nil {
			return coded{exitConfig, fmt.Errorf("%w: ringside check-config says more", err)}
		}
		configured(&o, cfg)
	}
	service, captured := f.ask(ctx, &o)
	if len(f.interfaces) == 0 && len(captured) > 0 {
		o.Interfaces = captured
	}
	facts := inventory.Read(o)
	reserves(facts.Volumes)
	found := doctor.Examine(facts, service)
	var err error
	if f.json {
		err = writeDoctorJSON(out, facts, service, found)
	} else {
		err = writeDoctor(out, st.on(out), found)
	}
	if err == nil && doctor.Worst(found) {
		err = coded{exitFailure, errors.New("something is severe")}
	}
	return err
}

// configured takes from the configuration what is captured and kept where.
func configured(o *inventory.Options, c *config.Config) {
	if len(o.Interfaces) == 0 {
		o.Interfaces = c.Capture.Interfaces
	}
	if c.Spool.Dir != "" {
		o.Volumes = append(o.Volumes, inventory.Volume{Name: "spool", Dir: c.Spool.Dir, Reserve: c.Spool.Quota.Reserve})
	}
	if path := c.Store.Path; path != "" && !strings.Contains(path, "://") {
		o.Volumes = append(o.Volumes, inventory.Volume{Name: "store", Dir: filepath.Dir(path)})
	}
}

// reserves says how much of a spool's volume stays free where nobody has.
func reserves(volumes []inventory.Volume) {
	const least = 10 << 30
	for i := range volumes {
		if v := &volumes[i]; v.Name == "spool" && v.Reserve == 0 {
			v.Reserve = max(v.Total/20, least)
		}
	}
}

// ask asks the service, and says which interfaces it captures.
func (f *doctorFlags) ask(ctx context.Context, o *inventory.Options) (*doctor.Service, []string) {
	control := daemon.NewControl(f.control)
	var s daemon.ServiceStatus
	if control.Get(ctx, "GET", "/status", &s) != nil {
		return &doctor.Service{StoreQueue: -1}, nil
	}
	o.PID = s.PID
	out := &doctor.Service{Running: true, State: s.Health.State, StoreAway: s.Store.Away, StoreQueue: s.Store.Waiting, Parked: s.Store.Parked}
	for _, w := range s.Health.Why {
		out.Why = append(out.Why, doctor.Condition{Text: w.Text, Failing: w.Failing})
	}
	for _, r := range s.Capture.Lost {
		out.Drops = append(out.Drops, doctor.Drop{Interface: r.Interface, Stage: r.Stage, Reason: r.Reason, Packets: r.Packets, Rate: r.Rate})
	}
	for _, g := range s.Capture.Gaps {
		out.Gaps = append(out.Gaps, g.String())
	}
	if s.Budget != nil {
		out.Budget, out.Limit = s.Budget.Sum(), s.Budget.Limit
	}
	var ledger daemon.ControlLedger
	var captured []string
	if control.Get(ctx, "GET", "/ledger", &ledger) == nil {
		for _, r := range ledger.Rows {
			if r.Interface != "" && !slices.Contains(captured, r.Interface) {
				captured = append(captured, r.Interface)
			}
		}
	}
	return out, captured
}

func writeDoctorJSON(w io.Writer, facts *inventory.Facts, s *doctor.Service, found []doctor.Finding) error {
	if found == nil {
		found = []doctor.Finding{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Findings []doctor.Finding `json:"findings"`
		Service  *doctor.Service  `json:"service"`
		Facts    *inventory.Facts `json:"facts"`
	}{found, s, facts})
}

// writeDoctor shows findings, each with what was read, why it matters, and what
// to do. Commands are not broken into lines: they are to be copied.
func writeDoctor(w io.Writer, l look, found []doctor.Finding) error {
	var b strings.Builder
	counts := map[doctor.Severity]int{}
	const indent = 9
	for _, f := range found {
		counts[f.Severity]++
		fmt.Fprintf(&b, "%-8s %s\n", strings.ToUpper(string(f.Severity)), clean(f.Title))
		for _, line := range []struct{ name, text string }{{"read", f.Evidence}, {"why", f.Why}} {
			text := wrap(strings.Fields(clean(line.text)), "", max(20, l.textWidth()-indent), 0)
			fmt.Fprintf(&b, "  %-5s  %s\n", line.name, strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", indent)))
		}
		fmt.Fprintf(&b, "  %-5s  %s\n\n", "do", clean(f.Remedy))
	}
	if len(found) == 0 {
		b.WriteString("nothing hurts\n")
	} else {
		fmt.Fprintf(&b, "%d severe, %s, %s\n", counts[doctor.Severe], plural(counts[doctor.Warning], "warning"), plural(counts[doctor.Note], "note"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
