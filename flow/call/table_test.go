package call

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"ringside/flow/record"
)

// TestStatsAdd fills every counter, so that none is forgotten in Add.
func TestStatsAdd(t *testing.T) {
	var a, want Stats
	n := uint64(1)
	fill := func(v, w reflect.Value) {
		v.SetUint(n)
		w.SetUint(2 * n)
		n++
	}
	va, vw := reflect.ValueOf(&a).Elem(), reflect.ValueOf(&want).Elem()
	for i := range va.NumField() {
		f, w := va.Field(i), vw.Field(i)
		if f.Kind() == reflect.Array {
			for j := range f.Len() {
				fill(f.Index(j), w.Index(j))
			}
			continue
		}
		fill(f, w)
	}
	b := a
	if a.Add(&b); a != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
}

// TestSameHash: Call-IDs that share a hash are told apart, in whatever order
// their calls end.
func TestSameHash(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {1, 0, 2}, {2, 1, 0}, {1, 2, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			table := NewTable(Options{})
			var calls []*call
			for i := range 3 {
				m, meta := messageOf(t, fields(fmt.Sprintf("0 A>B INVITE 1 call=c%d", i)))
				k := table.keys(m, meta)
				calls = append(calls, table.open(7, m.Get(m.CallID), m, meta, &k))
			}
			left := []int{0, 1, 2}
			for _, n := range order {
				for i := range 3 {
					var want *call
					if slices.Contains(left, i) {
						want = calls[i]
					}
					if got := table.find(7, fmt.Appendf(nil, "c%d", i)); got != want {
						t.Fatalf("with %v left, c%d is %p, want %p", left, i, got, want)
					}
				}
				table.close(calls[n], epoch, record.EndTimeout)
				left = slices.DeleteFunc(left, func(i int) bool { return i == n })
			}
			if len(table.byID) != 0 || table.stalest != nil || len(table.timers) != 0 {
				t.Error("something is left in the empty table")
			}
		})
	}
}

// TestOddMessages: what is not in the books is kept as it is, or dropped
// within bounds.
func TestOddMessages(t *testing.T) {
	s := newScript(t, Limits{MaxMessages: 1000})
	s.line("0 A>B INVITE 1 from=- \"User-Agent: f\xff\xfcr\"")
	s.line("1 B>A 200 INVITE 1 from=-")
	s.line("2 A>B KDMQ 2 from=-")
	s.line("2.1 B>A 200 KDMQ 2 from=-")
	s.line("2.2 A>B SPRINT 2 from=-")
	m, meta := messageOf(t, fields("3 A>B INFO 3 from=-"))
	for i := range 200 {
		meta.Src.Port = uint16(10000 + i)
		s.table.Message(m, meta)
	}
	s.line("4 B>A BYE 1 rev from=-")
	s.line("5 A>B 699 BYE 1 rev from=-")
	s.line("closeall 6")
	r := s.table.Finish(s.closed[0])
	if r.HungUp != record.SideCalled || r.Retransmissions != 0 || r.Infos != 1 || r.MessagesTotal != 207 || r.EndReason != record.EndByeAlone {
		t.Errorf("hung up by %v, %d retransmissions, %d INFO, %d messages, %v", r.HungUp, r.Retransmissions, r.Infos, r.MessagesTotal, r.EndReason)
	}
	if r.Caller.Agent != "f\uFFFDr" {
		t.Errorf("agent %q", r.Caller.Agent)
	}
	for i, want := range []string{"INVITE", "INVITE", "KDMQ", "KDMQ", "SPRINT", "INFO"} {
		if got := r.Messages[i].Method; got != want {
			t.Errorf("message %d is %s, want %s", i, got, want)
		}
	}
	known := make(map[netip.AddrPort]bool)
	for _, m := range r.Messages {
		known[m.Src] = true
	}
	if len(known) != maxEndpoints+1 || !known[netip.AddrPort{}] {
		t.Errorf("%d addresses told apart, want %d and an unknown one", len(known), maxEndpoints)
	}
	if st := s.table.Stats(); st.Responses[6] != 1 || st.Requests[0] != 2 {
		t.Errorf("%+v", st)
	}
}

// TestTextIsBounded: a call that is full of text keeps no more of it.
func TestTextIsBounded(t *testing.T) {
	c := new(call)
	for i := range 200 {
		b := fmt.Appendf(nil, "%0149dx", i)
		if got := c.keep(b); i < 100 && string(c.get(got)) != string(b) || i > 150 && got != (text{}) {
			t.Fatalf("text %d is kept as %q", i, c.get(got))
		}
	}
	size := len(c.bytes)
	if got := c.keep([]byte("000000")); string(c.get(got)) != "000000" || len(c.bytes) != size || size > maxText {
		t.Errorf("%d bytes kept, then %d; known text is %q", size, len(c.bytes), c.get(got))
	}
}

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		call call
		want record.Outcome
	}{
		{call{status: 404, noInvite: true}, record.Partial},
		{call{status: 500, answer: 1}, record.Answered},
		{call{status: 486, wasCanceled: true}, record.Cancelled},
		{call{bye: 1, hungUp: record.SideCaller}, record.Cancelled},
		{call{bye: 1, hungUp: record.SideCalled}, record.NoAnswer},
		{call{}, record.NoAnswer},
		{call{status: 200, bye: 1}, record.NoAnswer},
		{call{status: 408}, record.NoAnswer}, {call{status: 480}, record.NoAnswer}, {call{status: 487}, record.NoAnswer},
		{call{status: 486}, record.Busy}, {call{status: 600}, record.Busy},
		{call{status: 401}, record.AuthFailed}, {call{status: 403}, record.AuthFailed}, {call{status: 407}, record.AuthFailed},
		{call{status: 300}, record.Redirected}, {call{status: 380}, record.Redirected},
		{call{status: 400}, record.Failed}, {call{status: 503}, record.Failed}, {call{status: 603}, record.Failed},
	} {
		if got := c.call.outcome(); got != c.want {
			t.Errorf("status %d, answer %d, bye %d by %v: got %v, want %v", c.call.status, c.call.answer, c.call.bye, c.call.hungUp, got, c.want)
		}
	}
}
