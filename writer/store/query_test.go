package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"ringside/flow/record"
)

// at is a call with a start and an id, and nothing else.
func at(start, id int64) *record.Call { return &record.Call{ID: id, Start: start, CallID: "x"} }

func TestPages(t *testing.T) { onBoth(t, testPages) }

func testPages(t *testing.T, open opener) {
	ctx := context.Background()
	for name, ascending := range map[string]bool{"newest first": false, "oldest first": true} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			var calls []*record.Call
			var want []int64
			for id := range int64(25) {
				calls = append(calls, at(100+id/4, id)) // four calls at a time
				want = append(want, id)
			}
			if !ascending {
				slices.Reverse(want)
			}
			rand.New(rand.NewPCG(1, 1)).Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
			insert(t, s, calls...)

			var got []int64
			pages := 0
			for p := (Page{Limit: 7, Ascending: ascending}); ; pages++ {
				r, err := s.Calls(ctx, Filter{To: 1000}, p)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, ids(r.Calls)...)
				if p.Cursor = r.Next; p.Cursor == "" {
					break
				}
				// New calls before, after and between what was seen neither
				// repeat nor hide the others.
				insert(t, s, at(99, 1000+int64(pages)), at(2000, 2000+int64(pages)), at(103, 3000+int64(pages)))
			}
			got = slices.DeleteFunc(got, func(id int64) bool { return id >= 1000 })
			if !slices.Equal(got, want) {
				t.Errorf("listed %v, want %v", got, want)
			}
			if pages < 3 {
				t.Errorf("only %d more pages", pages)
			}
		})
	}
}

func TestPageEnds(t *testing.T) { onBoth(t, testPageEnds) }

func testPageEnds(t *testing.T, open opener) {
	ctx := context.Background()
	s := open(t)
	insert(t, s, at(1, 1), at(2, 2), at(3, 3))
	r, err := s.Calls(ctx, Filter{}, Page{Limit: 3})
	if err != nil || len(r.Calls) != 3 || r.Next != "" {
		t.Errorf("%d calls, next %q, error %v; want all 3 and no next", len(r.Calls), r.Next, err)
	}
	r, err = s.Calls(ctx, Filter{}, Page{Limit: 2})
	if err != nil || len(r.Calls) != 2 || r.Next == "" {
		t.Fatalf("%d calls, next %q, error %v; want 2 and a next", len(r.Calls), r.Next, err)
	}
	for name, p := range map[string]Page{
		"other order": {Cursor: r.Next, Ascending: true},
		"garbage":     {Cursor: "not base64!"},
		"cut":         {Cursor: r.Next[:8]},
		"empty bytes": {Cursor: "AA"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Calls(ctx, Filter{}, p); !errors.Is(err, ErrCursor) {
				t.Errorf("error %v, want ErrCursor", err)
			}
			if _, err := s.Orphans(ctx, OrphanFilter{}, p); !errors.Is(err, ErrCursor) {
				t.Errorf("orphans: error %v, want ErrCursor", err)
			}
		})
	}
}

func TestRowIsTheCall(t *testing.T) { onBoth(t, testRowIsTheCall) }

func testRowIsTheCall(t *testing.T, open opener) {
	s := open(t)
	c := fullCall(t, 1)
	insert(t, s, c)
	r, err := s.Calls(context.Background(), Filter{}, Page{})
	if err != nil || len(r.Calls) != 1 {
		t.Fatalf("%d calls, error %v", len(r.Calls), err)
	}
	want := asRow(c)
	want.Legs, want.Messages, want.Streams, want.Media, want.Digits = nil, nil, nil, nil, nil
	same(t, r.Calls[0].Call, want.Call)
	if !reflect.DeepEqual(r.Calls[0].Derived, want.Derived) {
		t.Errorf("derived %+v, want %+v", r.Calls[0].Derived, want.Derived)
	}
}

func TestOrphans(t *testing.T) { onBoth(t, testOrphans) }

