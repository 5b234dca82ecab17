package audio

import (
	"bytes"
	"net/netip"
	"strings"

	"ringside/flow/record"
	"ringside/flow/rtp"
	"ringside/flow/sdp"
)

// Limits of what signalling may say.
const (
	maxBodies = 500
	maxTypes  = 4096
)

// book is what signalling and the record say: what payload types stand for, who
// sends, with which keys.
type book struct {
	streams map[streamKey]*record.Stream
	types   map[typeKey]format
	of      map[netip.AddrPort]endpoint
	any     [128]format // by payload type alone, where the whole call agrees
	differ  [128]bool
	keys    []masterKey
	lines   map[string]bool // keys that were read, by their text
	faulty  []string        // why others were not
	bodies  int
	session sdp.Session
}

type typeKey struct {
	at netip.AddrPort
	pt uint8
}

// endpoint is who receives at an address.
type endpoint struct {
	side record.Side
	srtp bool
}

func newBook(c *Call) *book {
	b := &book{
		streams: map[streamKey]*record.Stream{}, types: map[typeKey]format{},
		of: map[netip.AddrPort]endpoint{}, lines: map[string]bool{},
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		b.streams[streamKey{s.Src, s.Dst, s.SSRC}] = s
	}
	for i := range c.Media {
		m := &c.Media[i]
		e := b.of[m.Addr]
		b.of[m.Addr] = endpoint{m.Side, m.SRTP || e.srtp}
		for line := range strings.Lines(m.Crypto) {
			// "TAG SUITE KEYPARAMS"
			if f := strings.Fields(line); len(f) >= 3 {
				b.addKeys(f[1], f[2], m.Side)
			}
		}
	}
	for _, body := range c.SDP {
		b.read(body)
	}
	return b
}

// addKeys adds the keys of an a=crypto line.
func (b *book) addKeys(suite, params string, side record.Side) {
	if b.lines[suite+" "+params] || len(b.keys) >= maxKeys || len(b.lines) >= 2*maxKeys {
		return
	}
	b.lines[suite+" "+params] = true
	keys, err := parseKeys(suite, params)
	if err != nil {
		b.faulty = append(b.faulty, err.Error())
		return
	}
	for _, k := range keys {
		k.side = side
		b.keys = append(b.keys, k)
	}
}

// sniff reads the session description of a SIP message, if that is what a
// datagram is.
func (b *book) sniff(data []byte) {
	if at := bytes.Index(data, []byte("\r\n\r\nv=0")); at >= 0 {
		b.read(data[at+4:])
	}
}

// read takes in a session description.
func (b *book) read(body []byte) {
	if b.bodies++; b.bodies > maxBodies || b.session.Parse(body) != nil {
		return
	}
	for i := range b.session.Media() {
		m := &b.session.Media()[i]
		if m.Kind != sdp.Audio && m.Kind != sdp.Video {
			continue
		}
		at := netip.AddrPortFrom(m.Conn.Addr.Netip(), m.Port)
		if e := b.of[at]; len(b.of) < maxTypes && m.Port > 0 {
			secure := bytes.Contains(m.Proto, []byte("SAVP")) || m.Fingerprint || m.CryptoTotal > 0
			b.of[at] = endpoint{e.side, e.srtp || secure}
		}
		for _, k := range m.Crypto() {
			b.addKeys(string(k.Suite), string(k.KeyParams), b.of[at].side)
		}
		for _, f := range m.Formats() {
			if f.PT < 128 {
				b.define(at, f)
			}
		}
	}
}

// define notes what a payload type stands for. The first word counts: it must
// not change within a session (RFC 3264 section 8.3.2).
func (b *book) define(at netip.AddrPort, f sdp.Format) {
	x := format{codec: rtp.CodecByName(f.Name), clock: f.Rate, channels: max(1, int(f.Channels))}
	if len(f.Name) == 0 {
		x = static(f.PT)
	}
	if x.clock < 1000 || x.clock > 384000 {
		x.clock = 8000
	}
	k := typeKey{at, f.PT}
	if _, ok := b.types[k]; !ok && len(b.types) < maxTypes {
		b.types[k] = x
	}
	switch known := b.any[f.PT]; {
	case known.codec == rtp.Unknown:
		b.any[f.PT] = x
	case known != x:
		b.differ[f.PT] = true
	}
}

// static is what a payload type stands for by RFC 3551.
func static(pt uint8) format {
	c, clock := rtp.StaticPayload(pt)
	f := format{codec: c, clock: clock, channels: 1}
	if pt == 10 { // L16 with two channels; 11 has one
		f.channels = 2
	}
	return f
}

// find is what a payload type stands for on a stream: as the receiver described
// it, or the sender of itself, or as the record knows, or as everybody does.
func (b *book) find(k streamKey, pt uint8) format {
	if f, ok := b.types[typeKey{k.dst, pt}]; ok {
		return f
	}
	if f, ok := b.types[typeKey{k.src, pt}]; ok {
		return f
	}
	s := b.streams[k]
	if s != nil && s.Payload == pt && s.Rate >= 1000 && s.Rate <= 384000 {
		if c := rtp.CodecByName([]byte(s.Codec)); c != rtp.Unknown {
			return format{codec: c, clock: s.Rate, channels: static(pt).channels}
		}
	}
	if f := static(pt); f.codec != rtp.Unknown {
		return f
	}
	if f := b.any[pt]; f.codec != rtp.Unknown && !b.differ[pt] {
		return f
	}
	return format{clock: 8000, channels: 1}
}

// side is who sends a stream, unknown if neither record nor signalling tell.
func (b *book) side(k streamKey) record.Side {
	if s := b.streams[k]; s != nil && s.From != record.SideUnknown {
		return s.From
	}
	if e := b.of[k.dst]; e.side != record.SideUnknown {
		return other(e.side)
	}
	return b.of[k.src].side
}

// encrypted reports whether a stream is SRTP by what was said of it.
func (b *book) encrypted(k streamKey) bool {
	s := b.streams[k]
	return s != nil && s.SRTP || b.of[k.dst].srtp || b.of[k.src].srtp
}

func other(s record.Side) record.Side {
	switch s {
	case record.SideCaller:
		return record.SideCalled
	case record.SideCalled:
		return record.SideCaller
	}
	return record.SideUnknown
}
