package tui

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// clean makes text from the network harmless and one line: control characters
// (C0, C1), which could drive the terminal, characters that change the direction
// or are not seen, and broken UTF-8 become a question mark. Marks that combine
// with the letter before are left out beyond the second: they would grow over
// other lines.
func clean(s string) string {
	if plain(s) {
		return s
	}
	marks := 0
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0100 && r <= 0xE01EF: // variation selectors: terminals differ about the width
			return -1
		case r == utf8.RuneError || !unicode.IsPrint(r):
			marks = 0
			return '?'
		case unicode.Is(unicode.M, r):
			if marks++; marks > 2 {
				return -1
			}
			return r
		}
		marks = 0
		return r
	}, s)
}

// plain reports whether s is printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// cells is the number of columns that clean text takes.
func cells(s string) int {
	if plain(s) {
		return len(s)
	}
	return ansi.StringWidth(s)
}

// cut is s in at most n columns, with a mark where it was cut.
func (g *glyphs) cut(s string, n int) string {
	switch {
	case n <= 0:
		return ""
	case cells(s) <= n:
		return s
	}
	return ansi.Truncate(s, n, g.more)
}

// fit is s in n columns exactly.
func (g *glyphs) fit(s string, n int) string {
	s = g.cut(s, n)
	return s + strings.Repeat(" ", max(0, n-cells(s)))
}

// fitRight is s at the right end of n columns.
func (g *glyphs) fitRight(s string, n int) string {
	s = g.cut(s, n)
	return strings.Repeat(" ", max(0, n-cells(s))) + s
}

// glyphs are what is drawn with.
type glyphs struct {
	more, mark, life, line, dots, left, right, up, down, times string
}

var (
	fancy    = glyphs{more: "…", mark: "▸", life: "│", line: "─", dots: "┄", left: "◄", right: "►", up: "▲", down: "▼", times: "×"}
	ordinary = glyphs{more: "~", mark: ">", life: "|", line: "-", dots: ".", left: "<", right: ">", up: "^", down: "v", times: "x"}
)

// count is a number with thousands separators.
func count(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// few is a rate with as many digits as are worth reading.
func few(v float64) string {
	switch {
	case v <= 0:
		return "0"
	case v < 9.95:
		return fmt.Sprintf("%.1f", v)
	}
	return count(uint64(v + 0.5))
}

// size is bytes in binary units.
func size(n int64) string {
	v, unit := float64(n)/(1<<20), "MiB"
	if v >= 1024 {
		v, unit = v/1024, "GiB"
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

// clock is a span of time as [h:]mm:ss.
func clock(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// digits is a figure, or nothing where there is none.
func digits(there bool, format string, v float64) string {
	if !there {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// head is the beginning of clean text that takes at most n columns, at least one
// character of it.
func (g *glyphs) head(s string, n int) string {
	if plain(s) {
		return s[:min(len(s), max(1, n))]
	}
	at, w := 0, 0
	for i, r := range s {
		w += cells(string(r))
		if w > n && i > 0 {
			break
		}
		at = i + utf8.RuneLen(r)
	}
	return s[:at]
}
