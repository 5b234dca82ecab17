package ring

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

// fake is a frame as the kernel lays it down.
type fake struct {
	time      int64
	data      []byte
	len       uint32 // on the wire; 0: as data
	status    uint32
	tci, tpid uint16
}

const fakeMAC = 82 // offset of an Ethernet frame: TPACKET3_HDRLEN and room for alignment

// block lays frames down as the kernel does.
func block(size int, status uint32, seq uint64, frames ...fake) []byte {
	b := make([]byte, size)
	at := blockHeader
	host.PutUint32(b[blockStatus:], status|unix.TP_STATUS_USER)
	host.PutUint32(b[blockPackets:], uint32(len(frames)))
	host.PutUint32(b[blockFirst:], uint32(at))
	host.PutUint64(b[blockSeq:], seq)
	for i, f := range frames {
		h := b[at:]
		next := (fakeMAC + len(f.data) + 15) &^ 15
		if f.len == 0 {
			f.len = uint32(len(f.data))
		}
		if i < len(frames)-1 {
			host.PutUint32(h[headNext:], uint32(next))
		}
		host.PutUint32(h[headSec:], uint32(f.time/1e9))
		host.PutUint32(h[headNsec:], uint32(f.time%1e9))
		host.PutUint32(h[headSnap:], uint32(len(f.data)))
		host.PutUint32(h[headLen:], f.len)
		host.PutUint32(h[headStatus:], f.status)
		host.PutUint16(h[headMAC:], fakeMAC)
		host.PutUint32(h[headTCI:], uint32(f.tci))
		host.PutUint16(h[headTPID:], f.tpid)
		copy(h[fakeMAC:], f.data)
		at += next
	}
	return b
}

// noted puts a note in front of a frame.
func noted(b []byte, flags uint16, length uint32, at int64) []byte {
	out := make([]byte, noteSize, noteSize+len(b))
	binary.BigEndian.PutUint16(out[noteType:], noteEthertype)
	host.PutUint16(out[noteFlags:], flags)
	host.PutUint32(out[noteMagic:], noteMagicValue)
	host.PutUint32(out[noteLen:], length)
	host.PutUint64(out[noteTime:], uint64(at))
	return append(out, b...)
}

const base = int64(1_700_000_000e9)

