package filter

import "ringside/dataplane/frame"

// IP protocol numbers (IANA protocol-numbers) by the names of pcap-filter(7),
// beside those in frame.
const (
	protoICMP   = 1
	protoIGMP   = 2
	protoIPinIP = 4
	protoIGRP   = 9
	protoIPv6   = 41
	protoGRE    = 47
	protoESP    = 50
	protoAH     = 51
	protoICMP6  = 58
	protoEther  = 97
	protoPIM    = 103
	protoVRRP   = 112
	protoL2TP   = 115
)

// protocols are words that stand for a protocol of IP. Version 0 is both.
var protocols = map[string]struct{ version, number uint8 }{
	"tcp": {0, frame.ProtoTCP}, "udp": {0, frame.ProtoUDP}, "sctp": {0, frame.ProtoSCTP},
	"icmp": {4, protoICMP}, "icmp6": {6, protoICMP6}, "igmp": {4, protoIGMP}, "igrp": {4, protoIGRP},
	"pim": {0, protoPIM}, "vrrp": {4, protoVRRP}, "carp": {4, protoVRRP}, "ah": {0, protoAH}, "esp": {0, protoESP},
}

// protocolNames are further names behind "proto".
var protocolNames = map[string]uint8{"gre": protoGRE, "ipv6": protoIPv6, "ipencap": protoIPinIP, "ipv6-icmp": protoICMP6, "l2tp": protoL2TP, "etherip": protoEther}

// portNames are services by their names of IANA. Nothing is looked up on the
// host: an expression means the same everywhere. A transport of 0 is any.
var portNames = map[string]struct {
	port  uint16
	proto uint8
}{
	"sip": {5060, 0}, "sips": {5061, 0}, "sip-tls": {5061, 0}, "stun": {3478, 0}, "turn": {3478, 0}, "stuns": {5349, 0}, "turns": {5349, 0},
	"h323hostcall": {1720, 0}, "h323gatestat": {1719, 0}, "mgcp-gateway": {2427, 0}, "mgcp-callagent": {2727, 0}, "megaco-h248": {2944, 0},
	"rtsp": {554, 0}, "sccp": {2000, 0}, "m2ua": {2904, 0}, "m3ua": {2905, 0}, "diameter": {3868, 0}, "radius": {1812, 0}, "radius-acct": {1813, 0},
	"domain": {53, 0}, "http": {80, frame.ProtoTCP}, "https": {443, 0}, "ssh": {22, frame.ProtoTCP}, "telnet": {23, frame.ProtoTCP},
	"ftp": {21, frame.ProtoTCP}, "ftp-data": {20, frame.ProtoTCP}, "smtp": {25, frame.ProtoTCP}, "ntp": {123, frame.ProtoUDP},
	"snmp": {161, 0}, "snmp-trap": {162, 0}, "syslog": {514, frame.ProtoUDP}, "tftp": {69, frame.ProtoUDP},
	"bootps": {67, frame.ProtoUDP}, "bootpc": {68, frame.ProtoUDP}, "ldap": {389, 0}, "mysql": {3306, frame.ProtoTCP}, "nfs": {2049, 0},
}

// offsets are names of places in TCP's header, and of its flags.
var offsets = map[string]uint32{
	"tcpflags": 13, "tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32,
}

// refused are words of pcap-filter(7) for what a decoded packet does not know,
// with the remedy.
var refused = map[string]string{
	"gateway": "names and routes are not looked up: name the addresses with host or net",
	"inbound": mirrored, "outbound": mirrored,
	"ifname": "interfaces are chosen where the capture is: leave it out, and name the interface there",
	"on":     "interfaces are chosen where the capture is: leave it out, and name the interface there",
	"rnr":    firewall, "rulenum": firewall, "reason": firewall, "rset": firewall, "ruleset": firewall, "srnr": firewall, "subrulenum": firewall, "action": firewall,
	"ifindex": "interfaces are chosen where the capture is: leave it out, and name the interface there",
	"wlan":    noLink, "fddi": noLink, "tr": noLink, "ppp": noLink, "slip": noLink, "radio": noLink, "type": noLink, "subtype": noLink, "dir": noLink,
	"atalk": onlyIP, "aarp": onlyIP, "decnet": onlyIP, "iso": onlyIP, "stp": onlyIP, "ipx": onlyIP, "netbeui": onlyIP, "lat": onlyIP, "moprc": onlyIP, "mopdl": onlyIP, "sca": onlyIP,
	"clnp": onlyIP, "esis": onlyIP, "isis": onlyIP, "csnp": onlyIP, "psnp": onlyIP, "iih": onlyIP, "lsp": onlyIP, "snp": onlyIP, "l1": onlyIP, "l2": onlyIP,
	"lane": atm, "vpi": atm, "vci": atm, "llc": noLink, "metac": atm, "bcc": atm, "oam": atm, "oamf4": atm, "connectmsg": atm, "metaconnect": atm,
	"pppoed": "discovery carries no calls: leave it out, or write pppoes for sessions",
	"byte":   "write the place of the byte with its protocol, as in udp[8] = 5",
	"fisu":   ss7, "lssu": ss7, "lsu": ss7, "msu": ss7, "hfisu": ss7, "hlssu": ss7, "hmsu": ss7, "sio": ss7, "opc": ss7, "dpc": ss7, "sls": ss7,
}

const (
	mirrored = "a mirror port has no direction: name the addresses with src and dst"
	firewall = "packets have not passed a firewall: leave it out"
	noLink   = "decoded packets keep no link-layer header but Ethernet addresses: choose by host, net, port or vlan"
	onlyIP   = "only IP packets are judged: leave it out"
	atm      = "there is no ATM: leave it out"
	ss7      = "there is no SS7 link layer: leave it out"
)

// carrier is what is known of the datagram around a tunnel by the tunnel's kind.
type carrier struct {
	proto uint8     // of IPv4 around
	six   uint8     // if not 0: a second protocol that the kind may be
	ports [2]uint16 // destination port, or one of two; 0: not UDP
}

// carriers by frame.TunnelKind. Kinds without an IP header around are not here.
var carriers = [frame.EtherIP + 1]carrier{
	frame.GRE: {proto: protoGRE}, frame.ERSPAN1: {proto: protoGRE}, frame.ERSPAN2: {proto: protoGRE}, frame.ERSPAN3: {proto: protoGRE},
	frame.VXLAN:   {proto: frame.ProtoUDP, ports: [2]uint16{4789, 8472}},
	frame.Geneve:  {proto: frame.ProtoUDP, ports: [2]uint16{6081}},
	frame.IPinIP:  {proto: protoIPinIP, six: protoIPv6},
	frame.GTPU:    {proto: frame.ProtoUDP, ports: [2]uint16{2152}},
	frame.L2TP:    {proto: frame.ProtoUDP, six: protoL2TP, ports: [2]uint16{1701}},
	frame.TZSP:    {proto: frame.ProtoUDP, ports: [2]uint16{37008}},
	frame.HPERM:   {proto: frame.ProtoUDP, ports: [2]uint16{7932}},
	frame.ESPNull: {proto: protoESP, six: frame.ProtoUDP, ports: [2]uint16{4500}},
	frame.EtherIP: {proto: protoEther},
}

// tunnelPorts are the UDP ports behind which the decoder may find a tunnel, but
// those of VXLAN that the user names.
var tunnelPorts = []uint16{1701, 2152, 4500, 4754, 4789, 4790, 6081, 6635, 7932, 8472, 37008}
