package replay

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/netns"
	"ringside/bench/traffic"
	"ringside/flow/record"
)

// pair makes a link that is gone when the test is over. Its ends take frames
// from XDP without a program (GRO).
func pair(t testing.TB, queues int) *netns.Link {
	t.Helper()
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	l, err := netns.Pair(queues)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if out, err := l.Command(t.Context(), netns.B, "ethtool", "-K", l.Side(netns.B).Iface, "gro", "on").CombinedOutput(); err != nil {
		t.Fatalf("turn GRO on: %v: %s", err, out)
	}
	return l
}

// generated are the frames of a capture with some of everything.
func generated(t testing.TB, o traffic.Options) []Frame {
	t.Helper()
	g, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := g.Run(t.Context(), &b, nil); err != nil {
		t.Fatal(err)
	}
	frames, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// mixed is SIP over all transports, RTP and RTCP.
func mixed(calls int) traffic.Options {
	return traffic.Options{
		Seed: 7, Calls: calls, Rate: 20, RTCP: true, Digits: 0.5, IPv6: 0.2, Large: 0.2, MTU: 1400, Noise: 3,
		Talk:       traffic.Length{Mean: time.Second},
		Scenarios:  []traffic.Weighted[traffic.Scenario]{{Value: traffic.Answered, Weight: 3}, {Value: traffic.Busy, Weight: 1}},
		Transports: []traffic.Weighted[record.Transport]{{Value: record.UDP, Weight: 3}, {Value: record.TCP, Weight: 1}, {Value: record.SCTP, Weight: 1}},
	}
}

// sendOn sends from A.
func sendOn(ctx context.Context, l *netns.Link, o Options) (r Result, err error) {
	o.Iface = l.Side(netns.A).Iface
	err = l.Do(netns.A, func() (err error) {
		r, err = Send(ctx, o)
		return err
	})
	return r, err
}

// receiver is a plain packet socket on B.
type receiver struct{ fd int }

func listen(t testing.TB, l *netns.Link) *receiver {
	t.Helper()
	r := &receiver{}
	err := l.Do(netns.B, func() (err error) {
		all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
			unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}),
			unix.Bind(r.fd, &unix.SockaddrLinklayer{Ifindex: l.Side(netns.B).Index, Protocol: all}))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(r.fd) })
	return r
}

// take reads so many frames.
func (r *receiver) take(t testing.TB, n int) [][]byte {
	t.Helper()
	b := make([]byte, 1<<16)
	var out [][]byte
	for len(out) < n {
		m, _, err := unix.Recvfrom(r.fd, b, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatalf("after %d of %d frames: %v", len(out), n, err)
		}
		out = append(out, bytes.Clone(b[:m]))
	}
	return out
}

var engines = map[string]Engine{"packet": Packet, "xdp": XDP, "ring": Ring}

// What is sent arrives, byte for byte and in order, and is counted.
func TestFramesArrive(t *testing.T) {
	frames := generated(t, mixed(5))
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			l := pair(t, 1)
			in := listen(t, l)
			// Slow enough for any receiver: what is lost here would be lost by the sender.
			r, err := sendOn(t.Context(), l, Options{Frames: frames, Loops: 2, Engine: engine, PPS: 20000})
			if err != nil || r.Sent != 2*uint64(len(frames)) || r.Refused != 0 {
				t.Fatalf("got %+v, %v, want %d frames sent", r, err, 2*len(frames))
			}
			for i, got := range in.take(t, int(r.Sent)) {
				if !bytes.Equal(got, frames[i%len(frames)].Data) {
					t.Fatalf("frame %d arrived as\n%x, sent\n%x", i, got, frames[i%len(frames)].Data)
				}
			}
			c, err := l.Counters(netns.B)
			if err != nil || c.RxPackets != r.Sent || c.RxDropped != 0 {
				t.Errorf("%v: the receiver counts %+v, sent %+v", err, c, r)
			}
			if a, err := l.Counters(netns.A); err != nil || a.TxPackets != r.Sent {
				t.Errorf("%v: the sender's interface counts %+v, sent %+v", err, a, r)
			}
		})
	}
}

