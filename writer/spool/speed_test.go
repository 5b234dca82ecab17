package spool

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/traffic"
	"ringside/dataplane/frame"
	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// Figures, each beside a second program in the same run. bench/spool.sh prints
// them; bench/results has those of some machines.

// eachRecord reads a capture that bench/traffic wrote.
func eachRecord(r io.Reader, f func(at int64, data []byte)) error {
	b := bufio.NewReaderSize(r, 1<<20)
	if _, err := b.Discard(24); err != nil {
		return err
	}
	for {
		h, err := b.Peek(16)
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return err
		}
		n := int(le.Uint32(h[8:]))
		at := int64(le.Uint32(h))*1e9 + int64(le.Uint32(h[4:]))*1e3
		if h, err = b.Peek(16 + n); err != nil {
			return err
		}
		f(at, h[16:])
		_, _ = b.Discard(16 + n)
	}
}

// flowOf is the same for both directions of a stream of UDP over IPv4.
func flowOf(data []byte) uint64 {
	a := uint64(binary.BigEndian.Uint32(data[26:]))<<16 | uint64(binary.BigEndian.Uint16(data[34:]))
	b := uint64(binary.BigEndian.Uint32(data[30:]))<<16 | uint64(binary.BigEndian.Uint16(data[36:]))
	return min(a, b)*31 + max(a, b)
}

func callID(data []byte) string {
	_, rest, ok := bytes.Cut(data, []byte("Call-ID: "))
	if !ok {
		return ""
	}
	id, _, _ := bytes.Cut(rest, []byte("\r"))
	return string(id)
}

