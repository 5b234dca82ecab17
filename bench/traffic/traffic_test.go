package traffic

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

// everyScenario makes n calls of each kind with short talks.
func everyScenario(n int) Options {
	o := demo()
	o.Scenarios = nil
	for _, s := range Scenarios() {
		o.Scenarios = append(o.Scenarios, Weighted[Scenario]{s, 1})
	}
	o.InTurn = true
	o.Calls, o.Rate = n*(len(o.Scenarios)+1), 20 // port-reuse makes two
	o.Talk = Length{Kind: Uniform, Min: 4 * time.Second, Max: 9 * time.Second}
	o.Proxied = 0.3
	return o
}

// run generates o and reads the truth back.
func run(t testing.TB, o Options) ([]byte, *Truth) {
	t.Helper()
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	var file, lines bytes.Buffer
	totals, err := g.Run(t.Context(), &file, &lines)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := ReadTruth(&lines)
	if err != nil {
		t.Fatal(err)
	}
	if truth.Totals != totals {
		t.Errorf("totals returned %+v, written %+v", totals, truth.Totals)
	}
	return file.Bytes(), truth
}

func TestDeterminism(t *testing.T) {
	sum := func(seed uint64, format Format) [32]byte {
		o := everyScenario(2)
		o.Seed, o.Format = seed, format
		g, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if _, err := g.Run(t.Context(), h, h); err != nil {
			t.Fatal(err)
		}
		return [32]byte(h.Sum(nil))
	}
	for _, f := range []Format{PcapMicro, PcapngNano} {
		first, again := sum(7, f), sum(7, f)
		if first != again {
			t.Errorf("%v: the same seed gave other bytes", f)
		}
		if first == sum(8, f) {
			t.Errorf("%v: another seed gave the same bytes", f)
		}
	}
}

// each calls f for every record of a pcap file.
func each(t *testing.T, file []byte, nano bool, f func(at int64, wire int, data []byte)) {
	t.Helper()
	scale := int64(1000)
	if nano {
		scale = 1
	}
	le := binary.LittleEndian
	for b := file[24:]; len(b) > 0; {
		kept := int(le.Uint32(b[8:]))
		f(int64(le.Uint32(b))*sec+int64(le.Uint32(b[4:]))*scale, int(le.Uint32(b[12:])), b[16:16+kept])
		b = b[16+kept:]
	}
}

func TestFramesAreOrderedAndCounted(t *testing.T) {
	for _, f := range []Format{PcapMicro, PcapNano} {
		t.Run(f.String(), func(t *testing.T) {
			o := everyScenario(2)
			o.Format, o.SnapLen, o.VLANs = f, 120, []uint16{100, 7}
			file, truth := run(t, o)
			var last, first int64
			var frames, wire uint64
			each(t, file, f == PcapNano, func(at int64, size int, data []byte) {
				if at < last {
					t.Fatalf("frame %d at %d, after one at %d", frames, at, last)
				}
				if first == 0 {
					first = at
				}
				last = at
				frames++
				wire += uint64(size)
				if len(data) > 120 || len(data) != min(size, 120) {
					t.Fatalf("frame %d: %d of %d bytes kept, snap length 120", frames, len(data), size)
				}
				if size > 1518 {
					t.Fatalf("frame %d has %d bytes, more than a link takes", frames, size)
				}
				if binary.BigEndian.Uint32(data[12:]) != 0x88a80064 || binary.BigEndian.Uint32(data[16:]) != 0x81000007 {
					t.Fatalf("frame %d has tags %x", frames, data[12:20])
				}
			})
			n := truth.Totals
			if n.Frames != frames || n.Bytes != wire || n.FirstTime != first || n.LastTime != last {
				t.Errorf("totals say %d frames, %d bytes, %d to %d; the file has %d, %d, %d to %d",
					n.Frames, n.Bytes, n.FirstTime, n.LastTime, frames, wire, first, last)
			}
			if got := n.SIPCalls + n.SIPOther + n.RTP + n.RTCP + n.DNS + n.STUN + n.TCP; got != n.Frames {
				t.Errorf("kinds of frames sum up to %d of %d", got, n.Frames)
			}
		})
	}
}

