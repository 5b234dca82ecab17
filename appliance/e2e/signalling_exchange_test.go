package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ringside/appliance/daemon"
	"ringside/flow/record"
)

const gatewayAt = "203.0.113.20:5062"

// peer is a proxy that asks a gateway whether it is there.
func (w *tape) peer() *talk {
	return &talk{
		w: w, a: registrarAt, b: gatewayAt, id: "o", from: "ping@example.com", to: "gw.example.net",
		tags: [2]string{"o", ""}, agent: "Proxy 3",
	}
}

func (d *talk) asks(at time.Duration, answered bool) {
	d.ask(at, "OPTIONS")
	if answered {
		d.tags[1] = "g"
		d.answer(at+20*msec, "200 OK", "Server: Gateway 9")
		d.tags[1] = ""
	}
}

func TestOptions(t *testing.T) {
	at := netip.MustParseAddrPort
	base := record.Exchange{
		Kind: record.Options, CallID: "o",
		Caller:    record.Party{Number: "ping", Domain: "example.com", Tag: "o", Addr: at("198.51.100.1:0"), Agent: "Proxy 3"},
		Called:    record.Party{Domain: "gw.example.net", Addr: at(gatewayAt)},
		Transport: record.UDP, VLAN: -1,
	}
	for _, tc := range []struct {
		name   string
		play   func(d *talk)
		want   []record.Exchange
		events []string
	}{
		{
			"up, down and up again",
			func(d *talk) {
				for i, answered := range []bool{true, true, false, false, false, true} {
					d.asks(time.Duration(i)*60*sec, answered)
				}
				d.w.idle(400 * sec)
			},
			[]record.Exchange{changed(base, func(x *record.Exchange) {
				x.Called.Tag, x.Called.Agent = "g", "Gateway 9"
				x.Start, x.Last, x.End, x.State = tapeAt(0), tapeAt(300*sec+20*msec), tapeAt(300*sec+20*msec), "up"
				x.Requests, x.Answered, x.Timeouts, x.Changes = 6, 3, 3, 2
				x.LastStatus, x.LastReason, x.RTT, x.RTTMin, x.RTTMax = 200, "OK", 20, 20, 20
			})},
			[]string{
				"20ms other-ok ping@example.com 200", "1m0.02s other-ok ping@example.com 200",
				"2m30s other-timeout ping@example.com", "3m30s other-timeout ping@example.com",
				"4m30s other-timeout ping@example.com", "4m30s peer-down ping@example.com",
				"5m0.02s other-ok ping@example.com 200", "5m0.02s peer-up ping@example.com 200",
			},
		},
		{
			"refused is an answer",
			func(d *talk) {
				d.ask(0, "OPTIONS")
				d.answer(20*msec, "404 Not Found")
				d.w.idle(100 * sec)
			},
			[]record.Exchange{changed(base, func(x *record.Exchange) {
				x.Start, x.Last, x.End, x.State = tapeAt(0), tapeAt(20*msec), tapeAt(20*msec), "up"
				x.Requests, x.Answered, x.Failures = 1, 1, 1
				x.LastStatus, x.LastReason, x.RTT, x.RTTMin, x.RTTMax = 404, "Not Found", 20, 20, 20
			})},
			[]string{"20ms other-failed ping@example.com 404"},
		},
		{
			"never there, for more than an hour",
			func(d *talk) {
				for i := range 63 {
					d.asks(time.Duration(i)*70*sec, false)
				}
				d.w.idle(4400 * sec)
			},
			[]record.Exchange{
				// A request counts when it is known that it was not answered, 30 s later;
				// the hour begins when the first one counts.
				changed(base, func(x *record.Exchange) {
					x.Start, x.Last, x.End, x.State = tapeAt(0), tapeAt(3570*sec), tapeAt(3570*sec), "down"
					x.Requests, x.Timeouts, x.Changes = 52, 52, 1
				}),
				changed(base, func(x *record.Exchange) {
					x.Start, x.Last, x.End, x.State = tapeAt(3640*sec), tapeAt(4340*sec), tapeAt(4340*sec), "down"
					x.Requests, x.Timeouts = 11, 11
				}),
			},
			nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			tc.play(w.peer())
			h := hear(t, w.path(), daemon.ReadOptions{})
			same(t, "exchanges", h.exchanges, func(x *record.Exchange) { x.ID = 0 }, tc.want...)
			if tc.events != nil {
				sameLines(t, "events", h.eventLines(), tc.events)
			} else {
				sameLines(t, "changes", h.eventLines(record.PeerDown, record.PeerUp), []string{"2m50s peer-down ping@example.com"})
			}
		})
	}
}

// alice writes to bob.
func (w *tape) alice(id string) *talk {
	return &talk{
		w: w, a: "192.0.2.10:5060", b: registrarAt, id: id, from: "alice@example.com", to: "bob@example.com",
		tags: [2]string{"a-" + id, "b-" + id},
	}
}

