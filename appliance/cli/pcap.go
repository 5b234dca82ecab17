package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ringside/appliance/daemon"
	"ringside/flow/record"
	"ringside/writer/store"
)

// pcapFlags are those of ringside pcap.
type pcapFlags struct {
	spool              []string // directories
	db, out            string
	each, name, tar    string // directory, template, file
	legs, sip, rtp     bool
	classic, ng, quiet bool
	filter             store.Filter
	filtered, timed    bool // flags of the filter were given; its times were
	named              bool // calls are named, and not chosen by the filter
}

// maxExported is how many calls one capture file may be asked for.
const maxExported = 10_000

// Packets belong to a call before its record begins and after it ends: media that
// came too early, and what was sent before the other side had stopped.
const (
	beforeCall = 10 * time.Second
	afterCall  = time.Minute
)

func newPcap(st *style) *cobra.Command {
	var f pcapFlags
	c := &cobra.Command{
		Use:   "pcap [CALL-ID…] --spool DIR",
		Short: "write the packets of calls as capture files",
		Long: `Write the packets of calls from a spool as a capture file, merged by time, also
while a call still runs. Name calls by their Call-IDs, or, with --db, by the ids of
the store; or choose them in the store by the filters of "ringside calls".

With a store, only segments of the time of the calls are looked into, --legs adds
the calls that are linked with them, and if there are no packets, the record of
the call tells why. --from and --to are about the packets if calls are named, and
about the calls' beginning if they are chosen by a filter.

With --each, every call gets a file of its own in a directory, by default named
after its Call-ID; --name can have {call_id}, {date} and {time} of its beginning,
and, with --db, {caller} and {called}. What is unsafe in names becomes "_"; names
longer than 100 bytes are cut, and end with a hash. With --tar, they go into an
archive as 2026-01-31/15/04/SIP/CALL-ID.pcap, and RTP beside SIP.

` + filterHelp[:strings.Index(filterHelp, " --json")] + `
The exit code is 1 if there are no packets.`,
		Example: "  ringside pcap --spool /var/spool/ringside a84b4c76e66710@pc33.example.com -o call.pcapng\n" +
			"  ringside pcap --spool /var/spool/ringside --db calls.db --legs 4611686018427387904 | wireshark -k -i -\n" +
			"  ringside pcap --spool /var/spool/ringside --db calls.db --sip --caller '+4930*' --from -2h -o calls.pcapng\n" +
			"  ringside pcap --spool /var/spool/ringside --db calls.db --from -2h --each calls --name '{date}_{time}_{caller}_{call_id}'",
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(c.Flags(), args, c.OutOrStdout()); err != nil {
				return err
			}
			if err := inZone(c.Flags(), st.zone()); err != nil {
				return coded{exitUsage, err}
			}
			e := packetExport{pcapFlags: &f, look: st.on(c.ErrOrStderr()), stdout: c.OutOrStdout(), stderr: c.ErrOrStderr()}
			return e.run(c.Context(), args)
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringArrayVar(&f.spool, "spool", nil, "the spool, a `DIR`; may be repeated for its further directories")
	fl.StringVarP(&f.out, "output", "o", "-", "write to this `FILE`; -: standard output")
	fl.StringVar(&f.each, "each", "", "write a file for each call into `DIR`, which is created if it is not there")
	f.name = "{call_id}"
	parsed(fl, "name", "with --each: how files are called, a `TEMPLATE` without the extension (default {call_id})", &f.name, parseTemplate)
	fl.StringVar(&f.tar, "tar", "", "write files for each call into the archive `FILE`; -: standard output")
	fl.StringVar(&f.db, "db", "", dbUsage)
	fl.BoolVar(&f.legs, "legs", false, "with the calls that are linked with them: other legs of one conversation")
	fl.BoolVar(&f.sip, "sip", false, "signalling only")
	fl.BoolVar(&f.rtp, "rtp", false, "media only")
	fl.BoolVar(&f.ng, "pcapng", false, "as pcapng, where each packet names its call (this is the default, but for --tar)")
	fl.BoolVar(&f.classic, "pcap", false, "as pcap with nanoseconds")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing of what was found")
	filterFlags(fl, &f.filter)
	return c
}

// check finds flags that do not go together.
func (f *pcapFlags) check(fl *pflag.FlagSet, args []string, stdout io.Writer) (err error) {
	own := []string{"spool", "output", "each", "name", "tar", "db", "legs", "sip", "rtp", "pcapng", "pcap", "quiet", "ascii", "utc", "width"}
	err = noneEmpty(fl)
	fl.Visit(func(g *pflag.Flag) {
		switch {
		case slices.Contains(own, g.Name):
		case g.Name == "from" || g.Name == "to":
			f.timed = true
		default:
			f.filtered = true
		}
	})
	f.named = len(args) > 0
	switch {
	case err != nil:
		return err
	case len(f.spool) == 0 || slices.Contains(f.spool, ""):
		return usage("no spool named: give --spool DIR")
	case slices.Contains(args, ""):
		return usage("a Call-ID is empty: give one, or leave it out")
	case f.named && f.filtered:
		return usage("export packets: name calls, or choose them by filters: not both")
	case !f.named && !f.filtered && !f.timed:
		return usage("export packets: of which calls? Name them, or choose them by filters, such as --caller")
	case !f.named && f.db == "":
		return usage("export packets: filters choose calls of a store: give --db PATH")
	case f.legs && f.db == "":
		return usage("export packets: linked calls stand in the store: give --db PATH, or leave out --legs")
	case f.classic && f.ng:
		return usage("export packets: choose one of --pcap and --pcapng")
	}
	return f.checkOutput(fl.Changed, stdout)
}

// checkOutput finds flags about the output that do not go together.
func (f *pcapFlags) checkOutput(given func(string) bool, stdout io.Writer) error {
	outputs := 0
	for _, name := range []string{"output", "each", "tar"} {
		if given(name) {
			outputs++
		}
	}
	switch {
	case outputs > 1:
		return usage("export packets: choose one of --output, --each and --tar")
	case given("name") && f.each == "":
		return usage("--name says how files are called: add --each DIR, or leave it out")
	case f.db == "" && (strings.Contains(f.name, "{caller}") || strings.Contains(f.name, "{called}")):
		return usage("--name %s: numbers stand in the store: give --db PATH", f.name)
	case f.each == "" && isTerminal(stdout) && (f.tar == "-" || f.tar == "" && f.out == "-"):
		return usage("export packets: a terminal cannot show them: give -o FILE, or a pipe")
	}
	return nil
}

// noneEmpty finds an empty value, which must not stand for no filter at all.
func noneEmpty(fl *pflag.FlagSet) (err error) {
	fl.Visit(func(g *pflag.Flag) {
		if err == nil && g.Value.Type() == "string" && g.Value.String() == "" {
			err = usage("--%s: %w", g.Name, errEmpty)
		}
	})
	return err
}

// span is a time, ns, both ends inclusive; 0 and 0: not known.
type span struct{ from, to int64 }

// with is the time that has both in it.
func (s span) with(o span) span { return span{min(s.from, o.from), max(s.to, o.to)} }

// timesOf is the time in which there may be packets of a call.
func timesOf(c *record.Call) span {
	return span{c.Start - int64(beforeCall), max(c.End, c.Last) + int64(afterCall)}
}

// wantedCalls are the calls whose packets are wanted.
type wantedCalls struct {
	ids     []string               // Call-IDs
	records map[string]record.Call // of those that the store has, the last one
	times   map[string]span        // of those; nil: all counts
	all     span                   // of all calls
}

func (w *wantedCalls) add(c *record.Call) {
	t := timesOf(c)
	if len(w.ids) == 0 {
		w.all = t
	}
	w.all = w.all.with(t)
	if before, ok := w.times[c.CallID]; ok {
		t = t.with(before)
	} else {
		w.ids = append(w.ids, c.CallID)
	}
	w.records[c.CallID], w.times[c.CallID] = *c, t
}

// of is the time in which packets of a call are looked for.
func (w *wantedCalls) of(id string) span {
	if t, ok := w.times[id]; ok {
		return t
	}
	return w.all
}

// want finds out what is wanted.
func (f *pcapFlags) want(ctx context.Context, args []string) (*wantedCalls, error) {
	w := &wantedCalls{records: map[string]record.Call{}, times: map[string]span{}}
	if f.db == "" {
		w.ids = args
	} else {
		s, err := openStore(ctx, f.db)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		if err := f.look(ctx, s, args, w); err != nil {
			return nil, err
		}
	}
	if f.named && f.timed {
		w.all = span{f.filter.From, f.filter.To - 1} // --to is exclusive
		if f.filter.To == 0 {
			w.all.to = 1<<63 - 1
		}
		w.times = nil
	}
	w.ids = unique(w.ids)
	return w, nil
}

// look asks the store.
func (f *pcapFlags) look(ctx context.Context, s *store.Store, args []string, w *wantedCalls) error {
	var found []record.Call
	var unknown []string
	for _, id := range args {
		calls, err := findCalls(ctx, s, id)
		if err != nil {
			return err
		}
		if len(calls) == 0 { // it may still run
			unknown = append(unknown, id)
		}
		for _, c := range calls {
			found = append(found, *c)
		}
	}
	if !f.named {
		var err error
		if found, err = f.chosen(ctx, s); err != nil {
			return err
		}
	}
	if f.legs {
		var err error
		if found, err = withLegs(ctx, s, found); err != nil {
			return err
		}
	}
	for i := range found {
		w.add(&found[i])
	}
	if len(unknown) > 0 {
		w.ids = append(w.ids, unknown...)
		w.all = span{}
	}
	return nil
}

// unique are the values without those that came before.
func unique(in []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range in {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

// chosen are the calls that the filter chooses.
func (f *pcapFlags) chosen(ctx context.Context, s *store.Store) ([]record.Call, error) {
	n, err := s.Count(ctx, f.filter)
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return nil, fmt.Errorf("export packets: no call of %s meets the filters: ringside calls lists them", store.Name(f.db))
	case n > maxExported:
		return nil, fmt.Errorf("export packets: the filters choose %s, more than %s: choose fewer, as by --from and --to", plural(n, "call"), count(maxExported))
	}
	r, err := s.Calls(ctx, f.filter, store.Page{Limit: maxExported, Ascending: true})
	if err != nil {
		return nil, err
	}
	var out []record.Call
	for i := range r.Calls {
		out = append(out, r.Calls[i].Call)
	}
	return out, nil
}

// withLegs adds the calls that are linked with those, and so on.
func withLegs(ctx context.Context, s *store.Store, calls []record.Call) ([]record.Call, error) {
	seen := map[int64]bool{}
	for i := range calls {
		seen[calls[i].ID] = true
	}
	for i := 0; i < len(calls); i++ { // it grows meanwhile
		links, err := s.Links(ctx, calls[i].ID)
		if err != nil {
			return nil, err
		}
		for _, l := range links {
			if l.Call == nil || seen[l.OtherID] {
				continue
			}
			if seen[l.OtherID] = true; len(calls) == maxExported {
				return nil, fmt.Errorf("export packets: more than %s with their legs: choose fewer", plural(maxExported, "call"))
			}
			calls = append(calls, l.Call.Call)
		}
	}
	return calls, nil
}

// lateFile is a file that is made when there is something to write.
type lateFile struct {
	path   string
	stdout io.Writer
	to     io.WriteCloser
}

func (l *lateFile) Write(b []byte) (int, error) {
	if l.to == nil {
		to, err := create(l.path, l.stdout)
		if err != nil {
			return 0, err
		}
		l.to = to
	}
	return l.to.Write(b)
}

// close closes the file; one that is not complete is removed.
func (l *lateFile) close(err error) error {
	if l.to == nil {
		return err
	}
	err = errors.Join(err, l.to.Close())
	if f, ok := l.to.(*os.File); ok && err != nil {
		if i, e := os.Lstat(f.Name()); e == nil && i.Mode().IsRegular() {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}
	return err
}

// packetExport is one run of ringside pcap.
type packetExport struct {
	*pcapFlags
	look           look
	stdout, stderr io.Writer
	found          daemon.Packets // all in all
}

func (e *packetExport) run(ctx context.Context, args []string) error {
	if err := needSpool(e.spool...); err != nil {
		return err
	}
	w, err := e.want(ctx, args)
	if err != nil {
		return err
	}
	write := e.together
	if e.each != "" || e.tar != "" {
		write = e.apart
	}
	without, err := write(ctx, w)
	if err != nil {
		return e.withRemedy(err)
	}
	if e.found.Damaged > 0 {
		fmt.Fprintf(e.stderr, "%s could not be read; ringside spool check %s tells where\n", plural(e.found.Damaged, "frame"), strings.Join(e.spool, " "))
	}
	if err := e.missing(w, without, e.look, e.stderr); err != nil {
		return err
	}
	if e.found.Packets == 0 {
		return fmt.Errorf("export packets: %s has none of %s", strings.Join(e.spool, " and "), plural(len(w.ids), "Call-ID"))
	}
	if !e.quiet {
		fmt.Fprintf(e.stderr, "%s of %s, from %s, %s read\n", plural(e.found.Packets, "packet"), plural(len(w.ids)-len(without), "Call-ID"), plural(e.found.Segments, "segment"), size(e.found.Read))
	}
	return nil
}

// withRemedy names the flag that helps.
func (e *packetExport) withRemedy(err error) error {
	switch {
	case !strings.Contains(err.Error(), "link types"):
	case e.classic:
		return fmt.Errorf("%w: leave out --pcap", err)
	case e.tar != "":
		return fmt.Errorf("%w: add --pcapng", err)
	}
	return err
}

// fetch writes the packets of a query, and counts them.
func (e *packetExport) fetch(ctx context.Context, q daemon.PacketQuery, to io.Writer) (daemon.Packets, error) {
	q.Dirs = e.spool
	found, err := daemon.ExportPackets(ctx, q, to)
	e.found.Packets += found.Packets
	e.found.Segments += found.Segments
	e.found.Read += found.Read
	e.found.Damaged += found.Damaged
	return found, err
}

// together writes one file. It returns the calls without packets, if all are.
func (e *packetExport) together(ctx context.Context, w *wantedCalls) (without []string, err error) {
	to := &lateFile{path: e.out, stdout: e.stdout}
	found, err := e.fetch(ctx, daemon.PacketQuery{CallIDs: w.ids, From: w.all.from, To: w.all.to, SIP: e.sip, RTP: e.rtp, Classic: e.classic}, to)
	if found.Packets == 0 {
		without = w.ids
	}
	return without, to.close(err)
}
