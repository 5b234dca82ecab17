package ring

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

// State is how the interface of a Set is.
type State struct {
	Capturing     bool
	Text          string // "capturing", or what keeps it from it
	Iface         string // its present name
	Index         int    // its number in the kernel, 0: it does not exist
	Interruptions uint64 // how often it ceased to capture
}

const (
	capturing = "capturing"
	noLink    = "no link"
	isDown    = "interface is down"
	isGone    = "interface does not exist"
)

// checkTime is how often the watch looks by itself, ms: netlink tells at once,
// but its messages can be lost, and a failed open is tried again.
const checkTime = 500

// link is one interface of the system.
type link struct {
	index int
	name  string
	up    bool
	ready bool // up, and with a carrier
	typ   frame.LinkType
}

// watch follows one interface: opens the rings when it can be captured from,
// and keeps State.
//
// Sockets belong to the network namespace of the thread that makes them, so the
// watch keeps to a thread in the namespace in which the Set was opened.
type watch struct {
	set     *Set
	netlink int // interface messages
	wake    int // eventfd, to end the goroutine
	space   int // the namespace
	done    sync.WaitGroup
	once    sync.Once

	index  int   // interface the rings were opened for, 0: none
	failed error // why it could not be opened
	astray error // why the goroutine is not in the namespace: it opens nothing then

	mu    sync.Mutex
	state State
}

func newWatch(s *Set) (*watch, error) {
	w := &watch{set: s, netlink: -1, wake: -1, space: -1, state: State{Iface: s.options.Iface, Text: isGone}}
	var err error
	if w.space, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	if w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		w.closeAll()
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	w.netlink, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err == nil {
		err = unix.Bind(w.netlink, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK})
	}
	if err != nil {
		w.closeAll()
		return nil, fmt.Errorf("watch interfaces by netlink: %w", err)
	}
	return w, nil
}

// start opens the rings, if the interface can be opened, and begins to watch.
func (w *watch) start() error {
	l, err := w.byName(w.set.options.Iface)
	if err != nil {
		return err
	}
	if l, err = w.open(l); err != nil && (l.up || errors.Is(err, unix.EPERM)) {
		return err // else it may work when the interface is up
	}
	w.observe(l)
	w.done.Add(1)
	go w.run()
	return nil
}

// close ends the goroutine. A second call does nothing.
func (w *watch) close() {
	w.once.Do(func() {
		_, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		w.done.Wait()
		w.closeAll()
	})
}

func (w *watch) closeAll() {
	for _, fd := range []int{w.netlink, w.wake, w.space} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (w *watch) current() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// run is the goroutine.
func (w *watch) run() {
	defer w.done.Done()
	runtime.LockOSThread()
	if w.atHome() {
		defer runtime.UnlockOSThread()
	} else if err := unix.Setns(w.space, unix.CLONE_NEWNET); err != nil { // the thread ends with the goroutine
		w.astray = fmt.Errorf("enter network namespace: %w", err)
	}
	fds := []unix.PollFd{{Fd: int32(w.wake), Events: unix.POLLIN}, {Fd: int32(w.netlink), Events: unix.POLLIN}}
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Poll(fds, checkTime)
		if err == nil && n > 0 && fds[0].Revents != 0 {
			return
		}
		w.read(buf)
		w.check()
	}
}

// atHome reports whether this thread is in the namespace of the Set.
func (w *watch) atHome() bool {
	var here, there unix.Stat_t
	return unix.Stat("/proc/thread-self/ns/net", &here) == nil && unix.Fstat(w.space, &there) == nil &&
		here.Dev == there.Dev && here.Ino == there.Ino
}

// read takes what netlink has to tell: an interface that went down and up again
// since the last look is seen in its messages only.
func (w *watch) read(buf []byte) {
	for {
		n, _, err := unix.Recvfrom(w.netlink, buf, 0)
		if errors.Is(err, unix.ENOBUFS) { // messages were lost: check looks for itself
			continue
		}
		if err != nil || n == 0 {
			return
		}
		w.messages(buf[:n])
	}
}

