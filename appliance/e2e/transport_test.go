package e2e

import (
	"runtime"
	"testing"
	"time"

	"ringside/bench/traffic"
	"ringside/flow/record"
)

// transports are those that the generator makes SIP over.
var transports = []record.Transport{record.UDP, record.TCP, record.WS, record.SCTP}

// carried makes every scenario with SIP over one transport.
func carried(t record.Transport, seed uint64) traffic.Options {
	o := traffic.Options{
		Seed: seed, InTurn: true, Calls: 74, Rate: 8,
		Talk:       traffic.Length{Kind: traffic.Uniform, Min: 2 * time.Second, Max: 9 * time.Second},
		Transports: []traffic.Weighted[record.Transport]{{Value: t, Weight: 1}},
		Digits:     0.3, DTX: 0.2, RTCP: true, Mux: 0.3, IPv6: 0.3, Proxied: 0.3, Background: 1, Noise: 5,
	}
	for _, s := range traffic.Scenarios() {
		o.Scenarios = append(o.Scenarios, traffic.Weighted[traffic.Scenario]{Value: s, Weight: 1})
	}
	if testing.Short() { // for the race detector, which is slow
		o.Calls = 20
	}
	return o
}

// agreeCopies is agree for a capture in which every packet may come twice.
func agreeCopies(t *testing.T, dedup, path string, truth *traffic.Truth) reading {
	t.Helper()
	var one reading
	first := ""
	for _, workers := range []int{1, 2, 4} {
		r := readDedup(t, dedup, workers, path)
		if !r.report.Balanced || r.report.Frames != truth.Totals.Frames {
			t.Errorf("%d workers: the ledger does not balance: %d frames, written %d: %+v",
				workers, r.report.Frames, truth.Totals.Frames, r.report.Ledger)
		}
		if d := dump(t, &r); first == "" {
			one, first = r, d
			differ(t, traffic.Compare(truth, r.calls, r.orphans))
		} else if d != first {
			t.Errorf("%d workers: other records than one worker", workers)
		}
	}
	return one
}

// TestTransports reads SIP over each transport: as hosts send it on a good day;
// with all that networks do to it; come upon in its midst; and with messages
// that only the capture missed.
func TestTransports(t *testing.T) {
	networks := []struct{ name, spec string }{
		{"clean", "none"},
		{"habits", "split=0.4,join=0.3,shared=0.3,keepalive=0.6,blank=0.2,dupack=0.3"},
		{"lossy", "split=0.3,lost=0.08,behind=0.08,rebound=0.5"},
		{"reordered", "split=0.5,reorder=0.3"},
		{"rough", "split=0.4,join=0.3,shared=0.3,keepalive=0.5,blank=0.1,lost=0.05,behind=0.05,reorder=0.1,rebound=0.5,dupack=0.3"},
		{"midstream", "midstream=1,split=0.2,join=0.2"},
		{"missed", "capture=0.5,split=0.2"},
	}
	for _, transport := range transports[1:] {
		for i, n := range networks {
			t.Run(transport.String()+"/"+n.name, func(t *testing.T) {
				o := carried(transport, 100*uint64(transport)+uint64(i))
				o.Large = 0.3
				var err error
				if o.Streams, err = traffic.ParseStreams(n.spec); err != nil {
					t.Fatal(err)
				}
				path, truth := generate(t, o)
				agree(t, path, truth)
			})
		}
	}
}

// TestPresets reads the mixes that ringbench gen makes.
func TestPresets(t *testing.T) {
	for _, name := range []string{"streams", "fragments"} {
		t.Run(name, func(t *testing.T) {
			o, err := traffic.Preset(name)
			if err != nil {
				t.Fatal(err)
			}
			if testing.Short() {
				o.Calls = 20
			}
			path, truth := generate(t, o)
			agree(t, path, truth)
		})
	}
}

