package xdp

import "unsafe"

// overlay is the same memory as words of 8 and of 4 bytes, so that they can be
// loaded and stored atomically. A mapping begins at a page, so they are aligned.
func overlay(mem []byte) ([]uint64, []uint32) {
	at := unsafe.Pointer(unsafe.SliceData(mem))
	return unsafe.Slice((*uint64)(at), len(mem)/8), unsafe.Slice((*uint32)(at), len(mem)/4)
}
