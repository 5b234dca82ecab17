package flow

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"ringside/dataplane/frame"
	"ringside/flow/meter"
	"ringside/flow/record"
	"ringside/flow/rtp"
	"ringside/flow/rule"
)

// kernel is a filter that meters RTP, as a source: it takes the RTP packets out of
// a script, and tells of their streams every second.
type kernel struct {
	*source
	copies bool // it delivers what it has metered all the same
	room   int  // slots; what finds none is delivered
	from   int64
	delay  int64 // how long news is under way, ns
	back   func(*frame.Packet)
	busy   func(*frame.Packet) bool // it cannot meter this one

	mu      sync.Mutex
	news    []frame.Metered // that is under way
	counted uint64
	slots   []inKernel
	told    int64
	clock   int64
	over    bool
	taken   int
	wants   map[uint32]rule.Level
	said    map[frame.Endpoint]int // payload types of each address that stands
	publish int
}

type inKernel struct {
	key   flowKey
	iface uint16
	hot   meter.Hot
	cold  meter.Cold
	since uint32 // packets when it was told of last
	used  bool

	intervals uint32
}

func (k *kernel) Next() (*frame.Batch, error) {
	b, err := k.source.Next()
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == io.EOF && k.over:
		return nil, err
	case err == io.EOF:
		k.over = true
		k.source.mu.Lock()
		k.source.mark = k.clock + 2
		k.source.mu.Unlock()
		last := k.tell(k.clock + 1)
		for _, m := range k.news {
			m.Clock = k.clock + 1
			last.Metered = append(last.Metered, m)
		}
		return last, nil
	case err != nil || b == nil:
		return b, err
	}
	out := &frame.Batch{Frames: b.Frames}
	for _, p := range b.Packets {
		if k.clock = p.Clock; k.back != nil {
			k.back(&p)
		}
		if p.Clock >= k.from && !(k.busy != nil && k.busy(&p)) && k.meter(&p) {
			if !k.copies {
				continue
			}
			p.Flags |= frame.FlagMetered
		}
		out.Packets = append(out.Packets, p)
	}
	if k.clock >= k.told+second {
		k.told = k.clock
		k.news = append(k.news, k.tell(k.clock).Metered...)
	}
	if len(k.news) > 0 && k.clock >= k.told+k.delay {
		out.Metered, k.news = k.news, nil
		for i := range out.Metered {
			out.Metered[i].Clock = k.clock
		}
	}
	return out, nil
}

// meter counts a packet of RTP, if there is room.
func (k *kernel) meter(p *frame.Packet) bool {
	var h rtp.Header
	if len(p.Payload) == 0 || p.Payload[0]>>6 != 2 || p.Src.Port < firstMediaPort || rtp.IsRTCP(p.Payload) ||
		!rtp.ParseHeader(p.Payload, int(p.Len), &h) {
		return false
	}
	key := flowKey{p.Src.Addr, p.Dst.Addr, p.Src.Port, p.Dst.Port, h.SSRC}
	i := slices.IndexFunc(k.slots, func(s inKernel) bool { return s.used && s.key == key && s.iface == p.Iface })
	if i < 0 {
		if i = slices.IndexFunc(k.slots, func(s inKernel) bool { return !s.used }); i < 0 {
			if i = len(k.slots); i == k.room {
				return false
			}
			k.slots = append(k.slots, inKernel{})
		}
		k.slots[i] = inKernel{key: key, iface: p.Iface, used: true}
	}
	k.counted++
	s := &k.slots[i]
	_, rate := rtp.StaticPayload(h.Type)
	before := s.hot
	s.hot.Packet(&s.cold, &meter.Packet{
		Time: p.Time, TS: h.TS, Len: h.Len, Rate: rate, Seq: h.Seq, Type: h.Type, Marker: h.Marker,
	})
	if endOf(&s.hot) != endOf(&before) && before.Started() {
		s.intervals++
	}
	return true
}

// The state of a stream lies in memory as it does in the kernel.
const hotBytes, coldBytes = 152, 248

func endOf(h *meter.Hot) int64 { return *(*int64)(unsafe.Add(unsafe.Pointer(h), 48)) }

