package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func open(t testing.TB, o Options) *Queue {
	t.Helper()
	q, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func closed(t testing.TB, q *Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// put appends entries of a few items each, whose data say their number.
func put(t testing.TB, q *Queue, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := q.Append(data(i), items(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func data(i int) []byte {
	return fmt.Appendf(nil, "entry %d %s", i, bytes.Repeat([]byte{byte(i)}, i%50))
}
func items(i int) int { return 1 + i%3 }

// itemsOf is how many items entries [from, to) stand for.
func itemsOf(from, to int) (n int) {
	for i := from; i < to; i++ {
		n += items(i)
	}
	return n
}

// take reads and acknowledges all there is, and returns the entries' numbers and
// how many items were lost.
func take(t testing.TB, q *Queue, ack bool) (got []int, lost int) {
	t.Helper()
	for {
		e, err := q.Next()
		lost += e.Lost
		if errors.Is(err, io.EOF) {
			return got, lost
		}
		if err != nil {
			t.Fatal(err)
		}
		var i int
		if _, err := fmt.Sscanf(string(e.Data), "entry %d", &i); err != nil {
			t.Fatalf("read %q: %v", e.Data, err)
		}
		if !bytes.Equal(e.Data, data(i)) || e.Items != items(i) || e.Time.IsZero() {
			t.Errorf("entry %d came back as %q, %d items, %v", i, e.Data, e.Items, e.Time)
		}
		got = append(got, i)
		if ack {
			q.Ack(e)
		}
	}
}

func numbers(from, to int) []int {
	var out []int
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func wants(t testing.TB, got, want []int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

// segments are the names of the segment files.
func segments(t testing.TB, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ext) {
			out = append(out, f.Name())
		}
	}
	return out
}

// hasty is the file system of the machine without waiting for the disk, for tests
// that no power cut follows.
type hasty struct{ FS }

type hastyFile struct{ File }

func (hastyFile) Sync() error      { return nil }
func (hasty) SyncDir(string) error { return nil }

func (h hasty) Create(path string) (File, error) {
	f, err := h.FS.Create(path)
	return hastyFile{f}, err
}

func (h hasty) Open(path string, write bool) (File, error) {
	f, err := h.FS.Open(path, write)
	return hastyFile{f}, err
}

func TestQueue(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(1_700_000_000, 0)
	o := Options{Dir: dir, SegmentBytes: 500, Now: func() time.Time { at = at.Add(time.Millisecond); return at }}
	q := open(t, o)
	if _, err := q.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("empty: %v", err)
	}
	put(t, q, 0, 30)
	st := q.Stats()
	if first := time.Unix(1_700_000_000, 1e6); st.Items != itemsOf(0, 30) || st.Bytes == 0 || !st.Oldest.Equal(first) {
		t.Errorf("stats %+v", st)
	}
	if n := len(segments(t, dir)); n < 4 {
		t.Errorf("%d segments, want several", n)
	}
	var seen []int
	if err := q.Each(func(e Entry) error { seen = append(seen, len(seen)); return nil }); err != nil || len(seen) != 30 {
		t.Errorf("each: %d entries, error %v", len(seen), err)
	}

	for i := range 12 { // the first dozen
		e, err := q.Next()
		if err != nil || !bytes.Equal(e.Data, data(i)) {
			t.Fatalf("entry %d: %q, error %v", i, e.Data, err)
		}
		q.Ack(e)
	}
	if st := q.Stats(); st.Items != itemsOf(12, 30) {
		t.Errorf("%d items, want %d", st.Items, itemsOf(12, 30))
	}
	if _, err := q.Next(); err != nil { // read, not acknowledged
		t.Fatal(err)
	}
	q.Rewind()
	got, _ := take(t, q, false)
	wants(t, got, numbers(12, 30))
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second one could open it: %v", err)
	}
	closed(t, q)

	q = open(t, o)
	if st := q.Stats(); st.Items != itemsOf(12, 30) || st.CutBytes != 0 || st.Oldest.IsZero() {
		t.Errorf("stats after opening again: %+v", st)
	}
	put(t, q, 30, 35)
	got, lost := take(t, q, true)
	wants(t, got, numbers(12, 35))
	if st := q.Stats(); lost != 0 || st.Items != 0 || st.Bytes != 0 || !st.Oldest.IsZero() {
		t.Errorf("lost %d, stats %+v", lost, st)
	}
	if left := segments(t, dir); len(left) != 0 {
		t.Errorf("all is taken, and %v is left", left)
	}
	put(t, q, 35, 40)
	closed(t, q)
	q = open(t, o)
	got, _ = take(t, q, true)
	wants(t, got, numbers(35, 40))
	closed(t, q)
}

func TestFull(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), MaxBytes: 2000})
	defer q.Close()
	n := 0
	var err error
	for ; err == nil; n++ {
		err = q.Append(data(n), items(n))
	}
	if !errors.Is(err, ErrFull) || q.Stats().Bytes > 2000 || n < 10 {
		t.Fatalf("%v after %d entries, stats %+v", err, n, q.Stats())
	}
	got, _ := take(t, q, true)
	wants(t, got, numbers(0, n-1))
	put(t, q, 100, 105) // there is room again
	got, _ = take(t, q, true)
	wants(t, got, numbers(100, 105))
	if err := q.Append(nil, 0); err == nil {
		t.Error("an entry of no items was taken")
	}
}

