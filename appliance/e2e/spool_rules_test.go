package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/bench/traffic"
	"ringside/flow/record"
)

// ruleText is rules on numbers, addresses, headers, statuses and quality. Nothing
// of a call is stored before a rule asks for it: what the last two give is from
// the look-back.
const ruleText = `
rule optout: caller +33* -> sip none, rtp none
rule numbers: caller +49* -> sip full, rtp header
rule trunk: address 2001:db8::/32 -> sip full, rtp full
rule agent: header User-Agent contains Yealink -> sip full, rtp none
rule busy: status 486 -> sip full, lookback 60s
rule bad: loss > 2% -> rtp full, lookback 60s
default -> sip none, rtp none, register none
`

// ruled is what a rule wants of calls.
type ruled struct {
	sip, rtp record.StoredLevel
}

var wantedBy = map[string]ruled{
	"optout": {record.NotWanted, record.NotWanted}, "numbers": {record.Whole, record.HeaderOnly},
	"trunk": {record.Whole, record.Whole}, "agent": {record.Whole, record.NotWanted},
	"busy": {record.Whole, record.NotWanted}, "bad": {record.NotWanted, record.Whole},
	"default": {record.NotWanted, record.NotWanted},
}

// rulesFor are the rules that may decide about a call, by the truth about it. Where
// loss is about what the rule names, either may be right.
func rulesFor(c *traffic.Call) []string {
	is6 := func(p *traffic.Party) bool { return p.Addr.Addr().Is6() }
	switch {
	case strings.HasPrefix(c.Caller.Number, "+33"):
		return []string{"optout"}
	case strings.HasPrefix(c.Caller.Number, "+49"):
		return []string{"numbers"}
	case is6(&c.Caller) || is6(&c.Called):
		return []string{"trunk"}
	case strings.Contains(c.Caller.Agent, "Yealink"):
		return []string{"agent"}
	case strings.Contains(c.Called.Agent, "Yealink"): // its requests say so too
		return []string{"agent", "busy", "bad", "default"}
	case c.LastStatus == 486:
		return []string{"busy"}
	case c.Forks > 0: // one of the branches may have been busy
		return []string{"busy", "bad", "default"}
	}
	lost := 0.0
	for i := range c.Streams {
		lost = max(lost, lossOf(&c.Streams[i]))
	}
	switch {
	case lost > 2:
		return []string{"bad"}
	case lost > 0:
		return []string{"bad", "default"}
	}
	return []string{"default"}
}

func lossOf(s *traffic.Stream) float64 { return 100 * float64(s.Lost) / float64(s.Received+s.Lost) }

// TestRules: what is in the spool is what the rules want, by the truth about each
// call, and the records say so.
func TestRules(t *testing.T) {
	need(t, "tshark", "editcap")
	o, err := traffic.Preset("mixed")
	if err != nil {
		t.Fatal(err)
	}
	o.Calls, o.Background, o.Noise, o.RTCP, o.Format, o.IPv6 = 150, 1, 1, false, traffic.PcapNano, 0.1
	o.Talk = traffic.Length{Kind: traffic.Uniform, Min: 4 * time.Second, Max: 10 * time.Second}
	path, truth := generate(t, o)
	c := cutCapture(t, path)
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte(ruleText), 0o600); err != nil {
		t.Fatal(err)
	}
	ringside(t, 0, "rules", "check", rules)
	decided := map[string]int{}
	var first map[string][]stored
	for _, workers := range []string{"1", "2"} {
		s := spoolRead(t, workers, path, "--rules", rules)
		exports := map[string][]stored{}
		for i := range truth.Calls {
			tr := &truth.Calls[i]
			records := s.calls[tr.CallID]
			if len(records) != 1 {
				t.Errorf("%s: %d records", tr.CallID, len(records))
				continue
			}
			got := s.export(t, tr.CallID)
			exports[tr.CallID] = got
			if first == nil {
				decided[records[0].Rule]++
				c.checkRuled(t, tr, records[0], got)
			} else if !slices.Equal(got, first[tr.CallID]) {
				t.Errorf("%s: 2 workers give %d packets, 1 gives %d, or others", tr.CallID, len(got), len(first[tr.CallID]))
			}
		}
		if first == nil {
			first = exports
		}
	}
	t.Logf("%v", decided)
	for name := range wantedBy {
		if decided[name] == 0 {
			t.Errorf("no call for %s", name)
		}
	}
}

// checkRuled compares what is stored of a call with what its rule wants.
func (c *cut) checkRuled(t *testing.T, tr *traffic.Call, r *record.Call, got []stored) {
	t.Helper()
	may := rulesFor(tr)
	if !slices.Contains(may, r.Rule) {
		t.Errorf("%s %s: decided by %q, the truth says %v", tr.Scenario, tr.CallID, r.Rule, may)
		return
	}
	want := wantedBy[r.Rule]
	if r.SIPStored.Level != want.sip || r.RTPStored.Level != want.rtp || r.SIPStored.Missed+r.RTPStored.Missed > 0 {
		t.Errorf("%s %s: %s: the record says %+v and %+v", tr.Scenario, tr.CallID, r.Rule, r.SIPStored, r.RTPStored)
	}
	var needed, allowed []stored
	if want.sip == record.Whole {
		for _, f := range c.calls[tr.CallID] {
			needed = append(needed, c.packets[f])
		}
	}
	sip := len(needed)
	if late := r.Rule == "agent" && !strings.Contains(tr.Caller.Agent, "Yealink"); late { // without a look-back
		needed, allowed, sip = nil, needed, int(r.SIPStored.Packets)
	}
	for i := range c.media {
		d := &c.media[i]
		if want.rtp == record.NotWanted || of(r, d) != belongs {
			continue
		}
		for _, f := range d.frames {
			p := c.packets[f]
			switch {
			case want.rtp == record.HeaderOnly:
				p.data = p.data[:len(p.data)-d.size+12+4*d.csrcs]
				needed = append(needed, p)
			case r.Rule == "bad" && !lossy(tr, d):
				allowed = append(allowed, p)
			default:
				needed = append(needed, p)
			}
		}
	}
	if n := int(r.SIPStored.Packets); n != sip {
		t.Errorf("%s %s: %s: the record says that %d packets of SIP were stored, the capture has %d", tr.Scenario, tr.CallID, r.Rule, n, sip)
	}
	if n := int(r.SIPStored.Packets + r.RTPStored.Packets); n != len(got) {
		t.Errorf("%s %s: %s: the record says that %d packets were stored, %d are there", tr.Scenario, tr.CallID, r.Rule, n, len(got))
	}
	have := map[stored]int{}
	for _, p := range got {
		have[p]++
	}
	missing := 0
	for _, p := range needed {
		if have[p]--; have[p] < 0 {
			missing++
		}
	}
	for _, p := range allowed {
		have[p]--
	}
	more := 0
	for _, n := range have {
		more += max(n, 0)
	}
	if missing+more > 0 {
		t.Errorf("%s %s: %s: of %d packets that are wanted %d are missing, and there are %d too many", tr.Scenario, tr.CallID, r.Rule, len(needed), missing, more)
	}
}

// lossy tells whether a datagram is of a stream that loses more than the rule
// allows, or of the one in the other direction.
func lossy(tr *traffic.Call, d *datagram) bool {
	return slices.ContainsFunc(tr.Streams, func(s traffic.Stream) bool {
		return lossOf(&s) > 2 && (s.Src == d.src && s.Dst == d.dst || s.Src == d.dst && s.Dst == d.src)
	})
}