func TestTruthInvariants(t *testing.T) {
	_, truth := run(t, everyScenario(4))
	n := truth.Totals
	if int(n.Calls) != len(truth.Calls) || int(n.Orphans) != len(truth.Orphans) {
		t.Errorf("totals say %d calls, %d orphans; there are %d, %d", n.Calls, n.Orphans, len(truth.Calls), len(truth.Orphans))
	}
	var messages, packets uint64
	seen := map[string]bool{}
	for _, c := range truth.Calls {
		seen[c.Scenario] = true
		messages += uint64(c.MessagesTotal)
		if c.Start > c.Last || c.End < c.Start || c.Answer > 0 && (c.Answer < c.Start || c.Answer > c.End) || c.Ring > c.End {
			t.Errorf("%s: times are out of order: %+v", c.Scenario, c)
		}
		if (c.Outcome == record.Answered) != (c.Answer > 0) {
			t.Errorf("%s: %s, but answered at %d", c.Scenario, c.Outcome, c.Answer)
		}
		for _, s := range c.Streams {
			packets += s.Packets
			checkStream(t, c.Scenario, &s)
		}
	}
	for _, s := range truth.Orphans {
		packets += s.Packets
		checkStream(t, "orphan", &s)
	}
	if messages != n.SIPCalls || packets != n.RTP {
		t.Errorf("calls have %d messages and %d packets, the file %d and %d", messages, packets, n.SIPCalls, n.RTP)
	}
	for _, s := range Scenarios() {
		if !seen[s.String()] {
			t.Errorf("no call was %s", s)
		}
	}
}

