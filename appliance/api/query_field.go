package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ringside/flow/record"
	"ringside/writer/store"
)

// What conditions are made of: one maker for each kind of value. A maker takes
// how to get the value from a T, and gives what a field's compile wants.

type maker[T any] func(op, value string) (func(T) bool, error)

// anyOf holds if a text is one of those of a T, in any case.
func anyOf[T any](get func(T) []string) maker[T] {
	return func(_, value string) (func(T) bool, error) {
		return func(v T) bool {
			for _, s := range get(v) {
				if strings.EqualFold(s, value) {
					return true
				}
			}
			return false
		}, nil
	}
}

// containing holds if one of the texts contains the value, in any case.
func containing[T any](get func(T) []string) maker[T] {
	return func(_, value string) (func(T) bool, error) {
		want := strings.ToLower(value)
		return func(v T) bool {
			for _, s := range get(v) {
				if strings.Contains(strings.ToLower(s), want) {
					return true
				}
			}
			return false
		}, nil
	}
}

// exactly is anyOf where case counts.
func exactly[T any](get func(T) string) maker[T] {
	return func(_, value string) (func(T) bool, error) {
		return func(v T) bool { return get(v) == value }, nil
	}
}

// numbers holds if one of the numbers matches a pattern.
func numbers[T any](get func(T) []string) maker[T] {
	return func(_, value string) (func(T) bool, error) {
		m, err := store.ParseMatch(value)
		if err != nil {
			return nil, err
		}
		return func(v T) bool {
			for _, s := range get(v) {
				if matches(m, s) {
					return true
				}
			}
			return false
		}, nil
	}
}

// matches is what the store's SQL says of a number.
func matches(m store.Match, s string) bool {
	switch m.Kind {
	case store.Prefix:
		return strings.HasPrefix(s, m.Value)
	case store.Suffix:
		return strings.HasSuffix(s, m.Value)
	case store.Contains:
		return strings.Contains(s, m.Value)
	}
	return m.Value == "" || s == m.Value
}

// addresses holds if one of the addresses is in a network.
func addresses[T any](get func(T) []netip.AddrPort) maker[T] {
	return func(_, value string) (func(T) bool, error) {
		p, err := store.ParseAddr(value)
		if err != nil {
			return nil, errors.New("write an address as 10.0.0.1, or a network as 10.0.0.0/8")
		}
		return func(v T) bool {
			for _, a := range get(v) {
				if p.Contains(a.Addr()) {
					return true
				}
			}
			return false
		}, nil
	}
}

// statuses holds if a status is in a range.
func statuses[T any](get func(T) uint16) maker[T] {
	return func(op, value string) (func(T) bool, error) {
		low, high, err := store.ParseStatus(value)
		if err != nil {
			return nil, errors.New("write 486, 4xx or 400-499")
		}
		switch op {
		case "<":
			return func(v T) bool { s := get(v); return s > 0 && s < low }, nil
		case "<=":
			return func(v T) bool { s := get(v); return s > 0 && s <= high }, nil
		case ">":
			return func(v T) bool { return get(v) > high }, nil
		case ">=":
			return func(v T) bool { return get(v) >= low }, nil
		}
		return func(v T) bool { s := get(v); return s >= low && s <= high }, nil
	}
}

// compared compares a value that may not exist; what does not exist fails.
func compared[T any, N cmp.Ordered](parse func(string) (N, error), get func(T) (N, bool)) maker[T] {
	return func(op, value string) (func(T) bool, error) {
		want, err := parse(value)
		if err != nil {
			return nil, err
		}
		return func(v T) bool {
			n, ok := get(v)
			return ok && holds(op, cmp.Compare(n, want))
		}, nil
	}
}

// holds says what an operator makes of a comparison.
func holds(op string, c int) bool {
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return c == 0
}

// known is anyOf for a value that must be one of a list.
func known[T any](values []string, get func(T) []string) maker[T] {
	return func(op, value string) (func(T) bool, error) {
		for _, v := range values {
			if strings.EqualFold(v, value) {
				return anyOf(get)(op, value)
			}
		}
		return nil, fmt.Errorf("%q is none: there are %s", value, strings.Join(values, ", "))
	}
}

func parseFloat(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSuffix(s, "%"), "ms"), 64)
	if err != nil || v != v || v < -1e15 || v > 1e15 {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return v, nil
}

func parseWhole(s string) (int64, error) {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no whole number", s)
	}
	return v, nil
}

// parseSpan reads a length of time: 30s, 2m, 1h30m, or seconds without a unit.
func parseSpan(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		v, ferr := strconv.ParseFloat(s, 64)
		if ferr != nil || !(v >= 0 && v < 1e9) {
			return 0, fmt.Errorf("%q is no length of time: write 30s, 2m or 1h30m", s)
		}
		d = time.Duration(v * float64(time.Second))
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative", s)
	}
	return d, nil
}

// parseTime reads a time: RFC 3339, a date, a time in UTC, ns since the epoch,
// now, or a span before now.
func parseTime(s string, now time.Time) (int64, error) {
	if s == "now" {
		return now.UnixNano(), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok && strings.HasPrefix(s, "-") {
		if n, err := strconv.Atoi(days); err == nil && n > -100_000 {
			return now.AddDate(0, 0, n).UnixNano(), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d <= 0 {
		return now.Add(d).UnixNano(), nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 1e12 {
		return n, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1970 && t.Year() < 2262 {
			return t.UnixNano(), nil
		}
	}
	return 0, fmt.Errorf("%q is no time: write 2026-01-31, 2026-01-31T15:04:05Z, -2h, or ns since the epoch", s)
}

// flagNames are all flags of a call, in order.
var flagNames = (^record.Flags(0)).Names()

func parseFlag(name string) (record.Flags, error) {
	for i, n := range flagNames {
		if strings.EqualFold(n, name) {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("%q is no flag: there are %s", name, strings.Join(flagNames, ", "))
}

// named reads a value of a record by its name.
func named[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](s string) (v T, err error) {
	err = P(&v).UnmarshalText([]byte(strings.ToLower(s)))
	return v, err
}

// namesOf are the names of values that count from 0.
func namesOf[T interface {
	~uint8
	String() string
}](last T) (out []string) {
	for v := T(0); v <= last; v++ {
		if s := v.String(); s != "" {
			out = append(out, s)
		}
	}
	return out
}
