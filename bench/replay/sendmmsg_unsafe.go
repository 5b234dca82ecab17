package replay

import (
	"context"
	"unsafe"

	"golang.org/x/sys/unix"
)

// burst is how many frames a call of sendmmsg takes at most.
const burst = 64

// batch is a run of frames for one call of sendmmsg(2).
type batch struct {
	msgs [burst]struct {
		head unix.Msghdr
		sent uint32 // written by the kernel
	}
	parts [burst]unix.Iovec
	n     int
}

// add puts a frame into the batch, which must not be full. Its bytes must stay until it was sent.
func (b *batch) add(frame []byte) {
	b.parts[b.n].Base = &frame[0]
	b.parts[b.n].SetLen(len(frame))
	b.msgs[b.n].head.Iov = &b.parts[b.n]
	b.msgs[b.n].head.SetIovlen(1)
	b.n++
}

// room has nothing to wait for: a batch is empty when it has been sent.
func (b *batch) room(context.Context) error { return nil }

func (b *batch) frames() int { return b.n }

func (b *batch) clear() { b.n = 0 }

func (b *batch) close() error { return nil }

// length is that of a frame of the batch.
func (b *batch) length(i int) uint64 { return uint64(b.parts[i].Len) }

// send offers the frames from a place on. It returns how many were taken; none
// if the first one was refused, with the reason.
func (b *batch) send(fd, from int) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[from])), uintptr(b.n-from), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
