package spool

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringside/writer/pcap"
)

func TestParseBytes(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Bytes
	}{{"204800", 200 << 30}, {"200GiB", 200 << 30}, {"200 gib", 200 << 30}, {"40G", 40 << 30}, {"1.5TB", 1_500_000_000_000}, {"0", 0}, {"512k", 512 << 10}, {" 7 B ", 7}} {
		if got, err := ParseBytes(tc.in); err != nil || got != tc.want {
			t.Errorf("%q is %d, %v, want %d", tc.in, got, err, tc.want)
		}
	}
	for _, in := range []string{"", "GiB", "-1", "1 GiX", "1e30", "nan", "inf", "1 2"} {
		if got, err := ParseBytes(in); err == nil {
			t.Errorf("%q is %d", in, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	l, err := Limits{Total: 40 << 30, Reserve: 5 << 30, Bytes: [Classes]int64{SIP: 10 << 30}, Age: [Classes]time.Duration{RTP: 36 * time.Hour}}.Fit(Space{Total: 50 << 30})
	want := "spool /x: 40 GiB of a volume of 50 GiB, 5 GiB stay free, sip at most 10 GiB, rtp at most 1.5 days"
	if got := l.describe("/x", Space{Total: 50 << 30}); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if warn("/x", "tmpfs") == "" || warn("/x", "nfs") == "" || warn("/x", "ext4") != "" {
		t.Error("warnings of file systems")
	}
}

func TestRefuseRoot(t *testing.T) {
	root, data := Mount{"/", "ext4", 100}, Mount{"/data", "xfs", 1000}
	for _, tc := range []struct {
		name   string
		dir    string
		mounts []Mount
		refuse bool
	}{
		{"only the root", "/var/spool", []Mount{root}, false},
		{"a larger one", "/var/spool", []Mount{root, data}, true},
		{"on the larger one", "/data/spool", []Mount{root, data}, false},
		{"a name that begins alike", "/database", []Mount{root, data}, true},
		{"on a smaller one", "/srv/spool", []Mount{root, data, {"/srv", "ext4", 50}}, false},
		{"a smaller one elsewhere", "/var/spool", []Mount{root, {"/boot", "ext4", 1}}, false},
		{"memory does not count", "/var/spool", []Mount{root, {"/dev/shm", "tmpfs", 1000}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := refuseRoot(tc.dir, tc.mounts); (err != nil) != tc.refuse {
				t.Errorf("%v", err)
			}
		})
	}
	m, writable, ok := parseMount(`36 35 98:0 /mnt1 /mnt/two\040words ro,noatime master:1 - ext3 /dev/root rw,errors=continue`)
	if !ok || writable || m.Path != "/mnt/two words" || m.Kind != "ext3" {
		t.Errorf("%+v, %v, %v", m, writable, ok)
	}
	mounts, err := OS.Mounts()
	if err != nil || !slices.ContainsFunc(mounts, func(m Mount) bool { return m.Path == "/" && m.Total > 0 }) {
		t.Errorf("mounts of this machine: %+v, %v", mounts, err)
	}
}

// tiered is a spool whose first tier is over its limits: what is beyond them
// moves on at the next Keep.
func tiered(t *testing.T) (o Options, all []sent) {
	t.Helper()
	hot, cold := t.TempDir(), t.TempDir()
	c := &clock{now: time.Unix(0, t0)}
	o = Options{Dir: hot, Now: c.Now, Memory: 32 << 20, FS: &faulty{FS: OS}, Tiers: []Tier{{Dir: cold, Limits: Limits{Reserve: 1 << 20}}}}
	s := open(t, o)
	all = fill(t, s.Shard(0), rand.New(rand.NewPCG(1, 1)), 20, 3000, 6*time.Minute)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.Limits.Bytes = [Classes]int64{SIP: 20 << 10, RTP: 200 << 10}
	return o, all
}

// Segments beyond the limits move on, and are found there; in the end nothing
// is there twice.
func TestTiers(t *testing.T) {
	o, all := tiered(t)
	s := open(t, o)
	st := s.Stats()
	if st.Pruned.Moved == 0 || st.Pruned.Segments != [Classes]uint64{} || st.KeepErr != nil {
		t.Fatalf("%+v, %v", st.Pruned, st.KeepErr)
	}
	if n, _ := names(OS, o.Dir); len(n) == 0 || len(n)+int(st.Pruned.Moved) != st.Segments {
		t.Errorf("%d stay, %d moved, there are %d", len(n), st.Pruned.Moved, st.Segments)
	}
	key := "call-3@example.com"
	got, _ := fetchAll(t, s, Query{Keys: []string{key}})
	same(t, got, only(all, key))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got = nil
	if _, err := FetchDirs(context.Background(), OS, []string{o.Dir, o.Tiers[0].Dir}, Query{Keys: []string{key}}, func(p *pcap.Packet, _ pcap.Interface, k string) error {
		got = append(got, sent{key: k, time: p.Time, data: bytes.Clone(p.Data)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	same(t, got, only(all, key))

	// A crash between the copy and the removal.
	moved, _ := names(OS, o.Tiers[0].Dir)
	from, to := filepath.Join(o.Tiers[0].Dir, moved[0].Path()), filepath.Join(o.Dir, moved[0].Path())
	_ = os.MkdirAll(filepath.Dir(to), 0o755)
	if err := copyFile(OS, from, to); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(from+newExt, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	got, _ = fetchAll(t, s, Query{Keys: []string{key}})
	same(t, got, only(all, key))
	if _, err := os.Stat(from + newExt); err == nil {
		t.Error("half a copy stays")
	}
}

// While the next tier cannot be written segments stay; when the volume has no
// room any more, the oldest go.
func TestTierFails(t *testing.T) {
	o, all := tiered(t)
	files := o.FS.(*faulty)
	files.set(func(op string) error {
		if op == "write" {
			return &os.PathError{Op: op, Path: "x", Err: syscall.EIO}
		}
		return nil
	})
	o.Limits.Reserve, o.Limits.Reservation = 1<<30, -1
	s := open(t, o)
	st := s.Stats()
	if st.Pruned.Moved != 0 || !errors.Is(st.KeepErr, syscall.EIO) {
		t.Fatalf("%+v, %v", st.Pruned, st.KeepErr)
	}
	key := "call-3@example.com"
	got, _ := fetchAll(t, s, Query{Keys: []string{key}})
	same(t, got, only(all, key))
	files.mu.Lock()
	files.free = 1<<30 - 1
	files.mu.Unlock()
	s.Keep()
	if st := s.Stats(); st.Pruned.Segments == [Classes]uint64{} {
		t.Errorf("without room nothing is removed: %v", st.KeepErr)
	}
}

// The reservation is given back when the volume is full, and made again when
// there is room.
func TestReservation(t *testing.T) {
	dir := t.TempDir()
	files := &faulty{FS: OS}
	s := open(t, Options{Dir: dir, FS: files, Limits: Limits{Reserve: 32 << 20, Reservation: 4 << 20}})
	size := func() int64 {
		info, err := os.Stat(filepath.Join(dir, reserveFile))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	for _, tc := range []struct{ free, want int64 }{{1 << 30, 4 << 20}, {28<<20 - 1, 4 << 20}, {1 << 20, 0}, {20 << 20, 0}, {1 << 30, 4 << 20}} {
		files.mu.Lock()
		files.free = tc.free
		files.mu.Unlock()
		s.Keep()
		if got := s.Stats().Reserved; got != tc.want || size() != tc.want {
			t.Errorf("with %d free %d are reserved in a file of %d, want %d", tc.free, got, size(), tc.want)
		}
		if short := s.Stats().Short; short != (tc.free+tc.want < 32<<20) {
			t.Errorf("with %d free: short %v", tc.free, short)
		}
	}
	_ = s.Close()
	s = open(t, Options{Dir: dir, Limits: Limits{Reserve: 32 << 20, Reservation: -1}})
	if s.Stats().Reserved != 0 || size() != 0 {
		t.Error("a reservation that is not wanted stays")
	}
	if d := strings.Join(s.Describe(), "\n"); !strings.Contains(d, "32 MiB stay free") {
		t.Error(d)
	}
}
