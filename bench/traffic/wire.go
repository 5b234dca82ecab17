package traffic

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Mirror says in which way a mirror port delivers every packet twice, once as
// it enters the switch or router and once as it leaves.
type Mirror uint8

// Kinds of mirrors.
const (
	MirrorOff    Mirror = iota
	MirrorSame          // both copies are equal to the last bit
	MirrorVLAN          // the second copy is in another VLAN
	MirrorRouted        // the second copy was routed: other MAC addresses, a TTL of one less
	MirrorBoth          // the second copy was routed into another VLAN
)

var mirrorNames = []string{"off", "same", "vlan", "routed", "both"}

func (m Mirror) String() string { return mirrorNames[m] }

// Mirrors lists the names that ParseMirror takes.
func Mirrors() []string { return mirrorNames }

// ParseMirror is the inverse of String.
func ParseMirror(s string) (Mirror, error) {
	if i := slices.Index(mirrorNames, s); i >= 0 {
		return Mirror(i), nil
	}
	return 0, fmt.Errorf("parse mirror %q: not one of %v", s, mirrorNames)
}

const (
	// wireLag is how long a frame is held back before it is written: fragments
	// stand in the file before the moment that their datagram is complete.
	wireLag = 20 * ms
	// mirrorLag is the most time between the two copies of a packet.
	mirrorLag = 2 * ms
	// spread is the most time between two fragments of a datagram, and
	// spreadAll between its first and its last.
	spread    = 400_000
	spreadAll = 15 * ms
)

const protoFragment = 44 // IPv6 fragment header, RFC 8200 section 4.5

// wire is what lies between the hosts and the file where frames are not
// written as they are made: hosts number their datagrams, a link cuts them into
// fragments, a mirror doubles them.
type wire struct {
	mtu      int
	disorder float64
	mirror   Mirror
	zero     float64
	format   Format
	rnd      random
	ids      map[netip.Addr]uint16 // next identification of a host
	id6      uint32
	order    uint64
	queue    held
	free     []*heldFrame
	doubles  map[Duplicates]uint64
	piece    [maxFrame]byte // the fragment being made
	second   [maxFrame]byte // the copy being made

	fragments, copies *uint64 // of the totals
}

// Duplicates counts frames that came twice, by what told the copies apart. In
// the truth file each is a line of its own, of type "duplicates".
type Duplicates struct {
	Type   string `json:"type"`
	VLAN   int32  `json:"vlan"` // of the first copy, -1 if untagged
	TTL    uint8  `json:"ttl"`
	VLAN2  int32  `json:"vlan2"` // of the second copy
	TTL2   uint8  `json:"ttl2"`
	Frames uint64 `json:"frames"` // that came twice
}

// heldFrame is a frame that waits to be written.
type heldFrame struct {
	at    int64
	order uint64
	data  []byte
}

// held is a heap by time, then by order of arrival.
type held []*heldFrame

func (h held) Len() int { return len(h) }
func (h held) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].order < h[j].order
}
func (h held) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *held) Push(x any)   { *h = append(*h, x.(*heldFrame)) }
func (h *held) Pop() any {
	last := len(*h) - 1
	f := (*h)[last]
	*h = (*h)[:last]
	return f
}

// newWire is nil where frames are written as they are made.
func newWire(o *Options, t *Totals) *wire {
	if o.MTU == 0 && o.Mirror == MirrorOff && o.ZeroID == 0 {
		return nil
	}
	return &wire{
		mtu: o.MTU, disorder: o.Disorder, mirror: o.Mirror, zero: o.ZeroID, format: o.Format,
		rnd: newRandom(o.Seed, 1<<60), ids: map[netip.Addr]uint16{}, doubles: map[Duplicates]uint64{},
		fragments: &t.Fragments, copies: &t.Copies,
	}
}

