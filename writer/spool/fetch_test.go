package spool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// A call that still runs is fetched wholly, while its shard goes on.
func TestFetchWhileFilled(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Shards: 2, Writers: 2})
	var stop atomic.Bool
	var put [2]atomic.Int64
	var shards sync.WaitGroup
	for i := range 2 {
		shards.Go(func() {
			sh := s.Shard(i)
			var tape, other Tape
			for n := int64(0); !stop.Load(); n++ {
				if n >= 2000 {
					sh.Tick(t0) // a call in which nothing is said
					time.Sleep(time.Millisecond)
					continue
				}
				p := &pcap.Packet{Time: t0 + n, Data: sipFrame("live", int(n))}
				sh.Put(&tape, Class(i), "live", t0+n, frame.LinkEthernet, p)
				put[i].Store(n + 1)
				sh.Put(&other, SIP, "other", t0+n, frame.LinkEthernet, p)
			}
		})
	}
	defer shards.Wait()
	defer stop.Store(true)
	for n := range 50 {
		before := put[0].Load() + put[1].Load()
		got, f := fetchAll(t, s, Query{Keys: []string{"live"}})
		if int64(len(got)) < before || len(f.Missing) > 0 {
			t.Fatalf("fetch %d: %d packets, %d were put before; missing: %v", n, len(got), before, f.Missing)
		}
	}
	until(t, "all put", func() bool { return put[0].Load() == 2000 && put[1].Load() == 2000 })
	if got, _ := fetchAll(t, s, Query{Keys: []string{"live"}}); len(got) != 4000 {
		t.Errorf("%d packets, want 4000", len(got))
	}
	if st := s.Stats(); st.Used == 0 {
		t.Error("chunks of other calls were written too")
	}
}

// A shard that does not answer is not waited for long, and what may be missing
// is said, however often it is asked.
func TestFetchIdleShard(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Shards: 2})
	r := rand.New(rand.NewPCG(1, 1))
	fill(t, s.Shard(0), r, 1, 10, time.Second)
	for range 3 {
		_, f := fetchAll(t, s, Query{Keys: []string{"call-0@example.com"}})
		if len(f.Missing) != 1 || !strings.Contains(f.Missing[0], "shard 0 does not answer: packets of its last 10s") {
			t.Fatalf("missing: %q", f.Missing)
		}
	}
	s.Shard(0).Tick(t0)
	got, f := fetchAll(t, s, Query{Keys: []string{"call-0@example.com"}})
	if len(got) == 0 || len(f.Missing) > 0 {
		t.Errorf("after a tick: %d packets, missing: %q", len(got), f.Missing)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Fetch(ctx, Query{Keys: []string{"call-0@example.com"}}, nil); err == nil {
		t.Error("a fetch that was cancelled goes on")
	}
}

// On a disk that takes long for everything a shard goes on at once: what does
// not fit into memory is refused and counted. Fetch says what is missing.
func TestSlowDisk(t *testing.T) {
	dir := t.TempDir()
	files := &faulty{FS: OS}
	s := open(t, Options{Dir: dir, FS: files, Memory: 1 << 20})
	sh := s.Shard(0)
	var tape Tape
	n := 0
	put := func() {
		at := t0 + int64(n)
		sh.Put(&tape, SIP, "slow", at, frame.LinkEthernet, &pcap.Packet{Time: at, Data: sipFrame("slow", n)})
		n++
	}
	put()
	sh.Flush()
	s.Flush() // there is a segment
	hang := make(chan struct{})
	files.set(func(string) error { <-hang; return nil })
	for range 100_000 { // would never end if one waited for the disk
		put()
	}
	st := s.Stats()
	if sum(st.Refused) == 0 || st.Used == 0 {
		t.Errorf("%d refused, %d of %d pages used", sum(st.Refused), st.Used, st.Pages)
	}
	_, f := fetchStalled(t, s, files, hang)
	if !strings.Contains(strings.Join(f.Missing, "; "), "writer 0 waits for the disk") {
		t.Errorf("missing: %q", f.Missing)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st = s.Stats()
	if sum(st.Stored)+sum(st.Refused) != uint64(n) || found(t, dir) != sum(st.Stored) {
		t.Errorf("%d put, %d stored, %d refused", n, sum(st.Stored), sum(st.Refused))
	}
}

// fetchStalled fetches while the disk hangs, and lets it go on when the fetch
// has given up waiting and reads.
func fetchStalled(t *testing.T, s *Spool, files *faulty, hang chan struct{}) ([]sent, Fetched) {
	t.Helper()
	go func() {
		time.Sleep(2 * patience)
		files.set(nil)
		close(hang)
	}()
	return fetchAll(t, s, Query{Keys: []string{"slow"}})
}

// Sections of many calls share frames; a query decodes each once.
func TestFetchSharedFrames(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	all := fill(t, s.Shard(0), rand.New(rand.NewPCG(7, 7)), 200, 4000, 20*time.Second)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for i := range 200 {
		keys = append(keys, fmt.Sprintf("call-%d@example.com", i))
	}
	got := 0
	f, err := FetchDir(context.Background(), OS, s.root, Query{Keys: keys, Classes: []Class{SIP}}, func(*pcap.Packet, pcap.Interface, string) error {
		got++
		return nil
	})
	want := 0
	for _, p := range all {
		if strings.Contains(string(p.data), "Call-ID") {
			want++
		}
	}
	list, _ := List(OS, s.root)
	frames, sections := 0, 0
	for _, i := range list {
		if i.Class == SIP {
			frames, sections = frames+i.Frames, sections+i.Sections
		}
	}
	if err != nil || got != want || f.Frames != frames || sections < 3*frames {
		t.Errorf("%d packets, want %d; %d frames read, there are %d of %d sections; %v", got, want, f.Frames, frames, sections, err)
	}
}

// Keys are found at every place of an index, and those that are not there are not.
func TestIndexKeys(t *testing.T) {
	for _, n := range []int{1, 2, keysRead - 1, keysRead, keysRead + 1, 5000} {
		x := newIndex()
		for i := range n {
			x.add(hash(fmt.Sprint(i)), Entry{Offset: int64(i), Packets: 1})
			x.add(hash(fmt.Sprint(i)), Entry{Offset: int64(i + n), Packets: 1})
		}
		body := x.body()
		f := memFile{append(make([]byte, compress.SkipHeader), body...)}
		s, err := openIndex(f, compress.Zstd)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 * n {
			var at []int64
			if err := s.find(hash(fmt.Sprint(i)), func(e Entry) { at = append(at, e.Offset) }); err != nil {
				t.Fatal(err)
			}
			if i < n && (len(at) != 2 || at[0] != int64(i) || at[1] != int64(i+n)) || i >= n && len(at) > 0 {
				t.Fatalf("key %d of %d: %v", i, n, at)
			}
		}
		if per := s.read / int64(2*n); n == 5000 && per > 2*keysRead*keyBytes {
			t.Errorf("%d bytes are read for a key", per)
		}
	}
}
