package sdp

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"ringside/dataplane/frame"
)

// dump is s as text, all that a caller can see of it.
func dump(s *Session) string {
	var w strings.Builder
	fmt.Fprintf(&w, "origin %q %q %q %q\n", s.Origin.Username, s.Origin.ID, s.Origin.Version, s.Origin.Host)
	fmt.Fprintf(&w, "session %s %v total %d bad %d\n", conn(s.Conn), s.Direction, s.Total, s.Bad)
	media := s.Media()
	for i := range media {
		m := &media[i]
		fmt.Fprintf(&w, "%v port %d/%d %s %s %v ptime %d max %d", m.Kind, m.Port, m.Ports, m.Proto, conn(m.Conn),
			m.Direction, m.Ptime, m.MaxPtime)
		fmt.Fprintf(&w, " rtcp %d %s", m.RTCPPort, conn(m.RTCPConn))
		for _, f := range []struct {
			name string
			on   bool
		}{{"mux", m.RTCPMux}, {"setup", m.Setup}, {"fingerprint", m.Fingerprint}, {"ice", m.ICE}, {"t38", m.T38}} {
			if f.on {
				fmt.Fprintf(&w, " %s", f.name)
			}
		}
		fmt.Fprintf(&w, " formats %d candidates %d crypto %d\n", m.FormatsTotal, m.CandidatesTotal, m.CryptoTotal)
		for _, f := range m.Formats() {
			fmt.Fprintf(&w, "  %d %s/%d/%d %s\n", f.PT, f.Name, f.Rate, f.Channels, f.Fmtp)
		}
		for _, c := range m.Candidates() {
			fmt.Fprintf(&w, "  candidate %d %v tcp=%v %s %d\n", c.Component, c.Type, c.TCP, conn(c.Conn), c.Port)
		}
		for _, c := range m.Crypto() {
			fmt.Fprintf(&w, "  crypto %d %s %s\n", c.Tag, c.Suite, c.KeyParams)
		}
	}
	return w.String()
}

