package store

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

var (
	fillCalls = flag.Int("fill", 0, "fill a store with so many calls, for TestTen and BenchmarkTen; 0: skip them")
	fillTimes = flag.Int("fill-times", 20, "how many times TestTen asks each question")
	fillPath  = flag.String("fill-db", "", "the store that -fill is about: a new file, or a server's empty database; one that has been filled is used as it is")
)

// The calls of -fill are those of one day, and of as many days before it as it
// takes, which are like it. filledDay is when the last day begins.
var filledDay = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

const (
	fillDays = 30
	// rareNumber made three calls in all, and rareAddr one.
	rareNumber = "+88213000001"
)

var rareAddr = netip.MustParseAddr("198.51.100.77")

// plausible is a call as a mid-sized carrier's SBC sees it: users call by few
// trunks, each called number is called again, most calls are good.
func plausible(r *rand.Rand, i, n int, day time.Time) *record.Call {
	// More calls at noon than at night.
	at := float64(i) / float64(n)
	at -= 0.8 * math.Sin(2*math.Pi*at) / (2 * math.Pi)
	start := day.UnixNano() + int64(at*24*3600e9)
	user := int(math.Abs(r.NormFloat64()) * 4000)
	peer := int(math.Pow(r.Float64(), 3) * 2e6)
	trunk := int(math.Abs(r.NormFloat64()) * 6)
	c := &record.Call{
		ID: r.Int64N(math.MaxInt64/4) * 2, CallID: fmt.Sprintf("%016x@10.7.0.%d", r.Uint64(), trunk), Sensor: uint16(1 + i%3),
		Start: start, Trying: start + 20e6, End: start + 8e9, Last: start + 9e9, VLAN: -1, Transport: record.UDP,
		Caller: record.Party{Number: fmt.Sprintf("+4930555%05d", user), Domain: "sbc.example.net", Tag: fmt.Sprintf("%08x", r.Uint32()),
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 20, byte(user >> 8), byte(user)}), 5060), Agent: fmt.Sprintf("Yealink SIP-T4%d 66.85.0.5", user%8)},
		Called: record.Party{Number: fmt.Sprintf("+4%d%09d", peer%10, peer*431), Domain: "trunk.example.com",
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 7, 0, byte(trunk)}), 5060), Agent: "Asterisk PBX 20.5"},
		RequestUser: "x", RequestDomain: "trunk.example.com", Invites: 1, MessagesTotal: 9, LastProvisional: 180,
	}
	c.EndReason, c.Outcome, c.LastStatus = record.EndRejected, record.Failed, 503
	switch p := r.Float64(); {
	case p < 0.70:
		answered(r, c)
		return c
	case p < 0.80:
		c.Outcome, c.LastStatus = record.Busy, 486
	case p < 0.90:
		c.Outcome, c.LastStatus, c.EndReason = record.Cancelled, 487, record.EndCancel
	case p < 0.95:
		c.Outcome, c.LastStatus = record.NoAnswer, 480
	case p < 0.98:
		c.LastStatus = 404
	case p < 0.98002:
		c.LastStatus = 488
	}
	c.Ring = start + 1e9 + int64(r.ExpFloat64()*1e9)
	return c
}

func answered(r *rand.Rand, c *record.Call) {
	c.Outcome, c.LastStatus, c.EndReason, c.HungUp = record.Answered, 200, record.EndBye, record.SideCaller
	c.Ring = c.Start + 1e9 + int64(r.ExpFloat64()*1e9)
	c.Answer = c.Ring + int64(r.ExpFloat64()*6e9)
	c.ByeAt = c.Answer + int64(r.ExpFloat64()*150e9)
	c.End, c.Last = c.ByeAt, c.ByeAt+1e8
	mos, loss := 4.35+r.Float64()/20, 0.0
	switch p := r.Float64(); {
	case p < 0.00001:
		mos, loss = 1.2, 40
	case p < 0.03:
		mos, loss = 1.8+2*r.Float64(), 10*r.Float64()
	}
	media := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 8, 0, byte(c.Called.Addr.Addr().As4()[3])}), 20000)
	s := record.Stream{CallID: c.CallID, Src: netip.AddrPortFrom(c.Caller.Addr.Addr(), 10000), Dst: media, Codec: "PCMA", MOS: record.MOS{LQ: mos}}
	s.Expected, s.Lost, s.JitterMax, s.Packets = 10000, uint64(loss*100), 10*r.Float64(), 10000
	c.Streams = []record.Stream{s}
}

