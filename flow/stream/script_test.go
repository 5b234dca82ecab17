package stream

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/sip"
)

const epoch = int64(1_700_000_000e9)

// message is a SIP message with Call-ID id and a body of that many bytes. What
// is a method or a status. length is its Content-Length, -1: none.
func message(what, id string, body, length int) []byte {
	var b []byte
	method := what
	if what[0] >= '0' && what[0] <= '9' {
		method = "INVITE"
		b = fmt.Appendf(b, "SIP/2.0 %s Fine\r\n", what)
	} else {
		b = fmt.Appendf(b, "%s sip:bob@example.com SIP/2.0\r\n", what)
	}
	b = fmt.Appendf(b, "Via: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK%s\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\n", id, id, method)
	if length >= 0 {
		b = fmt.Appendf(b, "Content-Length: %d\r\n", length)
	}
	b = append(b, "\r\n"...)
	sum := sha256.Sum256([]byte(id))
	for i := range body {
		switch c := sum[i%len(sum)] + byte(i/len(sum)); {
		case i == body-1 || i%71 == 70 && i != body-2:
			b = append(b, '\n')
		case i == body-2 || i%71 == 69:
			b = append(b, '\r')
		default:
			b = append(b, 'a'+c%26)
		}
	}
	return b
}

// webFrame is one WebSocket frame.
func webFrame(head byte, masked bool, payload []byte) []byte {
	b := []byte{head, 0}
	switch n := len(payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	b[1] |= 0x80
	key := [4]byte{0x12, 0xfe, 0x55, 0x80}
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i&3])
	}
	return b
}

const (
	webGet    = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: chat, SIP\r\n\r\n"
	webSwitch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
)

// script is a table with two hosts A and B that talk over one flow. Its lines:
//
//	stream A TOKEN…   the bytes that A sends; see token
//	TIME A FROM..TO [FLAG…]  a segment: syn, fin, rst; ack=PLACE in the other's
//	                  stream; cut=N bytes captured; flip: other bytes; off=N
//	                  added to the sequence number; port=N of A
//	advance TIME, close TIME
//	stats NAME=COUNT… of the ledger and the notes
//
// A place in a stream is a number of bytes, or #N, #N+BYTES: where token N (from
// 0) begins, and so many bytes further. FROM and TO may be left out: the begin
// and the end of the stream. Times are seconds. A message that comes out is written as time, sender,
// transport, method or status, Call-ID, and "cut LENGTH" or what is wrong with it.
type script struct {
	t       *testing.T
	table   *Table
	sent    map[string][]byte
	streams [2][]byte
	marks   [2][]int // where the tokens begin
	first   [2]uint32
	seq     uint64
	clock   int64
	port    uint16
	out     []string
	checks  []string
}

func newScript(t *testing.T, o Options) *script {
	s := &script{t: t, sent: map[string][]byte{}, first: [2]uint32{0xffffff00, 5000}, port: 4000}
	o.Emit = s.emit
	s.table = New(o)
	return s
}

func (s *script) emit(m *Message) {
	var parsed sip.Message
	_, err := parsed.Parse(m.Data)
	what := string(parsed.Get(parsed.MethodName))
	if parsed.Response {
		what = strconv.Itoa(int(parsed.Status))
	}
	id := string(parsed.Get(parsed.CallID))
	from := "A"
	if m.Src.Port == 5060 {
		from = "B"
	}
	line := fmt.Sprintf("%s %s %s %s %s", seconds(m.Packet.Time), from, m.Transport, what, id)
	if at := m.Packet.Clock; at != m.Packet.Time {
		line += " at " + seconds(at)
	}
	switch {
	case err != nil:
		line += " error"
	case m.Cut:
		line += fmt.Sprintf(" cut %d", len(m.Data))
	case !bytes.Equal(m.Data, s.sent[what+" "+id]):
		line += fmt.Sprintf(" other %d", len(m.Data))
	}
	s.out = append(s.out, line)
}

func seconds(ns int64) string {
	return strconv.FormatFloat(float64(ns-epoch)/1e9, 'f', -1, 64)
}

