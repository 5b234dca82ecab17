package guard

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// made is a made-up machine. Where others use it, its speed drifts in phases, and one
// look in three is disturbed, some by a factor of three.
type made struct {
	r     *rand.Rand
	quiet bool
	ns    map[string]float64
	phase float64
	until int
	looks int
	host  time.Duration // has had the CPUs
	steal time.Duration // and takes as much in each look
}

func newMade(seed uint64, quiet bool, ns map[string]float64) *made {
	return &made{r: rand.New(rand.NewPCG(seed, 1)), quiet: quiet, ns: ns, phase: 1}
}

func (m *made) disturbed(v float64) float64 {
	if m.quiet {
		return v * (1 + 0.02*m.r.Float64())
	}
	if m.looks++; m.looks > m.until {
		m.phase, m.until = 1+0.4*m.r.Float64(), m.looks+20+m.r.IntN(60)
	}
	v *= m.phase * (1 + 0.02*m.r.Float64())
	if m.r.Float64() < 0.33 {
		v *= 1 + 2*m.r.Float64()
	}
	return v
}

func (m *made) run(_ context.Context, b Benchmark) (float64, error) {
	return m.disturbed(m.ns[b.Name]), nil
}
func (m *made) loop() float64 { return m.disturbed(10) }
func (m *made) stolen() time.Duration {
	m.host += m.steal
	return m.host
}
func (m *made) instructions(_ context.Context, b Benchmark, _ float64) (float64, error) {
	return 0, nil
}

var (
	two   = []Benchmark{{"one", "./one", "BenchmarkOne"}, {"other", "./other", "BenchmarkOther"}}
	times = map[string]float64{"one": 100, "other": 2000}
)

func slowerBy(t *testing.T, seed uint64, quiet bool, slow float64) []Verdict {
	t.Helper()
	before, err := record(t.Context(), newMade(seed, quiet, times), two, "made-up", roundsOfRecord)
	if err != nil {
		t.Fatal(err)
	}
	verdicts, err := check(t.Context(), newMade(seed+1000, quiet, map[string]float64{"one": 100 * slow, "other": 2000}), two, before, Limit, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return verdicts
}

// A planted slowdown is found, also on a machine full of noise if it is large, and noise
// is not.
func TestGuard(t *testing.T) {
	const seeds = 300
	for _, tc := range []struct {
		name  string
		quiet bool
		slow  float64
		want  bool
	}{
		{"quiet, as it was", true, 1, false},
		{"quiet, a little slower", true, 1.1, false},
		{"quiet, slower", true, 1.2, true},
		{"noise, as it was", false, 1, false},
		{"noise, a little slower", false, 1.04, false},
		{"noise, slower", false, 1.6, true},
		{"noise, faster", false, 0.5, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wrong, other := 0, 0
			for seed := range uint64(seeds) {
				v := slowerBy(t, seed, tc.quiet, tc.slow)
				if v[0].Slower != tc.want {
					wrong++
				}
				if v[1].Slower {
					other++
				}
			}
			if wrong > 0 || other > 0 {
				t.Errorf("%d of %d runs are judged wrongly, %d of what has not changed", wrong, seeds, other)
			}
		})
	}
}

// What seems somewhat slower while the host of the machine has its CPUs is not judged, and does not fail.
func TestStolenCPUs(t *testing.T) {
	before, err := record(t.Context(), newMade(1, true, times), two, "made-up", roundsOfRecord)
	if err != nil {
		t.Fatal(err)
	}
	m := newMade(2, true, map[string]float64{"one": 140, "other": 4000})
	m.steal = time.Second
	verdicts, err := check(t.Context(), m, two, before, Limit, io.Discard)
	if err != nil || verdicts[0].Slower || !verdicts[0].Void || !verdicts[1].Slower || verdicts[1].Void {
		t.Fatalf("%v: %+v", err, verdicts)
	}
	more := verdicts[0]
	more.Before.Instructions, more.Now.Instructions = 1000, 1200
	if more.void(Limit) {
		t.Error("a fifth more instructions are not judged: no host adds those")
	}
	var out bytes.Buffer
	if n, err := Write(&out, before, verdicts); n != 1 || err != nil || !strings.Contains(out.String(), "not judged") || !strings.Contains(out.String(), "Run it again") {
		t.Errorf("%d slower, %v:\n%s", n, err, out.String())
	}
}

// Instructions tell what time hides.
func TestInstructions(t *testing.T) {
	v := Verdict{Before: Result{NS: 100, Loop: 10, Instructions: 1000}, Now: Result{NS: 90, Loop: 10, Instructions: 1200}}
	if !v.slower(Limit) {
		t.Error("a fifth more instructions are not slower")
	}
	v.Now.Instructions = 0
	if v.slower(Limit) {
		t.Error("slower without more time, and without a count")
	}
	v.New, v.Now.NS = true, 1e6
	if v.slower(Limit) {
		t.Error("what was never recorded is slower")
	}
}

