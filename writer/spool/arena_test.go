package spool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// Chunks never overlap, and all memory is one again when all are given back.
func TestArena(t *testing.T) {
	a, err := newArena(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.close() }()
	r := rand.New(rand.NewPCG(1, 1))
	type held struct {
		page  int32
		order uint8
	}
	var all []held
	owner := make([]bool, a.pages())
	set := func(h held, to bool) {
		for p := h.page; p < h.page+1<<h.order; p++ {
			if owner[p] == to {
				t.Fatalf("page %d is given or taken twice", p)
			}
			owner[p] = to
		}
	}
	pages := 0
	for range 20000 {
		if r.IntN(2) == 0 || len(all) == 0 {
			h := held{order: uint8(r.IntN(maxOrder + 1))}
			if h.page = a.get(h.order, 0); h.page == none {
				continue
			}
			set(h, true)
			all, pages = append(all, h), pages+1<<h.order
		} else {
			i := r.IntN(len(all))
			h := all[i]
			all[i] = all[len(all)-1]
			all, pages = all[:len(all)-1], pages-1<<h.order
			set(h, false)
			a.put(h.page, h.order)
		}
		if used, _ := a.use(); used != pages {
			t.Fatalf("%d pages in use, want %d", used, pages)
		}
	}
	for _, h := range all {
		a.put(h.page, h.order)
	}
	for n := range a.pages() >> maxOrder {
		if a.get(maxOrder, 0) == none {
			t.Fatalf("only %d large chunks after all was given back", n)
		}
	}
	if a.get(0, 0) != none {
		t.Error("more than there is was given")
	}
}

// A hundred thousand calls at a time take the arena to its last page and no
// further: what does not fit is refused and counted, RTP before SIP.
func TestArenaBudget(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Memory: 256 << 20, ChunkAge: time.Hour})
	sh := s.Shard(0)
	const calls = 100_000
	tapes := make([]Tape, calls)
	media, signal := 0, 0
	data := datagram(1, 2, make([]byte, 200))
	for i := range tapes {
		if sh.Put(&tapes[i], RTP, fmt.Sprint(i), t0, frame.LinkEthernet, &pcap.Packet{Time: t0, Data: data}) {
			media++
		}
	}
	if used, _ := s.arena.use(); used != s.arena.pages()*7/8 || media != used {
		t.Errorf("RTP of %d calls uses %d of %d pages", media, used, s.arena.pages())
	}
	for i := range tapes {
		var tape Tape
		if sh.Put(&tape, SIP, fmt.Sprint(i), t0, frame.LinkEthernet, &pcap.Packet{Time: t0, Data: data}) {
			signal++
		}
	}
	st := s.Stats()
	if st.Used != st.Pages || st.Pages != 256<<20/pageBytes || signal != st.Pages/8 {
		t.Errorf("%d of %d pages used, SIP of %d calls", st.Used, st.Pages, signal)
	}
	if sum(st.Refused) != uint64(2*calls-media-signal) {
		t.Errorf("%d refused are counted, %d were", sum(st.Refused), 2*calls-media-signal)
	}
}

func TestDrop(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	var tape, other Tape
	sh := s.Shard(0)
	p := &pcap.Packet{Time: t0, Data: sipFrame("a", 1)}
	sh.Put(&tape, SIP, "a", t0, frame.LinkEthernet, p)
	sh.Put(&other, SIP, "b", t0, frame.LinkEthernet, p)
	sh.Drop(&tape)
	sh.End(&other)
	s.Flush()
	if got, _ := fetchAll(t, s, Query{Keys: []string{"a"}}); len(got) != 0 {
		t.Errorf("%d packets of what was dropped", len(got))
	}
	if got, _ := fetchAll(t, s, Query{Keys: []string{"b"}}); len(got) != 1 {
		t.Errorf("%d packets of what was not", len(got))
	}
	if st := s.Stats(); st.Dropped[SIP].Packets != 1 || st.Used != 0 {
		t.Errorf("%+v", st)
	}
}

func TestPutDoesNotAllocate(t *testing.T) {
	o := Options{Dir: t.TempDir(), Memory: 64 << 20}
	s := open(t, o)
	sh := s.Shard(0)
	var tapes [64]Tape
	p := &pcap.Packet{Data: datagram(1, 2, make([]byte, 172))}
	n := 0
	put := func() {
		at := t0 + int64(n)*1000
		p.Time = at
		sh.Put(&tapes[n%len(tapes)], RTP, "call", at, frame.LinkEthernet, p)
		n++
	}
	if allocs := testing.AllocsPerRun(5000, put); allocs != 0 {
		t.Errorf("%v allocations for a packet", allocs)
	}
}

func benchmarkPut(b *testing.B, ladder compress.Ladder) {
	o := Options{Dir: b.TempDir(), Memory: 256 << 20}
	for c := range o.Ladders {
		o.Ladders[c] = ladder
	}
	s := open(b, o)
	sh := s.Shard(0)
	tapes := make([]Tape, 1000)
	r := rand.New(rand.NewPCG(1, 1))
	payload := make([]byte, 172)
	for i := range payload {
		payload[i] = byte(r.Uint32())
	}
	p := &pcap.Packet{Data: datagram(1, 2, payload)}
	b.SetBytes(int64(len(p.Data)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		at := t0 + int64(n)*10_000
		p.Time = at
		for !sh.Put(&tapes[n%len(tapes)], RTP, "call@example.com", at, frame.LinkEthernet, p) {
			time.Sleep(100 * time.Microsecond) // measured is what the writer gets done
		}
		n++
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkPut(b *testing.B) {
	for _, name := range []string{"plain", "lz4", "zstd"} {
		b.Run(name, func(b *testing.B) { benchmarkPut(b, ladders[name]) })
	}
}
