package api

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
	"ringside/writer/store"
)

var queryNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func fields() *language[*facts] { return callFields(func() time.Time { return queryNow }) }

// sampleFacts is a call to ask things of.
func sampleFacts() *facts {
	r := &store.Row{}
	r.Caller = record.Party{Number: "+493012345", Domain: "example.org", Name: "Ann \"X\"", Addr: netip.MustParseAddrPort("10.0.0.1:5060"), Agent: "Snom 300"}
	r.Called = record.Party{Number: "112", Domain: "sip.example.net", Addr: netip.MustParseAddrPort("[2001:db8::1]:5060")}
	r.CallID, r.LastStatus, r.Outcome, r.EndReason = "abc@host", 486, record.Busy, record.EndRejected
	r.Start, r.Duration, r.Sensor, r.VLAN, r.Transport = queryNow.Add(-time.Hour).UnixNano(), int64(30*time.Second), 3, -1, record.TLS
	r.MOSMin, r.LossMax, r.JitterMax = new(3.4), new(2.5), new(12.0)
	r.Flags, r.MessagesTotal = record.OneWay|record.SRTP, 9
	r.StreamCount = 1
	c := r.Call
	c.Streams = []record.Stream{{Codec: "PCMA", Src: netip.MustParseAddrPort("192.0.2.9:4000"), Dst: netip.MustParseAddrPort("192.0.2.10:4000")}}
	return &facts{row: r, load: func() *record.Call { return &c }}
}

func TestQuery(t *testing.T) {
	for _, tc := range []struct {
		q    string
		want bool
	}{
		{"", true},
		{"caller:+4930*", true},
		{"caller:+4940*", false},
		{"caller:+4930* and mos<3.5 and status:4xx and not codec:pcma duration>30s ip:10.0.0.0/8", false},
		{"caller:+4930* and mos<3.5 and status:4xx and codec:pcma duration>=30s ip:10.0.0.0/8", true},
		{"+4930*", true},
		{"112", true},
		{"11", false},
		{"10.0.0.1", true},
		{"2001:db8::/32", true},
		{"ip:2001:db8::1", true},
		{"media_ip:192.0.2.0/24", true},
		{"signal_ip:192.0.2.0/24", false},
		{"abc@host", true},
		{"outcome:answered,busy", true},
		{"outcome!=busy", false},
		{"not outcome:busy or called:112", true},
		{"not (outcome:busy or called:113)", false},
		{"(caller:1 or caller:2) or (called:112)", true},
		{"not not flag:one-way", true},
		{"flag:one-way flag:srtp", true},
		{"not flag:one-way,fax", false},
		{"name:\"ann \\\"x\"", true},
		{"NAME:ann AND NOT Caller:1", true},
		{"agent:\"snom 300\"", true},
		{"mos>3.4", false},
		{"mos>=3.4", true},
		{"pdd>0s", false},
		{"not pdd>0s", true},
		{"connected<1h", false},
		{"status>=400 status<500", true},
		{"status<486", false},
		{"status<=486", true},
		{"sensor:3", true},
		{"sensor:1,2", false},
		{"start>-2h", true},
		{"start>2026-11-21T11:30:00Z", false},
		{"start<2026-11-21", false},
		{"transport:tls", true},
		{"vlan>0", false},
		{"streams:1 messages>8", true},
		{"loss>2.5", false},
		{"loss>2.4%", true},
		{"duration:30", true},
		{"duration:30000ms", true},
		{"or:1", false}, // an error, see below
	} {
		t.Run(tc.q, func(t *testing.T) {
			e, err := fields().parse(tc.q)
			if err != nil {
				if tc.q == "or:1" {
					return
				}
				t.Fatal(err)
			}
			if got := e.all(sampleFacts()); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
			// What is put into the store's filter and what is left are together the same.
			var f store.Filter
			left := narrow(e, &f, queryNow)
			if tc.want && left != nil && !left(sampleFacts()) {
				t.Error("what is left for the API does not hold")
			}
		})
	}
}