func (s *inKernel) state(to []byte) {
	n := copy(to, unsafe.Slice((*byte)(unsafe.Pointer(&s.hot)), hotBytes))
	copy(to[n:], unsafe.Slice((*byte)(unsafe.Pointer(&s.cold)), coldBytes))
	*(*uint32)(unsafe.Pointer(&to[n+coldBytes-4])) = s.intervals
}

func (k *kernel) tell(clock int64) *frame.Batch {
	b := new(frame.Batch)
	for i := range k.slots {
		s := &k.slots[i]
		if !s.used || s.hot.Packets() == s.since {
			continue
		}
		s.since = s.hot.Packets()
		b.Metered = append(b.Metered, frame.Metered{
			Time: s.hot.Last(), Clock: clock, First: meter.Finish(&s.hot, &s.cold).First,
			Src: s.key.from(), Dst: s.key.to(), SSRC: s.key.ssrc, Slot: uint32(i), VLAN: -1, TTL: [2]uint8{64, 64},
			Type: meter.Finish(&s.hot, &s.cold).Payload,
		})
	}
	return b
}

func (k *kernel) Read(slot uint32, state []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.slots[slot].state(state)
	return k.slots[slot].used
}

func (k *kernel) Take(slot uint32, state []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.slots[slot].used {
		return false
	}
	k.taken++
	k.slots[slot].state(state)
	k.slots[slot].used = false
	return true
}

func (k *kernel) Want(slot uint32, level rule.Level) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wants[slot] = level
}

func (k *kernel) Publish(at frame.Endpoint, level rule.Level, payloads []rtp.Payload) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.publish++
	k.said[at] = len(payloads)
}

func (k *kernel) Withdraw(at frame.Endpoint) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.said, at)
}

