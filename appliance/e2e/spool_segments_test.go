package e2e

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringside/bench/traffic"
	"ringside/dataplane/frame"
	"ringside/writer/compress"
	"ringside/writer/pcap"
	"ringside/writer/spool"
)

// listed is a segment as "ringside spool ls --json" lists it.
type listed struct {
	Path    string
	Class   string
	State   string
	Packets uint64
	Lost    int64 `json:"lost_bytes"`
}

func listSpool(t *testing.T, dir string) []listed {
	t.Helper()
	out, _ := ringside(t, 0, "spool", "ls", "--json", dir)
	var l struct{ Segments []listed }
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatal(err)
	}
	return l.Segments
}

// packers are the plain tools of segments that are compressed.
var packers = map[string]string{".gz": "gzip", ".zst": "zstd", ".lz4": "lz4"}

// unpacked is a segment as its plain tool gives it.
func unpacked(t *testing.T, path string) []byte {
	t.Helper()
	if p := packers[filepath.Ext(path)]; p != "" {
		return []byte(tool(t, p, "-dc", path))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tsharkCount is how many packets tshark reads in a capture.
func tsharkCount(t *testing.T, capture []byte) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "segment.pcapng")
	if err := os.WriteFile(path, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.Count(tool(t, "tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.len"), "\n")
}

// capinfosCount is how many packets capinfos counts in a file.
func capinfosCount(t *testing.T, path string) uint64 {
	t.Helper()
	cells := strings.Split(strings.TrimSpace(tool(t, "capinfos", "-T", "-r", "-M", "-c", path)), "\t")
	n, err := strconv.ParseUint(cells[len(cells)-1], 10, 64)
	if err != nil {
		t.Fatalf("capinfos: %q", cells)
	}
	return n
}

// TestSpoolSegments: every segment of a spool is opened by the plain tools, which
// count the packets that the index counts, and so is one that was cut at any
// byte, after its repair.
func TestSpoolSegments(t *testing.T) {
	withoutRace(t)
	t.Parallel()
	need(t, "tshark", "capinfos", "zstd", "lz4")
	o, err := traffic.Preset("mixed")
	if err != nil {
		t.Fatal(err)
	}
	o.Calls, o.Rate, o.Background = 20, 0.2, 1
	o.Talk = traffic.Length{Mean: 5 * time.Second}
	path, _ := generate(t, o)
	s := spoolRead(t, "2", path)
	t.Run("default", func(t *testing.T) { openSegments(t, s.dir) })
	packets := packetsOf(t, path)
	for _, f := range []compress.Format{compress.Gzip, compress.Zstd, compress.LZ4} {
		t.Run(f.String(), func(t *testing.T) { openSegments(t, packedSpool(t, f, packets)) })
	}
}

// packedSpool has packets in one segment of a format, of many frames.
func packedSpool(t *testing.T, format compress.Format, packets []stored) string {
	t.Helper()
	dir := t.TempDir()
	o := spool.Options{Dir: dir, Memory: 8 << 20, Section: pcap.Section{App: "ringside"}}
	for c := range o.Ladders {
		o.Ladders[c], o.Together[c] = compress.Ladder{{Format: format}}, 8<<10
	}
	s, err := spool.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var tapes [8]spool.Tape
	for i, p := range packets[:2000] {
		k := i / 5 % len(tapes)
		q := pcap.Packet{Time: p.time, Data: []byte(p.data), Len: p.wire}
		if !s.Shard(0).Put(&tapes[k], spool.SIP, strconv.Itoa(k), p.time, frame.LinkEthernet, &q) {
			t.Fatal("a packet was refused")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openSegments(t *testing.T, dir string) {
	all := listSpool(t, dir)
	formats := map[string]bool{}
	packets := uint64(0)
	for _, x := range all {
		path := filepath.Join(dir, x.Path)
		if x.State != "closed" || x.Packets == 0 {
			t.Errorf("%s: %s, %d packets", x.Path, x.State, x.Packets)
		}
		ext := filepath.Ext(path)
		if p := packers[ext]; p != "" {
			tool(t, p, "-qt", path)
		}
		if ext == ".gz" || ext == ".pcapng" { // the others it does not open itself
			if n := capinfosCount(t, path); n != x.Packets {
				t.Errorf("%s: capinfos counts %d packets, the index %d", x.Path, n, x.Packets)
			}
		}
		if n := tsharkCount(t, unpacked(t, path)); uint64(n) != x.Packets {
			t.Errorf("%s: tshark reads %d packets, the index has %d", x.Path, n, x.Packets)
		}
		packets += x.Packets
		if !formats[ext] {
			formats[ext] = true
			t.Run("cut "+ext, func(t *testing.T) { cutSegment(t, dir, x.Path) })
		}
	}
	if len(all) == 0 {
		t.Error("no segments")
	}
	t.Logf("%d segments, %d packets", len(all), packets)
}

// cuts is how many places a segment is cut at with -full, all ends of frames apart.
const cuts = 80

// cutSegment cuts a segment at places of all kinds, as a crash would, repairs it,
// and compares what is left with the frames that were whole.
func cutSegment(t *testing.T, dir, name string) {
	whole, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	ends := frameEnds(t, name, whole)
	var at []int
	for i, e := range ends {
		if i%every(1+len(ends)/16) == 0 || i == len(ends)-1 {
			at = append(at, e-1, e, e+1)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range cuts / every(4) {
		at = append(at, r.IntN(len(whole)))
	}
	slices.Sort(at)
	at = slices.Compact(at)
	to := t.TempDir()
	hidden := filepath.Join(to, filepath.Dir(name), "."+filepath.Base(name))
	if err := os.MkdirAll(filepath.Dir(hidden), 0o750); err != nil {
		t.Fatal(err)
	}
	var together []byte // all that was saved, for one run of tshark
	count, sampled := 0, 0
	for i, n := range at {
		if n < 0 || n > len(whole) {
			continue
		}
		if err := os.WriteFile(hidden, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		ringside(t, 0, "spool", "repair", to)
		kept := 0
		for _, e := range ends {
			if e <= n {
				kept = e
			}
		}
		left := listSpool(t, to)
		if kept == 0 {
			if len(left) != 0 {
				t.Errorf("cut at %d: %+v is left of no frame", n, left)
			}
			continue
		}
		if len(left) != 1 || left[0].Path != name || left[0].State != "closed" {
			t.Fatalf("cut at %d: %+v is left", n, left)
		}
		got, err := os.ReadFile(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) < kept || string(got[:kept]) != string(whole[:kept]) {
			t.Fatalf("cut at %d: what is left does not begin with the whole frames", n)
		}
		plain := unpacked(t, filepath.Join(to, name))
		count += int(left[0].Packets)
		if len(together) < 1<<24 {
			together = append(together, plain...)
		} else {
			count -= int(left[0].Packets)
		}
		if i%max(len(at)/8, 1) == 0 {
			sampled++
			if n := tsharkCount(t, plain); n != int(left[0].Packets) {
				t.Errorf("cut at %d: tshark reads %d packets, the index has %d", at[i], n, left[0].Packets)
			}
		}
		if err := os.Remove(filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	if n := tsharkCount(t, together); n != count {
		t.Errorf("tshark reads %d packets in all that was saved, the indexes have %d", n, count)
	}
	t.Logf("%s: %d bytes, %d frames, cut at %d places, %d of them opened by tshark alone", name, len(whole), len(ends), len(at), sampled)
}

// frameEnds is where the frames of a segment end, without those of the index. The
// plain tool agrees that the file is whole up to there.
func frameEnds(t *testing.T, name string, b []byte) (ends []int) {
	t.Helper()
	format := map[string]compress.Format{".pcapng": compress.Plain, ".gz": compress.Gzip, ".zst": compress.Zstd, ".lz4": compress.LZ4}[filepath.Ext(name)]
	for at := 0; at < len(b); {
		n, skip, err := compress.Measure(format, b[at:])
		if err != nil {
			t.Fatal(err)
		}
		at += n
		if skip {
			break
		}
		ends = append(ends, at)
	}
	if len(ends) == 0 || format == compress.Plain {
		return ends
	}
	program := packers[filepath.Ext(name)]
	path := filepath.Join(t.TempDir(), "begin"+filepath.Ext(name))
	for _, e := range ends[:min(len(ends), 10)] {
		if err := os.WriteFile(path, b[:e], 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, "-qt", path).CombinedOutput(); err != nil {
			t.Errorf("%s: no frame ends at %d: %v: %s", program, e, err, out)
		}
	}
	return ends
}
