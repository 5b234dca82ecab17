// Package quality turns counts of lost and late packets into opinion scores:
// the curve of the reference system for its columns (Average, record.Compat),
// and the E-model of ITU-T G.107, G.107.1 and G.107.2 with constants of the
// codec (Estimate, record.MOS). docs/quality.md explains each figure.
//
// All functions are pure. They run once per stream and 10 s, and when a stream
// is read, never per packet.
package quality

import "ringside/flow/record"

// Loss is what one simulated jitter buffer made of a run of sequence numbers:
// an interval's or a whole stream's.
type Loss struct {
	Expected uint32 // sequence numbers
	Received uint32 // those that arrived at all, in time or not
	Bad      uint32 // lost, or too late for the buffer
	Bursts   uint32 // runs of bad numbers that began here
}

// Reference is the reference system's MOS of an interval, with its oddities:
// fewer than 5 bad packets do not count, a flawless interval is 4.5, and every
// codec has the curve of G.711.
func Reference(l Loss) float64 {
	if l.Bad < 5 || l.Received == 0 {
		return 4.5
	}
	ppl := float64(l.Bad) / float64(l.Received)
	run := float64(l.Bad) / float64(max(l.Bursts, 1)) // a run may have begun an interval earlier
	burst := run * (1 - ppl)
	if burst < 0 {
		burst = -burst // more lost than received
	} else if burst < 1 {
		burst = 1
	}
	return ReferenceMOS(ppl, burst)
}

// ReferenceMOS is the reference system's curve: MOS from the lost share ppl
// (0..1) and the burst ratio.
func ReferenceMOS(ppl, burst float64) float64 {
	if ppl == 0 || burst == 0 {
		return 4.5
	}
	if ppl > 0.5 {
		return 1
	}
	r := 93.2062077233 - 95*(100*ppl/(100*ppl/burst+17.2647))
	mos := 2.06405 + r*(0.031738+r*(-0.000356641+r*2.93143e-6))
	return min(max(mos, 1), 4.5)
}

// scale is the unit in which Average keeps scores: integers, so that the sum
// does not depend on the order or the machine.
const scale = 10_000

// Average gathers the intervals of a stream. It is plain data without pointers.
type Average struct {
	sum    [3]uint64 // MOS × scale × ms, of the buffers F1, F2, adaptive
	weight uint64    // ms
	low    [3]uint32 // lowest interval, MOS × scale; 0 before the first
	worst  Loss      // F2 of the interval with the greatest impairment
}

// Add takes an interval of ms milliseconds as the buffers F1, F2 and adaptive
// saw it.
func (a *Average) Add(ms uint32, in *[3]Loss) {
	a.weight += uint64(ms)
	for i := range in {
		mos := uint32(Reference(in[i])*scale + 0.5)
		a.sum[i] += uint64(mos) * uint64(ms)
		if a.low[i] == 0 || mos < a.low[i] {
			a.low[i] = mos
		}
	}
	if a.worst.Expected == 0 || in[1].rank() > a.worst.rank() {
		a.worst = in[1]
	}
}

// rank orders intervals by impairment, on the curve of a middling codec.
func (l Loss) rank() float64 {
	ppl, burst := l.Ppl()
	return ppl / (ppl/burst + 17.2647)
}

// Worst is the worst interval for the 200 ms buffer.
func (a *Average) Worst() Loss { return a.worst }

// Compat is the average weighted by time, and the worst interval, of each
// buffer; and the loss of the whole stream in per cent of what was sent.
func (a *Average) Compat(lost, received uint64) record.Compat {
	mean := func(i int) float64 {
		if a.weight == 0 {
			return 0
		}
		return float64(a.sum[i]) / float64(a.weight) / scale
	}
	low := func(i int) float64 { return float64(a.low[i]) / scale }
	c := record.Compat{
		MosF1: mean(0), MosF1Min: low(0),
		MosF2: mean(1), MosF2Min: low(1),
		MosAdapt: mean(2), MosAdaptMin: low(2),
	}
	if n := lost + received; n > 0 {
		c.LossPerc = 100 * float64(lost) / float64(n)
	}
	return c
}

// Unconnected is c as the reference shows it for a call that was never
// answered: with fewer than 100 packets every score is 4.5.
func Unconnected(c record.Compat, received uint64) record.Compat {
	if received >= 100 {
		return c
	}
	return record.Compat{
		MosF1: 4.5, MosF1Min: 4.5, MosF2: 4.5, MosF2Min: 4.5, MosAdapt: 4.5, MosAdaptMin: 4.5,
		LossPerc: c.LossPerc,
	}
}
