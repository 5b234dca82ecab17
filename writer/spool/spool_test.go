package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// t0 is a time in the middle of a minute.
const t0 = int64(1_700_000_000_000_000_000)

// datagram is an Ethernet frame with a UDP datagram.
func datagram(src, dst uint16, payload []byte) []byte {
	b := make([]byte, 0, 42+len(payload))
	b = append(b, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0)
	ip := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(28+len(payload)))
	b = append(b, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[ip+i:]))
	}
	sum = sum&0xFFFF + sum>>16
	binary.BigEndian.PutUint16(b[ip+10:], ^uint16(sum))
	b = binary.BigEndian.AppendUint16(b, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(b, 0, 0)
	return append(b, payload...)
}

func sipFrame(key string, n int) []byte {
	return datagram(5060, 5060, fmt.Appendf(nil, "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK%d\r\n"+
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: %s\r\nCSeq: %d OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", n, key, n))
}

// sent is one packet that a test has put into a spool.
type sent struct {
	key  string
	time int64
	data []byte
	n    int
}

// clock is a machine clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t testing.TB, o Options) *Spool {
	t.Helper()
	if o.Limits.Reserve == 0 {
		o.Limits.Reserve = 1 << 20
	}
	if o.Memory == 0 {
		o.Memory = 8 << 20
	}
	o.AllowRoot = true // where tests may write depends on the machine
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fill puts packets of many calls into a shard: signalling and media.
func fill(t testing.TB, sh *Shard, r *rand.Rand, calls, packets int, span time.Duration) []sent {
	t.Helper()
	var out []sent
	tapes := make([][2]Tape, calls)
	for n := range packets {
		at := t0 + int64(n)*int64(span)/int64(packets)
		i := r.IntN(calls)
		p := sent{key: fmt.Sprintf("call-%d@example.com", i), time: at, n: n}
		c := Class(r.IntN(2))
		if c == SIP {
			p.data = sipFrame(p.key, n)
		} else {
			payload := make([]byte, 172)
			for j := range payload {
				payload[j] = byte(r.Uint32())
			}
			p.data = datagram(4000, 4002, payload)
		}
		if !sh.Put(&tapes[i][c], c, p.key, at, frame.LinkEthernet, &pcap.Packet{Time: at, Data: p.data, Dir: pcap.Inbound, Iface: uint16(n % 2)}) {
			t.Fatalf("packet %d refused", n)
		}
		out = append(out, p)
	}
	return out
}

// fetchAll gets the packets of a call.
func fetchAll(t testing.TB, s *Spool, q Query) ([]sent, Fetched) {
	t.Helper()
	var out []sent
	f, err := s.Fetch(context.Background(), q, func(p *pcap.Packet, _ pcap.Interface, key string) error {
		out = append(out, sent{key: key, time: p.Time, data: bytes.Clone(p.Data)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, f
}

func only(all []sent, key string) []sent {
	var out []sent
	for _, p := range all {
		if p.key == key {
			out = append(out, p)
		}
	}
	return out
}

func same(t testing.TB, got, want []sent) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].key != want[i].key || got[i].time != want[i].time || !bytes.Equal(got[i].data, want[i].data) {
			t.Fatalf("packet %d is of %s at %d, want %s at %d (bytes equal: %v)", i, got[i].key, got[i].time, want[i].key, want[i].time, bytes.Equal(got[i].data, want[i].data))
		}
	}
}

var ladders = map[string]compress.Ladder{
	"plain":        {{Format: compress.Plain}},
	"lz4":          {{Format: compress.LZ4, Level: compress.Fast}},
	"lz4 stored":   {{Format: compress.LZ4, Level: compress.Store}},
	"gzip":         {{Format: compress.Gzip, Level: compress.Default}},
	"gzip stored":  {{Format: compress.Gzip, Level: compress.Store}},
	"zstd":         {{Format: compress.Zstd, Level: compress.Default}},
	"zstd stored":  {{Format: compress.Zstd, Level: compress.Store}},
	"zstd to best": {{Format: compress.Zstd, Level: compress.Best}},
}

// What is put in comes out: from the open spool, from the closed files, and by
// Wireshark's tools.
func TestPutAndFetch(t *testing.T) {
	for name, ladder := range ladders {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := Options{Dir: dir, Interfaces: []string{"eth0", "eth1"}, Section: pcap.Section{Hardware: "x86", OS: "Linux", App: "ringside"}}
			for c := range o.Ladders {
				o.Ladders[c] = ladder
			}
			s := open(t, o)
			sh := s.Shard(0)
			all := fill(t, sh, rand.New(rand.NewPCG(1, 2)), 20, 3000, 150*time.Second)
			sh.Flush()
			s.Flush()
			for i := range 20 {
				key := fmt.Sprintf("call-%d@example.com", i)
				got, _ := fetchAll(t, s, Query{Keys: []string{key}})
				same(t, got, only(all, key))
			}
			key := "call-3@example.com"
			from, to := t0+int64(40*time.Second), t0+int64(90*time.Second)
			var want []sent
			for _, p := range only(all, key) {
				if p.time >= from && p.time <= to {
					want = append(want, p)
				}
			}
			got, _ := fetchAll(t, s, Query{Keys: []string{key}, From: from, To: to})
			same(t, got, want)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Used != 0 || st.Stored[SIP].Packets+st.Stored[RTP].Packets != uint64(len(all)) {
				t.Errorf("stats after close: %+v", st)
			}
			var files []sent
			_, err := FetchDir(context.Background(), OS, dir, Query{Keys: []string{key}}, func(p *pcap.Packet, i pcap.Interface, k string) error {
				files = append(files, sent{key: k, time: p.Time, data: bytes.Clone(p.Data)})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			same(t, files, only(all, key))
			checkTools(t, dir, len(all))
		})
	}
}

// checkTools lets other programs read all segments.
func checkTools(t *testing.T, dir string, packets int) {
	t.Helper()
	list, err := List(OS, dir)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, i := range list {
		path := filepath.Join(dir, i.Path())
		if i.Hidden || i.Err != nil {
			t.Errorf("%s: hidden %v, %v", i.Path(), i.Hidden, i.Err)
		}
		if err := Check(OS, dir, i.Name); err != nil {
			t.Errorf("check %s: %v", i.Path(), err)
		}
		var plain []byte
		switch i.Format {
		case compress.Zstd:
			run(t, nil, "zstd", "-tq", path)
			plain = run(t, nil, "zstd", "-dcq", path)
		case compress.Gzip:
			run(t, nil, "gzip", "-t", path)
			plain = nil
		case compress.LZ4:
			run(t, nil, "lz4", "-tq", path)
			plain = run(t, nil, "lz4", "-dcq", path)
		}
		from := "-"
		if i.Format == compress.Plain || i.Format == compress.Gzip { // others lose Wireshark 4.0 behind 128 KiB
			from = path
		}
		lines := strings.Count(string(run(t, plain, "tshark", "-n", "-r", from, "-T", "fields", "-e", "frame.number")), "\n")
		if uint64(lines) != i.Packets {
			t.Errorf("tshark reads %d packets of %s, the index has %d", lines, i.Path(), i.Packets)
		}
		seen += lines
	}
	if seen != packets {
		t.Errorf("tshark reads %d packets, want %d", seen, packets)
	}
}

func run(t *testing.T, in []byte, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, stderr.Bytes())
	}
	return out
}

// Of a hidden file that was cut anywhere, every frame before the cut is found.
func TestRecoverCut(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, ladder := range ladders {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := Options{Dir: dir}
			for c := range o.Ladders {
				o.Ladders[c] = ladder
			}
			s := open(t, o)
			sh := s.Shard(0)
			fill(t, sh, r, 30, 2000, 3*time.Second)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			list, err := List(OS, dir)
			if err != nil || len(list) == 0 {
				t.Fatal(list, err)
			}
			n := list[0].Name
			whole, err := os.ReadFile(filepath.Join(dir, n.Path()))
			if err != nil {
				t.Fatal(err)
			}
			var entries []Entry
			if _, err := scanSegment(memFile{whole}, n.Format, func(sections []keyed, _ []byte) error {
				for _, k := range sections {
					entries = append(entries, k.Entry)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			cuts := []int{0, 1, 3, len(whole) - 1, len(whole), int(entries[0].Length), int(entries[1].Offset) + 1}
			for range 12 {
				cuts = append(cuts, r.IntN(len(whole)+1))
			}
			for i, cut := range cuts {
				recoverOne(t, n, whole[:cut], cut, entries, i == len(cuts)-1)
			}
			zeros := append(bytes.Clone(whole[:len(whole)/2]), make([]byte, 9000)...)
			recoverOne(t, n, zeros, len(whole)/2, entries, false)
		})
	}
}

// memFile is a File of bytes that is only read.
type memFile struct{ b []byte }

func (m memFile) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, at) }
func (m memFile) WriteAt([]byte, int64) (int, error)     { return 0, io.ErrClosedPipe }
func (m memFile) Close() error                           { return nil }
func (m memFile) Truncate(int64) error                   { return io.ErrClosedPipe }
func (m memFile) Sync() error                            { return nil }
func (m memFile) Size() (int64, error)                   { return int64(len(m.b)), nil }

