package replay

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"ringside/bench/traffic"
)

// A capture is the same in every format, but for the fractions that one leaves out.
func TestRead(t *testing.T) {
	var want []Frame
	for _, format := range []traffic.Format{traffic.PcapNano, traffic.PcapMicro, traffic.PcapngNano} {
		o := mixed(2)
		o.Format, o.MTU, o.RTCP = format, 0, false // fragments and reports follow from times that were cut
		got := generated(t, o)
		if want == nil {
			want = got
		}
		if len(got) != len(want) || len(got) < 100 {
			t.Fatalf("%v: %d frames, want %d", format, len(got), len(want))
		}
		for i := range got {
			if d := want[i].Time - got[i].Time; !bytes.Equal(got[i].Data, want[i].Data) || d < 0 || d > 999 {
				t.Fatalf("%v: frame %d at %d is\n%x, not at %d\n%x", format, i, got[i].Time, got[i].Data, want[i].Time, want[i].Data)
			}
		}
	}
}

// bigPcapng is a file in the other byte order, with times in parts of 2 to the power of -10 seconds.
func bigPcapng() []byte {
	be := binary.BigEndian
	block := func(kind uint32, body []byte) []byte {
		n := uint32(12 + len(body))
		return be.AppendUint32(append(be.AppendUint32(be.AppendUint32(nil, kind), n), body...), n)
	}
	section := append(be.AppendUint32(nil, 0x1a2b3c4d), 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255)
	iface := []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 'e', 0, 0, 0, 0, 9, 0, 1, 0x80 | 10, 0, 0, 0, 0, 0, 0, 0}
	packet := be.AppendUint32(nil, 0)
	packet = be.AppendUint32(be.AppendUint32(packet, 0), 3*1024+512)
	packet = be.AppendUint32(be.AppendUint32(packet, 15), 60)
	packet = append(packet, "fifteen bytes..\x00"...)
	return bytes.Join([][]byte{block(0x0a0d0d0a, section), block(1, iface), block(5, []byte("ignored.")), block(6, packet)}, nil)
}

func TestReadBigEndian(t *testing.T) {
	frames, err := Read(bytes.NewReader(bigPcapng()))
	if err != nil || len(frames) != 1 || string(frames[0].Data) != "fifteen bytes.." || time.Duration(frames[0].Time) != 3500*time.Millisecond {
		t.Errorf("got %v, %v", frames, err)
	}
	pcap := []byte{0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 1}
	pcap = append(pcap, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9, 'x')
	frames, err = Read(bytes.NewReader(pcap))
	if err != nil || len(frames) != 1 || string(frames[0].Data) != "x" || frames[0].Time != 2e9+7000 {
		t.Errorf("got %v, %v", frames, err)
	}
}

func TestReadErrors(t *testing.T) {
	whole := bigPcapng()
	cooked := bytes.Clone(whole)
	cooked[28+9] = 113 // the link type
	for _, tc := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "no capture"},
		{"text", []byte("something else"), "no pcap or pcapng"},
		{"cut", whole[:len(whole)-5], "ends in a block"},
		{"cut in a block's header", whole[:30], "ends in a block"},
		{"link type", cooked, "link type 113"},
		{"length", append(bytes.Clone(whole), 0, 0, 0, 6, 0, 0, 0, 4), "broken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Read(bytes.NewReader(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error about %q", err, tc.want)
			}
		})
	}
}

// FuzzRead: no file makes it crash, or take more memory than the file has.
func FuzzRead(f *testing.F) {
	f.Add(bigPcapng())
	f.Add([]byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, file []byte) {
		frames, err := Read(bytes.NewReader(file))
		if err != nil {
			return
		}
		total := 0
		for i := range frames {
			total += len(frames[i].Data)
			l := layoutOf(frames[i].Data)
			edits := findEdits(frames[i].Data, &l)
			b := bytes.Clone(frames[i].Data)
			for j := range edits {
				edits[j].apply(b, &l, 3)
			}
		}
		if total > len(file) {
			t.Errorf("%d bytes of frames from %d of file", total, len(file))
		}
	})
}
