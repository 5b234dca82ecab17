package store

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

const second = int64(time.Second)

// hostile are strings that mean something in SQL or in LIKE.
var hostile = []string{
	"' OR '1'='1", "'; DROP TABLE calls; --", `" OR ""="`, "%", "_", "%%%", `\`, `\%`, "[a-z]", "?", ":a", "$1", "\x00", "\uFFFD", "*", "**", "\U0010FFFF",
}

// sample is a store of calls 1, 2, 3… as the filter tests know them.
func sample(t *testing.T, open opener) *Store {
	t.Helper()
	addr := netip.MustParseAddrPort
	stream := func(src, dst, codec string, lost, expected uint64, jitter, mos float64) record.Stream {
		s := record.Stream{Src: addr(src), Dst: addr(dst), Codec: codec, MOS: record.MOS{LQ: mos}}
		s.Lost, s.Expected, s.JitterMax = lost, expected, jitter
		return s
	}
	calls := []*record.Call{
		{ // 1: a good call
			CallID: "a@x", Sensor: 1, Ring: 2 * second, Answer: 5 * second, End: 65 * second,
			Outcome: record.Answered, EndReason: record.EndBye, LastStatus: 200, MessagesTotal: 7,
			Caller:  record.Party{Number: "00491234", Domain: "Example.COM", Addr: addr("10.1.0.1:5060"), Agent: "Yealink T46"},
			Called:  record.Party{Number: "100", Domain: "pbx.local", Addr: addr("10.2.0.1:5060"), Agent: "Asterisk 20"},
			Streams: []record.Stream{stream("10.1.0.9:1000", "10.2.0.9:2000", "PCMA", 0, 1000, 2, 4.4), stream("10.2.0.9:2000", "10.1.0.9:1000", "PCMA", 1, 1000, 3, 4.3)},
		},
		{ // 2: a bad one, over IPv6
			CallID: "b@x", Sensor: 2, Answer: 10 * second, End: 20 * second,
			Outcome: record.Answered, EndReason: record.EndTimeout, LastStatus: 200, MessagesTotal: 30,
			Flags: record.OneWay | record.Incomplete, HungUp: record.SideCaller,
			Caller:  record.Party{Number: "100", Domain: "pbx.local", Addr: addr("[2001:db8::1]:5060"), Agent: "Asterisk 18"},
			Called:  record.Party{Number: "0049991234", Domain: "carrier.net", Addr: addr("[2001:db8:1::1]:5060")},
			Streams: []record.Stream{stream("[2001:db8::9]:1000", "[2001:db8:1::9]:2000", "opus", 80, 1000, 45, 2.9)},
		},
		{ // 3: busy, media offered
			CallID: "c@x", Sensor: 2, Ring: 1 * second, End: 3 * second,
			Outcome: record.Busy, EndReason: record.EndRejected, LastStatus: 486, MessagesTotal: 5, Flags: record.NATed,
			Caller: record.Party{Number: "+44555", Addr: addr("192.168.0.1:5060")},
			Called: record.Party{Number: "*98", Addr: addr("10.2.0.1:5060")},
			Media:  []record.Media{{Kind: "audio", Addr: addr("172.16.5.5:4000")}},
		},
		{ // 4: failed
			CallID: "d@x", End: second, Outcome: record.Failed, EndReason: record.EndRejected, LastStatus: 503, MessagesTotal: 3,
			Caller: record.Party{Number: "100", Addr: addr("32.1.13.184:5060")}, // the first bytes of 2001:db8::
			Called: record.Party{Number: "1000"},
		},
		{ // 5: nothing known
			CallID: "e@x", Outcome: record.Partial,
		},
	}
	for i, h := range hostile { // 6 and on
		calls = append(calls, &record.Call{
			CallID: h, Outcome: record.NoAnswer, Caller: record.Party{Number: h, Domain: h, Agent: h},
			Streams: []record.Stream{{Codec: h, CallID: fmt.Sprint(i)}},
		})
	}
	for i, c := range calls {
		c.ID = int64(i + 1)
		c.Start = c.ID * 1000 * second
		for _, at := range []*int64{&c.Ring, &c.Answer, &c.End} {
			if *at != 0 {
				*at += c.Start
			}
		}
	}
	s := open(t)
	insert(t, s, calls...)
	return s
}

func ids(rows []Row) []int64 {
	var out []int64
	for _, r := range rows {
		out = append(out, r.ID)
	}
	return out
}

// found is the ids of the calls that f chooses, oldest first; Count must agree.
func found(t *testing.T, s *Store, f Filter) []int64 {
	t.Helper()
	r, err := s.Calls(context.Background(), f, Page{Ascending: true})
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Count(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	if int(n) != len(r.Calls) {
		t.Errorf("count %d, listed %d", n, len(r.Calls))
	}
	return ids(r.Calls)
}

func TestFilter(t *testing.T) { onBoth(t, testFilter) }

func testFilter(t *testing.T, open opener) {
	s := sample(t, open)
	number := func(p string) Match {
		m, err := ParseMatch(p)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	prefix := func(p string) netip.Prefix { return mustAddr(t, p) }
	// Most conditions are for the first five calls.
	first5 := func(f Filter) Filter { f.To = 6000 * second; return f }
	for name, c := range map[string]struct {
		filter Filter
		want   []int64
	}{
		"no condition":     {first5(Filter{}), []int64{1, 2, 3, 4, 5}},
		"from":             {first5(Filter{From: 4000 * second}), []int64{4, 5}},
		"to, exclusive":    {Filter{To: 2000 * second}, []int64{1}},
		"empty time range": {Filter{From: 3000 * second, To: 3000 * second}, nil},

		"caller exact":           {Filter{Caller: number("100")}, []int64{2, 4}},
		"caller prefix":          {Filter{Caller: number("0049*")}, []int64{1}},
		"caller suffix":          {Filter{Caller: number("*1234")}, []int64{1}},
		"caller contains":        {Filter{Caller: number("*455*")}, []int64{3}},
		"caller, no such":        {Filter{Caller: number("1")}, nil},
		"called exact":           {Filter{Called: number("100")}, []int64{1}},
		"called prefix":          {Filter{Called: number("100*")}, []int64{1, 4}},
		"called suffix":          {Filter{Called: number("*1234")}, []int64{2}},
		"called star key":        {Filter{Called: number(`\*98`)}, []int64{3}},
		"called star key prefix": {Filter{Called: number(`\*9*`)}, []int64{3}},
		"either exact":           {Filter{Number: number("100")}, []int64{1, 2, 4}},
		"either prefix":          {Filter{Number: number("0049*")}, []int64{1, 2}},
		"either suffix":          {Filter{Number: number("*1234")}, []int64{1, 2}},
		"either contains":        {Filter{Number: number("*99*")}, []int64{2}},
		"anything":               {first5(Filter{Number: number("*")}), []int64{1, 2, 3, 4, 5}},

		"domain":            {Filter{Domain: "example.com"}, []int64{1}},
		"domain of either":  {Filter{Domain: "PBX.local"}, []int64{1, 2}},
		"domain, part":      {Filter{Domain: "example"}, nil},
		"Call-ID":           {Filter{CallID: "c@x"}, []int64{3}},
		"Call-ID, case":     {Filter{CallID: "C@x"}, nil},
		"agent of either":   {Filter{Agent: "asterisk"}, []int64{1, 2}},
		"agent, wildcard":   {first5(Filter{Agent: "A%k"}), nil},
		"codec":             {Filter{Codec: "OPUS"}, []int64{2}},
		"codec, no streams": {Filter{Codec: "G722"}, nil},

		"signalling, address": {Filter{SignalAddr: prefix("10.2.0.1")}, []int64{1, 3}},
		"signalling, prefix":  {Filter{SignalAddr: prefix("10.0.0.0/8")}, []int64{1, 3}},
		"signalling, odd":     {Filter{SignalAddr: prefix("10.1.255.255/15")}, []int64{1}},
		"signalling, all v4":  {Filter{SignalAddr: prefix("0.0.0.0/0")}, []int64{1, 3, 4}},
		"signalling, all v6":  {Filter{SignalAddr: prefix("::/0")}, []int64{2}},
		"IPv6 prefix":         {Filter{SignalAddr: prefix("2001:db8::/48")}, []int64{2}},
		"IPv4 like IPv6":      {Filter{SignalAddr: prefix("32.1.13.184/32")}, []int64{4}},
		"IPv6 like IPv4":      {Filter{SignalAddr: prefix("2001:db8::/32")}, []int64{2}},
		"caller address":      {Filter{CallerAddr: prefix("10.0.0.0/8")}, []int64{1}},
		"called address":      {Filter{CalledAddr: prefix("10.0.0.0/8")}, []int64{1, 3}},
		"both sides":          {Filter{CallerAddr: prefix("192.168.0.0/16"), CalledAddr: prefix("10.0.0.0/8")}, []int64{3}},
		"media, stream":       {Filter{MediaAddr: prefix("10.1.0.9")}, []int64{1}},
		"media, receiver":     {Filter{MediaAddr: prefix("2001:db8:1::9")}, []int64{2}},
		"media, SDP":          {Filter{MediaAddr: prefix("172.16.0.0/12")}, []int64{3}},
		"media, not SIP":      {Filter{MediaAddr: prefix("10.1.0.1")}, nil},
		"any address":         {Filter{Addr: prefix("172.16.5.5")}, []int64{3}},
		"any address, SIP":    {Filter{Addr: prefix("10.1.0.1")}, []int64{1}},

		"status":          {Filter{StatusMin: 486, StatusMax: 486}, []int64{3}},
		"status range":    {Filter{StatusMin: 400, StatusMax: 599}, []int64{3, 4}},
		"status from":     {Filter{StatusMin: 486}, []int64{3, 4}},
		"outcome":         {Filter{Outcomes: []record.Outcome{record.Busy}}, []int64{3}},
		"outcomes":        {Filter{Outcomes: []record.Outcome{record.Answered, record.Failed}}, []int64{1, 2, 4}},
		"end reason":      {Filter{EndReasons: []record.EndReason{record.EndRejected, record.EndTimeout}}, []int64{2, 3, 4}},
		"sensor":          {Filter{Sensors: []uint16{2}}, []int64{2, 3}},
		"sensors, with 0": {first5(Filter{Sensors: []uint16{0, 1}}), []int64{1, 4, 5}},
		"flag":            {Filter{Flags: record.OneWay}, []int64{2}},
		"flags, all":      {Filter{Flags: record.OneWay | record.Incomplete}, []int64{2}},
		"flags, not all":  {Filter{Flags: record.OneWay | record.NATed}, nil},
		"not flag":        {first5(Filter{NotFlags: record.OneWay}), []int64{1, 3, 4, 5}},

		"duration at least":     {Filter{MinDuration: 20 * time.Second}, []int64{1, 2}},
		"duration at most":      {first5(Filter{MaxDuration: 3 * time.Second}), []int64{3, 4, 5}},
		"duration between":      {Filter{MinDuration: 3 * time.Second, MaxDuration: 20 * time.Second}, []int64{2, 3}},
		"connected at least":    {Filter{MinConnected: 11 * time.Second}, []int64{1}},
		"connected at most":     {Filter{MaxConnected: 10 * time.Second}, []int64{2}},
		"pdd at least":          {Filter{MinPDD: 2 * time.Second}, []int64{1, 2}},
		"pdd at most":           {Filter{MaxPDD: time.Second}, []int64{3}},
		"MOS below":             {Filter{MOSBelow: 4.3}, []int64{2}},
		"MOS above":             {Filter{MOSAbove: 4.2}, []int64{1}},
		"loss above":            {Filter{LossAbove: 7.9}, []int64{2}},
		"loss above, exclusive": {Filter{LossAbove: 8}, nil},
		"jitter above":          {Filter{JitterAbove: 2.5}, []int64{1, 2}},
		"messages at least":     {Filter{MinMessages: 7}, []int64{1, 2}},
		"messages at most":      {Filter{MinMessages: 1, MaxMessages: 5}, []int64{3, 4}},

		"several": {Filter{Number: number("*1234"), Outcomes: []record.Outcome{record.Answered}, Sensors: []uint16{2}, MOSBelow: 3, Addr: prefix("2001:db8::/32")}, []int64{2}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := found(t, s, c.filter); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
}

// TestFilterTakesValuesAsTheyAre stores strings that mean something in SQL, and
// expects each to find its own call alone.
func TestFilterTakesValuesAsTheyAre(t *testing.T) { onBoth(t, testFilterTakesValuesAsTheyAre) }

func testFilterTakesValuesAsTheyAre(t *testing.T, open opener) {
	s := sample(t, open)
	for i, h := range hostile {
		t.Run(h, func(t *testing.T) {
			var want, containing []int64
			for j, other := range hostile {
				if strings.EqualFold(other, h) {
					want = append(want, int64(j+6))
				}
				if strings.Contains(other, h) {
					containing = append(containing, int64(j+6))
				}
			}
			if len(want) != 1 || want[0] != int64(i+6) {
				t.Fatalf("%q is not unique", h)
			}
			for name, f := range map[string]Filter{
				"caller":  {Caller: Match{Value: h}},
				"number":  {Number: Match{Value: h}},
				"domain":  {Domain: h},
				"Call-ID": {CallID: h},
				"codec":   {Codec: h},
			} {
				if got := found(t, s, f); !slices.Equal(got, want) {
					t.Errorf("%s: found %v, want %v", name, got, want)
				}
			}
			if got := found(t, s, Filter{Caller: Match{h, Contains}}); !slices.Equal(got, containing) {
				t.Errorf("contains: found %v, want %v", got, containing)
			}
			if got := found(t, s, Filter{From: 6000 * second, Agent: h}); !slices.Equal(got, containing) {
				t.Errorf("agent: found %v, want %v", got, containing)
			}
		})
	}
	if n := rowCounts(t, s)["calls"]; n != 5+len(hostile) {
		t.Errorf("%d calls left", n)
	}
}

// TestFilterAnyAlphabet: "in any case" is not of ASCII alone.
func TestFilterAnyAlphabet(t *testing.T) { onBoth(t, testFilterAnyAlphabet) }

func testFilterAnyAlphabet(t *testing.T, open opener) {
	s := open(t)
	insert(t, s, &record.Call{ID: 1, Caller: record.Party{Domain: "KÖLN.example", Agent: "Büro \x00 Ähre"}}, &record.Call{ID: 2, Caller: record.Party{Domain: "koln.example", Agent: "Buro"}})
	for name, f := range map[string]Filter{"domain": {Domain: "köln.EXAMPLE"}, "agent": {Agent: "BÜRO"}, "agent, behind a NUL": {Agent: "\x00 ä"}} {
		if got := found(t, s, f); !slices.Equal(got, []int64{1}) {
			t.Errorf("%s: found %v, want 1", name, got)
		}
	}
}

func TestParseMatch(t *testing.T) {
	for in, want := range map[string]Match{
		"":         {},
		"*":        {},
		"**":       {},
		"123":      {"123", Exact},
		"0049*":    {"0049", Prefix},
		"*1234":    {"1234", Suffix},
		"*12*":     {"12", Contains},
		`\*98`:     {"*98", Exact},
		`\*98*`:    {"*98", Prefix},
		`*\*`:      {"*", Suffix},
		`\\`:       {`\`, Exact},
		`\`:        {`\`, Exact},
		`1\`:       {`1\`, Exact},
		"+49 (0)*": {"+49 (0)", Prefix},
	} {
		if got, err := ParseMatch(in); err != nil || got != want {
			t.Errorf("%q is %+v, error %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"1*2", "*1*2", "***"} {
		if got, err := ParseMatch(in); err == nil {
			t.Errorf("%q is %+v, want an error", in, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for in, want := range map[string][2]uint16{
		"486": {486, 486}, "4xx": {400, 499}, "5XX": {500, 599}, "400-499": {400, 499}, "200-699": {200, 699},
	} {
		if low, high, err := ParseStatus(in); err != nil || low != want[0] || high != want[1] {
			t.Errorf("%q is %d to %d, error %v, want %v", in, low, high, err, want)
		}
	}
	for _, in := range []string{"", "99", "700", "7xx", "0xx", "xxx", "4x", "499-400", "400-", "-400", "4xx-5xx", "486 "} {
		if low, high, err := ParseStatus(in); err == nil {
			t.Errorf("%q is %d to %d, want an error", in, low, high)
		}
	}
}

func TestParseAddr(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "10.1.2.3/8": "10.0.0.0/8", "2001:db8::1": "2001:db8::1/128", "fe80::1%eth0": "fe80::1/128", "::/0": "::/0",
	} {
		if got, err := ParseAddr(in); err != nil || got.String() != want {
			t.Errorf("%q is %s, error %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "10.0.0", "10.0.0.1/33", "host"} {
		if got, err := ParseAddr(in); err == nil {
			t.Errorf("%q is %s, want an error", in, got)
		}
	}
}