// messages goes through netlink messages (struct nlmsghdr, then struct
// ifinfomsg).
func (w *watch) messages(b []byte) {
	const header = unix.SizeofNlMsghdr + unix.SizeofIfInfomsg
	for len(b) >= header {
		size := int(host.Uint32(b))
		if size < header || size > len(b) {
			return
		}
		typ, family := host.Uint16(b[4:]), b[16]
		index, flags := int(int32(host.Uint32(b[20:]))), host.Uint32(b[24:])
		// Bridges tell of their ports by messages of a family of their own.
		if index == w.index && family == unix.AF_UNSPEC {
			switch {
			case typ == unix.RTM_DELLINK:
				w.tell(isGone, "", 0)
			case typ == unix.RTM_NEWLINK && flags&unix.IFF_UP == 0:
				w.tell(isDown, "", index)
			case typ == unix.RTM_NEWLINK && flags&unix.IFF_RUNNING == 0:
				w.tell(noLink, "", index)
			}
		}
		b = b[min(len(b), (size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
	}
}

// check compares with how the interface is, and opens the rings if need be. The
// interface that was opened counts as long as it exists, whatever its name.
func (w *watch) check() {
	l, err := w.byIndex(w.index)
	if err != nil {
		if w.index != 0 {
			w.index = 0
			w.tell(isGone, "", 0)
		}
		if l, err = w.byName(w.set.options.Iface); err != nil {
			w.tell(isGone, "", 0)
			return
		}
	}
	if w.index == 0 && l.up {
		if w.failed = w.prepare(); w.failed == nil {
			l, w.failed = w.open(l)
		}
	}
	w.observe(l)
}

// prepare lets others do what they have to before the rings are opened again.
func (w *watch) prepare() error {
	if w.astray != nil || w.set.options.Prepare == nil {
		return w.astray
	}
	return w.set.options.Prepare()
}

// open opens the rings for an interface, and looks at it anew. What netlink told
// of it before is not news.
func (w *watch) open(l link) (link, error) {
	if w.astray != nil {
		return l, w.astray
	}
	if err := w.set.open(l); err != nil {
		return l, err
	}
	w.read(make([]byte, 64<<10))
	w.index = l.index
	if now, err := w.byIndex(l.index); err == nil {
		return now, nil
	}
	return l, nil // it is gone again: the next check says so
}

// observe says how an interface is that exists.
func (w *watch) observe(l link) {
	switch {
	case w.index == 0 && w.failed != nil:
		w.tell(w.failed.Error(), l.name, l.index)
	case !l.up:
		w.tell(isDown, l.name, l.index)
	case !l.ready:
		w.tell(noLink, l.name, l.index)
	case w.index == 0:
		w.tell(isDown, l.name, l.index) // it came up a moment ago
	default:
		w.tell(capturing, l.name, l.index)
	}
}

// tell sets the state. Without a name the interface keeps the one it had.
func (w *watch) tell(text, name string, index int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.state
	if s.Capturing && text != capturing {
		s.Interruptions++
		w.set.interrupted()
	}
	s.Capturing, s.Text, s.Index = text == capturing, text, index
	if name != "" {
		s.Iface = name
	}
}

// byIndex and byName ask through the netlink socket, and so in its namespace.
// Only byIndex can tell that an interface is gone: its name may change between
// two questions.
func (w *watch) byIndex(index int) (link, error) {
	for {
		r, err := unix.NewIfreq("")
		if err != nil {
			return link{}, err
		}
		r.SetUint32(uint32(index))
		if err := unix.IoctlIfreq(w.netlink, unix.SIOCGIFNAME, r); err != nil {
			return link{}, fmt.Errorf("look up interface %d: %w", index, err)
		}
		l, err := w.byName(r.Name())
		if err == nil && l.index == index || err != nil && !errors.Is(err, unix.ENODEV) {
			return l, err
		}
	}
}

func (w *watch) byName(name string) (link, error) {
	ask := func(request uint) (*unix.Ifreq, error) {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = unix.IoctlIfreq(w.netlink, request, r)
		}
		if err != nil {
			return nil, fmt.Errorf("look up interface %q: %w", name, err)
		}
		return r, nil
	}
	number, err := ask(unix.SIOCGIFINDEX)
	if err != nil {
		return link{}, err
	}
	flags, err := ask(unix.SIOCGIFFLAGS)
	if err != nil {
		return link{}, err
	}
	hardware, err := ask(unix.SIOCGIFHWADDR)
	if err != nil {
		return link{}, err
	}
	l := link{
		index: int(number.Uint32()), name: name,
		up: flags.Uint16()&unix.IFF_UP != 0, ready: flags.Uint16()&unix.IFF_RUNNING != 0,
	}
	switch hardware.Uint16() {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		l.typ = frame.LinkEthernet
	case unix.ARPHRD_NONE, unix.ARPHRD_RAWIP, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT, unix.ARPHRD_IPGRE:
		l.typ = frame.LinkRaw
	default:
		return link{}, fmt.Errorf("capture from %s: link layer of type %d (ARPHRD) is not supported", name, hardware.Uint16())
	}
	return l, nil
}
