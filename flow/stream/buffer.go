package stream

import "math/bits"

// buffers are the memory for what flows hold: byte slices by size class, used
// again once they are given back.
type buffers struct {
	used  int64 // capacity of those in use, bytes
	spare int64 // of those given back
	free  [numClasses][][]byte
	lists [][]piece // spare lists of pieces, of capacity fewPieces
}

const (
	minShift   = 10 // the least class is 1 KiB
	numClasses = 11 // the greatest 1 MiB
	maxSpare   = 4 << 20

	fewPieces = 64
	pieceSize = 24 // bytes of a piece
)

// class is the class of slices that hold n bytes.
func class(n int) int { return max(bits.Len(uint(max(n, 1)-1))-minShift, 0) }

// get returns an empty slice with room for n bytes.
func (p *buffers) get(n int) []byte {
	c := class(n)
	if c >= numClasses {
		b := make([]byte, 0, n)
		p.used += int64(cap(b))
		return b
	}
	size := 1 << (c + minShift)
	p.used += int64(size)
	if k := len(p.free[c]); k > 0 {
		b := p.free[c][k-1]
		p.free[c] = p.free[c][:k-1]
		p.spare -= int64(size)
		return b
	}
	return make([]byte, 0, size)
}

// put takes a slice back that get or add has returned; nil is none.
func (p *buffers) put(b []byte) {
	if b == nil {
		return
	}
	p.used -= int64(cap(b))
	if c := class(cap(b)); c < numClasses && p.spare < maxSpare {
		p.spare += int64(cap(b))
		p.free[c] = append(p.free[c], b[:0])
	}
}

// add appends more to b, which may be nil.
func (p *buffers) add(b, more []byte) []byte {
	if len(b)+len(more) > cap(b) {
		bigger := append(p.get(len(b)+len(more)), b...)
		p.put(b)
		b = bigger
	}
	return append(b, more...)
}

// pieces makes room for one more in a list.
func (p *buffers) pieces(l []piece) []piece {
	switch n := len(l); {
	case n < cap(l):
		return l
	case l != nil:
		bigger := append(make([]piece, 0, 2*cap(l)), l...)
		p.used += int64(cap(bigger)) * pieceSize
		p.putPieces(l)
		return bigger
	}
	p.used += fewPieces * pieceSize
	if n := len(p.lists); n > 0 {
		l = p.lists[n-1]
		p.lists = p.lists[:n-1]
		return l
	}
	return make([]piece, 0, fewPieces)
}

// putPieces takes a list back; nil is none.
func (p *buffers) putPieces(l []piece) {
	p.used -= int64(cap(l)) * pieceSize
	if cap(l) == fewPieces && len(p.lists) < 1024 {
		p.lists = append(p.lists, l[:0])
	}
}
