package register

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// traffic is random messages of a few transactions, users and addresses, so that
// they meet: requests, their answers, and either of them again.
type traffic struct {
	r    *rand.Rand
	sent []string
}

func (f *traffic) pick(s ...string) string { return s[f.r.IntN(len(s))] }

func (f *traffic) line(clock int) string {
	line := f.request()
	if n := len(f.sent); n > 0 && f.r.IntN(3) > 0 {
		line = f.sent[max(n-1-f.r.IntN(6), 0)]
		if src, rest, _ := strings.Cut(line, " "); f.r.IntN(4) > 0 {
			src, dst, _ := strings.Cut(src, ">")
			line = fmt.Sprintf("%s>%s %s %s", dst, src, f.pick("100", "200", "200", "200", "200", "401", "403", "481", "503"), rest)
		}
	} else {
		f.sent = append(f.sent, line)
	}
	return fmt.Sprintf("%d.%06d %s", clock/1e6, clock%1e6, line)
}

func (f *traffic) request() string {
	line := f.pick("A>P", "P>A", "B>P", "P>B", "A>B", "B>A") + " "
	line += f.pick("REGISTER", "REGISTER", "REGISTER", "REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "OPTIONS", "INFO", "KDMQ", "ACK")
	line += fmt.Sprintf(" %d call=c%d user=%s from=%s", 1+f.r.IntN(4), f.r.IntN(3), f.pick("alice", "carol"), f.pick("a", "b"))
	line += f.pick("", " vias=2", " branch=x", " vias=2 branch=y") + f.pick("", " to=a", " to=b") + f.pick("", "", " auth")
	line += f.pick(
		"", " contact=*", " contact=<sip:a@10.0.0.1>;expires=60", " contact=<sip:a@10.0.0.1>;expires=0", " contact=<sip:a@10.0.0.2:5>,<sip:b@10.0.0.1>",
		" contact=<sip:a@10.0.0.1:9>;+sip.instance='<urn:x>';expires=30", " contact=<sip:a@10.0.0.1:8>;+sip.instance='<urn:x>',<sip:a@10.0.0.1:9>;+sip.instance='<urn:x>';expires=0",
	)
	line += f.pick("", "", " \"Expires: 0\"", " \"Expires: 20\"") + f.pick("", " \"Event: presence\"", " \"Event: dialog\"")
	line += f.pick("", " \"SIP-ETag: t\"", " \"SIP-If-Match: t\"")
	return line + f.pick("", " \"Subscription-State: active;expires=10\"", " \"Subscription-State: terminated\"")
}

// TestRandom: with whatever messages in whatever order, a table holds together,
// its callbacks are in the order of their clocks, and it is empty in the end.
func TestRandom(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var l Limits
			if seed%2 == 0 {
				l = Limits{MaxBindings: 3, MaxExchanges: 3, MaxPeers: 2, MaxTransactions: 5}
			}
			if seed%3 == 0 {
				l.DelDelay = -1
			}
			s := newScript(t, l)
			clock, f := 0, traffic{r: r}
			for i := range 400 {
				clock += 1 + r.IntN(1e6)*r.IntN(2)*(1+r.IntN(20)*r.IntN(2))
				s.line(f.line(clock))
				if i%20 == 0 {
					check(t, s.table)
				}
			}
			s.table.CloseAll(epoch + int64(clock)*1000)
			empty(t, s.table)
			st := s.table.Stats()
			if seed%2 == 1 && st.AttemptsEvicted+st.BindingsEvicted+st.ExchangesEvicted+st.TransactionsEvicted+st.TextLost != 0 {
				t.Errorf("something was given up: %+v", st)
			}
			if n := uint64(strings.Count(s.out.String(), "\n  start=")); n != st.Records || st.Successes == 0 || st.Events == 0 {
				t.Errorf("%d records called back: %+v", n, st)
			}
		})
	}
}

