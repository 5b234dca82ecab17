package cli

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ringside/appliance/daemon"
	"ringside/flow/record"
)

// readFlags is what the command line of read says.
type readFlags struct {
	paths         []string
	workers       int
	sensor        uint16
	db, json, csv string
	queue         string // directory for what the store does not take
	spool         spoolFlags
	service       serviceFlags

	quiet         bool
	keys          bool // let JSON have keys of media
	callsMax      int
	callsTimeouts string

	keyLogs, rsaKeys []string // files with the keys of TLS

	dedup       string        // auto, on, off
	dedupWindow time.Duration // 0: the default

	natAliases []string // "A=B", both addresses
	bothSides  string   // no, yes, strict
	linkHeader string
	eventsOff  []record.EventKind

	regDelDelay, regExpDelta time.Duration
	tcpIdle, tcpReorder      time.Duration
	vxlanPorts               []uint16 // nil: the default
	filter                   string   // of packets, in the syntax of tcpdump

	replay replayFlags
	live   bool // packets come from interfaces, and wait for nobody

	loop            int           // passes over the input
	endWait         time.Duration // before the command returns
	endForceTimeout time.Duration // that the clock goes on for behind the last packet
}

// replayFlags say at which pace packets are handed out.
type replayFlags struct {
	on                 bool
	scale              float64 // of the recorded delays
	minDelay, maxDelay time.Duration
	pps                float64 // 0: by the recorded delays
}

// Defaults that the help text states.
const (
	defaultWindow     = 10 * time.Millisecond
	longestWindow     = time.Second
	defaultDelDelay   = 5 * time.Second
	defaultExpDelta   = 30 * time.Second
	defaultTCPIdle    = time.Hour
	defaultTCPReorder = time.Minute
)

func addReadFlags(fl *pflag.FlagSet, f *readFlags) {
	addRecordFlags(fl, f)
	fl.IntVar(&f.workers, "workers", 0, "threads that read and measure (0: one per CPU)")
	addReplayFlags(fl, f)
	addServiceFlags(fl, &f.service)
}

// addRecordFlags adds the flags that say what becomes of packets, wherever they
// come from.
func addRecordFlags(fl *pflag.FlagSet, f *readFlags) {
	fl.SortFlags = false
	fl.SetNormalizeFunc(oldNames)
	fl.StringVar(&f.db, "db", "", "keep the records in the store at `PATH` (created if it is not there), or of a server: mysql://USER@HOST/DATABASE")
	fl.StringVar(&f.queue, "queue", "", "with --db: keep records in `DIR` while the store is away, and those that it rejects (see \"ringside store\")")
	fl.StringVar(&f.json, "json", "", "write records as JSON lines to `FILE` (-: standard output)")
	fl.StringVar(&f.csv, "csv", "", "write calls as CSV to `FILE` (-: standard output)")
	keysFlag(fl, &f.keys)
	addSpoolFlags(fl, &f.spool)
	fl.Uint16Var(&f.sensor, "sensor", 0, "sensor `ID` to put into the records")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "neither progress nor summary")
	fl.IntVar(&f.callsMax, "calls-max", 0, "calls followed at one time; beyond, the least active is closed early (0: default)")
	fl.StringVar(&f.callsTimeouts, "calls-timeouts", "", "timers of call states, `STATE=DURATION,…` (inv_established=2h)")

	fl.StringArrayVar(&f.keyLogs, "keylog", nil, "`FILE` with TLS secrets, as SSLKEYLOGFILE writes them; may be repeated")
	fl.StringArrayVar(&f.rsaKeys, "rsa-key", nil, "`FILE` with the private RSA key of a TLS server, PEM; may be repeated")
	f.dedup = "auto"
	oneOfFlag(fl, "dedup", "remove second copies of packets, a `MODE`: auto (of interfaces seen to deliver copies; the default), on, off", &f.dedup, "auto", "on", "off")
	f.dedupWindow = defaultWindow
	fl.Func("dedup-window", "copies come within this `SPAN` (default 10ms, at most 1s)", func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 || d > longestWindow {
			return fmt.Errorf("write a span above 0 and up to %v, such as 10ms", longestWindow)
		}
		f.dedupWindow = d
		return nil
	})
	fl.Func("natalias", "`A=B`: media for address A in SDP is seen at address B; may be repeated", func(s string) error {
		if err := checkAlias(s); err != nil {
			return err
		}
		f.natAliases = append(f.natAliases, s)
		return nil
	})
	f.bothSides = "no"
	oneOfFlag(fl, "check-both-sides", "must SDP name both ends of a stream for it to belong to a call, a `MODE`: no (the default), yes; strict is taken for yes", &f.bothSides, "no", "yes", "strict")
	fl.Func("link-header", "`NAME` of a SIP header that the calls of one conversation have in common", func(s string) error {
		if !isToken(s) {
			return errors.New("write the name of a header without the colon, such as X-Conversation")
		}
		f.linkHeader = s
		return nil
	})
	list(fl, "event-types-off", "`KINDS` of events that are held back: other-ok,sub-new,…; of each source every 100th, 1,000th and 10,000th is kept, and says how many it stands for", &f.eventsOff, parseEventKind)
	spanFlag(fl, "reg-del-delay", "a binding made again within this `SPAN` had not been away", defaultDelDelay, &f.regDelDelay)
	spanFlag(fl, "reg-exp-delta", "a binding is taken for expired this `SPAN` after its time", defaultExpDelta, &f.regExpDelta)
	longSpanFlag(fl, "tcp-idle", "a connection silent for this `SPAN` is forgotten", defaultTCPIdle, &f.tcpIdle)
	longSpanFlag(fl, "tcp-reorder", "a hole in a connection is waited for for this `SPAN`", defaultTCPReorder, &f.tcpReorder)
	list(fl, "vxlan-ports", "UDP `PORTS` of VXLAN (default 4789)", &f.vxlanPorts, parsePort)
	fl.Func("filter", "take only packets that match `EXPRESSION`, in the syntax of tcpdump; in tunnels and fragments, too", func(s string) error {
		f.filter = s
		return daemon.CheckFilter(s)
	})
}

