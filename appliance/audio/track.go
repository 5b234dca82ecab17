package audio

import (
	"net/netip"
	"slices"

	"ringside/flow/record"
	"ringside/flow/rtp"
)

// Times, ns.
const (
	hold     = 2e9   // how long a packet waits for those before it, and for what comes after it to be known
	drift    = 200e6 // arrival and timestamps may be apart by this much
	jump     = 1e9   // a step of timestamps beyond what has passed that no pause explains
	stall    = 4e9   // the longest standstill of a network that is told from a gap in the timestamps
	nearby   = 1e6   // what begins this close to the end of what was before follows it
	maxQuiet = 60e9  // how long comfort noise goes on without news
)

// Limits of one stream.
const (
	maxHeld   = 4096    // packets that wait
	maxBytes  = 4 << 20 // of them
	maxVoices = 8       // payload types that are decoded
	behind    = 1000    // sequence numbers: older ones are of another sequence
	ahead     = 3000    // as RFC 3550 A.1
)

// streamKey names a stream: an SSRC on a flow.
type streamKey struct {
	src, dst netip.AddrPort
	ssrc     uint32
}

// held is a packet that waits for those before it.
type held struct {
	time    int64
	index   int64 // sequence number, extended as RFC 3711 wants it
	ext     int64 // the same, but going on where a sender begins anew
	dev     int64 // ns that it came later than the earliest of late, as the meter has it
	ts      uint32
	pt      uint8
	cut     bool // its payload was not captured whole
	restart bool // the sender began a new sequence
	data    []byte
}

// track puts the packets of one stream in order and in place, and decodes them.
type track struct {
	key    streamKey
	side   record.Side
	find   func(pt uint8) format // what a payload type stands for
	opener *opener               // nil: not encrypted
	out    *mixer                // nil: only counted and placed
	rate   int                   // of out
	buffer int64                 // of the simulated receiver, ns; 0: none
	tones  bool
	from   int64 // where out begins: what ends well before is not decoded

	waits  []held // by ext
	bytes  int
	free   [][]byte
	stray  held // a packet with a number out of all order; it counts if its successor comes
	high   int64
	offset int64 // ext less index
	meter  lateness

	placed bool
	clock  uint32
	wall   int64 // time of timestamp 0 in ts, ns
	ts     int64 // of the last packet, extended, from the last anchor
	lastTS uint32
	lastAt int64 // its arrival
	lastD  int64 // its deviation
	played int64 // ext of the last packet that was played

	voices map[uint8]*voice
	end    int64 // where the last sound ended, samples of out
	noise  noise
	quiet  bool  // comfort noise goes on from end
	until  int64 // to here at most, samples
	event  keyPress

	counts
	last int64 // when the last sound ended, ns
}

// counts are what is told of a stream.
type counts struct {
	first, lastSeen               int64
	packets, lost, again, late    uint64 // again: duplicates; late: too late for the buffer
	sealed, opened, cut, resyncs  uint64
	broken                        uint64 // payloads that could not be decoded
	types                         [128]uint32
	odd                           uint64 // payloads that are no multiple of 5 ms of G.711
	comfort, pressed, unconfirmed uint64
}

// voice is the decoder of one payload type.
type voice struct {
	format
	sampling int
	decoder  decoder
	resample *resampler
	pcm      []float32
	made     []float32
}

// push takes a packet in order of arrival.
func (t *track) push(p *Packet, h *rtp.Header) {
	if t.packets == 0 {
		t.first = p.Time
		t.high, t.played = int64(h.Seq), int64(h.Seq)-1
	}
	t.packets++
	t.lastSeen = max(t.lastSeen, p.Time)
	t.types[h.Type]++
	n := held{time: p.Time, ts: h.TS, pt: h.Type, cut: len(p.Data) < p.Len}
	if n.cut {
		t.cut++
	}
	delta := int64(int16(h.Seq - uint16(t.high)))
	n.index = t.high + delta
	n.ext = n.index + t.offset
	switch {
	case delta < -behind || delta > ahead:
		if t.stray.data == nil || h.Seq != uint16(t.stray.index+1) {
			t.recycle(t.stray.data)
			t.stray = n
			t.stray.data = t.keep(p.Data)
			t.unconfirmed++
			return
		}
		t.restart(&n)
	case delta > 0:
		t.high = n.index
	}
	if f := t.find(h.Type); !f.aside() {
		n.dev = t.meter.add(p.Time, h.TS, f.clock, h.Marker)
	}
	n.data = p.Data
	t.insert(n, true)
}

