package flow

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/rule"
)

// ipip wraps the IP packet of a frame in another one, in fragments at most so long.
func (w *wire) ipip(at int64, eth []byte, id uint16, longest int) {
	p := &frame.Packet{Src: at2(frame.AddrFrom4([]byte{192, 0, 2, 1}), 0), Dst: at2(frame.AddrFrom4([]byte{192, 0, 2, 2}), 0), TTL: 9}
	inner := eth[14:]
	for off := 0; off < len(inner); off += longest {
		to := min(off+longest, len(inner))
		w.add(at+int64(off), ipv4(p, 4, id, inner[off:to], off, to < len(inner)))
	}
}

// TestRecordFragments: datagrams in fragments that come in any order, in tunnels
// whose packets are fragments too.
func TestRecordFragments(t *testing.T) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 3))
		sc := callWithMedia()
		slices.SortStableFunc(sc.packets, func(a, b frame.Packet) int { return int(a.Time - b.Time) })
		w := &wire{}
		for i := range sc.packets {
			p := &sc.packets[i]
			n := len(w.frames)
			w.udp(p, []int{8 + r.IntN(len(p.Payload)-8)})
			if r.IntN(2) == 0 { // what it takes comes through a tunnel
				parts := slices.Clone(w.frames[n:])
				w.frames = w.frames[:n]
				for _, f := range parts {
					w.ids++
					w.ipip(f.Time, f.Data, w.ids, 40+8*r.IntN(20))
				}
			}
			parts := w.frames[n:]
			r.Shuffle(len(parts), func(i, j int) { parts[i].Time, parts[j].Time = parts[j].Time, parts[i].Time })
		}
		w.done()
		f := w.films(t, allRules, Options{})
		f.all(t, w)
	}
}

// TestRecordMirror: of what a mirror port delivers twice one copy is recorded.
func TestRecordMirror(t *testing.T) {
	sc := callWithMedia()
	for at := 2 * time.Second; at < 4*time.Second; at += 200 * time.Millisecond {
		sc.rtcp(at, at2(alice, 4001), at2(bob, 6001), 200, 1)
		sc.rtcp(at+time.Millisecond, at2(bob, 6001), at2(alice, 4001), 201, 2)
	}
	w := plainWire(sc)
	for _, f := range slices.Clone(w.frames) {
		f.Time += 1e6
		f.Data = slices.Clone(f.Data)
		f.Data[14+8]--
		w.frames = append(w.frames, f)
	}
	w.done()
	f := w.films(t, allRules, Options{Dedup: DedupOn})
	w.frames = slices.DeleteFunc(w.frames, func(f frame.Frame) bool { return f.Data[14+8] == 63 })
	f.all(t, w)
}

// TestRecordLoops: each pass of a replay is recorded under Call-IDs of its own.
func TestRecordLoops(t *testing.T) {
	w := plainWire(callWithMedia())
	want := ""
	for _, workers := range []int{1, 3} {
		f, records, _ := w.film(t, allRules, Options{Workers: workers}, 7, 3)
		if want == "" {
			want = records
		} else if records != want {
			t.Error(differs(records, want))
		}
		keys := make(map[string]int)
		for _, s := range f.shots {
			keys[s.key]++
		}
		if len(keys) != 3 || len(f.shots) != 3*len(w.frames) {
			t.Errorf("%v of %d frames", keys, len(w.frames))
		}
	}
}

// crowd is many calls at once, with a stream each.
func crowd(calls int, length time.Duration) *script {
	var sc script
	for i := range calls {
		sc.call(fmt.Sprint("c", i), time.Duration(i)*10*time.Millisecond, length+3*time.Second, 4000+2*i, 6000+2*i)
		sc.rtp(time.Second+time.Duration(i)*10*time.Millisecond, length+2*time.Second, at2(alice, uint16(4000+2*i)), at2(bob, uint16(6000+2*i)), 0, uint32(i), 160)
	}
	return &sc
}

