package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"ringside/bench/traffic"
)

// settings are what the flags of gen say.
type settings struct {
	options            traffic.Options
	file, truth        string
	preset             string
	quiet              bool
	impairmentsChanged bool
}

// gen is the command of that name.
func gen(ctx context.Context, args []string, out io.Writer) error {
	// The preset is what other flags change, wherever it stands among them: so
	// the flags are read once for its name, and once more on top of it.
	s, err := parse(args, out, traffic.Options{})
	if err == nil && s.preset != "" {
		var o traffic.Options
		if o, err = traffic.Preset(s.preset); err == nil {
			s, err = parse(args, out, o)
		}
	}
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	g, err := traffic.New(s.options)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	began := time.Now()
	totals, err := write(ctx, g, s.file, s.truth)
	if err != nil {
		return err
	}
	if !s.quiet {
		tell(out, s.file, totals, time.Since(began))
	}
	return nil
}

// parse reads the flags, on top of o.
func parse(args []string, out io.Writer, o traffic.Options) (*settings, error) {
	s := &settings{options: o}
	fs := flag.NewFlagSet("ringbench gen", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.file, "o", "", "capture `FILE` to write, - for standard output")
	fs.StringVar(&s.truth, "truth", "", "`FILE` for the truth, as JSON lines (default none; costs time)")
	fs.BoolVar(&s.quiet, "quiet", false, "do not say what was written")
	fs.StringVar(&s.preset, "preset", "", "`NAME` of options to begin with; other flags change them:\n"+strings.Join(traffic.Presets(), "\n"))
	callFlags(fs, s)
	networkFlags(fs, &s.options)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(out)
			fs.Usage()
		}
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case s.file == "":
		return nil, errors.New("name the capture to write with -o FILE")
	}
	return s, nil
}

