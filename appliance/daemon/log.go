package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
)

// Log is what a service tells, a line at a time. Lines below its level are left out,
// and with redaction lines say nothing of who calls whom. Both may change at any
// time. A nil Log is one that nobody reads.
type Log struct {
	to     func(string)
	level  slog.LevelVar // info, unless it is set
	redact atomic.Bool
}

// NewLog makes a log whose lines go to a function, which may be called by several
// goroutines at once.
func NewLog(to func(string)) *Log { return &Log{to: to} }

// Set says what is told from now on. level is a word of log_level: what it does not
// name is info.
func (l *Log) Set(level string, redact bool) {
	if l == nil {
		return
	}
	var least slog.Level
	_ = least.UnmarshalText([]byte(level)) // info stays
	l.level.Set(least)
	l.redact.Store(redact)
}

// Debug says what is worth knowing only for who looks for a fault.
func (l *Log) Debug(line string) { l.say(slog.LevelDebug, line) }

// Info says what happens.
func (l *Log) Info(line string) { l.say(slog.LevelInfo, line) }

// Warn says what is not as it should be.
func (l *Log) Warn(line string) { l.say(slog.LevelWarn, line) }

// Error says what does not work.
func (l *Log) Error(line string) { l.say(slog.LevelError, line) }

// Always says what somebody waits for, as it is.
func (l *Log) Always(line string) {
	if l != nil {
		l.to(line)
	}
}

func (l *Log) say(level slog.Level, line string) {
	if l == nil || level < l.level.Level() {
		return
	}
	if l.redact.Load() {
		line = redacted(line)
	}
	l.to(line)
}

// Logger is the log for parts that use log/slog.
func (l *Log) Logger() *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(&logHandler{of: l})
}

// logHandler is slog.Handler: a line is the message with its values behind it.
type logHandler struct {
	of    *Log
	attrs []slog.Attr
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.of.level.Level()
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		if v := h.value(a); v != "" {
			fmt.Fprintf(&b, " %s=%s", a.Key, v)
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	h.of.say(r.Level, b.String())
	return nil
}

// withheld are values that consist of nothing but who calls whom: what an entry of
// the audit is about. The audit itself has them.
var withheld = []string{"object", "detail"}

// value is that of an attribute, in quotes where it could be read as several.
func (h *logHandler) value(a slog.Attr) string {
	v := a.Value.Resolve().String()
	if h.of.redact.Load() && v != "" && slices.Contains(withheld, a.Key) {
		return "[redacted]"
	}
	if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' }) {
		return fmt.Sprintf("%q", v)
	}
	return v
}

func (h *logHandler) WithAttrs(more []slog.Attr) slog.Handler {
	return &logHandler{h.of, append(slices.Clip(h.attrs), more...)}
}

// WithGroup does nothing: nobody here groups.
func (h *logHandler) WithGroup(string) slog.Handler { return h }

// What a line can tell of a call, by what it looks like. Identities (SIP, tel and
// mail, and Call-IDs that name their host) go before numbers, which they contain.
var (
	identity = regexp.MustCompile(`(?i)(?:sips?:|tel:)[^\s"'<>]+|[^\s"'<>=(:;,]+@[^\s"'<>),;]+`)
	number   = regexp.MustCompile(`(^|[\s"'(<>=:;,])(\+\d{3,}|\d{7,})($|[\s"')<>=:;,&])`)
	address4 = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b`)
	address6 = regexp.MustCompile(`[0-9A-Fa-f]*(?::[0-9A-Fa-f]*){2,}`)
)

// redacted is a line without identities, numbers and addresses. Short numbers that
// stand alone cannot be told from any others, and stay; so do addresses of this
// machine's loopback.
func redacted(line string) string {
	line = identity.ReplaceAllString(line, "[identity]")
	for range 2 { // what ends one number may begin the next
		line = number.ReplaceAllString(line, "$1[number]$3")
	}
	return address6.ReplaceAllStringFunc(address4.ReplaceAllStringFunc(line, withoutAddress), withoutAddress)
}

// withoutAddress is a word without its address; colons may stand around that.
func withoutAddress(s string) string {
	for _, inner := range []string{s, strings.TrimSuffix(s, ":"), strings.TrimPrefix(s, ":"), strings.Trim(s, ":")} {
		ip, err := netip.ParseAddr(inner)
		if err != nil {
			continue
		}
		if ip.IsLoopback() || ip.IsUnspecified() {
			return s
		}
		return strings.Replace(s, inner, "[address]", 1)
	}
	return s
}
