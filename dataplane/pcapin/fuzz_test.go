package pcapin

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"ringside/dataplane/frame"
)

// FuzzRead reads any bytes with small and large blocks: no panic, the same
// frames, and no more bytes than there are.
func FuzzRead(f *testing.F) {
	recs := someRecs(4, epoch, 1)
	g := newNG(binary.BigEndian).iface(frame.LinkEthernet, 64, 0x80|10, -5).iface(frame.LinkSLL, 0, 9, 0)
	g.enhanced(1, 1<<40, "abc", 9).obsolete(0, 1<<40, "defg", 4).simple("hij", 3).stats(0, 1, 2).block(9999, []byte("?"))
	for _, b := range [][]byte{
		littlePcap(recs), pcapBytes(binary.BigEndian, magicNano, recs), pcapBytes(binary.LittleEndian, magicModified, recs),
		ngBytes(binary.LittleEndian, recs), g.b, join(littlePcap(recs), littlePcap(recs)),
	} {
		for _, p := range packers {
			f.Add(p.pack(b))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		small, s := readAll(t, Options{Inputs: []string{"-"}, Stdin: bytes.NewReader(b), BlockSize: minBlock})
		large, l := readAll(t, Options{Inputs: []string{"-"}, Stdin: bytes.NewReader(b), BlockSize: 1 << 20})
		diffRecs(t, small, large)
		if s.Cut != l.Cut || s.UnknownBlocks != l.UnknownBlocks || s.Dropped != l.Dropped || !slices.Equal(s.Damages, l.Damages) {
			t.Fatalf("stats differ by block size: %+v and %+v", s, l)
		}
	})
}
