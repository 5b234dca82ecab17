package meter

import (
	"math"
	"math/big"
	"slices"

	"ringside/flow/quality"
	"ringside/flow/record"
)

// reference is docs/design/meter.md done the slow and obvious way: it keeps
// every sequence number and every transit, and counts at the end. It shares no
// code with the meter but quality, which turns intervals into scores.
func reference(packets []Packet) Report {
	if len(packets) == 0 {
		return Report{}
	}
	r := &ref{first: packets[0].Time, last: packets[0].Time}
	for i, p := range packets {
		r.packet(i, p)
	}
	return r.report()
}

// number is the fate of one sequence number.
type number struct {
	received bool
	late     [3]bool
}

// epoch is a run of sequence numbers without a restart, from low to high.
type epoch struct {
	low, high, judged int // judged: the lowest number not yet judged
	seen              map[int]*number
}

// judgement is a number's state as it left the window.
type judgement struct {
	epoch, interval int
	number
}

type ref struct {
	first, last int64
	interval    int
	intervals   []int // those that have a packet
	epochs      []*epoch
	cand        int // candidate's sequence number, -1: none
	judged      []judgement
	c           record.Counters
	gaps        []int64
	confirmed   bool

	types    []uint8
	rate     uint32
	anchored bool
	anchor   Packet
	blocks   [][]*big.Int // transits of the blocks of this time base
	total    *big.Int     // transit
	devs     []int64
	jitter   int64
	jitters  []int64
	spread   int64
	steps    []uint32
	minima   []struct{ low, at int64 }
}

func (r *ref) packet(i int, p Packet) {
	if i == 0 {
		r.cand, r.total = -1, new(big.Int)
		r.open(int(p.Seq))
		r.intervals = []int{0}
	} else {
		if k := int((p.Time - r.first) / interval); p.Time > r.first && k > r.interval {
			r.interval = k
			r.intervals = append(r.intervals, k)
		}
		r.gaps = append(r.gaps, max(0, p.Time-r.last))
		r.last = max(r.last, p.Time)
	}
	r.c.Packets++
	r.c.Bytes += uint64(p.Len)
	n, what, next := r.place(i, int(p.Seq))
	if what == "duplicate" {
		r.c.Duplicate++
		return
	}
	if p.Marker {
		r.c.Markers++
	}
	switch {
	case p.Class == Event:
		r.c.Events++
	case p.Class == Comfort:
		r.c.Comfort++
	case what == "taken":
		dev, late := r.time(p, next)
		if late {
			e := r.epochs[len(r.epochs)-1]
			e.seen[n].late = [3]bool{dev >= 50e6, dev >= 200e6, dev >= min(r.spread+50e6, 500e6)}
		}
		if r.anchored && len(r.devs) > 0 && dev >= 0 {
			if dev > r.spread {
				r.spread = min(dev, 500e6)
			} else {
				r.spread -= r.spread / 512
			}
		}
	}
}

func (r *ref) open(seq int) {
	r.epochs = append(r.epochs, &epoch{seq, seq, math.MinInt, map[int]*number{seq: {received: true}}})
}

// place finds the number of a packet and what the packet is to the sequence;
// next says that it is the one after the highest.
func (r *ref) place(i, seq int) (n int, what string, next bool) {
	if i == 0 {
		return seq, "taken", false
	}
	e := r.epochs[len(r.epochs)-1]
	from := e.high - 32768
	n = from + ((seq-from)%65536+65536)%65536
	switch {
	case n > e.high && n <= e.high+1000:
		r.forget()
		next = n == e.high+1
		r.confirmed = r.confirmed || next
		e.seen[n] = &number{received: true}
		e.high = n
		r.judge(e, e.high-64)
		return n, "taken", next
	case n <= e.high && n > e.high-64:
		r.forget()
		if e.seen[n] != nil {
			return n, "duplicate", false
		}
		e.seen[n] = &number{received: true}
		e.low = min(e.low, n)
		r.c.Reordered++
		return n, "taken", false
	case seq == r.cand:
		return n, "duplicate", false
	case r.cand >= 0 && seq == (r.cand+1)%65536:
		r.judge(e, e.high)
		r.open(r.cand)
		e = r.epochs[len(r.epochs)-1]
		e.high++
		e.seen[e.high] = &number{received: true}
		r.cand = -1
		r.confirmed = true
		r.anchored = false
		return e.high, "taken", false
	}
	r.forget()
	r.cand = seq
	return n, "held", false
}

func (r *ref) forget() {
	if r.cand >= 0 {
		r.c.Stray++
		r.cand = -1
	}
}

// judge settles the numbers of e up to last.
func (r *ref) judge(e *epoch, last int) {
	for n := max(e.low, e.judged); n <= last; n++ {
		j := judgement{epoch: len(r.epochs), interval: r.interval}
		if s := e.seen[n]; s != nil {
			j.number = *s
		}
		r.judged = append(r.judged, j)
		e.judged = n + 1
	}
}