// crashed is what a crash leaves of a queue: a copy of its directory while it is
// open.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestCrash cuts the open segment at every byte.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir, SegmentBytes: 350, FS: hasty{OS}})
	put(t, q, 0, 20)
	defer q.Close()
	names := segments(t, dir)
	hidden := names[0]
	if hidden[0] != '.' {
		t.Fatalf("no open segment in %v", names)
	}
	whole, err := os.ReadFile(filepath.Join(dir, hidden))
	if err != nil {
		t.Fatal(err)
	}
	before := 0 // entries in complete segments
	for i := 0; ; i++ {
		s, _ := parsePath(hidden)
		if itemsOf(0, i) == int(s.first)-1 {
			before = i
			break
		}
	}
	ends := []int{len(head)} // of entries in the open segment
	for i := before; i < 20; i++ {
		ends = append(ends, ends[len(ends)-1]+entryHead+len(data(i)))
	}
	if ends[len(ends)-1] != len(whole) || len(ends) < 3 {
		t.Fatalf("the open segment has %d bytes, its entries end at %v", len(whole), ends)
	}
	base := crashed(t, dir)
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(filepath.Join(base, hidden), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		at := crashed(t, base)
		q := open(t, Options{Dir: at, FS: hasty{OS}})
		n := 0 // whole entries
		for n+1 < len(ends) && ends[n+1] <= cut {
			n++
		}
		got, lost := take(t, q, false)
		wants(t, got, numbers(0, before+n))
		if st := q.Stats(); lost != 0 || st.Items != itemsOf(0, before+n) || st.CutBytes != int64(max(0, cut-ends[n])) {
			t.Errorf("cut at %d: lost %d, stats %+v", cut, lost, st)
		}
		if err := q.Append(data(before+n), items(before+n)); err != nil {
			t.Fatal(err)
		}
		got, _ = take(t, q, true)
		wants(t, got, numbers(before+n, before+n+1))
		closed(t, q)
	}
}