// TestRecordShortMemory: memory that is too small for the look-back, for one
// batch, or for anything. The records stay as they are, but for what was missed.
func TestRecordShortMemory(t *testing.T) {
	const late = "rule late: status 200 -> sip full, rtp full, lookback 60s\ndefault -> sip none, rtp none\n"
	w := plainWire(crowd(60, 8*time.Second))
	plain, _ := w.read(t, Options{Workers: 1}, 100, 1, 2)
	for _, tt := range []struct {
		name         string
		pages, size  int
		missed, none bool
		rules        string
	}{
		{"enough", 64, 100, false, false, allRules},
		{"short look-back", 3, 50, false, false, allRules},
		{"short look-back that is wanted", 3, 50, true, false, late},
		{"short of a batch", 2, 5000, true, false, allRules},
		{"one page", 1, 100, true, true, allRules},
		{"no memory", 0, 100, true, true, allRules},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, workers := range []int{1, 2, 3, 4} {
				if testing.Short() && workers%2 == 0 {
					continue
				}
				o := Options{Workers: workers, Memory: make([]byte, workers*tt.pages*keptPage)}
				if tt.pages == 1 {
					o.Memory = make([]byte, keptPage)
				}
				f, records, st := w.film(t, tt.rules, o, tt.size, 1)
				if got := unstored(records); got != plain {
					t.Fatalf("%d workers: %s", workers, differs(got, plain))
				}
				if missed := strings.Contains(records, `"missed"`); missed != tt.missed && tt.rules == allRules {
					t.Errorf("%d workers: missed %v, want %v: %d not kept, %d recorded", workers, missed, tt.missed, st.NotKept, st.Recorded)
				}
				if none := len(f.shots) == 0; none != tt.none {
					t.Errorf("%d workers: %d recorded", workers, len(f.shots))
				}
				if tt.rules == allRules && f.recorded(t, records)+int(st.NotKept) != len(w.frames) {
					t.Errorf("%d workers: %d recorded and %d not kept of %d", workers, len(f.shots), st.NotKept, len(w.frames))
				}
			}
		})
	}
}

// recorded compares what the records say with what the recorder got, of calls
// of which nothing came late.
func (f *film) recorded(t *testing.T, records string) (n int) {
	t.Helper()
	got := make(map[string]uint32)
	for _, s := range f.shots {
		got[fmt.Sprint(s.class, " ", s.key)]++
	}
	var all []record.Call
	if err := json.Unmarshal([]byte(records), &all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		c := &all[i]
		if c.MessagesTotal == 0 {
			continue // no call
		}
		for class, is := range [2]record.Stored{rule.SIP: c.SIPStored, rule.RTP: c.RTPStored} {
			on := fmt.Sprint(rule.Class(class), " ", c.CallID)
			if is.Packets != got[on] {
				t.Errorf("%s: %d stored by the record, %d by the recorder", on, is.Packets, got[on])
			}
			if f.refuse > 0 && is.Missed != f.refused[on] {
				t.Errorf("%s: %d missed by the record, %d refused by the recorder", on, is.Missed, f.refused[on])
			}
			n += int(is.Packets)
		}
	}
	return n
}

// TestRecordRandom: captures at random, with rules that come true at any time. The
// same is recorded for any number of workers and any batches, and the records
// are those of a run that records nothing.
func TestRecordRandom(t *testing.T) {
	const rules = "rule gone: status 481 -> sip full, rtp header, lookback 20s\n" +
		"rule bye: method BYE -> rtp full\n" +
		"rule ok: status 200 -> sip header, rtp header, lookback 2s\n" +
		"rule bad: loss > 1% -> rtp full, lookback 5s\n" +
		"default -> sip none, rtp none, register full\n"
	seeds := uint64(2)
	if testing.Short() {
		seeds = 1
	}
	for _, mode := range []Dedup{DedupOff, DedupOn, DedupAuto} {
		for seed := range seeds {
			t.Run(fmt.Sprint(mode, seed), func(t *testing.T) {
				r := &roulette{Rand: rand.New(rand.NewPCG(seed, 4))}
				for n := range 12 {
					r.call(fmt.Sprint("c", n/2))
				}
				for range 10 {
					r.stream()
				}
				for n := range 10 {
					r.others(n % 5)
				}
				w := wireOf(&r.script, r.Rand)
				for _, rules := range []string{allRules, rules} {
					f := w.films(t, rules, Options{Dedup: mode, Memory: make([]byte, 128*keptPage)})
					seen := make(map[shot]bool)
					for _, s := range f.shots {
						s.len = 0
						if seen[s] {
							t.Fatalf("twice: %v", s)
						}
						seen[s] = true
					}
					t.Logf("%d of %d frames", len(f.shots), len(w.frames))
				}
			})
		}
	}
}