func (o *Options) checkWire() error {
	switch {
	case o.MTU != 0 && (o.MTU < 256 || o.MTU > 9000):
		return fmt.Errorf("check options: MTU of %d is not within 256 to 9000", o.MTU)
	case int(o.Mirror) >= len(mirrorNames):
		return fmt.Errorf("check options: no mirror %d", o.Mirror)
	case (o.Mirror == MirrorVLAN || o.Mirror == MirrorBoth) && len(o.VLANs) > 1:
		return errors.New("check options: a mirror that changes the VLAN needs frames with at most one tag")
	}
	for _, h := range o.Impairments {
		if o.Mirror != MirrorOff && h.Value.Duplicate > 0 {
			return errors.New("check options: duplicates of the network cannot be told from those of a mirror; leave out dup or mirror")
		}
	}
	return nil
}

// send takes a frame off the hands of a host at the time t, when all of it must
// have passed the point of capture.
func (w *wire) send(t int64, b []byte) {
	ip := ipAt(b)
	if b[ip]>>4 == 4 {
		w.send4(t, b, ip)
		return
	}
	if w.mtu == 0 || len(b)-ip <= w.mtu {
		w.pass(t, b, ip)
		return
	}
	w.id6++
	const fragmentHeader = 8
	next := b[ip+6]
	room := (w.mtu - 40 - fragmentHeader) &^ 7
	w.cut(t, len(b)-ip-40, room, func(f []byte, from, to int, more uint16) int {
		n := copy(f, b[:ip+40])
		f[ip+6] = protoFragment
		binary.BigEndian.PutUint16(f[ip+4:], uint16(fragmentHeader+to-from))
		f[n], f[n+1] = next, 0
		binary.BigEndian.PutUint16(f[n+2:], uint16(from)|more)
		binary.BigEndian.PutUint32(f[n+4:], w.id6)
		n += fragmentHeader
		return n + copy(f[n:], b[ip+40+from:ip+40+to])
	}, ip)
}

func (w *wire) send4(t int64, b []byte, ip int) {
	a, _ := netip.AddrFromSlice(b[ip+12 : ip+16])
	whole := w.mtu == 0 || len(b)-ip <= w.mtu
	id := uint16(0)
	if !(whole && b[ip+9] == protoUDP && zeroHost(a, w.zero)) {
		if _, known := w.ids[a]; !known {
			w.ids[a] = uint16(w.rnd.next())
		}
		w.ids[a]++
		id = w.ids[a]
	}
	binary.BigEndian.PutUint16(b[ip+4:], id)
	if whole {
		headerSum(b[ip : ip+20])
		w.pass(t, b, ip)
		return
	}
	w.cut(t, len(b)-ip-20, (w.mtu-20)&^7, func(f []byte, from, to int, more uint16) int {
		n := copy(f, b[:ip+20])
		binary.BigEndian.PutUint16(f[ip+2:], uint16(20+to-from))
		binary.BigEndian.PutUint16(f[ip+6:], uint16(from/8)|more<<13) // no longer "do not fragment"
		headerSum(f[ip : ip+20])
		return n + copy(f[n:], b[ip+20+from:ip+20+to])
	}, ip)
}

// zeroHost tells whether a host sends 0 as the identification of what it does
// not allow to be cut (RFC 6864 section 4.1).
func zeroHost(a netip.Addr, share float64) bool {
	b := a.As4()
	return share > 0 && float64(mix(uint64(binary.BigEndian.Uint32(b[:])))>>40) < share*(1<<24)
}

// cut makes fragments of size payload bytes. The last of them in the file
// stands at t, the others before it.
func (w *wire) cut(t int64, size, room int, fill func(f []byte, from, to int, more uint16) int, ip int) {
	n := (size + room - 1) / room
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if w.rnd.chance(w.disorder) {
		for i := n - 1; i > 0; i-- {
			j := w.rnd.below(i + 1)
			order[i], order[j] = order[j], order[i]
		}
	}
	gap := w.rnd.between(2000, min(spread, spreadAll/int64(n)))
	f := w.piece[:]
	for i, k := range order {
		from, to, more := k*room, min((k+1)*room, size), uint16(1)
		if to == size {
			more = 0
		}
		length := fill(f, from, to, more)
		*w.fragments++
		w.pass(t-int64(n-1-i)*gap, f[:length], ip)
	}
}

