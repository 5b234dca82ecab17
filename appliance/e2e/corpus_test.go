package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ringside/appliance/daemon"
	"ringside/bench/corpus"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// reading is what ringside makes of one capture.
type reading struct {
	messages []string // method or status and Call-ID of every SIP message, sorted
	calls    []*record.Call
	orphans  []*record.Stream
	report   daemon.Report

	registrations []*record.Registration
	exchanges     []*record.Exchange
	others        []any // events, links and quality reports
}

func read(t *testing.T, workers int, paths ...string) reading {
	t.Helper()
	return readDedup(t, "auto", workers, paths...)
}

func readDedup(t *testing.T, dedup string, workers int, paths ...string) reading {
	t.Helper()
	var r reading
	o := daemon.ReadOptions{
		Paths: paths, Workers: workers, Dedup: dedup,
		Call:   func(c *record.Call) { r.calls = append(r.calls, c) },
		Orphan: func(s *record.Stream) { r.orphans = append(r.orphans, s) },

		Registration: func(g *record.Registration) { r.registrations = append(r.registrations, g) },
		Exchange:     func(x *record.Exchange) { r.exchanges = append(r.exchanges, x) },
		Event:        func(e *record.Event) { r.others = append(r.others, e) },
		Link:         func(l *record.Link) { r.others = append(r.others, l) },
		Quality:      func(q *record.QualityReport) { r.others = append(r.others, q) },
	}
	if workers == 1 {
		o.Message = func(m *sip.Message, _ *call.Meta) {
			what := string(m.Get(m.MethodName))
			if m.Response {
				what = strconv.Itoa(int(m.Status))
			}
			r.messages = append(r.messages, what+" "+string(m.Get(m.CallID)))
		}
	}
	rd, err := daemon.NewRead(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := rd.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.report = rd.Report()
	slices.Sort(r.messages)
	return r
}

// rtpCount is packets and loss of one stream.
type rtpCount struct{ packets, lost int }

func (r *reading) streams() map[string]rtpCount {
	out := make(map[string]rtpCount)
	add := func(s *record.Stream) {
		k := fmt.Sprintf("%s>%s 0x%08X", s.Src, s.Dst, s.SSRC)
		c := out[k]
		c.packets += int(s.Packets)
		// tshark counts expected less all packets, duplicates included.
		c.lost += int(s.Expected) - int(s.Packets)
		out[k] = c
	}
	for _, c := range r.calls {
		for i := range c.Streams {
			add(&c.Streams[i])
		}
	}
	for _, s := range r.orphans {
		add(s)
	}
	return out
}

func TestCorpus(t *testing.T) {
	for _, row := range corpus.Index(t) {
		file := row["file"]
		t.Run(file, func(t *testing.T) {
			path := corpus.Capture(t, file)
			one := read(t, 1, path)
			if !one.report.Balanced {
				t.Errorf("the ledger does not balance: %+v", one.report)
			}
			if got := strconv.FormatUint(one.report.Frames, 10); got != row["packets"] {
				t.Errorf("%s frames, want %s", got, row["packets"])
			}
			for _, workers := range []int{2, 4} {
				n := read(t, workers, path)
				if a, b := dump(t, &one), dump(t, &n); a != b {
					t.Errorf("%d workers: other records than one worker:\n%s\nwant\n%s", workers, b, a)
				}
			}
			// tshark counts each copy of a packet that was captured twice.
			one = readDedup(t, "off", 1, path)
			compareSIP(t, file, &one, corpus.Reference(t, file, "sip"))
			compareRTP(t, file, &one, corpus.Reference(t, file, "rtp"))
		})
	}
}

func compareSIP(t *testing.T, file string, r *reading, ref []map[string]string) {
	var want []string
	for _, row := range ref {
		want = append(want, row["method_or_status"]+" "+row["call_id"])
	}
	slices.Sort(want)
	if slices.Equal(r.messages, want) {
		if why := explainedSIP[file]; why != "" {
			t.Errorf("explained, but there is no difference: %s", why)
		}
		return
	}
	if explainedSIP[file] != "" {
		return
	}
	t.Errorf("SIP: %d messages, tshark has %d:\n%s", len(r.messages), len(want), difference(r.messages, want))
}

func compareRTP(t *testing.T, file string, r *reading, ref []map[string]string) {
	want := make(map[string]rtpCount)
	for _, row := range ref {
		n := func(col string) int { v, _ := strconv.Atoi(row[col]); return v }
		ssrc, err := strconv.ParseUint(strings.TrimPrefix(row["ssrc"], "0x"), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		k := fmt.Sprintf("%s>%s 0x%08X", addrPort(t, row["src"]), addrPort(t, row["dst"]), ssrc)
		c := want[k]
		c.packets += n("packets")
		c.lost += n("lost")
		want[k] = c
	}
	got := r.streams()
	keys := slices.Sorted(maps.Keys(got))
	for k := range want {
		if _, ok := got[k]; !ok {
			keys = append(keys, k)
		}
	}
	used := false
	for _, k := range keys {
		g, inGot := got[k]
		w, inWant := want[k]
		if inGot && inWant && g == w {
			continue
		}
		if why := explainedRTP[file][k]; why != "" || explainedRTP[file]["*"] != "" {
			used = true
			continue
		}
		t.Errorf("RTP %s: got %v %+v, tshark %v %+v", k, inGot, g, inWant, w)
	}
	if !used && explainedRTP[file] != nil {
		t.Errorf("explained, but there is no difference: %v", explainedRTP[file])
	}
}

// addrPort reads an address as tshark prints it: no brackets around IPv6.
func addrPort(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	i := strings.LastIndexByte(s, ':')
	addr, err := netip.ParseAddr(s[:i])
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

// difference lists what is in one sorted list and not in the other.
func difference(got, want []string) string {
	var b strings.Builder
	count := make(map[string]int)
	for _, s := range got {
		count[s]++
	}
	for _, s := range want {
		count[s]--
	}
	for _, s := range slices.Sorted(maps.Keys(count)) {
		if n := count[s]; n != 0 {
			fmt.Fprintf(&b, "%+d %s\n", n, s)
		}
	}
	return b.String()
}

// TestLedger: what became of every packet adds up also where next to nothing is
// understood: tunnels, fragments and frames cut anywhere.
func TestLedger(t *testing.T) {
	root := filepath.Join(corpus.Dir(t), "encap")
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".tsv" {
			return err
		}
		files++
		if r := read(t, 1+files%3, path); !r.report.Balanced {
			t.Errorf("%s: the ledger does not balance: %+v", path, r.report)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("%d files under %s", files, root)
	}
}