// restart begins a new sequence with the stray packet, which n follows.
func (t *track) restart(n *held) {
	s := t.stray
	t.stray = held{}
	t.unconfirmed--
	t.offset = t.newest() + 1 - s.index
	s.ext, s.restart = s.index+t.offset, true
	n.index = s.index + 1
	n.ext = n.index + t.offset
	t.high = n.index
	t.insert(s, false)
}

// newest is the last number that was given so far.
func (t *track) newest() int64 {
	if n := len(t.waits); n > 0 {
		return max(t.waits[n-1].ext, t.high+t.offset)
	}
	return max(t.played, t.high+t.offset)
}

// insert keeps a packet in its place. Its data is copied if it is borrowed.
func (t *track) insert(n held, borrowed bool) {
	i := len(t.waits)
	for i > 0 && t.waits[i-1].ext > n.ext {
		i--
	}
	if n.ext <= t.played || i > 0 && t.waits[i-1].ext == n.ext {
		t.again++
		if !borrowed {
			t.recycle(n.data)
		}
		return
	}
	if borrowed {
		n.data = t.keep(n.data)
	}
	t.bytes += len(n.data)
	t.waits = slices.Insert(t.waits, i, n)
}

func (t *track) keep(b []byte) []byte {
	var buffer []byte
	if n := len(t.free); n > 0 {
		buffer, t.free = t.free[n-1], t.free[:n-1]
	}
	return append(buffer[:0], b...)
}

func (t *track) recycle(b []byte) {
	if cap(b) > 0 && cap(b) <= 2048 && len(t.free) < maxHeld {
		t.free = append(t.free, b)
	}
}

// release plays what came up to a time, and what there is no room for.
func (t *track) release(to int64) {
	n := 0
	for ; n < len(t.waits); n++ {
		h := &t.waits[n]
		if h.time > to && len(t.waits)-n <= maxHeld && t.bytes <= maxBytes {
			break
		}
		t.play(h, t.waits[n+1:])
		t.bytes -= len(h.data)
		t.recycle(h.data)
	}
	if n > 0 {
		t.waits = slices.Delete(t.waits, 0, n)
	}
}

// play takes the next packet in order of sequence; those that wait behind it
// are next.
func (t *track) play(h *held, next []held) {
	gap := h.ext - t.played - 1
	if gap > 0 {
		t.lost += uint64(gap)
	}
	t.played = h.ext
	f := t.find(h.pt)
	if f.aside() && t.placed {
		f.clock = t.clock // whatever it says: it shares the timestamps of the audio around it
	}
	var at int64
	if f.aside() && f.codec != rtp.CN && t.placed {
		// Packets of an event repeat one timestamp: they tell nothing of the time.
		at = t.wall + ticks(t.ts+int64(int32(h.ts-t.lastTS)), t.clock)
		if d := h.time - at; d < -jump || d > stall {
			at = h.time
		}
	} else {
		at = t.place(h, f.clock, next)
	}
	late := t.buffer > 0 && h.dev >= t.buffer
	if late {
		t.late++
	}
	t.sound(h, f, at, late, gap > 0 && !h.restart)
	if t.out != nil && t.out.miss != nil && (gap > 0 || late) {
		if late {
			gap++
		}
		t.out.miss(t.side, t.out.at(at, t.rate), uint64(gap))
	}
}

// sound decodes a packet that has its place.
func (t *track) sound(h *held, f format, at int64, late, gap bool) {
	payload, length, ok := t.payload(h)
	if ok && f.codec == rtp.RED {
		var pt uint8
		if pt, payload, ok = rtp.PrimaryOf(payload); ok {
			f, length = t.find(pt), len(payload)
		}
	}
	switch {
	case f.codec == rtp.CN:
		t.comfort++
	case f.codec == rtp.TelephoneEvent:
		t.pressed++
	case length%40 != 0:
		t.odd++
	}
	if !f.silent() {
		t.last = max(t.last, at+ticks(f.ticks(payload, length), f.clock))
	}
	if t.out == nil || !ok || h.cut || late {
		return
	}
	pos := t.out.at(at, t.rate)
	switch {
	case f.codec == rtp.CN:
		t.fill(pos, gap)
		t.noise.set(payload)
		t.quiet, t.end, t.until = true, pos, pos+samplesAt(maxQuiet, t.rate)
		return
	case f.codec == rtp.TelephoneEvent:
		t.press(h, payload, pos)
		return
	case f.silent():
		return
	}
	t.fill(pos, gap)
	t.decode(h.pt, f, payload, pos)
}

