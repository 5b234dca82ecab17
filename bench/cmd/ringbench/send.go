package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"ringside/bench/replay"
)

// send is the command of that name.
func send(ctx context.Context, args []string, out io.Writer) error {
	o, s, err := parseSend(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if s.flood != "" {
		o.Frames, o.Fields, err = replay.Flood(s.flood, uint32(s.sources))
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
	} else if o.Frames, err = replay.ReadFile(s.file); err != nil {
		return err
	}
	if s.duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, s.duration)
		defer stop()
	}
	r, err := replay.Send(ctx, *o)
	if s.duration > 0 && errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	if !s.quiet {
		fmt.Fprintf(out, "%s: %d frames sent, %.1f MB, %d refused by the driver; %.2f s, %.0f frames/s",
			o.Iface, r.Sent, float64(r.Bytes)/1e6, r.Refused, r.Took.Seconds(), r.Rate())
		if r.Slipped > 0 {
			fmt.Fprintf(out, "; %v behind the pace", r.Slipped.Round(time.Millisecond))
		}
		fmt.Fprintln(out)
	}
	return err
}

// sendSettings are what the flags of send say beside replay's options.
type sendSettings struct {
	file, flood, pace string
	sources           uint
	duration          time.Duration
	quiet             bool
}

func parseSend(args []string, out io.Writer) (*replay.Options, *sendSettings, error) {
	o, s := &replay.Options{}, &sendSettings{}
	fs := flag.NewFlagSet("ringbench send", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	sendFlags(fs, o, s)
	speed := fs.Float64("speed", 1, "`TIMES` the recorded pace")
	// The file may stand anywhere among the flags.
	for rest := args; ; {
		if err := fs.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fs.SetOutput(out)
				fs.Usage()
			}
			return nil, nil, err
		}
		if fs.NArg() == 0 {
			break
		}
		if s.file != "" {
			return nil, nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
		}
		s.file, rest = fs.Arg(0), fs.Args()[1:]
	}
	if s.flood != "" && o.Loops == 0 {
		o.Loops = -1
	}
	if s.pace == "" {
		s.pace = "recorded"
		if o.PPS > 0 {
			s.pace = "flat"
		} else if s.flood != "" {
			s.pace = "max"
		}
	}
	switch {
	case o.Iface == "":
		return nil, nil, errors.New("name the interface to send on with --iface NAME")
	case (s.file == "") == (s.flood == ""):
		return nil, nil, errors.New("name one capture file to send, or --flood NAME")
	case s.flood != "" && s.pace == "recorded":
		return nil, nil, errors.New("a flood has no recorded pace; give --pps, or --pace max")
	case s.pace == "flat" && o.PPS <= 0:
		return nil, nil, errors.New("--pace flat needs a rate: give --pps")
	case s.pace != "flat" && o.PPS != 0:
		return nil, nil, fmt.Errorf("--pps goes with --pace flat, not %s", s.pace)
	case s.pace == "recorded":
		if o.Speed = *speed; o.Speed <= 0 {
			return nil, nil, fmt.Errorf("speed %v: more than 0", *speed)
		}
	case s.sources < 1 || s.sources > 1<<22:
		return nil, nil, fmt.Errorf("%d sources: 1 to %d", s.sources, 1<<22)
	}
	return o, s, nil
}

func sendFlags(fs *flag.FlagSet, o *replay.Options, s *sendSettings) {
	fs.StringVar(&o.Iface, "iface", "", "`NAME` of the interface to send on")
	fs.Float64Var(&o.PPS, "pps", 0, "`NUMBER` of frames to send in a second")
	fs.Func("pace", "`PACE`: recorded, flat (--pps) or max (default: recorded, or flat with --pps)", func(v string) error {
		switch s.pace = v; v {
		case "recorded", "flat", "max":
			return nil
		}
		return errors.New("not recorded, flat or max")
	})
	fs.IntVar(&o.Loops, "loop", 0, "`NUMBER` of times to send the file; -1: until interrupted (default 1, of a flood -1)")
	fs.DurationVar(&o.Gap, "gap", 0, "`TIME` between the passes at the recorded pace")
	fs.DurationVar(&o.Patience, "patience", 0, "`TIME` that the sender may be late and still catch up (default 1ms)")
	fs.DurationVar(&s.duration, "duration", 0, "end after this `TIME` (default: when all is sent)")
	fs.Func("engine", "`ENGINE`: packet (AF_PACKET), ring (the same through shared memory) or xdp (frames made in the kernel) (default packet)", engineFlag(&o.Engine))
	fs.IntVar(&o.Senders, "senders", 1, "`NUMBER` of threads that send")
	fs.Func("cpus", "`LIST` of processors that senders run on, in turn", cpuList(&o.CPUs))
	fs.BoolVar(&o.Rewrite, "rewrite", false, "make every pass but the first other calls: Call-IDs, tags, SSRCs, IPv4 addresses")
	fs.BoolVar(&o.Flows, "flows", false, "choose the interface's queue by flow, not by processor")
	fs.BoolVar(&o.Retry, "retry", false, "offer again what the driver refuses")
	fs.StringVar(&s.flood, "flood", "", "in place of a file, endless different frames: `NAME` register or rtp")
	fs.UintVar(&s.sources, "sources", 1_000_000, "`NUMBER` of sources of a flood, or of its streams")
	fs.BoolVar(&s.quiet, "quiet", false, "do not say what was sent")
}

// cpuList reads a list of processors.
func cpuList(to *[]int) func(string) error {
	return func(v string) error {
		*to = nil
		for _, f := range strings.Split(v, ",") {
			cpu, err := strconv.ParseUint(f, 10, 10)
			if err != nil {
				return fmt.Errorf("parse processor: %w", err)
			}
			*to = append(*to, int(cpu))
		}
		return nil
	}
}