func TestTake(t *testing.T) {
	plain := datagram(1, 2, 100)
	const vlan = unix.TP_STATUS_VLAN_VALID
	const vlanTPID = vlan | unix.TP_STATUS_VLAN_TPID_VALID
	for _, tc := range []struct {
		name  string
		in    fake
		snap  uint32
		link  frame.LinkType
		want  []byte
		frame frame.Frame
		notes uint32
	}{
		{name: "plain", in: fake{data: plain}, want: plain, frame: frame.Frame{Time: base, Len: 100}},
		{name: "cut by the kernel", in: fake{data: plain[:60], len: 100}, want: plain[:60], frame: frame.Frame{Time: base, Len: 100}},
		{name: "snap length", in: fake{data: plain}, snap: 64, want: plain[:64], frame: frame.Frame{Time: base, Len: 100}},
		{name: "tag", in: fake{data: plain, status: vlanTPID, tci: 0xe123, tpid: 0x88a8}, want: tagged(plain, 0x88a8, 0xe123), frame: frame.Frame{Time: base, Len: 104}},
		{name: "tag without ethertype", in: fake{data: plain, status: vlan, tci: 5}, want: tagged(plain, 0x8100, 5), frame: frame.Frame{Time: base, Len: 104}},
		{name: "tag and snap length", in: fake{data: plain, status: vlan, tci: 5}, snap: 64, want: tagged(plain, 0x8100, 5)[:64], frame: frame.Frame{Time: base, Len: 104}},
		{name: "tag of less than two addresses", in: fake{data: plain[:11], status: vlan, tci: 5}, want: plain[:11], frame: frame.Frame{Time: base, Len: 11}},
		{name: "metered", in: fake{data: noted(plain, 1, 100, base-500)}, want: plain, frame: frame.Frame{Time: base - 500, Len: 100, Metered: true}, notes: 1},
		{name: "cut by the filter", in: fake{data: noted(plain[:54], 2, 100, base-500)}, want: plain[:54], frame: frame.Frame{Time: base - 500, Len: 100}, notes: 1},
		{name: "metered and cut and tag", in: fake{data: noted(plain[:54], 3, 100, base), status: vlan, tci: 5}, want: tagged(plain[:54], 0x8100, 5), frame: frame.Frame{Time: base, Len: 104, Metered: true}, notes: 1},
		{name: "note with an incredible time", in: fake{data: noted(plain, 0, 100, int64(9e18))}, want: plain, frame: frame.Frame{Time: base, Len: 100}, notes: 1},
		{name: "note with too small a length", in: fake{data: noted(plain, 0, 3, base)}, want: plain, frame: frame.Frame{Time: base, Len: 100}, notes: 1},
		{name: "note with an incredible length", in: fake{data: noted(plain, 0, 1<<32-1, base)}, want: plain, frame: frame.Frame{Time: base, Len: 100}, notes: 1},
		{name: "nothing behind a note", in: fake{data: noted(nil, 0, 0, base)}, want: nil, frame: frame.Frame{Time: base}, notes: 1},
		{name: "half a note", in: fake{data: noted(nil, 0, 0, base)[:31]}, want: noted(nil, 0, 0, base)[:31], frame: frame.Frame{Time: base, Len: 31}},
		{name: "raw IP", in: fake{data: noted(plain, 1, 9, base), status: vlan}, link: frame.LinkRaw, want: noted(plain, 1, 9, base), frame: frame.Frame{Time: base, Len: 132}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.in.time = base
			w := walker{snap: wholeFrame, link: frame.LinkEthernet}
			if tc.snap > 0 {
				w.snap = tc.snap
			}
			if tc.link != 0 {
				w.link = tc.link
			}
			// A frame on either side: neither may be touched.
			w.enter(block(4096, 0, 1, fake{data: plain}, tc.in, fake{data: plain}))
			var f [3]frame.Frame
			for i := range f {
				if !w.take(&f[i]) {
					t.Fatalf("frame %d not found", i)
				}
			}
			if w.left != 0 || w.damaged != 0 || w.notes != tc.notes {
				t.Errorf("%d frames left, %d damaged, %d notes, want %d", w.left, w.damaged, w.notes, tc.notes)
			}
			for _, i := range []int{0, 2} {
				if want := plain[:min(len(plain), int(w.snap))]; !bytes.Equal(f[i].Data, want) {
					t.Errorf("frame %d is now % x", i, f[i].Data)
				}
			}
			got := f[1]
			if !bytes.Equal(got.Data, tc.want) {
				t.Errorf("got  % x\nwant % x", got.Data, tc.want)
			}
			if want := tc.frame; got.Time != want.Time || got.Len != want.Len || got.Metered != want.Metered || got.Link != w.link {
				t.Errorf("time %d, length %d, metered %v, link %d; want %+v", got.Time-base, got.Len, got.Metered, got.Link, want)
			}
		})
	}
}

