package pcapin

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"ringside/dataplane/frame"
)

// rec is a frame to be written, or as it was read.
type rec struct {
	Time  int64
	Data  string
	Len   uint32
	Link  frame.LinkType
	Iface uint16
}

// someRecs are n frames of varied sizes, one millisecond apart.
func someRecs(n int, start int64, seed uint64) []rec {
	rng := rand.New(rand.NewPCG(seed, 1))
	recs := make([]rec, n)
	for i := range recs {
		data := make([]byte, 20+rng.IntN(400))
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		recs[i] = rec{Time: start + int64(i)*1e6, Data: string(data), Len: uint32(len(data)), Link: frame.LinkEthernet}
	}
	return recs
}

const epoch = 1_700_000_000 * int64(1e9)

// pcapBytes writes a pcap file by its magic number, which is also what sets its
// time resolution.
func pcapBytes(order binary.AppendByteOrder, magic uint32, recs []rec) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint32(b, 262144)
	b = order.AppendUint32(b, 1|5<<28) // Ethernet with 4 bytes of frame check sequence
	unit := int64(1000)
	if magic == magicNano {
		unit = 1
	}
	for _, r := range recs {
		b = order.AppendUint32(b, uint32(r.Time/1e9))
		b = order.AppendUint32(b, uint32(r.Time%1e9/unit))
		b = order.AppendUint32(b, uint32(len(r.Data)))
		b = order.AppendUint32(b, r.Len)
		if magic == magicModified {
			b = append(b, make([]byte, 8)...)
		}
		b = append(b, r.Data...)
	}
	return b
}

func littlePcap(recs []rec) []byte { return pcapBytes(binary.LittleEndian, magicMicro, recs) }

// ng builds a pcapng section.
type ng struct {
	order binary.AppendByteOrder
	b     []byte
}

func newNG(order binary.AppendByteOrder) *ng {
	g := &ng{order: order}
	body := order.AppendUint32(nil, byteOrderMagic)
	body = order.AppendUint16(body, 1)
	body = order.AppendUint16(body, 0)
	body = order.AppendUint64(body, 1<<64-1)
	return g.block(blockSection, body)
}

func (g *ng) block(kind uint32, body []byte) *ng {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	total := uint32(len(body) + blockOverhead)
	g.b = g.order.AppendUint32(g.b, kind)
	g.b = g.order.AppendUint32(g.b, total)
	g.b = append(g.b, body...)
	g.b = g.order.AppendUint32(g.b, total)
	return g
}

func (g *ng) option(body []byte, code uint16, value []byte) []byte {
	body = g.order.AppendUint16(body, code)
	body = g.order.AppendUint16(body, uint16(len(value)))
	body = append(body, value...)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	return body
}

// iface describes an interface; resol < 0 leaves the option out.
func (g *ng) iface(link frame.LinkType, snap uint32, resol int, offset int64) *ng {
	body := g.order.AppendUint16(nil, uint16(link))
	body = append(body, 0, 0)
	body = g.order.AppendUint32(body, snap)
	body = g.option(body, 2, []byte("eth0")) // if_name
	if resol >= 0 {
		body = g.option(body, optTsResol, []byte{byte(resol)})
	}
	if offset != 0 {
		body = g.option(body, optTsOffs, g.order.AppendUint64(nil, uint64(offset)))
	}
	return g.block(blockInterface, g.option(body, optEnd, nil))
}

func (g *ng) enhanced(iface uint32, stamp uint64, data string, wire uint32) *ng {
	body := g.order.AppendUint32(nil, iface)
	return g.block(blockEnhanced, g.packet(body, stamp, data, wire))
}

func (g *ng) obsolete(iface uint16, stamp uint64, data string, wire uint32) *ng {
	body := g.order.AppendUint16(nil, iface)
	body = append(body, 0, 0)
	return g.block(blockPacket, g.packet(body, stamp, data, wire))
}

func (g *ng) packet(body []byte, stamp uint64, data string, wire uint32) []byte {
	body = g.order.AppendUint32(body, uint32(stamp>>32))
	body = g.order.AppendUint32(body, uint32(stamp))
	body = g.order.AppendUint32(body, uint32(len(data)))
	body = g.order.AppendUint32(body, wire)
	return append(body, data...)
}