// recoverOne recovers a file whose frames are whole until a byte.
func recoverOne(t *testing.T, n Name, content []byte, until int, entries []Entry, tools bool) {
	t.Helper()
	dir := t.TempDir()
	n.Hidden = true
	path := filepath.Join(dir, n.Path())
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, e := range entries {
		if e.Offset+int64(e.Length) <= int64(until) {
			want++
		}
	}
	got, err := Recover(OS, dir)
	if err != nil || len(got) != 1 || got[0].Err != nil {
		t.Fatalf("%d bytes: %+v, %v", len(content), got, err)
	}
	if got[0].Sections != want {
		t.Fatalf("%d bytes: %d sections recovered, want %d", len(content), got[0].Sections, want)
	}
	list, err := List(OS, dir)
	if err != nil {
		t.Fatal(err)
	}
	if want == 0 {
		if len(list) != 0 {
			t.Fatalf("an empty segment stays: %+v", list)
		}
		return
	}
	if len(list) != 1 || list[0].Hidden || list[0].Sections != want {
		t.Fatalf("%d bytes: %+v", len(content), list)
	}
	if err := Check(OS, dir, list[0].Name); err != nil {
		t.Fatal(err)
	}
	if tools {
		countWithTools(t, filepath.Join(dir, list[0].Path()), list[0])
	}
}
