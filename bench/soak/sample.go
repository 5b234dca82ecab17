package soak

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ringside/bench/ask"
	"ringside/bench/netns"
	"ringside/bench/report"
)

// Sample is what ringside takes at one moment.
type Sample struct {
	At time.Duration `json:"at_ns"` // since the beginning

	Memory      float64 `json:"memory_bytes"` // resident, its own
	Go          float64 `json:"go_bytes"`     // that the Go runtime has of the system
	Beside      float64 `json:"beside_bytes"` // of its own, beside Go: SQLite's caches, packets on their way
	Mapped      float64 `json:"mapped_bytes"` // resident, of files and of the kernel's tables and rings, as far as they were looked at
	Heap        float64 `json:"heap_bytes"`   // of Go, that the collector found alive
	Descriptors float64 `json:"descriptors"`
	Goroutines  float64 `json:"goroutines"`
	Threads     float64 `json:"threads"`
	Control     float64 `json:"control_seconds"` // until the control socket had answered
	API         float64 `json:"api_seconds"`     // until a page of calls was there

	CPU   float64 `json:"cpu_seconds"` // since it was started
	Calls float64 `json:"calls"`       // that went on
	Lost  float64 `json:"lost"`        // packets, since it was started
}

func (s Sample) String() string {
	return fmt.Sprintf("%v: %.0f calls, %.1f MiB of Go, %.1f MiB beside, %.1f MiB mapped, %.1f MiB live heap, %.0f descriptors, %.0f goroutines, %.0f threads, control %.1f ms, API %.1f ms, CPU %.0f s, lost %.0f",
		s.At.Round(time.Second), s.Calls, s.Go/(1<<20), s.Beside/(1<<20), s.Mapped/(1<<20), s.Heap/(1<<20), s.Descriptors, s.Goroutines, s.Threads, s.Control*1e3, s.API*1e3, s.CPU, s.Lost)
}

// What grows in a sound service at a constant load, and until when: tables of the last
// minutes (legs that may be linked, events, pools), and SQLite's page caches, 64 MiB that
// a modest load fills slowly.
const (
	tablesFull = 15 * time.Minute
	cachesFull = time.Hour
)

// series are the values that must not rise. What is mapped is not among them: it is
// bounded by the tables that the program opens at the start, and rises until each of their
// pages was looked at.
var series = []struct {
	name, unit string
	scale      float64       // of the unit
	warm       time.Duration // of warming up, before which it is not judged
	of         func(*Sample) float64
	limit      func(*Limits) float64
	reduce     func(report.Figure) float64 // of a window
}{
	// The least of a window: the collector's teeth go up from it.
	{"live heap", "MiB", 1 << 20, 0, func(s *Sample) float64 { return s.Heap }, func(l *Limits) float64 { return l.Heap }, report.Figure.Least},
	{"memory of Go", "MiB", 1 << 20, tablesFull, func(s *Sample) float64 { return s.Go }, func(l *Limits) float64 { return l.Memory }, report.Figure.Least},
	{"memory beside Go", "MiB", 1 << 20, cachesFull, func(s *Sample) float64 { return s.Beside }, func(l *Limits) float64 { return l.Memory }, report.Figure.Least},
	// Those of requests come and go.
	{"descriptors", "", 1, 0, func(s *Sample) float64 { return s.Descriptors }, func(l *Limits) float64 { return l.Descriptors }, report.Figure.Least},
	{"goroutines", "", 1, 0, func(s *Sample) float64 { return s.Goroutines }, func(l *Limits) float64 { return l.Goroutines }, report.Figure.Least},
	{"threads", "", 1, 0, func(s *Sample) float64 { return s.Threads }, func(l *Limits) float64 { return l.Threads }, report.Figure.Least},
	{"control latency", "ms", 1e-3, 0, func(s *Sample) float64 { return s.Control }, func(l *Limits) float64 { return l.Latency }, report.Figure.Median},
	{"API latency", "ms", 1e-3, 0, func(s *Sample) float64 { return s.API }, func(l *Limits) float64 { return l.Latency }, report.Figure.Median},
}

// sample asks the system, the metrics page, the control socket and the API.
func (s *service) sample() (out Sample, err error) {
	pid := s.cmd.Process.Pid // ip gives way to the program
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return out, fmt.Errorf("sample: %w", err)
	}
	out.Memory = 1024 * field(status, "RssAnon:")
	out.Mapped = 1024 * (field(status, "RssFile:") + field(status, "RssShmem:"))
	out.Threads = field(status, "Threads:")
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return out, fmt.Errorf("sample: %w", err)
	}
	out.Descriptors = float64(len(open))

	page, err := s.metrics()
	if err != nil {
		return out, fmt.Errorf("sample: %w", err)
	}
	// With GOGC at 100, which start sets, the next collection begins at twice what was alive
	// at the last. With another (Options.Env) this is another share of it, and rises by that share only.
	out.Heap = field(page, "go_memstats_next_gc_bytes") / 2
	out.Go = field(page, "go_memstats_sys_bytes") - field(page, "go_memstats_heap_released_bytes")
	out.Beside = max(0, out.Memory-out.Go) // not all that Go has was ever touched
	out.Goroutines = field(page, "go_goroutines")
	out.CPU = field(page, "process_cpu_seconds_total")
	out.Lost = field(page, "ringside_lost_packets_total")
	out.Calls = field(page, "ringside_calls_active")
	if out.Goroutines == 0 || out.Heap == 0 || out.Memory == 0 {
		return out, errors.New("sample: the metrics page does not say how many goroutines there are, or how large the heap is")
	}
	for path, took := range map[string]*float64{"/status": &out.Control, "/api/v1/calls?limit=50": &out.API} {
		began := time.Now()
		if _, err := ask.Control(s.control, path); err != nil {
			return out, fmt.Errorf("sample: %w", err)
		}
		*took = time.Since(began).Seconds()
	}
	return out, nil
}

// metrics is the page of metrics, which is served inside the namespace.
func (s *service) metrics() ([]byte, error) {
	return ask.Page(func() (c net.Conn, err error) {
		doErr := s.link.Do(netns.B, func() error {
			c, err = net.Dial("tcp", "127.0.0.1:8080")
			return nil
		})
		return c, errors.Join(doErr, err)
	}, "/metrics")
}

// field is the sum of the numbers of all lines that begin with a name; labels in
// braces may follow it.
func field(page []byte, name string) (sum float64) {
	for lines := bufio.NewScanner(bytes.NewReader(page)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok {
			continue
		}
		if strings.HasPrefix(rest, "{") {
			if _, rest, ok = strings.Cut(rest, "} "); !ok {
				continue
			}
		} else if rest == "" || rest[0] != ' ' && rest[0] != '\t' {
			continue // a longer name
		}
		if f := strings.Fields(rest); len(f) > 0 {
			v, _ := strconv.ParseFloat(f[0], 64)
			sum += v
		}
	}
	return sum
}
