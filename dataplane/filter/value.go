package filter

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"ringside/dataplane/frame"
)

const maxMAC = 1<<48 - 1

// isProto reports whether a word names a protocol before other qualifiers, or
// alone.
func isProto(word string) bool {
	switch word {
	case "ether", "link", "ip", "ip6", "arp", "rarp":
		return true
	}
	_, ok := protocols[word]
	return ok
}

// isKeyword reports whether a word means something by itself.
func isKeyword(word string) bool {
	switch word {
	case "src", "dst", "host", "net", "port", "portrange", "proto", "protochain", "less", "greater", "vlan", "mpls",
		"pppoes", "vxlan", "geneve", "multicast", "broadcast", "and", "or", "not", "len", "mask":
		return true
	}
	_, no := refused[word]
	return no || isProto(word)
}

func lower(s string) string { return strings.ToLower(s) }

// addr4 is an IPv4 address as a number.
func addr4(v uint32) frame.Addr { return frame.Addr{Lo: 0xffff<<32 | uint64(v)} }

// addrNode is a test for a prefix of n bits.
func addrNode(dir direction, version uint8, a frame.Addr, n int) *node {
	if version == 4 {
		n += 96
	}
	return maskNode(dir, version, a, prefixMask(n))
}

func maskNode(dir direction, version uint8, a, mask frame.Addr) *node {
	return one(test{kind: testAddr, dir: dir, version: version, addr: frame.Addr{Hi: a.Hi & mask.Hi, Lo: a.Lo & mask.Lo}, mask: mask})
}

// prefixMask has the n upper bits set.
func prefixMask(n int) frame.Addr {
	if n <= 64 {
		return frame.Addr{Hi: ^(^uint64(0) >> n)}
	}
	return frame.Addr{Hi: ^uint64(0), Lo: ^(^uint64(0) >> (n - 64))}
}

// protocol is the test that the name of a protocol stands for, alone.
func (p *parser) protocol(t *token) (*node, error) {
	switch t.text {
	case "ether", "link":
		return nil, p.fail(t, "%s: write host, src, dst or proto behind it, or leave it out", t.text)
	case "ip":
		return one(test{kind: testVersion, version: 4}), nil
	case "ip6":
		return one(test{kind: testVersion, version: 6}), nil
	case "arp", "rarp":
		return one(test{kind: testNever}), nil
	}
	w := protocols[t.text]
	return one(test{kind: testProto, version: w.version, proto: w.number}), nil
}

// value reads one value with its qualifiers.
func (p *parser) value(q words) (*node, error) {
	t := p.peek()
	if t.kind == tokEnd || t.kind == tokSign {
		return nil, p.fail(t, "a value is missing here: write an address, a port or a protocol")
	}
	p.at++
	switch q.of {
	case "port", "portrange":
		return p.port(q, t)
	case "proto", "protochain":
		return p.proto(q, t)
	case "net":
		return p.net(q, t)
	}
	return p.host(q, t)
}

// transports are those that a port may be of, by the word before it.
func (p *parser) transports(q words) (uint8, error) {
	if q.proto.kind == tokEnd {
		return portAll, nil
	}
	set := portBit(protocols[q.proto.text].number)
	if set == 0 {
		return 0, p.fail(&q.proto, "%s has no ports: write tcp, udp, sctp or nothing before %s", q.proto.text, q.of)
	}
	return set, nil
}

func (p *parser) port(q words, t *token) (*node, error) {
	set, err := p.transports(q)
	if err != nil {
		return nil, err
	}
	from, to, isRange := strings.Cut(t.text, "-")
	_, named := portNames[t.text]
	if !isRange || named {
		port, only, err := p.portNumber(t, t.text)
		if err != nil {
			return nil, err
		}
		if only &= set; only == 0 {
			return nil, p.fail(t, "port %s is not one of %s: leave out the %s", t.text, q.proto.text, q.proto.text)
		}
		return one(test{kind: testPort, dir: q.dir, proto: only, lo: port, hi: port}), nil
	}
	if q.of == "port" {
		return nil, p.fail(t, "%s is a range: write portrange %s", t.text, t.text)
	}
	lo, onlyLo, err := p.portNumber(t, from)
	if err != nil {
		return nil, err
	}
	hi, onlyHi, err := p.portNumber(t, to)
	if err != nil {
		return nil, err
	}
	if set &= onlyLo & onlyHi; set == 0 {
		return nil, p.fail(t, "the ports of %s are not of one protocol: write numbers", t.text)
	}
	return one(test{kind: testPort, dir: q.dir, proto: set, lo: min(lo, hi), hi: max(lo, hi)}), nil
}

