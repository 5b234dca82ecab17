package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is how a key is read into its field, and written from it. What text
// gives, set takes, and changes nothing.
type value struct {
	what  string             // what to write, for people
	set   func(string) error // of a list: adds
	text  func() string
	clear func() // empties a list; nil: it is none
	bare  bool   // nothing may be written: none
}

// auto is what a number is that somebody else chooses.
const auto = "auto"

// Words for how much of packets is stored.
const (
	full   = "full"
	header = "header"
	none   = "none"
)

// yes and no in all the ways that people write them.
var truth = map[string]bool{"yes": true, "no": false, "y": true, "n": false, "true": true, "false": false, "on": true, "off": false, "1": true, "0": false}

var errYesNo = errors.New("write yes or no")

func yesNo(to *bool) value {
	return value{
		what: "yes or no",
		set: func(s string) error {
			v, ok := truth[strings.ToLower(s)]
			if !ok {
				return errYesNo
			}
			*to = v
			return nil
		},
		text: func() string { return yesOrNo(*to) },
	}
}

func yesOrNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// word takes one of some words. Others that mean one of them are told by also.
func word(to *string, also map[string]string, words ...string) value {
	last := len(words) - 1
	what := strings.Join(words[:last], ", ") + " or " + words[last]
	return value{
		what: what,
		set: func(s string) error {
			s = strings.ToLower(s)
			if w, ok := also[s]; ok {
				s = w
			}
			if !slices.Contains(words, s) {
				return errors.New("write " + what)
			}
			*to = s
			return nil
		},
		text: func() string { return *to },
	}
}

// onOff are words that stand for others, where those in between may be chosen.
func onOff(on, off string) map[string]string {
	out := map[string]string{}
	for s, v := range truth {
		out[s] = off
		if v {
			out[s] = on
		}
	}
	return out
}

// text takes a text without blanks at its ends, which may be empty.
func text(to *string, what string) value {
	return value{what: what, bare: true, text: func() string { return *to }, set: func(s string) error {
		if commented(s) {
			return errComment
		}
		*to = s
		return nil
	}}
}

// secret takes any text.
func secret(to *string, what string) value {
	return value{what: what, bare: true, set: func(s string) error { *to = s; return nil }, text: func() string { return *to }}
}

var errComment = errors.New("a comment stands on a line of its own")

func commented(s string) bool {
	return strings.Contains(s, " #") || strings.Contains(s, "\t#") || strings.Contains(s, " ;")
}

// path takes a path that does not depend on where the process was started. The
// words for nothing are allowed where that is an answer.
func path(to *string, what string) value {
	return value{what: what, bare: true, text: func() string { return *to }, set: func(s string) error {
		switch {
		case s == none || s == "":
			*to = ""
			return nil
		case commented(s):
			return errComment
		case !strings.HasPrefix(s, "/"):
			return errors.New("write the whole path, from / on")
		}
		*to = s
		return nil
	}}
}

// items are the parts of a list.
func items(s string) []string {
	out := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' })
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// list takes values separated by commas or semicolons, and those of further
// lines.
func list[T any](to *[]T, what string, parse func(string) (T, error), show func(T) string) value {
	return value{
		what: what, bare: true,
		clear: func() { *to = nil },
		set: func(s string) error {
			for _, item := range items(s) {
				v, err := parse(item)
				if err != nil {
					return err
				}
				*to = append(*to, v)
			}
			return nil
		},
		text: func() string {
			out := make([]string, len(*to))
			for i, v := range *to {
				out[i] = show(v)
			}
			return strings.Join(out, ",")
		},
	}
}

func itself(s string) string { return s }

func prefixes(to *[]netip.Prefix) value {
	return list(to, "addresses and prefixes, as in 192.0.2.0/24,2001:db8::/32", parsePrefix, netip.Prefix.String)
}

// parsePrefix reads a prefix, or an address for one of its own.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p != p.Masked() {
			return p, fmt.Errorf("%s has bits beyond its length: write %s", s, p.Masked())
		}
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no address and no prefix: write them as in 192.0.2.0/24,2001:db8::1", shorten(s))
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// ports takes ports and ranges of them. None is auto.
func ports(to *[]uint16) value {
	return value{
		what:  "ports and ranges of them, as in 5060-5070,5080, or auto",
		clear: func() { *to = nil },
		set: func(s string) error {
			if strings.EqualFold(s, auto) {
				return nil
			}
			for _, item := range items(s) {
				r, err := parseRange(item)
				if err != nil {
					return errors.New("write ports from 1 to 65535 and ranges of them, as in 5060-5070,5080")
				}
				for p := int(r[0]); p <= int(r[1]); p++ {
					*to = append(*to, uint16(p))
				}
			}
			slices.Sort(*to)
			*to = slices.Compact(*to)
			return nil
		},
		text: func() string { return cmp.Or(showPorts(*to), auto) },
	}
}