func generate(tb testing.TB, o traffic.Options, w io.Writer) {
	tb.Helper()
	g, err := traffic.New(o)
	if err == nil {
		_, err = g.Run(context.Background(), w, nil)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// message is a packet of a capture.
type message struct {
	at   int64
	flow uint64
	key  string
	data []byte
	tape *Tape
}

// recorder puts a capture into a shard, as the parts that know calls will.
type recorder struct {
	sh     *Shard
	tapes  map[uint64]*recording
	calls  map[string]*recording
	refuse int // times that memory was short
}

type recording struct {
	tape Tape
	key  string
}

func newRecorder(sh *Shard) *recorder {
	return &recorder{sh: sh, tapes: map[uint64]*recording{}, calls: map[string]*recording{}}
}

func (r *recorder) put(at int64, data []byte) {
	c, rec := RTP, (*recording)(nil)
	if binary.BigEndian.Uint16(data[36:]) == 5060 || binary.BigEndian.Uint16(data[34:]) == 5060 {
		id := callID(data)
		c = SIP
		if rec = r.calls[id]; rec == nil {
			rec = &recording{key: id}
			r.calls[id] = rec
		}
	} else {
		flow := flowOf(data)
		if rec = r.tapes[flow]; rec == nil {
			rec = &recording{key: fmt.Sprintf("%016x@192.0.2.1", flow)}
			r.tapes[flow] = rec
		}
	}
	p := pcap.Packet{Time: at, Data: data, Dir: pcap.Inbound}
	for !r.sh.Put(&rec.tape, c, rec.key, at, frame.LinkEthernet, &p) {
		r.refuse++
		time.Sleep(200 * time.Microsecond) // measured is what the writer gets done
	}
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// need skips a benchmark whose second program is not there.
func need(b *testing.B, name string) {
	if _, err := exec.LookPath(name); err != nil {
		b.Skipf("%s is not installed", name)
	}
}

var rtpLoad = traffic.Options{Seed: 3, Calls: 100, Rate: 100, Talk: traffic.Length{Mean: 30 * time.Second}}

// BenchmarkAgainstDD writes RTP without compression, and dd zeros in pieces of
// the same size, synced at the end, in turn. Each writes 2 GiB.
func BenchmarkAgainstDD(b *testing.B) {
	need(b, "dd")
	const size = 2 << 30
	start := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC).UnixNano() // of generated traffic
	var capture bytes.Buffer
	generate(b, rtpLoad, &capture)
	var all []message
	if err := eachRecord(&capture, func(at int64, data []byte) {
		flow := flowOf(data)
		all = append(all, message{at: at, flow: flow, key: fmt.Sprintf("%016x@192.0.2.1", flow), data: slices.Clone(data)})
	}); err != nil {
		b.Fatal(err)
	}
	var ours, theirs []float64
	for b.Loop() {
		dir, err := os.MkdirTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		unix.Sync()
		began := time.Now()
		s := open(b, Options{Dir: dir, Memory: 64 << 20, Interfaces: []string{"eth0"}})
		sh, tapes := s.Shard(0), map[uint64]*Tape{}
		for i := range all {
			p := &all[i]
			if tapes[p.flow] == nil {
				tapes[p.flow] = new(Tape)
			}
			p.tape = tapes[p.flow]
		}
		// Time runs 16 times as fast, so that a minute has as much as that of a
		// busy machine, and not a file for each 100 MB.
		for shift, bytesPut := int64(0), 0; bytesPut < size; shift += int64(35 * time.Second) {
			for i := range all {
				m := &all[i]
				p := pcap.Packet{Time: start + (m.at+shift-start)/16, Data: m.data, Dir: pcap.Inbound}
				for !sh.Put(m.tape, RTP, m.key, p.Time, frame.LinkEthernet, &p) {
					time.Sleep(200 * time.Microsecond)
				}
				bytesPut += len(m.data)
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, float64(s.Stats().Bytes)/time.Since(began).Seconds()/1e6)
		_ = os.RemoveAll(dir)

		out := filepath.Join(b.TempDir(), "dd")
		unix.Sync()
		began = time.Now()
		if err := exec.Command("dd", "if=/dev/zero", "of="+out, "bs=1M", fmt.Sprintf("count=%d", size>>20), "conv=fsync", "status=none").Run(); err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, size/time.Since(began).Seconds()/1e6)
		_ = os.Remove(out)
	}
	x, y := median(ours), median(theirs)
	b.ReportMetric(x, "spool-MB/s")
	b.ReportMetric(y, "dd-MB/s")
	b.ReportMetric(x/y, "spool/dd")
}

// BenchmarkAgainstTcpdump reads a capture and spools it without compression,
// and lets tcpdump copy it, in turn. Counted is the time of the processor.
func BenchmarkAgainstTcpdump(b *testing.B) {
	need(b, "tcpdump")
	in := filepath.Join(b.TempDir(), "in.pcap")
	f, err := os.Create(in)
	if err != nil {
		b.Fatal(err)
	}
	o := rtpLoad
	o.Calls, o.Rate, o.Talk.Mean = 1000, 100, 20*time.Second
	generate(b, o, f)
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	var ours, theirs []float64
	var packets uint64
	for b.Loop() {
		dir, err := os.MkdirTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		before := cpu()
		ladder := compress.Ladder{{Format: compress.Plain}}
		s := open(b, Options{Dir: dir, Memory: 64 << 20, Interfaces: []string{"eth0"}, Ladders: [Classes]compress.Ladder{ladder, ladder, ladder}})
		rec := newRecorder(s.Shard(0))
		r, err := os.Open(in)
		if err != nil {
			b.Fatal(err)
		}
		if err := eachRecord(r, rec.put); err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, (cpu() - before).Seconds())
		packets = sum(s.Stats().Stored)
		_ = os.RemoveAll(dir)

		out := filepath.Join(b.TempDir(), "out.pcap")
		cmd := exec.Command("tcpdump", "-r", in, "-w", out)
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
		_ = os.Remove(out)
	}
	x, y := median(ours), median(theirs)
	b.ReportMetric(x*1e9/float64(packets), "spool-cpu-ns/packet")
	b.ReportMetric(y*1e9/float64(packets), "tcpdump-cpu-ns/packet")
	b.ReportMetric(x/y, "spool/tcpdump")
}

// BenchmarkAgainstCodec spools compressed and plain, and compresses the same
// sections with the codec alone, in turn. What compression adds to spooling is
// compared with what the codec takes.
func BenchmarkAgainstCodec(b *testing.B) {
	var capture bytes.Buffer
	generate(b, rtpLoad, &capture)
	for _, step := range []compress.Step{{Format: compress.LZ4, Level: compress.Fast}, {Format: compress.Zstd, Level: compress.Fast}, {Format: compress.Gzip, Level: compress.Fast}} {
		b.Run(fmt.Sprintf("%s-%d", step.Format, step.Level), func(b *testing.B) { benchmarkCodec(b, capture.Bytes(), step) })
	}
}

func benchmarkCodec(b *testing.B, capture []byte, step compress.Step) {
	var packed, plain, codec []float64
	var shrunk float64
	spool := func(step compress.Step) (seconds float64, dir string) {
		dir = b.TempDir()
		before := cpu()
		ladder := compress.Ladder{step}
		s := open(b, Options{Dir: dir, Memory: 512 << 20, Interfaces: []string{"eth0"}, Ladders: [Classes]compress.Ladder{ladder, ladder, ladder}})
		if err := eachRecord(bytes.NewReader(capture), newRecorder(s.Shard(0)).put); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		return (cpu() - before).Seconds(), dir
	}
	for b.Loop() {
		seconds, _ := spool(step)
		packed = append(packed, seconds)
		seconds, dir := spool(compress.Step{})
		plain = append(plain, seconds)
		all, err := List(OS, dir)
		if err != nil {
			b.Fatal(err)
		}
		var sections [][]byte
		for _, i := range all {
			_ = withFile(OS, filepath.Join(dir, i.Path()), func(f File) error {
				_, err := scanSegment(f, i.Format, func(_ []keyed, frame []byte) error {
					sections = append(sections, slices.Clone(frame))
					return nil
				})
				return err
			})
		}
		var enc compress.Encoder
		buf := make([]byte, 0, 1<<20)
		before, in, out := cpu(), 0, 0
		for _, s := range sections {
			buf, err = enc.Append(buf[:0], step.Format, step.Level, s)
			if err != nil {
				b.Fatal(err)
			}
			in, out = in+len(s), out+len(buf)
		}
		codec = append(codec, (cpu() - before).Seconds())
		shrunk = float64(out) / float64(in)
	}
	x, y, z := median(packed), median(plain), median(codec)
	b.ReportMetric(x-y, "added-cpu-s")
	b.ReportMetric(z, "codec-cpu-s")
	b.ReportMetric((x-y)/z, "added/codec")
	b.ReportMetric(shrunk, "size")
}

// SIP of many calls shrinks to a sixth, frames and index together. The calls are
// of every kind, some through a proxy, with addresses, tags, branches and
// Call-IDs of their own.
func TestSignallingShrinks(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a figure, which the race detector does not change")
	}
	o, err := traffic.Preset("mixed")
	if err != nil {
		t.Fatal(err)
	}
	o.Calls, o.Rate, o.Talk = 1500, 50, traffic.Length{Mean: 12 * time.Second}
	o.IPv6, o.Background, o.Noise = 0, 0, 0
	r, w := io.Pipe()
	go func() {
		generate(t, o, w)
		_ = w.Close()
	}()
	var all []message
	if err := eachRecord(r, func(at int64, data []byte) {
		if callID(data) != "" {
			all = append(all, message{at: at, data: slices.Clone(data)})
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		compress.Step
		least float64
	}{{compress.Step{Format: compress.Gzip, Level: compress.Better}, 6}, {compress.Step{Format: compress.Gzip, Level: compress.Default}, 5.5},
		{compress.Step{Format: compress.Gzip, Level: compress.Fast}, 4}, {compress.Step{Format: compress.Zstd, Level: compress.Better}, 6}} {
		s := open(t, Options{Dir: t.TempDir(), Memory: 64 << 20, Interfaces: []string{"eth0"}, Section: pcap.Section{Hardware: "x86_64", OS: "Linux 6.18", App: "ringside"},
			Ladders: [Classes]compress.Ladder{{tc.Step}}})
		rec := newRecorder(s.Shard(0))
		captured := 0
		for _, m := range all {
			rec.put(m.at, m.data)
			captured += len(m.data)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		st := s.Stats()
		ratio := float64(st.Stored[SIP].Bytes) / float64(st.Bytes)
		t.Logf("%v %d: %d messages, sections to file %.2f to 1, captured bytes to file %.2f to 1", tc.Format, tc.Level, len(all), ratio, float64(captured)/float64(st.Bytes))
		if ratio < tc.least {
			t.Errorf("%v %d: %.2f to 1, want %.1f", tc.Format, tc.Level, ratio, tc.least)
		}
	}
}

// BenchmarkFetchCall fetches calls of three minutes out of a spool of twelve
// with 100 concurrent ones: a tenth of the calls, and of the memory, of a spool
// with 1,000. What is read is compared with the captured bytes of the call.
func BenchmarkFetchCall(b *testing.B) {
	const calls, talk, span = 100, 180, 720 // seconds
	dir := b.TempDir()
	s := open(b, Options{Dir: dir, Memory: 32 << 20, Interfaces: []string{"eth0"}})
	sh := s.Shard(0)
	media := datagram(4000, 4002, make([]byte, 172))
	type call struct {
		key  string
		tape [2]Tape
	}
	all := make([]call, calls)
	for tick := range span * 50 { // 20 ms
		at := t0 + int64(tick)*int64(20*time.Millisecond)
		for i := range all {
			c := &all[i]
			age := (tick + i*talk*50/calls) % (talk * 50)
			if age == 0 || c.key == "" {
				sh.End(&c.tape[SIP])
				sh.End(&c.tape[RTP])
				c.key = fmt.Sprintf("%016x-%d@192.0.2.1", hash(fmt.Sprint(i)), tick)
			}
			if age < 6 || age > talk*50-3 {
				for !sh.Put(&c.tape[SIP], SIP, c.key, at, frame.LinkEthernet, &pcap.Packet{Time: at, Data: sipFrame(c.key, age)}) {
					time.Sleep(time.Millisecond)
				}
			}
			for range 2 {
				for !sh.Put(&c.tape[RTP], RTP, c.key, at, frame.LinkEthernet, &pcap.Packet{Time: at, Data: media}) {
					time.Sleep(time.Millisecond)
				}
			}
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	// A call that began and ended within the spool.
	i := calls / 2
	began := talk * 50 * (calls - i) / calls
	key := fmt.Sprintf("%016x-%d@192.0.2.1", hash(fmt.Sprint(i)), began)
	from := t0 + int64(began)*int64(20*time.Millisecond)
	for _, q := range []struct {
		name string
		Query
	}{{"time known", Query{Keys: []string{key}, From: from, To: from + int64(talk*time.Second)}}, {"any time", Query{Keys: []string{key}}}} {
		b.Run(q.name, func(b *testing.B) {
			var own int64
			var st Fetched
			for b.Loop() {
				own = 0
				var err error
				if st, err = FetchDir(context.Background(), OS, dir, q.Query, func(p *pcap.Packet, _ pcap.Interface, _ string) error {
					own += int64(len(p.Data))
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
			if st.Packets != talk*50*2+8 {
				b.Fatalf("%d packets, want %d", st.Packets, talk*50*2+8)
			}
			b.ReportMetric(float64(st.Read)/float64(own), "read/own")
			b.ReportMetric(float64(st.Segments), "segments")
			b.ReportMetric(float64(st.Frames), "frames")
		})
	}
}
