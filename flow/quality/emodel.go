package quality

import (
	"math"

	"ringside/flow/record"
	"ringside/flow/rtp"
)

// Ppl is the bad share in per cent, and the burst ratio: the mean length of the
// bad runs over the mean length under random loss, 1/(1-Ppl); at least 1.
func (l Loss) Ppl() (ppl, burst float64) {
	if l.Expected == 0 || l.Bad == 0 {
		return 0, 1
	}
	share := float64(l.Bad) / float64(l.Expected)
	run := float64(l.Bad) / float64(max(l.Bursts, 1))
	return 100 * share, max(1, run*(1-share))
}

// Model is the band of an E-model.
type Model uint8

// Models; None is for what is not speech, or has no constants.
const (
	None     Model = iota
	Narrow         // ITU-T G.107 (06/2015)
	Wide           // ITU-T G.107.1 (06/2019)
	FullBand       // ITU-T G.107.2 (03/2023)
)

// models hold for each band: the rating without impairment, what the equipment
// impairment tends to as everything is lost, and what R is divided by for MOS.
var models = [...]struct {
	name            string
	best, most, div float64
}{
	Narrow:   {"G.107", 93.2, 95, 1},
	Wide:     {"G.107.1", 129, 95, 1.29},
	FullBand: {"G.107.2", 148, 132, 1.48},
}

func (m Model) String() string { return models[m].name }

// Rating is the transmission rating factor R for equipment constants ie and
// bpl, loss ppl in per cent with its burst ratio, and a one-way delay in ms.
// Of delay only the pure delay impairment Idd counts; echo is taken for
// cancelled, and the advantage factor is 0.
func (m Model) Rating(ie, bpl, ppl, burst, delay float64) float64 {
	k := &models[m]
	eff := ie
	if ppl > 0 {
		eff += (k.most - ie) * ppl / (ppl/burst + bpl) // G.107 (7-29)
	}
	return k.best - eff - DelayImpairment(delay)
}

// MOS is the score of a rating on this model's scale.
func (m Model) MOS(r float64) float64 { return MOS(r / models[m].div) }

// DelayImpairment is Idd of a one-way delay in ms (G.107 (7-27) and (7-28)).
func DelayImpairment(ms float64) float64 {
	if ms <= 100 {
		return 0
	}
	x := math.Log2(ms / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1./6) - 3*math.Pow(1+math.Pow(x/3, 6), 1./6) + 2)
}

// MOS is the opinion score of the rating r (G.107 (B-4)), from 1 to 4.5.
func MOS(r float64) float64 {
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	return max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6) // (B-4) dips below 1 for r under 6.5
}

// Estimate is the E-model's account of a stream: total is the whole stream
// behind a 200 ms buffer, worst its worst interval, delay the one-way delay of
// the network in ms (half of RTCP's round trip), 0 if none is known. For what
// is not speech or has no constants the scores are 0 and Confidence is "none".
func Estimate(codec rtp.Codec, total, worst Loss, delay float64) record.MOS {
	ppl, burst := total.Ppl()
	out := record.MOS{
		Ppl: ppl, BurstR: burst, Delay: delay,
		N: uint64(total.Received), Confidence: "none",
	}
	k := ConstantsOf(codec)
	if k.Model == None || total.Received == 0 {
		return out
	}
	out.Method, out.Confidence = k.Model.String(), k.Confidence
	out.Ie, out.Bpl = k.Ie, k.Bpl
	out.R = k.Model.Rating(k.Ie, k.Bpl, ppl, burst, delay)
	out.CQ = k.Model.MOS(out.R)
	out.LQ = k.Model.MOS(k.Model.Rating(k.Ie, k.Bpl, ppl, burst, 0))
	out.Min = out.LQ
	if worst.Expected > 0 {
		p, b := worst.Ppl()
		out.Min = min(out.LQ, k.Model.MOS(k.Model.Rating(k.Ie, k.Bpl, p, b, 0)))
	}
	return out
}