// What each scenario is there for must be in its truth.
func TestScenarios(t *testing.T) {
	type fact struct {
		outcome record.Outcome
		end     record.EndReason
		flags   string
		other   func(*Call) bool
	}
	yes := func(*Call) bool { return true }
	bye := fact{record.Answered, record.EndBye, "", yes}
	with := func(flags string, other func(*Call) bool) fact {
		return fact{record.Answered, record.EndBye, flags, other}
	}
	want := map[Scenario]fact{
		Answered: bye, Folded: bye, Compact: bye,
		Busy:       {record.Busy, record.EndRejected, "", func(c *Call) bool { return c.LastStatus == 486 || c.LastStatus == 600 }},
		Cancelled:  {record.Cancelled, record.EndCancel, "", func(c *Call) bool { return c.HungUp == caller && c.LastStatus == 487 }},
		NoAnswer:   {record.NoAnswer, record.EndRejected, "", func(c *Call) bool { return c.Ring > 0 && c.Answer == 0 }},
		NoResponse: {record.NoAnswer, record.EndOfCapture, "", func(c *Call) bool { return c.LastStatus == 0 && c.MaxRetransInv == 6 }},
		Ringing:    {record.NoAnswer, record.EndOfCapture, "", func(c *Call) bool { return c.LastProvisional == 180 && c.End == c.Last }},
		Rejected:   {record.Failed, record.EndRejected, "", func(c *Call) bool { return c.Ring == 0 }},
		Forbidden:  {record.AuthFailed, record.EndRejected, "", func(c *Call) bool { return c.LastStatus == 403 }},
		Auth401:    with("", func(c *Call) bool { return c.Challenges == 1 && c.Invites == 2 && c.AuthUser != "" }),
		Auth407:    with("", func(c *Call) bool { return c.Challenges == 1 && c.Invites == 2 && c.AuthUser != "" }),
		Forked:     with("", func(c *Call) bool { return c.Forks == 1 && c.Invites == 1 }),
		Hold:       with("", func(c *Call) bool { return c.Holds == 1 && c.Reinvites == 2 && c.Invites == 3 }),
		HoldAtEnd:  with("on-hold-at-end", func(c *Call) bool { return c.Holds == 1 }),
		OneWay:     with("one-way", func(c *Call) bool { return len(c.Streams) == 1 }),
		NoRTP:      with("no-rtp", func(c *Call) bool { return len(c.Streams) == 0 }),
		Silence:    with("silence", yes),
		EarlyMedia: with("early-media", func(c *Call) bool { return c.Streams[0].First < c.Answer && c.Ring > 0 }),
		LateSDP:    with("late-sdp", func(c *Call) bool { return c.Streams[1].First > c.Answer }),
		EarlyRTP:   with("early-media late-sdp", yes),
		Redirected: {record.Redirected, record.EndRejected, "", func(c *Call) bool { return c.Redirects == 1 && c.LastStatus == 302 }},
		Followed:   with("", func(c *Call) bool { return c.Redirects == 1 && c.Invites == 2 }),
		Reliable:   with("early-media", func(c *Call) bool { return c.Pracks == 1 && c.Updates == 1 }),
		Retransmitted: with("", func(c *Call) bool {
			return c.Retransmissions >= 3 && c.MaxRetransInv >= 1 && c.Invites == 1
		}),
		ByeUnanswered:   {record.Answered, record.EndByeAlone, "", func(c *Call) bool { return c.Retransmissions == 4 && c.End == c.ByeAt }},
		NoBye:           {record.Answered, record.EndOfCapture, "", func(c *Call) bool { return c.ByeAt == 0 && c.End > c.Last }},
		Transferred:     with("", func(c *Call) bool { return c.Refers == 1 }),
		Informed:        with("", func(c *Call) bool { return c.Infos > 0 }),
		SSRCChange:      with("", func(c *Call) bool { return len(c.Streams) == 4 }),
		PayloadChange:   with("", func(c *Call) bool { return len(c.Streams) == 2 }),
		NAT:             with("nat", func(c *Call) bool { return c.Streams[0].Src.Addr() != c.Caller.Addr.Addr() }),
		PortReuse:       with("port-reuse", yes),
		MidCall:         {record.Partial, record.EndBye, "mid-call", func(c *Call) bool { return c.Invites == 0 && len(c.Streams) == 0 }},
		MidCallReinvite: {record.Partial, record.EndBye, "late-sdp mid-call", func(c *Call) bool { return c.Answer == 0 && len(c.Streams) == 2 }},
		Announcement:    {0, record.EndRejected, "early-media", func(c *Call) bool { return len(c.Streams) == 1 && c.Answer == 0 }},
	}
	for _, kind := range Scenarios() {
		t.Run(kind.String(), func(t *testing.T) {
			_, truth := run(t, Options{Seed: 4, Calls: 3, Rate: 0.2, Proxied: 0.3, Talk: Length{Mean: 3 * time.Second}, Scenarios: []Weighted[Scenario]{{kind, 1}}})
			w, ok := want[kind]
			if !ok || len(truth.Calls) < 3 {
				t.Fatalf("%d calls, facts to expect: %v", len(truth.Calls), ok)
			}
			flagged := 0
			for _, c := range truth.Calls {
				slices.Sort(c.Flags)
				if flags := strings.Join(c.Flags, " "); flags == w.flags {
					flagged++
				} else if kind != PortReuse {
					t.Errorf("flags %q, want %q", flags, w.flags)
				}
				if w.outcome != 0 && c.Outcome != w.outcome || c.EndReason != w.end || !w.other(&c) {
					t.Errorf("got %+v", c)
				}
			}
			if kind == PortReuse && flagged*2 != len(truth.Calls) {
				t.Errorf("%d of %d calls use a port again", flagged, len(truth.Calls))
			}
		})
	}
}

// A call that nobody ends is a timeout when the file goes on for its timer.
func TestTimeout(t *testing.T) {
	o := Options{Scenarios: []Weighted[Scenario]{{Ringing, 1}, {NoResponse, 1}}, InTurn: true, Calls: 400, Rate: 1}
	_, truth := run(t, o)
	for _, c := range truth.Calls {
		timer := 180 * sec
		if c.Scenario == NoResponse.String() {
			timer = 120 * sec
		}
		want := record.EndOfCapture
		if truth.Totals.LastTime >= c.Last+timer {
			want = record.EndTimeout
		}
		if c.EndReason != want {
			t.Errorf("%s ended by %s, want %s: last %d, file %d", c.Scenario, c.EndReason, want, c.Last, truth.Totals.LastTime)
		}
	}
}

