package daemon

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// States of the service, from good to bad.
const (
	StateIdle     = "idle"     // no interface is set: nothing is captured
	StateHealthy  = "healthy"  // everything that is captured is measured and kept
	StateDegraded = "degraded" // something is lost or at risk
	StateFailing  = "failing"  // it does not do its job
)

// Condition is something that is wrong.
type Condition struct {
	Key     string    `json:"key"`
	Text    string    `json:"text"`
	Failing bool      `json:"failing,omitempty"`
	Since   time.Time `json:"since"`
	seen    time.Time // last
}

// Health is how the service does, and why.
type Health struct {
	State string      `json:"state"`
	Since time.Time   `json:"since"`
	Why   []Condition `json:"why,omitempty"` // the oldest first
}

// healthHold is for how long a condition counts that was seen: what comes and goes
// every few seconds is one condition, not many.
const healthHold = time.Minute

// health keeps the conditions over time.
type health struct {
	idle bool // nothing is captured, and that is meant

	mu    sync.Mutex
	state string
	since time.Time
	why   []Condition
}

// look takes what is wrong now, and reports whether the state has become worse.
func (h *health) look(now time.Time, found []Condition) (worse bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range found {
		i := slices.IndexFunc(h.why, func(o Condition) bool { return o.Key == c.Key })
		if i < 0 {
			c.Since = now
			h.why = append(h.why, c)
			i = len(h.why) - 1
		}
		h.why[i].Text, h.why[i].Failing, h.why[i].seen = c.Text, c.Failing, now
	}
	h.why = slices.DeleteFunc(h.why, func(c Condition) bool { return now.Sub(c.seen) >= healthHold })
	state := StateHealthy
	if h.idle {
		state = StateIdle
	}
	for _, c := range h.why {
		if c.Failing {
			state = StateFailing
			break
		}
		state = StateDegraded
	}
	if state == h.state {
		return false
	}
	worse = badness(state) > badness(h.state)
	h.state, h.since = state, now
	return worse
}

// setIdle says that from now on nothing is captured, and that this is meant.
func (h *health) setIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idle = true
}

func badness(state string) int {
	return slices.Index([]string{StateDegraded, StateFailing}, state)
}

func (h *health) now() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Health{h.state, h.since, slices.Clone(h.why)}
}

// conditions are what is wrong in a second of a capture.
func conditions(s *Status, db StoreStatus) (out []Condition) {
	add := func(failing bool, key, format string, args ...any) {
		out = append(out, Condition{Key: key, Text: fmt.Sprintf(format, args...), Failing: failing})
	}
	for i := range s.Lost {
		if r := &s.Lost[i]; r.Rate > 0 {
			where := r.Stage + " " + r.Reason
			if r.Interface != "" {
				where = r.Interface + " " + where
			}
			add(false, "lost "+where, "packets are lost: %s, %.0f a second", where, r.Rate)
		}
	}
	for _, g := range s.Gaps {
		add(false, "gap "+g.Interface+g.Between, "the ledger does not balance: %s", g)
	}
	for _, d := range s.Down {
		add(len(s.Down) == s.Interfaces, "down "+d, "%s", d)
	}
	if db.Away {
		add(!db.Queue, "store away", "the store takes nothing: %s", db.Error)
	}
	if db.LostRate > 0 {
		add(true, "store lost", "records are lost: %.0f a second are neither stored nor queued", db.LostRate)
	}
	if db.Parked > 0 {
		add(false, "store parked", "the store rejected %d records: see ringside store parked", db.Parked)
	}
	if s.SpoolTrouble != "" {
		add(false, "spool", "%s", s.SpoolTrouble)
	}
	return out
}

// spanWindow is for how long, or twice that, calls of one direction are counted.
const spanWindow = 5 * time.Minute

// spanAfter is for how long a mirror port must look wrong.
const spanAfter = time.Minute

// span watches what mirror ports deliver: a port that is set up wrong looks
// healthy from here, and captures nothing of use.
type span struct {
	ports map[string]*spanPort
	seen  spanSeen
	since [spanKinds]time.Time

	base [2]spanSeen // at the beginning of the window of calls, and of the one before
	at   time.Time   // when this window began
}

// spanPort is one interface.
type spanPort struct {
	packets uint64
	at      time.Time // when the last packet was seen to have come
}

// spanSeen is how much of what has come.
type spanSeen struct{ sip, rtp, packets, calls, oneWay uint64 }

const (
	spanNothing  = iota // packets, but no SIP and no RTP
	spanNoSIP           // RTP alone
	spanOneWay          // one direction of all calls
	spanKinds           //
	leastRTP     = 50   // a second, that some SIP belongs to
	leastOneWays = 10   // calls
)

// port looks at an interface that has a link, and reports for how long nothing has
// come.
func (s *span) port(name string, packets uint64, up bool, now time.Time) time.Duration {
	if s.ports == nil {
		s.ports = make(map[string]*spanPort)
	}
	p := s.ports[name]
	if p == nil || !up || p.packets != packets {
		s.ports[name] = &spanPort{packets, now}
		return 0
	}
	return now.Sub(p.at)
}

// look takes the counters of all interfaces together, and says what is wrong with
// what they deliver.
func (s *span) look(seen spanSeen, now time.Time) (out []Condition) {
	before := s.seen
	s.seen = seen
	if now.Sub(s.at) >= spanWindow {
		s.base, s.at = [2]spanSeen{seen, s.base[0]}, now
	}
	calls, oneWay := seen.calls-s.base[1].calls, seen.oneWay-s.base[1].oneWay
	is := [spanKinds]bool{
		spanNothing: seen.packets > before.packets && seen.sip == before.sip && seen.rtp == before.rtp,
		spanNoSIP:   seen.sip == before.sip && seen.rtp >= before.rtp+leastRTP,
		spanOneWay:  calls >= leastOneWays && 10*oneWay >= 9*calls,
	}
	// A second without packets says nothing, and changes nothing.
	quiet := seen.packets == before.packets
	texts := [spanKinds]string{
		spanNothing: "packets come, but no SIP and no RTP: does the mirror port send more than broadcasts, and are the SIP ports right?",
		spanNoSIP:   "RTP comes without any SIP: is signalling on another port (sipport), or on a link that is not mirrored?",
		spanOneWay:  "only one direction of calls is seen: let the mirror port copy both, received and sent",
	}
	for k := range is {
		switch {
		case is[k] && s.since[k].IsZero():
			s.since[k] = now
		case !is[k] && !quiet:
			s.since[k] = time.Time{}
		}
		if !s.since[k].IsZero() && now.Sub(s.since[k]) >= spanAfter {
			out = append(out, Condition{Key: fmt.Sprint("span ", k), Text: texts[k]})
		}
	}
	return out
}
