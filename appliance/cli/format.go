package cli

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// look is how text is laid out for one reader: a terminal, a pipe, a test.
type look struct {
	width int            // columns that a line may take; 0: as many as it needs
	ascii bool           // draw with ASCII only
	zone  *time.Location // zone that times are shown in
}

// asciiLocale reports whether the locale of this process cannot show UTF-8
// (POSIX: LC_ALL wins over LC_CTYPE, which wins over LANG).
func asciiLocale() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(os.Getenv(name)); v != "" {
			return !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
		}
	}
	return true
}

// pick is fancy, or plain where only ASCII can be shown.
func (l look) pick(fancy, plain string) string {
	if l.ascii {
		return plain
	}
	return fancy
}

func (l look) dash() string  { return l.pick("–", "-") }
func (l look) arrow() string { return l.pick("►", ">") }
func (l look) times(n int) string {
	return l.pick("×", "x") + strconv.Itoa(n)
}

// textWidth is the width to set running text in.
func (l look) textWidth() int {
	if l.width <= 0 {
		return 80
	}
	return l.width
}

// moment is a time to the millisecond, with its date and zone.
func (l look) moment(ns int64) string {
	if ns == 0 {
		return l.dash()
	}
	return time.Unix(0, ns).In(l.zone).Format("2006-01-02 15:04:05.000 MST")
}

// clean makes text from the network harmless and one line: control characters,
// which could drive the terminal, and broken UTF-8 become a question mark.
func clean(s string) string {
	plain := func(r rune) bool { return r >= ' ' && r < 0x7f }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// oneLine is what was said in several lines, as errors are that are joined, in one.
func oneLine(s string) string { return clean(strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")) }

// cells is the number of columns that s takes.
func cells(s string) int { return utf8.RuneCountInString(s) }

// shorten cuts s to at most width columns and marks the cut.
func (l look) shorten(s string, width int) string {
	if cells(s) <= width {
		return s
	}
	mark := l.pick("…", "~")
	if width <= 1 {
		return strings.Repeat(mark, max(width, 0))
	}
	return string([]rune(s)[:width-1]) + mark
}

// padRight and padLeft fill s with blanks to width columns.
func padRight(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-cells(s)))
}

func padLeft(s string, width int) string {
	return strings.Repeat(" ", max(0, width-cells(s))) + s
}

// wrap joins parts with sep into lines of at most width columns, each after the
// first indented. A part is broken only if no line could hold it, and then at
// its blanks.
func wrap(parts []string, sep string, width, indent int) string {
	var words []string
	for i, part := range parts {
		if i < len(parts)-1 {
			part += sep
		}
		if cells(part) > width-indent {
			words = append(words, strings.Fields(part)...)
		} else {
			words = append(words, part)
		}
	}
	var b strings.Builder
	col := 0
	for i, word := range words {
		switch {
		case i == 0:
		case col+1+cells(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			col = indent
		default:
			b.WriteString(" ")
			col++
		}
		b.WriteString(word)
		col += cells(word)
	}
	return b.String()
}

// count is a number with thousands separators.
func count[T ~int | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](n T) string {
	s := fmt.Sprint(n)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// plural is a count with its noun.
func plural[T ~int | ~int64 | ~uint32 | ~uint64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// share is n of all in per cent, or nothing where all is 0.
func share[T ~int | ~int64 | ~uint64](n, all T) string {
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(all))
}

// size is a number of bytes in binary units.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return plural(n, "byte")
	}
	v, u := float64(n)/1024, 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[u])
}

// seconds is a span of time in nanoseconds as seconds, or as hours, minutes
// and seconds from a minute on.
func seconds(ns int64) string {
	if ns < 0 {
		return "-" + seconds(-ns)
	}
	if ns < int64(time.Minute) {
		if s := fmt.Sprintf("%.3f s", float64(ns)/1e9); s != "60.000 s" {
			return s
		}
	}
	return clock(ns)
}

// clock is a span of time in nanoseconds as [h:]mm:ss, rounded.
func clock(ns int64) string {
	s := (ns + int64(time.Second)/2) / int64(time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// ms is milliseconds to one place.
func ms(v float64) string { return fmt.Sprintf("%.1f ms", v) }

// mos is a MOS to two places; 0 means that there is none.
func (l look) mos(v float64) string {
	if v <= 0 || math.IsNaN(v) {
		return l.dash()
	}
	return fmt.Sprintf("%.2f", v)
}

// address is an endpoint, or a dash where it is unknown.
func (l look) address(a netip.AddrPort) string {
	if !a.IsValid() {
		return l.dash()
	}
	return a.String()
}

// host is an endpoint whose port may not matter: 0.
func (l look) host(a netip.AddrPort) string {
	if a.IsValid() && a.Port() == 0 {
		return a.Addr().String()
	}
	return l.address(a)
}