// Several senders keep the order between two hosts.
func TestSenders(t *testing.T) {
	frames := generated(t, mixed(8))
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) {
			l := pair(t, 4)
			in := listen(t, l)
			r, err := sendOn(t.Context(), l, Options{Frames: frames, Senders: 3, CPUs: []int{0}, Engine: engine, PPS: 20000})
			if err != nil || r.Sent != uint64(len(frames)) {
				t.Fatalf("got %+v, %v, want %d frames sent", r, err, len(frames))
			}
			pairOf := func(b []byte) uint32 {
				h := layoutOf(b)
				return h.hash(b)
			}
			want := map[uint32][][]byte{}
			for _, f := range frames {
				want[pairOf(f.Data)] = append(want[pairOf(f.Data)], f.Data)
			}
			if len(want) < 6 {
				t.Fatalf("only %d pairs of hosts: nothing is shared out", len(want))
			}
			for i, b := range in.take(t, len(frames)) {
				p := pairOf(b)
				if len(want[p]) == 0 || !bytes.Equal(b, want[p][0]) {
					t.Fatalf("frame %d is not the next between its hosts", i)
				}
				want[p] = want[p][1:]
			}
		})
	}
}

// A sender is never faster than asked, and not much slower if it is not held up.
func TestPace(t *testing.T) {
	frames := generated(t, mixed(2))
	span := time.Duration(frames[len(frames)-1].Time - frames[0].Time)
	const pps = 4000
	flat := time.Duration(float64(len(frames)-1) / pps * 1e9)
	for name, engine := range engines {
		for _, pace := range []struct {
			name string
			o    Options
			want time.Duration
		}{
			{"flat", Options{PPS: pps}, flat},
			{"flat, two senders", Options{PPS: pps, Senders: 2}, flat},
			{"recorded", Options{Speed: 4}, span / 4},
			{"recorded, twice", Options{Speed: 8, Loops: 2, Gap: 2 * time.Second}, (2*span + 2*time.Second) / 8},
		} {
			t.Run(name+"/"+pace.name, func(t *testing.T) {
				l := pair(t, 1)
				o := pace.o
				o.Frames, o.Engine = frames, engine
				// Others use the machine, too: one of several attempts must do.
				for attempt := 1; ; attempt++ {
					r, err := sendOn(t.Context(), l, o)
					if err != nil || r.Sent != uint64(len(frames)*max(1, o.Loops)) {
						t.Fatalf("got %+v, %v", r, err)
					}
					if r.Took < pace.want-time.Millisecond {
						t.Fatalf("took %v, less than the %v that it must", r.Took, pace.want)
					}
					if r.Took < 2*pace.want {
						return
					}
					if attempt == 40 {
						t.Fatalf("took %v, asked for %v, slipped %v", r.Took, pace.want, r.Slipped)
					}
				}
			})
		}
	}
}

// Fields count on in every frame, checksums stay right, and both engines make the same.
func TestFields(t *testing.T) {
	register, registerFields := RegisterFlood(300)
	rtp, rtpFields := RTPFlood(7)
	six := Frame{Data: bytes.Clone(sixth)}
	odd := []Field{{At: 14 + 40 + 8 + 1, Kind: Uint32, Step: 77777}, {At: 14 + 8 + 3, Kind: Uint16}, {At: 14 + 40 + 8 + 7, Kind: Hex, Each: 3, Count: 5}, {At: 0, Kind: Uint16}}
	for _, tc := range []struct {
		name   string
		frames []Frame
		fields []Field
	}{
		{"register", register, registerFields},
		{"rtp", rtp, rtpFields},
		{"ipv6, odd places, two frames", []Frame{six, six}, odd},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const loops = 400
			var arrived [2][][]byte
			for i, engine := range []Engine{Packet, XDP} {
				l := pair(t, 1)
				in := listen(t, l)
				r, err := sendOn(t.Context(), l, Options{Frames: tc.frames, Fields: tc.fields, Loops: loops, Engine: engine, PPS: 10000})
				if err != nil || r.Sent != uint64(loops*len(tc.frames)) {
					t.Fatalf("engine %d: got %+v, %v", engine, r, err)
				}
				arrived[i] = in.take(t, int(r.Sent))
			}
			seen := map[string]bool{}
			for i, b := range arrived[0] {
				if !bytes.Equal(b, arrived[1][i]) {
					t.Fatalf("frame %d: packet sends\n%x, xdp\n%x", i, b, arrived[1][i])
				}
				if err := verify(b); err != nil {
					t.Fatalf("frame %d: %v: %x", i, err, b)
				}
				if seen[string(b)] {
					t.Fatalf("frame %d was there before", i)
				}
				seen[string(b)] = true
			}
		})
	}
}

