package defrag

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringside/bench/corpus"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
)

// tsharkDiffers are captures in which tshark puts together what we refuse.
var tsharkDiffers = map[string]string{
	"encap/zeek+zeek/ipv4__fragmented-1.pcap":                                     "overlap with other bytes: refused",
	"encap/zeek+zeek/ipv4__fragmented-4.pcap":                                     "overlap with other bytes: refused",
	"encap/AlexeyVasilev+PcapFlowLab/gtpu__31_gtpu_outer_ipv6_fragmentation.pcap": "overlap with other bytes: refused",
	"encap/AlexeyVasilev+PcapFlowLab/gtpu__30_gtpu_outer_ipv4_fragmentation.pcap": "overlap with other bytes: refused",
}

// TestCorpus compares what the fragments of the outermost IP headers make with
// what tshark makes of them, frame by frame and byte by byte.
func TestCorpus(t *testing.T) {
	root := corpus.Dir(t)
	files, err := filepath.Glob(filepath.Join(root, "encap", "*", "*frag*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range corpus.Index(t) {
		if strings.Contains(row["encapsulations"], "-frag") {
			files = append(files, corpus.Capture(t, row["file"]))
		}
	}
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Logf("no tshark to compare with: %v", err)
	}
	var total Stats
	for _, file := range files {
		name, _ := filepath.Rel(root, file)
		table := New(Limits{})
		ours, fragments := reassemble(t, table, file)
		s := table.Stats()
		total.Add(&s)
		if tshark == "" || fragments == 0 {
			continue
		}
		differs := false
		for number, theirs := range tsharkReassembles(t, tshark, file) {
			data, ours := ours[number]
			if !ours {
				continue // not of an outermost header
			}
			if !bytes.Equal(data, theirs) {
				differs = true
				if tsharkDiffers[name] == "" {
					t.Errorf("%s frame %d: we have %d bytes, tshark %d", name, number, len(data), len(theirs))
				}
			}
		}
		if why := tsharkDiffers[name]; why != "" && !differs {
			t.Errorf("%s does not differ, but is listed: %s", name, why)
		}
		t.Logf("%s: %d fragments: %s", name, fragments, outcome(&s))
	}
	if total.Datagrams < 10 {
		t.Errorf("only %d datagrams: %s", total.Datagrams, outcome(&total))
	}
}

// reassemble gives the frames of a file that are outermost fragments, by number
// from 1, and what they complete (nil: nothing).
func reassemble(t *testing.T, table *Table, file string) (out map[int][]byte, fragments int) {
	t.Helper()
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{file}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out = map[int][]byte{}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, fragments
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		for i := range b.Frames {
			f, ok := outermost(&b.Frames[i])
			if !ok {
				continue
			}
			fragments++
			d, whole := table.Add(&f)
			number := int(b.Frames[i].Seq) + 1
			out[number] = nil
			if whole {
				out[number] = bytes.Clone(d.Data)
			}
			check(t, table)
		}
		b.Release()
	}
}

// outermost is the fragment in a frame whose first IP header says that it is
// one; just enough for the captures of the test.
func outermost(f *frame.Frame) (out frame.Fragment, ok bool) {
	b := f.Data
	etherType := uint16(0)
	switch {
	case f.Link == frame.LinkEthernet && len(b) > 14:
		etherType, b = binary.BigEndian.Uint16(b[12:]), b[14:]
		for (etherType == 0x8100 || etherType == 0x88a8) && len(b) > 4 {
			etherType, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		}
	case f.Link == frame.LinkSLL && len(b) > 16:
		etherType, b = binary.BigEndian.Uint16(b[14:]), b[16:]
	case f.Link == frame.LinkSLL2 && len(b) > 20:
		etherType, b = binary.BigEndian.Uint16(b), b[20:]
	}
	out = frame.Fragment{Time: f.Time, Clock: f.Clock, Seq: f.Seq}
	switch {
	case etherType == 0x0800 && len(b) >= 20:
		header, field := int(b[0]&15)*4, binary.BigEndian.Uint16(b[6:])
		total := int(binary.BigEndian.Uint16(b[2:]))
		out.Src, out.Dst, out.Proto = frame.AddrFrom4(b[12:]), frame.AddrFrom4(b[16:]), b[9]
		out.ID = uint32(binary.BigEndian.Uint16(b[4:]))
		out.Offset, out.More = uint32(field&0x1fff)*8, field&0x2000 != 0
		out.Len = uint32(max(0, total-header))
		out.Data = b[min(header, len(b)):min(max(total, header), len(b))]
		return out, field&0x3fff != 0
	case etherType == 0x86dd && len(b) >= 48 && b[6] == 44:
		field := binary.BigEndian.Uint16(b[42:])
		out.Src, out.Dst, out.Proto, out.IPv6 = frame.AddrFrom16(b[8:]), frame.AddrFrom16(b[24:]), b[40], true
		out.ID = binary.BigEndian.Uint32(b[44:])
		out.Offset, out.More = uint32(field&^7), field&1 != 0
		total := 40 + int(binary.BigEndian.Uint16(b[4:]))
		out.Len = uint32(max(0, total-48))
		out.Data = b[48:min(max(total, 48), len(b))]
		return out, true
	}
	return out, false
}

// tsharkReassembles is the first datagram that tshark puts together in each frame.
func tsharkReassembles(t *testing.T, tshark, file string) map[int][]byte {
	t.Helper()
	text, err := exec.Command(tshark, "-n", "-r", file, "-T", "fields", "-E", "occurrence=f",
		"-Y", "ip.reassembled.length or ipv6.reassembled.length",
		"-e", "frame.number", "-e", "ip.reassembled.data", "-e", "ipv6.reassembled.data").Output()
	if err != nil {
		t.Fatalf("run tshark: %v", err)
	}
	out := map[int][]byte{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		var number int
		if _, err := fmt.Sscan(cells[0], &number); err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(cells[1])
		if cells[1] == "" {
			data, err = hex.DecodeString(cells[2])
		}
		if err != nil {
			t.Fatal(err)
		}
		out[number] = data
	}
	return out
}