// patient reports whether packets can wait for the disk and the store.
func (f *readFlags) patient() bool { return !f.replay.on && !f.live }

func addReplayFlags(fl *pflag.FlagSet, f *readFlags) {
	fl.BoolVar(&f.replay.on, "replay", false, "hand out packets with the delays that were recorded")
	f.replay.scale = 1
	positiveFlag(fl, "replay-scale", "with --replay: `FACTOR` of the delays (0.1: ten times as fast, 2: half as fast)", "1 is as recorded, 0.1 ten times as fast", &f.replay.scale)
	spanFlag(fl, "replay-min-delay", "with --replay: every delay is at least this `SPAN`", 0, &f.replay.minDelay)
	spanFlag(fl, "replay-max-delay", "with --replay: every delay is at most this `SPAN`", 0, &f.replay.maxDelay)
	positiveFlag(fl, "replay-pps", "with --replay: so many `PACKETS` a second, in place of the recorded delays", "10000 is ten thousand a second", &f.replay.pps)
	f.loop = 1
	fl.Func("loop", "read the input `N` times, each time as other calls (default 1)", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > math.MaxUint16 {
			return fmt.Errorf("write a number of passes from 1 to %d", math.MaxUint16)
		}
		f.loop = n
		return nil
	})
	spanFlag(fl, "end-wait", "wait for this `SPAN` before the command ends", 0, &f.endWait)
	spanFlag(fl, "end-force-timeout", "let the clock go on for this `SPAN` behind the last packet, so that open calls time out", 0, &f.endForceTimeout)
}

// oldNames are the names that other programs have for these flags.
func oldNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	name = strings.ReplaceAll(name, "_", "-")
	if to, ok := map[string]string{
		"delay-scale":                 "replay-scale",
		"pcap-loop":                   "loop",
		"event-types-blst":            "event-types-off",
		"tcp-connection-timeout":      "tcp-idle",
		"tcp-reorder-timeout":         "tcp-reorder",
		"udp-port-vxlan":              "vxlan-ports",
		"rtp-check-both-sides-by-sdp": "check-both-sides",
		"calls-max-entries":           "calls-max",
		"spooldir":                    "spool",
		"spooldir-2":                  "spool-cold",
		"maxpoolsize":                 "spool-quota",
		"maxpoolsize-2":               "spool-cold-quota",
		"maxpooldays":                 "spool-days",
		"maxpooldays-2":               "spool-cold-days",
	}[name]; ok {
		name = to
	}
	return pflag.NormalizedName(name)
}

