package driver

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifreq is struct ifreq (linux/if.h) with ifr_data.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// ask asks the driver of an interface: b begins with a command, and takes the
// answer. The kernel writes as much as the command has to say, whatever the length
// of b, so callers leave room for it.
func (s *Socket) ask(name string, b []byte) error {
	if len(name) >= unix.IFNAMSIZ {
		return fmt.Errorf("ask the driver of %s: no interface has a name so long", name)
	}
	req := ifreq{data: unsafe.Pointer(&b[0])}
	copy(req.name[:], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(b)
	if errno != 0 {
		return fmt.Errorf("ask the driver of %s: %w", name, errno)
	}
	return nil
}
