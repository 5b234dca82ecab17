package flow

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/replay"
	"ringside/flow/record"
)

// wire is a capture of Ethernet frames.
type wire struct {
	frames []frame.Frame
	ids    uint16

	patient bool // its source lends batches
	apart   bool // one worker reads its RTP from a source beside
}

// ipv4 is an Ethernet frame with an IPv4 packet. offset is in bytes.
func ipv4(p *frame.Packet, proto uint8, id uint16, payload []byte, offset int, more bool) []byte {
	b := make([]byte, 14+20, 34+len(payload))
	b[12], b[13] = 8, 0
	ip := b[14:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(ip[4:], id)
	flags := uint16(offset / 8)
	if more {
		flags |= 0x2000
	}
	binary.BigEndian.PutUint16(ip[6:], flags)
	ip[8], ip[9] = p.TTL, proto
	binary.BigEndian.PutUint32(ip[12:], uint32(p.Src.Addr.Lo))
	binary.BigEndian.PutUint32(ip[16:], uint32(p.Dst.Addr.Lo))
	return append(b, payload...)
}

func (w *wire) add(at int64, data []byte) {
	w.frames = append(w.frames, frame.Frame{Time: at, Data: data, Len: uint32(len(data)), Link: frame.LinkEthernet})
}

// udp adds a datagram, in so many fragments at most.
func (w *wire) udp(p *frame.Packet, cuts []int) {
	w.ids++
	d := make([]byte, 8, 8+len(p.Payload))
	binary.BigEndian.PutUint16(d, p.Src.Port)
	binary.BigEndian.PutUint16(d[2:], p.Dst.Port)
	binary.BigEndian.PutUint16(d[4:], uint16(8+len(p.Payload)))
	d = append(d, p.Payload...)
	begin := 0
	for i, c := range append(cuts, len(d)) {
		if c != len(d) {
			c &^= 7
		}
		if c <= begin || c > len(d) {
			continue
		}
		w.add(p.Time+int64(i)*2000, ipv4(p, 17, w.ids, d[begin:c], begin, c < len(d)))
		begin = c
	}
}

func (w *wire) tcp(at int64, p *frame.Packet, seq uint32, payload []byte) {
	w.ids++
	s := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(s, p.Src.Port)
	binary.BigEndian.PutUint16(s[2:], p.Dst.Port)
	binary.BigEndian.PutUint32(s[4:], seq)
	s[12], s[13] = 0x50, 0x18&^0x10 // PSH; without ACK
	w.add(at, ipv4(p, 6, w.ids, append(s, payload...), 0, false))
}

// wireOf carries a script in frames at random: SIP over UDP, in fragments and over
// TCP, with holes, copies and segments out of order.
func wireOf(sc *script, r *rand.Rand) *wire {
	slices.SortStableFunc(sc.packets, func(a, b frame.Packet) int { return int(a.Time - b.Time) })
	w := &wire{}
	var seq [2]uint32
	for i := range sc.packets {
		p := &sc.packets[i]
		isSIP := p.Src.Port == 5060
		switch n := r.IntN(10); {
		case isSIP && n < 5: // TCP
			d := 0
			if p.Src.Addr == bob {
				d = 1
			}
			at, rest := p.Time, p.Payload
			for len(rest) > 0 {
				n := min(len(rest), 1+r.IntN(400))
				if r.IntN(20) > 0 { // else lost
					late := int64(0)
					if r.IntN(8) == 0 {
						late = r.Int64N(3e6)
					}
					w.tcp(at+late, p, seq[d], rest[:n])
					if r.IntN(15) == 0 {
						w.tcp(at+late+int64(200e6), p, seq[d], rest[:n])
					}
				}
				seq[d] += uint32(n)
				rest = rest[n:]
				at += r.Int64N(1e6)
			}
		case isSIP && n < 7:
			w.udp(p, []int{r.IntN(len(p.Payload)), len(p.Payload)})
		case !isSIP && n == 0:
			w.udp(p, []int{16 + r.IntN(100)})
		default:
			w.udp(p, nil)
		}
	}
	for _, f := range slices.Clone(w.frames) {
		if r.IntN(10) == 0 { // a copy
			f.Time += r.Int64N(12e6)
			f.Data = slices.Clone(f.Data)
			f.Data[14+8]--
			f.Iface = uint16(r.IntN(2))
			w.frames = append(w.frames, f)
		}
	}
	slices.SortStableFunc(w.frames, func(a, b frame.Frame) int { return int(a.Time - b.Time) })
	clock := int64(0)
	for i := range w.frames {
		f := &w.frames[i]
		clock = max(clock+1, f.Time)
		f.Clock, f.Seq = clock, uint64(i)
		if r.IntN(500) == 0 {
			f.Lost = 1
		}
	}
	return w
}

// cut gives the frames in batches of a size.
type cut struct {
	mu     sync.Mutex
	frames []frame.Frame
	size   int
	mark   int64
	out    int

	// patient lends its batches, and makes their bytes worthless when they come back.
	patient bool
}

func (c *cut) Take() (*frame.Batch, error) { return c.Next() }

func (c *cut) Next() (*frame.Batch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.frames) == 0 {
		return nil, io.EOF
	}
	n := min(c.size, len(c.frames))
	c.out++
	b := &frame.Batch{Frames: slices.Clone(c.frames[:n]), Patient: c.patient}
	for i := range b.Frames {
		if f := &b.Frames[i]; c.patient {
			f.Data = slices.Clone(f.Data)
		}
	}
	b.Free = func(b *frame.Batch) {
		for i := range b.Frames {
			if f := &b.Frames[i]; c.patient {
				clear(f.Data)
				*f = frame.Frame{}
			}
		}
		c.mu.Lock()
		c.out--
		c.mu.Unlock()
	}
	c.frames = c.frames[n:]
	c.mark = b.Frames[n-1].Clock + 1
	return b, nil
}

