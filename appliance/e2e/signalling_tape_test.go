package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tapeStart is the time of a tape at 0.
var tapeStart = time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC).UnixNano()

// Units in which tests say times.
const (
	sec  = time.Second
	msec = time.Millisecond
)

// tapeAt is a time of a tape as records say it.
func tapeAt(d time.Duration) int64 { return tapeStart + int64(d) }

// tape is a capture that a test writes packet by packet, in any order: Ethernet
// and IPv4. Packets of one time stay in the order in which they were put.
type tape struct {
	t       *testing.T
	packets []tapePacket
}

type tapePacket struct {
	at   time.Duration
	data []byte // IPv4 header and what follows
}

func newTape(t *testing.T) *tape { return &tape{t: t} }

func endpoint(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// ip puts a packet on the tape. Each has an identification of its own.
func (w *tape) ip(at time.Duration, proto uint8, from, to netip.Addr, payload []byte) {
	be := binary.BigEndian
	b := []byte{0x45, 0}
	b = be.AppendUint16(b, uint16(20+len(payload)))
	b = be.AppendUint16(b, uint16(len(w.packets)+1))
	b = append(b, 0, 0, 64, proto, 0, 0)
	b = append(b, from.AsSlice()...)
	b = append(b, to.AsSlice()...)
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(be.Uint16(b[i:]))
	}
	sum = sum&0xffff + sum>>16
	be.PutUint16(b[10:], ^uint16(sum+sum>>16))
	w.packets = append(w.packets, tapePacket{at, append(b, payload...)})
}

func (w *tape) udp(at time.Duration, from, to string, payload []byte) {
	w.t.Helper()
	src, dst := endpoint(w.t, from), endpoint(w.t, to)
	b := ports(src, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(b, 0, 0) // no checksum
	w.ip(at, 17, src.Addr(), dst.Addr(), append(b, payload...))
}

func ports(src, dst netip.AddrPort) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src.Port()), dst.Port())
}

// idle lets the clock of the tape go on to a time, with a packet that means
// nothing.
func (w *tape) idle(until time.Duration) {
	w.udp(until, "192.0.2.250:5060", "192.0.2.251:5060", []byte("\r\n\r\n"))
}

// tapeStream is a TCP connection on a tape.
type tapeStream struct {
	w        *tape
	from, to string
	sent     [2]uint32 // sequence number of the next octet: of from, of to
}

// TCP flags.
const (
	tcpFIN = 1
	tcpSYN = 2
	tcpACK = 16
)

// dial opens a connection.
func (w *tape) dial(at time.Duration, from, to string) *tapeStream {
	s := &tapeStream{w: w, from: from, to: to, sent: [2]uint32{1000, 5000}}
	s.segment(at, 0, tcpSYN, nil)
	s.segment(at+msec, 1, tcpSYN|tcpACK, nil)
	s.segment(at+2*msec, 0, tcpACK, nil)
	return s
}

