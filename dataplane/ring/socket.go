package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

const (
	tpStatusUser          = unix.TP_STATUS_USER
	tpStatusLosing        = unix.TP_STATUS_LOSING
	tpStatusVLANValid     = unix.TP_STATUS_VLAN_VALID
	tpStatusVLANTPIDValid = unix.TP_STATUS_VLAN_TPID_VALID
)

// socket is one AF_PACKET socket and the ring that it shares with the kernel.
// Its block and frame counters are read by one ring at a time.
type socket struct {
	fd   int // -1: only memory, in tests
	mem  []byte
	size int // of a block
	link frame.LinkType
	next int    // block that is handed over next
	seq  uint64 // number of the block before; the kernel counts from 1

	refs []atomic.Int32 // per block: who holds it
	out  atomic.Int32   // the ring, and each batch that is out
}

func newSocket(fd int, mem []byte, size int, l frame.LinkType) *socket {
	s := &socket{fd: fd, mem: mem, size: size, link: l, refs: make([]atomic.Int32, len(mem)/size)}
	s.out.Store(1)
	return s
}

func (s *socket) block(i int) []byte {
	return s.mem[i*s.size : (i+1)*s.size : (i+1)*s.size]
}

// status is whose a block is. The kernel stores it after everything else in the
// block (prb_flush_block), and so does release.
func (s *socket) status(i int) *uint32 {
	return (*uint32)(unsafe.Pointer(&s.mem[i*s.size+blockStatus]))
}

// handed reports whether a block is ours.
func (s *socket) handed(i int) bool { return atomic.LoadUint32(s.status(i))&tpStatusUser != 0 }

// ready reports whether the next block is to be read. It may also be one from
// the last time round that is still out.
func (s *socket) ready() bool { return s.refs[s.next].Load() == 0 && s.handed(s.next) }

// packets is how many frames the kernel has put so far into the block that it
// fills; 0 if it waits for that block.
func (s *socket) packets() uint32 {
	if s.refs[s.next].Load() != 0 {
		return 0
	}
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&s.mem[s.next*s.size+blockPackets])))
}

// frames is how many are in the blocks from the next one on.
func (s *socket) frames() (n uint64) {
	for k := range len(s.refs) {
		i := (s.next + k) % len(s.refs)
		if s.refs[i].Load() != 0 {
			break
		}
		n += uint64(atomic.LoadUint32((*uint32)(unsafe.Pointer(&s.mem[i*s.size+blockPackets]))))
		if !s.handed(i) {
			break
		}
	}
	return n
}

// drained reports whether nothing is in the ring that is not out, provided that
// nothing comes in.
func (s *socket) drained() bool { return !s.ready() && s.packets() == 0 }

// oldest is the time of the first frame that waits in the block being filled. It
// is a guess while the kernel writes that frame, and then too low.
func (s *socket) oldest() int64 {
	if s.packets() == 0 {
		return math.MaxInt64
	}
	b := s.block(s.next)
	at := uint64(host.Uint32(b[blockFirst:]))
	if at < blockHeader || at+headSize > uint64(len(b)) {
		return math.MinInt64
	}
	return int64(host.Uint32(b[at+headSec:]))*1e9 + int64(host.Uint32(b[at+headNsec:]))
}

// waiting is how many blocks are to be read.
func (s *socket) waiting() int {
	n := 0
	for n < len(s.refs) {
		i := (s.next + n) % len(s.refs)
		if s.refs[i].Load() != 0 || !s.handed(i) {
			break
		}
		n++
	}
	return n
}

// filling is the number of the block that the kernel fills, or waits for.
func (s *socket) filling() uint64 { return s.seq + 1 + uint64(s.waiting()) }

// losing is how many blocks that are to be read follow drops.
func (s *socket) losing() uint64 {
	n := uint64(0)
	for k := range s.waiting() {
		if atomic.LoadUint32(s.status((s.next+k)%len(s.refs)))&tpStatusLosing != 0 {
			n++
		}
	}
	return n
}

// pollable reports whether poll would wait for a new block. It looks at the
// block before the one being filled and returns at once when that is not back
// (packet_poll, __packet_lookup_frame_in_block).
func (s *socket) pollable() bool {
	return !s.handed((s.next + len(s.refs) - 1) % len(s.refs))
}

// hold and unhold are for a batch.
func (s *socket) hold(block int) {
	s.refs[block].Add(1)
	s.out.Add(1)
}

func (s *socket) unhold(block int) {
	s.release(block)
	s.drop()
}

// release gives a block back to the kernel, if nobody else holds it.
func (s *socket) release(block int) {
	if s.refs[block].Add(-1) != 0 {
		return
	}
	// The kernel sets it when it begins the block; until then it is nobody's.
	host.PutUint32(s.mem[block*s.size+blockPackets:], 0)
	atomic.StoreUint32(s.status(block), unix.TP_STATUS_KERNEL)
}

// retire is the ring's last use of the socket. Batches may still be out.
func (s *socket) retire() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
	}
	s.drop()
}

