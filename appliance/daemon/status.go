package daemon

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// Status is how a live capture does. Rates are those since the status before.
type Status struct {
	Span time.Duration `json:"span_ns"` // since the status before

	Active uint64  `json:"calls"`       // that go on
	Calls  float64 `json:"calls_per_s"` // begun
	SIP    float64 `json:"sip_per_s"`   // messages
	RTP    float64 `json:"rtp_per_s"`   // packets, those that the kernel measures included
	Bits   float64 `json:"bits_per_s"`  // received by the interfaces

	Lost  []LiveRow `json:"lost,omitempty"` // since the start, by place; Rate is that of the span
	Gaps  []Gap     `json:"gaps,omitempty"` // in the ledger, those that last
	Down  []string  `json:"down,omitempty"` // interfaces that deliver nothing at the moment, and why
	Rings float64   `json:"rings"`          // share of the blocks that workers hold, of the fullest ring set
	Spool float64   `json:"spool"`          // share of the spool's memory in use; -1: nothing is stored

	CPU    []float64 `json:"cpu,omitempty"` // of each worker's thread, as a share of one CPU
	Memory int64     `json:"memory_bytes"`  // resident, of the process

	Interfaces   int    `json:"interfaces"`              // that are captured
	SpoolTrouble string `json:"spool_trouble,omitempty"` // what keeps the spool from storing
}

// lastStatus is what rates are made from.
type lastStatus struct {
	mu                    sync.Mutex
	at                    time.Time
	calls, sip, rtp, bits uint64
	lost                  map[[3]string]uint64
	cpu                   []time.Duration
}

// Status looks at the capture. Its rates are those since it was called last.
func (l *Live) Status() Status { return l.statusSince(&l.status) }

// statusSince looks at the capture, with rates since the last look by s.
func (l *Live) statusSince(s *lastStatus) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.at.IsZero() {
		s.at, s.lost = l.began, make(map[[3]string]uint64)
		s.cpu = make([]time.Duration, len(l.workers))
	}
	out := Status{Span: now.Sub(s.at), Spool: -1, Memory: residentBytes()}
	rate := out.rate
	fl := l.group.Stats()
	out.Active = fl.Calls.Open
	out.Calls, out.SIP = rate(&s.calls, fl.Calls.Created), rate(&s.sip, fl.SIPMessages)
	rows, gaps := l.ledger.snapshot()
	bits, rtp := uint64(0), fl.RTP
	for _, p := range l.ports {
		bytes, metered := p.traffic()
		bits, rtp = bits+8*bytes, rtp+metered
	}
	for _, r := range append(rows, l.lostBehind(fl.Refused, fl.NotRecorded)...) {
		if !r.Lost || r.Packets == 0 {
			continue
		}
		key := [3]string{r.Interface, r.Stage, r.Reason}
		last := s.lost[key]
		r.Rate = rate(&last, r.Packets)
		s.lost[key] = last
		out.Lost = append(out.Lost, r)
	}
	out.Gaps = gaps
	out.RTP, out.Bits = rate(&s.rtp, rtp), rate(&s.bits, bits)
	for _, p := range l.ports {
		out.Rings = max(out.Rings, p.rings.Counts().Held)
		for _, f := range p.feeds {
			out.Rings = max(out.Rings, f.Stats().Held)
		}
		if text, _ := p.rings.State(); text != "" {
			out.Down = append(out.Down, p.name+": "+text)
		}
	}
	out.Interfaces = len(l.ports)
	out.Spool, out.SpoolTrouble = l.spoolUse()
	for i, w := range l.workers {
		used := threadTime(int(w.thread.Load()))
		out.CPU = append(out.CPU, max(0, (used-s.cpu[i]).Seconds()/max(out.Span.Seconds(), 1e-3)))
		s.cpu[i] = used
	}
	s.at = now
	return out
}

// rate is how much more there is of something now than there was last, a second.
func (s *Status) rate(last *uint64, total uint64) float64 {
	d := float64(total - *last)
	if total < *last {
		d = 0
	}
	*last = total
	return d / max(s.Span.Seconds(), 1e-3)
}

// statusSince looks at the reading, with rates since the last look by s.
func (r *Read) statusSince(s *lastStatus) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.at.IsZero() {
		s.at = now.Add(-time.Second)
	}
	out := Status{Span: now.Sub(s.at), Memory: residentBytes()}
	out.Spool, out.SpoolTrouble = r.spoolUse()
	fl := r.group.Stats()
	out.Active = fl.Calls.Open
	out.Calls, out.SIP = out.rate(&s.calls, fl.Calls.Created), out.rate(&s.sip, fl.SIPMessages)
	out.RTP, out.Bits = out.rate(&s.rtp, fl.RTP), out.rate(&s.bits, 8*uint64(r.source.Stats().Bytes))
	s.at = now
	return out
}

// spoolUse is the share of the spool's memory that is in use, -1 if nothing is
// stored, and what keeps it from storing.
func (p *pipeline) spoolUse() (use float64, trouble string) {
	if p.record == nil {
		return -1, ""
	}
	st := p.record.spool.Stats()
	switch {
	case st.Away:
		trouble = "the volume of the spool is not mounted: nothing is stored until it is back"
	case st.Stopped != nil:
		trouble = fmt.Sprintf("the spool does not take packets: %v", st.Stopped)
	case st.Short:
		trouble = "the volume of the spool is full up to its reserve: media are not stored until there is room"
	case st.KeepErr != nil:
		trouble = fmt.Sprintf("old segments of the spool cannot be removed: %v", st.KeepErr)
	}
	return float64(st.Used) / float64(max(st.Pages, 1)), trouble
}

// lostBehind lists what is lost behind the decoders, as rows of the live ledger.
func (l *Live) lostBehind(refused, notRecorded uint64) []LiveRow {
	out := []LiveRow{{Stage: "streams", Reason: "table full, not measured", Packets: refused, Lost: true}}
	if l.record == nil {
		return out
	}
	lost := uint64(0)
	for _, c := range l.record.spool.Stats().Lost {
		lost += c.Packets
	}
	return append(out, LiveRow{Stage: StageSpool, Reason: "no memory", Packets: notRecorded, Lost: true},
		LiveRow{Stage: StageSpool, Reason: "disk failed", Packets: lost, Lost: true})
}

// ticksPerSecond is in what unit the kernel says how long a thread has run
// (USER_HZ of all architectures that ringside is built for).
const ticksPerSecond = 100

// threadTime is how long a thread of this process has run; 0 for one that is not
// there.
func threadTime(tid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
	if err != nil {
		return 0
	}
	return parseThreadTime(b)
}

// parseThreadTime reads utime and stime of proc(5), fields 14 and 15. The name
// before them may hold anything.
func parseThreadTime(stat []byte) time.Duration {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// residentBytes is the memory of this process (statm of proc(5)).
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
