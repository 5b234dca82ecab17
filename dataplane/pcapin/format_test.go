package pcapin

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ringside/dataplane/frame"
)

var orders = []struct {
	name  string
	order binary.AppendByteOrder
}{{"little", binary.LittleEndian}, {"big", binary.BigEndian}}

func TestPcap(t *testing.T) {
	for _, o := range orders {
		for name, magic := range map[string]uint32{"micro": magicMicro, "nano": magicNano, "modified": magicModified} {
			t.Run(o.name+"/"+name, func(t *testing.T) {
				want := someRecs(50, epoch+123_456_000, 1)
				if magic == magicNano {
					want[3].Time += 789
				}
				want[7].Len += 1000                 // cut
				want[8].Data, want[8].Len = "", 60  // nothing captured
				want[9].Data, want[9].Len = "", 0   // nothing there
				want[10].Time, want[11].Time = 0, 0 // no clock
				want[12].Time = want[13].Time       // equal
				want[20].Data = strings.Repeat("x", 65_600)
				want[20].Len = 65_600 // joined by the network card
				path := write(t, t.TempDir(), "a.pcap", pcapBytes(o.order, magic, want))
				got, s := readAll(t, Options{Inputs: []string{path}})
				diffRecs(t, got, want)
				if s.Cut != 2 || s.Damaged != 0 || s.Bytes != s.TotalBytes || s.Bytes == 0 || s.File != path {
					t.Errorf("stats are %+v", s)
				}
			})
		}
	}
}

// A frame with more bytes than were on the wire is as long as its bytes.
func TestLongerThanWire(t *testing.T) {
	in := []rec{{Time: epoch, Data: "abcdef", Len: 4, Link: frame.LinkEthernet}}
	got, s := readBytes(t, littlePcap(in))
	if len(got) != 1 || got[0].Len != 6 || s.Cut != 0 {
		t.Errorf("got %+v, %d cut", got, s.Cut)
	}
}

// Files may be appended to each other, plain or packed.
func TestAppended(t *testing.T) {
	a, b, c := someRecs(5, epoch, 1), someRecs(6, epoch-1e9, 2), someRecs(7, epoch+1e9, 3)
	want := slices.Concat(a, b, c)
	pcap := [][]byte{littlePcap(a), pcapBytes(binary.BigEndian, magicNano, b), pcapBytes(binary.LittleEndian, magicModified, c)}
	pcapng := [][]byte{ngBytes(binary.LittleEndian, a), ngBytes(binary.BigEndian, b), ngBytes(binary.LittleEndian, c)}
	for name, parts := range map[string][][]byte{"pcap": pcap, "pcapng": pcapng} {
		for _, p := range packers {
			t.Run(name+"/"+p.name, func(t *testing.T) {
				got, s := readBytes(t, join(p.pack(parts[0]), p.pack(parts[1]), p.pack(parts[2])))
				diffRecs(t, got, want)
				noDamage(t, s)
			})
		}
	}
}

var packers = []struct {
	name string
	pack func([]byte) []byte
}{
	{"plain", func(b []byte) []byte { return b }},
	{"gzip", packGzip}, {"zstd", packZstd}, {"lz4", packLZ4},
}

func TestSkippableFrames(t *testing.T) {
	a, b := someRecs(5, epoch, 1), someRecs(6, epoch+1e9, 2)
	for _, p := range packers[2:] {
		t.Run(p.name, func(t *testing.T) {
			file := join(skippable(0), skippable(100_000), p.pack(littlePcap(a)), skippable(7), p.pack(littlePcap(b)), skippable(70_000))
			got, s := readBytes(t, file)
			diffRecs(t, got, slices.Concat(a, b))
			noDamage(t, s)
			if s.Bytes != int64(len(file)) {
				t.Errorf("%d bytes done, want %d", s.Bytes, len(file))
			}
		})
	}
}

