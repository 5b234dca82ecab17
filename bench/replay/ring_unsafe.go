package replay

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is shared memory from which the kernel sends frames (PACKET_TX_RING,
// TPACKET_V2): a frame is copied once, by the sender, and one call sends many.
//
// The kernel sends in order. A frame that the driver refuses stays in its place until
// it is taken, so a ring offers everything again (Options.Retry).
//
// A veth says that a frame is done with when it has only been queued at the other end
// (256 frames at most), and the kernel still reads it there: so there are many more
// slots than that before one is used again.
type ring struct {
	mem   []byte
	size  int // of a slot
	slots int
	first int // slot of the first frame of the batch
	n     int // frames in the batch
	sizes [burst]uint32
}

const (
	ringSlots   = 4096
	ringData    = 32 // from a slot's begin to its frame: a tpacket2_hdr, aligned
	ringWait    = 5 * time.Second
	sendRequest = unix.TP_STATUS_SEND_REQUEST
)

// newRing makes the ring of a socket for frames up to a length.
func newRing(fd, longest int) (*ring, error) {
	r := &ring{size: 2048, slots: ringSlots}
	for r.size < longest+ringData {
		r.size *= 2
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return nil, fmt.Errorf("choose the version of the transmit ring: %w", err)
	}
	const inBlock = 16
	req := unix.TpacketReq{
		Block_size: uint32(inBlock * r.size), Block_nr: uint32(r.slots / inBlock), Frame_size: uint32(r.size), Frame_nr: uint32(r.slots),
	}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_TX_RING, &req); err != nil {
		return nil, fmt.Errorf("make a transmit ring of %d MiB: %w", r.slots*r.size>>20, err)
	}
	var err error
	if r.mem, err = unix.Mmap(fd, 0, r.slots*r.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map transmit ring: %w", err)
	}
	return r, nil
}

func (r *ring) close() error {
	if r.mem == nil {
		return nil
	}
	mem := r.mem
	r.mem = nil
	return unix.Munmap(mem)
}

// slot is where a frame of the batch is; its header begins with the status and the length.
func (r *ring) slot(i int) []byte {
	at := (r.first + i) % r.slots * r.size
	return r.mem[at : at+r.size]
}

// status is a slot's, which the kernel changes, too.
func (r *ring) status(i int) *uint32 { return (*uint32)(unsafe.Pointer(&r.slot(i)[0])) }

// room waits until the next slot is free.
func (r *ring) room(ctx context.Context) error {
	for began := time.Now(); atomic.LoadUint32(r.status(r.n)) != unix.TP_STATUS_AVAILABLE; time.Sleep(20 * time.Microsecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(began) > ringWait {
			return fmt.Errorf("send through the transmit ring: the driver has kept a frame for %v", ringWait)
		}
	}
	return nil
}

func (r *ring) add(frame []byte) {
	s := r.slot(r.n)
	*(*uint32)(unsafe.Pointer(&s[4])) = uint32(len(frame))
	copy(s[ringData:], frame)
	r.sizes[r.n] = uint32(len(frame))
	atomic.StoreUint32(r.status(r.n), sendRequest)
	r.n++
}

func (r *ring) frames() int { return r.n }

func (r *ring) length(i int) uint64 { return uint64(r.sizes[i]) }

func (r *ring) clear() { r.first, r.n = (r.first+r.n)%r.slots, 0 }

// send lets the kernel send what is in the ring, from a place of the batch on.
func (r *ring) send(fd, from int) (int, error) {
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	n := 0
	for from+n < r.n && atomic.LoadUint32(r.status(from+n)) != sendRequest {
		if atomic.LoadUint32(r.status(from+n))&unix.TP_STATUS_WRONG_FORMAT != 0 {
			return 0, unix.EMSGSIZE
		}
		n++
	}
	if n == 0 && errno != 0 {
		return 0, errno
	}
	return n, nil
}
