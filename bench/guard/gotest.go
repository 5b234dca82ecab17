package guard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tests are the benchmarks of the module, built once.
type tests struct {
	dir      string            // of the binaries
	binaries map[string]string // by package
}

// build compiles the test binaries of all packages of a list.
func build(ctx context.Context, list []Benchmark, progress io.Writer) (*tests, error) {
	dir, err := os.MkdirTemp("", "ringbench-guard-")
	if err != nil {
		return nil, fmt.Errorf("build benchmarks: %w", err)
	}
	t := &tests{dir, map[string]string{}}
	for _, b := range list {
		if t.binaries[b.Package] != "" {
			continue
		}
		fmt.Fprintf(progress, "build the benchmarks of %s\n", b.Package)
		out := filepath.Join(dir, strings.NewReplacer("/", "_", ".", "").Replace(b.Package)+".test")
		if said, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", out, b.Package).CombinedOutput(); err != nil {
			t.close()
			return nil, fmt.Errorf("build benchmarks of %s (run it in the module): %w: %s", b.Package, err, said)
		}
		t.binaries[b.Package] = out
	}
	return t, nil
}

func (t *tests) close() { _ = os.RemoveAll(t.dir) }

// Runs of a benchmark are short: of many, some are not disturbed.
const (
	momentTimes = 4
	moment      = "10ms"
)

var reBench = regexp.MustCompile(`(?m)^Benchmark\S*\s+(\d+)\s+([0-9.]+) ns/op`)

func (t *tests) run(ctx context.Context, b Benchmark) (float64, error) {
	out, err := t.command(ctx, b, "-test.count", strconv.Itoa(momentTimes), "-test.benchtime", moment).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("run %s %s: %w: %s", b.Package, b.Bench, err, out)
	}
	return leastTime(b, out)
}

// leastTime reads what a benchmark has printed.
func leastTime(b Benchmark, out []byte) (float64, error) {
	least := 0.0
	for _, m := range reBench.FindAllSubmatch(out, -1) {
		ns, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return 0, fmt.Errorf("run %s %s: %w", b.Package, b.Bench, err)
		}
		if least == 0 || ns < least {
			least = ns
		}
	}
	if least == 0 {
		return 0, fmt.Errorf("run %s %s: there is no such benchmark: mend the list in bench/guard", b.Package, b.Bench)
	}
	return least, nil
}

// command runs a benchmark on one processor: so its garbage collector does not
// run beside it, but within what is measured.
func (t *tests) command(ctx context.Context, b Benchmark, more ...string) *exec.Cmd {
	var pattern []string
	for _, part := range strings.Split(b.Bench, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	args := append([]string{"-test.run", "^$", "-test.bench", strings.Join(pattern, "/"), "-test.cpu", "1"}, more...)
	cmd := exec.CommandContext(ctx, t.binaries[b.Package], args...)
	cmd.Dir = filepath.FromSlash(b.Package) // as go test does, for testdata
	return cmd
}

func (t *tests) loop() float64 { return Loop() }

func (t *tests) stolen() time.Duration { return Stolen() / time.Duration(runtime.NumCPU()) }

// instructions counts those of two runs of fixed lengths: what they do not have in
// common is operations.
func (t *tests) instructions(ctx context.Context, b Benchmark, ns float64) (float64, error) {
	const span = 20e6 // ns
	n := int(max(span/max(ns, 1), 10))
	few, err := count(t.command(ctx, b, "-test.benchtime", strconv.Itoa(n)+"x"))
	if errors.Is(err, errNotCountable) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("count instructions of %s %s: %w", b.Package, b.Bench, err)
	}
	many, err := count(t.command(ctx, b, "-test.benchtime", strconv.Itoa(3*n)+"x"))
	if err != nil {
		return 0, fmt.Errorf("count instructions of %s %s: %w", b.Package, b.Bench, err)
	}
	return max(0, (many-few)/float64(2*n)), nil
}

// errNotCountable says that this machine does not count instructions, as most
// virtual ones do not, or lets nobody see.
var errNotCountable = errors.New("instructions cannot be counted here")

// count runs a program and counts its instructions in user space: the counter of
// this thread is inherited by what it starts, and begins with its exec.
func count(cmd *exec.Cmd) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	attr := &unix.PerfEventAttr{
		Type: unix.PERF_TYPE_HARDWARE, Config: unix.PERF_COUNT_HW_INSTRUCTIONS, Size: unix.PERF_ATTR_SIZE_VER1,
		Bits: unix.PerfBitDisabled | unix.PerfBitInherit | unix.PerfBitEnableOnExec | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}
	fd, err := unix.PerfEventOpen(attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNotCountable, err)
	}
	defer unix.Close(fd)
	if err := cmd.Run(); err != nil {
		return 0, err
	}
	var b [8]byte
	if _, err := unix.Read(fd, b[:]); err != nil {
		return 0, fmt.Errorf("read counter: %w", err)
	}
	n := float64(binary.NativeEndian.Uint64(b[:]))
	if n == 0 {
		return 0, fmt.Errorf("%w: the counter stands still", errNotCountable)
	}
	return n, nil
}
