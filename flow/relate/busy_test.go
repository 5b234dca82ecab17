package relate

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"ringside/flow/record"
)

// traffic is a busy hour through one SBC: calls of phones and of a trunk, to
// numbers of one area and to a few hotlines, of the average duration of 2 min.
type traffic struct {
	r     *rand.Rand
	calls []*record.Call
}

func host(net, n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(net), byte(n >> 8), byte(n)}), 5060)
}

// one adds a call from one host to another, with a media address of each.
func (x *traffic) one(start, ring, talk int64, caller, called string, from, to netip.AddrPort) *record.Call {
	id := int64(len(x.calls) + 1)
	c := &record.Call{
		ID: id, CallID: fmt.Sprintf("%d@%s", id, from.Addr()), Invites: 1, Outcome: record.Answered,
		Start: start, Answer: start + ring, End: start + ring + talk,
		Caller: record.Party{Number: caller, Addr: from}, Called: record.Party{Number: called, Addr: to}, RequestUser: called,
	}
	if talk == 0 {
		c.Answer, c.Outcome = 0, record.NoAnswer
	}
	for _, h := range []netip.AddrPort{from, to} {
		c.Media = append(c.Media, record.Media{Addr: netip.AddrPortFrom(h.Addr(), uint16(10000+2*x.r.IntN(20000)))})
		c.Streams = append(c.Streams, record.Stream{SSRC: x.r.Uint32()})
	}
	x.calls = append(x.calls, c)
	return c
}

// any makes the facts of a call: when, how long, between which numbers.
func (x *traffic) any() (start, ring, talk int64, caller, called string) {
	start = epoch + x.r.Int64N(3600*second)
	ring = second + x.r.Int64N(15*second)
	if x.r.IntN(3) > 0 {
		talk = int64(x.r.ExpFloat64()*120*float64(second)) + 1
	}
	caller = fmt.Sprintf("+493012%05d", x.r.IntN(20000))
	called = fmt.Sprintf("+493012%05d", 20000+x.r.IntN(20000))
	switch x.r.IntN(10) {
	case 0, 1:
		called = fmt.Sprintf("+49800123456%d", x.r.IntN(3)) // a hotline
	case 2:
		caller = "+49891234500" // the number that a company shows
	case 3:
		caller = "anonymous"
	case 4:
		caller, called = fmt.Sprint(100+x.r.IntN(50)), fmt.Sprint(100+x.r.IntN(50)) // extensions
	}
	return start, ring, talk, caller, called
}

// give hands all calls to a Finder in the order in which they end, and counts
// the right and the wrong links.
func (x *traffic) give(f *Finder, partner map[int64]int64) (right, wrong int) {
	calls := slices.Clone(x.calls)
	slices.SortFunc(calls, func(a, b *record.Call) int { return int(a.End - b.End) })
	for _, c := range calls {
		for _, l := range f.Call(c) {
			if partner[l.First] == l.Second {
				right++
			} else {
				wrong++
			}
		}
	}
	return right, wrong
}

// TestUnrelated: 10,000 calls of an hour that have nothing to do with each
// other, half of them towards the SBC and half from it, give hardly any link.
func TestUnrelated(t *testing.T) {
	x := traffic{r: rand.New(rand.NewPCG(1, 1))}
	for i := range 10000 {
		start, ring, talk, caller, called := x.any()
		from, to := host(1, x.r.IntN(3000)), host(0, 1)
		if i%2 == 1 {
			from, to = to, host(2, x.r.IntN(20))
		}
		x.one(start, ring, talk, caller, called, from, to)
	}
	f := New(Options{})
	_, wrong := x.give(f, nil)
	t.Logf("%d links between 10,000 unrelated calls, %+v", wrong, f.Stats())
	if wrong > 5 {
		t.Errorf("%d links between unrelated calls", wrong)
	}
}

// TestRelated: of 5,000 pairs of legs in an hour nearly all are found, and
// hardly any wrong one.
func TestRelated(t *testing.T) {
	for _, c := range []struct {
		name   string
		out    func(i int) (from netip.AddrPort)
		number func(caller, called string) (string, string)
		found  int
	}{
		{"numbers as they are", func(int) netip.AddrPort { return host(0, 1) }, func(a, b string) (string, string) { return a, b }, 4400},
		{"numbers as they are, another address", func(int) netip.AddrPort { return host(0, 2) }, func(a, b string) (string, string) { return a, b }, 3900},
		{"national numbers with a prefix", func(int) netip.AddrPort { return host(0, 1) }, func(a, b string) (string, string) { return national(a), "77#" + national(b) }, 3900},
		{"the caller masked", func(int) netip.AddrPort { return host(0, 1) }, func(a, b string) (string, string) { return "anonymous", b }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := traffic{r: rand.New(rand.NewPCG(2, 2))}
			partner := make(map[int64]int64)
			for i := range 5000 {
				start, ring, talk, caller, called := x.any()
				a := x.one(start, ring, talk, caller, called, host(1, x.r.IntN(3000)), host(0, 1))
				delay := second/100 + x.r.Int64N(second/2)
				caller, called = c.number(caller, called)
				b := x.one(start+delay, ring-delay-second/100, talk, caller, called, c.out(i), host(2, x.r.IntN(20)))
				partner[a.ID] = b.ID
			}
			f := New(Options{})
			right, wrong := x.give(f, partner)
			t.Logf("of 5,000 pairs %d found, %d wrong, %+v", right, wrong, f.Stats())
			if right < c.found || wrong > 20 {
				t.Errorf("of 5,000 pairs %d found, want %d; %d wrong", right, c.found, wrong)
			}
		})
	}
}

// national is a number as dialled within the country.
func national(s string) string {
	if len(s) > 3 && s[:3] == "+49" {
		return "0" + s[3:]
	}
	return s
}

// TestSameAgain: the same calls in the same order have the same links.
func TestSameAgain(t *testing.T) {
	var want []record.Link
	for range 2 {
		x := traffic{r: rand.New(rand.NewPCG(3, 3))}
		for i := range 2000 {
			start, ring, talk, caller, called := x.any()
			x.one(start, ring, talk, caller, called, host(1, x.r.IntN(3000)), host(0, 1)).ICID = fmt.Sprint(i / 3)
			x.one(start+1, ring, talk, caller, called, host(0, 1), host(2, 1))
		}
		f := New(Options{})
		var got []record.Link
		for _, c := range x.calls {
			got = append(got, f.Call(c)...)
		}
		if want == nil {
			want = got
		}
		if len(got) < 2000 || !slices.Equal(got, want) {
			t.Errorf("%d links, then %d others", len(want), len(got))
		}
	}
}

// BenchmarkCall is one call of a busy hour; half of them have a partner.
func BenchmarkCall(b *testing.B) {
	x := traffic{r: rand.New(rand.NewPCG(4, 4))}
	for i := range 50000 {
		start, ring, talk, caller, called := x.any()
		c := x.one(start, ring, talk, caller, called, host(1, x.r.IntN(3000)), host(0, 1))
		c.SessionID = fmt.Sprintf("%032x;%032x", 1+x.r.Uint64(), 1+x.r.Uint64())
		if i%2 == 0 {
			x.one(start+second/10, ring, talk, caller, called, host(0, 1), host(2, x.r.IntN(20)))
		}
	}
	slices.SortFunc(x.calls, func(a, b *record.Call) int { return int(a.End - b.End) })
	b.ReportAllocs()
	f := New(Options{})
	i := 0
	for b.Loop() {
		if i == len(x.calls) {
			f, i = New(Options{}), 0
		}
		f.Call(x.calls[i])
		i++
	}
}
