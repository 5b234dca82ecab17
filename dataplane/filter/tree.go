package filter

import "ringside/dataplane/frame"

// node is a part of an expression: a test, or others joined.
type node struct {
	join joint
	a, b *node // a alone for not
	test test
}

type joint uint8

const (
	leaf joint = iota
	and
	or
	not
)

func all(a, b *node) *node    { return &node{join: and, a: a, b: b} }
func either(a, b *node) *node { return &node{join: or, a: a, b: b} }
func negate(a *node) *node    { return &node{join: not, a: a} }
func one(t test) *node        { return &node{test: t} }

// testKind is what a test asks for.
type testKind uint8

const (
	testNever   testKind = iota // what no decoded packet is, such as ARP
	testAddr                    // an address in a prefix
	testPort                    // a port in a range
	testProto                   // a protocol of IP
	testVersion                 // IPv4 or IPv6
	testVLAN                    // the outermost tag
	testTunnel                  // the innermost tunnel
	testValue                   // a relation between numbers
	testMAC                     // an Ethernet address
)

// direction is which of the two ends of a packet are asked.
type direction uint8

const (
	anyEnd   direction = iota // src or dst
	srcEnd                    // src
	dstEnd                    // dst
	bothEnds                  // src and dst
)

// test is one question. What its fields mean depends on kind.
type test struct {
	kind    testKind
	dir     direction // testAddr, testPort, testMAC
	version uint8     // 4, 6, or 0 for either: testAddr, testProto, testVersion
	proto   uint8     // testProto: the number; testPort: a set of portUDP…
	tunnel  frame.TunnelKind
	any     bool   // testVLAN, testTunnel: whatever the id
	lo, hi  uint16 // testPort
	id      uint32 // testVLAN, testTunnel
	mac     uint64 // testMAC
	macMask uint64
	addr    frame.Addr // testAddr
	mask    frame.Addr
	value   *relation // testValue
}

// Transports that have ports.
const (
	portUDP uint8 = 1 << iota
	portTCP
	portSCTP
	portAll = portUDP | portTCP | portSCTP
)

// portBit is the transport as a bit; 0 for what has no ports.
func portBit(proto uint8) uint8 {
	switch proto {
	case frame.ProtoUDP:
		return portUDP
	case frame.ProtoTCP:
		return portTCP
	case frame.ProtoSCTP:
		return portSCTP
	}
	return 0
}

// instr is a test with where to go on. Programs only go forward, so they end.
type instr struct {
	test
	yes, no int32 // the next instruction, or accept, or reject
	neg     bool  // a not stands before the test: in doubt, go where no leads
}

const (
	accept int32 = -1
	reject int32 = -2
)

// compile makes a program of a tree; nil is the empty expression. Nots go down
// to the tests, so that a test in doubt can be answered in favour of the packet.
func compile(tree *node) *Filter {
	f := &Filter{entry: accept}
	if tree == nil {
		return f
	}
	var c compiler
	entry := c.emit(tree, false, accept, reject)
	last := int32(len(c.code) - 1)
	turn := func(at int32) int32 {
		if at < 0 {
			return at
		}
		return last - at
	}
	f.entry = turn(entry)
	f.code = make([]instr, len(c.code))
	for i, in := range c.code {
		in.yes, in.no = turn(in.yes), turn(in.no)
		f.code[last-int32(i)] = in
		f.framed = f.framed || in.kind == testMAC || in.kind == testValue && in.value.framed()
	}
	return f
}

// compiler emits the program from its end, since a test must know where it
// leads to.
type compiler struct{ code []instr }

// emit appends the code of n and returns where it begins.
func (c *compiler) emit(n *node, neg bool, yes, no int32) int32 {
	join := n.join
	if neg { // De Morgan
		switch join {
		case and:
			join = or
		case or:
			join = and
		}
	}
	switch join {
	case not:
		return c.emit(n.a, !neg, yes, no)
	case and:
		return c.emit(n.a, neg, c.emit(n.b, neg, yes, no), no)
	case or:
		return c.emit(n.a, neg, yes, c.emit(n.b, neg, yes, no))
	}
	in := instr{test: n.test, yes: yes, no: no, neg: neg}
	if neg {
		in.yes, in.no = no, yes
	}
	c.code = append(c.code, in)
	return int32(len(c.code) - 1)
}
