package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/flow/event"
	"ringside/flow/record"
	"ringside/flow/register"
)

const (
	phoneAt     = "192.0.2.10:5060"
	registrarAt = "198.51.100.1:5060"
)

// phone is what the REGISTERs of one phone have in common.
func (w *tape) phone(user, at, callID string) *talk {
	return &talk{
		w: w, a: at, b: registrarAt, id: callID, from: user + "@example.com", to: user + "@example.com",
		tags: [2]string{callID, "r"}, uri: "example.com", agent: "Phone 1.2",
	}
}

const (
	challengeLine   = `WWW-Authenticate: Digest realm="example.com", nonce="n1"`
	credentialsLine = `Authorization: Digest username="1001", realm="example.com", nonce="n1", uri="sip:example.com", response="0"`
)

func contact(at string, expires int) string {
	return fmt.Sprintf("Contact: <sip:1001@%s>;expires=%d", at, expires)
}

// registers sends a REGISTER and its 200 after 20 ms.
func (d *talk) registers(at time.Duration, expires int) {
	d.ask(at, "REGISTER", credentialsLine, contact(d.a, expires))
	d.answer(at+20*msec, "200 OK", contact(d.a, expires))
}

// bound is the record of a phone that registered at 0 with one REGISTER, and is
// registered until the end of the tape, which is just behind its last packet.
func bound(last time.Duration) record.Registration {
	return record.Registration{
		AOR: "1001@example.com", User: "1001", Domain: "example.com", Contact: "sip:1001@" + phoneAt,
		CallID: "r1", Agent: "Phone 1.2", AuthUser: "1001",
		Src: netip.MustParseAddrPort(phoneAt), Dst: netip.MustParseAddrPort(registrarAt), Transport: record.UDP, VLAN: -1,
		Start: tapeAt(0), End: tapeAt(last) + 1, Last: tapeAt(0), ExpiresAt: tapeAt(600*sec + 20*msec), Expires: 600,
		Registers: 1, Successes: 1, LastStatus: 200, LastReason: "OK", RTT: 20, RTTMin: 20, RTTMax: 20,
	}
}

// over is a record of a registration that ended before the tape did.
func over(state record.RegistrationState, end time.Duration, change func(*record.Registration)) record.Registration {
	r := bound(0)
	r.State, r.End = state, tapeAt(end)
	change(&r)
	return r
}

// refusedAll is the record of a phone at whose address of record nothing
// succeeded.
func refusedAll(last time.Duration, status uint16, reason string) record.Registration {
	return over(record.Rejected, last, func(r *record.Registration) {
		r.Contact, r.Last, r.ExpiresAt, r.Expires = "", tapeAt(last), 0, 0
		r.Successes, r.LastStatus, r.LastReason = 0, status, reason
	})
}

// changed is a record with a change.
func changed[T any](r T, change func(*T)) T {
	change(&r)
	return r
}

