package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ringside/bench/netns"
	"ringside/bench/replay"
)

func TestLiveUsage(t *testing.T) {
	for _, tc := range []struct {
		name, args, want string
	}{
		{"part", "odd", "no part"},
		{"runs", "--runs 0", "0 runs"},
		{"calls", "--calls 0", "0 calls"},
		{"span", "--span 1ms", "span 1ms"},
		{"share", "--free 2", "share of 2"},
		{"tries", "--tries 0", "0 tries"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := run(t.Context(), append([]string{"live"}, strings.Fields(tc.args)...), new(bytes.Buffer))
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a usage error about %q", err, tc.want)
			}
		})
	}
}

func TestSearch(t *testing.T) {
	for _, tc := range []struct {
		name        string
		limit, send float64 // loses above, cannot be sent above
		want        float64
	}{
		{"far above the first try", 2.9e6, math.Inf(1), 2.9e6},
		{"near it", 0.61e6, math.Inf(1), 0.61e6},
		{"far below", 0.05e6, math.Inf(1), 0.05e6},
		{"never loses", math.Inf(1), 2e6, 2e6},
		{"always loses", 0, math.Inf(1), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tries := 0
			got, err := search(firstRate, func(rate float64) (float64, bool, error) {
				tries++
				rate = min(rate, tc.send)
				return rate, rate <= tc.limit, nil
			})
			if err != nil || got > tc.want || got < tc.want/exact || tries > 20 {
				t.Errorf("got %.0f after %d tries, %v; want at most %.0f, and %.0f at the least", got, tries, err, tc.want, tc.want/exact)
			}
		})
	}
}

func TestWhatProgramsSay(t *testing.T) {
	const summary = "Calls\n  answered       2  100.0 %\n  all            2\n\nLedger: what became of every packet\n  packet sip       3,500\n  sum      199,092  balances\n\n" +
		"and of the RTP packets among them\n  rtp in-calls      195,591\n  rtp no-call    1\n  sum      195,592  balances\n\n" +
		"and of the packets for the spool, of each call that they are of\n  spool stored-sip      3,500\n  spool stored-rtp    195,590\n"
	for _, tc := range []struct {
		name, said string
		on         *subject
		want       uint64
		fails      bool
	}{
		{"tcpdump", "2010 packets captured\n2010 packets received by filter\n", dumped, 2000, false},
		{"tcpdump that failed", "tcpdump: no such device\n", dumped, 0, true},
		{"RTP", summary, metered, 195592, false},
		{"stored", summary, headers, 195590, false},
		{"nothing stored", "Calls\n  all  0\n", headers, 0, true},
		{"calls that are not there", strings.Replace(summary, "all            2", "all            1", 1), metered, 0, true},
		{"no balance", summary + "  DOES NOT BALANCE: +1\n", metered, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.on.count(tc.said, &calls{begin: make([]replay.Frame, 7), media: make([]replay.Frame, 4), end: make([]replay.Frame, 3)})
			if (err != nil) != tc.fails || !tc.fails && got != tc.want {
				t.Errorf("got %d, %v; want %d", got, err, tc.want)
			}
		})
	}
}

// What a subject has handled is at most what was offered, and what the floor has
// is what has arrived. (How much is lost depends on the machine.)
func TestMeasure(t *testing.T) {
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	c, err := newCalls(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []*subject{floor, dumped} {
		t.Run(on.name, func(t *testing.T) {
			if on == dumped {
				if _, err := exec.LookPath("tcpdump"); err != nil {
					t.Skip(err)
				}
			}
			s := &liveSettings{floor: "../../../bpf/floor_bpfel.o", spool: t.TempDir(), span: 100 * time.Millisecond, share: true}
			r, err := s.measure(t.Context(), on, c, 20000)
			if err != nil {
				t.Fatal(err)
			}
			if r.offered != 2000 || r.arrived == 0 || r.handled == 0 || r.handled > r.offered || r.kernel == 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestNewCalls(t *testing.T) {
	const n = 20
	c, err := newCalls(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.media) != 2*n || len(c.begin) < 3*n || len(c.end) < 2*n {
		t.Errorf("%d streams, %d frames of SIP that begin %d calls, %d that end them", len(c.media), len(c.begin), n, len(c.end))
	}
	for i, f := range c.media {
		if b := f.Data[atRTP:]; b[0] != 0x80 || b[1]&0x80 != 0 {
			t.Errorf("frame %d is no RTP without a marker: % x", i, b[:12])
		}
	}
	o := c.rtp("a", 1e6, time.Second)
	if got := o.Loops * len(c.media); got != 1e6 {
		t.Errorf("%d frames are sent in a second, want 1000000", got)
	}
	// 40 streams at a million packets a second: each 40 µs a packet, at 8,000 Hz a third of a sample.
	if ts := o.Fields[1]; ts.Step != 1 || ts.Each != 2*n {
		t.Errorf("timestamps go on by %d every %d frames", ts.Step, ts.Each)
	}
}

// Both directions of a call are one flow, and each way spreads generated flows.
func TestSteering(t *testing.T) {
	flows, err := generatedFlows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(flows) != steerFlows {
		t.Fatalf("%d flows of %d calls", len(flows), steerFlows)
	}
	for _, way := range steering {
		if rings, off := share(flows, way.ring); off > steerGoal {
			t.Errorf("%s: %v of 1,000 flows: %s off", way.name, rings, percent(off))
		}
		f := flows[0]
		back := flow{addrs: [2][4]byte{f.addrs[1], f.addrs[0]}, ports: [2]uint16{f.ports[1], f.ports[0]}}
		if way.ring(f) != way.ring(back) {
			t.Errorf("%s: directions of %v go to different rings", way.name, f)
		}
	}
	frame := make([]byte, atRTP)
	copy(frame[26:], []byte{10, 0, 0, 2, 10, 0, 0, 1})
	binary.BigEndian.PutUint16(frame[atPorts:], 7)
	binary.BigEndian.PutUint16(frame[atPorts+2:], 9)
	if got, want := flowOf(frame), (flow{[2][4]byte{{10, 0, 0, 1}, {10, 0, 0, 2}}, [2]uint16{9, 7}}); got != want {
		t.Errorf("flow %v, want %v", got, want)
	}
}
