package flow

import (
	"testing"

	"ringside/dataplane/frame"
	"ringside/flow/call"
)

func at(port uint16) frame.Endpoint {
	return frame.Endpoint{Addr: frame.AddrFrom4([]byte{192, 0, 2, 1}), Port: port}
}

func TestDirectory(t *testing.T) {
	d := newDirectory(2) // few buckets: entries share them
	add := func(ref call.Ref, owner uint16, port uint16, from int64, seq uint64) *endpoint {
		e := &endpoint{at: at(port), key: callKey{ref, owner}, from: from, seq: seq}
		d.publish(e)
		return e
	}
	a := add(1, 0, 4000, 10, 1)
	b := add(2, 1, 4000, 20, 2)
	add(1, 0, 4002, 10, 1)
	b2 := add(2, 1, 4000, 30, 5) // named again, with other codecs perhaps
	c := add(3, 0, 4000, 30, 4)
	for port := uint16(5000); port < 5050; port++ {
		add(9, 0, port, 0, 0)
	}

	tests := []struct {
		name  string
		clock int64
		want  []*endpoint
	}{
		{"before anything was said", 9, nil},
		{"at the clock it was said", 10, []*endpoint{a}},
		{"two calls, newest first", 25, []*endpoint{b, a}},
		{"one entry a call, the two newest, equal clocks by sequence", 30, []*endpoint{b2, c}},
	}
	check := func(t *testing.T, clock int64, want []*endpoint) {
		t.Helper()
		m, _ := d.find(at(4000), clock)
		if m.n != len(want) {
			t.Fatalf("%d entries, want %d", m.n, len(want))
		}
		for i, e := range want {
			if m.e[i] != e {
				t.Errorf("entry %d: %+v, want %+v", i, m.e[i], e)
			}
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { check(t, tt.clock, tt.want) })
	}

	t.Run("a call hung up still stands at its last clock, not later", func(t *testing.T) {
		b.until.Store(40)
		b2.until.Store(40)
		check(t, 40, []*endpoint{b2, c})
		check(t, 41, []*endpoint{c, a})
	})
	t.Run("reuse", func(t *testing.T) {
		for _, tt := range []struct {
			clock int64
			key   callKey
			want  bool
		}{
			{39, callKey{5, 0}, false},
			{40, callKey{5, 0}, true},
			{40, callKey{2, 1}, false},
			{40 + reuseWindow - 1, callKey{5, 0}, true},
			{40 + reuseWindow, callKey{5, 0}, false},
		} {
			if got := d.reused(at(4000), tt.key, tt.clock); got != tt.want {
				t.Errorf("at %d for %v: %v", tt.clock, tt.key, got)
			}
		}
	})
	t.Run("remove", func(t *testing.T) {
		d.remove(c)
		d.remove(c)
		check(t, 35, []*endpoint{b2, a})
		if n := d.entries.Load(); n != 54 {
			t.Errorf("%d entries left, want 54", n)
		}
	})
	t.Run("find allocates nothing", func(t *testing.T) {
		if n := testing.AllocsPerRun(100, func() { d.find(at(4000), 35) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// TestEntriesOfOneSegment: messages of three calls come in one segment and name one
// address. Which two of them are taken does not depend on who publishes first.
func TestEntriesOfOneSegment(t *testing.T) {
	at := at2(bob, 6000)
	entries := func() []*endpoint {
		var out []*endpoint
		for i, id := range []string{"c1", "c2", "c3"} {
			out = append(out, &endpoint{at: at, key: callKey{call.Ref(i + 1), uint16(i)}, from: 5, seq: 7, id: callHash([]byte(id))})
		}
		return out
	}
	var want match
	for n, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		d, e := newDirectory(4), entries()
		for _, i := range order {
			d.publish(e[i])
		}
		m, _ := d.find(at, 10)
		if n == 0 {
			want = m
		}
		if m.n != 2 || m.e[0].key != want.e[0].key || m.e[1].key != want.e[1].key {
			t.Errorf("%v: %v and %v", order, m.e[0].key, m.e[1].key)
		}
	}
}
