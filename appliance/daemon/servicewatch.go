package daemon

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"
)

// ServiceStatus is how a service does.
type ServiceStatus struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Sensor  uint16    `json:"sensor"` // its number, as in the records
	Name    string    `json:"name"`   // what people call it
	Started time.Time `json:"started"`
	Time    time.Time `json:"time"`

	Health  Health      `json:"health"`
	Pending []string    `json:"pending,omitempty"` // changes that hold after a restart only
	Ready   bool        `json:"ready"`
	LastRun string      `json:"previous_run,omitempty"` // how it ended, if not in order
	Capture Status      `json:"capture"`
	Store   StoreStatus `json:"store"`
	Budget  *Budget     `json:"memory,omitempty"`
	Heap    uint64      `json:"heap_bytes"`

	URL string `json:"url,omitempty"` // of the web UI
}

func pid() int { return os.Getpid() }

// watchEvery is how often the service looks at itself.
const watchEvery = time.Second

// standstill is how long workers may stand still before the service manager is
// not told any more that all is well.
const standstill = 10 * time.Second

// notMoving is what is wrong then.
const notMoving = "worker threads do not move"

// watch looks at the service until ctx ends: what it does, whether something is
// wrong, and tells whoever wants to know.
func (s *Service) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	var saved, told time.Time
	for {
		now := time.Now()
		st := s.look(ctx, now)
		if s.ready.Load() {
			if s.movesAt(now) {
				s.notify.alive()
			}
			if now.Sub(told) >= runStateEvery {
				told = now
				s.notify.status(st.line())
			}
		} else if s.isReady(ctx) {
			s.ready.Store(true)
			told = now
			s.notify.ready(st.line())
		}
		if now.Sub(saved) >= runStateEvery {
			saved = now
			s.run.Updated, s.run.State, s.run.Memory, s.run.Status = now.UTC(), st.Health.State, st.Capture.Memory, st.line()
			if err := s.saveState(); err != nil {
				s.o.Log.Error(err.Error())
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look takes the second's sample.
func (s *Service) look(ctx context.Context, now time.Time) ServiceStatus {
	st := ServiceStatus{
		Version: s.o.Version, PID: pid(), Started: s.began, Time: now, LastRun: s.last, Budget: s.budget,
		Store: s.store.look(now), Heap: heapBytes(), URL: s.url(), Ready: s.ready.Load(),
	}
	st.Sensor, st.Name = s.sensor()
	st.Pending = s.config.later()
	if why := s.RulesPending(); why != "" {
		st.Pending = append(st.Pending, "capture rules: "+why)
	}
	st.Capture.Spool, st.Capture.Memory = -1, residentBytes()
	if s.input != nil {
		st.Capture = s.input.statusSince(&s.rates)
	}
	if s.live != nil {
		s.live.askDecoders()
	}
	found := conditions(&st.Capture, st.Store)
	if why := s.config.trouble(); why != "" {
		found = append(found, Condition{Key: "config", Text: why})
	}
	if s.live != nil && !s.over.Load() {
		s.probe(ctx, now)
		found = append(found, s.mirrorFaults(now)...)
		if !s.movesAt(now) {
			found = append(found, Condition{Key: "standstill", Text: notMoving, Failing: true})
		}
	}
	worse := s.health.look(now, found)
	st.Health = s.health.now()
	s.current.Store(&st)
	s.flight.add(st.sample())
	if worse && st.Health.State != StateIdle {
		s.alarm(now, st.Health)
	}
	return st
}

// alarm says what is wrong, and writes the flight recording.
func (s *Service) alarm(now time.Time, h Health) {
	var why []string
	for _, c := range h.Why {
		why = append(why, c.Text)
	}
	tell := s.o.Log.Warn
	if h.State == StateFailing {
		tell = s.o.Log.Error
	}
	tell(h.State + ": " + strings.Join(why, "; "))
	path, err := s.flight.write(now, why)
	switch {
	case err != nil:
		s.o.Log.Error(err.Error())
	case path != "":
		s.o.Log.Info("the last minutes are in " + path)
	}
}

// probe asks the workers for a sign of life.
func (s *Service) probe(ctx context.Context, now time.Time) {
	if s.live.group.Silent(ctx, watchEvery/2) == 0 {
		s.stalled.Store(0)
	} else {
		s.stalled.CompareAndSwap(0, max(1, int64(now.Sub(s.began))))
	}
}

// movesAt reports whether the workers move, or have not stood still for long.
func (s *Service) movesAt(now time.Time) bool {
	at := s.stalled.Load() // not by the time of day, which may be set meanwhile
	return at == 0 || int64(now.Sub(s.began))-at < int64(standstill)
}

// isReady reports whether the first ring is live and records are kept: by the
// store, or by the queue beside it.
func (s *Service) isReady(ctx context.Context) bool {
	for _, c := range s.checks(ctx) {
		if !c.ok {
			return false
		}
	}
	return true
}

// check is one thing that must work for the service to do its job.
type check struct {
	name string
	ok   bool
	why  string
}

func (s *Service) checks(ctx context.Context) (out []check) {
	if s.live != nil {
		down := s.Status().Capture.Down
		c := check{"rings", s.movesAt(time.Now()), notMoving}
		if c.ok && len(down) == len(s.live.ports) {
			c.ok, c.why = false, strings.Join(down, "; ")
		}
		out = append(out, c)
	}
	if s.store != nil {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		err := s.store.answers(ctx)
		c := check{name: "store", ok: err == nil || s.store.queue}
		if err != nil {
			c.why = err.Error()
		}
		out = append(out, c)
	}
	if trouble := s.Status().Capture.SpoolTrouble; s.input != nil && s.Status().Capture.Spool >= 0 {
		out = append(out, check{"spool", trouble == "", trouble})
	}
	for i := range out {
		if out[i].ok && out[i].name != "store" {
			out[i].why = ""
		}
	}
	return out
}

// mirrorFaults are what is wrong with what mirror ports deliver.
func (s *Service) mirrorFaults(now time.Time) (out []Condition) {
	seen := spanSeen{calls: s.outcome.calls.Load(), oneWay: s.outcome.oneWay.Load()}
	fl := s.live.group.Stats()
	seen.sip = fl.SIPMessages
	seen.rtp = fl.RTP
	for _, p := range s.live.ports {
		packets, metered, up := p.arrived()
		seen.packets += packets
		seen.rtp += metered
		if idle := s.span.port(p.name, packets, up, now); idle >= spanAfter {
			out = append(out, Condition{
				Key:  "silent " + p.name,
				Text: fmt.Sprintf("%s has a link, but no packet has come for %.0f s: is the mirror port on, and this its cable?", p.name, idle.Seconds()),
			})
		}
	}
	return append(out, s.span.look(seen, now)...)
}

// sample is what the flight recorder keeps of a status.
func (s *ServiceStatus) sample() sample {
	c := &s.Capture
	out := sample{
		Time: s.Time, State: s.Health.State, Active: c.Active, Calls: c.Calls, SIP: c.SIP, RTP: c.RTP, Bits: c.Bits,
		Rings: c.Rings, Spool: c.Spool, Store: s.Store.Waiting, Away: s.Store.Away, CPU: c.CPU,
		Memory: c.Memory, Heap: s.Heap, Gos: runtime.NumGoroutine(),
	}
	for i := range c.Lost {
		out.Lost += c.Lost[i].Rate
	}
	return out
}

// line is the status in one line for the service manager.
func (s *ServiceStatus) line() string {
	c := &s.Capture
	out := fmt.Sprintf("%s: %d calls, %.0f SIP/s, %.0f RTP/s, %.1f Mbit/s", s.Health.State, c.Active, c.SIP, c.RTP, c.Bits/1e6)
	lost := uint64(0)
	for i := range c.Lost {
		lost += c.Lost[i].Packets
	}
	if lost > 0 {
		out += fmt.Sprintf(", %d packets lost", lost)
	}
	for i := range s.Health.Why {
		if i == 0 {
			out += ": " + s.Health.Why[i].Text
		}
	}
	return out
}

// heapBytes is the memory of live and dead objects of the Go heap.
func heapBytes() uint64 {
	m := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(m)
	if m[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return m[0].Value.Uint64()
}
