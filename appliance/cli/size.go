package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringside/appliance/daemon"
	sizing "ringside/tuning/size"
)

// newSize is the command that says what machine a load of calls needs.
func newSize() *cobra.Command {
	var (
		l              sizing.Load
		here, asJSON   bool
		recording      = string(sizing.Meter)
		retention, max string
		memory         string
	)
	c := &cobra.Command{
		Use:   "size --calls N",
		Short: "say what machine so many calls need",
		Long: "size says how many processors, how much memory, ring memory, disk and store a load of\n" +
			"calls takes, captured on a dedicated interface. It is computed from what was measured;\n" +
			"docs/sizing.md has a table, and says how far to trust it.",
		Example: "  ringside size --calls 2000 --codec G.711 --recording header --retention 30\n" +
			"  ringside size --calls 500 --codec Opus --recording full --disk 4TB --share 0.1",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l.Recording = sizing.Recording(recording)
			if err := parseSizes(&l, retention, max, memory); err != nil {
				return err
			}
			if here {
				took, err := sizing.Calibrate()
				if err != nil {
					return err
				}
				l.Slower = took.Seconds() / sizing.Reference.Seconds()
			}
			n, err := sizing.Of(l)
			if err != nil {
				return usage("%w", err)
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(n)
			}
			return n.Write(c.OutOrStdout())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	positiveFlag(fl, "calls", "`NUMBER` of conversations at a time, at the busiest moment", "2000 is two thousand", &l.Calls)
	fl.DurationVar(&l.Duration, "duration", 3*time.Minute, "`TIME` that a conversation takes, on average")
	positiveFlag(fl, "call-rate", "`NUMBER` of calls tried a second (default: as many as --calls and --duration come to; what is more comes to nothing)", "50 is fifty a second", &l.CallRate)
	fl.StringVar(&l.Codec, "codec", "G.711", "`NAME`: "+strings.Join(sizing.CodecNames(), ", "))
	fl.DurationVar(&l.Packet, "packet-time", 0, "`TIME` of audio in a packet (default: as the codec has it, mostly 20ms)")
	fl.StringVar(&recording, "recording", recording, "what is kept of media, one of meter (nothing, they are measured), header, full")
	positiveFlag(fl, "share", "`PART` of the calls of which media are kept, up to 1 (default 1)", "0.1 is every tenth", &l.Share)
	fl.StringVar(&l.Compression, "compression", "none", "of media, on a file system that compresses: none, lz4, zstd")
	fl.DurationVar(&l.Lookback, "lookback", 0, "`TIME` that capture rules look back")
	fl.StringVar(&retention, "retention", "", "`DAYS` that packets are to be kept: how much disk that takes")
	fl.StringVar(&max, "disk", "", "`SIZE` of the disk for packets, as 4TB: how long they are kept")
	positiveFlag(fl, "days", "`NUMBER` of days that records are kept (default 90)", "90 is three months", &l.Days)
	fl.StringVar(&memory, "spool-memory", "", "`SIZE` of spool_memory (default: as computed)")
	fl.BoolVar(&here, "here", false, "measure this machine for a moment, and count in its processors")
	fl.BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

// parseSizes reads what has units.
func parseSizes(l *sizing.Load, retention, disk, memory string) error {
	if l.Calls == 0 {
		return usage("say how many calls go on at a time: --calls 2000")
	}
	if retention != "" {
		v, err := strconv.ParseFloat(strings.TrimSuffix(retention, "d"), 64)
		if err != nil || !(v > 0 && v <= 36_500) {
			return usage("--retention %q: write a number of days, such as 30", retention)
		}
		l.Retention = time.Duration(v * 24 * float64(time.Hour))
	}
	for _, s := range []struct {
		flag, text string
		to         *float64
	}{{"disk", disk, &l.Disk}, {"spool-memory", memory, &l.SpoolMemory}} {
		if s.text == "" {
			continue
		}
		v, err := daemon.ParseSize(s.text)
		if err == nil && v <= 0 {
			err = errors.New("write a size above 0, such as 4TB or 256MiB")
		}
		if err != nil {
			return usage("--%s: %w", s.flag, fmt.Errorf("%q: %w", s.text, err))
		}
		*s.to = float64(v)
	}
	return nil
}