func checkStream(t *testing.T, scenario string, s *Stream) {
	t.Helper()
	delays := uint64(0)
	for _, n := range s.Delay {
		delays += uint64(n)
	}
	lost := uint64(0)
	for i, n := range s.LossRuns[:9] {
		lost += uint64(n) * uint64(i+1)
	}
	switch {
	case s.Expected != s.Received+s.Lost:
		t.Errorf("%s: expected %d, received %d, lost %d", scenario, s.Expected, s.Received, s.Lost)
	case s.Packets != s.Received+s.Duplicate+s.Stray:
		t.Errorf("%s: packets %d, received %d, duplicate %d, stray %d", scenario, s.Packets, s.Received, s.Duplicate, s.Stray)
	case s.LateF1 < s.LateF2 || s.LateF2 < s.Lost || s.LateAdapt < s.Lost || s.LateF1 < s.LateAdapt:
		t.Errorf("%s: lost %d, late %d, %d, %d", scenario, s.Lost, s.LateF1, s.LateF2, s.LateAdapt)
	case delays+uint64(s.Events)+uint64(s.Comfort) > s.Received:
		t.Errorf("%s: %d delays, %d events, %d comfort in %d packets", scenario, delays, s.Events, s.Comfort, s.Received)
	case s.LossRuns[9] == 0 && lost != s.Lost:
		t.Errorf("%s: runs sum up to %d, lost %d", scenario, lost, s.Lost)
	case s.Resets == 0 && s.Stray == 0 && s.Sent != uint32(s.Received)+s.Dropped:
		t.Errorf("%s: sent %d, received %d, dropped %d", scenario, s.Sent, s.Received, s.Dropped)
	case s.Last < s.First || s.Jitter > s.JitterMax+1e-6 || s.JitterAvg > s.JitterMax:
		t.Errorf("%s: %+v", scenario, s)
	}
}

// A clean stream's figures are known without any meter.
func TestCleanCall(t *testing.T) {
	o := Options{Calls: 1, Talk: Length{Mean: 10 * time.Second}, Codecs: []Weighted[Codec]{{codecs[0], 1}}}
	_, truth := run(t, o)
	c := truth.Calls[0]
	if c.Outcome != record.Answered || c.EndReason != record.EndBye || c.MessagesTotal != 7 || c.Invites != 1 || len(c.Streams) != 2 {
		t.Fatalf("got %+v", c)
	}
	for _, s := range c.Streams {
		want := record.Counters{Packets: s.Packets, Received: s.Packets, Expected: s.Packets, Bytes: 160 * s.Packets, Markers: 1, DeltaMin: 20, DeltaMax: 20}
		want.Delay[0] = uint32(s.Packets) - 1
		if s.Counters != want || s.Ptime != 20 || s.Codec != "PCMU" || s.Packets < 495 || s.Packets > 510 {
			t.Errorf("got %+v", s)
		}
	}
}

