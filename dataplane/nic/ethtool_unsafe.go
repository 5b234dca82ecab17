package nic

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtool is a socket for the ioctl of linux/ethtool.h.
type ethtool struct{ fd int }

func openEthtool() (*ethtool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open socket for ethtool: %w", err)
	}
	return &ethtool{fd}, nil
}

func (e *ethtool) close() error {
	if e == nil || e.fd < 0 {
		return nil
	}
	fd := e.fd
	e.fd = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close socket for ethtool: %w", err)
	}
	return nil
}

// ifreq is struct ifreq (linux/if.h) with a pointer, 40 bytes.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// call asks the driver of the interface: b begins with a command, and takes the
// answer. The kernel writes as much as the command has to say, whatever the
// length of b, so callers leave room.
func (e *ethtool) call(name string, b []byte) (uintptr, error) {
	if len(name) >= unix.IFNAMSIZ {
		return 0, fmt.Errorf("ask driver of %s: %w", name, ErrGone)
	}
	req := ifreq{data: unsafe.Pointer(&b[0])}
	copy(req.name[:], name)
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(e.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(b)
	switch {
	case errno == unix.ENODEV:
		return 0, fmt.Errorf("ask driver of %s: %w", name, ErrGone)
	case errno == unix.EOPNOTSUPP, errno == unix.EINVAL:
		return 0, errUnsupported
	case errno != 0:
		return 0, fmt.Errorf("ask driver of %s: %w", name, errno)
	}
	return r, nil
}

// errUnsupported says that a driver does not know the command.
var errUnsupported = errors.New("the driver does not say")
