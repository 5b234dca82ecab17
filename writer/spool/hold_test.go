package spool

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/writer/pcap"
)

// calls puts one packet of each call into a spool, in minutes of their own.
func calls(t *testing.T, s *Spool, keys ...string) {
	t.Helper()
	for i, key := range keys {
		at := t0 + int64(i)*10*minute
		var tape Tape
		if !s.Shard(0).Put(&tape, SIP, key, at, frame.LinkEthernet, &pcap.Packet{Time: at, Data: sipFrame(key, i)}) {
			t.Fatal("a packet was refused")
		}
	}
	s.Shard(0).Flush()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func hold(t *testing.T, dir string, list ...Hold) {
	t.Helper()
	if _, err := ChangeHolds(dir, func([]Hold) []Hold { return list }); err != nil {
		t.Fatal(err)
	}
}

// left are the calls that a directory still has packets of.
func left(t *testing.T, dir string, keys ...string) (out []string) {
	t.Helper()
	for _, k := range keys {
		_, err := FetchDir(context.Background(), OS, dir, Query{Keys: []string{k}}, func(*pcap.Packet, pcap.Interface, string) error {
			out = append(out, k)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Calls that the list of the directory names survive pruning, at the start and
// when the list changes; their neighbours do not.
func TestHeldByList(t *testing.T) {
	dir := t.TempDir()
	c := &clock{now: time.Unix(0, t0)}
	long := strings.Repeat("long", 100)
	keys := []string{"one", "two", "three", long}
	calls(t, open(t, Options{Dir: dir, Now: c.Now}), keys...)
	hold(t, dir, Hold{Key: "one", From: t0 - minute, To: t0 + minute}, Hold{Key: "two", To: t0}, Hold{Key: long}, Hold{Key: "three"})

	c.add(24 * time.Hour)
	o := Options{Dir: dir, Now: c.Now, Limits: Limits{Age: [Classes]time.Duration{SIP: time.Hour}}}
	s := open(t, o)
	if got := left(t, dir, keys...); !slices.Equal(got, []string{"one", "three", long}) { // two was held for another time
		t.Errorf("after the start: %q", got)
	}
	if d := strings.Join(s.Describe(), "\n"); !strings.Contains(d, "held calls stay: 4") {
		t.Errorf("describes itself as %s", d)
	}
	hold(t, dir, Hold{Key: "three"})
	s.Keep()
	if got := left(t, dir, keys...); !slices.Equal(got, []string{"three"}) {
		t.Errorf("after two calls were released: %q", got)
	}

	// A list that cannot be read: that of before holds, and the next start is
	// refused.
	if err := os.WriteFile(filepath.Join(dir, holdFile), []byte("{\"call_id\":\"one\"}\n{\"call\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	s.Keep()
	if err := s.Stats().KeepErr; err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a damaged list: %v", err)
	}
	if got := left(t, dir, keys...); !slices.Equal(got, []string{"three"}) {
		t.Errorf("with a damaged list: %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "mend the line") {
		t.Errorf("opened with a damaged list: %v", err)
	}
}

func TestChangeHolds(t *testing.T) {
	dir := t.TempDir()
	if list, err := ReadHolds(OS, dir); err != nil || len(list) > 0 {
		t.Fatalf("without a list: %v, %v", list, err)
	}
	want := []Hold{{"a<b>\"\n", t0, t0 + 1}, {"b", 0, t0}, {"c", 0, 0}}
	hold(t, dir, want[2], want[0], want[1])
	if got, err := ReadHolds(OS, dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("read back: %v, %v", got, err)
	}
	// Several at once: none is forgotten.
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			_, err := ChangeHolds(dir, func(old []Hold) []Hold { return append(old, Hold{Key: "d" + string(rune('a'+i))}) })
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got, err := ReadHolds(OS, dir); err != nil || len(got) != 23 {
		t.Errorf("%d held, %v", len(got), err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	if _, err := ChangeHolds(filepath.Join(dir, "nowhere"), nil); err == nil {
		t.Error("held in a directory that is not there")
	}
}

// A segment that a crash left in two directories is fetched once; one of the
// same name with other packets too.
func TestFetchDirsOnce(t *testing.T) {
	hot, cold := t.TempDir(), t.TempDir()
	calls(t, open(t, Options{Dir: hot}), "one", "two")
	calls(t, open(t, Options{Dir: cold}), "other")
	list, err := List(OS, hot)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	second := list[1].Path()
	if err := copyFile(OS, filepath.Join(hot, second), filepath.Join(cold, second)); err != nil {
		t.Fatal(err)
	}
	var got []string
	f, err := FetchDirs(context.Background(), OS, []string{hot, cold}, Query{Keys: []string{"one", "two", "other"}}, func(_ *pcap.Packet, _ pcap.Interface, key string) error {
		got = append(got, key)
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"one", "other", "two"}) || f.Segments != 3 {
		t.Errorf("%q of %d segments, %v", got, f.Segments, err)
	}
}

// A held call moves on with the others, and stays where they are removed.
func TestHeldInLastTier(t *testing.T) {
	hot, cold := t.TempDir(), t.TempDir()
	c := &clock{now: time.Unix(0, t0)}
	calls(t, open(t, Options{Dir: hot, Now: c.Now}), "one", "two")
	hold(t, hot, Hold{Key: "one"})
	c.add(24 * time.Hour)
	old := Limits{Reserve: 1 << 20, Age: [Classes]time.Duration{SIP: time.Hour}}
	s := open(t, Options{Dir: hot, Now: c.Now, Limits: old, Tiers: []Tier{{cold, old}}})
	s.Keep()
	if inHot, inCold := left(t, hot, "one", "two"), left(t, cold, "one", "two"); len(inHot) > 0 || !slices.Equal(inCold, []string{"one"}) {
		t.Errorf("first directory: %q, second: %q", inHot, inCold)
	}
	if st := s.Stats(); st.Pruned.Held == 0 || st.KeepErr != nil {
		t.Errorf("%+v, %v", st.Pruned, st.KeepErr)
	}
}