// segment sends one from either side.
func (s *tapeStream) segment(at time.Duration, side int, flags uint8, data []byte) {
	src, dst := endpoint(s.w.t, s.from), endpoint(s.w.t, s.to)
	if side == 1 {
		src, dst = dst, src
	}
	be := binary.BigEndian
	b := ports(src, dst)
	b = be.AppendUint32(b, s.sent[side])
	b = be.AppendUint32(b, s.sent[1-side])
	b = append(b, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
	s.sent[side] += uint32(len(data))
	if flags&(tcpSYN|tcpFIN) != 0 {
		s.sent[side]++
	}
	s.w.ip(at, 6, src.Addr(), dst.Addr(), append(b, data...))
}

func (s *tapeStream) close(at time.Duration) {
	s.segment(at, 0, tcpFIN|tcpACK, nil)
	s.segment(at+msec, 1, tcpFIN|tcpACK, nil)
	s.segment(at+2*msec, 0, tcpACK, nil)
}

// path writes the tape to a file: pcap with nanoseconds.
func (w *tape) path() string {
	w.t.Helper()
	slices.SortStableFunc(w.packets, func(a, b tapePacket) int { return int(a.at - b.at) })
	order := binary.LittleEndian
	file := order.AppendUint32(nil, 0xa1b23c4d)
	for _, v := range []uint32{4<<16 | 2, 0, 0, 256 << 10, 1} {
		file = order.AppendUint32(file, v)
	}
	ethernet := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}
	for _, p := range w.packets {
		at, n := tapeAt(p.at), uint32(len(ethernet)+len(p.data))
		for _, v := range []uint32{uint32(at / 1e9), uint32(at % 1e9), n, n} {
			file = order.AppendUint32(file, v)
		}
		file = append(append(file, ethernet...), p.data...)
	}
	path := filepath.Join(w.t.TempDir(), "tape.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// talk is what the messages of a dialog, or of requests that belong together,
// have in common. Via of its requests are those of a sender and of as many
// proxies behind it as hops says.
type talk struct {
	w        *tape
	a, b     string // transport addresses
	id       string // Call-ID
	from, to string // addr-spec
	tags     [2]string
	uri      string // Request-URI; empty: to
	agent    string
	hops     int
	cseq     int
	branch   string // of the last request, with its method
	method   string
	stream   *tapeStream // in place of UDP
}

// body is a body with its Content-Type, to be the last of the header lines.
func body(kind, text string) string { return "Content-Type: " + kind + "\r\n\r\n" + text }

// ask sends the next request. Lines are further header lines.
func (d *talk) ask(at time.Duration, method string, lines ...string) {
	if method != "ACK" {
		d.cseq++
	}
	d.branch, d.method = fmt.Sprintf("z9hG4bK%s-%d-%s", d.tags[0], d.cseq, method), method
	d.again(at, lines...)
}

// again sends the last request another time.
func (d *talk) again(at time.Duration, lines ...string) {
	d.send(at, 0, fmt.Sprintf("%s sip:%s SIP/2.0", d.method, orElse(d.uri, d.to)), d.agentLine("User-Agent", lines))
}

func (d *talk) agentLine(name string, lines []string) []string {
	if d.agent == "" {
		return lines
	}
	return append([]string{name + ": " + d.agent}, lines...)
}

// answer sends a response to the last request: "200 OK".
func (d *talk) answer(at time.Duration, status string, lines ...string) {
	d.send(at, 1, "SIP/2.0 "+status, lines)
}

func (d *talk) send(at time.Duration, side int, first string, lines []string) {
	head := []string{first}
	for hop := d.hops; hop >= 0; hop-- {
		head = append(head, fmt.Sprintf("Via: SIP/2.0/UDP host%d.example.com;branch=%s.%d", hop, d.branch, hop))
	}
	to := "To: <sip:" + d.to + ">"
	if d.tags[1] != "" {
		to += ";tag=" + d.tags[1]
	}
	head = append(head, "From: <sip:"+d.from+">;tag="+d.tags[0], to, "Call-ID: "+d.id,
		fmt.Sprintf("CSeq: %d %s", d.cseq, d.method), "Max-Forwards: 70")
	payload := ""
	for _, l := range lines {
		if l, text, has := strings.Cut(l, "\r\n\r\n"); has {
			head = append(head, l)
			payload = text
		} else {
			head = append(head, l)
		}
	}
	head = append(head, fmt.Sprintf("Content-Length: %d", len(payload)))
	text := []byte(strings.Join(head, "\r\n") + "\r\n\r\n" + payload)
	switch {
	case d.stream != nil:
		d.stream.segment(at, side, tcpACK, text)
	case side == 0:
		d.w.udp(at, d.a, d.b, text)
	default:
		d.w.udp(at, d.b, d.a, text)
	}
}

// turned is the same dialog as its other side sees it.
func (d *talk) turned() *talk {
	o := *d
	o.a, o.b, o.from, o.to, o.uri = d.b, d.a, d.to, d.from, ""
	o.tags = [2]string{d.tags[1], d.tags[0]}
	o.cseq += 1000
	return &o
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// sdpOf is a session description of one stream: "192.0.2.1:4000", and what
// else it has.
func sdpOf(at string, lines ...string) string {
	host, port, _ := strings.Cut(at, ":")
	text := "v=0\r\no=- 1 1 IN IP4 " + host + "\r\ns=-\r\nc=IN IP4 " + host + "\r\nt=0 0\r\n" +
		"m=audio " + port + " RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
	for _, l := range lines {
		text += l + "\r\n"
	}
	return body("application/sdp", text)
}

// scene is a call that is answered a second after its INVITE and hung up by
// the caller. What is empty is left out.
type scene struct {
	id             string // Call-ID
	at, end        time.Duration
	a, b           string // where SIP goes
	from, to       string // users
	hops           int
	mediaA, mediaB string // in SDP
	offer, reply   string // in place of these
	headers        []string
	stream         *tapeStream
}

// call puts the SIP of a scene on the tape.
func (w *tape) call(s scene) *talk {
	d := &talk{
		w: w, a: s.a, b: s.b, id: s.id, from: s.from + "@example.com", to: s.to + "@example.com",
		tags: [2]string{"a-" + s.id, ""}, hops: s.hops, stream: s.stream,
	}
	offer, reply := s.offer, s.reply
	if offer == "" && s.mediaA != "" {
		offer = sdpOf(s.mediaA)
	}
	if reply == "" && s.mediaB != "" {
		reply = sdpOf(s.mediaB)
	}
	with := func(lines []string, sdp string) []string {
		if sdp == "" {
			return lines
		}
		return append(slices.Clone(lines), sdp)
	}
	d.ask(s.at, "INVITE", with(s.headers, offer)...)
	d.answer(s.at+50*msec, "100 Trying")
	d.tags[1] = "b-" + s.id
	d.answer(s.at+200*msec, "180 Ringing")
	d.answer(s.at+sec, "200 OK", with(nil, reply)...)
	invite := d.cseq
	d.ask(s.at+sec+20*msec, "ACK")
	if s.end != 0 {
		bye := *d
		bye.cseq = invite + 100
		bye.ask(s.end, "BYE")
		bye.answer(s.end+20*msec, "200 OK")
	}
	return d
}

// rtp puts an RTP packet on the tape.
func (w *tape) rtp(at time.Duration, from, to string, ssrc uint32, pt uint8, seq uint16, ts uint32, payload []byte) {
	be := binary.BigEndian
	b := be.AppendUint16([]byte{0x80, pt}, seq)
	b = be.AppendUint32(be.AppendUint32(b, ts), ssrc)
	w.udp(at, from, to, append(b, payload...))
}

// voice puts a stream of PCMU on the tape, 20 ms a packet.
func (w *tape) voice(begin, end time.Duration, from, to string, ssrc uint32) {
	for i := 0; begin+time.Duration(i)*20*msec < end; i++ {
		w.rtp(begin+time.Duration(i)*20*msec, from, to, ssrc, 0, uint16(i), uint32(160*i), make([]byte, 160))
	}
}