// portNumber is the port that s says, and the transports it may be of.
func (p *parser) portNumber(t *token, s string) (uint16, uint8, error) {
	if n, err := strconv.ParseUint(s, 0, 64); err == nil && !strings.Contains(s, "_") {
		if n > 65535 {
			return 0, 0, p.fail(t, "port %s: ports go up to 65535", s)
		}
		return uint16(n), portAll, nil
	}
	if name, ok := portNames[s]; ok {
		if name.proto == 0 {
			return name.port, portAll, nil
		}
		return name.port, portBit(name.proto), nil
	}
	return 0, 0, p.fail(t, "port %q is not known: write its number, or a range with portrange 10000-20000", s)
}

func (p *parser) proto(q words, t *token) (*node, error) {
	if q.dir != anyEnd {
		return nil, p.fail(t, "a protocol has no direction: leave out src and dst")
	}
	before := q.proto.text
	if q.proto.kind == tokWord && before != "ip" && before != "ip6" && before != "ether" && before != "link" {
		return nil, p.fail(&q.proto, "write ip, ip6, ether or nothing before %s", q.of)
	}
	if before == "ether" || before == "link" {
		return p.etherProto(t)
	}
	var version uint8
	switch before {
	case "ip":
		version = 4
	case "ip6":
		version = 6
	}
	number, ok := protocolNames[t.text]
	if w, known := protocols[t.text]; known {
		number, ok = w.number, true
	}
	if t.kind == tokNumber {
		number, ok = uint8(t.number), t.number <= 255
	}
	if !ok {
		return nil, p.fail(t, "protocol %q is not known: write its number, up to 255", t.text)
	}
	return one(test{kind: testProto, version: version, proto: number}), nil
}

// etherProto is a test by EtherType. Those of other protocols no decoded packet
// has.
func (p *parser) etherProto(t *token) (*node, error) {
	switch {
	case t.is("ip"), t.escaped && t.text == "ip", t.kind == tokNumber && t.number == 0x0800:
		return one(test{kind: testVersion, version: 4}), nil
	case t.is("ip6"), t.escaped && t.text == "ip6", t.kind == tokNumber && t.number == 0x86dd:
		return one(test{kind: testVersion, version: 6}), nil
	case t.text == "arp", t.text == "rarp", t.kind == tokNumber && (t.number == 0x0806 || t.number == 0x8035):
		return one(test{kind: testNever}), nil
	}
	return nil, p.fail(t, "of EtherTypes only ip, ip6 and arp can be asked for; write vlan, mpls or pppoes for what may stand before IP")
}

// host reads an address, which may be a short one ("10.1" is 10.1.0.0 to 10.1.255.255, as in libpcap).
func (p *parser) host(q words, t *token) (*node, error) {
	if next := p.peek(); next.is("/") || next.is("mask") {
		return nil, p.fail(next, "a prefix is a net: write net %s%s…", t.text, next.text)
	}
	if t.kind == tokMAC || q.proto.is("ether") || q.proto.is("link") {
		switch {
		case t.kind != tokMAC:
			return nil, p.fail(t, "%s is no Ethernet address: leave out %s, or write an address such as 00:11:22:33:44:55", t.text, q.proto.text)
		case !q.proto.is("ether") && !q.proto.is("link"):
			return nil, p.fail(t, "%s is an Ethernet address: write ether host %s", t.text, t.text)
		}
		return one(test{kind: testMAC, dir: q.dir, mac: t.number, macMask: maxMAC}), nil
	}
	a, version, n, err := p.address(t)
	if err != nil {
		return nil, err
	}
	return p.addressed(q, t, version, maskNode(q.dir, version, a, prefixMask(n)))
}

