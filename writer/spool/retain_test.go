package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/writer/compress"
)

func TestLimitsFit(t *testing.T) {
	const g = 1 << 30
	for _, tc := range []struct {
		name    string
		in      Limits
		volume  int64
		total   int64
		reserve int64
		err     string
	}{
		{"defaults of a large volume", Limits{}, 1000 * g, 800 * g, 50 * g, ""},
		{"defaults of a small volume", Limits{}, 40 * g, 30 * g, 10 * g, ""},
		{"reserve takes all", Limits{}, 8 * g, 0, 0, "the reserve of 10 GiB leaves nothing of a volume of 8 GiB"},
		{"quota of the whole volume", Limits{Total: 100 * g}, 100 * g, 0, 0, "a quota of 100 GiB does not fit: the volume has 100 GiB, and 10 GiB stay free: choose at most 90 GiB"},
		{"quotas of classes", Limits{Bytes: [Classes]int64{SIP: 50 * g, RTP: 40 * g}}, 100 * g, 0, 0, "quotas of sip 50 GiB, rtp 40 GiB and register 0 B do not fit into 80 GiB"},
		{"quotas that fit", Limits{Bytes: [Classes]int64{SIP: 30 * g, RTP: 40 * g}, Reserve: g}, 100 * g, 80 * g, g, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := tc.in.Fit(Space{Total: tc.volume})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("error %v, want %s", err, tc.err)
				}
			} else if err != nil || l.Total != tc.total || l.Reserve != tc.reserve {
				t.Errorf("total %s, reserve %s, %v", Bytes(l.Total), Bytes(l.Reserve), err)
			}
		})
	}
}

// segs makes segments from letters: s, r and g for SIP, RTP and REGISTER, one a
// minute, each of ten bytes.
func segs(letters string) []*kept {
	var out []*kept
	for i, l := range letters {
		c := map[rune]Class{'s': SIP, 'r': RTP, 'g': Register}[l]
		out = append(out, &kept{Name: Name{Class: c, Minute: int64(i) * minute}, Bytes: 10})
	}
	return out
}

func TestPlan(t *testing.T) {
	for _, tc := range []struct {
		name   string
		all    string
		limits Limits
		free   int64
		held   []int
		want   []int // indexes removed
		pinned int64
	}{
		{"nothing to do", "srsr", Limits{Total: 100}, 1000, nil, nil, 0},
		{"class too large", "srsrs", Limits{Total: 100, Bytes: [Classes]int64{SIP: 20}}, 1000, nil, []int{0}, 0},
		{"too old", "srsr", Limits{Total: 100, Age: [Classes]time.Duration{RTP: 7 * time.Minute}}, 1000, nil, []int{1}, 0},
		{"too much: RTP while it is more than half", "srrr", Limits{Total: 20}, 1000, nil, []int{1, 2}, 0},
		{"too much: then the oldest", "srsr", Limits{Total: 20}, 1000, nil, []int{0, 1}, 0},
		{"reserve touched", "ssss", Limits{Total: 100, Reserve: 50}, 35, nil, []int{0, 1}, 0},
		{"held calls stay", "ssss", Limits{Total: 100, Reserve: 50}, 35, []int{0, 2}, []int{1, 3}, 20},
		{"all held", "ss", Limits{Total: 10}, 1000, []int{0, 1}, nil, 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all := segs(tc.all)
			remove, pinned := tc.limits.plan(all, tc.free, 10*minute, func(k *kept) bool { return slices.Contains(tc.held, slices.Index(all, k)) })
			var got []int
			for _, k := range remove {
				got = append(got, slices.Index(all, k))
			}
			slices.Sort(got)
			if !slices.Equal(got, tc.want) || pinned != tc.pinned {
				t.Errorf("removes %v with %d pinned, want %v with %d", got, pinned, tc.want, tc.pinned)
			}
		})
	}
}

