package traffic

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ringside/flow/record"
)

// presets are options by name.
var presets = []struct {
	name, what string
	options    func() Options
}{
	{"demo", "about 60 calls of every kind in two minutes, some over a bad network", demo},
	{"mixed", "600 calls of every kind, all codecs, IPv4 and IPv6, impaired, with background and noise", mixed},
	{"streams", "200 calls over UDP, TCP, WebSocket and SCTP, with loss, reordering and everything else that happens to connections", streams},
	{"fragments", "150 calls with large messages and large RTP packets over links with an MTU of 576", fragments},
	{"mirror", "150 calls, every packet captured twice: before and after it was routed into another VLAN", mirrored},
	{"hostile", "150 calls in the midst of attacks", hostile},
	{"load", "12 million packets: 2,000 concurrent G.711 calls of 60 s", load},
}

// Presets lists the names of Preset with what each is.
func Presets() []string {
	var out []string
	for _, p := range presets {
		out = append(out, p.name+": "+p.what)
	}
	return out
}

// Preset gives the options of a name.
func Preset(name string) (Options, error) {
	for _, p := range presets {
		if p.name == name {
			return p.options(), nil
		}
	}
	return Options{}, fmt.Errorf("find preset %q: not one of\n  %s", name, strings.Join(Presets(), "\n  "))
}

// everything is a mix in which most calls are answered, as in life.
func everything() []Weighted[Scenario] {
	var mix []Weighted[Scenario]
	for _, s := range Scenarios() {
		mix = append(mix, Weighted[Scenario]{s, 1})
	}
	mix[Answered].Weight = 40
	for _, s := range []Scenario{Busy, Cancelled, NoAnswer, Auth407, EarlyMedia} {
		mix[s].Weight = 5
	}
	return mix
}

// networks are good, fair and poor ones.
func networks() []Weighted[Impairment] {
	return []Weighted[Impairment]{
		{Impairment{}, 6},
		{Impairment{Jitter: 3 * time.Millisecond, Drift: 60}, 3},
		{Impairment{Loss: 0.005, Jitter: 8 * time.Millisecond, Shape: Normal, Drift: 60}, 2},
		{Impairment{BurstIn: 0.002, BurstOut: 0.25, Jitter: 120 * time.Millisecond, Shape: Spikes}, 1},
		{Impairment{Loss: 0.02, Reorder: 0.01, ReorderDepth: 3, Duplicate: 0.005, Jitter: 15 * time.Millisecond, Wrap: 0.5, Reset: 0.2}, 1},
	}
}

func demo() Options {
	return Options{
		Seed: 1, Calls: 60, Rate: 0.6, Talk: Length{Kind: Uniform, Min: 12 * time.Second, Max: 60 * time.Second},
		Scenarios: everything(), Impairments: networks(), Codecs: allCodecs(4),
		DTX: 0.1, Digits: 0.2, RTCP: true, Mux: 0.2, IPv6: 0.2, Proxied: 0.1, Background: 1, Noise: 2,
	}
}

func mixed() Options {
	o := demo()
	o.Seed, o.Calls, o.Rate = 2, 600, 10
	o.Talk = Length{Kind: Exponential, Mean: 20 * time.Second, Min: 8 * time.Second, Max: 90 * time.Second}
	o.Codecs = allCodecs(1)
	o.Proxied, o.IPv6, o.Digits = 0.3, 0.3, 0.3
	o.Background, o.Noise = 5, 20
	return o
}

// allCodecs gives G.711 the weight, and every other codec 1.
func allCodecs(g711 float64) []Weighted[Codec] {
	var out []Weighted[Codec]
	for _, c := range codecs {
		w := 1.0
		if slices.Contains([]string{"PCMU", "PCMA"}, c.Name) {
			w = g711
		}
		out = append(out, Weighted[Codec]{c, w})
	}
	return out
}

// kinds of transport, each as often as the others.
func kinds() []Weighted[record.Transport] {
	return []Weighted[record.Transport]{{record.UDP, 1}, {record.TCP, 1}, {record.WS, 1}, {record.SCTP, 1}}
}

func streams() Options {
	o := mixed()
	o.Seed, o.Calls, o.Rate = 4, 200, 5
	o.Transports = kinds()
	o.Streams = Streams{
		Split: 0.3, Join: 0.3, Shared: 0.2, Midstream: 0.1, KeepAlive: 0.5, Blank: 0.1,
		Lost: 0.03, Behind: 0.03, Reorder: 0.05, Rebound: 0.5, DupAck: 0.2,
	}
	o.Large = 0.2
	return o
}

func fragments() Options {
	o := mixed()
	o.Seed, o.Calls, o.Rate = 5, 150, 5
	o.Transports, o.Large, o.MTU, o.Disorder = kinds(), 0.5, 576, 0.3
	o.Codecs = append(allCodecs(4), Weighted[Codec]{large[0], 6})
	return o
}

func mirrored() Options {
	o := mixed()
	o.Seed, o.Calls, o.Rate = 6, 150, 5
	o.Impairments = []Weighted[Impairment]{{Impairment{}, 1}, {Impairment{Loss: 0.01, Jitter: 8 * time.Millisecond}, 1}}
	o.Transports, o.Mirror, o.ZeroID, o.FastT1 = kinds(), MirrorBoth, 0.3, 0.5
	o.Streams = Streams{Behind: 0.02, KeepAlive: 0.5}
	return o
}

func hostile() Options {
	o := mixed()
	o.Seed, o.Calls, o.Rate = 7, 150, 5
	o.Transports, o.Hostile, o.MTU, o.Large = kinds(), 100, 1400, 0.2
	return o
}

func load() Options {
	return Options{Seed: 3, Calls: 2000, Rate: 400, Talk: Length{Mean: time.Minute}}
}
