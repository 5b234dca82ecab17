package replay

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Floods begin at these addresses (RFC 2544 reserves 198.18.0.0/15 for benchmarks).
var (
	floodFrom = netip.MustParseAddr("100.64.0.0")
	floodTo   = netip.MustParseAddr("198.18.0.2")
)

// RegisterFlood is a REGISTER of which every frame is another one: so many
// sources take turns, each with an address, an address of record, a Call-ID and
// a tag of its own; branches never repeat.
func RegisterFlood(sources uint32) ([]Frame, []Field) {
	const mark = "00000000"
	text := strings.Join([]string{
		"REGISTER sip:example.net SIP/2.0",
		"Via: SIP/2.0/UDP 100.64.0.0:5060;branch=z9hG4bK" + mark + ";rport",
		"From: <sip:" + mark + "@example.net>;tag=" + mark,
		"To: <sip:" + mark + "@example.net>",
		"Call-ID: " + mark + "@flood",
		"CSeq: 1 REGISTER",
		"Contact: <sip:" + mark + "@example.net:5060>",
		"Max-Forwards: 70",
		"Expires: 3600",
		"Content-Length: 0", "", ""}, "\r\n")
	f := datagram(5060, 5060, []byte(text))
	fields := []Field{{At: 14 + 12, Kind: Uint32, Count: sources}}
	for at, first := 14+20+8, true; ; first = false {
		i := strings.Index(text, mark)
		if i < 0 {
			break
		}
		field := Field{At: at + i, Kind: Hex, Count: sources}
		if first {
			field.Count = 0 // the branch
		}
		fields = append(fields, field)
		at += i + len(mark)
		text = text[i+len(mark):]
	}
	return []Frame{{Data: f}}, fields
}

// RTPFlood is RTP of so many streams that take turns: G.711 of 20 ms, 214 bytes a
// frame. Streams differ in source address and SSRC.
func RTPFlood(streams uint32) ([]Frame, []Field) {
	p := make([]byte, 12+160)
	p[0] = 0x80
	binary.BigEndian.PutUint32(p[8:], 0x10000000)
	for i := range p[12:] {
		p[12+i] = 0xd5
	}
	rtp := 14 + 20 + 8
	return []Frame{{Data: datagram(20000, 30000, p)}}, []Field{
		{At: 14 + 12, Kind: Uint32, Count: streams},
		{At: rtp + 8, Kind: Uint32, Count: streams},
		{At: rtp + 2, Kind: Uint16, Each: streams},
		{At: rtp + 4, Kind: Uint32, Each: streams, Step: 160},
	}
}

// datagram is a frame from floodFrom to floodTo.
func datagram(from, to uint16, payload []byte) []byte {
	be := binary.BigEndian
	b := make([]byte, 14+20+8, 14+20+8+len(payload))
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, protoUDP
	be.PutUint16(ip[2:], uint16(28+len(payload)))
	be.PutUint16(ip[6:], 0x4000) // do not fragment
	copy(ip[12:], floodFrom.AsSlice())
	copy(ip[16:], floodTo.AsSlice())
	be.PutUint16(ip[10:], ^fold(sum(ip[:20])))
	udp := ip[20:]
	be.PutUint16(udp, from)
	be.PutUint16(udp[2:], to)
	be.PutUint16(udp[4:], uint16(8+len(payload)))
	c := ^fold(sum(ip[12:20]) + protoUDP + 2*uint32(8+len(payload)) + sum(udp[:4]) + sum(payload))
	if c == 0 {
		c = 0xffff
	}
	be.PutUint16(udp[6:], c)
	return append(b, payload...)
}

// Flood makes a flood by its name, for the command line.
func Flood(name string, sources uint32) ([]Frame, []Field, error) {
	switch name {
	case "register":
		frames, fields := RegisterFlood(sources)
		return frames, fields, nil
	case "rtp":
		frames, fields := RTPFlood(sources)
		return frames, fields, nil
	}
	return nil, nil, fmt.Errorf("no flood %q: register or rtp", name)
}
