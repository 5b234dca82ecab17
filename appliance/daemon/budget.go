package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"ringside/writer/spool"
)

// Bytes is a number of bytes that is written with its unit.
type Bytes = spool.Bytes

// BudgetPart is memory that one part may use at the most.
type BudgetPart struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Heap  bool   `json:"heap"` // of the Go heap, which the collector keeps within its limit
}

// Budget is all memory that the service may use, part by part.
type Budget struct {
	Parts []BudgetPart `json:"parts"`
	Limit int64        `json:"limit_bytes"` // what there is
	From  string       `json:"from"`        // who says so
}

// Sum is that of all parts.
func (b *Budget) Sum() (sum int64) {
	for _, p := range b.Parts {
		sum += p.Bytes
	}
	return sum
}

// heapLimit is what remains for the Go heap, once everything else has its part.
func (b *Budget) heapLimit() int64 {
	left := b.Limit
	for _, p := range b.Parts {
		if !p.Heap {
			left -= p.Bytes
		}
	}
	return left
}

// String is the budget in a line.
func (b *Budget) String() string {
	var parts []string
	for _, p := range b.Parts {
		parts = append(parts, p.Name+" "+Bytes(p.Bytes).String())
	}
	return fmt.Sprintf("memory: at most %s of %s (%s): %s", Bytes(b.Sum()), Bytes(b.Limit), b.From, strings.Join(parts, ", "))
}

// What an entry of a table takes, with its share of the index and of the spare
// room of maps and slices: estimates, from the memory that reading 20,000 calls took.
const (
	callBytes    = 6 << 10 // ten messages, three agents, two media lines
	streamBytes  = 2 << 10 // with its place among held ones
	recordBytes  = 8 << 10 // a record on its way to the store
	sessionBytes = 128 << 20
	fixedBytes   = 96 << 20 // program, stacks, directory, decoders, caches of HTTP
	storeBytes   = 64 << 20 // page caches of SQLite, as store.Options has them
	leastHeap    = 64 << 20
)

// Tables that are not given a limit get what fits, up to these.
const (
	mostCalls, leastCalls     = 100_000, 2_000
	mostStreams, leastStreams = 1_000_000, 10_000
)

// budgetOf adds up what the options ask for, and gives tables that have no limit
// of their own as much as fits. It refuses what does not fit.
func budgetOf(o *LiveOptions, limit int64, from string) (*Budget, error) {
	b := &Budget{Limit: limit, From: from}
	add := func(name string, bytes int64, heap bool) {
		if bytes > 0 {
			b.Parts = append(b.Parts, BudgetPart{name, bytes, heap})
		}
	}
	rings := o.RingMemory
	if rings == 0 {
		rings = defaultRingMemory
	}
	add("rings", rings*int64(len(o.Interfaces)), false)
	if o.Dedicated && (o.Spool != nil || !o.KernelMeter) { // what is recorded, or measured here, comes past the rings
		add("feeds", rings*int64(len(o.Interfaces)), false)
	}
	if o.Spool != nil {
		memory := o.Spool.Memory
		if memory == 0 {
			memory = defaultSpoolMemory
		}
		add("spool", memory, false)
	}
	if o.Dedicated && o.KernelMeter {
		add("meters", int64(len(o.Interfaces))*meterBytes, false)
	}
	add("program", fixedBytes, true)
	add("store", storeBytes+storeQueue*recordBytes, true)
	add("TCP", sessionBytes, true)
	left := b.Limit - b.Sum()
	calls, streams := int64(o.Limits.MaxCalls), int64(o.MaxStreams)
	fit := func(given *int64, share, each, least, most int64) {
		if *given == 0 {
			*given = min(most, max(least, share/each))
		}
	}
	fit(&calls, left/2, callBytes, leastCalls, mostCalls)
	add("calls", calls*callBytes, true)
	fit(&streams, left-calls*callBytes, streamBytes, leastStreams, mostStreams)
	add("streams", streams*streamBytes, true)
	if b.Sum() > b.Limit {
		return nil, fmt.Errorf("%s: %w: that does not fit: make ringbuffer, max_buffer_mem or the limits of calls smaller, or give it more memory", b, ErrBadOption)
	}
	o.Limits.MaxCalls, o.MaxStreams = int(calls), int(streams)
	return b, nil
}

// meterBytes is what the tables of the filter take in the kernel, of an interface.
const meterBytes = 96 << 20

// storeQueue is how many records wait for the store at the most.
const storeQueue = 4096

// memoryLimit is how much memory this process may use: that of its control group,
// or most of the machine's.
func memoryLimit() (int64, string) {
	for dir := cgroupDir(); dir != "" && dir != "/sys/fs" && dir != "/"; dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(dir, "memory.max"))
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
			return n, "memory.max of the control group"
		}
	}
	for key, v := range readMemInfo("/proc/meminfo") {
		if key == "MemTotal" {
			return v - v/5, "four fifths of the machine"
		}
	}
	return 4 << 30, "assumed, as the machine does not say"
}

// readMemInfo reads what proc_meminfo(5) says, in bytes.
func readMemInfo(path string) map[string]int64 {
	b, _ := os.ReadFile(path)
	out := make(map[string]int64)
	for line := range strings.Lines(string(b)) {
		name, text, _ := strings.Cut(line, ":")
		if f := strings.Fields(text); len(f) > 0 {
			if v, err := strconv.ParseInt(f[0], 10, 64); err == nil {
				out[name] = v << 10
			}
		}
	}
	return out
}

// limitHeap tells the collector what it has, unless the user has told it.
func limitHeap(b *Budget) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(max(leastHeap, b.heapLimit()))
	}
}