func TestPcapng(t *testing.T) {
	for _, o := range orders {
		t.Run(o.name, func(t *testing.T) {
			g := newNG(o.order)
			g.iface(frame.LinkEthernet, 0, -1, 0).iface(frame.LinkSLL2, 96, 9, 0).iface(frame.LinkRaw, 0, 0x80|10, 1000)
			g.block(blockNames, make([]byte, 12))
			g.enhanced(0, 1_700_000_000_000_001, "one", 3)
			g.block(0x1234, []byte("what is this"))
			g.enhanced(1, 1_700_000_000_000_000_002, "two", 90)
			g.obsolete(2, 1_700_000_000<<10+512, "three", 5)
			g.simple("simple", 6)
			g.block(0x80000001, nil)
			g.block(blockSecrets, bytes.Repeat([]byte("key"), 400_000)) // larger than a block of memory
			g.block(0x4321, make([]byte, maxRecord))
			g.stats(1, 3, 4).stats(1, 5, 10).stats(9, 1, 1)
			other := newNG(otherOrder(o.order)).iface(frame.LinkIPv4, 0, 3, 0)
			other.enhanced(0, 1_700_000_000_007, "seven", 5)
			other.stats(0, 0, 1)
			got, s := readBytes(t, join(g.b, other.b))
			diffRecs(t, got, []rec{
				{1_700_000_000_000_001_000, "one", 3, frame.LinkEthernet, 0},
				{1_700_000_000_000_000_002, "two", 90, frame.LinkSLL2, 1},
				{1_700_001_000_500_000_000, "three", 5, frame.LinkRaw, 2},
				{1_700_001_000_500_000_000, "simple", 6, frame.LinkEthernet, 0},
				{1_700_000_000_007_000_000, "seven", 5, frame.LinkIPv4, 0},
			})
			noDamage(t, s)
			if s.UnknownBlocks != 3 || s.Cut != 1 || s.Dropped != 16 {
				t.Errorf("stats are %+v, want 3 unknown blocks, 1 cut, 16 dropped", s)
			}
		})
	}
}

