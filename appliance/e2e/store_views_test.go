package e2e

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/bench/traffic"
	"ringside/flow/record"
)

// null is how both clients print that there is nothing.
const null = "NULL"

// nearest, up and down are the ways in which the reference makes whole numbers.
func nearest(v float64) string { return fmt.Sprint(int(math.Round(v))) }
func up(v float64) string      { return fmt.Sprint(int(math.Ceil(v - 1e-6))) }
func down(v float64) string    { return fmt.Sprint(int(math.Floor(v + 1e-6))) }

func only(yes bool, s string) string {
	if yes {
		return s
	}
	return null
}

func bytesOf(a netip.AddrPort) string {
	return only(a.IsValid(), strings.ToUpper(hex.EncodeToString(a.Addr().AsSlice())))
}

func backwards(s string) string {
	r := []rune(s)
	slices.Reverse(r)
	return string(r)
}

// most is the stream of a side with the most packets, nil if there is none.
func most(c *record.Call, side record.Side) (s *record.Stream) {
	for i := range c.Streams {
		if x := &c.Streams[i]; x.From == side && (s == nil || x.Packets > s.Packets) {
			s = x
		}
	}
	return s
}

// cdrColumn is a column of the view cdr, and what it says of a call.
type cdrColumn struct {
	sql  string
	says func(c *record.Call) string
}

// cdrColumns are those that there is a figure for, after spec and docs/store.md.
func cdrColumns() []cdrColumn {
	seconds := func(ns int64) string { return nearest(float64(ns) / 1e9) }
	ms := func(at int64, c *record.Call) string { return only(at != 0, nearest(float64(at-c.Start)/1e6)) }
	stamp := func(ns int64) string { return time.Unix(0, ns).UTC().Format(time.DateTime) }
	rings := func(c *record.Call) int64 { return max(c.Ring, c.Answer*int64(oneIf(c.Ring == 0))) }
	out := []cdrColumn{
		{"calldate", func(c *record.Call) string { return stamp(c.Start) }},
		{"callend", func(c *record.Call) string { return stamp(c.End) }},
		{"duration", func(c *record.Call) string { return seconds(c.End - c.Start) }},
		{"connect_duration", func(c *record.Call) string { return only(c.Answer != 0, seconds(c.End-c.Answer)) }},
		{"progress_time", func(c *record.Call) string { return only(rings(c) != 0, seconds(rings(c)-c.Start)) }},
		{"caller", func(c *record.Call) string { return c.Caller.Number }},
		{"caller_reverse", func(c *record.Call) string { return backwards(c.Caller.Number) }},
		{"caller_domain", func(c *record.Call) string { return c.Caller.Domain }},
		{"called", func(c *record.Call) string { return c.Called.Number }},
		{"called_reverse", func(c *record.Call) string { return backwards(c.Called.Number) }},
		{"HEX(sipcallerip)", func(c *record.Call) string { return bytesOf(c.Caller.Addr) }},
		{"sipcallerport", func(c *record.Call) string { return fmt.Sprint(c.Caller.Addr.Port()) }},
		{"HEX(sipcalledip)", func(c *record.Call) string { return bytesOf(c.Called.Addr) }},
		{"whohanged", func(c *record.Call) string {
			return map[record.Side]string{record.SideUnknown: null, record.SideCaller: "caller", record.SideCalled: "callee"}[c.HungUp]
		}},
		{"bye", func(c *record.Call) string {
			switch {
			case c.EndReason == record.EndBye:
				return "3"
			case c.EndReason == record.EndByeAlone:
				return "2"
			case c.Answer != 0:
				return "1"
			}
			return "0"
		}},
		{"lastSIPresponseNum", func(c *record.Call) string {
			if c.LastStatus == 0 {
				return fmt.Sprint(c.LastProvisional)
			}
			return fmt.Sprint(c.LastStatus)
		}},
		{"response_time_100", func(c *record.Call) string { return ms(c.Trying, c) }},
		{"response_time_xxx", func(c *record.Call) string { return ms(rings(c), c) }},
		{"max_retransmission_invite", func(c *record.Call) string { return fmt.Sprint(c.MaxRetransInv) }},
		{"id_sensor", func(c *record.Call) string { return fmt.Sprint(c.Sensor) }},
		{"vlan", func(c *record.Call) string { return only(c.VLAN >= 0, fmt.Sprint(c.VLAN)) }},
		{"jitter_mult10", greater(func(s *record.Stream) float64 { return s.JitterAvg }, func(v float64) string { return up(v * 10) })},
		{"packet_loss_perc_mult1000", greater(func(s *record.Stream) float64 { return s.Compat.LossPerc }, func(v float64) string { return nearest(v * 1000) })},
		{"lost", greater(func(s *record.Stream) float64 { return float64(s.Lost) }, nearest)},
		{"mos_min_mult10", func(c *record.Call) string {
			least := math.Inf(1)
			for _, side := range sides {
				if s := most(c, side); s != nil && s.Compat.MosF2 > 0 {
					least = min(least, s.Compat.MosF2)
				}
			}
			if math.IsInf(least, 1) {
				return null
			}
			return nearest(least * 10)
		}},
	}
	for i, x := range []string{"a", "b"} {
		for name, says := range streamColumns() {
			out = append(out, cdrColumn{strings.Replace(name, "x_", x+"_", 1), func(c *record.Call) string {
				if s := most(c, sides[i]); s != nil {
					return says(s)
				}
				return null
			}})
		}
	}
	return out
}