// TestRecordRefused: what the recorder refuses is counted as missed.
func TestRecordRefused(t *testing.T) {
	w := plainWire(crowd(10, 2*time.Second))
	set, err := rule.Parse(allRules)
	if err != nil {
		t.Fatal(err)
	}
	f := &film{refuse: 7, refused: make(map[string]uint32)}
	o := Options{Workers: 2, Rules: set, Memory: make([]byte, 2*MinKept), Recorder: func(int) Recorder {
		return &reel{film: f, tapes: make(map[uint32]string)}
	}}
	records, st := w.read(t, o, 50, 1, 2)
	if f.recorded(t, records) != len(f.shots) || st.NotRecorded != uint64(f.seen/7) || st.NotRecorded+st.Recorded != uint64(len(w.frames)) {
		t.Errorf("%d shots, %+v", len(f.shots), st)
	}
}

// run reads the wire, and returns the shards as they are then.
func (w *wire) run(t *testing.T, o Options) *Group {
	t.Helper()
	g, src := NewGroup(o), &cut{frames: w.frames, size: 20}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // for a deadlock
	defer cancel()
	if err := g.Run(ctx, func(ctx context.Context, _ int, s *Shard) error {
		return s.Run(ctx, src, decode.New(decode.Options{}))
	}); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestRecordLeavesNothing: when all calls are over, no shard has a tape, a plan or
// a tally of one.
func TestRecordLeavesNothing(t *testing.T) {
	var sc script
	for n := range 30 {
		at := time.Duration(n) * time.Second
		id := fmt.Sprint("c", n/3)
		sc.call(id, at, 900*time.Millisecond, 4000+2*n, 6000) // a Call-ID comes again while the call lingers
		sc.rtp(at, at+2*time.Second, at2(alice, uint16(4000+2*n)), at2(bob, 6000), 0, uint32(n), 160)
	}
	for _, max := range []int{0, 2} { // calls at most: others are evicted
		w := plainWire(&sc)
		set, err := rule.Parse(allRules)
		if err != nil {
			t.Fatal(err)
		}
		f := &film{}
		o := Options{Workers: 3, Rules: set, Memory: make([]byte, 3*MinKept), Recorder: func(int) Recorder {
			return &reel{film: f, tapes: make(map[uint32]string)}
		}}
		o.Limits.MaxCalls = max
		g := w.run(t, o)
		for i, s := range g.shards {
			open := 0
			for _, x := range s.rec.others {
				if x.tape != 0 {
					open++
				}
			}
			if len(s.rec.calls) != 0 || len(s.rec.tallies) != 0 || len(s.rec.media) != 0 || len(s.rec.takes) != 0 ||
				len(s.rec.tapes.list) != len(s.rec.tapes.free)+open {
				t.Errorf("shard %d: %d calls, %d tallies, %d media, %d takes, %d of %d tapes free", i, len(s.rec.calls),
					len(s.rec.tallies), len(s.rec.media), len(s.rec.takes), len(s.rec.tapes.free), len(s.rec.tapes.list))
			}
			if n := len(s.rec.to.(*reel).tapes); n != open {
				t.Errorf("shard %d: %d tapes not ended, want %d", i, n, open)
			}
		}
	}
}
