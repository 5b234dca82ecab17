package decode

import (
	"fmt"

	"ringside/dataplane/frame"
)

// etherTypeReason is the reason for a frame whose EtherType leads no further.
func etherTypeReason(etherType uint16) Reason {
	switch etherType {
	case 0x0806, 0x8035:
		return ARP
	case 0x88cc:
		return LLDP
	case 0x8809:
		return SlowProtocol
	case 0x888e:
		return EAPOL
	case 0x88f7:
		return PTP
	case 0x88e5:
		return MACsec
	case 0x8863:
		return TunnelPPPoE
	}
	return UnknownEtherType
}

// protocolReason is the reason for an IP protocol that leads no further.
func protocolReason(protocol uint8) Reason {
	switch protocol {
	case 1, 58:
		return ICMP
	case 2:
		return IGMP
	case protoNoNext:
		return NoNextHeader
	}
	return OtherProtocol
}

// EtherTypeName names an EtherType of Stats.EtherTypes as users know it:
// "0x9000 loopback", or the number alone.
func EtherTypeName(etherType uint16) string {
	return withName(fmt.Sprintf("0x%04x", etherType), map[uint16]string{
		0x0600: "xns", 0x0842: "wake-on-lan", 0x2000: "cdp", 0x6002: "dec-mop", 0x6003: "decnet",
		0x6558: "ethernet-bridging", 0x809b: "appletalk", 0x80f3: "aarp", 0x8137: "ipx",
		0x8204: "qnx", 0x8808: "pause", 0x880b: "ppp", 0x8819: "cobranet", 0x887b: "homeplug",
		0x8892: "profinet", 0x8899: "realtek-loop", 0x88a2: "ata", 0x88a4: "ethercat",
		0x88b5: "experimental", 0x88b6: "experimental", 0x88b7: "oui-extended", 0x88b8: "goose",
		0x88ba: "sampled-values", 0x88c7: "802.11-preauth", 0x88e1: "homeplug-av", 0x88f5: "mvrp",
		0x88fb: "prp", 0x8902: "cfm", 0x8906: "fcoe", 0x8909: "cisco-metadata", 0x8914: "fip",
		0x892f: "hsr", 0x8940: "ecp", 0x9000: "loopback",
	}[etherType])
}

// ProtocolName names an IP protocol of Stats.Protocols: "89 ospf", or the
// number alone (IANA protocol-numbers).
func ProtocolName(protocol uint16) string {
	return withName(fmt.Sprint(protocol), map[uint16]string{
		3: "ggp", 5: "st", 8: "egp", 9: "igp", 27: "rdp", 33: "dccp", 46: "rsvp", 54: "narp",
		55: "mobile", 57: "skip", 88: "eigrp", 89: "ospf", 94: "ipip", 98: "encap", 103: "pim",
		108: "ipcomp", 112: "vrrp", 113: "pgm", 118: "stp", 124: "isis", 133: "fc", 135: "mobility",
		136: "udplite", 138: "manet", 139: "hip", 140: "shim6", 141: "wesp", 142: "rohc",
		143: "ethernet", 253: "experimental", 254: "experimental", 255: "reserved",
	}[protocol])
}

// PPPName names a PPP protocol of Stats.PPP: "0x003d multilink", or the number
// alone (IANA ppp-numbers).
func PPPName(protocol uint16) string {
	return withName(fmt.Sprintf("0x%04x", protocol), map[uint16]string{
		0x0023: "osi", 0x0027: "decnet", 0x0029: "appletalk", 0x002b: "ipx", 0x002d: "tcp-compressed",
		0x002f: "tcp-uncompressed", 0x0031: "bridging", 0x003d: "multilink", 0x0053: "encrypted",
		0x0055: "link-encrypted", 0x00fb: "link-compressed", 0x00fd: "compressed", 0x0201: "802.1d",
		0x0207: "cdp",
	}[protocol])
}

// LinkTypeName names a link type of Stats.LinkTypes: "127 ieee802.11-radiotap",
// or the number alone.
func LinkTypeName(link frame.LinkType) string {
	return withName(fmt.Sprint(uint16(link)), map[frame.LinkType]string{
		3: "ax25", 6: "token-ring", 8: "slip", 9: "ppp", 10: "fddi", 50: "ppp-hdlc", 51: "ppp-ether",
		104: "cisco-hdlc", 105: "ieee802.11", 107: "frame-relay", 109: "openbsd-enc", 114: "localtalk",
		117: "pflog", 119: "prism", 122: "fibre-channel-ip", 123: "sunatm", 127: "ieee802.11-radiotap",
		138: "firewire-ip", 139: "mtp2-phdr", 140: "mtp2", 141: "mtp3", 142: "sccp", 143: "docsis",
		166: "linux-ppp", 187: "bluetooth-h4", 189: "usb", 192: "ppi", 195: "ieee802.15.4", 220: "usb-linux",
		239: "nflog", 248: "sctp", 249: "usbpcap", 251: "bluetooth-le", 252: "wireshark-upper-pdu", 253: "netlink",
	}[link])
}

func withName(number, name string) string {
	if name == "" {
		return number
	}
	return number + " " + name
}
