package sip

import (
	"bytes"
	"testing"
)

// invite is an INVITE as a desk phone sends it: 14 header fields and an SDP
// offer, 700 bytes and some.
var invite = crlf(`INVITE sip:+4930123456@sbc.example.net:5060;transport=udp SIP/2.0
Via: SIP/2.0/UDP 192.0.2.17:5060;branch=z9hG4bK-524287-1---8f2a;rport
Max-Forwards: 70
Contact: <sip:alice@192.0.2.17:5060;ob>
To: <sip:+4930123456@sbc.example.net>
From: "Alice Example" <sip:alice@example.net>;tag=9fxced76sl
Call-ID: 3848276298220188511@192.0.2.17
CSeq: 21 INVITE
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO
Supported: replaces, timer, 100rel
Session-Expires: 1800;refresher=uac
User-Agent: Example Phone 4.2.1
P-Asserted-Identity: <sip:+49301111@example.net>
Content-Type: application/sdp
Content-Length: 147

v=0
o=- 20518 0 IN IP4 192.0.2.17
s=-
c=IN IP4 192.0.2.17
t=0 0
m=audio 49170 RTP/AVP 8 0 101
a=rtpmap:101 telephone-event/8000
a=ptime:20
`)

// crlf is text with the line ends of the wire.
func crlf(text string) []byte {
	return bytes.ReplaceAll([]byte(text), []byte("\n"), []byte("\r\n"))
}

var (
	sinkN  int
	sinkOK bool
)

func BenchmarkParseInvite(b *testing.B) {
	var m Message
	b.ReportAllocs()
	b.SetBytes(int64(len(invite)))
	for b.Loop() {
		n, err := m.Parse(invite)
		if err != nil {
			b.Fatal(err)
		}
		sinkN += n
	}
}

func BenchmarkLooks(b *testing.B) {
	rtp := append([]byte{0x80, 0x08, 0x12, 0x34}, make([]byte, 168)...)
	dns := append([]byte{0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'w', 'w', 'w'}, make([]byte, 20)...)
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"invite", invite},
		{"response", []byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n")},
		{"rtp", rtp},
		{"dns", dns},
		{"http", []byte("GET /index.html HTTP/1.1\r\nHost: example.com\r\n\r\n")},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sinkOK = Looks(c.b)
			}
		})
	}
}

func BenchmarkSDP(b *testing.B) {
	var m Message
	if _, err := m.Parse(invite); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sinkN += len(m.SDP())
	}
}
