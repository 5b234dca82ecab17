package flow

import (
	"math/rand/v2"
	"slices"
	"testing"

	"ringside/flow/record"
)

func key(n uint32) flowKey {
	return flowKey{src: at(0).Addr, dst: at(0).Addr, sport: uint16(n), dport: 4000, ssrc: n >> 16}
}

// TestStreamsTable holds the table against a map through random additions and
// removals.
func TestStreamsTable(t *testing.T) {
	const limit = 3000
	table := newStreams(limit)
	table.wheel.now = 1000
	want := make(map[flowKey]uint32)
	var keys []flowKey
	random := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		k := key(random.Uint32N(4000))
		i := table.find(&k, k.hash())
		w, there := want[k]
		if there != (i != noStream) || there && i != w {
			t.Fatalf("find %v: %d, want %d %v", k, i, w, there)
		}
		switch {
		case !there:
			i = table.add(&k, k.hash(), true)
			if (i == noStream) != (len(want) == limit) {
				t.Fatalf("add with %d of %d entries: %d", len(want), limit, i)
			}
			if i != noStream {
				want[k] = i
				keys = append(keys, k)
			}
		case random.IntN(3) > 0:
			table.remove(i)
			delete(want, k)
			keys = slices.DeleteFunc(keys, func(o flowKey) bool { return o == k })
		}
		if table.used != len(want) {
			t.Fatalf("%d used, want %d", table.used, len(want))
		}
	}
	for k, w := range want {
		if i := table.find(&k, k.hash()); i != w {
			t.Fatalf("at the end, find %v: %d, want %d", k, i, w)
		}
	}
}

func TestStreamsWithoutCallLeaveRoom(t *testing.T) {
	table := newStreams(100)
	for n := range uint32(100) {
		k := key(n)
		if i := table.add(&k, k.hash(), false); (i == noStream) != (n >= 75) {
			t.Fatalf("stream %d without a call: %d", n, i)
		}
	}
	k := key(1000)
	if table.add(&k, k.hash(), true) == noStream {
		t.Error("no room for a stream of a call")
	}
}

func TestBindings(t *testing.T) {
	table := newStreams(100)
	var n [3]uint32
	for i := range n {
		k := key(uint32(i))
		n[i] = table.add(&k, k.hash(), true)
	}
	x, y := callKey{1, 0}, callKey{1, 1}
	table.bind(n[0], x, record.SideCaller, 0, 0)
	table.bind(n[1], x, record.SideCalled, 0, 0)
	table.bind(n[1], y, record.SideCaller, 0, 0)
	walk := func(k callKey) (out []uint32) {
		i, ok := table.ofCall[k]
		for ; ok && i != noStream; i = table.coldAt(i).binding(k).next {
			out = append(out, i)
		}
		return out
	}
	if got := walk(x); !slices.Equal(got, []uint32{n[1], n[0]}) {
		t.Errorf("streams of x: %v", got)
	}
	if got := walk(y); !slices.Equal(got, []uint32{n[1]}) {
		t.Errorf("streams of y: %v", got)
	}
	if table.calls != 2 {
		t.Errorf("%d bound streams, want 2", table.calls)
	}
	if !table.coldAt(n[2]).unbound() || table.coldAt(n[1]).unbound() {
		t.Error("unbound is wrong")
	}
}

// TestWheel: an entry is looked at when its tick is over, and not before,
// whatever steps the clock takes.
func TestWheel(t *testing.T) {
	for _, step := range []int64{1, 3, 100, wheelSlots - 1, wheelSlots + 7, 5000} {
		table := newStreams(100)
		table.expire(7000<<tickShift, nil)
		due := make(map[uint32]int64)
		for n := range uint32(60) {
			k := key(n)
			i := table.add(&k, k.hash(), false)
			due[i] = 7000 + int64(n)*int64(n)%wheelSlots
			table.schedule(i, due[i])
		}
		for now := int64(7000); now < 7000+2*wheelSlots; now += step {
			table.expire(now<<tickShift, func(i uint32, tick int64) {
				if want := due[i] + 1; tick != want {
					t.Errorf("step %d: entry %d at %d, want %d", step, i, tick, want)
				}
				delete(due, i)
			})
			for i, d := range due {
				if d < now {
					t.Errorf("step %d: entry %d of tick %d still there at %d", step, i, d, now)
				}
			}
		}
		table.expire((7000+6*wheelSlots+5000)<<tickShift, func(i uint32, _ int64) { delete(due, i) })
		if len(due) != 0 || table.wheel.count != 0 {
			t.Errorf("step %d: %d left, %d counted", step, len(due), table.wheel.count)
		}
	}
}
