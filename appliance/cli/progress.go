package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress is how far reading has come.
type progress struct {
	file         string // being read
	read, total  int64  // bytes of the input; total 0 where it is not known
	frames       int64
	calls        int64 // finished
	activeCalls  int64
	sinceStarted time.Duration
}

// progressLine is p as one line that fits into the terminal.
func progressLine(l look, p progress) string {
	rate := 0.0
	if s := p.sinceStarted.Seconds(); s > 0 {
		rate = float64(p.frames) / s
	}
	var parts []string
	if p.total > 0 {
		done := min(1, float64(p.read)/float64(p.total))
		filled := int(done * 20)
		parts = append(parts,
			"["+strings.Repeat(l.pick("█", "#"), filled)+strings.Repeat(l.pick("░", "."), 20-filled)+"]",
			fmt.Sprintf("%2.0f %%", 100*done), size(p.total))
		if done > 0.01 && done < 1 {
			left := time.Duration(float64(p.sinceStarted) * (1 - done) / done)
			parts = append(parts, clock(int64(left))+" left")
		}
	} else {
		parts = append(parts, size(p.read))
	}
	parts = append(parts, perSecond(rate), plural(p.calls, "call"), count(p.activeCalls)+" open")
	if p.file != "" {
		parts = append(parts, clean(filepath.Base(p.file)))
	}
	return l.shorten(strings.Join(parts, "  "), l.textWidth()-1)
}

// perSecond is a packet rate in the unit that reads best.
func perSecond(rate float64) string {
	switch {
	case rate >= 1e6:
		return fmt.Sprintf("%.2f M packets/s", rate/1e6)
	case rate >= 1e4:
		return fmt.Sprintf("%.0f k packets/s", rate/1e3)
	}
	return fmt.Sprintf("%.0f packets/s", rate)
}

// showProgress redraws one line of a terminal 5 times a second, until stop is
// called, which clears the line.
func showProgress(w io.Writer, look func() look, now func() progress) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				fmt.Fprint(w, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprint(w, "\r"+progressLine(look(), now())+"\x1b[K")
			}
		}
	}()
	return func() { close(quit); <-done }
}

// isTerminal reports whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// style is how the user wants text laid out.
type style struct {
	ascii bool
	utc   bool
	width int // 0: as wide as the terminal
}

// zone is the zone of times that are shown, and of those given without one.
func (s *style) zone() *time.Location {
	if s.utc {
		return time.UTC
	}
	return time.Local
}

// on is the layout for w: as wide as the terminal, or as wide as need be for
// a pipe or a file.
func (s *style) on(w io.Writer) look {
	l := look{ascii: s.ascii || asciiLocale(), zone: s.zone(), width: s.width}
	if f, ok := w.(*os.File); ok && l.width <= 0 && isTerminal(w) {
		l.width = 80
		if cols, _, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 {
			l.width = cols
		}
	}
	return l
}