func TestRegistrations(t *testing.T) {
	const aor = "1001@example.com"
	for _, tc := range []struct {
		name   string
		play   func(w *tape)
		want   []record.Registration
		events []string
	}{
		{
			"challenge, success, renewal, removal",
			func(w *tape) {
				p := w.phone("1001", phoneAt, "r1")
				p.ask(0, "REGISTER", contact(phoneAt, 600))
				p.answer(10*msec, "401 Unauthorized", challengeLine)
				p.ask(20*msec, "REGISTER", credentialsLine, contact(phoneAt, 600))
				p.answer(50*msec, "200 OK", contact(phoneAt, 600))
				p.registers(300*sec, 600)
				p.ask(500*sec, "REGISTER", credentialsLine, contact(phoneAt, 0))
				p.answer(500*sec+10*msec, "200 OK")
				w.idle(520 * sec)
			},
			[]record.Registration{over(record.Unregistered, 500*sec+10*msec, func(r *record.Registration) {
				r.Registers, r.Successes, r.Challenges = 4, 3, 1
				r.Last, r.ExpiresAt = tapeAt(500*sec), tapeAt(900*sec+20*msec)
				r.RTT, r.RTTMin, r.RTTMax = 17.5, 10, 30
			})},
			[]string{"50ms reg-new " + aor + " 200", "8m20.01s reg-del " + aor + " 200"},
		},
		{
			"flap within the delay",
			func(w *tape) {
				p := w.phone("1001", phoneAt, "r1")
				p.registers(0, 600)
				p.registers(100*sec, 0)
				p.registers(104*sec, 600)
				w.idle(200 * sec)
			},
			[]record.Registration{changed(bound(200*sec), func(r *record.Registration) {
				r.Registers, r.Successes, r.Last, r.ExpiresAt = 3, 3, tapeAt(104*sec), tapeAt(704*sec+20*msec)
			})},
			[]string{"20ms reg-new " + aor + " 200"},
		},
		{
			"made again after the delay",
			func(w *tape) {
				p := w.phone("1001", phoneAt, "r1")
				p.registers(0, 600)
				p.registers(100*sec, 0)
				p.registers(106*sec, 600)
				w.idle(200 * sec)
			},
			[]record.Registration{
				over(record.Unregistered, 100*sec+20*msec, func(r *record.Registration) {
					r.Registers, r.Successes, r.Last = 2, 2, tapeAt(100*sec)
				}),
				changed(bound(200*sec), func(r *record.Registration) {
					r.Start, r.Last, r.ExpiresAt = tapeAt(106*sec), tapeAt(106*sec), tapeAt(706*sec+20*msec)
				}),
			},
			[]string{"20ms reg-new " + aor + " 200", "1m40.02s reg-del " + aor + " 200", "1m46.02s reg-new " + aor + " 200"},
		},
		{
			"expiry",
			func(w *tape) {
				w.phone("1001", phoneAt, "r1").registers(0, 60)
				w.idle(200 * sec)
			},
			[]record.Registration{over(record.Expired, 60*sec+20*msec, func(r *record.Registration) {
				r.Expires, r.ExpiresAt = 60, tapeAt(60*sec+20*msec)
			})},
			[]string{"20ms reg-new " + aor + " 200", "1m0.02s reg-expired " + aor + " 200"},
		},
		{
			"rejected",
			func(w *tape) {
				p := w.phone("1001", phoneAt, "r1")
				p.ask(0, "REGISTER", contact(phoneAt, 600))
				p.answer(20*msec, "401 Unauthorized", challengeLine)
				p.ask(40*msec, "REGISTER", credentialsLine, contact(phoneAt, 600))
				p.answer(60*msec, "403 Forbidden")
				w.idle(100 * sec)
			},
			[]record.Registration{changed(refusedAll(40*msec, 403, "Forbidden"), func(r *record.Registration) {
				r.Registers, r.Challenges, r.Failures = 2, 1, 1
			})},
			[]string{"60ms auth-failed " + aor + " 403"},
		},
		{
			"wrong password twice",
			func(w *tape) {
				p := w.phone("1001", phoneAt, "r1")
				p.ask(0, "REGISTER", contact(phoneAt, 600))
				p.answer(20*msec, "401 Unauthorized", challengeLine)
				for i := range 2 {
					p.ask(time.Duration(i+1)*sec, "REGISTER", credentialsLine, contact(phoneAt, 600))
					p.answer(time.Duration(i+1)*sec+20*msec, "401 Unauthorized", challengeLine)
				}
				w.idle(100 * sec)
			},
			[]record.Registration{changed(refusedAll(2*sec, 401, "Unauthorized"), func(r *record.Registration) {
				r.Registers, r.Challenges, r.Failures = 3, 1, 2
			})},
			[]string{"1.02s auth-failed " + aor + " 401", "2.02s auth-failed " + aor + " 401"},
		},
		{
			"wrong password, then the right one",
			func(w *tape) {
				p := w.phone("1001", phoneAt, "r1")
				p.ask(0, "REGISTER", contact(phoneAt, 600))
				p.answer(20*msec, "401 Unauthorized", challengeLine)
				p.ask(sec, "REGISTER", credentialsLine, contact(phoneAt, 600))
				p.answer(sec+20*msec, "401 Unauthorized", challengeLine)
				p.registers(10*sec, 600)
				w.idle(100 * sec)
			},
			[]record.Registration{changed(bound(100*sec), func(r *record.Registration) {
				r.Last, r.ExpiresAt = tapeAt(10*sec), tapeAt(610*sec+20*msec)
				r.Registers, r.Successes, r.Challenges, r.Failures = 3, 1, 1, 1
			})},
			[]string{"1.02s auth-failed " + aor + " 401", "10.02s reg-new " + aor + " 200"},
		},
		{
			"nobody of that name",
			func(w *tape) {
				p := w.phone("1001", phoneAt, "r1")
				p.ask(0, "REGISTER", credentialsLine, contact(phoneAt, 600))
				p.answer(20*msec, "404 Not Found")
				w.idle(100 * sec)
			},
			[]record.Registration{changed(refusedAll(0, 404, "Not Found"), func(r *record.Registration) { r.Failures = 1 })},
			[]string{"20ms other-failed " + aor + " 404"},
		},
		{
			"timeout",
			func(w *tape) {
				p := w.phone("1001", phoneAt, "r1")
				p.ask(0, "REGISTER", credentialsLine, contact(phoneAt, 600))
				p.again(500*msec, credentialsLine, contact(phoneAt, 600))
				p.again(1500*msec, credentialsLine, contact(phoneAt, 600))
				w.idle(100 * sec)
			},
			[]record.Registration{changed(refusedAll(0, 0, ""), func(r *record.Registration) {
				r.Timeouts, r.Retrans, r.RTT, r.RTTMin, r.RTTMax = 1, 2, 0, 0, 0
			})},
			[]string{"30s other-timeout " + aor},
		},
		{
			"two phones of one address of record",
			func(w *tape) {
				other := "192.0.2.11:5060"
				p, q := w.phone("1001", phoneAt, "r1"), w.phone("1001", other, "r2")
				p.registers(0, 600)
				both := []string{contact(phoneAt, 590), contact(other, 600)}
				q.ask(10*sec, "REGISTER", credentialsLine, contact(other, 600))
				q.answer(10*sec+20*msec, "200 OK", both...)
				p.ask(20*sec, "REGISTER", credentialsLine, contact(phoneAt, 0))
				p.answer(20*sec+20*msec, "200 OK", contact(other, 590))
				w.idle(100 * sec)
			},
			[]record.Registration{
				over(record.Unregistered, 20*sec+20*msec, func(r *record.Registration) {
					r.Registers, r.Successes, r.Last = 2, 2, tapeAt(20*sec)
				}),
				changed(bound(100*sec), func(r *record.Registration) {
					r.Contact, r.Src, r.CallID = "sip:1001@192.0.2.11:5060", netip.MustParseAddrPort("192.0.2.11:5060"), "r2"
					r.Start, r.Last, r.ExpiresAt = tapeAt(10*sec), tapeAt(10*sec), tapeAt(610*sec+20*msec)
				}),
			},
			[]string{"20ms reg-new " + aor + " 200", "10.02s reg-new " + aor + " 200", "20.02s reg-del " + aor + " 200"},
		},
		{
			"behind a NAT",
			func(w *tape) {
				p := w.phone("1001", "203.0.113.7:40001", "r1")
				p.ask(0, "REGISTER", credentialsLine, contact("10.0.0.5:5060", 600))
				p.answer(20*msec, "200 OK", contact("10.0.0.5:5060", 600))
				w.idle(100 * sec)
			},
			[]record.Registration{changed(bound(100*sec), func(r *record.Registration) {
				r.Contact, r.Src, r.NATed = "sip:1001@10.0.0.5:5060", netip.MustParseAddrPort("203.0.113.7:40001"), true
			})},
			[]string{"20ms reg-new " + aor + " 200"},
		},
		{
			"all removed at once",
			func(w *tape) {
				other := "192.0.2.11:5060"
				p, q := w.phone("1001", phoneAt, "r1"), w.phone("1001", other, "r2")
				p.registers(0, 600)
				q.registers(10*sec, 600)
				p.ask(20*sec, "REGISTER", credentialsLine, "Contact: *", "Expires: 0")
				p.answer(20*sec+20*msec, "200 OK")
				w.idle(100 * sec)
			},
			[]record.Registration{
				over(record.Unregistered, 20*sec+20*msec, func(r *record.Registration) {
					r.Registers, r.Successes, r.Last = 2, 2, tapeAt(20*sec)
				}),
				over(record.Unregistered, 20*sec+20*msec, func(r *record.Registration) {
					r.Contact, r.Registers, r.Successes, r.Start, r.Last = "sip:1001@192.0.2.11:5060", 2, 2, tapeAt(10*sec), tapeAt(20*sec)
					r.ExpiresAt = tapeAt(610*sec + 20*msec)
				}),
			},
			[]string{"20ms reg-new " + aor + " 200", "10.02s reg-new " + aor + " 200", "20.02s reg-del " + aor + " 200", "20.02s reg-del " + aor + " 200"},
		},
		{
			"one instance from another address",
			func(w *tape) {
				for i, at := range []string{phoneAt, "192.0.2.11:5060"} {
					line := contact(at, 600) + `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>";reg-id=1`
					p := w.phone("1001", at, "r1")
					p.cseq = i
					p.ask(time.Duration(i)*50*sec, "REGISTER", credentialsLine, line, "Supported: path, outbound")
					p.answer(time.Duration(i)*50*sec+20*msec, "200 OK", line, "Path: <sip:edge.example.com;lr>")
				}
				w.idle(100 * sec)
			},
			[]record.Registration{changed(bound(100*sec), func(r *record.Registration) {
				r.Contact, r.Src = "sip:1001@192.0.2.11:5060", netip.MustParseAddrPort("192.0.2.11:5060")
				r.Instance, r.Path = "urn:uuid:00000000-0000-1000-8000-000A95A0E128", "<sip:edge.example.com;lr>"
				r.Registers, r.Successes, r.Last, r.ExpiresAt = 2, 2, tapeAt(50*sec), tapeAt(650*sec+20*msec)
			})},
			[]string{"20ms reg-new " + aor + " 200"},
		},
		{
			"on TCP",
			func(w *tape) {
				p := w.phone("1001", "192.0.2.11:5060", "r1")
				p.stream = w.dial(-sec, p.a, registrarAt)
				p.registers(0, 600)
				p.stream.close(90 * sec)
				w.idle(100 * sec)
			},
			[]record.Registration{changed(bound(100*sec), func(r *record.Registration) {
				r.Contact, r.Src, r.Transport = "sip:1001@192.0.2.11:5060", netip.MustParseAddrPort("192.0.2.11:5060"), record.TCP
			})},
			[]string{"20ms reg-new " + aor + " 200"},
		},
		{
			"on two hops",
			func(w *tape) {
				p := w.phone("1001", phoneAt, "r1")
				in := w.phone("1001", registrarAt, "r1")
				in.b, in.hops = "198.51.100.2:5060", 1
				p.ask(0, "REGISTER", credentialsLine, contact(phoneAt, 600))
				in.ask(5*msec, "REGISTER", credentialsLine, contact(phoneAt, 600))
				in.answer(15*msec, "200 OK", contact(phoneAt, 600))
				p.answer(20*msec, "200 OK", contact(phoneAt, 600))
				w.idle(100 * sec)
			},
			[]record.Registration{bound(100 * sec)},
			[]string{"20ms reg-new " + aor + " 200"},
		},
		{
			"again with another Call-ID",
			func(w *tape) {
				w.phone("1001", phoneAt, "r1").registers(0, 600)
				w.phone("1001", phoneAt, "r9").registers(50*sec, 600)
				w.idle(100 * sec)
			},
			[]record.Registration{changed(bound(100*sec), func(r *record.Registration) {
				r.CallID, r.Registers, r.Successes, r.Last, r.ExpiresAt = "r9", 2, 2, tapeAt(50*sec), tapeAt(650*sec+20*msec)
			})},
			[]string{"20ms reg-new " + aor + " 200"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newTape(t)
			tc.play(w)
			h := hear(t, w.path(), daemon.ReadOptions{})
			same(t, "registrations", h.registrations, func(r *record.Registration) { r.ID = 0 }, tc.want...)
			sameLines(t, "events", h.eventLines(), tc.events)
			for _, e := range h.events {
				ofPhone := slices.Contains([]string{phoneAt, "192.0.2.11:5060", "203.0.113.7:40001"}, e.Src.String())
				if !ofPhone || e.Dst.String() != registrarAt || e.Method != "REGISTER" || e.Agent != "Phone 1.2" {
					t.Errorf("event %+v: not of the request", e)
				}
			}
		})
	}
}