func (c *cut) Mark() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mark
}

func (c *cut) Close() error { return nil }

func (w *wire) read(t *testing.T, o Options, size, loops, lanes int) (string, Stats) {
	t.Helper()
	var all []any
	var dec []*decode.Decoder
	for range o.Workers {
		dec = append(dec, decode.New(decode.Options{}))
	}
	o.lanes = lanes
	o.Call = func(c *record.Call) { all = append(all, c) }
	o.Orphan = func(s *record.Stream) { all = append(all, s) }
	o.Registration = func(r *record.Registration) { all = append(all, r) }
	o.Exchange = func(x *record.Exchange) { all = append(all, x) }
	o.Event = func(e *record.Event) { all = append(all, e) }
	o.Link = func(l *record.Link) { all = append(all, l) }
	o.Quality = func(q *record.QualityReport) { all = append(all, q) }
	var inputs []*cut
	src, err := replay.New(func() (replay.Input, error) {
		inputs = append(inputs, &cut{frames: w.frames, size: size, patient: w.patient})
		return inputs[len(inputs)-1], nil
	}, replay.Options{Loops: loops})
	if err != nil {
		t.Fatal(err)
	}
	sources := []frame.Source{src}
	if w.apart {
		o.Sources = 2
		inputs = w.takeApart(size)
		sources = []frame.Source{inputs[0], inputs[1]}
	}
	g := NewGroup(o)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // for a deadlock
	defer cancel()
	if err := g.Run(ctx, func(ctx context.Context, i int, s *Shard) error {
		return s.Run(ctx, sources[0], dec[i], sources[1:]...)
	}); err != nil {
		t.Fatal(err)
	}
	for _, in := range inputs {
		if in.out != 0 {
			t.Errorf("%d batches not released", in.out)
		}
	}
	st := g.Stats()
	var d decode.Stats
	for _, x := range dec {
		s := x.Stats()
		d.Add(&s)
	}
	kinds, fates := uint64(0), uint64(0)
	for _, k := range st.Kinds() {
		kinds += k.Count
	}
	for _, k := range st.Fates() {
		fates += k.Count
	}
	if kinds != d.Packets+d.JoinedPackets || fates != st.RTP || st.ActiveStreams != 0 {
		t.Errorf("%d workers: ledger: %d kinds of %d packets, %d fates of %d", o.Workers, kinds, d.Packets+d.JoinedPackets, fates, st.RTP)
	}
	out, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), st
}