func testOrphans(t *testing.T, open opener) {
	ctx := context.Background()
	s := open(t)
	var b Batch
	for i := range 10 {
		o := fullCall(t, int64(i)).Streams[0]
		o.First, o.SSRC = int64(i), uint32(100+i)
		o.CallID = ""
		b.Orphans = append(b.Orphans, &o)
	}
	b.Calls = []*record.Call{fullCall(t, 50)} // its streams are no orphans
	if err := s.Insert(ctx, b); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		filter OrphanFilter
		want   []uint32
	}{
		"all":        {OrphanFilter{}, []uint32{109, 108, 107, 106, 105, 104, 103, 102, 101, 100}},
		"time range": {OrphanFilter{From: 3, To: 5}, []uint32{104, 103}},
		"SSRC":       {OrphanFilter{SSRC: 107}, []uint32{107}},
		"codec":      {OrphanFilter{Codec: b.Orphans[2].Codec}, []uint32{102}},
		"address":    {OrphanFilter{Addr: mustAddr(t, b.Orphans[4].Src.Addr().String())}, []uint32{104}},
		"receiver":   {OrphanFilter{Addr: mustAddr(t, b.Orphans[4].Dst.Addr().String())}, []uint32{104}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []uint32
			for p := (Page{Limit: 3}); ; {
				r, err := s.Orphans(ctx, c.filter, p)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range r.Streams {
					got = append(got, o.SSRC)
				}
				if p.Cursor = r.Next; p.Cursor == "" {
					break
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
}

func mustAddr(t *testing.T, s string) netip.Prefix {
	t.Helper()
	p, err := ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSummary(t *testing.T) { onBoth(t, testSummary) }

func testSummary(t *testing.T, open opener) {
	ctx := context.Background()
	s := open(t)
	if sum, err := s.Summary(ctx, Filter{}); err != nil || sum.Calls != 0 || sum.ASR != 0 || sum.ACD != 0 {
		t.Errorf("empty store: %+v, error %v", sum, err)
	}
	call := func(id int64, o record.Outcome, connected int64, mos ...float64) *record.Call {
		c := &record.Call{ID: id, Start: id * second, End: id * second, Outcome: o}
		if connected > 0 {
			c.Answer, c.End = c.Start, c.Start+connected*second
		}
		for _, m := range mos {
			c.Streams = append(c.Streams, record.Stream{MOS: record.MOS{LQ: m}})
		}
		return c
	}
	insert(t, s,
		call(1, record.Answered, 100, 4.4, 4.35), call(2, record.Answered, 50, 4.4, 2.0), call(3, record.Answered, 30, 3.60),
		call(4, record.Busy, 0), call(5, record.Failed, 0), call(6, record.Partial, 0, 4.5), call(7, record.OutcomeUnknown, 0),
		call(8, record.Answered, 0, 0))
	sum, err := s.Summary(ctx, Filter{})
	if err != nil {
		t.Fatal(err)
	}
	want := Summary{
		Calls: 8, Streams: 7, Connected: 3, TalkTime: 180, ASR: 100 * 4.0 / 6, ACD: 60, MOSCalls: 4, MOSMean: (4.35 + 2.0 + 3.6 + 4.5) / 4,
		Outcomes: []OutcomeCount{{record.OutcomeUnknown, 1}, {record.Answered, 4}, {record.Busy, 1}, {record.Failed, 1}, {record.Partial, 1}},
		MOS:      [6]MOSBucket{{1, 2.58, 1}, {2.58, 3.10, 0}, {3.10, 3.60, 0}, {3.60, 4.03, 1}, {4.03, 4.34, 0}, {4.34, 5.01, 2}},
	}
	near := func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }
	for name, v := range map[string][2]*float64{"ASR": {&sum.ASR, &want.ASR}, "ACD": {&sum.ACD, &want.ACD},
		"talk time": {&sum.TalkTime, &want.TalkTime}, "MOS mean": {&sum.MOSMean, &want.MOSMean}} {
		if !near(*v[0], *v[1]) {
			t.Errorf("%s %v, want %v", name, *v[0], *v[1])
		}
		*v[0] = *v[1]
	}
	if !reflect.DeepEqual(sum, want) {
		t.Errorf("summary %+v\nwant %+v", sum, want)
	}
	sum, err = s.Summary(ctx, Filter{Outcomes: []record.Outcome{record.Busy}})
	if err != nil || sum.Calls != 1 || sum.ASR != 0 || sum.MOSMean != 0 {
		t.Errorf("summary of busy calls %+v, error %v", sum, err)
	}
}

// TestReadWhileWriting runs queries while batches are stored. Every answer must
// be of whole batches, and calls of all their children.
func TestReadWhileWriting(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testReadWhileWriting(t, open(t, filepath.Join(t.TempDir(), "calls.db"))) })
	t.Run("mariadb", func(t *testing.T) { testReadWhileWriting(t, openEmpty(t)) })
}

func testReadWhileWriting(t *testing.T, s *Store) {
	const batches, perBatch = 12, 10
	ctx := context.Background()
	var batch [batches][]*record.Call
	for i := range batch {
		for j := range perBatch {
			batch[i] = append(batch[i], fullCall(t, int64(1+i*perBatch+j)))
		}
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				n, err := s.Count(ctx, Filter{})
				if err != nil || n%perBatch != 0 {
					t.Errorf("count %d, error %v", n, err)
					return
				}
				r, err := s.Calls(ctx, Filter{}, Page{Limit: 1})
				if err != nil {
					t.Error(err)
					return
				}
				for _, row := range r.Calls {
					c, err := s.Call(ctx, row.ID)
					if err != nil || len(c.Messages) != 3 || len(c.Streams) != 3 {
						t.Errorf("call %+v, error %v", c, err)
						return
					}
				}
			}
		})
	}
	for _, b := range batch {
		insert(t, s, b...)
		insert(t, s, b...) // replacing while they are read
	}
	close(done)
	readers.Wait()
	if n, err := s.Count(ctx, Filter{}); err != nil || n != batches*perBatch {
		t.Errorf("count %d, error %v", n, err)
	}
}