var sides = []record.Side{record.SideCaller, record.SideCalled}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// greater is the greater figure of both sides.
func greater(of func(*record.Stream) float64, say func(float64) string) func(*record.Call) string {
	return func(c *record.Call) string {
		out := math.Inf(-1)
		for _, side := range sides {
			if s := most(c, side); s != nil {
				out = max(out, of(s))
			}
		}
		if math.IsInf(out, -1) {
			return null
		}
		return say(out)
	}
}

// streamColumns are the columns of cdr for the stream of one side.
func streamColumns() map[string]func(*record.Stream) string {
	mos := func(v float64, say func(float64) string) string { return only(v != 0, say(v*10)) }
	out := map[string]func(*record.Stream) string{
		"x_payload":                   func(s *record.Stream) string { return fmt.Sprint(s.Payload) },
		"HEX(x_saddr)":                func(s *record.Stream) string { return bytesOf(s.Src) },
		"x_received":                  func(s *record.Stream) string { return fmt.Sprint(s.Received) },
		"x_lost":                      func(s *record.Stream) string { return fmt.Sprint(s.Lost) },
		"x_reordered":                 func(s *record.Stream) string { return fmt.Sprint(s.Reordered) },
		"x_avgjitter_mult10":          func(s *record.Stream) string { return up(s.JitterAvg * 10) },
		"x_maxjitter":                 func(s *record.Stream) string { return up(s.JitterMax) },
		"x_mos_f1_mult10":             func(s *record.Stream) string { return mos(s.Compat.MosF1, down) },
		"x_mos_f2_mult10":             func(s *record.Stream) string { return mos(s.Compat.MosF2, nearest) },
		"x_mos_f2_min_mult10":         func(s *record.Stream) string { return mos(s.Compat.MosF2Min, nearest) },
		"x_mos_adapt_mult10":          func(s *record.Stream) string { return mos(s.Compat.MosAdapt, nearest) },
		"x_mos_min_mult10":            func(s *record.Stream) string { return mos(s.Compat.MosF2, nearest) },
		"x_packet_loss_perc_mult1000": func(s *record.Stream) string { return nearest(s.Compat.LossPerc * 1000) },
		"x_rtcp_loss":                 func(s *record.Stream) string { return only(s.RTCP.Reports > 0, fmt.Sprint(s.RTCP.Lost)) },
		"x_rtcp_maxfr":                func(s *record.Stream) string { return only(s.RTCP.Reports > 0, nearest(s.RTCP.FracMax)) },
		"x_rtcp_avgjitter_mult10":     func(s *record.Stream) string { return only(s.RTCP.Reports > 0, nearest(s.RTCP.JitterAvg*10)) },
		"x_rtcp_maxrtd_mult10":        func(s *record.Stream) string { return only(s.RTCP.RTTMax > 0, nearest(s.RTCP.RTTMax*10)) },
		"x_rtp_ptime":                 func(s *record.Stream) string { return fmt.Sprint(s.Ptime) },
		"x_ttl_min":                   func(s *record.Stream) string { return fmt.Sprint(s.TTLMin) },
	}
	for i := range 10 {
		out[fmt.Sprintf("x_sl%d", i+1)] = func(s *record.Stream) string { return fmt.Sprint(s.LossRuns[i]) }
	}
	for i, name := range []string{"50", "70", "90", "120", "150", "200", "300"} {
		out["x_d"+name] = func(s *record.Stream) string { return fmt.Sprint(s.Delay[i+1]) }
	}
	return out
}

