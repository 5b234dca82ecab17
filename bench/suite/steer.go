package suite

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"

	"ringside/bench/report"
)

// What is steered: flows over rings, so many random sets of them.
const (
	steerFlows, steerRings, steerSeeds = 1000, 4, 100
	steerGoal                          = 0.1 // the most that a ring may be off an even share
)

// flow is what both directions of a call's RTP have in common.
type flow struct {
	addrs [2][4]byte
	ports [2]uint16
}

// steering are the two ways to choose a ring, written down anew from
// dataplane/ring (FanoutFlow) and bpf/include/deliver.h (rs_flow_hash).
var steering = []struct {
	name string
	ring func(flow) int
}{
	{"--steer flow", func(f flow) int {
		be := binary.BigEndian
		h := (be.Uint32(f.addrs[0][:])+be.Uint32(f.addrs[1][:]))*0x9e3779b1 +
			(uint32(f.ports[0])+uint32(f.ports[1]))*0x85ebca6b
		h = (h ^ h>>16) * 0x7feb352d
		h = (h ^ h>>15) * 0x846ca68b
		return int((h ^ h>>16) % steerRings)
	}},
	{"--steer cpu", func(f flow) int {
		const k = 0x9e3779b97f4a7c15
		le, sum := binary.LittleEndian, uint64(0)
		for _, a := range f.addrs {
			sum += uint64(le.Uint32(a[:]))<<32 | 0xffff0000 // mapped into IPv6, as the program loads it
		}
		p := [2]uint64{swapped(f.ports[0]), swapped(f.ports[1])}
		h := sum + ((p[0]+p[1])<<16^(p[0]^p[1]))*k
		h = (h ^ h>>32) * k
		h = (h ^ h>>29) * k
		return int(h >> 32 * steerRings >> 32)
	}},
}

// swapped is a port as a little-endian machine loads it from a packet.
func swapped(port uint16) uint64 { return uint64(port>>8 | port<<8) }

// steer shows how evenly flows are spread: those of generated calls, which are
// the same for every seed, and random ones. With every flow as busy as any
// other, the share of flows is that of packets.
func (b *Bench) steer(ctx context.Context, out io.Writer) error {
	generated, err := generatedFlows(ctx)
	if err != nil {
		return err
	}
	report.Table(out, "way", "generated flows on each ring", "furthest from even", "100 sets of random flows: median of the furthest", "most", "sets within 10 %")
	for _, way := range steering {
		var worst []float64
		even := 0
		for seed := range uint64(steerSeeds) {
			_, off := share(randomFlows(seed+1), way.ring)
			if off <= steerGoal {
				even++
			}
			worst = append(worst, off)
		}
		rings, off := share(generated, way.ring)
		report.Cells(out, way.name, fmt.Sprint(rings), percent(off), percent(report.Figure(worst).Median()), percent(slices.Max(worst)), fmt.Sprint(even))
	}
	return nil
}

// share is how many flows each ring has, and by how much at the most that is off
// an even share.
func share(flows []flow, ring func(flow) int) (rings [steerRings]int, off float64) {
	for _, f := range flows {
		rings[ring(f)]++
	}
	fair := float64(len(flows)) / steerRings
	for _, n := range rings {
		off = max(off, math.Abs(float64(n)/fair-1))
	}
	return rings, off
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// randomFlows are between any hosts of 10.0.0.0/8, on even ports from 10000 to 20000.
func randomFlows(seed uint64) []flow {
	r := rand.New(rand.NewPCG(seed, seed))
	flows := make([]flow, steerFlows)
	for i := range flows {
		for side := range 2 {
			binary.BigEndian.PutUint32(flows[i].addrs[side][:], 10<<24|r.Uint32N(1<<24))
			flows[i].ports[side] = uint16(10000 + 2*r.UintN(5000))
		}
	}
	return flows
}

// generatedFlows are the media flows of as many generated calls.
func generatedFlows(ctx context.Context) ([]flow, error) {
	c, err := newCalls(ctx, steerFlows)
	if err != nil {
		return nil, err
	}
	seen := map[flow]bool{}
	var flows []flow
	for _, frame := range c.media {
		f := flowOf(frame.Data)
		if !seen[f] {
			seen[f] = true
			flows = append(flows, f)
		}
	}
	return flows, nil
}

// flowOf is the flow of a frame, from its lesser side on.
func flowOf(b []byte) flow {
	var f flow
	copy(f.addrs[0][:], b[26:])
	copy(f.addrs[1][:], b[30:])
	f.ports = [2]uint16{binary.BigEndian.Uint16(b[atPorts:]), binary.BigEndian.Uint16(b[atPorts+2:])}
	if slices.Compare(f.addrs[1][:], f.addrs[0][:]) < 0 || f.addrs[0] == f.addrs[1] && f.ports[1] < f.ports[0] {
		f.addrs[0], f.addrs[1] = f.addrs[1], f.addrs[0]
		f.ports[0], f.ports[1] = f.ports[1], f.ports[0]
	}
	return f
}