// showPorts writes sorted ports, with ranges where three or more follow each
// other.
func showPorts(ports []uint16) string {
	var out []string
	for i := 0; i < len(ports); {
		j := i
		for j+1 < len(ports) && ports[j+1] == ports[j]+1 {
			j++
		}
		if j < i+2 {
			j = i
		}
		s := strconv.Itoa(int(ports[i]))
		if j > i {
			s += "-" + strconv.Itoa(int(ports[j]))
		}
		out, i = append(out, s), j+1
	}
	return strings.Join(out, ",")
}

func portRange(to *[2]uint16) value {
	return value{
		what: "the least and the greatest port, as in 10000-20000, or auto",
		set: func(s string) (err error) {
			if strings.EqualFold(s, auto) {
				*to = [2]uint16{}
				return nil
			}
			*to, err = parseRange(s)
			return err
		},
		text: func() string {
			if *to == ([2]uint16{}) {
				return auto
			}
			return fmt.Sprintf("%d-%d", to[0], to[1])
		},
	}
}

func parseRange(s string) (out [2]uint16, err error) {
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	a, errA := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	b, errB := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	if err := cmp.Or(errA, errB); err != nil || a == 0 || b < a {
		return out, errors.New("write the least and the greatest port, as in 10000-20000")
	}
	return [2]uint16{uint16(a), uint16(b)}, nil
}

// count takes a whole number in bounds. As auto stands 0 where the least is 0
// and the word for it is auto.
func count[T int | uint16](to *T, least, most int, zero string) value {
	what := fmt.Sprintf("a number from %d to %d", least, most)
	if zero != "" {
		what = fmt.Sprintf("a number up to %d, or %s", most, zero)
	}
	return value{
		what: what,
		set: func(s string) error {
			if zero != "" && strings.EqualFold(s, zero) {
				*to = 0
				return nil
			}
			n, err := strconv.Atoi(s)
			if err != nil || n < least || n > most {
				return errors.New("write " + what)
			}
			*to = T(n)
			return nil
		},
		text: func() string {
			if zero != "" && *to == 0 {
				return zero
			}
			return strconv.Itoa(int(*to))
		},
	}
}

// units of sizes, in lower case.
var units = map[string]float64{
	"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "pib": 1 << 50,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15,
}

// size takes a number of bytes. One without a unit counts MiB, as VoIPmonitor
// does. 0 is what zero says, if that is not empty.
func size(to *int64, least, most int64, zero string) value {
	what := "a size, as in 200GiB; a number without a unit counts MiB"
	if zero != "" {
		what += "; or " + zero
	}
	return value{
		what: what,
		set: func(s string) error {
			if zero != "" && strings.EqualFold(s, zero) {
				s = "0"
			}
			n, err := parseSize(s)
			switch {
			case err != nil:
				return err
			case n == 0 && zero != "":
			case n < least || n > most:
				return fmt.Errorf("write a size from %s to %s", showSize(least), showSize(most))
			}
			*to = n
			return nil
		},
		text: func() string {
			if *to == 0 && zero != "" {
				return zero
			}
			return showSize(*to)
		},
	}
}