// TestViewsOfCalls: the views say of generated calls what the records say, and
// the questions of spec F.1 find the calls that they are about.
func TestViewsOfCalls(t *testing.T) {
	withoutRace(t)
	o := traffic.Options{
		Seed: 101, Calls: 150, Rate: 3, Talk: traffic.Length{Kind: traffic.Uniform, Min: time.Second, Max: 20 * time.Second},
		RTCP: true, Digits: 0.4, DTX: 0.2, IPv6: 0.3, Proxied: 0.3, Background: 2, VLANs: []uint16{100, 200},
		Impairments: []traffic.Weighted[traffic.Impairment]{{Weight: 1}, {Weight: 1, Value: traffic.Impairment{
			Loss: 0.06, BurstIn: 0.01, BurstOut: 0.3, Jitter: 60 * time.Millisecond, Reorder: 0.01, ReorderDepth: 3, Duplicate: 0.01}}},
	}
	for _, s := range traffic.Scenarios() {
		o.Scenarios = append(o.Scenarios, traffic.Weighted[traffic.Scenario]{Value: s, Weight: 1})
	}
	path, _ := generate(t, o)
	onEach(t, func(t *testing.T, at place) {
		out := filepath.Join(t.TempDir(), "records.json")
		ringside(t, 0, "read", "--quiet", "--sensor", "7", "--db", at.db, "--json", out, path)
		var e export
		e.read(t, out)
		slices.SortFunc(e.calls, func(a, b *record.Call) int { return int(a.Start - b.Start) })
		t.Run("cdr", func(t *testing.T) { checkCDR(t, at, e.calls) })
		t.Run("children", func(t *testing.T) { checkChildren(t, at, e.calls) })
		t.Run("questions", func(t *testing.T) { checkQuestions(t, at, e.calls) })
	})
}

func checkCDR(t *testing.T, at place, calls []*record.Call) {
	columns, named := cdrColumns(), []string{"ID"}
	for _, c := range columns {
		named = append(named, c.sql)
	}
	rows := at.rowsOf(t, "SELECT "+strings.Join(named, ", ")+" FROM cdr")
	byID := map[string][]string{}
	for _, r := range rows {
		byID[r[0]] = r[1:]
	}
	if len(rows) != len(calls) || len(byID) != len(calls) {
		t.Fatalf("%d rows of %d calls, want %d", len(rows), len(byID), len(calls))
	}
	figures, wrong := 0, 0
	for _, c := range calls {
		row := byID[fmt.Sprint(c.ID)]
		for i, col := range columns {
			want, got := col.says(c), null
			if i < len(row) {
				got = row[i]
			}
			if want != null {
				figures++
			}
			if got == want || got == "" && want == null { // HEX of nothing
				continue
			}
			if wrong++; wrong < 20 {
				t.Errorf("%s: %s is %s, want %s", c.CallID, col.sql, got, want)
			}
		}
	}
	t.Logf("%d figures of %d calls compared, %d differ", figures, len(calls), wrong)
}

// checkChildren compares the tables beside cdr.
func checkChildren(t *testing.T, at place, calls []*record.Call) {
	var rtp, dtmf, responses, next []string
	for _, c := range calls {
		next = append(next, fmt.Sprint(c.ID, " ", c.CallID, " ", c.AuthUser))
		for _, s := range c.Streams {
			rtp = append(rtp, fmt.Sprint(c.ID, " ", bytesOf(s.Src), " ", s.Src.Port(), " ", bytesOf(s.Dst), " ", s.Dst.Port(), " ", s.SSRC, " ",
				s.Received, " ", s.Lost, " ", s.Payload, " ", up(s.JitterMax*10)))
		}
		for _, d := range c.Digits {
			dtmf = append(dtmf, fmt.Sprint(c.ID, " ", d.Digit, " ", oneIf(d.Method == record.DigitINFO)))
		}
		seen := map[string]bool{}
		for _, m := range c.Messages {
			if line := fmt.Sprint(c.ID, " ", m.Status, " ", m.Reason); m.Status != 0 && !seen[line] {
				seen[line] = true
				responses = append(responses, line)
			}
		}
	}
	for _, x := range []struct {
		query string
		want  []string
	}{
		{"SELECT cdr_ID, fbasename, COALESCE(digest_username, '') FROM cdr_next", next},
		{"SELECT cdr_ID, HEX(saddr), sport, HEX(daddr), dport, ssrc, received, loss, payload, maxjitter_mult10 FROM cdr_rtp", rtp},
		{"SELECT cdr_ID, dtmf, type FROM cdr_dtmf", dtmf},
		{"SELECT cdr_ID, SIPresponseNum, SIPresponse FROM cdr_sipresp", responses},
	} {
		var got []string
		for _, row := range at.rowsOf(t, x.query) {
			got = append(got, strings.Join(row, " "))
		}
		slices.Sort(got)
		slices.Sort(x.want)
		if d := difference(got, x.want); d != "" || len(got) == 0 {
			t.Errorf("%s: %d rows, want %d:\n%.2000s", x.query, len(got), len(x.want), d)
		}
	}
}

