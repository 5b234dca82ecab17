package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/bench/corpus"
	"ringside/bench/traffic"
	"ringside/flow/record"
)

// callsOfCapture is how many calls of a capture are compared with -full: of each
// kind in turn.
const callsOfCapture = 40

// TestSpoolCalls: what "ringside pcap" gives of a call is, packet for packet, the
// call as tshark cuts it from the capture, for one worker and for two.
func TestSpoolCalls(t *testing.T) {
	t.Parallel()
	need(t, "tshark", "editcap")
	short := func(o *traffic.Options) {
		o.Calls, o.Background, o.Noise = callsOfCapture*2/every(3), 1, 2
		o.Talk = traffic.Length{Kind: traffic.Uniform, Min: 3 * time.Second, Max: 12 * time.Second}
	}
	whole := func(o *traffic.Options) { // tshark puts no stream together that has gaps
		short(o)
		o.Calls = 40
		o.Streams.Lost, o.Streams.Behind, o.Streams.Midstream = 0, 0, 0
	}
	for _, tc := range []struct {
		name, preset, format, dedup string
		change                      func(*traffic.Options)
	}{
		{"mixed", "mixed", "pcap", "auto", short},
		{"nanoseconds", "mixed", "pcap-ns", "auto", func(o *traffic.Options) { short(o); o.Calls, o.Seed = 30, 12 }},
		{"pcapng", "mixed", "pcapng", "auto", func(o *traffic.Options) { short(o); o.Calls, o.Seed = 30, 13 }},
		{"IPv6 and VLAN", "mixed", "pcapng", "auto", func(o *traffic.Options) { short(o); o.Calls, o.Seed, o.IPv6, o.VLANs = 30, 14, 1, []uint16{100, 7} }},
		{"cut", "mixed", "pcapng", "auto", func(o *traffic.Options) { short(o); o.Calls, o.Seed, o.SnapLen = 30, 15, 1200 }},
		{"streams", "streams", "pcap-ns", "auto", whole},
		{"fragments", "fragments", "pcapng", "auto", whole},
		{"mirror, copies stay", "mirror", "pcapng", "off", whole},
		{"mirror, copies go", "mirror", "pcapng", "on", whole},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, err := traffic.Preset(tc.preset)
			if err != nil {
				t.Fatal(err)
			}
			tc.change(&o)
			if testing.Short() {
				o.Calls = 10
			}
			if o.Format, err = traffic.ParseFormat(tc.format); err != nil {
				t.Fatal(err)
			}
			path, _ := generate(t, o)
			c := cutCapture(t, path)
			if tc.dedup == "on" {
				c.dropCopies()
			}
			if o.Transports != nil {
				c.walkTCP(t, path)
			}
			equalExports(t, "generated/"+tc.name, path, c, "--dedup", tc.dedup)
		})
	}
}

// TestSpoolCorpus is TestSpoolCalls for the calls of the corpus.
func TestSpoolCorpus(t *testing.T) {
	t.Parallel()
	need(t, "tshark", "editcap")
	step := every(3)
	if testing.Short() { // for the race detector, which is slow
		step = 8
	}
	for i, row := range corpus.Index(t) {
		if row["sip_messages"] == "0" || i%step != 0 {
			continue
		}
		t.Run(row["file"], func(t *testing.T) {
			path := corpus.Capture(t, row["file"])
			c := cutCapture(t, path)
			if c == nil {
				t.Skip("several link types: a pcap cannot hold them")
			}
			equalExports(t, row["file"], path, c, "--dedup", "off")
		})
	}
}