// token is the bytes that a word of a stream line stands for: a quoted string;
// METHOD:ID:BODY[:LENGTH], a message, LENGTH "-" for none; ws=TOKEN, wsm=TOKEN
// and wsz=TOKEN: that in a frame, masked, or said to be compressed; ws1=TOKEN and
// ws2=TOKEN: the first and the other half of it in a frame each; ping=TOKEN; get
// and switch: the HTTP before; fill=N: so many bytes.
func (s *script) token(w string) []byte {
	if kind, inner, ok := strings.Cut(w, "="); ok && w[0] != '"' {
		if kind == "fill" {
			return bytes.Repeat([]byte("x"), s.number(inner))
		}
		b := s.token(inner)
		half := len(b) / 2
		switch kind {
		case "ws":
			return webFrame(0x81, false, b)
		case "wsm":
			return webFrame(0x82, true, b)
		case "wsz":
			return webFrame(0xc1, false, b)
		case "ws1":
			return webFrame(0x01, true, b[:half])
		case "ws2":
			return webFrame(0x80, true, b[half:])
		case "ping":
			return webFrame(0x89, false, b)
		}
		s.t.Fatalf("no frame %q", w)
	}
	switch w {
	case "get":
		return []byte(webGet)
	case "switch":
		return []byte(webSwitch)
	}
	if w[0] == '"' {
		text, err := strconv.Unquote(w)
		if err != nil {
			s.t.Fatalf("%s: %v", w, err)
		}
		return []byte(text)
	}
	p := strings.Split(w, ":")
	body := s.number(p[2])
	length := body
	if len(p) > 3 {
		if length = -1; p[3] != "-" {
			length = s.number(p[3])
		}
	}
	b := message(p[0], p[1], body, length)
	s.sent[p[0]+" "+p[1]] = b
	return b
}

func (s *script) number(w string) int {
	n, err := strconv.Atoi(w)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// place is a place in the stream of a side.
func (s *script) place(d int, w string, empty int) int {
	if w == "" {
		return empty
	}
	n := 0
	mark, more, _ := strings.Cut(w, "+")
	if mark[0] != '#' {
		return s.number(w)
	}
	if more != "" {
		n = s.number(more)
	}
	return s.marks[d][s.number(mark[1:])] + n
}

func (s *script) time(w string) int64 {
	f, err := strconv.ParseFloat(w, 64)
	if err != nil {
		s.t.Fatalf("time %q: %v", w, err)
	}
	return epoch + int64(f*1e9+0.5)
}

func (s *script) line(line string) {
	f := fields(line)
	switch f[0] {
	case "stream":
		d := int(f[1][0] - 'A')
		s.streams[d], s.marks[d] = nil, nil
		for _, w := range f[2:] {
			s.marks[d] = append(s.marks[d], len(s.streams[d]))
			s.streams[d] = append(s.streams[d], s.token(w)...)
		}
	case "advance":
		s.table.Advance(s.time(f[1]))
	case "close":
		s.table.Close(s.time(f[1]))
	case "stats":
		s.checks = append(s.checks, f[1:]...)
	default:
		s.segment(f)
	}
	s.balance()
}

func (s *script) segment(f []string) {
	d := int(f[1][0] - 'A')
	from, to, ok := strings.Cut(f[2], "..")
	lo, hi := s.place(d, from, 0), s.place(d, to, len(s.streams[d]))
	if !ok {
		hi = lo
	}
	p := frame.Packet{
		Time: s.time(f[0]), Seq: s.seq, Proto: frame.ProtoTCP, SeqNo: s.first[d] + uint32(lo),
		Src:     frame.Endpoint{Addr: frame.AddrFrom4([]byte{192, 0, 2, 1}), Port: s.port},
		Dst:     frame.Endpoint{Addr: frame.AddrFrom4([]byte{192, 0, 2, 2}), Port: 5060},
		Payload: bytes.Clone(s.streams[d][lo:hi]), Len: uint32(hi - lo),
	}
	p.Clock = max(p.Time, s.clock+1)
	s.clock = p.Clock
	s.seq++
	for _, w := range f[3:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "syn":
			p.Control |= frame.TCPSyn
			p.SeqNo--
		case "fin":
			p.Control |= frame.TCPFin
		case "rst":
			p.Control |= frame.TCPRst
		case "ack":
			p.Control |= frame.TCPAck
			p.AckNo = s.first[1-d] + uint32(s.place(1-d, value, 0))
		case "cut":
			p.Payload = p.Payload[:s.number(value)]
			p.Flags |= frame.FlagCut
		case "flip":
			for i := range p.Payload {
				p.Payload[i] ^= 1
			}
		case "off":
			p.SeqNo += uint32(s.number(value))
		case "port":
			p.Src.Port = uint16(s.number(value))
		default:
			s.t.Fatalf("no flag %q", w)
		}
	}
	if d == 1 {
		p.Src, p.Dst = p.Dst, p.Src
	}
	s.table.Packet(&p)
	for i := range p.Payload {
		p.Payload[i] = 0xee // it was borrowed
	}
}