// flood is 5,000 REGISTERs with wrong passwords from one address in 10 s, each
// for another user, while three phones register, renew and go.
func flood(w *tape) (phones []*talk) {
	for i := range 3 {
		p := w.phone(fmt.Sprint(2000+i), fmt.Sprintf("192.0.2.%d:5060", 20+i), fmt.Sprint("good", i))
		phones = append(phones, p)
		p.registers(time.Duration(i)*msec, 600)
		p.registers(7*sec+time.Duration(i)*msec, 600)
	}
	for i := range 5000 {
		at := sec + time.Duration(i)*2*msec
		p := w.phone(fmt.Sprint(1000000+i), "203.0.113.66:5070", fmt.Sprint("bad", i))
		p.agent = "friendly-scanner"
		p.ask(at, "REGISTER", credentialsLine, contact("203.0.113.66:5070", 600))
		p.answer(at+msec, "403 Forbidden")
	}
	phones[0].registers(12*sec, 0)
	w.idle(100 * sec)
	return phones
}

func TestEventLimits(t *testing.T) {
	w := newTape(t)
	flood(w)
	h := hear(t, w.path(), daemon.ReadOptions{})
	perSecond, count := make(map[time.Duration]int), uint64(0)
	for _, e := range h.events {
		if e.Kind == record.AuthRefused {
			perSecond[when(e.Time-tapeAt(sec+msec)+tapeStart)/sec]++
			count += e.Count
		}
	}
	// 20 of 500 in a second pass, and the 100th that was held back; the last 380
	// of the last second wait.
	for s := range time.Duration(10) {
		if perSecond[s] != 21 {
			t.Errorf("%d events in second %d of the flood, want 21", perSecond[s], s)
		}
	}
	stats := h.report.Flow.Events
	if count != 5000-380 || stats.Seen != uint64(5000+4) || stats.Waiting != 380 || stats.Counted != count+4 || stats.Forgotten != 0 {
		t.Errorf("the counts say %d, %+v", count, stats)
	}
	sameLines(t, "other events", h.eventLines(record.RegNew, record.RegDel, record.RegExpired, record.OtherFailed), []string{
		"20ms reg-new 2000@example.com 200", "21ms reg-new 2001@example.com 200", "22ms reg-new 2002@example.com 200",
		"12.02s reg-del 2000@example.com 200",
	})
	states := make(map[record.RegistrationState]int)
	for _, r := range h.registrations {
		states[r.State]++
		if r.State != record.Rejected && r.Registers != 2 && r.User != "2000" {
			t.Errorf("registration of a phone: %+v", r)
		}
	}
	if states[record.Rejected] != 5000 || states[record.Unregistered] != 1 || states[record.Registered] != 2 || len(h.registrations) != 5003 {
		t.Errorf("states %v, %d registrations", states, len(h.registrations))
	}
}