// takeApart gives the RTP of the wire, and what looks like it, to a source of its
// own, as a feed does.
func (w *wire) takeApart(size int) []*cut {
	rest, rtp := &cut{size: size}, &cut{size: max(1, size/2), patient: true}
	for _, f := range w.frames {
		to := rest
		if len(f.Data) > 14+20+8 && f.Data[14+9] == frame.ProtoUDP && f.Data[14+20+8]>>6 == 2 {
			to = rtp
		}
		to.frames = append(to.frames, f)
	}
	return []*cut{rest, rtp}
}

// others adds a registration, an exchange of OPTIONS and a text message.
func (r *roulette) others(n int) {
	at := r.when()
	say := func(fromAlice bool, first, method, id string) {
		a, b := at2(alice, 5060), at2(bob, 5060)
		if !fromAlice {
			a, b = b, a
		}
		r.script.add(at, a, b, []byte(fmt.Sprintf("%s\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK%s%s\r\nFrom: <sip:u%d@a>;tag=a1\r\n"+
			"To: <sip:u%d@a>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContact: <sip:u@10.0.0.1>;expires=60\r\nContent-Length: 0\r\n\r\n", first, id, method, n, n, id, method)))
		at += time.Duration(r.Int64N(int64(300 * time.Millisecond)))
	}
	method := []string{"REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "PUBLISH"}[r.IntN(5)]
	id := fmt.Sprint("o", n)
	say(true, method+" sip:u@b SIP/2.0", method, id)
	if r.IntN(3) > 0 {
		say(false, "SIP/2.0 200 OK", method, id)
	}
}

// TestRandomWire: captures at random, as they come from the wire, and in a loop.
// The records are the same for any number of workers, any batches and lanes.
func TestRandomWire(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	for _, mode := range []Dedup{DedupOff, DedupOn, DedupAuto} {
		for seed := range seeds {
			t.Run(fmt.Sprint(mode, seed), func(t *testing.T) {
				r := &roulette{Rand: rand.New(rand.NewPCG(seed, 2))}
				for n := range 12 {
					r.call(fmt.Sprint("c", n/2))
				}
				for range 10 {
					r.stream()
				}
				for n := range 10 {
					r.others(n % 5)
				}
				w := wireOf(&r.script, r.Rand)
				for _, loops := range []int{1, 3} {
					for _, size := range []int{1, 7, 1000} {
						if testing.Short() && loops == 3 && size != 7 {
							continue
						}
						want := ""
						for _, workers := range []int{1, 2, 3} {
							got, st := w.read(t, Options{Workers: workers, Dedup: mode}, size, loops, 1+size%2)
							if want == "" {
								want = got
								if size == 7 {
									t.Logf("%d frames, %d loops: %d sip, %d calls, %d rtp, dups %d %d %d", len(w.frames), loops, st.SIPMessages, strings.Count(got, "call_id"), st.RTP,
										st.SIPDuplicates, st.RTPDuplicates, st.SegmentDuplicates)
								}
							} else if got != want {
								at := 0
								for at < min(len(got), len(want)) && got[at] == want[at] {
									at++
								}
								t.Fatalf("%d workers, batches of %d, %d loops: at %d …%s\nwant …%s", workers, size, loops, at,
									got[max(0, at-200):min(len(got), at+200)], want[max(0, at-200):min(len(want), at+200)])
							}
						}
					}
				}
			})
		}
	}
}
