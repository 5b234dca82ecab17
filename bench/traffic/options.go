package traffic

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ringside/flow/record"
)

// Weighted is one choice of several, taken in proportion to its weight.
type Weighted[T any] struct {
	Value  T
	Weight float64
}

// Options say what traffic to make. The zero value is a small mixed file: 100
// answered G.711 calls.
type Options struct {
	// Seed of everything random. The same seed and options give the same bytes.
	Seed uint64
	// Start is the time of the capture's begin. Default 2026-01-05 09:00:00 UTC.
	Start time.Time

	// Calls that begin in all. Default: as many as begin within Duration, or 100.
	Calls int
	// Duration in which calls begin; the file lasts until the last one is over.
	// Default: until Calls have begun.
	Duration time.Duration
	// Rate is the mean number of calls that begin per second (Poisson). Default:
	// from Concurrent, or 5.
	Rate float64
	// Concurrent is the number of conversations in progress to aim at; it sets
	// Rate to Concurrent / mean of Talk.
	Concurrent int
	// Talk is the time from answer to BYE. Default: fixed 30 s.
	Talk Length

	// Scenarios to draw from. Default: Answered.
	Scenarios []Weighted[Scenario]
	// InTurn takes the scenarios one after the other, whatever their weights.
	InTurn bool
	// Codecs to draw from. Default: PCMU and PCMA, 20 ms.
	Codecs []Weighted[Codec]
	// Impairments to draw from, for each stream by itself. Default: none.
	Impairments []Weighted[Impairment]
	// DTX is the share of calls with discontinuous transmission, 0 to 1.
	DTX float64
	// Digits is the share of calls in which keys are pressed, 0 to 1.
	Digits float64
	// RTCP sends a report per stream every 5 s, on the port above RTP's or, in
	// the share Mux of calls, on the same (RFC 5761).
	RTCP bool
	Mux  float64

	// IPv6 is the share of calls over IPv6, 0 to 1.
	IPv6 float64
	// VLANs tag every frame: none, one id (802.1Q), or outer and inner (802.1ad).
	VLANs []uint16
	// Phones and Gateways are the numbers of callers' and called's addresses.
	// Defaults 4096 and 16.
	Phones, Gateways int
	// Proxies is the number of proxies' addresses. Default 4.
	Proxies int
	// Proxied is the share of calls that go through a proxy, both hops of which
	// are captured, 0 to 1.
	Proxied float64

	// Transports of SIP to draw from, for each call. Default: all UDP.
	Transports []Weighted[record.Transport]
	// Streams say how SIP travels over TCP, WebSocket and SCTP, and what happens
	// to it there.
	Streams Streams
	// Large is the share of calls whose INVITEs and 200s have 2 to 8 KiB, 0 to 1.
	Large float64
	// FastT1 is the share of calls that send again after 60 ms and not after
	// 500 ms (T1 of RFC 3261 section 17.1.1.1), 0 to 1.
	FastT1 float64

	// MTU above 0 cuts every IP packet that is longer into fragments.
	MTU int
	// Disorder is the share of cut packets whose fragments come in any order.
	Disorder float64
	// Mirror delivers every packet twice, up to 2 ms apart. Impairments must not
	// have duplicates of their own then: nobody could tell which is which.
	Mirror Mirror
	// ZeroID is the share of IPv4 hosts that send 0 as the identification of UDP
	// datagrams which are not cut, 0 to 1. With MTU, Mirror or ZeroID the others
	// count their packets as real hosts do, over all flows.
	ZeroID float64
	// Hostile is the rate of attacks, per second: fragment floods, overlapping
	// fragments, TCP connections with gaps, SYN floods, tunnels in tunnels,
	// endless bodies. They change nothing in the truth about calls.
	Hostile float64

	// Background is the rate of OPTIONS and REGISTER transactions, per second.
	Background float64
	// Noise is the rate of DNS, STUN and TCP frames, per second.
	Noise float64

	// Format of the file. Default PcapMicro.
	Format Format
	// SnapLen is the most bytes kept of a frame. Default 65535. The truth is that
	// of uncut frames.
	SnapLen int
}

// Kinds of Length.
const (
	Fixed       = iota // always Mean
	Uniform            // Min to Max
	Exponential        // Mean, kept within Min and Max
)

// Length is a distribution of durations.
type Length struct {
	Kind           int
	Mean, Min, Max time.Duration
}

// mean is the expected value, without regard to Min and Max of Exponential.
func (l Length) mean() time.Duration {
	if l.Kind == Uniform {
		return (l.Min + l.Max) / 2
	}
	return l.Mean
}