// balance checks what holds at any time.
func (s *script) balance() {
	s.t.Helper()
	checkTable(s.t, s.table, s.seq)
}

// checkTable checks that the ledger of a table balances, that it holds no more
// than it may, and that its books agree.
func checkTable(t testing.TB, table *Table, packets uint64) {
	t.Helper()
	st := table.Stats()
	sum := uint64(0)
	for _, k := range st.Kinds() {
		sum += k.Count
	}
	if sum != packets {
		t.Fatalf("%d packets in the ledger, %d given: %v", sum, packets, st.Kinds())
	}
	if table.buffers.used+table.sealedBytes > table.options.MaxBytes || table.buffers.used < 0 || table.sealedBytes < 0 {
		t.Fatalf("%d bytes held, and %d of TLS, at most %d may be", table.buffers.used, table.sealedBytes, table.options.MaxBytes)
	}
	if table.used > table.options.MaxFlows {
		t.Fatalf("%d flows, at most %d may be", table.used, table.options.MaxFlows)
	}
	if table.used == 0 && (table.buffers.used != 0 || table.sealedBytes != 0 || table.wait.first != nil || table.proofs.first != nil || table.sealed.first != nil || len(table.spare) != len(table.conns)) {
		t.Fatalf("the table is empty, but holds %d bytes, %d conns of %d", table.buffers.used, len(table.conns)-len(table.spare), len(table.conns))
	}
	listed := 0
	for i := range table.order {
		listed += table.order[i].len
	}
	if listed != table.used {
		t.Fatalf("%d flows are listed, %d known", listed, table.used)
	}
}

// fields splits a line at blanks outside of quotes.
func fields(line string) (out []string) {
	quoted := false
	word := ""
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted:
			word += line[i : i+2]
			i++
		case c == '"':
			quoted = !quoted
			word += `"`
		case c == ' ' && !quoted:
			if word != "" {
				out = append(out, word)
			}
			word = ""
		default:
			word += string(c)
		}
	}
	if word != "" {
		out = append(out, word)
	}
	return out
}

func (s *script) count(name string) uint64 {
	st := s.table.Stats()
	kinds := append(st.Kinds(), st.Notes()...)
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		s.t.Fatalf("nothing is called %q", name)
	}
	return kinds[i].Count
}

// TestScripts runs testdata/*.txt: each run has the lines of a script, "----",
// and what comes out.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("find scripts: %v, %d", err, len(paths))
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "\nrun ")[1:] {
			name, block, _ := strings.Cut(block, "\n")
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txt")+"/"+name, func(t *testing.T) {
				runScript(t, block)
			})
		}
	}
}

func runScript(t *testing.T, block string) {
	s := newScript(t, Options{MaxFlowBytes: 64 << 10, MaxMessage: 32 << 10, IdleTimeout: 10 * time.Minute})
	steps, want, ok := strings.Cut(block, "----\n")
	if !ok {
		t.Fatal("no ---- in the run")
	}
	for line := range strings.Lines(steps) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			s.line(line)
		}
	}
	var expected []string
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			expected = append(expected, line)
		}
	}
	if !slices.Equal(s.out, expected) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(s.out, "\n  "), strings.Join(expected, "\n  "))
	}
	for _, w := range s.checks {
		name, value, _ := strings.Cut(w, "=")
		if n := s.count(name); n != uint64(s.number(value)) {
			t.Errorf("%s is %d, want %s", name, n, value)
		}
	}
	s.table.Close(s.clock)
	s.balance()
	if s.table.used != 0 {
		t.Error("flows are left after Close")
	}
}
