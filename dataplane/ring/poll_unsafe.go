package ring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollHere is ppoll, and says whether something has come. Go's scheduler is not
// told that the thread waits. It would notice within some 20 µs, give the thread's
// place to others, wake threads for that, and look again every 20 µs from then
// on: where packets come all the time, as much work as a hundred thousand of them.
func pollHere(fds []unix.PollFd, timeout *unix.Timespec) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)), uintptr(unsafe.Pointer(timeout)), 0, 0, 0)
	return errno == 0 && n > 0
}
