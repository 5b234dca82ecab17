package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"
)

// sample is what the service looked like in one second.
type sample struct {
	Time   time.Time `json:"time"`
	State  string    `json:"state"`
	Active uint64    `json:"calls"`
	Calls  float64   `json:"calls_per_s"`
	SIP    float64   `json:"sip_per_s"`
	RTP    float64   `json:"rtp_per_s"`
	Bits   float64   `json:"bits_per_s"`
	Lost   float64   `json:"lost_per_s"`
	Rings  float64   `json:"rings"`
	Spool  float64   `json:"spool"`
	Store  float64   `json:"store"`
	Away   bool      `json:"store_away,omitempty"`
	CPU    []float64 `json:"cpu,omitempty"`
	Memory int64     `json:"memory_bytes"`
	Heap   uint64    `json:"heap_bytes"`
	Gos    int       `json:"goroutines"`
}

// flightSpan is how many seconds the flight recorder remembers.
const flightSpan = 15 * 60

// flight is the flight recorder: the last quarter of an hour, second by second, in
// memory. When something goes wrong it is written to a file, so that the
// minutes before are known, too.
type flight struct {
	dir string // empty: it is written nowhere

	mu      sync.Mutex
	ring    [flightSpan]sample
	next    int
	full    bool
	written time.Time
}

func (f *flight) add(s sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring[f.next] = s
	f.next = (f.next + 1) % flightSpan
	f.full = f.full || f.next == 0
}

// samples are those remembered, the oldest first.
func (f *flight) samples() []sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.full {
		return slices.Clone(f.ring[:f.next])
	}
	return append(slices.Clone(f.ring[f.next:]), f.ring[:f.next]...)
}

// last is the newest sample.
func (f *flight) last() sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ring[(f.next+flightSpan-1)%flightSpan]
}

// What is kept of recordings, and how often one is made.
const (
	flightEvery = 5 * time.Minute
	flightFiles = 10
	flightName  = "flight-"
)

// write puts what is remembered, the reason and the profiles into the state
// directory, unless that was done a moment ago. It returns the path, empty if
// nothing was written.
func (f *flight) write(now time.Time, why []string) (string, error) {
	f.mu.Lock()
	early := now.Sub(f.written) < flightEvery
	if f.dir != "" && !early {
		f.written = now
	}
	f.mu.Unlock()
	if f.dir == "" || early {
		return "", nil
	}
	path := filepath.Join(f.dir, flightName+now.UTC().Format("20060102T150405Z")+".json")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return "", fmt.Errorf("write flight recording: %w", err)
	}
	err = errors.Join(f.encode(file, why), file.Close(), f.prune())
	if err != nil {
		return "", fmt.Errorf("write flight recording %s: %w", path, err)
	}
	return path, nil
}

// encode writes the recording: lines of JSON, first why, then the samples.
func (f *flight) encode(to io.Writer, why []string) error {
	enc := json.NewEncoder(to)
	goroutines := new(strings.Builder)
	_ = pprof.Lookup("goroutine").WriteTo(goroutines, 1)
	err := enc.Encode(map[string]any{"why": why, "goroutines": goroutines.String()})
	for _, s := range f.samples() {
		err = errors.Join(err, enc.Encode(s))
	}
	return err
}

// recordings lists the files of recordings, the oldest first.
func (f *flight) recordings() []string {
	if f.dir == "" {
		return nil
	}
	list, _ := filepath.Glob(filepath.Join(f.dir, flightName+"*.json"))
	slices.Sort(list)
	return list
}

// prune removes the oldest recordings.
func (f *flight) prune() error {
	list := f.recordings()
	var errs []error
	for len(list) > flightFiles {
		errs = append(errs, os.Remove(list[0]))
		list = list[1:]
	}
	return errors.Join(errs...)
}

// again lets write make a recording, however long ago the last one was.
func (f *flight) again() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written = time.Time{}
}