func TestRecords(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir, "amd64-x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that there is none", err)
	}
	r := &Record{Schema: schema, Host: "amd64-x", Results: []Result{{Name: "one", Bench: "./one BenchmarkOne", NS: 12, Loop: 3}}}
	if err := r.Save(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(dir, "amd64-x"); err != nil || len(got.Results) != 1 || !reflect.DeepEqual(got.Results, r.Results) {
		t.Errorf("got %+v, %v", got, err)
	}
	for name, text := range map[string]string{"garbage": "{", "another schema": `{"schema": 99}`} {
		if err := os.WriteFile(Path(dir, "amd64-x"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, "amd64-x"); err == nil || !strings.Contains(err.Error(), "guard --record") {
			t.Errorf("%s: got %v, want an error with the remedy", name, err)
		}
	}
	if got, want := HostKind("Intel(R) Xeon(R) Processor @ 2.50GHz"), "-intel-r-xeon-r-processor-2.50ghz"; !strings.HasSuffix(got, want) {
		t.Errorf("host %q, want …%q", got, want)
	}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	verdicts := []Verdict{
		{New: true, Now: Result{Name: "new", NS: 5, Loop: 10}},
		{Slower: true, Now: Result{Name: "one", NS: 150, Loop: 10, Instructions: 300}, Before: Result{NS: 100, Loop: 10, Instructions: 200}},
		{Now: Result{Name: "other", NS: 50, Loop: 10}, Before: Result{NS: 100, Loop: 10}},
	}
	slower, err := Write(&b, &Record{Host: "host", Go: runtime.Version()}, verdicts)
	if err != nil || slower != 1 {
		t.Errorf("%d slower, %v", slower, err)
	}
	for _, want := range []string{
		"| one | 150.0 | 15 | 10 | +50.0 % | 300 | +50.0 % | SLOWER |",
		"| other | 50.0 | 5 | 10 | -50.0 % | not countable here | – |  |",
		"| new | 5.0 | 0.5 | – | – | not countable here | – | not recorded |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no line %q in\n%s", want, b.String())
		}
	}
	// Another compiler is told of, and none where nothing was recorded.
	for version, told := range map[string]bool{runtime.Version(): false, "": false, "go1.1": true} {
		b.Reset()
		if _, err := Write(&b, &Record{Host: "host", Go: version}, verdicts); err != nil || strings.Contains(b.String(), "Recorded with go1.1, and") != told {
			t.Errorf("recorded with %q: %v:\n%s", version, err, b.String())
		}
	}
}

// plant is how many times its work BenchmarkPlanted does.
const plant = "RINGBENCH_PLANT"

// BenchmarkPlanted is what TestRealRun measures: some microseconds of arithmetic.
func BenchmarkPlanted(b *testing.B) {
	times, _ := strconv.Atoi(os.Getenv(plant))
	h := uint64(1)
	for b.Loop() {
		for range 2000 * max(times, 1) {
			h = (h ^ h>>29) * 0xbf58476d1ce4e5b9
		}
	}
	if h == 0 {
		b.Fatal("never")
	}
}

// A real run of this very binary: work that is four times as much is found, and the
// same work is not. The limit is wide, for a machine that does anything else.
func TestRealRun(t *testing.T) {
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	list := []Benchmark{{"planted", ".", "BenchmarkPlanted"}}
	m := &tests{dir: t.TempDir(), binaries: map[string]string{".": self}}
	before, err := record(t.Context(), m, list, "here", roundsOfCheck)
	if err != nil {
		t.Fatal(err)
	}
	const wide = 1
	for _, work := range []int{1, 4} {
		t.Setenv(plant, strconv.Itoa(work))
		verdicts, err := check(t.Context(), m, list, before, wide, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if verdicts[0].Slower != (work > 1) {
			t.Errorf("%d times the work: slower is %v: %+v, before %+v", work, verdicts[0].Slower, verdicts[0].Now, before.Results[0])
		}
		if before.Results[0].Instructions > 0 && work == 4 && verdicts[0].Now.Instructions < 3*before.Results[0].Instructions {
			t.Errorf("instructions: %.0f, before %.0f", verdicts[0].Now.Instructions, before.Results[0].Instructions)
		}
	}
}

// Every benchmark of the list exists.
func TestList(t *testing.T) {
	for _, b := range List() {
		name, _, _ := strings.Cut(b.Bench, "/")
		files, err := filepath.Glob(filepath.Join("..", "..", b.Package, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(src, []byte("func "+name+"(b *testing.B)"))
		}
		if !found {
			t.Errorf("%s has no %s", b.Package, name)
		}
	}
	if _, err := leastTime(Benchmark{Package: "./x", Bench: "BenchmarkX"}, []byte("PASS\n")); err == nil {
		t.Error("no figure is no error")
	}
	if got, err := leastTime(Benchmark{}, []byte("BenchmarkX-2 \t 100\t 12.5 ns/op\nBenchmarkX-2   100   11.5 ns/op 3 B/op\n")); err != nil || got != 11.5 {
		t.Errorf("got %v, %v", got, err)
	}
}