func otherOrder(o binary.AppendByteOrder) binary.AppendByteOrder {
	if o == binary.AppendByteOrder(binary.LittleEndian) {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// The snap length bounds a simple packet, whose block does not say its size.
func TestSimplePacketCut(t *testing.T) {
	g := newNG(binary.LittleEndian).iface(frame.LinkEthernet, 5, -1, 0)
	g.simple("12345", 1500)
	got, s := readBytes(t, g.b)
	diffRecs(t, got, []rec{{0, "12345", 1500, frame.LinkEthernet, 0}})
	noDamage(t, s)
}

func TestResolution(t *testing.T) {
	for _, v := range []struct {
		name   string
		resol  byte
		offset int64
		stamp  uint64
		want   int64
	}{
		{"seconds", 0, 0, 7, 7e9},
		{"milliseconds", 3, 0, 1500, 1.5e9},
		{"microseconds", 6, 0, 1_700_000_000_000_001, 1_700_000_000_000_001_000},
		{"nanoseconds", 9, 0, 42, 42},
		{"tenths of nanoseconds", 10, 0, 429, 42},
		{"picoseconds", 12, 0, 1_999_999, 1999},
		{"10^-28", 28, 0, math.MaxUint64, 1},
		{"10^-29 is below what counts", 29, 0, math.MaxUint64, 0},
		{"10^-127", 127, 0, math.MaxUint64, 0},
		{"2^0", 0x80, 0, 3, 3e9},
		{"2^-10", 0x80 | 10, 0, 3<<10 + 256, 3.25e9},
		{"2^-20", 0x80 | 20, 0, 1_700_000_000<<20 + 1<<19, 1_700_000_000_500_000_000},
		{"2^-32", 0x80 | 32, 0, 1_700_000_000<<32 + 1<<31, 1_700_000_000_500_000_000},
		{"2^-63", 0x80 | 63, 0, 1<<63 + 1<<62, 1.5e9},
		{"2^-64", 0x80 | 64, 0, 1 << 63, 5e8},
		{"2^-65", 0x80 | 65, 0, 1 << 63, 2.5e8},
		{"2^-127", 0x80 | 127, 0, math.MaxUint64, 0},
		{"offset", 6, 100, 5, 100e9 + 5000},
		{"offset back", 6, -100, 100_000_005, 5000},
		{"before 1970", 6, -100, 5, 0},
		{"too late", 0, 0, math.MaxUint64, maxTime},
		{"too late by offset", 9, math.MaxInt64, math.MaxInt64, maxTime},
		{"offset out of bounds", 9, math.MinInt64, 1, 0},
	} {
		t.Run(v.name, func(t *testing.T) {
			r := newResolution(v.resol, v.offset)
			if got := r.ns(v.stamp); got != v.want {
				t.Errorf("%d, want %d", got, v.want)
			}
		})
	}
}

// Of frames beyond the last time there is, the clocks still go up.
func TestEndOfTime(t *testing.T) {
	const late = math.MaxUint64
	g := newNG(binary.LittleEndian).iface(frame.LinkEthernet, 0, 0, 0)
	g.enhanced(0, late, "a", 1).obsolete(0, late, "b", 1).simple("c", 1).enhanced(0, late, "d", 1).enhanced(0, 1, "e", 1)
	got, s := readBytes(t, g.b) // looks at the clocks
	noDamage(t, s)
	diffRecs(t, got, []rec{
		{maxTime, "a", 1, frame.LinkEthernet, 0},
		{maxTime, "b", 1, frame.LinkEthernet, 0},
		{maxTime, "c", 1, frame.LinkEthernet, 0},
		{maxTime, "d", 1, frame.LinkEthernet, 0},
		{1e9, "e", 1, frame.LinkEthernet, 0},
	})
}

func TestDamage(t *testing.T) {
	good := someRecs(3, epoch, 1)
	pcap := littlePcap(good)
	ngGood := ngBytes(binary.LittleEndian, good)
	le := binary.LittleEndian
	record := func(captured uint32) []byte {
		b := le.AppendUint32(nil, 1_700_000_000)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, captured)
		return append(le.AppendUint32(b, captured), make([]byte, 64)...)
	}
	edit := func(b []byte, at int, v uint32) []byte {
		b = slices.Clone(b)
		le.PutUint32(b[at:], v)
		return b
	}
	shortSnap := edit(pcap, 16, 96)
	gz, zs, l4 := packGzip(pcap), packZstd(pcap), packLZ4(pcap)
	for _, v := range []struct {
		name   string
		file   []byte
		frames int // -1: any; -2: not even their bytes, the checksum comes behind them
		offset int // -1: any
		reason string
	}{
		{"empty", nil, 0, 0, "empty"},
		{"one byte", []byte{0xd4}, 0, 0, "neither"},
		{"text", []byte("hello, this is text"), 0, 0, "neither"},
		{"version", edit(pcap, 4, 3), 0, 0, "version 3"},
		{"half a header", pcap[:20], 0, 0, "20 of 24"},
		{"half a record header", append(slices.Clone(pcap), 1, 2, 3), 3, len(pcap), "3 of 16"},
		{"half a record", append(slices.Clone(pcap), record(65)...), 3, len(pcap), "80 of 81"},
		{"huge record", append(slices.Clone(pcap), record(maxCapture+1)...), 3, len(pcap), "262145"},
		{"longest record cut", append(slices.Clone(pcap), record(maxCapture)...), 3, len(pcap), "80 of 262160"},
		{"far beyond the snap length", append(shortSnap, record(maxCapture/2+1)...), 3, len(pcap), "131073"},
		{"pcapng cut in a header", append(slices.Clone(ngGood), 6, 0, 0, 0), 3, len(ngGood), "4 of 12"},
		{"pcapng version", edit(ngGood, 12, 2), 0, 0, "version 2"},
		{"pcapng byte order", edit(ngGood, 8, 7), 0, 0, "byte order 0x7"},
		{"pcapng length", edit(ngGood, 28+4, 8), 0, 28, "length of 8"},
		{"pcapng lengths differ", edit(ngGood, 24, 32), 0, 0, "28 bytes at its start and 32"},
		{"pcapng huge packet", newNG(le).iface(1, 0, -1, 0).block(blockEnhanced, make([]byte, maxRecord)).b, 0, -1, "out of bounds"},
		{"pcapng huge block cut", newNG(le).block(77, make([]byte, maxRecord)).b[:maxRecord], 0, maxRecord, "missing"},
		{"pcapng no interface", newNG(le).enhanced(0, 1, "x", 1).b, 0, 28, "interface 0"},
		{"pcapng no interface for simple", newNG(le).simple("x", 1).b, 0, 28, "interface 0"},
		{"pcapng packet longer than its block", newNG(le).iface(1, 0, -1, 0).block(blockEnhanced, append(make([]byte, 12), 5, 0, 0, 0, 5, 0, 0, 0, 1, 2, 3, 4)).b, 0, -1, "length of 5"},
		{"pcapng short packet", newNG(le).iface(1, 0, -1, 0).block(blockEnhanced, make([]byte, 16)).b, 0, -1, "too short"},
		{"pcapng short simple packet", newNG(le).iface(1, 0, -1, 0).block(blockSimple, nil).b, 0, -1, "too short"},
		{"pcapng short interface", newNG(le).block(blockInterface, nil).b, 0, 28, "too short"},
		{"pcapng short section", newNG(le).block(blockSection, le.AppendUint32(nil, byteOrderMagic)).b, 0, 28, "too short"},
		{"pcapng short statistics", newNG(le).block(blockStats, nil).enhanced(0, 1, "x", 1).b, 0, 40, "interface 0"},
		{"gzip header", gz[:8], 0, 0, "EOF"},
		{"gzip cut", gz[:len(gz)-20], -1, -1, "EOF"},
		{"gzip trailing bytes", append(slices.Clone(gz), "rest"...), 3, len(pcap), "EOF"},
		{"zstd cut", zs[:len(zs)-20], 0, -1, "EOF"},
		{"lz4 cut", l4[:len(l4)-20], 0, -1, "EOF"},
		{"skippable frame cut", skippable(100)[:50], 0, 0, "skippable"},
		{"skippable header cut", skippable(100)[:5], 0, 0, "skippable"},
		{"zstd bits", flip(zs, len(zs)/2), -2, -1, ""},
		{"lz4 bits", flip(l4, len(l4)/2), -2, -1, ""},
		{"gzip bits", flip(gz, len(gz)-6), 3, -1, "checksum"},
	} {
		t.Run(v.name, func(t *testing.T) {
			got, s := readBytes(t, v.file)
			if v.frames >= 0 && len(got) != v.frames {
				t.Errorf("%d frames, want %d", len(got), v.frames)
			}
			if v.frames > -2 {
				diffRecs(t, got, good[:min(len(got), 3)])
			}
			if s.Damaged != 1 || len(s.Damages) != 1 {
				t.Fatalf("damages are %v, want one", s.Damages)
			}
			d := s.Damages[0]
			if v.offset >= 0 && d.Offset != int64(v.offset) {
				t.Errorf("offset is %d, want %d", d.Offset, v.offset)
			}
			if !strings.Contains(d.Reason, v.reason) || !strings.Contains(d.String(), d.File) {
				t.Errorf("damage is %q, want %q in it", d, v.reason)
			}
			if s.Bytes != int64(len(v.file)) {
				t.Errorf("%d bytes done, want %d", s.Bytes, len(v.file))
			}
		})
	}
}

func flip(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 0x55
	return b
}

// A file that ends anywhere gives the frames before, and says so unless it ends
// between two frames.
func TestTruncation(t *testing.T) {
	want := someRecs(6, epoch, 1)
	g := newNG(binary.BigEndian).iface(frame.LinkEthernet, 0, -1, 0)
	for i, r := range want {
		g.enhanced(0, uint64(r.Time/1000), r.Data, r.Len)
		if i == 2 {
			g.block(blockNames, make([]byte, 40)).block(0x999, nil)
		}
	}
	for name, whole := range map[string][]byte{"pcap": littlePcap(want), "pcapng": g.b} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			all, clean, before := 0, 0, 0
			for n := range len(whole) + 1 {
				path := write(t, dir, "cut", whole[:n])
				got, s := readAll(t, Options{Inputs: []string{path}, BlockSize: minBlock})
				diffRecs(t, got, want[:len(got)])
				if len(got) < before {
					t.Fatalf("%d frames of %d bytes, but %d of fewer", len(got), n, before)
				}
				before = len(got)
				if s.Damaged == 0 {
					clean++
				}
				all = len(got)
			}
			if all != len(want) {
				t.Errorf("%d frames at the end, want %d", all, len(want))
			}
			// Clean ends: behind the header and each frame; in pcapng behind each block.
			if want := map[string]int{"pcap": 7, "pcapng": 10}[name]; clean != want {
				t.Errorf("%d clean ends, want %d", clean, want)
			}
		})
	}
}