func TestQueryErrors(t *testing.T) {
	for _, tc := range []struct {
		q        string
		pos, len int
		text     string
	}{
		{"colour:red", 0, 6, `there is no field "colour"`},
		{"calller:1", 0, 7, "did you mean caller?"},
		{"mos<", 3, 1, "a value is missing"},
		{"caller:1 and", 12, 1, "missing at the end"},
		{"and caller:1", 0, 3, `missing before "and"`},
		{"(caller:1", 0, 1, "never closed"},
		{"caller:1)", 8, 1, "is too much"},
		{"ünïcode:1", 0, 7, "there is no field"},
		{"caller:ü and mos<x", 17, 1, "no number"},
		{"caller<5", 6, 1, "has no order"},
		{"status:9xx", 7, 3, "write 486"},
		{"ip:10.0.0.0.1", 3, 10, "write an address"},
		{"outcome:gone", 8, 4, "there are unknown, answered"},
		{"duration>soon", 9, 4, "write 30s"},
		{"name:\"open", 5, 5, "never closed"},
		{": 5", 0, 1, "a field is missing"},
		{"caller:,", 7, 1, "is empty"},
		{"caller:a*b", 7, 3, "'*' stands"},
		{"start>someday", 6, 7, "no time"},
		{strings.Repeat("not ", 40) + "a", 100, 3, "nests deeper"},
		{strings.Repeat("a ", 70), 128, 1, "more than 64"},
		{"caller:" + strings.Repeat("1,", 70), 7, 140, "more than 64"},
		{strings.Repeat("a", 5000), 4096, 904, "more than 4096 bytes"},
		{"\xff", 0, 1, "not valid UTF-8"},
	} {
		name := tc.q
		t.Run(name[:min(20, len(name))], func(t *testing.T) {
			_, err := fields().parse(tc.q)
			if err == nil {
				t.Fatal("no error")
			}
			if err.Pos != tc.pos || err.Len != tc.len || !strings.Contains(err.Text, tc.text) {
				t.Errorf("at %d+%d: %q, want at %d+%d: %q", err.Pos, err.Len, err.Text, tc.pos, tc.len, tc.text)
			}
		})
	}
}

// What the store can look for is put into its filter, and only that.
func TestNarrow(t *testing.T) {
	for _, tc := range []struct {
		q    string
		want store.Filter
		left bool
	}{
		{"caller:+49* called:*1 number:*2*", store.Filter{Caller: store.Match{Value: "+49", Kind: store.Prefix}, Called: store.Match{Value: "1", Kind: store.Suffix}, Number: store.Match{Value: "2", Kind: store.Contains}}, false},
		{"mos<3.5 loss>1 jitter>30", store.Filter{MOSBelow: 3.5, LossAbove: 1, JitterAbove: 30}, false},
		{"mos<=3.5", store.Filter{}, true},
		{"mos<3 mos<4", store.Filter{MOSBelow: 3}, true},
		{"status:4xx outcome:busy,failed", store.Filter{StatusMin: 400, StatusMax: 499, Outcomes: []record.Outcome{record.Busy, record.Failed}}, false},
		{"status:4xx,5xx", store.Filter{}, true},
		{"duration>30s duration<=1m", store.Filter{MinDuration: 30*time.Second + 1, MaxDuration: time.Minute}, false},
		{"not flag:one-way,srtp", store.Filter{NotFlags: record.OneWay | record.SRTP}, false},
		{"flag:one-way flag:srtp", store.Filter{Flags: record.OneWay | record.SRTP}, false},
		{"not (caller:1 called:2)", store.Filter{}, true},
		{"not caller:1", store.Filter{}, true},
		{"caller:1 or caller:2", store.Filter{}, true},
		{"(caller:1 and called:2) and codec:opus", store.Filter{Caller: store.Match{Value: "1"}, Called: store.Match{Value: "2"}, Codec: "opus"}, false},
		{"start>=-1h start<now", store.Filter{From: queryNow.Add(-time.Hour).UnixNano(), To: queryNow.UnixNano()}, false},
		{"messages>5 messages<10", store.Filter{MinMessages: 6, MaxMessages: 9}, false},
		{"hungup:caller", store.Filter{}, true},
		{"caller:*", store.Filter{}, true},
		{"sensor:1,2", store.Filter{Sensors: []uint16{1, 2}}, false},
	} {
		t.Run(tc.q, func(t *testing.T) {
			e, err := fields().parse(tc.q)
			if err != nil {
				t.Fatal(err)
			}
			var f store.Filter
			left := narrow(e, &f, queryNow)
			if !equalFilter(f, tc.want) || (left != nil) != tc.left {
				t.Errorf("%+v, left %v", f, left != nil)
			}
		})
	}
}

func equalFilter(a, b store.Filter) bool {
	same := slices.Equal(a.Outcomes, b.Outcomes) && slices.Equal(a.Sensors, b.Sensors)
	return same && a.From == b.From && a.To == b.To && a.Caller == b.Caller && a.Called == b.Called && a.Number == b.Number && a.Codec == b.Codec &&
		a.MOSBelow == b.MOSBelow && a.LossAbove == b.LossAbove && a.JitterAbove == b.JitterAbove && a.StatusMin == b.StatusMin && a.StatusMax == b.StatusMax &&
		a.MinDuration == b.MinDuration && a.MaxDuration == b.MaxDuration && a.Flags == b.Flags && a.NotFlags == b.NotFlags && a.MinMessages == b.MinMessages && a.MaxMessages == b.MaxMessages
}