// pass delivers a frame at the time t, and where there is a mirror its second
// copy soon after.
func (w *wire) pass(t int64, b []byte, ip int) {
	w.hold(t, b)
	if w.mirror == MirrorOff {
		return
	}
	at := t + w.rnd.between(0, mirrorLag)
	pair := Duplicates{Type: "duplicates", VLAN: vlanOf(b)}
	pair.VLAN2, pair.TTL = pair.VLAN, ttlOf(b, ip)
	pair.TTL2 = pair.TTL
	f := w.second[:]
	n := copy(f, b)
	if w.mirror == MirrorRouted || w.mirror == MirrorBoth {
		f[1], f[7] = f[1]^0x40, f[7]^0x40 // the router's other side
		route(f[ip:])
		pair.TTL2--
	}
	if w.mirror == MirrorVLAN || w.mirror == MirrorBoth {
		pair.VLAN2 = 1 + (pair.VLAN+100)%4094
		n = retag(f, n, uint16(pair.VLAN2))
	}
	w.doubles[pair]++
	*w.copies++
	w.hold(at, f[:n])
}

// hold puts a copy of b among the frames to be written.
func (w *wire) hold(t int64, b []byte) {
	var f *heldFrame
	if n := len(w.free); n > 0 {
		f, w.free = w.free[n-1], w.free[:n-1]
	} else {
		f = new(heldFrame)
	}
	w.order++
	f.at, f.order, f.data = w.format.stamp(t), w.order, append(f.data[:0], b...)
	heap.Push(&w.queue, f)
}

// deliver writes the frames that are due until t.
func (w *wire) deliver(g *Generator, t int64) {
	for len(w.queue) > 0 && w.queue[0].at <= t {
		f := heap.Pop(&w.queue).(*heldFrame)
		n := copy(g.out.room(), f.data)
		g.written(f.at, n)
		w.free = append(w.free, f)
	}
}

// duplicates are the counts of doubled frames, in a fixed order.
func (w *wire) duplicates() []Duplicates {
	var out []Duplicates
	for d, n := range w.doubles {
		d.Frames = n
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Duplicates) int {
		return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), cmp.Compare(a.TTL, b.TTL), cmp.Compare(a.VLAN2, b.VLAN2), cmp.Compare(a.TTL2, b.TTL2))
	})
	return out
}

// ipAt is where the IP header of a frame begins.
func ipAt(b []byte) int {
	n := 12
	for binary.BigEndian.Uint16(b[n:]) == 0x8100 || binary.BigEndian.Uint16(b[n:]) == 0x88a8 {
		n += 4
	}
	return n + 2
}

func vlanOf(b []byte) int32 {
	if ipAt(b) == 14 {
		return -1
	}
	return int32(binary.BigEndian.Uint16(b[14:]) & 0xfff)
}

func ttlOf(b []byte, ip int) uint8 {
	if b[ip]>>4 == 4 {
		return b[ip+8]
	}
	return b[ip+7]
}

// route does to an IP header what a router does.
func route(ip []byte) {
	if ip[0]>>4 == 4 {
		ip[8]--
		headerSum(ip[:20])
		return
	}
	ip[7]--
}

// retag gives a frame of n bytes the VLAN id, in place of the tag it has or in
// a tag that it gets. It returns the new length.
func retag(f []byte, n int, id uint16) int {
	if ipAt(f) == 14 {
		copy(f[16:n+4], f[12:n])
		binary.BigEndian.PutUint16(f[12:], 0x8100)
		n += 4
	}
	binary.BigEndian.PutUint16(f[14:], id)
	return n
}

// headerSum sets the checksum of an IPv4 header without options.
func headerSum(ip []byte) {
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip)))
}