func TestCompare(t *testing.T) {
	_, truth := run(t, Options{Calls: 1, Talk: Length{Mean: 2 * time.Second}})
	w := truth.Calls[0]
	same := func() *record.Call {
		c := &record.Call{
			CallID: w.CallID, Start: w.Start, Trying: w.Trying, Ring: w.Ring, Answer: w.Answer, ByeAt: w.ByeAt, End: w.End, Last: w.Last,
			Outcome: w.Outcome, EndReason: w.EndReason, HungUp: w.HungUp, RequestUser: w.RequestUser,
			LastStatus: w.LastStatus, LastReason: w.LastReason, LastProvisional: w.LastProvisional,
			Invites: w.Invites, VLAN: w.VLAN, Transport: w.Transport, MessagesTotal: w.MessagesTotal,
			Caller: record.Party{Number: w.Caller.Number, Domain: w.Caller.Domain, Name: w.Caller.Name, Tag: w.Caller.Tag, Addr: w.Caller.Addr, Agent: w.Caller.Agent},
			Called: record.Party{Number: w.Called.Number, Domain: w.Called.Domain, Name: w.Called.Name, Tag: "any", Addr: w.Called.Addr, Agent: w.Called.Agent},
		}
		for _, s := range w.Streams {
			c.Streams = append(c.Streams, record.Stream{
				CallID: s.CallID, Src: s.Src, Dst: s.Dst, SSRC: s.SSRC, From: s.From, Codec: s.Codec, Payload: s.Payload,
				Rate: s.Rate, Ptime: s.Ptime, VLAN: s.VLAN, TTLMin: s.TTLMin, TTLMax: s.TTLMax, First: s.First, Last: s.Last, Counters: s.Counters,
			})
		}
		return c
	}
	tests := []struct {
		name string
		edit func(*record.Call)
		what string // "" for no difference
	}{
		{"equal", func(*record.Call) {}, ""},
		{"rounding", func(c *record.Call) { c.Streams[0].DeltaMax *= 1 + 1e-9 }, ""},
		{"outcome", func(c *record.Call) { c.Outcome = record.Busy }, "outcome"},
		{"time", func(c *record.Call) { c.End++ }, "end"},
		{"party", func(c *record.Call) { c.Caller.Name = "Nobody" }, "caller.name"},
		{"flag", func(c *record.Call) { c.Flags |= record.NATed }, "flags"},
		{"count", func(c *record.Call) { c.Streams[0].Lost++ }, "lost"},
		{"histogram", func(c *record.Call) { c.Streams[0].Delay[3]++ }, "delay_hist"},
		{"float", func(c *record.Call) { c.Streams[0].DeltaMax *= 1.001 }, "delta_max_ms"},
		{"stream missing", func(c *record.Call) { c.Streams = c.Streams[1:] }, "streams"},
		{"stream too many", func(c *record.Call) { c.Streams = append(c.Streams, record.Stream{SSRC: 1}) }, "streams"},
		{"other call", func(c *record.Call) { c.CallID = "x" }, "records"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := same()
			tt.edit(c)
			got := Compare(truth, []*record.Call{c}, nil)
			if tt.what == "" {
				if len(got) != 0 {
					t.Errorf("got %v", got)
				}
				return
			}
			if len(got) == 0 || !bytes.HasSuffix([]byte(got[0].What), []byte(tt.what)) {
				t.Errorf("got %v, want a difference in %s", got, tt.what)
			}
		})
	}
}

func TestNoAllocationPerPacket(t *testing.T) {
	o := Options{Calls: 50, Rate: 100, Talk: Length{Mean: time.Hour}, Gateways: 50,
		Impairments: []Weighted[Impairment]{{Impairment{}, 1}, {Impairment{Loss: 0.01, Jitter: 5 * time.Millisecond, Reorder: 0.01, Duplicate: 0.01}, 1}}}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.out = newCapture(io.Discard, PcapMicro, 65535)
	for range 200000 { // all calls are up, and slices have grown
		g.step(g.queue.take())
	}
	if n := testing.AllocsPerRun(20000, func() { g.step(g.queue.take()) }); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func BenchmarkFrames(b *testing.B) {
	for name, harm := range map[string]Impairment{"clean": {}, "impaired": {Loss: 0.01, Jitter: 5 * time.Millisecond, Reorder: 0.001}} {
		b.Run(name, func(b *testing.B) {
			o := load()
			o.Impairments = []Weighted[Impairment]{{harm, 1}}
			o.Talk.Mean = 20 * time.Hour
			o.Gateways = 2000
			o.Rate = 4000
			g, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			g.out = newCapture(io.Discard, PcapMicro, 65535)
			for g.calls < 2000 {
				g.step(g.queue.take())
			}
			b.ReportAllocs()
			for b.Loop() {
				g.step(g.queue.take())
			}
		})
	}
}
