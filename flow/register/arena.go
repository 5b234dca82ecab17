package register

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// arena keeps the texts of entries of one kind, each in a chain of small blocks.
// So there are no pointers for the collector to follow, freed room fits whatever
// comes next, and what is used is bounded exactly.
type arena struct {
	chunks [][]byte
	made   uint32 // blocks that exist; they count from 1
	free   uint32 // first of the chain of free ones
	used   int
	limit  int    // most blocks
	lost   uint64 // texts not kept for want of room
	buf    []byte
}

// text is the fields of an entry in its arena: the number of the first block. 0
// has no fields.
type text uint32

const (
	blockSize   = 64
	blockNext   = 4 // bytes that name the next block of the chain
	blockData   = blockSize - blockNext
	chunkBlocks = 1 << 10
)

// roomFor is the number of blocks that the longest text of a new entry may need.
const roomFor = (maxText+maxList+4*maxCallID+numFields*(maxField+2))/blockData + 2

// blocksFor is how many blocks the texts of n entries get.
func blocksFor(n int) int {
	return max(n*textPerEntry/blockSize, 2*roomFor)
}

// full reports whether the next text may not fit.
func (a *arena) full() bool { return a.used+roomFor > a.limit }

func (a *arena) block(n uint32) []byte {
	at := n % chunkBlocks * blockSize
	return a.chunks[n/chunkBlocks][at : at+blockSize : at+blockSize]
}

func (a *arena) get() uint32 {
	a.used++
	if n := a.free; n != 0 {
		a.free = binary.LittleEndian.Uint32(a.block(n))
		return n
	}
	a.made++
	if int(a.made/chunkBlocks) >= len(a.chunks) {
		a.chunks = append(a.chunks, make([]byte, chunkBlocks*blockSize))
	}
	return a.made
}

// drop frees a text.
func (a *arena) drop(at text) {
	for n := uint32(at); n != 0; {
		b := a.block(n)
		next := binary.LittleEndian.Uint32(b)
		binary.LittleEndian.PutUint32(b, a.free)
		a.free = n
		a.used--
		n = next
	}
}

// numFields is the most fields that an entry has.
const numFields = 20

// fields is the text of one entry, taken apart. What is set is borrowed until it
// is saved; what is loaded until the next load.
type fields struct {
	of    [numFields][]byte
	dirty bool // differs from what was loaded
	buf   []byte
}

// clear makes all fields empty.
func (f *fields) clear() {
	clear(f.of[:])
	f.dirty = true
}

// set sets a field to b, of which at most most bytes are kept.
func (f *fields) setMax(i int, b []byte, most int) {
	b = b[:min(len(b), most)]
	if !bytes.Equal(f.of[i], b) {
		f.of[i] = b
		f.dirty = true
	}
}

func (f *fields) set(i int, b []byte) { f.setMax(i, b, maxField) }

// keep sets a field unless b is empty.
func (f *fields) keep(i int, b []byte) {
	if len(b) > 0 {
		f.set(i, b)
	}
}

// string copies a field into a record. What is not UTF-8 there is replaced, so
// that the record can be written as JSON and stored.
func (f *fields) string(i int) string { return clean(f.of[i]) }

func clean(b []byte) string {
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	return string(b)
}

// load takes a text apart.
func (a *arena) load(at text, f *fields) {
	clear(f.of[:])
	f.dirty = false
	f.buf = f.buf[:0]
	for n := uint32(at); n != 0; {
		b := a.block(n)
		f.buf = append(f.buf, b[blockNext:]...)
		n = binary.LittleEndian.Uint32(b)
	}
	b := f.buf
	if len(b) == 0 {
		return
	}
	n := int(b[0])
	b = b[1:]
	for i := range n {
		size := int(binary.LittleEndian.Uint16(b))
		f.of[i] = b[2 : 2+size : 2+size]
		b = b[2+size:]
	}
}

// save writes fields that were changed in the place of a text. Without room the
// text stays what it was.
func (a *arena) save(at text, f *fields) text {
	if !f.dirty {
		return at
	}
	n := numFields
	for n > 0 && len(f.of[n-1]) == 0 {
		n--
	}
	b := append(a.buf[:0], byte(n))
	for _, field := range f.of[:n] {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(field)))
		b = append(b, field...)
	}
	a.buf = b
	need := (len(b) + blockData - 1) / blockData
	if a.used+need > a.limit { // whatever the old one takes
		a.lost++
		return at
	}
	a.drop(at)
	first := a.get()
	for n := first; ; {
		block := a.block(n)
		size := copy(block[blockNext:], b)
		b = b[size:]
		if len(b) == 0 {
			binary.LittleEndian.PutUint32(block, 0)
			break
		}
		n = a.get()
		binary.LittleEndian.PutUint32(block, n)
	}
	return text(first)
}