func (g *ng) simple(data string, wire uint32) *ng {
	return g.block(blockSimple, append(g.order.AppendUint32(nil, wire), data...))
}

func (g *ng) stats(iface uint32, ifDrop, osDrop uint64) *ng {
	body := g.order.AppendUint32(nil, iface)
	body = append(body, make([]byte, 8)...)
	body = g.option(body, optIfDrop, g.order.AppendUint64(nil, ifDrop))
	body = g.option(body, optOsDrop, g.order.AppendUint64(nil, osDrop))
	return g.block(blockStats, g.option(body, optEnd, nil))
}

// ngBytes is a section with one interface of microseconds and the frames.
func ngBytes(order binary.AppendByteOrder, recs []rec) []byte {
	g := newNG(order).iface(frame.LinkEthernet, 0, -1, 0)
	for _, r := range recs {
		g.enhanced(0, uint64(r.Time/1000), r.Data, r.Len)
	}
	return g.b
}

func packGzip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	mustWrite(w, b)
	return out.Bytes()
}

func packZstd(b []byte) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		panic(err)
	}
	mustWrite(w, b)
	return out.Bytes()
}

func packLZ4(b []byte) []byte {
	var out bytes.Buffer
	mustWrite(lz4.NewWriter(&out), b)
	return out.Bytes()
}

func mustWrite(w io.WriteCloser, b []byte) {
	if _, err := w.Write(b); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
}

func skippable(n int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, magicSkippable+3)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	return append(b, make([]byte, n)...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// write puts b in a file of the test's own directory.
func write(t testing.TB, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll reads opt.Inputs alone and checks what every source promises.
func readAll(t testing.TB, opt Options) ([]rec, Stats) {
	t.Helper()
	r, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var recs []rec
	var seq uint64
	var mark, next int64
	for {
		if m := r.Mark(); m < mark || m > next {
			t.Fatalf("mark is %d behind %d, the next clock may be %d", m, mark, next)
		}
		mark = r.Mark()
		b, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			runtime.Gosched()
			continue
		}
		for i := range b.Frames {
			f := &b.Frames[i]
			if clock := max(next, f.Time); f.Seq != seq || f.Clock != clock || f.Clock < mark || f.Clock == math.MaxInt64 || int(f.Len) < len(f.Data) {
				t.Fatalf("frame %d: seq %d, clock %d (want %d), mark %d, %d bytes of %d",
					seq, f.Seq, f.Clock, clock, mark, len(f.Data), f.Len)
			}
			seq, next = seq+1, f.Clock+1
			recs = append(recs, rec{f.Time, string(f.Data), f.Len, f.Link, f.Iface})
		}
		b.Release()
	}
	if b, err := r.Next(); b != nil || err != io.EOF {
		t.Fatalf("got %v, %v behind the end", b, err)
	}
	if r.Mark() != next {
		t.Fatalf("last mark is %d, want %d", r.Mark(), next)
	}
	s := r.Stats()
	if s.Frames != seq {
		t.Fatalf("stats count %d frames, want %d", s.Frames, seq)
	}
	return recs, s
}

// digest is a frame by its place and content.
type digest struct {
	Seq         uint64
	Time, Clock int64
	Hash        uint64
}

var hashSeed = maphash.MakeSeed()

func digestOf(f *frame.Frame) digest {
	return digest{f.Seq, f.Time, f.Clock, maphash.Bytes(hashSeed, f.Data)}
}

// inOrder is what the files have to be read as: merged by their own clocks,
// of equal ones the file that begins earlier first.
func inOrder(files ...[]rec) []digest {
	files = slices.DeleteFunc(slices.Clone(files), func(recs []rec) bool { return len(recs) == 0 })
	slices.SortStableFunc(files, func(a, b []rec) int { return cmp.Compare(a[0].Time, b[0].Time) })
	var all []digest
	for _, recs := range files {
		next := int64(0)
		for _, r := range recs {
			d := digest{Time: r.Time, Clock: max(next, r.Time), Hash: maphash.String(hashSeed, r.Data)}
			next = d.Clock + 1
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(a, b digest) int { return cmp.Compare(a.Clock, b.Clock) })
	next := int64(0)
	for i := range all {
		all[i].Seq, all[i].Clock = uint64(i), max(next, all[i].Time)
		next = all[i].Clock + 1
	}
	return all
}