// drop gives the memory back after its last user. The mapping keeps the kernel's
// half of the socket alive until then.
func (s *socket) drop() {
	if s.out.Add(-1) == 0 && s.fd >= 0 {
		_ = unix.Munmap(s.mem)
	}
}

// statistics reads the kernel's counters, and so resets them.
func (s *socket) statistics() (packets, drops, freezes uint64) {
	if s.fd < 0 {
		return 0, 0, 0
	}
	k, err := unix.GetsockoptTpacketStatsV3(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, 0, 0
	}
	return uint64(k.Packets), uint64(k.Drops), uint64(k.Freeze_q_cnt)
}

// mute lets no frame in any more.
func (s *socket) mute() error {
	return attach(s.fd, []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}})
}

// settle waits until frames that met an older filter are in their rings: the
// kernel's receive path is under RCU, and MEMBARRIER_CMD_GLOBAL waits for a
// grace period (kernel/sched/membarrier.c). Where it is not to be had (nohz_full)
// a frame that is being received at this moment may be missed.
func settle() {
	const global = 1
	_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
}

func attach(fd int, filter []unix.SockFilter) error {
	if fd < 0 {
		return nil
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach socket filter: %w", err)
	}
	return nil
}

// openGroup makes the sockets of all rings. Frames are let in when all are in
// their places, so that none goes to two rings.
func openGroup(o *Options, l link) ([]*socket, error) {
	var sockets []*socket
	group := 0
	err := func() error {
		for i := range o.Rings {
			s, err := openSocket(o, l)
			if err != nil {
				return err
			}
			sockets = append(sockets, s)
			if o.Rings > 1 {
				if group, err = o.join(s.fd, group, i == 0); err != nil {
					return err
				}
			}
		}
		if o.Rings > 1 {
			if err := o.program(sockets[0].fd); err != nil {
				return err
			}
		}
		for _, s := range sockets {
			if err := o.unmute(s.fd); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		for _, s := range sockets {
			s.retire()
		}
		return nil, err
	}
	return sockets, nil
}

// openSocket makes a socket that is bound, and muted.
func openSocket(o *Options, l link) (*socket, error) {
	// Protocol 0: nothing comes before it is bound.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("open packet socket: %w: run as root, or with CAP_NET_RAW", err)
	case err != nil:
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	s, err := mapRing(fd, o, l)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if err := s.bind(o, l); err != nil {
		s.retire()
		return nil, err
	}
	return s, nil
}

// setting is an integer option of a socket.
type setting struct {
	level, option, value int
	what                 string
}

func set(fd int, settings []setting) error {
	for _, v := range settings {
		if err := unix.SetsockoptInt(fd, v.level, v.option, v.value); err != nil {
			return fmt.Errorf("set %s: %w", v.what, err)
		}
	}
	return nil
}

// mapRing makes the ring of a socket and maps it.
func mapRing(fd int, o *Options, l link) (*socket, error) {
	outgoing := 1
	if o.Outgoing {
		outgoing = 0
	}
	if err := set(fd, []setting{
		{unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3, "TPACKET_V3"},
		{unix.SOL_PACKET, unix.PACKET_TIMESTAMP, unix.SOF_TIMESTAMPING_SOFTWARE, "software timestamps"},
		// Stamps are then taken when a frame leaves the driver, not when it is copied.
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1, "timestamps on reception"},
		{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, outgoing, "PACKET_IGNORE_OUTGOING"},
	}); err != nil {
		return nil, err
	}
	blocks := o.blocks()
	req := unix.TpacketReq3{
		Block_size: uint32(o.BlockSize), Block_nr: uint32(blocks),
		// Frames are packed as they come; the kernel only checks that these two fit.
		Frame_size: uint32(unix.Getpagesize()), Frame_nr: uint32(blocks * (o.BlockSize / unix.Getpagesize())),
		Retire_blk_tov: uint32(o.BlockTimeout / time.Millisecond),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("make a ring of %d blocks of %d bytes: %w: choose less memory for rings", blocks, o.BlockSize, err)
	}
	mem, err := unix.Mmap(fd, 0, blocks*o.BlockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map a ring of %d bytes: %w: choose less memory for rings", blocks*o.BlockSize, err)
	}
	return newSocket(fd, mem, o.BlockSize, l.typ), nil
}

// bind ties the socket, muted, to the interface.
func (s *socket) bind(o *Options, l link) error {
	if err := s.mute(); err != nil {
		return err
	}
	var all [2]byte // in network order
	binary.BigEndian.PutUint16(all[:], unix.ETH_P_ALL)
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: host.Uint16(all[:]), Ifindex: l.index}); err != nil {
		return fmt.Errorf("bind to interface %d: %w", l.index, err)
	}
	if o.Promiscuous {
		m := unix.PacketMreq{Ifindex: int32(l.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(s.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			return fmt.Errorf("set promiscuous mode: %w", err)
		}
	}
	return nil
}