// longest is the largest value there can be.
func (l Length) longest() time.Duration {
	switch {
	case l.Kind == Fixed:
		return l.Mean
	case l.Kind == Exponential && l.Max == 0:
		return 10 * l.Mean
	}
	return l.Max
}

func (l Length) draw(r *random) int64 {
	switch l.Kind {
	case Uniform:
		return r.between(int64(l.Min), int64(l.Max))
	case Exponential:
		return max(int64(l.Min), min(int64(r.exponential(float64(l.Mean))), int64(l.longest())))
	}
	return int64(l.Mean)
}

// ParseLength reads "30s", "uniform:10s-60s" or "exp:120s".
func ParseLength(s string) (Length, error) {
	kind, rest, ok := strings.Cut(s, ":")
	if !ok {
		d, err := time.ParseDuration(s)
		return Length{Kind: Fixed, Mean: d}, err
	}
	switch kind {
	case "exp":
		d, err := time.ParseDuration(rest)
		return Length{Kind: Exponential, Mean: d, Min: time.Second}, err
	case "uniform":
		lo, hi, _ := strings.Cut(rest, "-")
		a, err := time.ParseDuration(lo)
		b, err2 := time.ParseDuration(hi)
		return Length{Kind: Uniform, Min: a, Max: b}, errors.Join(err, err2)
	}
	return Length{}, fmt.Errorf("parse length %q: write 30s, uniform:10s-60s or exp:120s", s)
}

// Shape is a distribution of jitter.
type Shape uint8

// Shapes of jitter.
const (
	Flat   Shape = iota // uniform in 0 to Jitter
	Normal              // standard deviation Jitter, about a constant delay of three times that
	Spikes              // now and then a delay of Jitter that melts away over some packets
)

// Impairment is what the network does to a stream before the point of capture.
type Impairment struct {
	Loss         float64       // share of packets lost at random, 0 to 1
	BurstIn      float64       // Gilbert and Elliott: chance per packet to begin a burst in which all is lost, 0 to 1
	BurstOut     float64       // chance per packet to end it, 0 to 1
	Jitter       time.Duration // added delay; packets keep their order
	Shape        Shape         // of the jitter
	Reorder      float64       // share of packets that fall behind, 0 to 1
	ReorderDepth int           // by at most so many packets; default 1
	Duplicate    float64       // share of packets captured twice, 0 to 1
	Drift        float64       // of the sender's clock, at most so many ppm either way
	Wrap         float64       // chance that the sequence wraps within the first 5 s, 0 to 1
	Reset        float64       // chance that the sequence starts anew in mid-stream, 0 to 1
}

// ParseImpairment reads a comma-separated list, as in
// "loss=0.01,burst=0.002/0.3,jitter=20ms/normal,reorder=0.01/2,dup=0.001,drift=50,wrap=0.1,reset=0.1".
func ParseImpairment(s string) (Impairment, error) {
	var h Impairment
	for _, f := range strings.Split(s, ",") {
		key, value, _ := strings.Cut(f, "=")
		value, extra, _ := strings.Cut(value, "/")
		var err error
		num := func(p *float64) { *p, err = strconv.ParseFloat(value, 64) }
		switch key {
		case "loss":
			num(&h.Loss)
		case "burst":
			num(&h.BurstIn)
			if err == nil {
				h.BurstOut, err = strconv.ParseFloat(extra, 64)
			}
		case "jitter":
			h.Jitter, err = time.ParseDuration(value)
			shape, ok := map[string]Shape{"": Flat, "uniform": Flat, "normal": Normal, "spikes": Spikes}[extra]
			if h.Shape = shape; !ok {
				err = fmt.Errorf("no shape %q: write uniform, normal or spikes", extra)
			}
		case "reorder":
			num(&h.Reorder)
			if err == nil && extra != "" {
				h.ReorderDepth, err = strconv.Atoi(extra)
			}
		case "dup":
			num(&h.Duplicate)
		case "drift":
			num(&h.Drift)
		case "wrap":
			num(&h.Wrap)
		case "reset":
			num(&h.Reset)
		case "none":
		default:
			err = errors.New("not one of loss, burst, jitter, reorder, dup, drift, wrap, reset, none")
		}
		if err != nil {
			return h, fmt.Errorf("parse impairment %q: %w", f, err)
		}
	}
	return h, h.check()
}