// sixth is a datagram over IPv6.
var sixth = func() []byte {
	b := append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd}, make([]byte, 40+8+31)...)
	ip := b[14:]
	ip[0], ip[5], ip[6], ip[7], ip[8], ip[24], ip[39] = 0x60, 8+31, protoUDP, 64, 0xfd, 0xfd, 1
	udp := ip[40:]
	udp[0], udp[2], udp[5] = 0x20, 0x30, 8+31
	copy(udp[8:], "a payload of an odd length, 31.")
	binary.BigEndian.PutUint16(udp[6:], ^fold(sum(ip[8:40])+protoUDP+8+31+sum(udp)))
	return b
}()

// verify computes the checksums of a frame anew.
func verify(b []byte) error {
	l := layoutOf(b)
	if l.ip == 0 {
		return nil
	}
	if head := b[l.ip:l.l4]; !l.v6 && fold(sum(head)) != 0xffff {
		return fmt.Errorf("checksum of the IP header is wrong by %#x", fold(sum(head)))
	}
	from, to := l.addresses()
	switch s := sum(b[from:to]) + uint32(l.proto) + uint32(l.end-l.l4) + sum(b[l.l4:l.end]); {
	case l.sum == 0 || l.part:
		return nil
	case l.proto == protoSCTP:
		have := bytes.Clone(b)
		l.reseal(have)
		if !bytes.Equal(have, b) {
			return errors.New("checksum of SCTP is wrong")
		}
	case fold(s) != 0xffff:
		return fmt.Errorf("checksum of the transport is wrong by %#x", fold(s))
	}
	return nil
}

// An endless loop ends with its context, without an error; one that has an end
// says that it did not come to it.
func TestContext(t *testing.T) {
	for name, engine := range engines {
		for _, pps := range []float64{0, 1000} {
			t.Run(fmt.Sprint(name, pps), func(t *testing.T) {
				l := pair(t, 1)
				o := Options{Frames: []Frame{{Data: sixth}}, Loops: -1, Engine: engine, PPS: pps}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() {
					for ctx.Err() == nil {
						if c, err := l.Counters(netns.B); err != nil || c.RxPackets > 0 {
							cancel()
						}
					}
				}()
				if r, err := sendOn(ctx, l, o); err != nil || r.Sent == 0 {
					t.Errorf("endless: got %+v, %v", r, err)
				}
				o.Loops, o.PPS = 1e9, 1000
				short, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer end()
				if _, err := sendOn(short, l, o); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a thousand million: got %v, want the context's error", err)
				}
			})
		}
	}
}

