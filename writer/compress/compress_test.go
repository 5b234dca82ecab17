package compress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ringside/writer/pcap"
)

// section is a pcapng section of packets that say something.
func section(n int) []byte {
	b := pcap.AppendSection(nil, &pcap.Section{Comment: "key"})
	b = pcap.AppendInterface(b, &pcap.Interface{Link: 1})
	for i := range n {
		b = pcap.AppendPacket(b, &pcap.Packet{Time: int64(i), Data: fmt.Appendf(nil, "packet number %d of this section, which says the same again", i)})
	}
	pcap.SetLength(b)
	return b
}

var ways = []Step{{Plain, Store}, {LZ4, Store}, {LZ4, Fast}, {Zstd, Store}, {Zstd, Fast}, {Zstd, Default}, {Zstd, Better}, {Zstd, Best},
	{Gzip, Store}, {Gzip, Fast}, {Gzip, Default}, {Gzip, Better}, {Gzip, Best}}

// Frames stand alone, one behind the other, and the plain tools read them all.
func TestFrames(t *testing.T) {
	var enc Encoder
	var dec Decoder
	for _, way := range ways {
		t.Run(fmt.Sprint(way.Format, way.Level), func(t *testing.T) {
			var file, plain []byte
			chunks := [][]byte{section(1), section(500), section(3), section(7000)}
			for i, c := range chunks {
				had := len(file)
				var err error
				if file, err = enc.Append(file, way.Format, way.Level, c); err != nil {
					t.Fatal(err)
				}
				if len(file)-had > Bound(len(c)) {
					t.Errorf("%d bytes became %d, Bound says %d", len(c), len(file)-had, Bound(len(c)))
				}
				plain = append(plain, c...)
				if i == 1 {
					file = AppendSkippable(file, way.Format, []byte("an index"))
				}
			}
			at, n := 0, 0
			for at < len(file) {
				size, skip, err := Measure(way.Format, file[at:])
				if err != nil {
					t.Fatal(err)
				}
				for _, cut := range []int{size - 1, size / 2, 5, 3} {
					if _, _, err := Measure(way.Format, file[at:at+cut]); !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Errorf("frame cut at %d of %d: %v", cut, size, err)
					}
				}
				if skip {
					body := make([]byte, 8)
					err := ReadBack(bytes.NewReader(file), way.Format, int64(at+size), 8, body)
					if err != nil || string(body) != "an index" || SkipLength(way.Format, file[at:]) != int64(size) {
						t.Errorf("skippable frame: %q", body)
					}
				} else {
					got, err := dec.Append(nil, way.Format, file[at:at+size])
					if err != nil || !bytes.Equal(got, chunks[n]) {
						t.Fatalf("frame %d: %d bytes, want %d: %v", n, len(got), len(chunks[n]), err)
					}
					n++
				}
				at += size
			}
			if n != len(chunks) {
				t.Errorf("%d frames", n)
			}
			tool(t, way.Format, file, plain)
		})
	}
}

func tool(t *testing.T, f Format, file, plain []byte) {
	t.Helper()
	name := map[Format]string{LZ4: "lz4", Zstd: "zstd", Gzip: "gzip"}[f]
	if name == "" {
		return
	}
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	path := filepath.Join(t.TempDir(), "file"+f.Ext())
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(name, "-t", path).CombinedOutput(); err != nil {
		t.Fatalf("%s -t: %v: %s", name, err, out)
	}
	out, err := exec.Command(name, "-dc", path).Output()
	if err != nil || !bytes.Equal(out, plain) {
		t.Fatalf("%s gives %d bytes, want %d: %v", name, len(out), len(plain), err)
	}
}

func TestRefuses(t *testing.T) {
	var enc Encoder
	if _, err := enc.Append(nil, Zstd, Fast, nil); err == nil {
		t.Error("an empty chunk was taken")
	}
	if _, err := enc.Append(nil, Zstd, Fast, make([]byte, MaxPlain+1)); err == nil {
		t.Error("a chunk that is too long was taken")
	}
	var dec Decoder
	for _, f := range []Format{LZ4, Zstd} {
		frame, err := enc.Append(nil, f, Fast, section(100))
		if err != nil {
			t.Fatal(err)
		}
		frame[len(frame)-2] ^= 1 // checksum
		if _, err := dec.Append(nil, f, frame); !errors.Is(err, ErrDamaged) {
			t.Errorf("%v with a wrong checksum: %v", f, err)
		}
	}
	for _, f := range []Format{Plain, LZ4, Zstd} {
		if _, _, err := Measure(f, []byte("neither one nor the other, of no format")); !errors.Is(err, ErrDamaged) {
			t.Errorf("%v: text: %v", f, err)
		}
	}
}