// time gives the deviation of a media packet, -1 without one.
func (r *ref) time(p Packet, next bool) (dev int64, late bool) {
	changed := len(r.types) == 0 || r.types[len(r.types)-1] != p.Type
	r.types = append(r.types, p.Type)
	if p.Rate < 1000 || p.Rate > 384000 {
		return -1, false
	}
	if p.Rate != r.rate {
		r.rate, r.anchored = p.Rate, false
	}
	if !r.anchored {
		r.restart(p)
		return -1, false
	}
	ticks := int64(int32(p.TS - r.anchor.TS))
	period := new(big.Int).Div(big.NewInt(4096e9+int64(p.Rate)/2), big.NewInt(int64(p.Rate)))
	span := new(big.Int).Mul(big.NewInt(ticks), period)
	span.Div(span.Add(span, big.NewInt(2048)), big.NewInt(4096)) // Euclidean: toward minus infinity
	d := new(big.Int).Sub(big.NewInt(p.Time), big.NewInt(r.anchor.Time))
	d.Sub(d, span)
	transit := new(big.Int).Add(r.total, d)
	low := transit
	for _, b := range r.blocks {
		for _, t := range b {
			if t.Cmp(low) < 0 {
				low = t
			}
		}
	}
	above := new(big.Int).Sub(transit, low)
	step := new(big.Int).Abs(d)
	if step.Cmp(big.NewInt(4e9)) > 0 || above.Cmp(big.NewInt(4e9)) > 0 ||
		(p.Marker || changed) && step.Cmp(big.NewInt(3e8)) > 0 {
		r.restart(p)
		return -1, false
	}
	r.anchor, r.total = p, transit
	r.blocks[len(r.blocks)-1] = append(r.blocks[len(r.blocks)-1], transit)
	if next && ticks > 0 {
		r.steps = append(r.steps, uint32(ticks))
	}
	r.jitter += step.Int64() - (r.jitter+8)/16
	r.jitters = append(r.jitters, r.jitter/16)
	r.devs = append(r.devs, above.Int64())
	if len(r.devs)%128 == 0 {
		b := r.blocks[len(r.blocks)-1]
		r.minima = append(r.minima, struct{ low, at int64 }{slices.MinFunc(b, (*big.Int).Cmp).Int64(), p.Time})
		r.blocks = [][]*big.Int{b, {transit}}
	}
	return above.Int64(), above.Int64() >= 50e6
}

func (r *ref) restart(p Packet) {
	r.anchor, r.anchored = p, true
	r.blocks = [][]*big.Int{{r.total}}
	r.minima = nil
}

func (r *ref) report() Report {
	e := r.epochs[len(r.epochs)-1]
	r.judge(e, e.high)
	r.forget()
	r.c.Resets = uint32(len(r.epochs) - 1)
	for _, e := range r.epochs {
		r.c.Expected += uint64(e.high - e.low + 1)
		r.c.Received += uint64(len(e.seen))
	}
	bad := func(j judgement, view int) bool { return !j.received || view > 0 && j.late[view-1] }
	begins := func(i, view int) bool {
		j := r.judged[i]
		return bad(j, view) && (i == 0 || r.judged[i-1].epoch != j.epoch || !bad(r.judged[i-1], view))
	}
	losses := make([][3]quality.Loss, r.interval+1)
	total := [3]quality.Loss{}
	run := 0
	for i, j := range r.judged {
		if !j.received {
			r.c.Lost++
			run++
		} else if run > 0 {
			r.c.LossRuns[min(run, 10)-1]++
			r.c.LossRunMax = max(r.c.LossRunMax, uint32(run))
			run = 0
		}
		for b := range 3 {
			for _, l := range []*quality.Loss{&losses[j.interval][b], &total[b]} {
				l.Expected++
				if j.received {
					l.Received++
				}
				if bad(j, b+1) {
					l.Bad++
				}
				if begins(i, b+1) {
					l.Bursts++
				}
			}
		}
	}
	r.c.LateF1, r.c.LateF2, r.c.LateAdapt = uint64(total[0].Bad), uint64(total[1].Bad), uint64(total[2].Bad)

	var avg quality.Average
	weight := uint32(0)
	for _, k := range r.intervals {
		if k == r.interval {
			weight += uint32((r.last-r.first-int64(k)*interval)/1_000_000) + 1
		} else {
			weight += 10_000
		}
		if losses[k][0].Expected > 0 {
			avg.Add(weight, &losses[k])
			weight = 0
		}
	}
	out := Report{
		First: r.first, Last: r.last, Rate: r.rate, Confirmed: r.confirmed,
		Counters: r.c, Total: total[1], Worst: avg.Worst(),
		Compat: avg.Compat(r.c.Lost, r.c.Received),
	}
	r.timing(&out)
	return out
}

// timing fills in what is measured in time.
func (r *ref) timing(out *Report) {
	out.Payload = majority(r.types, math.MaxInt)
	if step := majority(r.steps, 255); r.rate > 0 {
		out.Ptime = uint16(min(math.Floor(float64(step)*1000/float64(r.rate)+0.5), 65535))
	}
	out.Jitter = float64(r.jitter) / 16 / 1e6
	sum := int64(0)
	for _, j := range r.jitters {
		sum += j
		out.JitterMax = max(out.JitterMax, float64(j)/1e6)
	}
	if len(r.jitters) > 0 {
		out.JitterAvg = float64(sum) / float64(len(r.jitters)) / 1e6
	}
	for _, d := range r.devs {
		class := 0
		for class < 7 && d >= []int64{50e6, 70e6, 90e6, 120e6, 150e6, 200e6, 300e6}[class] {
			class++
		}
		out.Delay[class]++
	}
	if len(r.gaps) > 0 {
		out.DeltaMax = float64(slices.Max(r.gaps)) / 1e6
		out.DeltaMin = float64(min(slices.Min(r.gaps), math.MaxUint32)) / 1e6
	}
	if n := len(r.minima); n > 1 {
		a, b := r.minima[0], r.minima[n-1]
		if b.at-a.at >= 20e9 {
			out.SkewPPM = -float64(b.low-a.low) * 1e6 / float64(b.at-a.at)
		}
	}
}

// majority is the Boyer-Moore vote with a count of at most limit.
func majority[T comparable](votes []T, limit int) (winner T) {
	count := 0
	for _, v := range votes {
		switch {
		case v == winner:
			count = min(count+1, limit)
		case count == 0:
			winner, count = v, 1
		default:
			count--
		}
	}
	return winner
}
