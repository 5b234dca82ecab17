package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

var (
	probe  sync.Once
	probed error
)

// Do runs a function with its goroutine's thread in the namespace of one end.
// Goroutines that the function starts are elsewhere; sockets that it opens stay
// in the namespace. The thread comes back from there also if the function panics
// or ends the goroutine, as t.Fatal does; if it cannot, it ends with its goroutine.
func (l *Link) Do(side int, f func() error) (err error) {
	target, err := os.Open(filepath.Join(folder, l.sides[side].Namespace))
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer target.Close()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the thread's namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %s: %w", l.sides[side].Namespace, err)
	}
	defer func() {
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leave namespace %s: %w", l.sides[side].Namespace, back))
			return // locked still: the thread ends with the goroutine
		}
		runtime.UnlockOSThread()
	}()
	return f()
}
