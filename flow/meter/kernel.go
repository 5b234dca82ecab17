package meter

import (
	"encoding/binary"

	"ringside/flow/quality"
)

// StateSize is the size of a stream's state in the kernel: struct rs_hot and
// behind it struct rs_cold of bpf/include/meter.h, little-endian.
const StateSize = 152 + 248

// Adopt makes h and c what a meter in the kernel has counted, and scores the
// intervals that have closed since the last call. state is of StateSize bytes;
// h and c belong to this stream alone, and are zero before the first call.
//
// If it is called at least once in each interval that has a packet, after
// Adopt all is as if h had seen the packets. If not, the intervals that closed
// between two calls are scored as one, of their weight together: MOS of the
// whole is then of their loss together, and a bad interval between good ones
// shows less in the worst. All counters are the same even then.
func Adopt(h *Hot, c *Cold, state []byte) {
	r := reader(state[:StateSize])
	was := *c
	r.hot(h)
	r.cold(c)

	// Every interval weighs the same, and what waits in pending is not folded.
	weight := (c.intervals-was.intervals)*(interval/1_000_000) + was.pending - c.pending
	n := c.markExits - was.markExits
	if n == 0 {
		return
	}
	var in [3]quality.Loss
	for i := range in {
		v := viewF1 + i
		in[i] = quality.Loss{
			Expected: n,
			Received: n - (c.markBad[viewNet] - was.markBad[viewNet]),
			Bad:      c.markBad[v] - was.markBad[v],
			Bursts:   c.markBursts[v] - was.markBursts[v],
		}
	}
	c.quality.Add(weight, &in)
}

// Begun and Latest are the arrival of the first and the last packet of a stream in
// the kernel, ns since the Unix epoch.
func Begun(state []byte) int64  { return int64(binary.LittleEndian.Uint64(state[152:])) }
func Latest(state []byte) int64 { return int64(binary.LittleEndian.Uint64(state[32:])) }

// reader takes fields from the front of a state.
type reader []byte

func (r *reader) u8() (v uint8) {
	v, *r = (*r)[0], (*r)[1:]
	return v
}

func (r *reader) u32() (v uint32) {
	v, *r = binary.LittleEndian.Uint32(*r), (*r)[4:]
	return v
}

func (r *reader) u64() (v uint64) {
	v, *r = binary.LittleEndian.Uint64(*r), (*r)[8:]
	return v
}

func (r *reader) u32s(to []uint32) {
	for i := range to {
		to[i] = r.u32()
	}
}

// hot takes struct rs_hot.
func (r *reader) hot(h *Hot) {
	h.recv = r.u64()
	for i := range h.late {
		h.late[i] = r.u64()
	}
	for _, v := range [...]*int64{&h.last, &h.anchor, &h.end, &h.transit} {
		*v = int64(r.u64())
	}
	for _, v := range [...]*uint64{&h.jitter, &h.jitterSum, &h.bytes, &h.gapMax} {
		*v = r.u64()
	}
	for _, v := range [...]*uint32{
		&h.highest, &h.anchorTS, &h.period, &h.rate, &h.cur, &h.prev, &h.spread,
		&h.packets, &h.timed, &h.jitterMax, &h.gapMin, &h.step, &h.ptVotes,
	} {
		*v = r.u32()
	}
	h.pt, h.lastPT, h.stepVotes, h.flags = r.u8(), r.u8(), r.u8(), r.u8()
}

// cold takes struct rs_cold, with the bytes that align it.
func (r *reader) cold(c *Cold) {
	c.first = int64(r.u64())
	for _, v := range [...]*uint32{
		&c.base, &c.closed, &c.duplicate, &c.reordered, &c.stray, &c.resets, &c.markers, &c.events, &c.comfort,
	} {
		*v = r.u32()
	}
	r.u32s(c.bad[:])
	r.u32s(c.bursts[:])
	c.run = r.u32()
	r.u32s(c.runHist[:])
	c.runMax = r.u32()
	r.u32s(c.delay[:])
	c.cand = uint16(r.u32())
	c.skewN = r.u32()
	r.u32()
	for _, v := range [...]*int64{&c.skewT[0], &c.skewT[1], &c.skewA[0], &c.skewA[1]} {
		*v = int64(r.u64())
	}
	c.markExits = r.u32()
	r.u32s(c.markBad[:])
	r.u32s(c.markBursts[:])
	c.pending, c.intervals = r.u32(), r.u32()
}