// ofAlice is the record of what alice sent at 0, and was answered 20 ms later.
func ofAlice(kind record.ExchangeKind, id, state string) record.Exchange {
	at := netip.MustParseAddrPort
	return record.Exchange{
		Kind: kind, CallID: id, State: state,
		Caller:    record.Party{Number: "alice", Domain: "example.com", Tag: "a-" + id, Addr: at("192.0.2.10:5060")},
		Called:    record.Party{Number: "bob", Domain: "example.com", Tag: "b-" + id, Addr: at(registrarAt)},
		Transport: record.UDP, VLAN: -1,
		Start: tapeAt(0), Last: tapeAt(20 * msec), End: tapeAt(20 * msec), Requests: 1, Answered: 1,
		LastStatus: 200, LastReason: "OK", RTT: 20, RTTMin: 20, RTTMax: 20,
	}
}

func TestMessages(t *testing.T) {
	long := strings.Repeat("Zeile für Zeile. ", 1200) // of 18 octets each
	cut := long[:16<<10]
	for !utf8.ValidString(cut) {
		cut = cut[:len(cut)-1]
	}
	for _, tc := range []struct {
		name, kind, text string
		status           string
		want             func(x *record.Exchange)
		event            string
	}{
		{"UTF-8", "text/plain;charset=utf-8", "Grüße aus Köln 👋\r\nzweite Zeile", "202 Accepted", func(x *record.Exchange) {
			x.LastStatus, x.LastReason, x.Text = 202, "Accepted", "Grüße aus Köln 👋\r\nzweite Zeile"
		}, "other-ok alice@example.com 202"},
		{"Latin-1", "text/plain; charset=ISO-8859-1", "Gr\xfc\xdfe", "200 OK", func(x *record.Exchange) { x.Text = "Grüße" }, "other-ok alice@example.com 200"},
		{"not UTF-8", "text/plain", "a\xff\xfeb", "200 OK", func(x *record.Exchange) { x.Text = "a\uFFFDb" }, "other-ok alice@example.com 200"},
		{"binary", "image/png", "\x89PNG\r\n\x1a\n\x00\x01\x02", "200 OK", func(*record.Exchange) {}, "other-ok alice@example.com 200"},
		{"empty", "text/plain", "", "200 OK", func(*record.Exchange) {}, "other-ok alice@example.com 200"},
		{"very long", "text/plain", long, "200 OK", func(x *record.Exchange) { x.Text = cut }, "other-ok alice@example.com 200"},
		{"refused", "text/plain", "hi", "480 Temporarily Unavailable", func(x *record.Exchange) {
			x.Text, x.State, x.Failures, x.LastStatus, x.LastReason = "hi", "failed", 1, 480, "Temporarily Unavailable"
			x.Called.Tag = ""
		}, "other-failed alice@example.com 480"},
		{"no answer", "text/plain", "hi", "", func(x *record.Exchange) {
			x.Text, x.State, x.Answered, x.Timeouts, x.LastStatus, x.LastReason = "hi", "timeout", 0, 1, 0, ""
			x.Called.Tag, x.Last, x.End, x.RTT, x.RTTMin, x.RTTMax = "", tapeAt(0), tapeAt(0), 0, 0, 0
		}, "other-timeout alice@example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			d := w.alice("m")
			d.tags[1] = ""
			d.ask(0, "MESSAGE", body(tc.kind, tc.text))
			d.tags[1] = "b-m"
			at := 30 * sec
			if tc.status != "" {
				at = 20 * msec
				d.answer(at, tc.status)
			}
			w.idle(100 * sec)
			h := hear(t, w.path(), daemon.ReadOptions{})
			same(t, "exchanges", h.exchanges, func(x *record.Exchange) { x.ID = 0 }, changed(ofAlice(record.TextMessage, "m", "ok"), func(x *record.Exchange) {
				x.ContentType, x.Size = tc.kind, uint32(len(tc.text))
				tc.want(x)
			}))
			sameLines(t, "events", h.eventLines(), []string{fmt.Sprint(at, " ", tc.event)})
			if len(h.calls) > 0 {
				t.Errorf("a call: %+v", h.calls[0])
			}
		})
	}
}

