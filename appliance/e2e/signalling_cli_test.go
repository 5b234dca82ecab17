package e2e

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/appliance/cli"
)

// command runs a command line, which must succeed.
func command(t *testing.T, args ...string) string {
	t.Helper()
	t.Setenv("LC_ALL", "C.UTF-8")
	var out, errs bytes.Buffer
	args = append(args, "--utc", "--width", "160")
	if code := cli.Main(context.Background(), args, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("ringside %s: exit %d, %s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

// storyTape has what the commands show: a call of two legs with digits and a
// report, registrations, a text message, a subscription, a peer.
func storyTape(t *testing.T) *tape {
	w := newTape(t)
	a, b := legs()
	a.headers, b.headers = []string{"X-Conversation: c-1"}, []string{"X-Conversation: c-1"}
	w.call(a)
	w.call(b)
	s := &speaker{w: w, at: 2 * sec, from: a.mediaA, to: a.mediaB, ssrc: 0xa}
	s.talk(3 * sec)
	s.press(4, 5, 0)
	s.talk(4 * sec)
	s.press(2, 5, 0)
	s.talk(60 * sec)
	w.voice(2*sec, 60*sec, a.mediaB, a.mediaA, 0xb)
	q := &talk{w: w, a: a.a, b: a.b, id: "report", from: "x@example.com", to: "y@example.com", tags: [2]string{"q", ""}}
	q.ask(61*sec, "PUBLISH", "Event: vq-rtcpxr", "Expires: 60", vqReport("leg-a"))
	q.answer(61*sec+20*msec, "200 OK", "SIP-ETag: e")

	w.phone("1001", phoneAt, "r1").registers(0, 600)
	bad := w.phone("admin", "203.0.113.66:5070", "bad")
	bad.agent = "friendly-scanner"
	bad.ask(sec, "REGISTER", credentialsLine, contact("203.0.113.66:5070", 600))
	bad.answer(sec+20*msec, "403 Forbidden")
	m := w.alice("m")
	m.ask(4*sec, "MESSAGE", body("text/plain;charset=utf-8", "Grüße aus Köln"))
	m.answer(4*sec+20*msec, "202 Accepted")
	n := w.alice("s")
	n.tags[1] = ""
	n.ask(5*sec, "SUBSCRIBE", "Event: message-summary", "Expires: 600")
	n.tags[1] = "b-s"
	n.answer(5*sec+20*msec, "200 OK", "Expires: 600")
	p := w.peer()
	for i := range 4 {
		p.asks(time.Duration(10+i)*sec, false)
	}
	w.idle(200 * sec)
	return w
}

func TestCommands(t *testing.T) {
	path, db := storyTape(t).path(), filepath.Join(t.TempDir(), "calls.db")
	summary := command(t, "read", "--db", db, "--link-header", "X-Conversation", path)
	for _, want := range []string{
		"REGISTER requests                              2", "peers (OPTIONS)                                1  1 down",
		"auth-failed                                    1", "by header                                      1",
		"DTMF digits                                    2", "reports of endpoints (RFC 6035)                1", "balances",
	} {
		if !strings.Contains(summary, want) {
			t.Errorf("%q is missing in\n%s", want, summary)
		}
	}
	for _, tc := range []struct {
		args string
		says []string
		not  []string
	}{
		{"registrations", []string{"1001@example.com", "registered", phoneAt, "admin@example.com", "rejected", "403"}, nil},
		{"registrations --failed", []string{"admin@example.com"}, []string{"1001@example.com"}},
		{"events", []string{"reg-new", "auth-failed", "peer-down", "sub-new", "call-start", "call-end", "friendly-scanner"}, nil},
		{"events --kind auth-failed", []string{"admin@example.com", "Forbidden"}, []string{"reg-new", "call-end"}},
		{"messages", []string{"alice", "bob", "Grüße aus Köln", "202"}, nil},
		{"subscriptions", []string{"message-summary", "active", "vq-rtcpxr"}, nil},
		{"peers", []string{gatewayAt, "down"}, nil},
		{"call --digits leg-a", []string{"+3.000 s, 4, rtp, 100 ms", "+4.000 s, 2, rtp", "header    100  +0.100 s  trunk", "MOS 4.20 listening"}, nil},
		{"call leg-a", []string{"2 digits", "Linked calls: 1", "Reports of endpoints: 1"}, []string{", rtp, 100 ms"}},
		{"calls", []string{"+493012345678", "trunk", "answered"}, nil},
	} {
		t.Run(tc.args, func(t *testing.T) {
			out := command(t, append(strings.Fields(tc.args), "--db", db)...)
			for _, want := range tc.says {
				if !strings.Contains(out, want) {
					t.Errorf("%q is missing in\n%s", want, out)
				}
			}
			for _, other := range tc.not {
				if strings.Contains(out, other) {
					t.Errorf("%q stands in\n%s", other, out)
				}
			}
		})
	}
}
