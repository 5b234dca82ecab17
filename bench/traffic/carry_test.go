package traffic

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

// What was asked for before there were transports, fragments and mirrors is
// made to the last byte as it was then, the sound in RTP apart.
func TestSameBytesAsEver(t *testing.T) {
	tests := []struct {
		name, want string
		edit       func(*Options)
	}{
		{"demo", "a7aa7222862bf05fade205bb0fac2dced60b91995a7ee324dcb00618efa9a213", func(*Options) {}},
		{"mixed", "a8c2051594125aa8893f8e78523f78bab831da4c9e24154cc1ad849a1b88ee11", func(*Options) {}},
		{"demo", "e4a9b10e67e397ef2db70f4c45ac4a02bfa2b43dc1d4939ae5ea713247b4aca7", func(o *Options) {
			o.VLANs, o.Format, o.Scenarios, o.InTurn, o.Calls = []uint16{5, 6}, PcapngNano, nil, true, 80
			for _, s := range Scenarios() {
				o.Scenarios = append(o.Scenarios, Weighted[Scenario]{s, 1})
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := Preset(tt.name)
			if err != nil {
				t.Fatal(err)
			}
			tt.edit(&o)
			g, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			if _, err := g.Run(t.Context(), h, io.Discard); err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(h.Sum(nil)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// rough is everything that happens to connections and that tshark can cope with.
var rough = Streams{
	Split: 0.4, Join: 0.3, Shared: 0.3, KeepAlive: 0.5,
	Lost: 0.05, Behind: 0.05, Reorder: 0.1, Rebound: 0.5, DupAck: 0.3,
}

// overTransport makes every scenario over one transport.
func overTransport(t record.Transport, h Streams) Options {
	o := everyScenario(1)
	o.Seed = 40 + uint64(t)
	o.Transports, o.Streams = []Weighted[record.Transport]{{t, 1}}, h
	o.Background, o.Noise, o.Large = 0, 0, 0.3
	return o
}

// readable leaves out what tshark has no eyes for: connections whose begin it
// did not see, and a Content-Length by its short name.
func readable(o Options) Options {
	o.Scenarios = slices.DeleteFunc(o.Scenarios, func(w Weighted[Scenario]) bool {
		return w.Value == MidCall || w.Value == MidCallReinvite || w.Value == Compact
	})
	return o
}

// tshark reads the same messages at the same times, and finds every checksum
// right.
func TestTsharkAgreesOnMessages(t *testing.T) {
	cut := func(o *Options) { o.Streams, o.MTU, o.Disorder = Streams{Split: 0.3}, 576, 0.3 }
	tests := []struct {
		name      string
		transport record.Transport
		edit      func(*Options)
	}{
		{"udp/fragments", record.UDP, cut},
		{"tcp/rough", record.TCP, func(*Options) {}},
		{"tcp/fragments", record.TCP, cut},
		// Of two messages that one packet completes, tshark leaves the second
		// unread when the first came in several WebSocket frames.
		{"ws/rough", record.WS, func(o *Options) { o.Streams.Join, o.Streams.Shared = 0, 0 }},
		{"ws/fragments", record.WS, cut},
		{"sctp/rough", record.SCTP, func(*Options) {}},
		{"sctp/fragments", record.SCTP, cut},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := readable(overTransport(tt.transport, rough))
			o.Talk = Length{Kind: Uniform, Min: time.Second, Max: 4 * time.Second}
			tt.edit(&o)
			file, truth := run(t, o)
			compareMessages(t, file, truth)
		})
	}
}

// seen is what tshark sees of a call.
type seen struct {
	messages    int
	first, last string
}

func compareMessages(t *testing.T, file []byte, truth *Truth) {
	t.Helper()
	out := tshark(t, file, "-o", "tcp.reassemble_out_of_order:TRUE", "-o", "sctp.reassembly:TRUE", "-o", "sctp.checksum:TRUE",
		"-T", "fields", "-E", "separator=|", "-e", "frame.number", "-e", "frame.time_epoch",
		"-e", "_ws.malformed", "-e", "ip.checksum.status", "-e", "udp.checksum.status", "-e", "tcp.checksum.status",
		"-e", "sctp.checksum.status", "-e", "sip.Call-ID", "-e", "frame.protocols")
	calls := map[string]*seen{}
	frames := uint64(0)
	for line := range strings.Lines(out) {
		frames++
		f := strings.Split(strings.TrimRight(line, "\n"), "|")
		if f[2] != "" || f[3] == "0" || f[4] == "0" || f[5] == "0" || f[6] == "0" {
			t.Errorf("frame %s: malformed %q, checksums ip %q udp %q tcp %q sctp %q: %s", f[0], f[2], f[3], f[4], f[5], f[6], f[8])
		}
		if f[7] == "" {
			continue
		}
		for id := range strings.SplitSeq(f[7], ",") {
			c := calls[id]
			if c == nil {
				c = &seen{first: f[1]}
				calls[id] = c
			}
			c.messages++
			c.last = f[1]
		}
	}
	if frames != truth.Totals.Frames {
		t.Errorf("tshark reads %d frames, truth says %d", frames, truth.Totals.Frames)
	}
	if len(calls) != len(truth.Calls) {
		t.Errorf("tshark reads %d Call-IDs, truth says %d", len(calls), len(truth.Calls))
	}
	for _, c := range truth.Calls {
		want := seen{int(c.MessagesTotal), epoch(c.Start), epoch(c.Last)}
		if got := calls[c.CallID]; got == nil || *got != want {
			t.Errorf("%s %s: tshark sees %+v, truth says %+v", c.Scenario, c.CallID, got, want)
		}
	}
}

// epoch is a time as tshark prints it.
func epoch(t int64) string { return fmt.Sprintf("%d.%09d", t/sec, t%sec) }

// Every transport keeps what is true of scenarios, whatever happens on the way.
func TestCarriedTruth(t *testing.T) {
	for _, transport := range []record.Transport{record.TCP, record.WS, record.SCTP} {
		for name, h := range map[string]Streams{"clean": {}, "rough": rough, "midstream": {Midstream: 1}, "missed": {Capture: 1, Split: 0.3}} {
			t.Run(transport.String()+"/"+name, func(t *testing.T) {
				o := overTransport(transport, h)
				o.Proxied = 0 // what is missed on one hop would be seen on the other
				_, truth := run(t, o)
				var messages uint64
				for _, c := range truth.Calls {
					messages += uint64(c.MessagesTotal)
					if c.Transport != transport || c.Caller.Addr.Port() < 32768 && c.Called.Addr.Port() < 32768 {
						t.Errorf("%s: over %v, from %v to %v", c.Scenario, c.Transport, c.Caller.Addr, c.Called.Addr)
					}
					if c.Start > c.Last || c.End < c.Start || c.Answer > 0 && (c.Answer < c.Start || c.Answer > c.End) || c.Ring > c.End {
						t.Errorf("%s: times are out of order: %+v", c.Scenario, c)
					}
					for _, s := range c.Streams {
						checkStream(t, c.Scenario, &s)
					}
				}
				n := truth.Totals
				if n.SIPCalls != messages {
					t.Errorf("calls have %d messages, the file %d", messages, n.SIPCalls)
				}
				if missed := n.Unseen > 0; missed != (h.Capture > 0) {
					t.Errorf("%d messages were missed", n.Unseen)
				}
				if cut := n.Cut > 0; cut != (h.Capture > 0 && transport == record.TCP) {
					t.Errorf("%d messages were cut", n.Cut)
				}
			})
		}
	}
}

// Presets give the same bytes each time.
func TestPresetsAreDeterministic(t *testing.T) {
	for _, name := range []string{"streams", "fragments", "mirror", "hostile"} {
		t.Run(name, func(t *testing.T) {
			var sums [2]string
			for i := range sums {
				o, err := Preset(name)
				if err != nil {
					t.Fatal(err)
				}
				o.Calls = 30
				g, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				h := sha256.New()
				if _, err := g.Run(t.Context(), h, h); err != nil {
					t.Fatal(err)
				}
				sums[i] = hex.EncodeToString(h.Sum(nil))
			}
			if sums[0] != sums[1] {
				t.Error("the same seed gave other bytes")
			}
		})
	}
}
