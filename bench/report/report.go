// Package report is what a run of the benchmark suite has found: figures with
// the noise that they have, written as JSON, as Markdown and as plots in SVG,
// and compared with those of another run.
//
// It measures nothing: bench/suite fills a Report, and any program can read one
// back from its JSON.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Schema is the version of the JSON. It changes when a field changes its meaning.
const Schema = 1

// Report is one run of the suite.
type Report struct {
	Schema    int           `json:"schema"`
	Date      time.Time     `json:"date"`
	Ringside  string        `json:"ringside"` // its version
	Command   string        `json:"command"`  // that repeats the run
	Took      time.Duration `json:"took_ns"`
	Host      Host          `json:"host"`
	Method    Method        `json:"method"`
	Noise     Noise         `json:"noise"`
	Files     []File        `json:"files"`
	Scenarios []Scenario    `json:"scenarios"`
	Peers     []Peer        `json:"peers"`
}

// Host is the machine and the link that it was measured on.
type Host struct {
	CPU      string  `json:"cpu"`
	CPUs     int     `json:"cpus"`
	Memory   int64   `json:"memory_bytes"`
	Kernel   string  `json:"kernel"`
	System   string  `json:"system"` // distribution
	Governor string  `json:"governor,omitempty"`
	Virtual  string  `json:"virtual,omitempty"` // hypervisor, if it says so
	Load     float64 `json:"load"`              // of one minute, when the run began
	Link     string  `json:"link"`              // as in "veth" or "wire eth1 to eth2"
	NIC      string  `json:"nic"`
	Driver   string  `json:"driver"`
	Speed    string  `json:"speed,omitempty"`
	Queues   int     `json:"queues"` // that the receiving interface has
	XDP      string  `json:"xdp"`    // as ringside said at its start
	Send     []int   `json:"send_cpus"`
	Receive  []int   `json:"receive_cpus"`
}

// Method says how the run was made.
type Method struct {
	Quick  bool          `json:"quick"`
	Runs   int           `json:"runs"` // rounds in which all take turns
	Span   time.Duration `json:"span_ns"`
	Free   float64       `json:"free"`  // share that may be lost where nothing is said to be lost
	Tries  int           `json:"tries"` // of a rate
	Exact  float64       `json:"exact"` // the search ends when two rates are as near
	Calls  int           `json:"calls"` // at the same time, where there is media
	Sender string        `json:"sender"`
}

// Noise is how much the machine itself varied.
type Noise struct {
	// Loop is the time of one turn of the calibration loop, ns, taken before and
	// after every measurement.
	Loop Figure `json:"loop_ns"`
	// Share is the most by which figures of two runs may differ for no reason, as
	// a share: from the loop, from the rates of rounds, and from how exact the search is.
	Share float64 `json:"share"`
	// Stolen is the share of their time that the host of a virtual machine has had the
	// CPUs, and Again how many measurements were made again for that.
	Stolen float64 `json:"stolen,omitempty"`
	Again  int     `json:"again,omitempty"`
}

// Peer is another program that may be measured beside ringside.
type Peer struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Missing bool   `json:"missing,omitempty"` // it is not installed
	Remedy  string `json:"remedy,omitempty"`  // where it is had from
}

// File is a capture that programs have read.
type File struct {
	Name    string    `json:"name"`
	What    string    `json:"what"`
	Packets uint64    `json:"packets"`
	Calls   uint64    `json:"calls"` // all of them at the same time
	Bytes   int64     `json:"bytes"`
	Rows    []FileRow `json:"rows"` // that of ringside first
}

// FileRow is what one program did with a file.
type FileRow struct {
	Program string `json:"program"`
	Command string `json:"command"`
	CPU     Figure `json:"cpu_s"`  // user and system
	Wall    Figure `json:"wall_s"` // time of day
	Memory  Figure `json:"memory_kib"`
	Counted uint64 `json:"counted,omitempty"` // packets or calls that it says it has read; 0: it does not say
	Counts  string `json:"counts,omitempty"`  // what was counted
	Failed  string `json:"failed,omitempty"`
}

// Scenario is one kind of live load.
type Scenario struct {
	Name    string `json:"name"`
	What    string `json:"what"`
	PerCall string `json:"per_call,omitempty"` // what a call is, where its cost is given
	Queues  int    `json:"queues"`
	Rows    []Row  `json:"rows"` // that of ringside first
}

// Row is what one program did under the load of a scenario.
type Row struct {
	Program string `json:"program"`
	Command string `json:"command"`
	Peer    bool   `json:"peer,omitempty"`
	Failed  string `json:"failed,omitempty"`
	From    string `json:"from,omitempty"` // scenario with the same traffic in which it was measured, if not this one

	// Rate is the highest rate without loss, packets a second, of each round.
	Rate Figure `json:"rate_pps"`
	// Sender says that the sender could do no more: the program may.
	Sender bool `json:"sender_limit,omitempty"`
	// Stolen says that the host of the virtual machine had its CPUs in all measurements
	// that end the search: the program may do more.
	Stolen bool `json:"stolen,omitempty"`

	CostAt  float64 `json:"cost_at_pps"` // the rate at which costs are taken
	Kernel  Figure  `json:"kernel_ns"`   // of the receiving threads of the kernel, a packet
	User    Figure  `json:"program_ns"`  // of the program, user and system, a packet
	Sum     Figure  `json:"sum_ns"`
	Call    Figure  `json:"call_us"`           // see Scenario.PerCall
	Memory  Figure  `json:"memory_kib"`        // growth for each call
	Threads []Share `json:"threads,omitempty"` // of CPU time, in the measurement of costs

	Curve   []Point `json:"curve,omitempty"`   // by rate
	Drops   []Drop  `json:"drops,omitempty"`   // far beyond the highest rate
	Records Records `json:"records,omitempty"` // at the highest rate
}

// Share is a thread with the share of one CPU that it took.
type Share struct {
	Thread string  `json:"thread"`
	Share  float64 `json:"share"`
}

// Point is one measurement: what was offered, and which share of it was lost.
type Point struct {
	Offered float64 `json:"offered_pps"`
	Lost    float64 `json:"lost"`
}

// Drop is where packets ended that were to go on.
type Drop struct {
	Stage   string `json:"stage"`
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
	Of      uint64 `json:"of"` // offered in that measurement
}

// Records is what the records say, held against what was sent.
type Records struct {
	Calls       uint64 `json:"calls"` // sent
	CallsFound  uint64 `json:"calls_found"`
	Packets     uint64 `json:"packets"` // of RTP, sent
	PacketsHere uint64 `json:"packets_found"`
	Known       bool   `json:"known"` // the program keeps records
}

// WriteJSON writes a report that ReadJSON reads.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// ReadJSON reads a report.
func ReadJSON(in io.Reader) (*Report, error) {
	r := &Report{}
	if err := json.NewDecoder(in).Decode(r); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("read report: its schema is %d, this program knows %d: run the suite again", r.Schema, Schema)
	}
	return r, nil
}
