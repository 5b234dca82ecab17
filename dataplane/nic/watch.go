package nic

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Change is what became of an interface.
type Change uint8

// Changes.
const (
	None    Change = iota
	Up             // frames can arrive: set up, and there is a link
	Down           // they cannot
	Renamed        // it has another name
	Removed        // it is gone, or in another network namespace
	Created        // there is one of the name again
)

// String is the change in words of reports.
func (c Change) String() string {
	return [...]string{"none", "up", "down", "renamed", "removed", "created"}[min(c, Created)]
}

// Event is a change of an interface.
type Event struct {
	Change Change
	Index  int    // number of the interface
	Name   string // that it has now
}

// Watch tells what becomes of an interface. It has no goroutine; its methods are
// for one.
type Watch struct {
	wanted  string
	netlink *netlink // hears
	query   *netlink // asks
	index   int      // of the interface that is followed; 0: gone
	name    string
	up      bool
	events  []Event // not told yet
}

// rtmGroupLink is RTMGRP_LINK (linux/rtnetlink.h).
const rtmGroupLink = 1

// NewWatch watches the interface of a name, whether it is there or not. What it
// is now is told as the first changes: Created, and Up.
func NewWatch(name string) (*Watch, error) {
	n, err := openNetlink(rtmGroupLink)
	if err != nil {
		return nil, err
	}
	w := &Watch{wanted: name, netlink: n}
	if w.query, err = openNetlink(0); err == nil {
		err = w.ask()
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Close ends the watch.
func (w *Watch) Close() error { return errors.Join(w.netlink.close(), w.query.close()) }

// Next waits for the next change, up to the timeout. It returns None when the
// time is over, or earlier if something else was heard.
func (w *Watch) Next(timeout time.Duration) (Event, error) {
	if len(w.events) == 0 {
		if err := w.hear(timeout); err != nil {
			return Event{}, fmt.Errorf("watch interface %s: %w", w.wanted, err)
		}
	}
	if len(w.events) == 0 {
		return Event{}, nil
	}
	e := w.events[0]
	w.events = w.events[1:]
	return e, nil
}

// hear reads what the kernel says of any interface.
func (w *Watch) hear(timeout time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(w.netlink.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(min(timeout.Milliseconds(), 1<<31-1)))
	if err == unix.EINTR || err == nil && n == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for netlink: %w", err)
	}
	list, err := w.netlink.read()
	if errors.Is(err, unix.ENOBUFS) { // more was said than the socket holds
		return w.ask()
	}
	if err != nil {
		return err
	}
	for _, m := range list {
		w.heard(m)
	}
	return nil
}

// heard takes one message. Those of a bridge about its ports speak of the
// bridge, though they name the port.
func (w *Watch) heard(m message) {
	l, ok := parseLink(m.data)
	if !ok || l.family != unix.AF_UNSPEC {
		return
	}
	switch m.typ {
	case unix.RTM_NEWLINK:
		w.seen(l)
	case unix.RTM_DELLINK:
		if l.index == w.index {
			w.gone()
		}
	}
}

// ask finds out what is, where the kernel may not have told all.
func (w *Watch) ask() error {
	if w.index != 0 {
		l, err := w.query.linkByIndex(w.index)
		if err == nil {
			w.seen(l)
			return nil
		}
		if !errors.Is(err, ErrGone) {
			return err
		}
		w.gone()
	}
	l, err := w.query.linkByName(w.wanted)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err == nil {
		w.seen(l)
	}
	return err
}

// seen takes the state of an interface.
func (w *Watch) seen(l link) {
	switch {
	case w.index == 0 && l.name == w.wanted:
		w.index, w.name = l.index, l.name
		w.tell(Created)
	case l.index != w.index:
		return
	case l.name != w.name:
		w.name = l.name
		w.tell(Renamed)
	}
	if l.up() == w.up {
		return
	}
	if w.up = l.up(); w.up {
		w.tell(Up)
	} else {
		w.tell(Down)
	}
}

func (w *Watch) gone() {
	w.tell(Removed)
	w.index, w.name, w.up = 0, "", false
}

func (w *Watch) tell(c Change) { w.events = append(w.events, Event{c, w.index, w.name}) }