func (h Impairment) check() error {
	for name, share := range map[string]float64{
		"loss": h.Loss, "burst": h.BurstIn, "end of burst": h.BurstOut,
		"reorder": h.Reorder, "dup": h.Duplicate, "wrap": h.Wrap, "reset": h.Reset,
	} {
		if share < 0 || share > 1 {
			return fmt.Errorf("check impairment: %s is %v, not a share of 0 to 1", name, share)
		}
	}
	switch {
	case h.BurstIn > 0 && h.BurstOut == 0:
		return errors.New("check impairment: a burst never ends; give burst=BEGIN/END")
	case h.Jitter < 0 || h.Jitter > 2*time.Second:
		return fmt.Errorf("check impairment: jitter %v is not within 0 to 2s", h.Jitter)
	case h.ReorderDepth < 0 || h.ReorderDepth > 32:
		return fmt.Errorf("check impairment: reorder depth %d is not within 0 to 32", h.ReorderDepth)
	case h.Drift < 0 || h.Drift > 10000:
		return fmt.Errorf("check impairment: drift %v ppm is not within 0 to 10000", h.Drift)
	}
	return nil
}

// fill sets the defaults and checks what is there.
func (o *Options) fill() error {
	setDefault(&o.Talk, Length{Mean: 30 * time.Second})
	if o.Concurrent > 0 {
		setDefault(&o.Rate, float64(o.Concurrent)/o.Talk.mean().Seconds())
	}
	setDefault(&o.Rate, 5)
	setDefault(&o.Phones, 4096)
	setDefault(&o.Gateways, 16)
	setDefault(&o.Proxies, 4)
	setDefault(&o.SnapLen, 65535)
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	}
	if o.Calls == 0 && o.Duration == 0 {
		o.Calls = 100
	}
	if o.Scenarios == nil {
		o.Scenarios = []Weighted[Scenario]{{Answered, 1}}
	}
	if o.Codecs == nil {
		o.Codecs = []Weighted[Codec]{{codecs[0], 1}, {codecs[1], 1}}
	}
	if o.Impairments == nil {
		o.Impairments = []Weighted[Impairment]{{Impairment{}, 1}}
	}
	return o.check()
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func (o *Options) check() error {
	for name, share := range map[string]float64{
		"DTX": o.DTX, "digits": o.Digits, "mux": o.Mux, "IPv6": o.IPv6, "proxied": o.Proxied,
		"large": o.Large, "fast T1": o.FastT1, "disorder": o.Disorder, "zero id": o.ZeroID,
	} {
		if share < 0 || share > 1 {
			return fmt.Errorf("check options: share of %s is %v, not 0 to 1", name, share)
		}
	}
	for _, h := range o.Impairments {
		if err := h.Value.check(); err != nil {
			return err
		}
	}
	if total(o.Scenarios) <= 0 || total(o.Codecs) <= 0 || total(o.Impairments) <= 0 {
		return errors.New("check options: scenarios, codecs and impairments each need a weight above 0")
	}
	if err := errors.Join(o.checkTransports(), o.checkWire()); err != nil {
		return err
	}
	longest := o.Talk.longest()
	switch {
	case o.Calls < 0 || o.Duration < 0 || o.Rate <= 0 || o.Background < 0 || o.Noise < 0 || o.Hostile < 0:
		return errors.New("check options: calls, duration and rates cannot be negative")
	case longest < time.Second || longest > 24*time.Hour || o.Talk.Min > longest:
		return fmt.Errorf("check options: talk of up to %v is not within 1s to 24h", longest)
	case len(o.VLANs) > 2:
		return fmt.Errorf("check options: %d VLAN tags; give at most two, outer and inner", len(o.VLANs))
	case o.SnapLen < 64 || o.SnapLen > 262144:
		return fmt.Errorf("check options: snap length %d is not within 64 to 262144", o.SnapLen)
	case o.Phones < 1 || o.Phones > maxPhones:
		return fmt.Errorf("check options: %d phones, not 1 to %d", o.Phones, maxPhones)
	case o.Proxies < 1 || o.Proxies > maxProxies:
		return fmt.Errorf("check options: %d proxies, not 1 to %d", o.Proxies, maxProxies)
	case o.Gateways < 1 || o.Gateways > maxGateways:
		return fmt.Errorf("check options: %d gateways, not 1 to %d", o.Gateways, maxGateways)
	}
	// A media port must rest between two calls, or calls would share it unasked.
	busy := (longest + 2*time.Minute).Seconds() * o.Rate * 2
	if o.Calls > 0 {
		busy = min(busy, float64(o.Calls))
	}
	if have := float64(min(o.Gateways, o.Phones)) * gatewayPorts; busy > have {
		return fmt.Errorf("check options: about %.0f media ports are in use, only %.0f can be; raise gateways (and phones) to %.0f",
			busy, have, busy/gatewayPorts+1)
	}
	return nil
}

func total[T any](from []Weighted[T]) float64 {
	sum := 0.0
	for _, w := range from {
		sum += max(0, w.Weight)
	}
	return sum
}