// write runs g into its files.
func write(ctx context.Context, g *traffic.Generator, file, truth string) (totals traffic.Totals, err error) {
	w := io.Writer(os.Stdout)
	if file != "-" {
		f, err := os.Create(file)
		if err != nil {
			return totals, fmt.Errorf("create capture: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = f
	}
	if truth == "" {
		return g.Run(ctx, w, nil)
	}
	f, err := os.Create(truth)
	if err != nil {
		return totals, fmt.Errorf("create truth: %w", err)
	}
	b := bufio.NewWriterSize(f, 1<<18)
	totals, err = g.Run(ctx, w, b)
	return totals, errors.Join(err, b.Flush(), f.Close())
}

func tell(out io.Writer, file string, t traffic.Totals, took time.Duration) {
	h := t.Hostile
	other := t.DNS + t.STUN + t.TCP + h.Fragments + h.Overlaps + h.Gaps + h.SYNs + h.Tunnels + h.Endless
	fmt.Fprintf(out, "%s: %d frames (%d SIP, %d RTP, %d RTCP, %d other), %d calls, %d streams, %.1f MB, %s of traffic; %.2f s, %.2f million frames/s\n",
		file, t.Frames, t.SIPCalls+t.SIPOther, t.RTP, t.RTCP, other, t.Calls, t.Streams, float64(t.Bytes)/1e6,
		time.Duration(t.LastTime-t.FirstTime).Round(time.Millisecond), took.Seconds(), float64(t.Frames)/took.Seconds()/1e6)
}

// callFlags define which calls there are, and what becomes of them.
func callFlags(fs *flag.FlagSet, s *settings) {
	o := &s.options
	fs.Uint64Var(&o.Seed, "seed", o.Seed, "`NUMBER` that everything random follows from")
	fs.IntVar(&o.Calls, "calls", o.Calls, "`NUMBER` of calls (default: as many as begin within --duration, or 100)")
	fs.DurationVar(&o.Duration, "duration", o.Duration, "`TIME` in which calls begin (default: until --calls have begun)")
	fs.Float64Var(&o.Rate, "rate", o.Rate, "calls that begin per second (default 5)")
	fs.Func("concurrent", "`NUMBER` of conversations at a time to aim at; sets --rate", func(s string) (err error) {
		o.Concurrent, err = strconv.Atoi(s)
		o.Rate = 0
		return err
	})
	fs.Func("talk", "`TIME` from answer to BYE: 30s, uniform:10s-60s or exp:120s (default 30s)", func(s string) (err error) {
		o.Talk, err = traffic.ParseLength(s)
		return err
	})
	fs.Func("start", "`TIME` of the first frame, RFC 3339 (default 2026-01-05T09:00:00Z)", func(s string) (err error) {
		o.Start, err = time.Parse(time.RFC3339, s)
		return err
	})
	fs.Func("scenarios", "`LIST` of NAME or NAME=WEIGHT, or all: "+scenarioNames(), list(&o.Scenarios, parseScenarios))
	fs.BoolVar(&o.InTurn, "in-turn", o.InTurn, "take the scenarios one after the other, whatever their weights")
	fs.Func("codecs", "`LIST` of NAME, NAME@PTIME or NAME=WEIGHT: "+strings.Join(traffic.Codecs(), ", "), list(&o.Codecs, one(traffic.ParseCodec)))
	fs.Func("impair", "[WEIGHT:]`SPEC` that streams suffer, can be given several times, as in\n3:none or 1:loss=0.01,burst=0.002/0.3,jitter=20ms/normal,reorder=0.01/2,dup=0.001,drift=50,wrap=0.1,reset=0.1", s.impair)
	fs.Float64Var(&o.DTX, "dtx", o.DTX, "`SHARE` of calls with discontinuous transmission, 0 to 1")
	fs.Float64Var(&o.Digits, "digits", o.Digits, "`SHARE` of streams with telephone-events, 0 to 1")
	fs.BoolVar(&o.RTCP, "rtcp", o.RTCP, "send RTCP")
	fs.Float64Var(&o.Mux, "mux", o.Mux, "`SHARE` of calls with RTCP on RTP's port, 0 to 1")
}

// networkFlags define how frames travel and are written.
func networkFlags(fs *flag.FlagSet, o *traffic.Options) {
	fs.Float64Var(&o.IPv6, "ipv6", o.IPv6, "`SHARE` of calls over IPv6, 0 to 1")
	fs.Func("vlan", "VLAN `ID`, or OUTER,INNER", func(s string) error {
		o.VLANs = nil
		for _, f := range strings.Split(s, ",") {
			id, err := strconv.ParseUint(f, 10, 12)
			if err != nil {
				return fmt.Errorf("parse VLAN id: %w", err)
			}
			o.VLANs = append(o.VLANs, uint16(id))
		}
		return nil
	})
	fs.IntVar(&o.Phones, "phones", o.Phones, "`NUMBER` of callers' addresses (default 4096)")
	fs.IntVar(&o.Gateways, "gateways", o.Gateways, "`NUMBER` of called's addresses (default 16)")
	fs.IntVar(&o.Proxies, "proxies", o.Proxies, "`NUMBER` of proxies' addresses (default 4)")
	fs.Float64Var(&o.Proxied, "proxied", o.Proxied, "`SHARE` of calls captured on both sides of a proxy, 0 to 1")
	fs.Func("transports", "`LIST` of NAME or NAME=WEIGHT that calls use for SIP: udp, tcp, ws, sctp (default udp)", list(&o.Transports, one(traffic.ParseTransport)))
	fs.Func("streams", "`SPEC` of chances of what happens to SIP over tcp, ws and sctp, as in\n"+
		"split=0.3,join=0.3,shared=0.2,midstream=0.1,keepalive=0.5,blank=0.1,lost=0.03,behind=0.03,reorder=0.05,rebound=0.5,dupack=0.2,capture=0.1", func(s string) (err error) {
		o.Streams, err = traffic.ParseStreams(s)
		return err
	})
	fs.Float64Var(&o.Large, "large", o.Large, "`SHARE` of calls whose INVITEs have 2 to 8 KiB, 0 to 1")
	fs.Float64Var(&o.FastT1, "fast-t1", o.FastT1, "`SHARE` of calls that send again after 60 ms, not 500 ms, 0 to 1")
	fs.IntVar(&o.MTU, "mtu", o.MTU, "cut IP packets longer than so many `BYTES` into fragments (default: cut none)")
	fs.Float64Var(&o.Disorder, "disorder", o.Disorder, "`SHARE` of cut packets whose fragments come in any order, 0 to 1")
	fs.Func("mirror", "deliver every packet twice, the second copy `CHANGED`: "+strings.Join(traffic.Mirrors(), ", "), func(s string) (err error) {
		o.Mirror, err = traffic.ParseMirror(s)
		return err
	})
	fs.Float64Var(&o.ZeroID, "zero-id", o.ZeroID, "`SHARE` of IPv4 hosts whose datagrams have the identification 0, 0 to 1")
	fs.Float64Var(&o.Hostile, "hostile", o.Hostile, "attacks per second: floods, overlaps, gaps, tunnels in tunnels")
	fs.Float64Var(&o.Background, "background", o.Background, "OPTIONS and REGISTER transactions per second")
	fs.Float64Var(&o.Noise, "noise", o.Noise, "DNS, STUN and TCP frames per second")
	fs.Func("format", "`FORMAT`: "+strings.Join(traffic.Formats(), ", ")+" (default pcap)", func(s string) (err error) {
		o.Format, err = traffic.ParseFormat(s)
		return err
	})
	fs.IntVar(&o.SnapLen, "snaplen", o.SnapLen, "most `BYTES` kept of a frame (default 65535)")
}

// impair adds one choice of impairments; the first replaces those of the preset.
func (s *settings) impair(spec string) error {
	if !s.impairmentsChanged {
		s.impairmentsChanged, s.options.Impairments = true, nil
	}
	weight := 1.0
	if w, rest, ok := strings.Cut(spec, ":"); ok {
		var err error
		if weight, err = strconv.ParseFloat(w, 64); err != nil {
			return fmt.Errorf("parse weight: %w", err)
		}
		spec = rest
	}
	h, err := traffic.ParseImpairment(spec)
	s.options.Impairments = append(s.options.Impairments, traffic.Weighted[traffic.Impairment]{Value: h, Weight: weight})
	return err
}

// list reads a comma-separated list of weighted things.
func list[T any](to *[]traffic.Weighted[T], parse func(string) ([]T, error)) func(string) error {
	return func(s string) error {
		*to = nil
		for _, f := range strings.Split(s, ",") {
			name, w, weighted := strings.Cut(f, "=")
			weight := 1.0
			if weighted {
				var err error
				if weight, err = strconv.ParseFloat(w, 64); err != nil {
					return fmt.Errorf("parse weight of %s: %w", name, err)
				}
			}
			values, err := parse(name)
			if err != nil {
				return err
			}
			for _, v := range values {
				*to = append(*to, traffic.Weighted[T]{Value: v, Weight: weight})
			}
		}
		return nil
	}
}

func one[T any](parse func(string) (T, error)) func(string) ([]T, error) {
	return func(s string) ([]T, error) {
		v, err := parse(s)
		return []T{v}, err
	}
}

func parseScenarios(s string) ([]traffic.Scenario, error) {
	if s == "all" {
		return traffic.Scenarios(), nil
	}
	return one(traffic.ParseScenario)(s)
}

func scenarioNames() string {
	var names []string
	for _, s := range traffic.Scenarios() {
		names = append(names, s.String())
	}
	return strings.Join(names, ", ")
}
