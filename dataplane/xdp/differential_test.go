package xdp

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"ringside/bench/corpus"
	"ringside/bench/encap"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/rtp"
)

// mostFrames of a capture are compared: the first ones.
const mostFrames = 1500

// captured is a capture of the corpus: its Ethernet frames.
type captured struct {
	name   string
	frames [][]byte
}

func readCaptures(t *testing.T) (out []captured) {
	t.Helper()
	root := corpus.Dir(t)
	for _, dir := range []string{"captures", "encap"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, ".tsv") || strings.HasSuffix(path, ".txt") {
				return err
			}
			name, _ := filepath.Rel(root, path)
			out = append(out, captured{name, readEthernet(t, path)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func readEthernet(t *testing.T, path string) (out [][]byte) {
	t.Helper()
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for len(out) < mostFrames {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		for _, f := range b.Frames {
			if f.Link == frame.LinkEthernet && len(f.Data) >= 14 && len(f.Data) < 9000 {
				out = append(out, slices.Clone(f.Data))
			}
		}
		b.Release()
	}
	return out[:min(len(out), mostFrames)]
}

// decoded is what dataplane/decode finds in a frame.
func decoded(d *decode.Decoder, data []byte) *frame.Batch {
	b := &frame.Batch{Frames: []frame.Frame{{Data: data, Len: uint32(len(data)), Link: frame.LinkEthernet}}}
	d.Decode(b)
	return b
}

// someOfPorts takes one half of the ports, in no order.
func someOfPorts(port uint16) bool { return port*40503>>8&1 == 0 }

func portsThat(take func(uint16) bool) (out []uint16) {
	for port := range 1 << 16 {
		if take(uint16(port)) {
			out = append(out, uint16(port))
		}
	}
	return out
}

// TestSamePorts wants the program and the decoder to agree on what has which port,
// on the corpus: nothing of a port that is taken is dropped, and nothing counts as
// SIP that is not on one. Where there are fragments, one frame does not tell.
func TestSamePorts(t *testing.T) {
	var s Settings
	ports := portsThat(someOfPorts)
	s.SIP = Ports{UDP: ports, TCP: ports, SCTP: ports}
	f := loaded(t, s, 0)
	var d decode.Decoder
	frames, dropped, sip := 0, 0, 0
	for _, c := range readCaptures(t) {
		for i, data := range c.frames {
			b := decoded(&d, data)
			wanted := false
			for _, p := range b.Packets {
				wanted = wanted || someOfPorts(p.Src.Port) || someOfPorts(p.Dst.Port)
			}
			row, action, _ := judge(t, f, data)
			frames++
			switch {
			case len(b.Fragments) > 0:
			case action == xdpDrop && wanted:
				t.Errorf("%s, frame %d: %s, but it is on a port that is taken: %+v", c.name, i, row, b.Packets[0])
			case row == "pass: SIP" && !wanted && len(b.Packets) > 0:
				t.Errorf("%s, frame %d: %s, but it is on no port that is taken: %d packets", c.name, i, row, len(b.Packets))
			case action == xdpDrop:
				dropped++
			case row == "pass: SIP":
				sip++
			}
		}
	}
	t.Logf("%d frames, of which %d were dropped and %d taken", frames, dropped, sip)
	if dropped == 0 || sip == 0 {
		t.Error("the comparison has compared nothing")
	}
}

// stream is a stream as both sides name it.
type stream struct {
	src, dst frame.Endpoint
	ssrc     uint32
}

// counted is what both sides count of a stream.
type counted struct{ packets, octets uint64 }

// TestSameRTP wants the program to meter what user space would: the same packets of
// the same streams with the same payload, on the corpus and in every encapsulation.
func TestSameRTP(t *testing.T) {
	f := loaded(t, Settings{RTP: RTP{Rule: InRange, Ranges: []PortRange{{1024, 65535}}}}, 1<<16)
	captures := append(readCaptures(t), captured{name: "encapsulations"})
	last := &captures[len(captures)-1]
	padded := slices.Concat([]byte{0xb1, 8}, voice[2:12], make([]byte, 4), []byte{0, 0, 0, 2}, make([]byte, 100), []byte{0, 9})
	for _, k := range encap.Kinds() {
		last.frames = append(last.frames, encap.Wrap(k, over4(20000, 20002, voice)), encap.Wrap(k, over4(20000, 20002, padded)))
	}
	var d decode.Decoder
	want := map[stream]counted{}
	metered := 0
	for _, c := range captures {
		for i, data := range c.frames {
			row, _, _ := judge(t, f, data)
			b := decoded(&d, data)
			rtpHere := false
			for _, p := range b.Packets {
				var h rtp.Header
				if p.Proto != frame.ProtoUDP || p.Src.Port < 1024 || p.Dst.Port < 1024 || rtp.IsRTCP(p.Payload) ||
					!rtp.ParseHeader(p.Payload, int(p.Len), &h) {
					continue
				}
				rtpHere = true
				if strings.HasPrefix(row, "meter") {
					key := stream{p.Src, p.Dst, h.SSRC}
					n := want[key]
					want[key] = counted{n.packets + 1, n.octets + uint64(h.Len)}
				}
			}
			switch {
			case strings.HasPrefix(row, "meter") && !rtpHere:
				t.Errorf("%s, frame %d: %s, but user space finds no RTP in it", c.name, i, row)
			case strings.HasPrefix(row, "drop") && rtpHere:
				t.Errorf("%s, frame %d: %s, but there is RTP in it", c.name, i, row)
			case strings.HasPrefix(row, "meter"):
				metered++
			}
		}
	}
	got := map[stream]counted{}
	m := f.Meters()
	for _, a := range m.Poll(make([]frame.Metered, 0, 1<<16)) {
		var state [StateSize]byte
		packets, ok := m.Read(a.Slot, &state)
		if !ok {
			t.Fatalf("stream %v is not readable", a)
		}
		got[stream{a.Src, a.Dst, a.SSRC}] = counted{uint64(packets), binary.LittleEndian.Uint64(state[80:])}
	}
	for key, n := range want {
		if g := got[key]; g != n {
			t.Errorf("%v: metered %+v, want %+v", key, got[key], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d streams metered, want %d", len(got), len(want))
	}
	t.Logf("%d packets of %d streams metered", metered, len(want))
	if metered == 0 {
		t.Error("the comparison has compared nothing")
	}
}

// FuzzFrame wants no frame to be dropped in which the decoder finds a packet on a port
// that is taken.
func FuzzFrame(f *testing.F) {
	for _, k := range encap.Kinds() {
		f.Add(encap.Wrap(k, over4(5060, 5060, invite())))
	}
	var s Settings
	ports := portsThat(someOfPorts)
	s.SIP = Ports{UDP: ports, TCP: ports, SCTP: ports}
	filter := loaded(f, s, 0)
	var d decode.Decoder
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 14 || len(data) > 3000 {
			return
		}
		action, err := filter.program.Run(&ebpf.RunOptions{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		if action == xdpPass {
			return
		}
		for _, p := range decoded(&d, data).Packets {
			if !someOfPorts(p.Src.Port) && !someOfPorts(p.Dst.Port) {
				continue
			}
			// The inputs before may have left a first fragment behind that was dropped.
			action, err := loaded(t, s, 0).program.Run(&ebpf.RunOptions{Data: data})
			if err != nil || action != xdpPass {
				t.Errorf("dropped, with %+v in it: %v", p, err)
			}
		}
	})
}