// filled is a store with the calls of -fill.
func filled(t testing.TB) *Store {
	t.Helper()
	if *fillCalls == 0 || *fillPath == "" {
		t.Skip("give -fill CALLS and -fill-db STORE: it takes some minutes and, of 10 million calls, 15 GB")
	}
	s := open(t, *fillPath)
	var have int64
	if err := s.read.QueryRow("SELECT COUNT(*) FROM (SELECT 1 FROM calls LIMIT 1) AS any_call").Scan(&have); err != nil {
		t.Fatal(err)
	}
	if have > 0 {
		return s
	}
	began := time.Now()
	perDay := *fillCalls / fillDays
	r := rand.New(rand.NewPCG(7, 7))
	if s.server == nil {
		execOn(t, s.write, "PRAGMA synchronous = OFF")
	}
	batch := make([]*record.Call, 0, 2000)
	for i := range perDay {
		if batch = append(batch, plausible(r, i, perDay, filledDay)); len(batch) == cap(batch) || i == perDay-1 {
			insert(t, s, batch...)
			batch = batch[:0]
		}
	}
	t.Logf("%d calls of a day inserted in %v", perDay, time.Since(began))
	var script strings.Builder
	for days := 1; days < fillDays; days++ {
		copyDay(&script, days)
	}
	s = runScript(t, s, script.String())
	var rare []*record.Call
	for i, days := range []int{1, 11, 28} {
		c := plausible(r, 1000*i, perDay, filledDay.AddDate(0, 0, -days))
		c.ID, c.Caller.Number = c.ID+1, rareNumber
		rare = append(rare, c)
	}
	rare[1].Called.Addr = netip.AddrPortFrom(rareAddr, 5060)
	insert(t, s, rare...)
	if s.server == nil {
		execOn(t, s.write, "PRAGMA wal_checkpoint(TRUNCATE)")
		if i, err := os.Stat(*fillPath); err == nil {
			t.Logf("the file has %d MiB", i.Size()>>20)
		}
	} else {
		execOn(t, s.write, "ANALYZE TABLE calls, call_addr")
	}
	t.Logf("filled in %v", time.Since(began))
	return s
}

// fast are words for SQLite's own program around a long script: no log, and the
// indexes that are in no order of time made at the end.
const (
	fastBefore = `PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -1000000;
BEGIN;
DROP INDEX calls_id;
DROP INDEX calls_call_id;
`
	fastAfter = `CREATE INDEX calls_id ON calls (id);
CREATE INDEX calls_call_id ON calls (call_id);
COMMIT;
PRAGMA journal_mode = WAL;
`
)

// runScript runs statements, each of which ends a line: of SQLite by its own
// program if that is there, which is many times faster.
func runScript(t testing.TB, s *Store, script string) *Store {
	t.Helper()
	if program, err := exec.LookPath("sqlite3"); err == nil && s.server == nil {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-bail", *fillPath)
		cmd.Stdin = strings.NewReader(fastBefore + script + fastAfter)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("sqlite3: %v: %s", err, out)
		}
		return open(t, *fillPath)
	}
	for line := range strings.Lines(script) {
		execOn(t, s.write, strings.TrimSpace(line))
	}
	return s
}

// copyDay writes what copies the last day to a day so many days before, table by
// table, with ids of its own.
func copyDay(script *strings.Builder, days int) {
	shift := int64(days) * 24 * hourNs
	from, to := filledDay.UnixNano(), filledDay.AddDate(0, 0, 1).UnixNano()
	copyRows := func(table string, columns []string, only, by string, change map[string]string) {
		list, values := "", ""
		for i, c := range columns {
			if i > 0 {
				list, values = list+", ", values+", "
			}
			list += c
			if v, ok := change[c]; ok {
				c = v
			}
			values += c
		}
		for at := from; at < to; at += hourNs { // in steps, each in the log at once
			fmt.Fprintf(script, "INSERT INTO %s (%s) SELECT %s FROM %s WHERE %s %s >= %d AND %s < %d;\n", table, list, values, table, only, by, at, by, at+hourNs)
		}
	}
	at := func(c string) string { return fmt.Sprintf("CASE WHEN %s = 0 THEN 0 ELSE %s - %d END", c, c, shift) }
	id := fmt.Sprintf("id + %d", 2*days)
	times := map[string]string{"id": id}
	for _, c := range []string{"start_at", "trying_at", "ring_at", "answer_at", "bye_at", "end_at", "last_at"} {
		times[c] = at(c)
	}
	copyRows(callTable.name, callTable.columns(), "", "start_at", times)
	copyRows(addrTable.name, addrTable.columns(), "", "start_at", map[string]string{"start_at": at("start_at"), "id": id, "hour": fmt.Sprintf("hour - %d", 24*days)})
	rolled := map[string]string{"from_at": at("from_at")}
	for _, r := range []table[rollupRow]{minuteTable, hourTable} {
		seen := map[string]bool{}
		for i := range dimensions {
			if d := dimensions[i]; d.grain != unkept && !seen[d.kept()] {
				seen[d.kept()] = true
				copyRows(r.name, r.columns(), "dim = '"+d.kept()+"' AND", "from_at", rolled)
			}
		}
	}
}
