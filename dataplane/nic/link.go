package nic

import (
	"golang.org/x/sys/unix"
)

// link is what an RTM_NEWLINK says of an interface.
type link struct {
	index   int
	name    string
	flags   uint32 // IFF_…
	mtu     int
	kind    string // of a virtual interface: veth, bond, vlan, …
	master  int    // the bond or bridge it belongs to; 0: none
	below   int    // what it sits on, in this namespace: a VLAN's interface; 0: none
	family  uint8
	queues  int // to receive
	carrier bool
	mac     []byte
	stats   linkStats
	xdp     XDP
}

// linkStats is the beginning of struct rtnl_link_stats64 (linux/if_link.h), by
// its places.
type linkStats [statCount]uint64

const (
	statRxPackets = 0
	statTxPackets = 1
	statRxBytes   = 2
	statTxBytes   = 3
	statRxErrors  = 4
	statRxDropped = 6
	statTxDropped = 7
	statRxLength  = 10
	statRxOver    = 11
	statRxCRC     = 12
	statRxFrame   = 13
	statRxFIFO    = 14
	statRxMissed  = 15
	statNoHandler = 23
	statCount     = 24
)

// XDP is the program on an interface.
type XDP struct {
	Mode string // "native", "generic", "offloaded", "several"; empty: none
	ID   uint32 // of the program
}

// parseLink reads an RTM_NEWLINK or RTM_DELLINK.
func parseLink(b []byte) (link, bool) {
	if len(b) < linkLen {
		return link{}, false
	}
	l := link{family: b[0], index: int(int32(native.Uint32(b[4:]))), flags: native.Uint32(b[8:])}
	l.carrier = l.flags&unix.IFF_LOWER_UP != 0
	elsewhere := false // below is an index of another namespace
	attributes(b[linkLen:], func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(v)
		case unix.IFLA_MTU:
			l.mtu = int(number32(v))
		case unix.IFLA_MASTER:
			l.master = int(number32(v))
		case unix.IFLA_LINK:
			l.below = int(number32(v))
		case unix.IFLA_LINK_NETNSID:
			elsewhere = true
		case unix.IFLA_NUM_RX_QUEUES:
			l.queues = int(number32(v))
		case unix.IFLA_ADDRESS:
			l.mac = append([]byte(nil), v...)
		case unix.IFLA_LINKINFO:
			attributes(v, func(typ uint16, v []byte) {
				if typ == unix.IFLA_INFO_KIND {
					l.kind = unix.ByteSliceToString(v)
				}
			})
		case unix.IFLA_STATS64:
			for i := 0; i < statCount && len(v) >= 8*(i+1); i++ {
				l.stats[i] = native.Uint64(v[8*i:])
			}
		case unix.IFLA_XDP:
			l.xdp = parseXDP(v)
		}
	})
	if elsewhere || l.kind == "veth" { // a veth names its peer
		l.below = 0
	}
	return l, l.index != 0
}

// up reports whether frames can arrive.
func (l *link) up() bool { return l.flags&unix.IFF_UP != 0 && l.carrier }

// parseXDP reads IFLA_XDP.
func parseXDP(b []byte) (x XDP) {
	modes := [...]string{"", "native", "generic", "offloaded", "several"} // XDP_ATTACHED_… (linux/if_link.h)
	attributes(b, func(typ uint16, v []byte) {
		switch {
		case typ == unix.IFLA_XDP_ATTACHED && len(v) > 0 && int(v[0]) < len(modes):
			x.Mode = modes[v[0]]
		case typ == unix.IFLA_XDP_PROG_ID:
			x.ID = number32(v)
		}
	})
	return x
}

// number32 is a 32-bit attribute; 0 if it is cut.
func number32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return native.Uint32(b)
}
