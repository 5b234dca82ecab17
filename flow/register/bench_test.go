package register

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// phone is one registration as real phones write it, about 600 bytes a request.
func phone(t testing.TB, n int, status int, cseq int, auth bool) (*sip.Message, *call.Meta) {
	start := "REGISTER sip:voip.example.com SIP/2.0\r\n"
	if status != 0 {
		start = fmt.Sprintf("SIP/2.0 %d %s\r\n", status, reasons[status])
	}
	ip := fmt.Sprintf("10.%d.%d.%d", 1+n>>16, n>>8&255, n&255)
	b := start + fmt.Sprintf("Via: SIP/2.0/UDP %s:5060;rport;branch=z9hG4bK-%d-%d\r\n", ip, n, cseq) +
		fmt.Sprintf("From: \"Phone %d\" <sip:user%07d@voip.example.com>;tag=f%d\r\n", n, n, n) +
		fmt.Sprintf("To: <sip:user%07d@voip.example.com>\r\n", n) +
		fmt.Sprintf("Call-ID: %08x-cafe-4711-beef-%012d@%s\r\nCSeq: %d REGISTER\r\nMax-Forwards: 70\r\n", n*7919, n, ip, cseq) +
		fmt.Sprintf("Contact: <sip:user%07d@%s:5060;transport=udp>;expires=3600;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-%012x>\"\r\n", n, ip, n) +
		"User-Agent: Example VP-530P 53.80.0.90\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n"
	if auth {
		b += fmt.Sprintf("Authorization: Digest username=\"user%07d\", realm=\"voip.example.com\", nonce=\"5f8a\", uri=\"sip:voip.example.com\", response=\"d41d8cd98f00b204e9800998ecf8427e\"\r\n", n)
	}
	if status == 401 {
		b += "WWW-Authenticate: Digest realm=\"voip.example.com\", nonce=\"5f8a\"\r\n"
	}
	m := new(sip.Message)
	if _, err := m.Parse([]byte(b + "Content-Length: 0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	meta := &call.Meta{VLAN: -1, Transport: record.UDP}
	meta.Src = frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, byte(1 + n>>16), byte(n >> 8), byte(n)}), Port: 5060}
	meta.Dst = hostOf(t, "P")
	if status != 0 {
		meta.Src, meta.Dst = meta.Dst, meta.Src
	}
	return m, meta
}

// TestMemory: 100,000 registrations take at most 100 MiB in all.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("registers 100,000 phones")
	}
	const phones = 100_000
	before := heap()
	table := New(Options{Limits: Limits{MaxBindings: phones}})
	clock := epoch
	for n := range phones {
		for _, step := range []struct {
			status, cseq int
			auth         bool
		}{{0, 2, true}, {200, 2, true}} {
			m, meta := phone(t, n, step.status, step.cseq, step.auth)
			clock += 1e6 // a thousand messages a second
			meta.Time, meta.Clock = clock, clock
			table.Message(m, meta)
		}
	}
	used := heap() - before
	st := table.Stats()
	if st.Bound != phones || st.BindingsEvicted+st.TextLost != 0 {
		t.Errorf("not all are bound: %+v", st)
	}
	t.Logf("%d bytes in all, %d for each binding", used, used/phones)
	if used > 100<<20 {
		t.Errorf("%d registrations take %d bytes", phones, used)
	}
	runtime.KeepAlive(table)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// TestFlood: REGISTER of random addresses of record stay within the limits, and