// address is the address of t, and how many of its bits, of 128, were written.
func (p *parser) address(t *token) (frame.Addr, uint8, int, error) {
	switch t.kind {
	case tokNumber:
		return addr4(uint32(t.number)), 4, 128, nil
	case tokQuad:
		return addr4(uint32(t.number)), 4, 96 + int(t.bits), nil
	case tokSix:
		return frame.AddrFrom(t.addr), 6, 128, nil
	case tokMAC:
		return frame.Addr{}, 0, 0, p.fail(t, "%s is an Ethernet address, which no net has: write ether host %s", t.text, t.text)
	}
	return frame.Addr{}, 0, 0, p.fail(t, "%q is no address, and names are not looked up: write the address", t.text)
}

// addressed checks an address against the protocol before it.
func (p *parser) addressed(q words, t *token, version uint8, n *node) (*node, error) {
	switch q.proto.text {
	case "", "ip", "ip6":
		if q.proto.text == "ip" && version == 6 || q.proto.text == "ip6" && version == 4 {
			return nil, p.fail(t, "%s is no address of %s: leave out %s", t.text, q.proto.text, q.proto.text)
		}
		return n, nil
	case "arp", "rarp":
		return one(test{kind: testNever}), nil
	}
	what := q.of
	if what == "" {
		what = "host"
	}
	return nil, p.fail(&q.proto, "addresses are those of IP: write %s and %s %s", q.proto.text, what, t.text)
}

// net reads a prefix: 10.0.0.0/8, 10.1 (of 16 bits), 10 (of 8), 10.0.0.0 mask
// 255.0.0.0, 2001:db8::/32.
func (p *parser) net(q words, t *token) (*node, error) {
	a, version, n, err := p.address(t)
	if err != nil {
		return nil, err
	}
	if t.kind == tokNumber { // 10 is 10.0.0.0/8
		v := uint32(t.number)
		for short := v; short != 0 && short&0xff000000 == 0; short <<= 8 {
			v <<= 8
			n -= 8
		}
		a = addr4(v)
	}
	mask := prefixMask(n)
	switch next := p.peek(); {
	case p.take("/"):
		length, err := p.number("the length of the prefix")
		if err != nil {
			return nil, err
		}
		most := uint32(128)
		if version == 4 {
			most = 32
		}
		if length > most {
			return nil, p.fail(next, "a prefix of IPv%d has at most %d bits", version, most)
		}
		mask = prefixMask(int(128 - most + length))
	case version == 4 && p.take("mask"):
		m := p.peek()
		if m.kind != tokQuad && m.kind != tokNumber {
			return nil, p.fail(m, "a mask is missing here, such as 255.255.0.0")
		}
		p.at++
		mask = frame.Addr{Hi: ^uint64(0), Lo: 0xffffffff<<32 | m.number}
	}
	if host := (frame.Addr{Hi: a.Hi &^ mask.Hi, Lo: a.Lo &^ mask.Lo}); host != (frame.Addr{}) {
		a.Hi, a.Lo = a.Hi&mask.Hi, a.Lo&mask.Lo
		return nil, p.fail(t, "%s is an address within the net, not its first one: write net %s", t.text, netText(a, mask, version))
	}
	return p.addressed(q, t, version, maskNode(q.dir, version, a, mask))
}

// netText is a prefix as one would write it.
func netText(a, mask frame.Addr, version uint8) string {
	n := bits.OnesCount64(mask.Hi) + bits.OnesCount64(mask.Lo)
	if version == 4 {
		n -= 96
	}
	if version == 4 && prefixMask(n+96) != mask {
		return fmt.Sprintf("%s mask %s", a, addr4(uint32(mask.Lo)))
	}
	return netip.PrefixFrom(a.Netip(), n).String()
}