// Frames that the driver does not take are counted, and tried again if asked.
func TestRefused(t *testing.T) {
	l := pair(t, 1)
	run := func(side int, args ...string) {
		t.Helper()
		if out, err := l.Command(t.Context(), side, "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	b := l.Side(netns.B).Iface
	run(netns.B, "link", "set", b, "down")
	frames := make([]Frame, 100)
	for i := range frames {
		frames[i].Data = sixth
	}
	if r, err := sendOn(t.Context(), l, Options{Frames: frames}); err != nil || r.Sent != 0 || r.Refused != 100 {
		t.Errorf("the other end is down: got %+v, %v, want 100 refused", r, err)
	}
	r, err := sendOn(t.Context(), l, Options{Frames: frames, Engine: XDP})
	if err == nil || !strings.Contains(err.Error(), "took none") || r.Sent != 0 {
		t.Errorf("the other end is down, xdp: got %+v, %v, want an error", r, err)
	}
	done := make(chan error, 1)
	go func() {
		r, err := sendOn(t.Context(), l, Options{Frames: frames, Retry: true})
		if err == nil && (r.Sent != 100 || r.Refused == 0) {
			err = fmt.Errorf("got %+v", r)
		}
		done <- err
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if c, err := l.Counters(netns.A); err != nil || time.Now().After(deadline) {
			t.Fatalf("%v: nothing was offered: %+v", err, c)
		} else if c.TxDropped > 100 {
			break
		}
	}
	run(netns.B, "link", "set", b, "up")
	if err := <-done; err != nil {
		t.Errorf("tried again: %v", err)
	}
}

// Without a hash of flows one CPU fills one queue, with it all.
func TestFlows(t *testing.T) {
	l := pair(t, 4)
	frames, fields := RTPFlood(1000)
	queues := func() (used int) {
		out, err := l.Command(t.Context(), netns.B, "ethtool", "-S", l.Side(netns.B).Iface).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if name, n, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.HasPrefix(name, "rx_queue_") &&
				strings.HasSuffix(name, "_xdp_packets") && n != "0" {
				used++
			}
		}
		return used
	}
	o := Options{Frames: frames, Fields: fields, Loops: 1000, CPUs: []int{0}, PPS: 50000}
	if r, err := sendOn(t.Context(), l, o); err != nil || r.Sent != 1000 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if n := queues(); n != 1 {
		t.Errorf("one CPU filled %d queues, not 1", n)
	}
	o.Flows = true
	if r, err := sendOn(t.Context(), l, o); err != nil || r.Sent != 1000 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if n := queues(); n != 4 {
		t.Errorf("1000 flows filled %d queues, not 4", n)
	}
}

func TestOptions(t *testing.T) {
	l := pair(t, 1)
	one := []Frame{{Data: sixth}}
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"nothing", Options{}, "no frames"},
		{"short", Options{Frames: []Frame{{Data: make([]byte, 13)}}}, "13 bytes"},
		{"long", Options{Frames: []Frame{{Data: make([]byte, 1519)}}}, "MTU"},
		{"rate", Options{Frames: one, PPS: -1}, "-1"},
		{"speed", Options{Frames: one, Speed: 2e9}, "speed"},
		{"senders", Options{Frames: one, Senders: 1000}, "1000 senders"},
		{"rewrite", Options{Frames: one, Engine: XDP, Rewrite: true}, "cannot rewrite"},
		{"engine", Options{Frames: one, Engine: 7}, "engine 7"},
		{"field outside", Options{Frames: one, Fields: []Field{{At: len(sixth) - 7, Kind: Hex}}}, "field 0"},
		{"kind", Options{Frames: one, Fields: []Field{{Kind: 9}}}, "kind 9"},
		{"fields", Options{Frames: one, Fields: make([]Field, 17)}, "17 fields"},
		{"cpu", Options{Frames: one, CPUs: []int{1000}}, "CPU 1000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := sendOn(t.Context(), l, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error about %q", err, tc.want)
			}
		})
	}
	if _, err := Send(t.Context(), Options{Iface: "none", Frames: one}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v, want an error about the interface", err)
	}
	if out, err := l.Command(t.Context(), netns.A, "ip", "link", "set", l.Side(netns.A).Iface, "down").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := sendOn(t.Context(), l, Options{Frames: one}); err == nil || !strings.Contains(err.Error(), "down") {
		t.Errorf("got %v, want an error about the interface that is down", err)
	}
}