func TestDamagedBlocks(t *testing.T) {
	plain := datagram(1, 2, 100)
	const second = blockHeader + (fakeMAC+100+15)&^15
	for _, tc := range []struct {
		name   string
		damage func(b []byte)
		want   int // frames found
	}{
		{"none", func([]byte) {}, 3},
		{"first frame beyond the block", func(b []byte) { host.PutUint32(b[blockFirst:], 4096) }, 0},
		{"first frame in the header", func(b []byte) { host.PutUint32(b[blockFirst:], 8) }, 0},
		{"first frame far beyond", func(b []byte) { host.PutUint32(b[blockFirst:], 1<<32-1) }, 0},
		{"header half out of the block", func(b []byte) { host.PutUint32(b[blockFirst:], 4096-headSize+1) }, 0},
		{"frame in its header", func(b []byte) { host.PutUint16(b[second+headMAC:], headSize-1) }, 1},
		{"frame begins beyond the block", func(b []byte) { host.PutUint16(b[second+headMAC:], 1<<16-1) }, 1},
		{"frame ends beyond the block", func(b []byte) { host.PutUint32(b[second+headSnap:], 4096-second-fakeMAC+1) }, 1},
		{"frame of 4 GiB", func(b []byte) { host.PutUint32(b[second+headSnap:], 1<<32-1) }, 1},
		{"next is itself", func(b []byte) { host.PutUint32(b[second+headNext:], 0) }, 2},
		{"next in the header", func(b []byte) { host.PutUint32(b[second+headNext:], headSize-1) }, 2},
		{"next beyond the block", func(b []byte) { host.PutUint32(b[second+headNext:], 1<<32-1) }, 2},
		{"more frames than there are", func(b []byte) { host.PutUint32(b[blockPackets:], 1<<32-1) }, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := block(4096, 0, 1, fake{data: plain}, fake{data: plain}, fake{data: plain})
			tc.damage(b)
			said := host.Uint32(b[blockPackets:])
			w := walker{snap: wholeFrame, link: frame.LinkEthernet}
			w.enter(b)
			var f frame.Frame
			got := 0
			for w.left > 0 && w.take(&f) {
				got++
				if !bytes.Equal(f.Data, plain) {
					t.Errorf("frame %d: % x", got, f.Data)
				}
			}
			if got != tc.want || w.left != 0 || uint32(got)+w.damaged != said {
				t.Errorf("%d frames, want %d; %d left; %d damaged of %d", got, tc.want, w.left, w.damaged, said)
			}
		})
	}
}

// A block is the kernel's word, and still no length in it is believed.
func FuzzWalker(f *testing.F) {
	plain := datagram(1, 2, 100)
	f.Add(block(1024, 0, 1, fake{data: plain}, fake{data: plain, status: 0x50, tci: 1, tpid: 0x8100}), uint32(wholeFrame), true)
	f.Add(block(1024, 0, 1, fake{data: noted(plain, 1, 100, base), time: base, status: 0x10}), uint32(64), true)
	f.Add(block(1024, 0, 1, fake{data: plain}), uint32(14), false)
	f.Fuzz(func(t *testing.T, b []byte, snap uint32, ethernet bool) {
		if len(b) < blockHeader {
			return
		}
		// What is behind the block is somebody else's.
		const guard = 64
		mem := append(append([]byte(nil), b...), bytes.Repeat([]byte{0xa5}, guard)...)
		b = mem[:len(b):len(b)]
		w := walker{snap: snap, link: frame.LinkRaw}
		if ethernet {
			w.link = frame.LinkEthernet
		}
		w.enter(b)
		said, got := w.left, uint32(0)
		for w.left > 0 {
			var fr frame.Frame
			if !w.take(&fr) {
				break
			}
			got++
			if len(fr.Data) > len(b) || uint64(len(fr.Data)) > uint64(snap) {
				t.Fatalf("frame of %d bytes from a block of %d, snap length %d", len(fr.Data), len(b), snap)
			}
			for i := range fr.Data {
				fr.Data[i] ^= 0xff // may be written, and is in the block
			}
			// A header takes its room, so no block holds more frames than this.
			if int(got) > len(b)/headSize+1 {
				t.Fatalf("%d frames in a block of %d bytes", got, len(b))
			}
		}
		if w.left != 0 || got+w.damaged != said {
			t.Fatalf("%d frames and %d damaged of %d, %d left", got, w.damaged, said, w.left)
		}
		if !bytes.Equal(mem[len(b):], bytes.Repeat([]byte{0xa5}, guard)) {
			t.Fatal("bytes behind the block were written")
		}
	})
}