// TestDamage changes every byte of a complete segment, one at a time: one entry is
// lost, and counted.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir, SegmentBytes: 250, FS: hasty{OS}})
	put(t, q, 0, 15)
	closed(t, q)
	names := segments(t, dir)
	if len(names) < 3 {
		t.Fatalf("segments %v, want some before and behind", names)
	}
	for _, name := range []string{names[1], names[len(names)-1]} {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := len(head); i < len(whole); i++ {
			b := slices.Clone(whole)
			b[i] ^= 0x5a
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			q := open(t, Options{Dir: dir, FS: hasty{OS}})
			got, lost := take(t, q, false)
			if len(got) != 14 {
				t.Fatalf("byte %d of %s: read %v", i, name, got)
			}
			missing := 0
			for missing < 14 && got[missing] == missing {
				missing++
			}
			if lost != items(missing) {
				t.Errorf("byte %d of %s: entry %d is missing and %d items are lost", i, name, missing, lost)
			}
			closed(t, q)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("a segment is gone", func(t *testing.T) {
		dir := crashed(t, dir)
		s, _ := parsePath(names[1])
		if err := os.Remove(filepath.Join(dir, names[1])); err != nil {
			t.Fatal(err)
		}
		q := open(t, Options{Dir: dir, FS: hasty{OS}})
		defer q.Close()
		items := q.Stats().Items
		got, lost := take(t, q, true)
		if lost != int(s.next-s.first) || items != itemsOf(0, 15) || len(got) == 0 || q.Stats().Items != 0 {
			t.Errorf("lost %d of %d, want %d; read %v", lost, items, s.next-s.first, got)
		}
	})
	t.Run("read again", func(t *testing.T) {
		dir := crashed(t, dir)
		for _, name := range []string{names[1], names[len(names)-1]} { // in between, and at the end
			if err := os.Truncate(filepath.Join(dir, name), int64(len(head))); err != nil {
				t.Fatal(err)
			}
		}
		q := open(t, Options{Dir: dir, FS: hasty{OS}})
		defer q.Close()
		got, lost := take(t, q, false)
		q.Rewind()
		again, more := take(t, q, false)
		wants(t, again, got)
		if lost == 0 || more != 0 {
			t.Errorf("%d items are lost, and %d more when they are read again", lost, more)
		}
	})
	t.Run("the position is damaged", func(t *testing.T) {
		dir := crashed(t, dir)
		if err := os.WriteFile(filepath.Join(dir, positionName), []byte("next 9 crc32c 00000000\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		q := open(t, Options{Dir: dir, FS: hasty{OS}})
		defer q.Close()
		got, _ := take(t, q, true) // all of it once more
		wants(t, got, numbers(0, 15))
	})
}

// TestTwoGoroutines reads beside an appender.
func TestTwoGoroutines(t *testing.T) {
	const n = 300
	q := open(t, Options{Dir: t.TempDir(), SegmentBytes: 1000})
	defer q.Close()
	go func() {
		for i := range n {
			if err := q.Append(data(i), items(i)); err != nil {
				t.Error(err)
			}
		}
	}()
	var got []int
	for len(got) < n {
		more, lost := take(t, q, true)
		if got = append(got, more...); lost > 0 {
			t.Fatalf("lost %d", lost)
		}
		q.Stats()
	}
	wants(t, got, numbers(0, n))
}

// FuzzSegment opens a queue with any bytes for a segment.
func FuzzSegment(f *testing.F) {
	seed := []byte(head)
	for i := range 3 {
		seed = appendEntry(seed, uint64(1+itemsOf(0, i)), items(i), time.Unix(1, 0), data(i))
	}
	f.Add(seed, true)
	f.Add(seed[:len(seed)-5], false)
	f.Fuzz(func(t *testing.T, b []byte, hidden bool) {
		dir := t.TempDir()
		path := closedPath(dir, 1, 7)
		if hidden {
			path = openPath(dir, 1)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		q := open(t, Options{Dir: dir, FS: hasty{OS}})
		had, seen, next := q.Stats().Items, 0, uint64(1)
		for {
			e, err := q.Next()
			seen += e.Lost
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.First < next {
				t.Fatalf("item %d came after %d", e.First, next)
			}
			next = e.next()
			seen += e.Items
			q.Ack(e)
		}
		if seen != had {
			t.Errorf("%d items, %d of them read or lost", had, seen)
		}
		closed(t, q)
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{10 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			q := open(b, Options{Dir: b.TempDir(), MaxBytes: 1 << 40})
			defer q.Close()
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := q.Append(data, 1000); err != nil {
					b.Fatal(err)
				}
				if e, err := q.Next(); err == nil && e.First%64000 == 1 {
					b.StopTimer()
					q.Ack(e)
					b.StartTimer()
				}
			}
		})
	}
}
