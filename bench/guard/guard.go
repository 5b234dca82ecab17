// Package guard finds out whether code has become slower: it runs a short list of
// benchmarks in turn with a calibration loop, and compares their ratio to it with
// what was recorded on the same kind of host.
//
// A machine that others use must not cry wolf. Noise only ever adds time, so of
// several short runs the least counts, for a benchmark and for the loops beside it
// alike; and what seems slower is measured again, several times, before it is said.
package guard

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"ringside/bench/report"
)

// Limit is by which share a benchmark may be slower than recorded.
const Limit = 0.15

// Benchmark is one of the list.
type Benchmark struct {
	Name    string // what it stands for
	Package string // as in ./flow/sip
	Bench   string // as go test -bench takes it, without anchors
}

// List is what is guarded: the way of a packet, from its bytes to the disk.
func List() []Benchmark {
	return []Benchmark{
		{"decode, IPv4", "./dataplane/decode", "BenchmarkDecode/ipv4"},
		{"decode, VXLAN", "./dataplane/decode", "BenchmarkDecode/vxlan"},
		{"RTP header", "./flow/rtp", "BenchmarkParseHeader"},
		{"meter, clean", "./flow/meter", "BenchmarkPacket/clean"},
		{"meter, loss", "./flow/meter", "BenchmarkPacket/loss_2%"},
		{"RTP packet of 4,000 streams", "./flow", "BenchmarkMeasure/4000"},
		{"SIP parse", "./flow/sip", "BenchmarkParseInvite"},
		{"call correlation, a message", "./flow/call", "BenchmarkMessage"},
		{"call correlation, a call", "./flow/call", "BenchmarkCall"},
		{"spool, packet block", "./writer/pcap", "BenchmarkAppendPacket"},
		{"compression, lz4 of media", "./writer/compress", "BenchmarkAppend/media/lz4-1"},
		{"compression, zstd of SIP", "./writer/compress", "BenchmarkAppend/text/zstd-1"},
	}
}

// room is how much more than the limit is let pass on a machine that is disturbed:
// half of what the calibration loop took more than at its best, in the middle, a
// quarter at most. On a quiet machine it is next to nothing.
func room(loops []float64) float64 {
	const most = 0.25
	if len(loops) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(loops))
	return min(most, (v[len(v)/2]/v[0]-1)/2)
}

// Result is what one benchmark took.
type Result struct {
	Name  string  `json:"name"`
	Bench string  `json:"bench"`
	NS    float64 `json:"ns"`      // least time of an operation
	Loop  float64 `json:"loop_ns"` // least time of a turn of the loops beside it
	// Instructions of an operation in user space; 0: they cannot be counted here.
	Instructions float64 `json:"instructions,omitempty"`

	loops        []float64     // all of them
	stolen, took time.Duration // of each CPU's time, by the host of a virtual machine; of all looks
}

// Ratio is the time in turns of the calibration loop.
func (r *Result) Ratio() float64 {
	if r.Loop <= 0 {
		return math.Inf(1)
	}
	return r.NS / r.Loop
}

// add takes one more look: the least counts.
func (r *Result) add(ns, loop float64) {
	r.loops = append(r.loops, loop)
	if r.NS == 0 || ns < r.NS {
		r.NS = ns
	}
	if r.Loop == 0 || loop < r.Loop {
		r.Loop = loop
	}
}

// Record is a run of all benchmarks on one host.
type Record struct {
	Schema  int       `json:"schema"`
	Host    string    `json:"host"` // its kind
	Date    time.Time `json:"date"`
	Go      string    `json:"go"`
	Results []Result  `json:"results"`
}

const schema = 1

// HostKind names what hosts have in common whose figures can be compared: the kind of
// processor. It is part of a file's name.
func HostKind(cpu string) string {
	slug := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.':
			return c
		}
		return '-'
	}, strings.ToLower(runtime.GOARCH+" "+cpu))
	return strings.Join(strings.FieldsFunc(slug, func(c rune) bool { return c == '-' }), "-")
}

// Path is the file of the record of a kind of host.
func Path(folder, host string) string { return filepath.Join(folder, "guard-"+host+".json") }

