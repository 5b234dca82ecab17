package ring

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// program loads an eBPF socket filter, instruction by instruction (bpf(2)), and
// returns its descriptor.
func program(t testing.TB, code []uint64) int {
	t.Helper()
	licence := []byte("Dual BSD/GPL\x00")
	attr := struct {
		kind, count   uint32
		code, licence uint64
		_, _          uint32
		_             uint64
		_, _          uint32
		name          [16]byte
		_, expected   uint32
	}{
		kind: unix.BPF_PROG_TYPE_SOCKET_FILTER, count: uint32(len(code)),
		code:    uint64(uintptr(unsafe.Pointer(&code[0]))),
		licence: uint64(uintptr(unsafe.Pointer(&licence[0]))),
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(code)
	runtime.KeepAlive(licence)
	if errno != 0 {
		t.Fatalf("load eBPF program: %v", errno)
	}
	t.Cleanup(func() { _ = unix.Close(int(fd)) })
	return int(fd)
}

// rename changes the name of an interface (SIOCSIFNAME), in the namespace of a
// socket.
func rename(fd int, from, to string) error {
	var request [40]byte // struct ifreq
	copy(request[:unix.IFNAMSIZ-1], from)
	copy(request[unix.IFNAMSIZ:2*unix.IFNAMSIZ-1], to)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFNAME, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}
