package daemon

import (
	"sync"
	"time"

	"ringside/appliance/api"
	"ringside/dataplane/nic"
)

// apiCapture is api.Capture.
type apiCapture struct {
	s *Service

	mu    sync.Mutex
	bytes map[string]counted // of interfaces, for rates
}

// counted is a counter at a moment.
type counted struct {
	at   time.Time
	n    uint64
	rate float64
}

// Interfaces implements api.Capture.
func (a *apiCapture) Interfaces() []api.Interface {
	l := a.s.live
	out := []api.Interface{}
	if l == nil {
		return out
	}
	rows, _ := l.Ledger()
	busy := a.s.Status().Capture.CPU
	for _, p := range l.ports {
		i := p.describe()
		for k := range rows {
			r := &rows[k]
			switch {
			case r.Interface != p.name:
			case r.Lost:
				i.Lost += r.Packets
			case r.Stage == StageNIC && (r.Reason == "received" || r.Reason == "sent"):
				i.Packets += r.Packets
				i.Bytes += r.Bytes
				i.PacketRate += r.Rate
			}
		}
		i.BitRate = 8 * a.rate(p.name, i.Bytes)
		i.Rings = ringsOf(l, p, busy)
		if i.State == "up" && a.s.silent(p.name) {
			i.State, i.Why = "silent", "it has a link, but no packet comes"
		}
		out = append(out, i)
	}
	return out
}

// rate is how fast a counter grows, per second.
func (a *apiCapture) rate(name string, n uint64) float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bytes == nil {
		a.bytes = make(map[string]counted)
	}
	was, now := a.bytes[name], time.Now()
	seconds := now.Sub(was.at).Seconds()
	switch {
	case was.at.IsZero():
		a.bytes[name] = counted{at: now, n: n}
	case seconds >= 1 && n >= was.n:
		a.bytes[name] = counted{now, n, float64(n-was.n) / seconds}
	}
	return a.bytes[name].rate
}

// silent reports whether nothing comes from an interface that has a link.
func (s *Service) silent(name string) bool {
	for _, c := range s.health.now().Why {
		if c.Key == "silent "+name {
			return true
		}
	}
	return false
}

// describe is an interface with what it is captured with.
func (p *port) describe() api.Interface {
	i := api.Interface{Name: p.name, State: "up", Filter: p.where, Notes: p.said, Dedicated: p.dedicated, Rings: []api.Ring{}}
	if text, _ := p.rings.State(); text != "" {
		i.State, i.Why = "down", text
	}
	if i.Filter == "" {
		i.Filter = "none"
	}
	p.ask(func(card *nic.NIC) {
		if s, err := card.State(); err == nil {
			i.Driver, i.SpeedMbit, i.MTU = s.Driver, int64(max(0, s.Speed)), s.MTU
		}
		if c, err := card.Counters(); err == nil {
			for n, q := range c.Queues {
				i.Queues = append(i.Queues, queueOf(n, &q))
			}
		}
	})
	return i
}

func queueOf(n int, q *nic.Queue) api.Queue {
	return api.Queue{Number: n, Packets: q.Packets, Drops: q.Drops}
}

// ringsOf are the rings of an interface with the threads that read them.
func ringsOf(l *Live, p *port, busy []float64) []api.Ring {
	out := []api.Ring{}
	set, ok := p.rings.(ringSet)
	for n, w := range l.workers {
		if w.port != p || len(out) == p.rings.Len() { // behind the rings come the feeds
			continue
		}
		r := api.Ring{Number: len(out), CPU: w.cpu, Packets: w.decoder.frames.Load()}
		if n < len(busy) {
			r.Busy = busy[n]
		}
		if ok {
			st := set.Ring(r.Number).Stats()
			r.Packets, r.Drops, r.Bytes = st.Packets, st.Drops, set.memory/int64(p.rings.Len())
			each := frameOverhead + float64(st.Bytes)/float64(max(st.Packets, 1))
			r.Fill = min(1, float64(st.Waiting)*each/float64(max(r.Bytes, 1)))
		}
		out = append(out, r)
	}
	return out
}

// Ledger implements api.Capture.
func (a *apiCapture) Ledger() api.Ledger {
	rows, gaps := a.s.Ledger()
	out := api.Ledger{Time: time.Now().UTC(), Balanced: len(gaps) == 0, Rows: []api.LedgerRow{}}
	for i := range rows {
		r := &rows[i]
		out.Rows = append(out.Rows, api.LedgerRow{
			Interface: r.Interface, Stage: r.Stage, Reason: r.Reason, Packets: r.Packets, Bytes: r.Bytes, Lost: r.Lost, Rate: r.Rate,
		})
	}
	for _, g := range gaps {
		out.Gaps = append(out.Gaps, g.String())
	}
	return out
}
