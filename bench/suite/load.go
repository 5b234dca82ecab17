package suite

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"ringside/bench/replay"
	"ringside/bench/traffic"
	"ringside/flow/record"
)

// load is traffic that can be sent at any rate for any time.
type load struct {
	begin, end []replay.Frame // SIP of calls that go on all the time
	fixed      uint64         // so many calls go on
	spread     bool           // main can be shared among several threads that send
	// main is what is measured.
	main func(rate float64, span time.Duration) replay.Options
	// calls is how many calls there are in so many frames of main. nil: none but the
	// fixed ones.
	calls func(frames uint64) uint64
}

// sent is how many calls were sent with so many frames of main.
func (l *load) sent(frames uint64) uint64 {
	if l.calls == nil {
		return l.fixed
	}
	return l.fixed + l.calls(frames)
}

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
	frames, err := generate(ctx, traffic.Options{
		Seed: 1, Calls: n, Rate: 2000, Talk: traffic.Length{Mean: time.Second}, Gateways: 64,
	})
	if err != nil {
		return nil, err
	}
	c := takeApart(frames)
	if len(c.media) != 2*n {
		return nil, fmt.Errorf("generate calls: %d streams of %d calls", len(c.media), n)
	}
	return c, nil
}

// generate makes frames.
func generate(ctx context.Context, o traffic.Options) ([]replay.Frame, error) {
	g, err := traffic.New(o)
	if err != nil {
		return nil, fmt.Errorf("generate calls: %w", err)
	}
	in, out := io.Pipe()
	go func() {
		_, err := g.Run(ctx, out, nil)
		out.CloseWithError(err)
	}()
	frames, err := replay.Read(in)
	if err != nil {
		return nil, fmt.Errorf("generate calls: %w", err)
	}
	return frames, nil
}

// takeApart sorts what a generator makes.
func takeApart(frames []replay.Frame) *calls {
	c := &calls{}
	seen := map[[16]byte]int{}
	for _, f := range frames {
		switch {
		case !isSIP(f):
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
	return c
}

// isSIP tells by the ports, which the generator gives to nothing else.
func isSIP(f replay.Frame) bool {
	return binary.BigEndian.Uint16(f.Data[atPorts:]) == 5060 || binary.BigEndian.Uint16(f.Data[atPorts+2:]) == 5060
}

// load makes the calls go on while their RTP is sent.
func (c *calls) load() *load {
	return &load{begin: c.begin, end: c.end, fixed: uint64(len(c.media) / 2), main: c.rtp}
}

// rtp says how to send the RTP of all calls at a rate for some time; rate 0 is as
// fast as the kernel can make it. Timestamps go with the time of day, whatever
// the rate, so that there is no jitter.
func (c *calls) rtp(rate float64, span time.Duration) replay.Options {
	n, likely := float64(len(c.media)), rate
	if rate == 0 {
		likely = 3e6
	}
	return replay.Options{
		Frames: c.media, Engine: replay.XDP,
		PPS: rate, Patience: 50 * time.Microsecond,
		Loops: int(math.Ceil(likely * span.Seconds() / n)),
		Fields: []replay.Field{
			{At: atRTP + 2, Kind: replay.Uint16, Each: uint32(n)},
			{At: atRTP + 4, Kind: replay.Uint32, Each: uint32(n), Step: uint32(max(1, math.Round(8000*n/likely)))},
		},
	}
}

// sip says how to send frames of SIP: all of them arrive.
func sip(frames []replay.Frame) replay.Options {
	return replay.Options{Frames: frames, PPS: 20000, Retry: true}
}

// setups is a load of calls that are set up and taken down, without media: every
// pass is other calls.
func setups(ctx context.Context, n int) (*load, error) {
	frames, err := generate(ctx, traffic.Options{Seed: 11, Calls: n, Rate: float64(n), Talk: traffic.Length{Mean: time.Second}, Gateways: 64})
	if err != nil {
		return nil, err
	}
	return rewritten(slices.DeleteFunc(frames, func(f replay.Frame) bool { return !isSIP(f) }), n), nil
}

// carrier is a load of what a carrier's mirror port shows: codecs in shares as they are
// met, networks good and bad, calls that fail, RTCP, registrations.
func carrier(ctx context.Context, n int) (*load, error) {
	o, err := traffic.Preset("mixed")
	if err != nil {
		return nil, err
	}
	o.Calls, o.Rate = n, float64(n)/5
	o.Talk = traffic.Length{Kind: traffic.Exponential, Mean: 4 * time.Second, Min: time.Second, Max: 20 * time.Second}
	// Passes are told apart by IPv4 addresses, and by what is in whole datagrams.
	o.IPv6, o.Proxied, o.Large, o.MTU = 0, 0, 0, 0
	o.Transports = []traffic.Weighted[record.Transport]{{Value: record.UDP, Weight: 1}}
	o.Codecs = nil
	for _, share := range []struct {
		codec  string
		weight float64
	}{{"PCMA", 45}, {"G729", 25}, {"PCMU", 20}, {"AMR-WB", 5}, {"opus", 5}} {
		c, err := traffic.ParseCodec(share.codec)
		if err != nil {
			return nil, err
		}
		o.Codecs = append(o.Codecs, traffic.Weighted[traffic.Codec]{Value: c, Weight: share.weight})
	}
	frames, err := generate(ctx, o)
	if err != nil {
		return nil, err
	}
	return rewritten(frames, n), nil
}

// rewritten is a load of a capture in which every pass is other calls.
func rewritten(frames []replay.Frame, calls int) *load {
	pass := uint64(len(frames))
	return &load{
		spread: true,
		main: func(rate float64, span time.Duration) replay.Options {
			return replay.Options{
				Frames: frames, Engine: replay.Packet, PPS: rate, Rewrite: true, Patience: 2 * time.Millisecond,
				Loops: int(math.Ceil(max(rate, 1) * span.Seconds() / float64(pass))),
			}
		},
		calls: func(frames uint64) uint64 { return frames / pass * uint64(calls) },
	}
}

// registers is a flood of REGISTERs from so many sources.
func registers(sources uint32) *load {
	frames, fields := replay.RegisterFlood(sources)
	return &load{spread: true, main: func(rate float64, span time.Duration) replay.Options {
		return replay.Options{
			Frames: frames, Fields: fields, Engine: replay.XDP, PPS: rate, Patience: 50 * time.Microsecond,
			Loops: int(math.Ceil(max(rate, 1) * span.Seconds())),
		}
	}}
}
