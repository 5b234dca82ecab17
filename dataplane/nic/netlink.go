package nic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// netlink is a socket of rtnetlink(7).
type netlink struct {
	fd  int
	seq uint32
	buf []byte
}

// receiveTimeout is how long the kernel may take to answer, in seconds; it
// answers at once, so this only guards against waiting for ever.
const receiveTimeout = 5

// openNetlink opens a socket that hears the multicast groups of the mask.
func openNetlink(groups uint32) (*netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	n := &netlink{fd: fd, buf: make([]byte, 1<<17)}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: receiveTimeout})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up netlink socket: %w", err), n.close())
	}
	return n, nil
}

func (n *netlink) close() error {
	if n == nil || n.fd < 0 {
		return nil
	}
	fd := n.fd
	n.fd = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close netlink socket: %w", err)
	}
	return nil
}

// message is one netlink message without its header. Data is valid until the
// next read.
type message struct {
	typ, flags uint16
	seq        uint32
	data       []byte
}

// messages splits what a socket has read.
func messages(b []byte) ([]message, error) {
	var out []message
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(native.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return out, errors.New("read netlink: a message is cut")
		}
		out = append(out, message{native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), b[unix.SizeofNlMsghdr:n]})
		b = b[min(align(n), len(b)):]
	}
	return out, nil
}

// align rounds up to the 4 bytes at which messages and attributes begin.
func align(n int) int { return (n + 3) &^ 3 }

// attributes calls f with each attribute in b, up to the first broken one.
func attributes(b []byte, f func(typ uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		n := int(native.Uint16(b))
		if n < unix.SizeofRtAttr || n > len(b) {
			return
		}
		f(native.Uint16(b[2:])&^unix.NLA_F_NESTED, b[unix.SizeofRtAttr:n])
		b = b[min(align(n), len(b)):]
	}
}

// attribute appends an attribute to b.
func attribute(b []byte, typ uint16, value []byte) []byte {
	b = native.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = native.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, align(len(value))-len(value))...)
}

// request sends a request and calls f with each message of the answer.
func (n *netlink) request(typ, flags uint16, body []byte, f func(message)) error {
	n.seq++
	b := native.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = native.AppendUint32(b, n.seq)
	b = native.AppendUint32(b, 0)
	if err := unix.Sendto(n.fd, append(b, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask netlink: %w", err)
	}
	for {
		list, err := n.read()
		if err != nil {
			return err
		}
		for _, m := range list {
			switch {
			case m.seq != n.seq: // of an answer that was given up
			case m.typ == unix.NLMSG_DONE:
				return nil
			case m.typ == unix.NLMSG_ERROR:
				if len(m.data) < 4 {
					return errors.New("read netlink: an error without a number")
				}
				if errno := unix.Errno(-int32(native.Uint32(m.data))); errno != 0 {
					return fmt.Errorf("ask netlink: %w", errno)
				}
				return nil
			default:
				f(m)
				if m.flags&unix.NLM_F_MULTI == 0 {
					return nil
				}
			}
		}
	}
}

// read reads what waits in the socket.
func (n *netlink) read() ([]message, error) {
	for {
		size, _, err := unix.Recvfrom(n.fd, n.buf, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, fmt.Errorf("read netlink: %w", err)
		}
		return messages(n.buf[:size])
	}
}

// Lengths of the headers before attributes, in bytes (linux/rtnetlink.h).
const (
	linkLen  = unix.SizeofIfInfomsg
	addrLen  = unix.SizeofIfAddrmsg
	routeLen = unix.SizeofRtMsg
	hopLen   = unix.SizeofRtNexthop
)

func (n *netlink) linkByIndex(index int) (link, error) {
	body := make([]byte, linkLen)
	native.PutUint32(body[4:], uint32(index))
	return n.oneLink(body)
}

func (n *netlink) linkByName(name string) (link, error) {
	return n.oneLink(attribute(make([]byte, linkLen), unix.IFLA_IFNAME, append([]byte(name), 0)))
}

func (n *netlink) oneLink(body []byte) (l link, err error) {
	found := false
	err = n.request(unix.RTM_GETLINK, 0, body, func(m message) {
		if m.typ == unix.RTM_NEWLINK {
			l, found = parseLink(m.data)
		}
	})
	switch {
	case errors.Is(err, unix.ENODEV), err == nil && !found:
		return link{}, ErrGone
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE): // a name that no interface can have
		return link{}, ErrGone
	}
	return l, err
}

// links are all interfaces of the namespace.
func (n *netlink) links() ([]link, error) {
	var out []link
	err := n.request(unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, linkLen), func(m message) {
		if l, ok := parseLink(m.data); ok && m.typ == unix.RTM_NEWLINK {
			out = append(out, l)
		}
	})
	return out, err
}

// addresses are all addresses of the namespace, by the number of the interface.
func (n *netlink) addresses() (map[int][]netip.Prefix, error) {
	out := map[int][]netip.Prefix{}
	err := n.request(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, addrLen), func(m message) {
		if index, p, ok := parseAddress(m.data); ok && m.typ == unix.RTM_NEWADDR {
			out[index] = append(out[index], p)
		}
	})
	return out, err
}

// parseAddress reads an RTM_NEWADDR.
func parseAddress(b []byte) (index int, p netip.Prefix, ok bool) {
	if len(b) < addrLen {
		return 0, p, false
	}
	var local, address netip.Addr
	attributes(b[addrLen:], func(typ uint16, v []byte) {
		switch a, _ := netip.AddrFromSlice(v); typ {
		case unix.IFA_LOCAL:
			local = a
		case unix.IFA_ADDRESS: // of the peer on a point-to-point link
			address = a
		}
	})
	if !local.IsValid() {
		local = address
	}
	return int(native.Uint32(b[4:])), netip.PrefixFrom(local, int(b[1])), local.IsValid()
}

// defaultRoutes are the interfaces that a default route leads to.
func (n *netlink) defaultRoutes() (map[int]bool, error) {
	out := map[int]bool{}
	err := n.request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, make([]byte, routeLen), func(m message) {
		if m.typ == unix.RTM_NEWROUTE {
			parseDefaultRoute(m.data, out)
		}
	})
	return out, err
}

// parseDefaultRoute adds the interfaces of an RTM_NEWROUTE, if it is a default
// route.
func parseDefaultRoute(b []byte, to map[int]bool) {
	if len(b) < routeLen || b[1] != 0 || b[7] != unix.RTN_UNICAST {
		return
	}
	attributes(b[routeLen:], func(typ uint16, v []byte) {
		switch {
		case typ == unix.RTA_OIF && len(v) >= 4:
			to[int(native.Uint32(v))] = true
		case typ == unix.RTA_MULTIPATH:
			for len(v) >= hopLen {
				to[int(native.Uint32(v[4:]))] = true
				n := int(native.Uint16(v))
				if n < hopLen || n > len(v) {
					return
				}
				v = v[min(align(n), len(v)):]
			}
		}
	})
}
