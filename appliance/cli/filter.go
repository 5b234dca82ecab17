package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ringside/writer/store"
)

// between is the flags of a time range.
func between(fl *pflag.FlagSet, what string, from, to *int64) {
	momentFlag(fl, "from", what+" at this `TIME` or later", from)
	momentFlag(fl, "to", what+" before this `TIME`", to)
}

func momentFlag(fl *pflag.FlagSet, name, help string, to *int64) {
	fl.Var(&moment{to: to}, name, help)
}

// moment is a flag that takes a time. One without a zone is in that of the times
// that are shown, which another flag may name: see inZone.
type moment struct {
	text string
	to   *int64
}

func (m *moment) String() string { return m.text }
func (m *moment) Type() string   { return "time" }

func (m *moment) Set(s string) (err error) {
	m.text = s
	*m.to, err = parseTime(s, time.Now())
	return err
}

// inZone reads the times that were given as times of a zone.
func inZone(fl *pflag.FlagSet, zone *time.Location) (err error) {
	fl.Visit(func(f *pflag.Flag) {
		if m, ok := f.Value.(*moment); ok && err == nil {
			*m.to, err = parseTime(m.text, time.Now().In(zone))
		}
	})
	return err
}

func statusFlag(fl *pflag.FlagSet, help string, low, high *uint16) {
	fl.Func("status", help, func(s string) (err error) {
		*low, *high, err = store.ParseStatus(s)
		return err
	})
}

// errEmpty is an empty value, as a variable of a script that is not set gives it.
// It must not stand for no filter at all.
var errEmpty = errors.New("the value is empty: give one, or leave the flag out")

// parsed is a flag whose text parse reads.
func parsed[T any](fl *pflag.FlagSet, name, help string, to *T, parse func(string) (T, error)) {
	fl.Func(name, help, func(s string) error {
		if s == "" {
			return errEmpty
		}
		v, err := parse(s)
		if err == nil {
			*to = v
		}
		return err
	})
}

// list is a flag that takes several values, separated by commas.
func list[T any](fl *pflag.FlagSet, name, help string, to *[]T, parse func(string) (T, error)) {
	fl.Func(name, help, func(s string) error {
		for item := range strings.SplitSeq(s, ",") {
			v, err := parse(strings.TrimSpace(item))
			if err != nil {
				return err
			}
			*to = append(*to, v)
		}
		return nil
	})
}

// named reads a value by its name.
func named[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](s string) (v T, err error) {
	err = P(&v).UnmarshalText([]byte(s))
	return v, err
}

func parseSensor(s string) (uint16, error) {
	var v uint16
	if _, err := fmt.Sscanf(s, "%d", &v); err != nil || fmt.Sprint(v) != s {
		return 0, fmt.Errorf("parse sensor %q: a sensor is a number from 0 to 65535", s)
	}
	return v, nil
}

// parseTime reads a time as RFC 3339, as local time, or as a span before now.
func parseTime(s string, now time.Time) (int64, error) {
	if d, err := time.ParseDuration(s); err == nil && d < 0 {
		return now.Add(d).UnixNano(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UnixNano(), nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t.UnixNano(), nil
		}
	}
	return 0, fmt.Errorf("parse time %q: write 2026-01-31, 2026-01-31 15:04, RFC 3339, or -2h", s)
}