// TestMessageAgain: a text message that was challenged, sent again, or captured on
// two hops is one.
func TestMessageAgain(t *testing.T) {
	hello := body("text/plain", "Hello")
	for _, tc := range []struct {
		name string
		play func(d *talk)
		want func(x *record.Exchange)
	}{
		{"challenged", func(d *talk) {
			d.ask(0, "MESSAGE", hello)
			d.answer(10*msec, "407 Proxy Authentication Required", `Proxy-Authenticate: Digest realm="example.com", nonce="n1"`)
			d.ask(20*msec, "MESSAGE", `Proxy-Authorization: Digest username="alice", realm="example.com", nonce="n1", uri="sip:bob@example.com", response="0"`, hello)
			d.tags[1] = "b-m"
			d.answer(50*msec, "200 OK")
		}, func(x *record.Exchange) {
			x.Requests, x.Answered, x.Last, x.End, x.RTTMin, x.RTTMax = 2, 2, tapeAt(50*msec), tapeAt(50*msec), 10, 30
		}},
		{"sent again", func(d *talk) {
			d.ask(0, "MESSAGE", hello)
			d.again(500*msec, hello)
			d.tags[1] = "b-m"
			d.answer(600*msec, "200 OK")
		}, func(x *record.Exchange) {
			x.Retrans, x.Last, x.End, x.RTT, x.RTTMin, x.RTTMax = 1, tapeAt(600*msec), tapeAt(600*msec), 600, 600, 600
		}},
		{"on two hops", func(d *talk) {
			hop := *d
			hop.a, hop.b, hop.hops = registrarAt, "192.0.2.11:5060", 1
			d.ask(0, "MESSAGE", hello)
			hop.ask(5*msec, "MESSAGE", hello)
			d.tags[1], hop.tags[1] = "b-m", "b-m"
			hop.answer(15*msec, "200 OK")
			d.answer(20*msec, "200 OK")
		}, func(*record.Exchange) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			d := w.alice("m")
			d.tags[1] = ""
			tc.play(d)
			w.idle(100 * sec)
			h := hear(t, w.path(), daemon.ReadOptions{})
			same(t, "exchanges", h.exchanges, func(x *record.Exchange) { x.ID = 0 }, changed(ofAlice(record.TextMessage, "m", "ok"), func(x *record.Exchange) {
				x.ContentType, x.Size, x.Text = "text/plain", 5, "Hello"
				tc.want(x)
			}))
			if len(h.events) != 1 || h.events[0].Kind != record.OtherOK {
				t.Errorf("events %v, want one other-ok", h.eventLines())
			}
		})
	}
}

const dialogInfo = `<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full" entity="sip:bob@example.com"/>`