// payload is what a packet carries, as plaintext, and its length on the wire.
func (t *track) payload(h *held) (b []byte, length int, ok bool) {
	data := h.data
	var head rtp.Header
	if !rtp.ParseHeader(data, len(data), &head) {
		return nil, 0, false
	}
	if t.opener != nil {
		length = int(head.Len)
		plain, ok := t.opener.open(data, head.SSRC, h.index)
		if !ok || !rtp.ParseHeader(plain, len(plain), &head) {
			t.sealed++
			return nil, length, false
		}
		t.opened++
		data = plain
	}
	return head.Payload(data), int(head.Len), true
}

// decode makes sound of a payload at pos.
func (t *track) decode(pt uint8, f format, payload []byte, pos int64) {
	v := t.voice(pt, f)
	if v == nil {
		return
	}
	length := samplesAt(ticks(f.ticks(payload, len(payload)), f.clock), t.rate)
	if pos+length < t.from-int64(t.rate) { // a second to get going
		t.end = pos + length
		return
	}
	pcm, err := v.decoder.decode(payload, v.pcm[:0])
	v.pcm = pcm
	if err != nil {
		t.broken++
	}
	pcm = pcm[:min(len(pcm), v.sampling)] // no packet has more than a second
	follows := pos-t.end <= int64(t.rate)*nearby/1e9 && t.end-pos <= int64(t.rate)*nearby/1e9
	if follows {
		pos = t.end
	}
	delay := int64(0)
	if v.resample != nil {
		if !follows {
			v.resample.reset()
		}
		v.made = v.resample.run(pcm, v.made[:0])
		pcm, delay = v.made, v.resample.delay
	}
	if cut := t.end - pos; cut > 0 { // it has been put earlier: what was heard is not heard again
		pcm = pcm[min(cut, int64(len(pcm))):]
		pos = t.end
	}
	t.out.add(t.side, pos-delay, pcm)
	t.end = pos + int64(len(pcm))
}

// voice is the decoder of a payload type, nil if it has none.
func (t *track) voice(pt uint8, f format) *voice {
	v, ok := t.voices[pt]
	if ok || len(t.voices) == maxVoices {
		return v
	}
	if sampling := f.sampling(t.rate); sampling > 0 {
		if d, err := f.newDecoder(t.rate); err == nil {
			v = &voice{format: f, sampling: sampling, decoder: d}
			if sampling != t.rate {
				v.resample = newResampler(sampling, t.rate)
			}
		}
	}
	t.voices[pt] = v
	return v
}

// fill ends comfort noise at pos, or at once where packets are missing.
func (t *track) fill(pos int64, gap bool) {
	if t.quiet && !gap {
		t.hush(pos)
	}
	t.quiet = false
}

// hush makes comfort noise up to pos.
func (t *track) hush(pos int64) {
	pos = min(pos, t.until)
	if !t.quiet || t.out == nil || pos <= t.end || t.noise.level == 0 {
		return
	}
	start := max(t.end, t.out.done)
	for start < pos {
		n := min(pos-start, int64(t.rate))
		t.out.block = t.out.block[:0]
		for range n {
			t.out.block = append(t.out.block, t.noise.next())
		}
		t.out.add(t.side, start, t.out.block)
		start += n
	}
	t.end = pos
}

// keyPress is the event whose packets are coming.
type keyPress struct {
	ts   uint32
	on   bool
	pos  int64 // where it began
	done int64 // samples made
}

// press makes the tone of a key, as far as the event has come.
func (t *track) press(h *held, payload []byte, pos int64) {
	e, ok := rtp.ParseEvent(payload)
	if !ok || !t.tones || int(e.Event) >= len(keyTones) {
		return
	}
	if !t.event.on || t.event.ts != h.ts {
		t.event = keyPress{ts: h.ts, on: true, pos: pos}
	}
	to := samplesAt(ticks(int64(e.Duration), t.clock), t.rate)
	t.out.block = t.out.block[:0]
	for n := t.event.done; n < min(to, t.event.done+int64(t.rate)); n++ {
		t.out.block = append(t.out.block, keyTone(e.Event, n, t.rate))
	}
	t.out.add(t.side, t.event.pos+t.event.done, t.out.block)
	t.event.done += int64(len(t.out.block))
}
