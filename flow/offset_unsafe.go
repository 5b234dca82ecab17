package flow

import (
	"unsafe"

	"ringside/dataplane/frame"
)

// offset is where a packet's payload begins in its frame.
func offset(f *frame.Frame, payload []byte) int {
	if len(payload) == 0 || len(f.Data) == 0 {
		return len(f.Data)
	}
	off := uintptr(unsafe.Pointer(unsafe.SliceData(payload))) - uintptr(unsafe.Pointer(unsafe.SliceData(f.Data)))
	return int(min(off, uintptr(len(f.Data))))
}
