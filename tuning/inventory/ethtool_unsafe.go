package inventory

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifreq is struct ifreq with ifr_data.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// ask asks the driver of an interface: b begins with a command, and takes the
// answer. The kernel writes as much as the command has to say, so callers leave
// room for it.
func ask(fd int, name string, b []byte) bool {
	if len(name) >= unix.IFNAMSIZ {
		return false
	}
	req := ifreq{data: unsafe.Pointer(&b[0])}
	copy(req.name[:], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(b)
	return errno == 0
}

// words asks for an answer of so many numbers of 32 bits.
func words(fd int, name string, command uint32, n int) []uint32 {
	b := make([]byte, 4*n)
	binary.NativeEndian.PutUint32(b, command)
	if !ask(fd, name, b) {
		return nil
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return out
}