// equalExports compares the exports of the calls of a capture with what was cut.
func equalExports(t *testing.T, name, path string, c *cut, flags ...string) {
	one, two := spoolRead(t, "1", path, flags...), spoolRead(t, "2", path, flags...)
	ids := chooseCalls(c, one.calls)
	compared, used := 0, 0
	for i, id := range ids {
		got := one.export(t, id)
		if other := two.export(t, id); !slices.Equal(got, other) {
			t.Errorf("%s: 2 workers give %d packets, 1 gives %d, or others", id, len(other), len(got))
		}
		if !slices.IsSortedFunc(got, func(a, b stored) int { return cmp.Compare(a.time, b.time) }) {
			t.Errorf("%s: the packets are not in order of time", id)
		}
		said, missed := 0, 0
		for _, r := range one.calls[id] {
			said, missed = said+int(r.SIPStored.Packets+r.RTPStored.Packets), missed+int(r.SIPStored.Missed+r.RTPStored.Missed)
		}
		if said > len(got) || missed > 0 {
			t.Errorf("%s: the records say that %d packets were stored, and %d missed; %d are there", id, said, missed, len(got))
		}
		must, may := c.wanted(id, one.calls[id])
		if i < 2 {
			one.samePcapng(t, id, got)
		}
		compared += len(got)
		diff := c.compareCall(got, must, may)
		if diff == "" {
			continue
		}
		if explainedSpool[name][id] != "" {
			used++
			continue
		}
		t.Errorf("%q %s: %s", id, kindOf(one.calls[id]), diff)
	}
	if used != len(explainedSpool[name]) {
		t.Errorf("explained, but there is no difference: %v", explainedSpool[name])
	}
	t.Logf("%d calls, %d packets", len(ids), compared)
}

// samePcapng compares an export as pcapng with that as pcap: each packet names its
// call.
func (s *spooled) samePcapng(t *testing.T, id string, want []stored) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "call.pcapng")
	ringside(t, 0, "pcap", "--spool", s.dir, "-q", "-o", to, "--", id)
	if got := packetsOf(t, to); !slices.Equal(got, want) {
		t.Errorf("%s: %d packets as pcapng, %d as pcap, or others", id, len(got), len(want))
	}
	named := 0
	for line := range strings.Lines(tool(t, "tshark", "-n", "-r", to, "-T", "fields", "-e", "frame.comment")) {
		if strings.TrimSpace(line) == id {
			named++
		}
	}
	if named != len(want) {
		t.Errorf("%s: %d of %d packets name it", id, named, len(want))
	}
}

// chooseCalls are Call-IDs of each kind in turn, as many as are compared.
func chooseCalls(c *cut, calls map[string][]*record.Call) (out []string) {
	kinds := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(c.calls)) {
		if id == "" { // there is no Call-ID to ask for
			continue
		}
		k := kindOf(calls[id])
		kinds[k] = append(kinds[k], id)
	}
	for more := true; more && len(out) < callsOfCapture/every(3); {
		more = false
		for _, k := range slices.Sorted(maps.Keys(kinds)) {
			if len(kinds[k]) > 0 && len(out) < callsOfCapture/every(3) {
				out, kinds[k], more = append(out, kinds[k][0]), kinds[k][1:], true
			}
		}
	}
	return out
}

// kindOf tells calls from others that are stored in another way.
func kindOf(calls []*record.Call) string {
	if len(calls) == 0 {
		return "no call"
	}
	r := calls[0]
	k := fmt.Sprintf("%d %s %s %s", len(calls), r.Transport, r.Outcome, r.EndReason)
	if r.Caller.Addr.Addr().Is6() {
		k += " IPv6"
	}
	if len(r.Streams) > 0 {
		k += fmt.Sprintf(" RTP %s", strings.Split(r.Streams[0].Codec, "/")[0])
	}
	return k
}

// dropCopies takes away the second copies that a mirror delivers: the same bytes
// behind the IP header within 2 ms, with the same identification.
func (c *cut) dropCopies() {
	const within = int64(2 * time.Millisecond)
	seen, second := map[string]int64{}, map[int]bool{}
	for i, p := range c.packets {
		key := unrouted(p.data)
		if at, ok := seen[key]; ok && p.time-at <= within {
			second[i] = true
			continue
		}
		seen[key] = p.time
	}
	first := func(frames []int) []int {
		return slices.DeleteFunc(frames, func(f int) bool { return second[f] })
	}
	for id := range c.calls {
		c.calls[id] = first(c.calls[id])
	}
	for i := range c.media {
		c.media[i].frames = first(c.media[i].frames)
	}
}

// unrouted is a frame without what a router changes: link header, tags, hops,
// checksum.
func unrouted(frame string) string {
	at := 12
	for frame[at:at+2] == "\x81\x00" || frame[at:at+2] == "\x88\xa8" {
		at += 4
	}
	ip := []byte(frame[at+2:])
	if ip[0]>>4 == 6 {
		ip[7] = 0
	} else {
		ip[8], ip[10], ip[11] = 0, 0, 0
	}
	return string(ip)
}