// A filter that is given twice, as parameter and in the expression, must hold twice.
func TestNarrowKeepsWhatIsThere(t *testing.T) {
	e, _ := fields().parse("caller:1 start>=-2h start<-1h")
	f := store.Filter{Caller: store.Match{Value: "2"}, From: queryNow.Add(-90 * time.Minute).UnixNano(), To: queryNow.Add(-80 * time.Minute).UnixNano()}
	want := f
	left := narrow(e, &f, queryNow)
	if !equalFilter(f, want) || left == nil {
		t.Errorf("%+v, left %v", f, left != nil)
	}
}

func TestComplete(t *testing.T) {
	for _, tc := range []struct {
		q    string
		pos  int
		want []string
		from int
		to   int
	}{
		{"", 0, []string{"caller:", "mos<", "not "}, 0, 0},
		{"cal", 3, []string{"caller:", "called:", "callid:"}, 0, 3},
		{"caller:1 an", 11, []string{"and "}, 9, 11},
		{"outcome:b", 9, []string{"busy"}, 8, 9},
		{"outcome:busy,no", 15, []string{"no-answer"}, 13, 15},
		{"outcome:busy,no", 10, []string{"busy"}, 8, 12},
		{"(flag:one", 9, []string{"one-way", "one-direction"}, 6, 9},
		{"status:", 7, []string{"4xx"}, 7, 7},
		{"mos<", 4, []string{"3.5"}, 4, 4},
		{"ünï outcome:bu", 14, []string{"busy"}, 12, 14},
		{"nothing:", 8, nil, 0, 0},
		{"caller:1", 99, nil, 0, 0},
	} {
		t.Run(tc.q, func(t *testing.T) {
			got := fields().complete(tc.q, tc.pos)
			for _, w := range tc.want {
				i := slices.IndexFunc(got, func(c Completion) bool { return c.Text == w })
				if i < 0 {
					t.Fatalf("%q is not among %v", w, got)
				}
				if got[i].From != tc.from || got[i].To != tc.to || got[i].Help == "" {
					t.Errorf("%+v, want from %d to %d", got[i], tc.from, tc.to)
				}
			}
			if tc.want == nil && len(got) > 0 {
				t.Errorf("%v, want nothing", got)
			}
		})
	}
}

// Every name that completion offers is one that parses, with its sample.
func TestSamplesParse(t *testing.T) {
	l := fields()
	for _, f := range l.fields {
		for _, v := range append([]string{f.sample}, f.values...) {
			op := ":"
			if f.compares() {
				op = ">"
			}
			if _, err := l.parse(f.name + op + v); err != nil {
				t.Errorf("%s%s%s: %v", f.name, op, v, err)
			}
		}
	}
	for _, f := range sipFields.fields {
		for _, v := range append([]string{f.sample}, f.values...) {
			if _, err := sipFields.parse(f.name + ":" + v); err != nil {
				t.Errorf("%s:%s: %v", f.name, v, err)
			}
		}
	}
}

func TestSIPQuery(t *testing.T) {
	m := &SIPMessage{Method: "INVITE", Status: 486, From: "+49301", To: "112", CallID: "a@b", Src: netip.MustParseAddrPort("10.0.0.1:5060"), Dst: netip.MustParseAddrPort("10.0.0.2:5060"), Transport: "UDP", Text: "SIP/2.0 486 Busy Here"}
	for q, want := range map[string]bool{
		"invite": true, "register": false, "method:INVITE,BYE status:4xx": true, "from:+49*": true, "src:10.0.0.2": false, "dst:10.0.0.2": true,
		"text:\"busy here\"": true, "not transport:udp": false, "10.0.0.0/8": true, "112": true, "status>=500": false,
	} {
		e, err := sipFields.parse(q)
		if err != nil {
			t.Errorf("%s: %v", q, err)
		} else if got := e.all(m); got != want {
			t.Errorf("%s: %v, want %v", q, got, want)
		}
	}
}

// No text makes the parser fail otherwise than with an error that has a place.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"caller:+4930* and mos<3.5", "not (a or b)", `name:"x\"`, "ip:::1", "a:b:c", "((((", "status>=4xx,5", "start>-2d"} {
		f.Add(s, 3)
	}
	l := fields()
	f.Fuzz(func(t *testing.T, s string, pos int) {
		e, err := l.parse(s)
		if err != nil {
			if n := len([]rune(s)); err.Pos < 0 || err.Pos > n || err.Len < 1 || err.Text == "" {
				t.Errorf("error %+v in %d characters", err, n)
			}
		} else {
			e.all(sampleFacts())
			narrow(e, new(store.Filter), queryNow)
		}
		n := len([]rune(s))
		for _, c := range l.complete(s, pos) {
			if c.From < 0 || c.To < c.From || c.To > n {
				t.Errorf("completion %+v in %d characters", c, n)
			}
		}
	})
}
