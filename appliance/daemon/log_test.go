package daemon

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestLogLevels(t *testing.T) {
	var got said
	l := NewLog(got.say)
	all := func() string {
		got.lines = nil
		l.Debug("debug")
		l.Info("info")
		l.Warn("warn")
		l.Error("error")
		l.Always("always")
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			l.Logger().Log(t.Context(), level, "part", "n", int(level))
		}
		return strings.Join(got.lines, ", ")
	}
	for level, want := range map[string]string{
		"debug": "debug, info, warn, error, always, part n=-4, part n=0, part n=4, part n=8",
		"info":  "info, warn, error, always, part n=0, part n=4, part n=8",
		"warn":  "warn, error, always, part n=4, part n=8",
		"error": "error, always, part n=8",
		"":      "info, warn, error, always, part n=0, part n=4, part n=8",
	} {
		l.Set(level, false)
		if said := all(); said != want {
			t.Errorf("level %q: %s, want %s", level, said, want)
		}
	}
	l = nil // nobody reads it
	l.Set("debug", true)
	l.Info("nothing")
	l.Always("nothing")
	l.Logger().Error("nothing")
}

// With redaction a line does not say who calls whom.
func TestLogRedacts(t *testing.T) {
	for line, want := range map[string]string{
		"call of sip:+4930123@example.com;user=phone to <sips:bob@[2001:db8::1]>": "call of [identity] to <[identity]>",
		"tel:+49-30-123 calls":                        "[identity] calls",
		"Call-ID a84b4c76e66710@pc33.example.com: x":  "Call-ID [identity] x",
		"from +491701234567 to 0049301234567, 1001":   "from [number] to [number], 1001",
		"q=number:00493012345 and caller=+4930":       "q=number:[number] and caller=[number]",
		"1234567 7654321":                             "[number] [number]",
		"dial tcp 192.0.2.7:3306: connect: refused":   "dial tcp [address]:3306: connect: refused",
		"http: TLS handshake error from 10.1.2.3:40.": "http: TLS handshake error from [address]:40.",
		"from [2001:db8::7]:5060, 2001:db8::8: no":    "from [[address]]:5060, [address]: no",
		"seen at 203.0.113.9.":                        "seen at [address].",
		"deny: nothing -> 203.0.113.0/24":             "deny: nothing -> [address]/24",

		"web UI and API: http://127.0.0.1:8080/":                   "web UI and API: http://127.0.0.1:8080/",
		"listens at [::1]:8080 and 0.0.0.0:80":                     "listens at [::1]:8080 and 0.0.0.0:80",
		"12:00:10  1,200 calls open, 3.1/s  RTP 100,000/s":         "12:00:10  1,200 calls open, 3.1/s  RTP 100,000/s",
		"the last minutes are in /var/flight-20260131-120000.json": "the last minutes are in /var/flight-20260131-120000.json",
		"eth1: mlx5_core at 0000:3b:00.0, MAC 02:00:00:00:00:01":   "eth1: mlx5_core at 0000:3b:00.0, MAC 02:00:00:00:00:01",
	} {
		if got := redacted(line); got != want {
			t.Errorf("%s\nbecomes %s\nnot     %s", line, got, want)
		}
	}
}

// Of an entry of the audit the log says who did what, and not to which call.
func TestLogRedactsAudit(t *testing.T) {
	var got said
	l := NewLog(got.say)
	tell := func() string {
		got.lines = nil
		l.Logger().Info("audit", "user", "eve", "from", "192.0.2.7", "action", "call.pcap", "object", "4711", "detail", "abc", "bytes", 12345678,
			"err", errors.New("no call 00493012345"), "why", "")
		return strings.Join(got.lines, "\n")
	}
	l.Set("info", true)
	if got, want := tell(), `audit user=eve from=[address] action=call.pcap object=[redacted] detail=[redacted] bytes=[number] err="no call [number]" why=""`; got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
	l.Set("info", false)
	if got, want := tell(), `audit user=eve from=192.0.2.7 action=call.pcap object=4711 detail=abc bytes=12345678 err="no call 00493012345" why=""`; got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
}