// check finds flags that do not go together. given reports whether the user
// gave a flag.
func (f *readFlags) check(given func(string) bool) error {
	for _, name := range []string{"replay-scale", "replay-min-delay", "replay-max-delay", "replay-pps"} {
		if given(name) && !f.replay.on {
			return usage("--%s says how to replay: add --replay, or leave it out to read as fast as possible", name)
		}
	}
	r := &f.replay
	switch {
	case f.workers < 0:
		return usage("--workers %d: write a number of threads, or 0 for one per CPU", f.workers)
	case f.callsMax < 0:
		return usage("--calls-max %d: write a number of calls, or 0 for the default", f.callsMax)
	case f.dedup == "off" && given("dedup-window"):
		return usage("--dedup off looks for no copies: leave out --dedup-window, or write --dedup on")
	case f.queue != "" && f.db == "":
		return usage("--queue keeps what the store does not take: add --db PATH, or leave it out")
	case given("queue") && f.queue == "":
		return usage("--queue: %w", errEmpty)
	case f.keys && f.json == "":
		return usage("--keys: only JSON has keys: add --json FILE, or leave it out")
	case r.maxDelay != 0 && r.maxDelay < r.minDelay:
		return usage("--replay-max-delay %v is less than --replay-min-delay %v: make it longer, or leave one of them out", r.maxDelay, r.minDelay)
	case r.pps != 0 && (given("replay-scale") || given("replay-min-delay") || given("replay-max-delay")):
		return usage("--replay-pps takes the place of the recorded delays: leave out --replay-scale, --replay-min-delay and --replay-max-delay, or --replay-pps")
	case f.loop > 1 && slices.Contains(f.paths, "-"):
		return usage("--loop %d: standard input can be read once only; name a file", f.loop)
	case f.json == "-" && f.csv == "-":
		return usage("write JSON and CSV: both go to standard output; name a file for one of them")
	}
	return f.checkOutputs(given)
}

// checkOutputs finds outputs that would overwrite each other, or an input.
func (f *readFlags) checkOutputs(given func(string) bool) error {
	taken := make(map[string]string) // what uses a file
	for _, in := range f.paths {
		if in != "-" {
			taken[realPath(in)] = "an input"
		}
	}
	for _, out := range []struct{ flag, path string }{{"db", f.db}, {"json", f.json}, {"csv", f.csv}} {
		switch at := realPath(out.path); {
		case out.path == "" && given(out.flag):
			return usage("--%s: %w", out.flag, errEmpty)
		case out.path == "" || out.path == "-":
		case taken[at] != "":
			return usage("--%s %s is %s as well, and would overwrite it: name another file", out.flag, out.path, taken[at])
		default:
			taken[at] = "the file of --" + out.flag
		}
	}
	return nil
}

// realPath is a path without links, as far as it is there.
func realPath(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		path = p
	}
	if p, err := filepath.Abs(path); err == nil {
		path = p
	}
	return path
}

// oneOfFlag is a flag that takes one of some words.
func oneOfFlag(fl *pflag.FlagSet, name, help string, to *string, words ...string) {
	fl.Func(name, help, func(s string) error {
		if !slices.Contains(words, s) {
			last := len(words) - 1
			return fmt.Errorf("write %s or %s", strings.Join(words[:last], ", "), words[last])
		}
		*to = s
		return nil
	})
}

// spanFlag is a flag that takes a span of time of 0 or more.
func spanFlag(fl *pflag.FlagSet, name, help string, standard time.Duration, to *time.Duration) {
	addSpan(fl, name, help, standard, 0, "write a span such as 10ms, 30s or 1h30m, or 0", to)
}

// longSpanFlag is a flag that takes a span of time of a second or more.
func longSpanFlag(fl *pflag.FlagSet, name, help string, standard time.Duration, to *time.Duration) {
	addSpan(fl, name, help, standard, time.Second, "write a span of at least 1s, such as 30s or 1h30m", to)
}

func addSpan(fl *pflag.FlagSet, name, help string, standard, least time.Duration, remedy string, to *time.Duration) {
	*to = standard
	if standard != 0 {
		help += " (default " + short(standard) + ")"
	}
	fl.Func(name, help, func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < least {
			return errors.New(remedy)
		}
		*to = d
		return nil
	})
}

// short is a span without the zero units at its end: 1h instead of 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// positiveFlag is a flag that takes a number above 0.
func positiveFlag(fl *pflag.FlagSet, name, help, example string, to *float64) {
	fl.Func(name, help, func(s string) error {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
			return fmt.Errorf("write a number above 0: %s", example)
		}
		*to = v
		return nil
	})
}

func checkAlias(s string) error {
	from, to, ok := strings.Cut(s, "=")
	a, errA := netip.ParseAddr(strings.TrimSpace(from))
	b, errB := netip.ParseAddr(strings.TrimSpace(to))
	if !ok || errA != nil || errB != nil || a == b {
		return errors.New("write two addresses, as in 10.0.0.5=203.0.113.7")
	}
	return nil
}

// isToken reports whether s is a token (RFC 3261 section 25.1), as header names
// are.
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-.!%*_+`'~", r))
	}) < 0
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, errors.New("write UDP ports from 1 to 65535, such as 4789,8472")
	}
	return uint16(n), nil
}