// Load reads the record of a kind of host. Without one the error is os.ErrNotExist.
func Load(folder, host string) (*Record, error) {
	b, err := os.ReadFile(Path(folder, host))
	if err != nil {
		return nil, fmt.Errorf("read recorded benchmarks: %w", err)
	}
	r := &Record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read recorded benchmarks: %w: record them anew with ringbench guard --record", err)
	}
	if r.Schema != schema {
		return nil, fmt.Errorf("read recorded benchmarks: schema %d, not %d: record them anew with ringbench guard --record", r.Schema, schema)
	}
	return r, nil
}

// Save writes a record.
func (r *Record) Save(folder string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if err := os.WriteFile(Path(folder, r.Host), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// machine is what measures: the real one, or one that a test makes up.
type machine interface {
	// run runs a benchmark for a moment, and returns the least time of an
	// operation, ns.
	run(ctx context.Context, b Benchmark) (float64, error)
	// instructions of an operation; 0: they cannot be counted.
	instructions(ctx context.Context, b Benchmark, ns float64) (float64, error)
	// loop is the time of a turn of the calibration loop, ns.
	loop() float64
	// stolen is for how long the host of the machine has had its CPUs, on average.
	stolen() time.Duration
}

// Rounds in which all benchmarks take turns: of a check, of what is recorded, which
// many checks will be held against, and of one more look at what seems slower, of which
// there are so many.
const (
	roundsOfCheck  = 6
	roundsOfRecord = 24
	roundsOfRepeat = 8
	repeats        = 4
)

// measure runs benchmarks in turn, and adds to what is known of them.
func measure(ctx context.Context, m machine, list []Benchmark, known []Result, rounds int) error {
	for range rounds {
		for i, b := range list {
			began, stolen, before := time.Now(), m.stolen(), m.loop()
			ns, err := m.run(ctx, b)
			if err != nil {
				return err
			}
			known[i].add(ns, min(before, m.loop()))
			known[i].took += time.Since(began)
			known[i].stolen += m.stolen() - stolen
		}
	}
	return nil
}

// record measures a list.
func record(ctx context.Context, m machine, list []Benchmark, host string, rounds int) (*Record, error) {
	r := &Record{Schema: schema, Host: host, Date: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), Results: make([]Result, len(list))}
	for i, b := range list {
		r.Results[i] = Result{Name: b.Name, Bench: b.Package + " " + b.Bench}
	}
	if err := measure(ctx, m, list, r.Results, rounds); err != nil {
		return nil, err
	}
	for i, b := range list {
		var err error
		if r.Results[i].Instructions, err = m.instructions(ctx, b, r.Results[i].NS); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Verdict is one benchmark held against what was recorded.
type Verdict struct {
	Now, Before Result
	New         bool // nothing was recorded
	Slower      bool // by more than the limit, in time or in instructions
	Void        bool // it seems so, but the host of the machine had its CPUs meanwhile
	Repeated    int  // so often it was measured again
}

// Change is the ratio to the loop now, to that before.
func (v *Verdict) Change() float64 { return v.Now.Ratio() / v.Before.Ratio() }

// slower reports whether it is by more than the limit.
func (v *Verdict) slower(limit float64) bool {
	return !v.New && (v.longer(limit) || v.Change() > 1+limit+room(v.Now.loops))
}

// longer reports whether it has more instructions by more than the limit, where they are counted.
func (v *Verdict) longer(limit float64) bool {
	a, b := v.Now.Instructions, v.Before.Instructions
	return a > 0 && b > 0 && a > b*(1+limit)
}

// mostStolen is the share of the CPUs' time that a host may have, so that what seems slower
// is. What others compute there takes caches and memory from all looks, too, but hardly
// more than mostExcused.
const mostStolen, mostExcused = 0.05, 1.5

// void reports whether it says nothing that this seems slower: no host adds instructions.
func (v *Verdict) void(limit float64) bool {
	return !v.longer(limit) && v.Now.stolen.Seconds() > mostStolen*v.Now.took.Seconds() && v.Change() < mostExcused
}

// check measures, holds it against what was recorded, and measures again what seems slower.
func check(ctx context.Context, m machine, list []Benchmark, before *Record, limit float64, progress io.Writer) ([]Verdict, error) {
	now, err := record(ctx, m, list, before.Host, roundsOfCheck)
	if err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, len(list))
	for i := range list {
		v := &verdicts[i]
		v.New = true
		for _, b := range before.Results {
			if b.Bench == now.Results[i].Bench {
				v.Before, v.New = b, false
			}
		}
	}
	for i, b := range list {
		v := &verdicts[i]
		v.Now = now.Results[i]
		for v.slower(limit) && v.Repeated < repeats {
			v.Repeated++
			fmt.Fprintf(progress, "%s: %.2f times the recorded time: measured again (%d of %d)\n", b.Name, v.Change(), v.Repeated, repeats)
			if err := measure(ctx, m, list[i:i+1], now.Results[i:i+1], roundsOfRepeat); err != nil {
				return nil, err
			}
			v.Now = now.Results[i]
		}
		v.Slower = v.slower(limit)
		if v.Slower && v.void(limit) {
			v.Slower, v.Void = false, true
		}
	}
	return verdicts, nil
}

// Make runs the benchmarks of a list in the module in which it is called, for longer
// than Run does, and returns what is to be recorded.
func Make(ctx context.Context, list []Benchmark, host string, progress io.Writer) (*Record, error) {
	m, err := build(ctx, list, progress)
	if err != nil {
		return nil, err
	}
	defer m.close()
	return record(ctx, m, list, host, roundsOfRecord)
}

// Run runs the benchmarks of a list in the module in which it is called, and
// compares them with the record in a folder, which it returns, too. Without a record of
// this kind of host that is empty, and all verdicts are New.
func Run(ctx context.Context, list []Benchmark, folder, host string, progress io.Writer) (before *Record, verdicts []Verdict, err error) {
	before, err = Load(folder, host)
	if errors.Is(err, os.ErrNotExist) {
		before, err = &Record{Host: host}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := build(ctx, list, progress)
	if err != nil {
		return nil, nil, err
	}
	defer m.close()
	verdicts, err = check(ctx, m, list, before, Limit, progress)
	return before, verdicts, err
}

// Write writes verdicts as a table of Markdown, the worst first, and says how many
// are slower than in a record.
func Write(w io.Writer, before *Record, verdicts []Verdict) (slower int, err error) {
	void := 0
	verdicts = slices.Clone(verdicts)
	slices.SortStableFunc(verdicts, func(a, b Verdict) int { return cmp.Compare(b.worth(), a.worth()) })
	var b strings.Builder
	fmt.Fprintf(&b, "Benchmarks of user space on %s, in turns of the calibration loop; slower by more than %.0f %% fails.\n\n", before.Host, 100*Limit)
	if before.Go != "" && before.Go != runtime.Version() {
		fmt.Fprintf(&b, "Recorded with %s, and this is %s: a compiler makes code faster or slower, too.\n\n", before.Go, runtime.Version())
	}
	report.Table(&b, "benchmark", "ns", "turns", "recorded", "change", "instructions", "change", "")
	for i := range verdicts {
		v := &verdicts[i]
		word, recorded, change := "", "–", "–"
		if !v.New {
			recorded, change = fmt.Sprintf("%.4g", v.Before.Ratio()), fmt.Sprintf("%+.1f %%", 100*(v.Change()-1))
		}
		switch {
		case v.New:
			word = "not recorded"
		case v.Slower:
			word = "SLOWER"
			slower++
		case v.Void:
			word = "not judged"
			void++
		}
		count, more := "not countable here", "–"
		if n := v.Now.Instructions; n > 0 {
			count = fmt.Sprintf("%.0f", n)
			if v.Before.Instructions > 0 {
				more = fmt.Sprintf("%+.1f %%", 100*(n/v.Before.Instructions-1))
			}
		}
		report.Cells(&b, v.Now.Name, fmt.Sprintf("%.1f", v.Now.NS), fmt.Sprintf("%.4g", v.Now.Ratio()), recorded, change, count, more, word)
	}
	most := 0.0
	for i := range verdicts {
		most = max(most, room(verdicts[i].Now.loops))
	}
	if most > 0.02 {
		fmt.Fprintf(&b, "\nThe machine was disturbed: up to %.0f %% more was let pass.\n", 100*most)
	}
	if void > 0 {
		fmt.Fprintf(&b, "\n%d seem slower, but the host of this virtual machine had more than %.0f %% of its CPUs' time: that says nothing. Run it again: ringbench guard\n", void, 100*mostStolen)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return 0, fmt.Errorf("write verdicts: %w", err)
	}
	return slower, nil
}

// worth is how far up a verdict stands in the table.
func (v *Verdict) worth() float64 {
	if v.New {
		return 0
	}
	return v.Change()
}