// A frame that claims to hold very much is refused, not unpacked.
func TestBomb(t *testing.T) {
	var dec Decoder
	bomb := append([]byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x58}, bytes.Repeat([]byte{0x02, 0x00, 0x10, 'x'}, 100)...) // 100 times 128 KiB
	bomb = append(bomb, 0x03, 0x00, 0x10, 'x')
	if out, err := dec.Append(nil, Zstd, bomb); err == nil || len(out) > MaxPlain {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestLadder(t *testing.T) {
	l := Ladder{{Zstd, Better}, {Zstd, Default}, {Zstd, Fast}, {Zstd, Store}}
	const room = 800
	for _, tc := range []struct {
		name    string
		at      int
		waiting int64
		want    int
	}{
		{"idle stays", 0, 0, 0},
		{"an eighth leads down", 0, 100, 1},
		{"below it stays", 0, 99, 0},
		{"a quarter leads down", 1, 200, 2},
		{"half leads to the end", 2, 400, 3},
		{"the end holds", 3, 800, 3},
		{"no flutter at the threshold", 1, 99, 1},
		{"nor a little below", 1, 50, 1},
		{"half of it leads up", 1, 49, 0},
		{"one step at a time", 3, 0, 2},
		{"out of range", 9, 800, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := l.Next(tc.at, tc.waiting, room); got != tc.want {
				t.Errorf("from %d with %d waiting to %d, want %d", tc.at, tc.waiting, got, tc.want)
			}
		})
	}
	// Whatever the load does, at one that stays the step comes to rest.
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		at, waiting := r.IntN(4), int64(r.IntN(room))
		for range 8 {
			at = l.Next(at, waiting, room)
		}
		if next := l.Next(at, waiting, room); next != at {
			t.Fatalf("flutters between %d and %d at %d", at, next, waiting)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	var enc Encoder
	chunk := section(500)
	buf := make([]byte, 0, 2*len(chunk))
	for _, way := range ways {
		if way.Format == LZ4 && way.Level == Fast {
			continue // the library allocates some times for a frame
		}
		if n := testing.AllocsPerRun(20, func() { buf, _ = enc.Append(buf[:0], way.Format, way.Level, chunk) }); n > 0 {
			t.Errorf("%v: %v allocations for a chunk", way, n)
		}
	}
}

// A body of any length is read back from its end, at any place.
func TestReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, f := range []Format{Plain, LZ4, Zstd, Gzip} {
		for _, n := range []int{4, gzipPiece - 4, gzipPiece, gzipPiece + 4, 3*gzipPiece + 400} {
			body := make([]byte, n)
			for i := range body {
				body[i] = byte(r.Uint32())
			}
			file := AppendSkippable([]byte("frames"), f, body)
			for range 20 {
				back := 1 + r.IntN(n)
				got := make([]byte, 1+r.IntN(back))
				if err := ReadBack(bytes.NewReader(file), f, int64(len(file)), int64(back), got); err != nil || !bytes.Equal(got, body[n-back:n-back+len(got)]) {
					t.Fatalf("%v: %d bytes from %d before the end of %d: %v", f, len(got), back, n, err)
				}
			}
			at := 6
			for at < len(file) {
				size, skip, err := Measure(f, file[at:])
				if err != nil || !skip || SkipLength(f, file[at:]) != int64(size) {
					t.Fatalf("%v: %d bytes at %d, %v, %v", f, size, at, skip, err)
				}
				at += size
			}
		}
	}
}

func FuzzMeasure(f *testing.F) {
	var enc Encoder
	for _, way := range ways {
		frame, _ := enc.Append(nil, way.Format, way.Level, section(20))
		f.Add(uint8(way.Format), frame)
		f.Add(uint8(way.Format), AppendSkippable(nil, way.Format, []byte("1234")))
	}
	f.Fuzz(func(t *testing.T, format uint8, b []byte) {
		n, skip, err := Measure(Format(format%Formats), b)
		if err != nil {
			return
		}
		if n <= 0 || n > len(b) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		if !skip {
			var dec Decoder
			if out, err := dec.Append(nil, Format(format%Formats), b[:n]); err == nil && len(out) > MaxPlain && format%Formats != 0 {
				t.Fatalf("%d bytes of %d", len(out), n)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	media := section(0)
	r := rand.New(rand.NewPCG(1, 1))
	for len(media) < 63<<10 {
		data := make([]byte, 214)
		for i := 54; i < len(data); i++ {
			data[i] = byte(r.Uint32())
		}
		media = pcap.AppendPacket(media, &pcap.Packet{Data: data})
	}
	pcap.SetLength(media)
	for name, chunk := range map[string][]byte{"text": section(500), "media": media} {
		for _, way := range ways {
			b.Run(fmt.Sprintf("%s/%v-%d", name, way.Format, way.Level), func(b *testing.B) {
				var enc Encoder
				buf := make([]byte, 0, 2*len(chunk))
				b.SetBytes(int64(len(chunk)))
				b.ReportAllocs()
				for b.Loop() {
					buf, _ = enc.Append(buf[:0], way.Format, way.Level, chunk)
				}
				b.ReportMetric(float64(len(chunk))/float64(len(buf)), "ratio")
			})
		}
	}
}