// TestEventLimitsOff: a kind that is not wanted gives no events but reports of
// how many there were.
func TestEventLimitsOff(t *testing.T) {
	w := newTape(t)
	flood(w)
	h := hear(t, w.path(), daemon.ReadOptions{Events: event.Limits{Quiet: []record.EventKind{record.AuthRefused}}})
	sameLines(t, "events of failures", h.eventLines(record.AuthRefused), []string{
		"1.199s auth-failed 1000099@example.com 403 x100", "2.999s auth-failed 1000999@example.com 403 x900",
	})
}

// TestRegistrationFlood: where the flood fills the table, the phones keep their
// bindings.
func TestRegistrationFlood(t *testing.T) {
	w := newTape(t)
	flood(w)
	path := w.path()
	for _, workers := range []int{1, 2, 4} {
		h := hearOnce(t, path, daemon.ReadOptions{Workers: workers, Register: register.Limits{MaxBindings: 200}})
		var good []string
		for _, r := range h.registrations {
			if strings.HasPrefix(r.User, "20") {
				good = append(good, fmt.Sprintf("%s %v %d/%d", r.User, r.State, r.Successes, r.Registers))
			}
		}
		sameLines(t, fmt.Sprintf("phones, %d workers", workers), good, []string{
			"2000 unregistered 3/3", "2001 registered 2/2", "2002 registered 2/2",
		})
		if n := h.report.Flow.Registers.AttemptsEvicted; n < 4500 || len(h.registrations) > 203+4 {
			t.Errorf("%d workers: %d attempts given up, %d records", workers, n, len(h.registrations))
		}
	}
}