func TestSubscriptions(t *testing.T) {
	// subscribe begins a subscription.
	subscribe := func(w *tape, event string, status string, expires int) *talk {
		d := w.alice("s")
		d.tags[1] = ""
		d.ask(0, "SUBSCRIBE", "Event: "+event, fmt.Sprint("Expires: ", expires))
		d.tags[1] = "b-s"
		d.answer(20*msec, status, fmt.Sprint("Expires: ", expires))
		return d
	}
	notify := func(d *talk, at time.Duration, event, state string) {
		d.ask(at, "NOTIFY", "Event: "+event, "Subscription-State: "+state, body("application/dialog-info+xml", dialogInfo))
		d.answer(at+20*msec, "200 OK")
	}
	for _, tc := range []struct {
		name   string
		play   func(w *tape)
		want   record.Exchange
		events []string
	}{
		{
			"dialog, renewed and ended",
			func(w *tape) {
				d := subscribe(w, "dialog", "200 OK", 600)
				n := d.turned()
				notify(n, 50*msec, "dialog", "active;expires=600")
				notify(n, 60*sec, "dialog", "active;expires=540")
				d.ask(500*sec, "SUBSCRIBE", "Event: dialog", "Expires: 600")
				d.answer(500*sec+40*msec, "200 OK", "Expires: 300")
				d.ask(700*sec, "SUBSCRIBE", "Event: dialog", "Expires: 0")
				d.answer(700*sec+30*msec, "200 OK", "Expires: 0")
				notify(n, 700*sec+50*msec, "dialog", "terminated;reason=timeout")
				w.idle(800 * sec)
			},
			changed(ofAlice(record.Subscription, "s", "terminated"), func(x *record.Exchange) {
				x.Event, x.Expires, x.Requests, x.Answered, x.Notifies = "dialog", 300, 3, 3, 3
				x.Last, x.End, x.RTT, x.RTTMax = tapeAt(700*sec+70*msec), tapeAt(700*sec+30*msec), 30, 40
			}),
			[]string{"20ms sub-new alice@example.com 200", "11m40.03s sub-del alice@example.com 200"},
		},
		{
			"ended by the notifier",
			func(w *tape) {
				d := subscribe(w, "presence", "202 Accepted", 600)
				n := d.turned()
				notify(n, 50*msec, "presence", "pending;expires=600")
				notify(n, 10*sec, "presence", "terminated;reason=rejected")
				w.idle(100 * sec)
			},
			changed(ofAlice(record.Subscription, "s", "terminated"), func(x *record.Exchange) {
				x.Event, x.Expires, x.Notifies, x.Note = "presence", 600, 2, "rejected"
				x.LastStatus, x.LastReason, x.Last, x.End = 202, "Accepted", tapeAt(10*sec+20*msec), tapeAt(10*sec)
			}),
			[]string{"20ms sub-new alice@example.com 202", "10s sub-del alice@example.com 202"},
		},
		{
			"message-summary, not renewed",
			func(w *tape) {
				d := subscribe(w, "message-summary", "200 OK", 60)
				n := d.turned()
				n.ask(50*msec, "NOTIFY", "Event: message-summary", "Subscription-State: active;expires=60",
					body("application/simple-message-summary", "Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n"))
				n.answer(70*msec, "200 OK")
				w.idle(200 * sec)
			},
			changed(ofAlice(record.Subscription, "s", "expired"), func(x *record.Exchange) {
				x.Event, x.Expires, x.Notifies, x.Last, x.End = "message-summary", 60, 1, tapeAt(70*msec), tapeAt(60*sec+50*msec)
			}),
			[]string{"20ms sub-new alice@example.com 200", "1m0.05s sub-del alice@example.com 200"},
		},
		{
			"message-summary that nobody asked for",
			func(w *tape) {
				d := w.alice("s")
				d.tags[1] = ""
				d.ask(0, "NOTIFY", "Event: message-summary", "Subscription-State: active",
					body("application/simple-message-summary", "Messages-Waiting: no\r\n"))
				d.tags[1] = "b-s"
				d.answer(20*msec, "200 OK")
				w.idle(200 * sec)
			},
			changed(ofAlice(record.Subscription, "s", "unsolicited"), func(x *record.Exchange) {
				x.Event, x.Notifies = "message-summary", 1
			}),
			[]string{"20ms other-ok alice@example.com 200"},
		},
		{
			"not allowed",
			func(w *tape) {
				d := w.alice("s")
				d.tags[1] = ""
				d.ask(0, "SUBSCRIBE", "Event: dialog", "Expires: 600")
				d.tags[1] = "b-s"
				d.answer(20*msec, "489 Bad Event")
				w.idle(200 * sec)
			},
			changed(ofAlice(record.Subscription, "s", "rejected"), func(x *record.Exchange) {
				x.Event, x.Failures, x.LastStatus, x.LastReason = "dialog", 1, 489, "Bad Event"
				x.Called.Tag = ""
			}),
			[]string{"20ms other-failed alice@example.com 489"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			tc.play(w)
			h := hear(t, w.path(), daemon.ReadOptions{})
			same(t, "exchanges", h.exchanges, func(x *record.Exchange) { x.ID = 0 }, tc.want)
			var events []string
			for _, l := range h.eventLines() {
				if !strings.Contains(l, "bob@") { // what came of NOTIFY
					events = append(events, l)
				}
			}
			sameLines(t, "events", events, tc.events)
		})
	}
}

func TestPublications(t *testing.T) {
	w := newTape(t)
	d := w.alice("p")
	d.to = d.from
	presence := body("application/pidf+xml", `<presence entity="sip:alice@example.com"/>`)
	d.tags[1] = ""
	d.ask(0, "PUBLISH", "Event: presence", "Expires: 600", presence)
	d.tags[1] = "b-p"
	d.answer(20*msec, "200 OK", "SIP-ETag: e1", "Expires: 600")
	// The next one goes by the entity tag, under another Call-ID.
	e := w.alice("p2")
	e.to = e.from
	e.tags[1] = ""
	e.ask(300*sec, "PUBLISH", "Event: presence", "Expires: 600", "SIP-If-Match: e1")
	e.tags[1] = "b-p"
	e.answer(300*sec+40*msec, "200 OK", "SIP-ETag: e2", "Expires: 600")
	e.tags[1] = ""
	e.ask(500*sec, "PUBLISH", "Event: presence", "Expires: 0", "SIP-If-Match: e2")
	e.tags[1] = "b-p"
	e.answer(500*sec+30*msec, "200 OK", "SIP-ETag: e3", "Expires: 0")
	w.idle(600 * sec)
	h := hear(t, w.path(), daemon.ReadOptions{})
	same(t, "exchanges", h.exchanges, func(x *record.Exchange) { x.ID = 0 }, changed(ofAlice(record.Publication, "p", "ok"), func(x *record.Exchange) {
		x.CallID, x.Event, x.Expires, x.Requests, x.Answered = "p2", "presence", 600, 3, 3
		x.Called.Number = "alice"
		x.Last, x.End, x.RTT, x.RTTMax = tapeAt(500*sec+30*msec), tapeAt(500*sec+30*msec), 30, 40
	}))
	sameLines(t, "events", h.eventLines(), []string{
		"20ms other-ok alice@example.com 200", "5m0.04s other-ok alice@example.com 200", "8m20.03s other-ok alice@example.com 200",
	})
}
