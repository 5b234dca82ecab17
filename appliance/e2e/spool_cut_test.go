package e2e

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ringside/flow/record"
)

// cut is a capture as tshark reads it: which of its frames belong to which call.
type cut struct {
	packets []stored
	calls   map[string][]int // frames of the signalling of each Call-ID, from 0 on, each once
	media   []datagram       // what may be RTP or RTCP
	tcp     map[int]bool     // frames of TCP
	parts   map[int][]int    // fragments of what a frame completes
}

// datagram is one of UDP, in one frame or several.
type datagram struct {
	frames   []int
	time     int64 // of the frame that completed it
	src, dst netip.AddrPort
	rtcp     bool
	ssrc     uint32
	size     int // bytes behind the UDP header
	csrcs    int // of RTP
}

var cutFields = []string{
	"frame.number", "sip.Call-ID", "icmp.type", "icmpv6.type",
	"ip.fragment", "ipv6.fragment", "tcp.segment", "sctp.fragment", "tcp.stream",
	"ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "udp.srcport", "udp.dstport", "udp.payload", "frame.protocols",
}

// cutCapture lets tshark read a capture; nil where it has several link types.
func cutCapture(t *testing.T, path string) *cut {
	t.Helper()
	c := &cut{packets: packetsOf(t, path), calls: map[string][]int{}, tcp: map[int]bool{}, parts: map[int][]int{}}
	if c.packets == nil {
		return nil
	}
	args := []string{"-n", "-r", path, "-o", "tcp.reassemble_out_of_order:TRUE",
		"-o", "esp.enable_null_encryption_decode_heuristic:TRUE", "-Y", "sip || udp || sctp || tcp.len > 0", "-T", "fields",
		"-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=|"}
	for _, f := range cutFields {
		args = append(args, "-e", f)
	}
	p := exec.CommandContext(t.Context(), "tshark", args...)
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReaderSize(out, 1<<20)
	segments := map[int][]int{} // of the stream or association, that a frame completes something of
	for {
		line, err := lines.ReadString('\n')
		if line == "" && err != nil {
			break
		}
		c.line(t, strings.Split(strings.TrimSuffix(line, "\n"), "\t"), segments)
	}
	if err := p.Wait(); err != nil && p.ProcessState.ExitCode() != 2 { // 2: the file ends within a packet
		t.Fatalf("tshark %s: %v", path, err)
	}
	for id, frames := range c.calls {
		for _, f := range slices.Clone(frames) {
			frames = append(frames, segments[f]...)
		}
		c.calls[id] = withParts(frames, c.parts)
	}
	for i := range c.media {
		c.media[i].frames = withParts(c.media[i].frames, c.parts)
	}
	return c
}