// readBytes reads one file.
func readBytes(t testing.TB, b []byte) ([]rec, Stats) {
	t.Helper()
	return readAll(t, Options{Inputs: []string{write(t, t.TempDir(), "file", b)}})
}

func diffRecs(t testing.TB, got, want []rec) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("frame %d is %.200v, want %.200v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
}

func noDamage(t testing.TB, s Stats) {
	t.Helper()
	if s.Damaged != 0 || len(s.Damages) != 0 {
		t.Errorf("damaged: %v", s.Damages)
	}
}

// TestDropCount: what a packet's options say was lost before it stands in its
// frame, and only there.
func TestDropCount(t *testing.T) {
	for _, o := range orders {
		t.Run(o.name, func(t *testing.T) {
			g := newNG(o.order).iface(frame.LinkEthernet, 0, -1, 0)
			g.enhanced(0, 1, "none", 4)
			body := g.packet(g.order.AppendUint32(nil, 0), 2, "seven", 5)
			body = append(body, 0, 0, 0)
			body = g.option(body, 1, []byte("a comment"))
			body = g.option(body, optDropCount, g.order.AppendUint64(nil, 7))
			g.block(blockEnhanced, g.option(body, optEnd, nil))
			body = g.packet(g.order.AppendUint32(nil, 0), 3, "", 0)
			g.block(blockEnhanced, g.option(body, optDropCount, g.order.AppendUint64(nil, 1<<40)))
			g.enhanced(0, 4, "none again", 10)
			path := filepath.Join(t.TempDir(), "drops.pcapng")
			if err := os.WriteFile(path, g.b, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Open(Options{Inputs: []string{path}})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			b, err := r.Next()
			if err != nil || b == nil {
				t.Fatalf("read: %v, %v", b, err)
			}
			var got []uint32
			for i := range b.Frames {
				got = append(got, b.Frames[i].Lost)
			}
			if want := []uint32{0, 7, 1<<32 - 1, 0}; !slices.Equal(got, want) {
				t.Errorf("lost before each frame: %d, want %d", got, want)
			}
		})
	}
}