func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, known := units[strings.ToLower(s[len(digits):])]
	if digits == s {
		unit, known = 1<<20, true
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if v := n * unit; err == nil && known && v >= 0 && v < 1<<62 {
		return int64(v), nil
	}
	return 0, fmt.Errorf("%q is no size: write a number with a unit, as in 200GiB; without one it counts MiB", shorten(s))
}

// showSize writes a size in the greatest unit in which it is a whole number.
func showSize(n int64) string {
	names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	u := 0
	for u < len(names)-1 && n >= 1024 && n%1024 == 0 {
		n, u = n/1024, u+1
	}
	return strconv.FormatInt(n, 10) + names[u]
}

// span takes a time. A number without a unit counts in that of plain, as
// VoIPmonitor does; 0 allows none.
func span(to *time.Duration, plain, least, most time.Duration) value {
	what := "a time, as in 10ms, 30s or 1h30m"
	if plain != 0 {
		what += "; a number without a unit counts " + unitName(plain)
	}
	bounds := fmt.Sprintf("write a time from %s to %s, as in 10ms, 30s or 1h30m", showSpan(least), showSpan(most))
	return value{
		what: what,
		set: func(s string) error {
			d, err := parseSpan(s, plain)
			if err != nil || d < least || d > most {
				return errors.New(bounds)
			}
			*to = d
			return nil
		},
		text: func() string { return showSpan(*to) },
	}
}

func unitName(d time.Duration) string {
	if d == day {
		return "days"
	}
	return "seconds"
}

const day = 24 * time.Hour

// parseSpan reads a time; of one without a unit plain is the unit.
func parseSpan(s string, plain time.Duration) (time.Duration, error) {
	days := strings.TrimSuffix(s, "d")
	if days != s {
		plain = day
	}
	if n, err := strconv.ParseFloat(days, 64); err == nil && (plain != 0 || n == 0) {
		if v := n * float64(plain); math.Abs(v) < 1<<62 {
			return time.Duration(v), nil
		}
		return 0, errors.New("the time is too long")
	}
	return time.ParseDuration(s)
}

// showSpan writes a time without the zero units at its end, and whole days as
// such.
func showSpan(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// age takes how long something is kept, a number of days. 0 is none.
func age(to *time.Duration) value {
	return value{
		what: "a number of days, as in 30, or a time, as in 12h; none: for ever",
		set: func(s string) error {
			if strings.EqualFold(s, none) {
				s = "0"
			}
			d, err := parseSpan(s, day)
			if err != nil || d < 0 || d > 36_500*day {
				return errors.New("write a number of days, as in 30, or none")
			}
			*to = d
			return nil
		},
		text: func() string {
			if *to == 0 {
				return none
			}
			return showSpan(*to)
		},
	}
}

// address takes one address of the host and a port to listen on. Not valid is
// none.
func address(to *netip.AddrPort) value {
	return value{
		what: "an address and a port, as in 127.0.0.1:8080; :8080 is of all addresses; none",
		set: func(s string) error {
			if strings.EqualFold(s, none) {
				*to = netip.AddrPort{}
				return nil
			}
			if port, all := strings.CutPrefix(strings.TrimPrefix(s, "*"), ":"); all && !strings.Contains(port, ":") {
				s = "[::]:" + port
			}
			s = strings.Replace(s, "localhost:", "127.0.0.1:", 1)
			a, err := netip.ParseAddrPort(s)
			if err != nil || a.Port() == 0 {
				return errors.New("write an address and a port, as in 127.0.0.1:8080 or [::1]:8080; :8080 is of all addresses")
			}
			*to = a
			return nil
		},
		text: func() string {
			if !to.IsValid() {
				return none
			}
			return to.String()
		},
	}
}

func ipAddress(to *netip.Addr) value {
	return value{
		what: "an address, as in 127.0.0.1",
		set: func(s string) error {
			a, err := netip.ParseAddr(strings.Replace(s, "localhost", "127.0.0.1", 1))
			if err != nil {
				return errors.New("write an address, as in 127.0.0.1")
			}
			*to = a
			return nil
		},
		text: func() string { return to.String() },
	}
}