// runKernel reads the script with the RTP metered elsewhere.
func (sc *script) runKernel(t *testing.T, workers int, k *kernel) outcome {
	t.Helper()
	var o outcome
	// A live capture is read as it comes; the kernel is not ahead of it.
	k.source, k.wants, k.said = sc.source(1), make(map[uint32]rule.Level), make(map[frame.Endpoint]int)
	g := NewGroup(Options{
		Workers: workers, Meters: k, Endpoints: k, Ahead: 1,
		Call:   func(c *record.Call) { o.calls = append(o.calls, c) },
		Orphan: func(s *record.Stream) { o.orphans = append(o.orphans, s) },
	})
	err := within(t, func() error {
		return g.Run(context.Background(), func(ctx context.Context, i int, s *Shard) error {
			if i > 0 { // whoever reads first must not be told of what another reads
				return s.Run(ctx, busy{k.source}, predecoded{})
			}
			return s.Run(ctx, k, predecoded{})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	o.stats = g.Stats()
	fates := uint64(0)
	for _, f := range o.stats.Fates() {
		fates += f.Count
	}
	if fates != o.stats.RTP+o.stats.Metered || o.stats.ActiveStreams != 0 {
		t.Errorf("the ledger does not balance: RTP %d, metered %d, %v, %d streams active", o.stats.RTP, o.stats.Metered, o.stats.Fates(), o.stats.ActiveStreams)
	}
	if o.stats.Metered != k.counted {
		t.Errorf("the kernel has metered %d packets, and %d are known", k.counted, o.stats.Metered)
	}
	for i := range k.slots {
		if k.slots[i].used {
			t.Errorf("slot %d is still taken", i)
		}
	}
	return o
}

func records(t *testing.T, o outcome) string {
	t.Helper()
	got, err := json.MarshalIndent([]any{o.calls, o.orphans}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func kernelScripts() map[string]*script {
	var long, orphans, two, many script
	long.call("long", 0, 61*time.Second, 4000, 6000)
	long.rtp(time.Second, 61*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	long.rtp(time.Second, 61*time.Second, at2(bob, 6000), at2(alice, 4000), 0, 2, 160)
	long.packets = slices.DeleteFunc(long.packets, func(p frame.Packet) bool { // loss
		return p.Src.Port == 6000 && (p.Time/20e6)%17 == 3
	})
	orphans.rtp(0, 2*time.Second, at2(alice, 4000), at2(bob, 6000), 8, 1, 160)
	orphans.rtp(90*time.Second, 92*time.Second, at2(alice, 4000), at2(bob, 6000), 8, 1, 160)
	for i := range 40 { // a live clock goes on by itself
		orphans.add(time.Duration(2*i+3)*time.Second, at2(alice, 5060), at2(bob, 5060), []byte("\r\n\r\n"))
	}
	orphans.add(time.Second, at2(alice, 4444), at2(bob, 5555), append([]byte{0x80, 0x12}, make([]byte, 20)...))
	for i, start := range []time.Duration{0, 40 * time.Second} { // one port, one call after the other
		two.call(fmt.Sprint("c", i), start, 5*time.Second, 4000, 6000)
		two.rtp(start+time.Second, start+5*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 7, 160)
		two.rtp(start+time.Second, start+5*time.Second, at2(bob, 6000), at2(alice, 4000), 8, 8, 160)
	}
	for i := range 50 { // at times of their own: whoever meters knows the time of a packet, and not its clock
		start := time.Duration(i)*time.Second + time.Duration(i*i)*time.Microsecond
		many.call(fmt.Sprint("c", i), start, 5*time.Second, 4000+10*i, 6000)
		many.rtp(start+1003*time.Millisecond, start+2*time.Second, at2(alice, uint16(4000+10*i)), at2(bob, 6000), 0, uint32(i), 160)
	}
	return map[string]*script{"long call": &long, "orphans": &orphans, "one port twice": &two, "many": &many}
}

// TestKernelMeters: calls and streams have the same records wherever their RTP is
// metered, whether packets are delivered as well or not.
func TestKernelMeters(t *testing.T) {
	scripts := kernelScripts()
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		if testing.Short() && name != "one port twice" { // for the race detector, which is slow
			continue
		}
		sc := scripts[name]
		want := records(t, sc.run(t))
		for _, workers := range []int{1, 3} {
			for _, copies := range []bool{false, true} {
				t.Run(fmt.Sprint(name, "/", workers, "/copies ", copies), func(t *testing.T) {
					k := &kernel{copies: copies, room: 1000}
					o := sc.runKernel(t, workers, k)
					if got := records(t, o); got != want {
						t.Errorf("%s", differs(got, want))
					}
					if o.stats.RTP != 0 || o.stats.Metered == 0 || copies != (o.stats.RTPCopies == o.stats.Metered) {
						t.Errorf("RTP %d, metered %d, copies %d", o.stats.RTP, o.stats.Metered, o.stats.RTPCopies)
					}
				})
			}
		}
	}
}

// TestKernelSplit: a stream for which the kernel had no room at first is reported
// as two, and no packet counts twice.
func TestKernelSplit(t *testing.T) {
	var sc script
	sc.call("c", 0, 30*time.Second, 4000, 6000)
	sc.rtp(time.Second, 30*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	k := &kernel{room: 10, from: epoch + int64(10*time.Second)}
	c := one(t, sc.runKernel(t, 2, k))
	if len(c.Streams) != 2 || c.Streams[0].Packets+c.Streams[1].Packets != 29*50 ||
		c.Streams[0].Lost+c.Streams[1].Lost != 0 || c.Streams[0].Flags != "split" || c.Streams[1].Flags != "split" {
		t.Errorf("%+v", c.Streams)
	}
}

// TestKernelFull: what finds no room in the kernel is metered here.
func TestKernelFull(t *testing.T) {
	sc := manyCalls()
	k := &kernel{room: 3}
	o := sc.runKernel(t, 1, k)
	if o.stats.RTP+o.stats.Metered != 50*50 || o.stats.Metered == 0 || o.stats.InCalls != 50*50 {
		t.Errorf("RTP %d, metered %d, in calls %d", o.stats.RTP, o.stats.Metered, o.stats.InCalls)
	}
}

// TestKernelHears: what SDP says reaches the kernel, and is taken back.
func TestKernelHears(t *testing.T) {
	var sc script
	sc.call("c", 0, 5*time.Second, 4000, 6000)
	sc.rtp(time.Second, 5*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.call("later", 90*time.Second, 5*time.Second, 4002, 6002)
	k := &kernel{room: 10}
	sc.runKernel(t, 2, k)
	for _, at := range []frame.Endpoint{at2(alice, 4000), at2(bob, 6000)} {
		if _, ok := k.said[at]; ok {
			t.Errorf("%v is not taken back", at)
		}
	}
	if k.publish < 8 { // with those of RTCP
		t.Errorf("%d addresses were published", k.publish)
	}
}
