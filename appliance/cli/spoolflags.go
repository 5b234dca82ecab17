package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ringside/appliance/daemon"
	"ringside/flow/rule"
)

// spoolFlags say where packets are stored, and what they may take.
type spoolFlags struct {
	dir, rules string // of the spool, of capture rules
	text       string // of capture rules, where there is no file
	root       bool
	memory     int64 // bytes; 0: the default
	quota      quotaFlags
	cold       string // a further directory
	coldQuota  quotaFlags
}

// quotaFlags are the limits of a directory of a spool.
type quotaFlags struct {
	daemon.SpoolQuota
	age time.Duration // of the classes that have none of their own
}

func (q *quotaFlags) limits() daemon.SpoolQuota {
	out := q.SpoolQuota
	for c := range out.Age {
		if out.Age[c] == 0 {
			out.Age[c] = q.age
		}
	}
	return out
}

func (q *quotaFlags) setBytes(s string) error {
	return byClass(s, parseSize, func(v int64) { q.Total = v }, func(class int, v int64) { q.Bytes[class] = v })
}

func (q *quotaFlags) setDays(s string) error {
	return byClass(s, parseDays, func(v time.Duration) { q.age = v }, func(class int, v time.Duration) { q.Age[class] = v })
}

// byClass reads values that are separated by commas: one for all, and others for
// classes of packets, as in 500GiB,rtp=400GiB.
func byClass[T any](s string, parse func(string) (T, error), all func(T), one func(class int, v T)) error {
	if s == "" {
		return errEmpty
	}
	for item := range strings.SplitSeq(s, ",") {
		name, text, classed := strings.Cut(item, "=")
		if !classed {
			text = name
		}
		v, err := parse(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		if !classed {
			all(v)
			continue
		}
		class := slices.Index(daemon.SpoolClassNames[:], strings.TrimSpace(name))
		if class < 0 {
			return fmt.Errorf("%q is no class of packets: write one of %s", name, strings.Join(daemon.SpoolClassNames[:], ", "))
		}
		one(class, v)
	}
	return nil
}

// parseSize reads a number of bytes above 0: 500GiB, 2TB.
func parseSize(s string) (int64, error) {
	n, err := daemon.ParseSize(s)
	if err == nil && n < 1 {
		err = fmt.Errorf("read size %q: write a number above 0, as in 200GiB", s)
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

func parseDays(s string) (time.Duration, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v <= 36_500) {
		return 0, fmt.Errorf("read age %q: write a number of days above 0, as in 30", s)
	}
	return time.Duration(v * float64(24*time.Hour)), nil
}

func addSpoolFlags(fl *pflag.FlagSet, f *spoolFlags) {
	fl.StringVar(&f.dir, "spool", "", "store the packets of calls in the spool directory `DIR`, which must exist (see \"ringside pcap\")")
	fl.StringVar(&f.rules, "rules", "", "with --spool: `FILE` of capture rules, which say what is stored (default: all of SIP and RTP)")
	fl.Func("spool-quota", "with --spool: all that it may take, and what its classes may, in `SIZES`: 500GiB,rtp=400GiB,sip=50GiB (default: 80 % of the volume, or what the reserve leaves); a number without a unit counts MiB", f.quota.setBytes)
	fl.Func("spool-days", "with --spool: packets older than so many `DAYS` are removed: 30,sip=90 (default: none is for its age)", f.quota.setDays)
	parsed(fl, "spool-reserve", "with --spool: what stays free on the volume, a `SIZE` (default: 5 % of it or 10 GiB, whichever is more)", &f.quota.Reserve, parseSize)
	fl.StringVar(&f.cold, "spool-cold", "", "with --spool: a further `DIR`; what is beyond quota or days moves there, and is removed from there")
	fl.Func("spool-cold-quota", "with --spool-cold: all that it may take, as --spool-quota, `SIZES`", f.coldQuota.setBytes)
	fl.Func("spool-cold-days", "with --spool-cold: packets older than so many `DAYS` are removed, as --spool-days", f.coldQuota.setDays)
	parsed(fl, "spool-cold-reserve", "with --spool-cold: what stays free on its volume, a `SIZE`", &f.coldQuota.Reserve, parseSize)
	fl.BoolVar(&f.root, "spool-root", false, "with --spool: on the root file system too, although a larger one is mounted")
	parsed(fl, "spool-memory", "with --spool: memory for packets on their way, a `SIZE`, half of it for the look-back (default 128MiB)", &f.memory, parseMemory)
	// The names that others have for the limits of classes.
	for class, name := range daemon.SpoolClassNames[:2] {
		for suffix, q := range map[string]*quotaFlags{"": &f.quota, "-2": &f.coldQuota} {
			hidden(fl, "maxpool"+name+"size"+suffix, parseSize, &q.Bytes[class])
			hidden(fl, "maxpool"+name+"days"+suffix, parseDays, &q.Age[class])
		}
	}
}

// leastMemory is what a spool works with at all.
const leastMemory = 1 << 20

func parseMemory(s string) (int64, error) {
	n, err := parseSize(s)
	if err == nil && n < leastMemory {
		return 0, errors.New("write at least 1MiB")
	}
	return n, err
}

func hidden[T any](fl *pflag.FlagSet, name string, parse func(string) (T, error), to *T) {
	parsed(fl, name, "", to, parse)
	fl.Lookup(name).Hidden = true
}

// check finds flags that do not go together.
func (f *spoolFlags) check(fl *pflag.FlagSet) (err error) {
	fl.Visit(func(g *pflag.Flag) {
		pool := strings.HasPrefix(g.Name, "maxpool")
		cold := strings.HasPrefix(g.Name, "spool-cold") && g.Name != "spool-cold" || pool && strings.HasSuffix(g.Name, "-2")
		switch {
		case err != nil:
		case (g.Name == "spool" || g.Name == "spool-cold" || g.Name == "rules") && g.Value.String() == "":
			err = usage("--%s: %w", g.Name, errEmpty)
		case f.dir == "" && (g.Name == "rules" || pool || strings.HasPrefix(g.Name, "spool-")):
			err = usage("--%s is about the spool: add --spool DIR, or leave it out", g.Name)
		case f.cold == "" && cold:
			err = usage("--%s is about the second directory: add --spool-cold DIR, or leave it out", g.Name)
		}
	})
	if err == nil && f.cold != "" && realPath(f.cold) == realPath(f.dir) {
		err = usage("--spool-cold %s is the directory of --spool: name another one", f.cold)
	}
	return err
}

// options are what the daemon needs; nil if no packets are stored.
func (f *spoolFlags) options(wait bool) *daemon.SpoolOptions {
	if f.dir == "" {
		return nil
	}
	o := &daemon.SpoolOptions{Dir: f.dir, AllowRoot: f.root, RulesFile: f.rules, Rules: f.text, Memory: f.memory, Quota: f.quota.limits(), Wait: wait}
	if f.cold != "" {
		o.Cold = []daemon.SpoolDir{{Dir: f.cold, Limits: f.coldQuota.limits()}}
	}
	return o
}

// withRemedy names the flag or the command that helps.
func withRemedy(err error) error {
	if bad := (*rule.Error)(nil); errors.As(err, &bad) {
		return coded{exitConfig, fmt.Errorf("%s: see ringside rules check", strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	if errors.Is(err, daemon.ErrSpoolOnRoot) {
		return fmt.Errorf("%w: --spool-root", err)
	}
	return err
}