// checkQuestions asks as interfaces to the reference do: the time first, then one
// thing more.
func checkQuestions(t *testing.T, at place, calls []*record.Call) {
	middle := calls[len(calls)/2]
	from, to := middle.Start-40e9, middle.Start+40e9
	quoted := func(ns int64) string { return "'" + time.Unix(0, ns).UTC().Format(time.DateTime) + "'" }
	either := func(c *record.Call, ok func(*record.Stream) bool) bool {
		a, b := most(c, record.SideCaller), most(c, record.SideCalled)
		return a != nil && ok(a) || b != nil && ok(b)
	}
	caller, called := middle.Caller.Number, middle.Called.Number
	for _, q := range []struct {
		name, and string
		is        func(*record.Call) bool
	}{
		{"time", "", func(*record.Call) bool { return true }},
		{"caller prefix", "AND caller LIKE '" + caller[:3] + "%'", func(c *record.Call) bool { return strings.HasPrefix(c.Caller.Number, caller[:3]) }},
		{"called suffix", "AND called_reverse LIKE '" + backwards(called)[:2] + "%'", func(c *record.Call) bool { return strings.HasSuffix(c.Called.Number, called[len(called)-2:]) }},
		{"address", "AND (sipcallerip = X'" + bytesOf(middle.Caller.Addr) + "' OR sipcalledip = X'" + bytesOf(middle.Caller.Addr) + "')",
			func(c *record.Call) bool {
				return c.Caller.Addr.Addr() == middle.Caller.Addr.Addr() || c.Called.Addr.Addr() == middle.Caller.Addr.Addr()
			}},
		{"response", "AND lastSIPresponseNum >= 400", func(c *record.Call) bool { return c.LastStatus >= 400 }},
		{"sensor", "AND id_sensor = 7", func(*record.Call) bool { return true }},
		{"MOS", "AND (a_mos_f2_mult10 < 40 OR b_mos_f2_mult10 < 40)", func(c *record.Call) bool {
			return either(c, func(s *record.Stream) bool { return s.Compat.MosF2 > 0 && math.Round(s.Compat.MosF2*10) < 40 })
		}},
		{"loss", "AND packet_loss_perc_mult1000 >= 3000", func(c *record.Call) bool {
			return either(c, func(s *record.Stream) bool { return math.Round(s.Compat.LossPerc*1000) >= 3000 })
		}},
		{"jitter", "AND (a_maxjitter > 20 OR b_maxjitter > 20)", func(c *record.Call) bool {
			return either(c, func(s *record.Stream) bool { return math.Ceil(s.JitterMax-1e-6) > 20 })
		}},
		{"duration", "AND duration BETWEEN 3 AND 12", func(c *record.Call) bool {
			d := math.Round(float64(c.End-c.Start) / 1e9)
			return d >= 3 && d <= 12
		}},
		{"not hung up", "AND bye <> 3", func(c *record.Call) bool { return c.EndReason != record.EndBye }},
		{"Call-ID", "AND fbasename = '" + middle.CallID + "'", func(c *record.Call) bool { return c.CallID == middle.CallID }},
		{"a digit", "AND EXISTS (SELECT 1 FROM cdr_dtmf d WHERE d.cdr_ID = cdr.ID)", func(c *record.Call) bool { return len(c.Digits) > 0 }},
		{"a response", "AND EXISTS (SELECT 1 FROM cdr_sipresp p WHERE p.cdr_ID = cdr.ID AND p.SIPresponseNum = 180)", func(c *record.Call) bool {
			return slices.ContainsFunc(c.Messages, func(m record.Message) bool { return m.Status == 180 })
		}},
	} {
		var want []string
		for _, c := range calls {
			if c.Start >= from/1e9*1e9 && c.Start < to/1e9*1e9 && q.is(c) {
				want = append(want, fmt.Sprint(c.ID))
			}
		}
		var got []string
		for _, row := range at.rowsOf(t, "SELECT cdr.ID FROM cdr JOIN cdr_next ON cdr_next.cdr_ID = cdr.ID AND cdr_next.calldate = cdr.calldate"+
			" WHERE cdr.calldate >= "+quoted(from)+" AND cdr.calldate < "+quoted(to)+" "+q.and) {
			got = append(got, row[0])
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s: found %d calls, want %d", q.name, len(got), len(want))
		}
	}
}
