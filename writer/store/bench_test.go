package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ringside/bench/mariadb"
	"ringside/flow/record"
)

// typicalCall is an answered call with 8 messages, 2 streams, 2 media
// endpoints and a leg.
func typicalCall(r *rand.Rand, i int) *record.Call {
	const second = 1_000_000_000
	start := 1_750_000_000*second + int64(i)*2_000_000
	at := func(host, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(host >> 8), byte(host)}), uint16(port))
	}
	host := r.IntN(2000)
	c := &record.Call{
		ID: r.Int64(), CallID: fmt.Sprintf("%016x-%d@pbx%d.example.net", r.Uint64(), i, host), Sensor: 1,
		Start: start, Trying: start + second/100, Ring: start + 2*second, Answer: start + 8*second,
		ByeAt: start + 120*second, End: start + 120*second, Last: start + 121*second,
		Outcome: record.Answered, EndReason: record.EndBye, HungUp: record.SideCaller,
		Caller: record.Party{Number: fmt.Sprintf("+49%09d", r.IntN(1e9)), Domain: "example.net", Name: "Front Desk",
			Tag: fmt.Sprintf("%08x", r.Uint32()), Addr: at(host, 5060), Agent: "Yealink SIP-T46S 66.85.0.5", Contact: "sip:100@10.0.0.1:5060"},
		Called: record.Party{Number: fmt.Sprintf("+44%010d", r.IntN(1e9)), Domain: "trunk.example.com",
			Tag: fmt.Sprintf("%08x", r.Uint32()), Addr: at(1, 5060), Agent: "Asterisk PBX 20.5", Contact: "sip:trunk@10.0.0.1:5060"},
		RequestUser: "004412345", RequestDomain: "trunk.example.com", LastStatus: 200, LastReason: "OK", LastProvisional: 180,
		Invites: 1, VLAN: -1, DSCP: 26, Transport: record.UDP, MessagesTotal: 8,
	}
	c.Legs = []record.Leg{{Tag: c.Called.Tag, First: c.Ring, Answer: c.Answer, Status: 200}}
	for m := range 8 {
		c.Messages = append(c.Messages, record.Message{Time: start + int64(m)*second, Src: c.Caller.Addr, Dst: c.Called.Addr,
			Method: "INVITE", Status: uint16(m%2) * 180, Reason: "Ringing", CSeq: 102, SDP: m == 0})
	}
	for side := record.SideCaller; side <= record.SideCalled; side++ {
		c.Media = append(c.Media, record.Media{Side: side, Kind: "audio", Addr: at(host, 10000+int(side)*2),
			Codecs: "PCMA PCMU telephone-event", Ptime: 20, Mode: "sendrecv", From: start})
		s := record.Stream{CallID: c.CallID, Src: at(host, 10000), Dst: at(1, 20000), SSRC: r.Uint32(), From: side, Codec: "PCMA",
			Payload: 8, Rate: 8000, Ptime: 20, First: c.Answer, Last: c.End,
			MOS:    record.MOS{CQ: 4.36, LQ: 4.4, Min: 4.2 + r.Float64()/10, R: 93, BurstR: 1, Bpl: 25.1, Method: "G.107", Confidence: "published", N: 5600},
			Compat: record.Compat{MosF1: 4.5, MosF1Min: 4.5, MosF2: 4.5, MosF2Min: 4.5, MosAdapt: 4.5, MosAdaptMin: 4.5},
			TTLMin: 63, TTLMax: 63, DSCP: 46, VLAN: -1}
		s.Packets, s.Received, s.Bytes, s.Expected, s.Lost = 5600, 5600, 896000, 5605, 5
		s.LossRuns[0], s.LossRunMax, s.Jitter, s.JitterAvg, s.JitterMax = 5, 1, r.Float64(), 1.5, 7.25
		s.Delay[0], s.DeltaMax, s.SkewPPM = 5600, 41.3, 12.5
		c.Streams = append(c.Streams, s)
	}
	return c
}

// cpuTime is what the process has used, of all cores.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchStores are the databases that inserts are measured on. "mariadb, row by
// row" is what the others are compared with: a prepared INSERT for each row.
var benchStores = []struct {
	name   string
	values int // as dialect.values; 0: what the dialect has
	open   func(testing.TB) *Store
}{
	{"sqlite", 0, func(b testing.TB) *Store { return open(b, filepath.Join(b.TempDir(), "bench.db")) }},
	{"mariadb", 0, openBench},
	{"mariadb, row by row", 1, openBench},
}

// openBench opens a store on a server that waits for the disk as servers do.
func openBench(b testing.TB) *Store {
	b.Helper()
	server, err := mariadb.New()
	if errors.Is(err, mariadb.ErrMissing) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Remove() })
	return open(b, server.DSN("bench"))
}

func BenchmarkInsert(b *testing.B) {
	for _, to := range benchStores {
		for _, batch := range []int{71, 700} { // 71 such calls are 1,000 rows
			b.Run(fmt.Sprintf("%s/calls=%d", to.name, batch), func(b *testing.B) {
				s := to.open(b)
				setValues(b, s, to.values)
				benchmarkInsert(b, s, batch)
			})
		}
	}
}

// setValues has statements insert so many values, 0: what the dialect has.
func setValues(b *testing.B, s *Store, values int) {
	if values == 0 {
		return
	}
	d := *s.dialect
	d.values = values
	in, err := newInserter(context.Background(), s.write, &d)
	if err != nil {
		b.Fatal(err)
	}
	s.inserter.Store(in)
}

func benchmarkInsert(b *testing.B, s *Store, batch int) {
	r := rand.New(rand.NewPCG(1, 2))
	calls := make([]*record.Call, batch)
	n := 0
	var cpu time.Duration
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := range calls {
			calls[i] = typicalCall(r, n)
			n++
		}
		b.StartTimer()
		before := cpuTime(b)
		insert(b, s, calls...)
		cpu += cpuTime(b) - before
	}
	b.ReportMetric(float64(cpu.Microseconds())/float64(n), "cpu-µs/call")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(n*14)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkCall(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "bench.db"))
	r := rand.New(rand.NewPCG(1, 2))
	c := typicalCall(r, 0)
	insert(b, s, c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Call(context.Background(), c.ID); err != nil {
			b.Fatal(err)
		}
	}
}