func TestForecast(t *testing.T) {
	all := segs("srsrsr") // RTP: 30 bytes in five minutes
	f := forecast(RTP, []Limits{{Bytes: [Classes]int64{RTP: 3600}}}, all)
	if f.Rate != 0.1 || f.Lasts != 10*time.Hour {
		t.Errorf("%+v", f)
	}
	if f := forecast(RTP, []Limits{{Total: 3600, Age: [Classes]time.Duration{RTP: time.Hour}}}, all); f.Lasts != time.Hour {
		t.Errorf("with an age: %+v", f)
	}
	if f := forecast(Register, []Limits{{}}, all); f != (Forecast{}) {
		t.Errorf("of nothing: %+v", f)
	}
}

// Old segments are removed from the disk, except those of a held call.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	c := &clock{now: time.Unix(0, t0)}
	o := Options{Dir: dir, Now: c.Now}
	s := open(t, o)
	fill(t, s.Shard(0), rand.New(rand.NewPCG(1, 1)), 400, 300, 10*time.Minute)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := List(OS, dir)
	if err != nil || len(before) < 10 {
		t.Fatalf("%d segments, %v", len(before), err)
	}
	key := ""
	first := before[0]
	for i := range 400 {
		if k := fmt.Sprintf("call-%d@example.com", i); holdsKey(dir, first.Name, k) {
			key = k
		}
	}
	o.Limits.Age = [Classes]time.Duration{time.Hour, time.Hour, time.Hour}
	c.add(24 * time.Hour)
	s = openHeld(t, o, Hold{Key: key, From: t0, To: t0 + int64(time.Hour)})
	after, err := List(OS, dir)
	if err != nil || len(after) == 0 || after[0].Path() != first.Path() {
		t.Fatalf("the segment of the held call is gone: %v, %v", after, err)
	}
	for _, i := range after {
		if !holdsKey(dir, i.Name, key) {
			t.Errorf("%s stays, without the held call", i.Path())
		}
	}
	s.Hold(nil)
	s.Keep()
	if left, _ := os.ReadDir(dir); len(left) != 3 { // lock, id, reservation
		t.Errorf("left behind: %v", left)
	}
	if st := s.Stats(); st.Segments != 0 || st.Pruned.Segments[SIP] == 0 {
		t.Errorf("%+v", st)
	}
}

func holdsKey(dir string, n Name, key string) (found bool) {
	_ = withFile(OS, filepath.Join(dir, n.Path()), func(f File) error {
		x, err := openIndex(f, n.Format)
		if err == nil {
			from, to, _ := x.has(hash(key))
			found = from < to
		}
		return err
	})
	return found
}

func openHeld(t *testing.T, o Options, h Hold) *Spool {
	t.Helper()
	o.Hold = []Hold{h}
	return open(t, o)
}

func TestNames(t *testing.T) {
	for _, n := range []Name{
		{SIP, t0 - t0%minute, 0, 0, compress.Zstd, false},
		{RTP, t0 - t0%minute, 12, 3, compress.Plain, true},
		{Register, 0, 1, 0, compress.LZ4, false},
	} {
		if got, ok := ParseName(n.Path()); !ok || got != n {
			t.Errorf("%s is read as %+v, %v", n.Path(), got, ok)
		}
	}
	for _, path := range []string{"", "2026-01-01/00/00-sip-0.pcapng.bz2", "2026-01-01/00/60-sip-0.pcapng", "2026-01-01/24/00-sip-0.pcapng",
		"2026-01-01/00/00-video-0.pcapng", "2026-01-01/00/0-sip-0.pcapng", "2026-01-01/00/00-sip-0.0.pcapng", "2026-01-01/00/.00-sip-0.pcapng.zst.new"} {
		if n, ok := ParseName(path); ok {
			t.Errorf("%s is taken for %+v", path, n)
		}
	}
	long := strings.Repeat("x", 300)
	if k := keyOf(long); len(k) != maxKey || k == keyOf(long+"y") {
		t.Errorf("long key becomes %q", k)
	}
}
