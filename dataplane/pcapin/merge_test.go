package pcapin

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestInputs(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, at int64) string {
		return write(t, dir, name, littlePcap(someRecs(2, epoch+at*1e9, uint64(at))))
	}
	b, a := file("sub/b.pcap", 20), file("a.pcap", 30)
	c := file("sub/deeper/c.cap", 10)
	file("sub/.hidden.pcap", 1)
	file(".hidden/d.pcap", 1)
	write(t, dir, "sub/readme.txt", []byte("no capture at all"))
	write(t, dir, "sub/x", []byte("x"))
	brackets := file("[1].pcap", 40)
	for _, v := range []struct {
		name   string
		inputs []string
		times  []int64
		passed uint64
	}{
		{"file", []string{a}, []int64{30}, 0},
		{"directory", []string{dir}, []int64{10, 20, 30, 40}, 2},
		{"directory and its file", []string{a, dir, a}, []int64{10, 20, 30, 40}, 2},
		{"glob", []string{filepath.Join(dir, "*", "*.pcap")}, []int64{20}, 0},
		{"globs", []string{filepath.Join(dir, "*", "?.pcap"), filepath.Join(dir, "sub", "*", "[a-c].cap")}, []int64{10, 20}, 0},
		{"glob of a directory", []string{filepath.Join(dir, "s*", "d*")}, []int64{10}, 0},
		{"name like a pattern", []string{brackets, b, c}, []int64{10, 20, 40}, 0},
	} {
		t.Run(v.name, func(t *testing.T) {
			got, s := readAll(t, Options{Inputs: v.inputs})
			var times []int64
			for i := 0; i < len(got); i += 2 {
				times = append(times, (got[i].Time-epoch)/1e9)
			}
			if !slices.Equal(times, v.times) || s.Passed != v.passed {
				t.Errorf("files of %v, %d passed over, want %v and %d", times, s.Passed, v.times, v.passed)
			}
			noDamage(t, s)
			if s.Bytes != s.TotalBytes {
				t.Errorf("%d of %d bytes done", s.Bytes, s.TotalBytes)
			}
		})
	}
	for _, v := range []struct {
		name   string
		opt    Options
		reason string
	}{
		{"nothing", Options{}, "no file in"},
		{"no such file", Options{Inputs: []string{filepath.Join(dir, "none.pcap")}}, "no such file"},
		{"no match", Options{Inputs: []string{filepath.Join(dir, "none*")}}, "no file matches"},
		{"bad pattern", Options{Inputs: []string{filepath.Join(dir, "none[")}}, "syntax error"},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := Open(v.opt)
			if err == nil || !strings.Contains(err.Error(), v.reason) {
				t.Errorf("error is %v, want %q in it", err, v.reason)
			}
		})
	}
}

// Three files that overlap are merged by time; the damage of one does not stop
// the others.
func TestMerge(t *testing.T) {
	dir := t.TempDir()
	a, b, c := someRecs(2000, epoch, 1), someRecs(1500, epoch+500e6, 2), someRecs(3000, epoch+700e6+1000, 3)
	inputs := []string{
		write(t, dir, "c", littlePcap(c)),
		write(t, dir, "b", littlePcap(b)[:200_000]),
		write(t, dir, "a", ngBytes(binary.LittleEndian, a)),
		write(t, dir, "empty", nil),
		write(t, dir, "no frames", littlePcap(nil)),
	}
	cut, _ := readAll(t, Options{Inputs: inputs[1:2]})
	if len(cut) == 0 || len(cut) >= len(b) {
		t.Fatalf("%d frames of the file that is cut", len(cut))
	}
	want := slices.Concat(a, cut, c) // in the order of their first frames
	slices.SortStableFunc(want, func(x, y rec) int { return cmp.Compare(x.Time, y.Time) })
	got, s := readAll(t, Options{Inputs: inputs, BlockSize: 4 << 10})
	diffRecs(t, got, want)
	if s.Files != 5 || s.Damaged != 2 || s.Bytes != s.TotalBytes {
		t.Errorf("stats are %+v", s)
	}
	for _, d := range s.Damages {
		if d.File != inputs[1] && d.File != inputs[3] {
			t.Errorf("damage of %v", d)
		}
	}
}

// A rotating capture has one file open at a time, and so few blocks.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	const files = 300
	var want []rec
	for i := range files {
		recs := someRecs(10, epoch+int64(i)*10e6, uint64(i))
		want = append(want, recs...)
		write(t, dir, fmt.Sprintf("part%03d.pcap", files-i), littlePcap(recs))
	}
	r, err := Open(Options{Inputs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	most, n := 0, 0
	for {
		b, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Frames {
			if string(b.Frames[i].Data) != want[n].Data {
				t.Fatalf("frame %d is another", n)
			}
			n++
		}
		open := 0
		for _, f := range r.merge.active {
			if f.os != nil {
				open++
			}
		}
		most = max(most, open, len(r.merge.active))
		b.Release()
	}
	if n != len(want) || most > 2 {
		t.Errorf("%d frames with up to %d files open, want %d and at most 2", n, most, len(want))
	}
}