// TestFragments reads large messages and large RTP packets in fragments.
func TestFragments(t *testing.T) {
	withoutRace(t)
	l16, err := traffic.ParseCodec("L16")
	if err != nil {
		t.Fatal(err)
	}
	g711, err := traffic.ParseCodec("PCMU")
	if err != nil {
		t.Fatal(err)
	}
	for _, transport := range transports {
		for _, mtu := range []int{300, 1400} {
			t.Run(transport.String()+"/"+map[int]string{300: "small", 1400: "large"}[mtu], func(t *testing.T) {
				o := carried(transport, 200+uint64(transport))
				o.Codecs = []traffic.Weighted[traffic.Codec]{{Value: g711, Weight: 1}, {Value: l16, Weight: 1}}
				o.Impairments = []traffic.Weighted[traffic.Impairment]{
					{Weight: 1},
					{Value: traffic.Impairment{Loss: 0.02, Jitter: 10 * time.Millisecond, Reorder: 0.01, Duplicate: 0.01}, Weight: 1},
				}
				o.Calls = min(o.Calls, 40)
				o.Large, o.MTU, o.Disorder = 0.6, mtu, 0.4
				path, truth := generate(t, o)
				agree(t, path, truth)
			})
		}
	}
}

// TestMirror reads captures of a mirror of both directions: every packet comes
// twice, and the records say what they would if it came once. Messages that a
// host itself sends again stay retransmissions.
func TestMirror(t *testing.T) {
	mirrors := []struct {
		kind  traffic.Mirror
		vlans []uint16
	}{
		{traffic.MirrorSame, nil}, {traffic.MirrorVLAN, []uint16{10}}, {traffic.MirrorRouted, nil}, {traffic.MirrorBoth, nil},
	}
	for i, m := range mirrors {
		for _, transport := range transports {
			t.Run(m.kind.String()+"/"+transport.String(), func(t *testing.T) {
				o := carried(transport, 300+10*uint64(i)+uint64(transport))
				o.Calls = min(o.Calls, 40)
				o.Mirror, o.VLANs, o.ZeroID, o.FastT1 = m.kind, m.vlans, 0.4, 0.5
				o.Impairments = []traffic.Weighted[traffic.Impairment]{
					{Weight: 1},
					{Value: traffic.Impairment{Loss: 0.02, Jitter: 10 * time.Millisecond, Reorder: 0.01}, Weight: 1},
				}
				o.Streams = traffic.Streams{Split: 0.3, Join: 0.2, KeepAlive: 0.4, Behind: 0.03, Lost: 0.03, DupAck: 0.2}
				path, truth := generate(t, o)
				r := agreeCopies(t, "on", path, truth)
				f, n := &r.report.Flow, &truth.Totals
				if f.RTPDuplicates != n.RTP || f.RTP != 2*n.RTP {
					t.Errorf("%d RTP packets, %d of them copies; the truth is %d, each twice", f.RTP, f.RTPDuplicates, n.RTP)
				}
				// The background is UDP, of which each copy is read. Copies of
				// segments are taken away before there is a message.
				want := n.SIPCalls + 2*n.SIPOther
				if transport == record.UDP {
					want += n.SIPCalls
				}
				if f.SIPMessages != want {
					t.Errorf("%d SIP messages, want %d: %d of calls, %d of the background", f.SIPMessages, want, n.SIPCalls, n.SIPOther)
				}
			})
		}
	}
}

// TestMirrorOfFragments reads fragments that come twice each.
func TestMirrorOfFragments(t *testing.T) {
	o := carried(record.UDP, 350)
	o.Calls = min(o.Calls, 40)
	o.Large, o.MTU, o.Disorder, o.Mirror, o.ZeroID = 0.6, 576, 0.4, traffic.MirrorBoth, 0.4
	path, truth := generate(t, o)
	agreeCopies(t, "on", path, truth)
}

// TestHostile reads calls in the midst of attacks. They come out as they would
// alone, and the attacks take no more memory than they may.
func TestHostile(t *testing.T) {
	o, err := traffic.Preset("hostile")
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		o.Calls = 20
	}
	path, truth := generate(t, o)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	agreeCopies(t, "auto", path, truth)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("%d bytes are still in use", grown)
	}
}