// withParts adds to frames those with the fragments of what they complete.
func withParts(frames []int, parts map[int][]int) []int {
	seen := map[int]bool{}
	for todo := slices.Clone(frames); len(todo) > 0; {
		f := todo[len(todo)-1]
		if todo = todo[:len(todo)-1]; !seen[f] {
			seen[f] = true
			todo = append(todo, parts[f]...)
		}
	}
	out := make([]int, 0, len(seen))
	for f := range seen {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// line takes a frame as tshark prints it.
func (c *cut) line(t *testing.T, cells []string, segments map[int][]int) {
	t.Helper()
	if len(cells) != len(cutFields) {
		t.Fatalf("tshark gives %d fields, not %d: %q", len(cells), len(cutFields), cells)
	}
	n, err := strconv.Atoi(cells[0])
	if err != nil {
		t.Fatal(err)
	}
	if n--; cells[2] != "" || cells[3] != "" {
		return // an error that quotes a packet
	}
	for i, list := range cells[4:8] {
		to := c.parts
		if i > 1 {
			to = segments
		}
		for of := range strings.SplitSeq(list, "|") {
			if f, err := strconv.Atoi(of); err == nil {
				to[n] = append(to[n], f-1)
			}
		}
	}
	c.tcp[n] = cells[8] != ""
	if cells[1] != "" {
		for id := range strings.SplitSeq(cells[1], "|") {
			c.calls[id] = append(c.calls[id], n)
		}
	}
	inner := func(i int) string { return cells[i][strings.LastIndexByte(cells[i], '|')+1:] }
	hexed := inner(15)
	b, err := hex.DecodeString(hexed[:min(len(hexed), 24)])
	if err != nil || len(b) < 8 || b[0]>>6 != 2 {
		return
	}
	d := datagram{frames: []int{n}, time: c.packets[n].time, rtcp: b[1] >= 192 && b[1] <= 223, size: len(hexed) / 2, csrcs: int(b[0] & 15)}
	switch {
	case strings.LastIndex(cells[16], ":ip:") > strings.LastIndex(cells[16], ":ipv6:"):
		d.src, d.dst = endpointOf(t, inner(9), inner(13)), endpointOf(t, inner(10), inner(14))
	default:
		d.src, d.dst = endpointOf(t, inner(11), inner(13)), endpointOf(t, inner(12), inner(14))
	}
	if len(b) >= 12 {
		d.ssrc = uint32(b[8])<<24 | uint32(b[9])<<16 | uint32(b[10])<<8 | uint32(b[11])
	}
	c.media = append(c.media, d)
}

func endpointOf(t *testing.T, addr, port string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddr(addr)
	p, err2 := strconv.ParseUint(port, 10, 16)
	if err != nil || err2 != nil {
		t.Fatalf("no address: %q %q", addr, port)
	}
	return netip.AddrPortFrom(a, uint16(p))
}

// wanted are the frames of a Call-ID: the signalling, and the media of its
// records' streams. Those that may be there or not are RTCP after the end of the
// call, which belongs to it while the call is not forgotten.
func (c *cut) wanted(id string, records []*record.Call) (must, may map[int]bool) {
	must, may = map[int]bool{}, map[int]bool{}
	put := func(to map[int]bool, frames []int) {
		for _, f := range frames {
			to[f] = true
		}
	}
	put(must, c.calls[id])
	for i := range c.media {
		d := &c.media[i]
		for _, r := range records {
			switch of(r, d) {
			case belongs:
				put(must, d.frames)
			case mayBelong:
				put(may, d.frames)
			}
		}
	}
	return must, may
}

type belonging int

const (
	foreign belonging = iota
	mayBelong
	belongs
)

// of tells whether a datagram belongs to a call.
func of(r *record.Call, d *datagram) belonging {
	if !d.rtcp {
		for i := range r.Streams {
			s := &r.Streams[i]
			if s.SSRC == d.ssrc && s.Src == d.src && s.Dst == d.dst && d.time >= s.First && d.time <= s.Last {
				return belongs
			}
		}
		return foreign
	}
	for i := range r.Media {
		m := &r.Media[i]
		for _, at := range []netip.AddrPort{d.src, d.dst} {
			if at.Addr() != m.Addr.Addr() || at.Port() != m.Addr.Port() && at.Port() != m.Addr.Port()+1 || d.time < m.From {
				continue
			}
			if d.time <= r.End {
				return belongs
			}
			return mayBelong
		}
	}
	return foreign
}

// compareCall tells how an export differs from what was cut, empty if it does not.
func (c *cut) compareCall(got []stored, must, may map[int]bool) string {
	have := map[stored]int{}
	for _, p := range got {
		have[p]++
	}
	var missing, more []string
	take := func(f int, needed bool) {
		if p := c.packets[f]; have[p] > 0 {
			have[p]--
		} else if needed {
			missing = append(missing, strconv.Itoa(f+1))
		}
	}
	for _, f := range sortedFrames(must) {
		take(f, true)
	}
	for _, f := range sortedFrames(may) {
		if !must[f] {
			take(f, false)
		}
	}
	for p, n := range have {
		for range n {
			i := slices.Index(c.packets, p)
			more = append(more, strconv.Itoa(i+1))
		}
	}
	if len(missing)+len(more) == 0 {
		return ""
	}
	slices.Sort(more)
	return fmt.Sprintf("of %d frames missing %s; too many %s", len(must), some(missing), some(more))
}

func sortedFrames(m map[int]bool) []int {
	out := make([]int, 0, len(m))
	for f := range m {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// some is a list that may be long.
func some(s []string) string {
	return fmt.Sprintf("%d %v", len(s), s[:min(len(s), 12)])
}