// do not push out the phones that are bound.
func TestFlood(t *testing.T) {
	const limit = 2000
	table := New(Options{Limits: Limits{MaxBindings: limit, MaxTransactions: 1000}})
	clock := epoch
	send := func(n, status, cseq int) {
		m, meta := phone(t, n, status, cseq, false)
		clock += 1e5
		meta.Time, meta.Clock = clock, clock
		table.Message(m, meta)
	}
	for n := range 500 {
		send(n, 0, 1)
		send(n, 200, 1)
	}
	for n := range 20_000 {
		send(1000+n, 0, 1)
		if n%2 == 0 {
			send(1000+n, 401, 1)
		}
	}
	st := table.Stats()
	if st.Bound != 500 || st.BindingsEvicted != 0 || st.Attempts+st.Bound != limit || st.AttemptsEvicted != 20_000-limit+500 {
		t.Errorf("%+v", st)
	}
	if st.Transactions > 1000 || st.TransactionsEvicted == 0 {
		t.Errorf("transactions: %+v", st)
	}
	check(t, table)
	table.CloseAll(math.MaxInt64)
	empty(t, table)
}

// renewal is the messages of a renewal that is challenged, of a bound phone.
func renewal(t testing.TB) (*Table, func()) {
	table := New(Options{})
	clock := epoch
	var m [4]*sip.Message
	var meta [4]*call.Meta
	for i := range m {
		m[i], meta[i] = phone(t, 7, []int{0, 401, 0, 200}[i], 1+i/2, i > 1)
	}
	return table, func() {
		for i := range m {
			clock += 2e9 // so that all is forgotten before it comes again
			meta[i].Time, meta[i].Clock = clock, clock
			table.Message(m[i], meta[i])
		}
	}
}

func TestNoAllocation(t *testing.T) {
	table, renew := renewal(t)
	for range 10 {
		renew()
	}
	if n := testing.AllocsPerRun(100, renew); n != 0 {
		t.Errorf("a renewal takes %g allocations", n)
	}
	if st := table.Stats(); st.Created != 1 || st.Bound != 1 || st.Successes != st.Challenges || st.Repeated+st.Retransmissions != 0 {
		t.Errorf("%+v", st)
	}
	for _, lines := range [][]string{
		{"P>A OPTIONS 1", "A>P 200 OPTIONS 1"},
		{"A>P SUBSCRIBE 1 \"Event: x\"", "P>A 200 SUBSCRIBE 1", "P>A NOTIFY 1 from=b to=a \"Event: x\" \"Subscription-State: active\"", "A>P 200 NOTIFY 1 from=b to=a"},
		{"A>P INFO 1", "P>A 481 INFO 1"},
	} {
		t.Run(words(lines[0])[1], func(t *testing.T) {
			table := New(Options{})
			var messages []*sip.Message
			var metas []*call.Meta
			for _, line := range lines {
				m, meta := messageOf(t, words("0 "+line))
				messages, metas = append(messages, m), append(metas, meta)
			}
			clock := epoch
			run := func() {
				for i, m := range messages {
					clock += 10e9
					metas[i].Time, metas[i].Clock = clock, clock
					table.Message(m, metas[i])
				}
			}
			for range 10 {
				run()
			}
			if n := testing.AllocsPerRun(100, run); n != 0 {
				t.Errorf("%g allocations", n)
			}
			if st := table.Stats(); st.Repeated+st.Retransmissions+st.Stray != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// BenchmarkRegister is the four messages of a renewal that is challenged, of one
// of 2,000 phones in a table of 20,000 that are bound.
func BenchmarkRegister(b *testing.B) {
	table := New(Options{})
	clock := epoch
	take := func(m *sip.Message, meta *call.Meta) {
		clock += 2e6
		meta.Time, meta.Clock = clock, clock
		table.Message(m, meta)
	}
	var messages [2000][4]*sip.Message
	var metas [2000][4]*call.Meta
	for n := range 20_000 {
		for i := range 4 {
			m, meta := phone(b, n, []int{0, 401, 0, 200}[i], 1+i/2, i > 1)
			take(m, meta)
			if n < len(messages) {
				messages[n][i], metas[n][i] = m, meta
			}
		}
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for i, m := range messages[n] {
			take(m, metas[n][i])
		}
		n = (n + 1) % len(messages)
	}
}
