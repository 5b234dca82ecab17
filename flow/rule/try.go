package rule

import (
	"ringside/flow/record"
)

// Decision is what the rules say of a past call.
type Decision struct {
	Policy
	// Unknown are conditions of rules above that a record does not tell, such
	// as headers: if they held, those rules would have decided.
	Unknown []string
}

// Try decides about a past call as it would have been decided about: by its
// first message, then by each status, by its outcome, and by its quality. Of
// that a record has the whole stream's loss and jitter and the worst interval's
// MOS, so a short burst of loss may have fired a rule that Try does not name.
func (s *Set) Try(c *record.Call) Decision {
	x := Subject{
		Time: c.Start, Sensor: c.Sensor, Iface: -1, VLAN: c.VLAN,
		CallerAddr: c.Caller.Addr.Addr(), CalledAddr: c.Called.Addr.Addr(),
		Caller: []byte(c.Caller.Number), Called: []byte(c.Called.Number),
		CallerDomain: []byte(c.Caller.Domain), CalledDomain: []byte(c.Called.Domain),
		Agent: []byte(c.Caller.Agent), Method: []byte("INVITE"),
	}
	steps := []Subject{x}
	x.Agent = []byte(c.Called.Agent)
	for i := range c.Messages {
		if m := &c.Messages[i]; m.Method == "INVITE" && m.Status > 0 {
			x.Status = m.Status
			steps = append(steps, x)
		}
	}
	x.Status = c.LastStatus
	steps = append(steps, x)
	x.Outcome = c.Outcome
	steps = append(steps, x)

	p := s.Decide(&steps[0])
	for i := range steps[1:] {
		p = s.Again(p, &steps[i+1])
	}
	q := worst(c)
	for fired := true; fired; {
		p, fired = s.Fires(p, q)
	}
	d := Decision{Policy: p}
	for i := range s.rules[:s.undecided(p)] {
		d.Unknown = append(d.Unknown, s.rules[i].untold(s, steps, &q)...)
	}
	return d
}

// worst is the quality of the worst stream, of each figure by itself.
func worst(c *record.Call) Quality {
	var q Quality
	for i := range c.Streams {
		v := &c.Streams[i]
		mos := v.MOS.LQ
		if v.MOS.Min > 0 {
			mos = min(mos, v.MOS.Min)
		}
		if mos > 0 && (q.MOS == 0 || mos < q.MOS) {
			q.MOS = mos
		}
		if v.Expected > 0 {
			q.Loss = max(q.Loss, 100*float64(v.Lost)/float64(v.Expected))
		}
		q.Jitter = max(q.Jitter, v.JitterMax)
	}
	return q
}

// untold is the conditions without which the rule would hold, if a record
// cannot tell about them; nothing if something else stands against it.
func (r *Rule) untold(s *Set, steps []Subject, q *Quality) []string {
	if !r.poor(q) {
		return nil
	}
	var out []string
	for _, g := range r.all {
		held, untold := false, len(out)
		for i := range g {
			for j := range steps {
				held = held || s.term(&g[i], &steps[j]) == yes
			}
			if k := g[i].kind; k == kHeader || k == kInterface {
				out = append(out, "rule "+r.Name+": "+g[i].String())
			}
		}
		switch {
		case held:
			out = out[:untold]
		case len(out) == untold:
			return nil
		}
	}
	return out
}