// TestOwners: what comes out does not depend on how many tables share the
// messages, as long as each goes to its owner.
func TestOwners(t *testing.T) {
	for seed := range uint64(20) {
		var want []string
		for _, tables := range []int{1, 2, 5} {
			r := rand.New(rand.NewPCG(seed, 2))
			var got []string
			var all []*Table
			for range tables {
				all = append(all, New(Options{
					Registration: func(r *record.Registration, clock int64) { got = append(got, fmt.Sprintf("%s %+v", ago(clock), *r)) },
					Exchange:     func(x *record.Exchange, clock int64) { got = append(got, fmt.Sprintf("%s %+v", ago(clock), *x)) },
					Event:        func(e *record.Event, clock int64) { got = append(got, fmt.Sprintf("%s %+v", ago(clock), *e)) },
				}))
			}
			clock, f := 0, traffic{r: r}
			for range 300 {
				clock += 1 + r.IntN(4e6)*r.IntN(2)
				m, meta := messageOf(t, words(f.line(clock)))
				all[owner(m, meta)%uint64(tables)].Message(m, meta)
			}
			for _, table := range all {
				table.CloseAll(epoch + int64(clock)*1000)
			}
			slices.Sort(got)
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: %d tables give\n%s\none gives\n%s", seed, tables, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// owner is the hash that routes a message, as a shard does it.
func owner(m *sip.Message, meta *call.Meta) uint64 {
	if h, ok := Owner(m, meta); ok {
		return h >> 32
	}
	h := fnv.New64a()
	h.Write(m.Get(m.CallID))
	return h.Sum64()
}

// TestOwner: requests and responses of one thing have one owner.
func TestOwner(t *testing.T) {
	of := func(line string) uint64 {
		m, meta := messageOf(t, words("0 "+line))
		h, ok := Owner(m, meta)
		if !ok {
			t.Fatalf("%s goes by its Call-ID", line)
		}
		return h
	}
	for _, c := range []struct {
		name, a, b string
		same       bool
	}{
		{"response", "A>P REGISTER 1", "P>A 200 REGISTER 1 call=z", true},
		{"another hop", "A>P REGISTER 1", "P>B REGISTER 1 vias=2", true},
		{"another user", "A>P REGISTER 1", "A>P REGISTER 1 user=bob", false},
		{"OPTIONS", "A>P OPTIONS 1", "P>A 200 OPTIONS 1", true},
		{"OPTIONS the other way", "A>P OPTIONS 1", "P:5070>A OPTIONS 8 call=z", true},
		{"OPTIONS elsewhere", "A>P OPTIONS 1", "A>Q OPTIONS 1", false},
		{"PUBLISH", "A>P PUBLISH 1", "P>A 200 PUBLISH 1 call=z", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if a, b := of(c.a), of(c.b); (a == b) != c.same {
				t.Errorf("%x and %x", a, b)
			}
		})
	}
	m, meta := messageOf(t, words("0 A>P SUBSCRIBE 1"))
	if _, ok := Owner(m, meta); ok {
		t.Error("SUBSCRIBE does not go by its Call-ID")
	}
}

// FuzzMessage feeds whatever parses as SIP: nothing panics, and the table holds
// together. The input is messages with a zero byte between.
func FuzzMessage(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		lines := traffic{r: r}
		var b []byte
		for range 3 {
			b = append(b, messageText(f, words(lines.line(0))[2:])...)
			b = append(b, 0)
		}
		f.Add(b, seed)
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 4))
		s := newScript(t, Limits{MaxBindings: 4, MaxExchanges: 4, MaxPeers: 2, MaxTransactions: 6})
		at := []string{"A", "B", "P"}
		clock := epoch
		for part := range strings.SplitSeq(string(b), "\x00") {
			m := new(sip.Message)
			if _, err := m.Parse([]byte(part)); err != nil {
				continue
			}
			for range 1 + r.IntN(2) {
				clock += r.Int64N(40e9)
				src := r.IntN(3)
				meta := &call.Meta{
					Time: clock + r.Int64N(3) - 1, Clock: clock, VLAN: -1,
					Src: hostOf(t, at[src]), Dst: hostOf(t, at[(src+1+r.IntN(2))%3]),
				}
				s.table.Message(m, meta)
			}
			check(t, s.table)
		}
		if r.IntN(2) == 0 {
			s.table.CloseAll(clock)
		} else {
			s.table.CloseAll(math.MaxInt64)
		}
		empty(t, s.table)
	})
}