func conn(c Conn) string {
	switch {
	case c.OK:
		return c.Addr.String()
	case len(c.Host) > 0:
		return "name:" + string(c.Host)
	}
	return "-"
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"offer", `v=0
o=alice 2890844526 2890844527 IN IP4 host.example
s=-
c=IN IP4 192.0.2.1
t=0 0
m=audio 49170 RTP/AVP 8 0 97 101
a=rtpmap:8 PCMA/8000
a=rtpmap:97 opus/48000/2
a=fmtp:97 useinbandfec=1; maxplaybackrate=16000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=maxptime:150
a=sendonly
m=video 51372/2 RTP/AVP 31
c=IN IP6 2001:db8::7/3
`, `origin "alice" "2890844526" "2890844527" "host.example"
session 192.0.2.1 sendrecv total 2 bad 0
audio port 49170/1 RTP/AVP 192.0.2.1 sendonly ptime 20 max 150 rtcp 0 - formats 4 candidates 0 crypto 0
  8 PCMA/8000/1 
  0 /0/1 
  97 opus/48000/2 useinbandfec=1; maxplaybackrate=16000
  101 telephone-event/8000/1 0-16
video port 51372/2 RTP/AVP 2001:db8::7 sendrecv ptime 0 max 0 rtcp 0 - formats 1 candidates 0 crypto 0
  31 /0/1 
`},
		{"session defaults are inherited, and overridden", `v=0
o=- 1 1 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
a=inactive
a=setup:actpass
a=fingerprint:sha-256 AA:BB
a=ice-ufrag:x
m=audio 4000 UDP/TLS/RTP/SAVPF 0
m=text 4002 RTP/AVP 98
c=IN IP4 0.0.0.0
c=IN IP4 192.0.2.9
a=recvonly
`, `origin "-" "1" "1" "192.0.2.1"
session 192.0.2.1 inactive total 2 bad 0
audio port 4000/1 UDP/TLS/RTP/SAVPF 192.0.2.1 inactive ptime 0 max 0 rtcp 0 - setup fingerprint ice formats 1 candidates 0 crypto 0
  0 /0/1 
text port 4002/1 RTP/AVP 0.0.0.0 recvonly ptime 0 max 0 rtcp 0 - setup fingerprint ice formats 1 candidates 0 crypto 0
  98 /0/1 
`},
		{"rtcp, mux, SDES", `v=0
m=audio 4000 RTP/SAVP 0
c=IN IP4 192.0.2.1
a=rtcp:53020 IN IP6 2001:db8::1
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32 FEC_ORDER=FEC_SRTP
a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj
a=crypto:x AES_CM_128_HMAC_SHA1_32 inline:none
m=audio 4002 RTP/AVP 0
a=rtcp:4003
a=rtcp-mux
`, `origin "" "" "" ""
session - sendrecv total 2 bad 1
audio port 4000/1 RTP/SAVP 192.0.2.1 sendrecv ptime 0 max 0 rtcp 53020 2001:db8::1 formats 1 candidates 0 crypto 2
  0 /0/1 
  crypto 1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32
  crypto 2 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj
audio port 4002/1 RTP/AVP - sendrecv ptime 0 max 0 rtcp 4003 - mux formats 1 candidates 0 crypto 0
  0 /0/1 
`},
		{"ICE", `v=0
m=audio 45664 RTP/AVP 0
a=candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host
a=candidate:2 2 udp 1694498815 192.0.2.3 45665 typ srflx raddr 203.0.113.141 rport 8998
a=candidate:3 1 TCP 1 2001:db8::5 9 typ relay tcptype active
a=candidate:4 1 udp 1 4f7e.local 50000 typ prflx generation 0
a=candidate:5 1 udp 1 192.0.2.3 typ host
a=ice-ufrag:8hhY
`, `origin "" "" "" ""
session - sendrecv total 1 bad 1
audio port 45664/1 RTP/AVP - sendrecv ptime 0 max 0 rtcp 0 - ice formats 1 candidates 4 crypto 0
  0 /0/1 
  candidate 1 host tcp=false 203.0.113.141 8998
  candidate 2 srflx tcp=false 192.0.2.3 45665
  candidate 1 relay tcp=true 2001:db8::5 9
  candidate 1 prflx tcp=false name:4f7e.local 50000
`},
		{"T.38", `v=0
c=IN IP4 fax.example.net
m=image 5004 udptl t38
a=T38FaxVersion:0
a=T38MaxBitRate:14400
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=fmtp:webrtc-datachannel max-message-size=65536
`, `origin "" "" "" ""
session name:fax.example.net sendrecv total 2 bad 0
image port 5004/1 udptl name:fax.example.net sendrecv ptime 0 max 0 rtcp 0 - t38 formats 1 candidates 0 crypto 0
  255 t38/0/1 
application port 9/1 UDP/DTLS/SCTP name:fax.example.net sendrecv ptime 0 max 0 rtcp 0 - formats 1 candidates 0 crypto 0
  255 webrtc-datachannel/0/1 max-message-size=65536
`},
		{"what devices send", "\n  v = 0\no=John Smith 1 2 IN IP4 192.0.2.1 \nc=IN IP4 192.000.002.010\n" +
			"m =audio   4000  RTP/AVP  0   8 \r\na = ptime : 20.0\r\na=rtpmap: 8  PCMA/8000\r\na=rtpmap:99 unlisted/8000\r\na=sendrecv\x20\r\nm=message 0 TCP/MSRP *",
			`origin "John Smith" "1" "2" "192.0.2.1"
session 192.0.2.10 sendrecv total 2 bad 0
audio port 4000/1 RTP/AVP 192.0.2.10 sendrecv ptime 20 max 0 rtcp 0 - formats 2 candidates 0 crypto 0
  0 /0/1 
  8 PCMA/8000/1 
message port 0/1 TCP/MSRP 192.0.2.10 sendrecv ptime 0 max 0 rtcp 0 - formats 1 candidates 0 crypto 0
  255 */0/1 
`},
		{"bad lines", `v=0
o=x
x=unknown letter
nonsense
c=IN IP4
m=audio 70000 RTP/AVP 0
a=ptime:20
c=IN IP4 192.0.2.9
m=audio 4000
m=shiny 4000 RTP/AVP 0
a=rtpmap:200 PCMU/8000
a=rtpmap:0
a=fmtp
a=ptime:x
a=:
`, `origin "" "" "" ""
session - sendrecv total 3 bad 11
audio port 0/1 RTP/AVP 192.0.2.9 sendrecv ptime 20 max 0 rtcp 0 - formats 1 candidates 0 crypto 0
  0 /0/1 
audio port 0/1  - sendrecv ptime 0 max 0 rtcp 0 - formats 0 candidates 0 crypto 0
other port 4000/1 RTP/AVP - sendrecv ptime 0 max 0 rtcp 0 - formats 1 candidates 0 crypto 0
  0 /0/1 
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, end := range []string{"\n", "\r\n"} {
				in := c.in
				if end == "\r\n" {
					in = strings.ReplaceAll(strings.ReplaceAll(in, "\r\n", "\n"), "\n", "\r\n")
				}
				var s Session
				if err := s.Parse([]byte(in)); err != nil {
					t.Fatal(err)
				}
				if got := dump(&s); got != c.want {
					t.Errorf("line end %q, got:\n%s\nwant:\n%s", end, got, c.want)
				}
			}
		})
	}
}

// What exceeds the arrays is counted and does not spill into what is kept.
func TestCapacity(t *testing.T) {
	var in bytes.Buffer
	in.WriteString("v=0\n")
	for i := range MaxMedia + 3 {
		fmt.Fprintf(&in, "m=audio %d RTP/AVP", 4000+i)
		for f := range MaxFormats + 5 {
			fmt.Fprintf(&in, " %d", f)
		}
		in.WriteString("\n")
		for f := range MaxFormats + 5 {
			fmt.Fprintf(&in, "a=rtpmap:%d X%d/8000\n", f, i)
		}
		for range MaxCandidates + 1 {
			in.WriteString("a=candidate:1 1 UDP 1 192.0.2.1 8998 typ host\n")
		}
		for range MaxCrypto + 2 {
			in.WriteString("a=crypto:1 S inline:k\n")
		}
	}
	var s Session
	if err := s.Parse(in.Bytes()); err != nil {
		t.Fatal(err)
	}
	if s.Total != MaxMedia+3 || len(s.Media()) != MaxMedia || s.Bad != 0 {
		t.Errorf("total %d, kept %d, bad %d", s.Total, len(s.Media()), s.Bad)
	}
	last := &s.Media()[MaxMedia-1]
	if got := string(last.Formats()[0].Name); got != fmt.Sprint("X", MaxMedia-1) {
		t.Errorf("attributes of a dropped description reached a kept one: %s", got)
	}
	if last.FormatsTotal != MaxFormats+5 || len(last.Formats()) != MaxFormats ||
		last.CandidatesTotal != MaxCandidates+1 || len(last.Candidates()) != MaxCandidates ||
		last.CryptoTotal != MaxCrypto+2 || len(last.Crypto()) != MaxCrypto {
		t.Errorf("counts: %d %d %d", last.FormatsTotal, last.CandidatesTotal, last.CryptoTotal)
	}
}

func TestParseIsFresh(t *testing.T) {
	var used, fresh Session
	full := []byte(webrtcOffer)
	small := []byte("v=0\nm=audio 1 RTP/AVP 0\n")
	for range 2 {
		if err := used.Parse(full); err != nil {
			t.Fatal(err)
		}
	}
	if err := used.Parse(small); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Parse(small); err != nil {
		t.Fatal(err)
	}
	if dump(&used) != dump(&fresh) {
		t.Errorf("a used session shows its past:\n%s\nfresh:\n%s", dump(&used), dump(&fresh))
	}
}

func TestNotSDP(t *testing.T) {
	for _, in := range []string{"", "\r\n\r\n", "hello\nworld", "<xml a=\"1\"/>", "=", "\x00\x01"} {
		var s Session
		if err := s.Parse([]byte(in)); err != ErrNotSDP {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestHold(t *testing.T) {
	for in, hold := range map[string]bool{
		"0.0.0.0": true, "::": true, "192.0.2.1": false, "::1": false, "host.example": false,
	} {
		var s Session
		if err := s.Parse([]byte("c=IN IP4 " + in + "\nm=audio 1 RTP/AVP 0")); err != nil {
			t.Fatal(err)
		}
		if c := s.Media()[0].Conn; (c.OK && c.Addr.IsZero()) != hold {
			t.Errorf("%s: %+v", in, c)
		}
	}
}

func TestParseAddr(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"192.0.2.1", "192.0.2.1"},
		{"010.001.000.255", "10.1.0.255"},
		{"256.0.0.1", ""},
		{"1.2.3", ""},
		{"1.2.3.4.5", ""},
		{"1..2.3", ""},
		{"1.2.3.", ""},
		{"0001.2.3.4", ""},
		{"", ""},
		{"::", "::"},
		{"::1", "::1"},
		{"1::", "1::"},
		{"2001:DB8::8:800:200c:417a", "2001:db8::8:800:200c:417a"},
		{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
		{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:c000:201"},
		{"[2001:db8::1]", "2001:db8::1"},
		{"fe80::1%eth0", "fe80::1"},
		{"1:2:3:4:5:6:7", ""},
		{"1:2:3:4:5:6:7:8:9", ""},
		{"1:2:3:4:5:6:7:8::", ""},
		{"1::2::3", ""},
		{":::", ""},
		{"1:", ""},
		{":1", ""},
		{"12345::", ""},
		{"1:2:3:4:5:6:7:192.0.2.1", ""},
		{"g::", ""},
	} {
		a, ok := parseAddr([]byte(c.in))
		switch {
		case ok != (c.want != ""):
			t.Errorf("%q: ok %v", c.in, ok)
		case ok && a.String() != c.want:
			t.Errorf("%q: %v, want %s", c.in, a, c.want)
		case !ok && a != frame.Addr{}:
			t.Errorf("%q: %v besides an error", c.in, a)
		}
	}
}

// FuzzAddr compares with net/netip, which takes no leading zeros and no brackets.
func FuzzAddr(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "2001:db8::1", "::ffff:1.2.3.4", "1:2:3:4:5:6:7::", "::1:2:3:4:5:6:7", "1::2::3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseAddr([]byte(s))
		want, err := netip.ParseAddr(s)
		if err == nil && !ok {
			t.Fatalf("%q is refused, netip reads %v", s, want)
		}
		if err == nil && got != frame.AddrFrom(want) {
			t.Fatalf("%q is %v, netip reads %v", s, got, want)
		}
		if ok && err != nil && !strings.ContainsAny(s, "[%") && !leadingZero(s) {
			t.Fatalf("%q is taken as %v, netip refuses: %v", s, got, err)
		}
	})
}

func leadingZero(s string) bool {
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '.' || r == ':' }) {
		if len(part) > 1 && part[0] == '0' {
			return true
		}
	}
	return false
}
