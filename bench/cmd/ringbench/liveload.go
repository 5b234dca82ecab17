package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"ringside/bench/replay"
	"ringside/bench/traffic"
)

// calls are generated calls, taken apart: the SIP that begins them, one RTP
// packet of each of their streams, and the SIP that ends them. RTP between is
// made of the one packet, with sequence numbers and timestamps that go on.
type calls struct {
	begin, media, end []replay.Frame
}

// Where a generated RTP packet has its fields: Ethernet, IPv4, UDP.
const (
	atPorts = 14 + 20
	atRTP   = atPorts + 8
)

// newCalls generates so many calls.
func newCalls(ctx context.Context, n int) (*calls, error) {
	g, err := traffic.New(traffic.Options{
		Seed: 1, Calls: n, Rate: 2000, Talk: traffic.Length{Mean: time.Second}, Gateways: 64,
	})
	if err != nil {
		return nil, fmt.Errorf("generate calls: %w", err)
	}
	c, err := takeApart(ctx, g)
	if err == nil && len(c.media) != 2*n {
		err = fmt.Errorf("generate calls: %d streams of %d calls", len(c.media), n)
	}
	return c, err
}

// takeApart sorts what a generator makes.
func takeApart(ctx context.Context, g *traffic.Generator) (*calls, error) {
	in, out := io.Pipe()
	go func() {
		_, err := g.Run(ctx, out, nil)
		out.CloseWithError(err)
	}()
	frames, err := replay.Read(in)
	if err != nil {
		return nil, fmt.Errorf("generate calls: %w", err)
	}
	c := &calls{}
	seen := map[[16]byte]int{}
	for _, f := range frames {
		src, dst := binary.BigEndian.Uint16(f.Data[atPorts:]), binary.BigEndian.Uint16(f.Data[atPorts+2:])
		switch {
		case src != 5060 && dst != 5060:
			var flow [16]byte
			copy(flow[:], f.Data[26:38]) // addresses and ports
			copy(flow[12:], f.Data[atRTP+8:])
			// The first one has the marker bit.
			if seen[flow]++; seen[flow] == 2 {
				c.media = append(c.media, f)
			}
		case bytes.Contains(f.Data, []byte(" BYE\r\n")):
			c.end = append(c.end, f)
		default:
			c.begin = append(c.begin, f)
		}
	}
	return c, nil
}

// rtp says how to send the RTP of all calls at a rate for some time; rate 0 is as
// fast as the kernel can make it. Timestamps go with the time of day, whatever
// the rate, so that there is no jitter.
func (c *calls) rtp(iface string, rate float64, span time.Duration) replay.Options {
	n, likely := float64(len(c.media)), rate
	if rate == 0 {
		likely = 3e6
	}
	return replay.Options{
		Iface: iface, Frames: c.media, Engine: replay.XDP, CPUs: []int{sendCPU},
		PPS: rate, Patience: 50 * time.Microsecond,
		Loops: int(math.Ceil(likely * span.Seconds() / n)),
		Fields: []replay.Field{
			{At: atRTP + 2, Kind: replay.Uint16, Each: uint32(n)},
			{At: atRTP + 4, Kind: replay.Uint32, Each: uint32(n), Step: uint32(max(1, math.Round(8000*n/likely)))},
		},
	}
}

// sip says how to send frames of SIP: all of them arrive.
func sip(iface string, frames []replay.Frame) replay.Options {
	return replay.Options{Iface: iface, Frames: frames, PPS: 20000, Retry: true, CPUs: []int{sendCPU}}
}
