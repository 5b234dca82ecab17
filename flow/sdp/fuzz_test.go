package sdp

import (
	"bytes"
	"testing"
)

const webrtcOffer = `v=0
o=- 8064722 2 IN IP4 127.0.0.1
s=-
c=IN IP4 192.0.2.1
t=0 0
a=group:BUNDLE audio
a=sendonly
m=audio 54400 UDP/TLS/RTP/SAVPF 111 0 8 126
a=rtcp:54401 IN IP4 192.0.2.1
a=candidate:1 1 udp 2130706431 203.0.113.141 8998 typ host
a=candidate:2 2 udp 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998
a=ice-ufrag:8hhY
a=ice-pwd:asd88fgpdd777uzjYhagZg
a=fingerprint:sha-256 4A:AD:B9:B1
a=setup:actpass
a=rtcp-mux
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:126 telephone-event/8000
a=maxptime:60
a=ptime:20
m=image 5004 udptl t38
a=T38FaxVersion:0
`

const phoneOffer = "v=0\r\no=- 20518 0 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n" +
	"m=audio 49170 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n" +
	"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"

// within reports whether sub is a part of b, or empty.
func within(b, sub []byte) bool {
	if len(sub) == 0 {
		return true
	}
	if cap(sub) > cap(b) {
		return false
	}
	off := cap(b) - cap(sub) // if sub's capacity reaches to the end of b's
	if off+len(sub) <= len(b) && &b[off] == &sub[0] {
		return true
	}
	for i := range b { // sub has a capacity of its own
		if &b[i] == &sub[0] {
			return i+len(sub) <= len(b)
		}
	}
	return false
}

// slices are all byte slices of s.
func slices(s *Session) [][]byte {
	all := [][]byte{s.Origin.Username, s.Origin.ID, s.Origin.Version, s.Origin.Host, s.Conn.Host}
	media := s.Media()
	for i := range media {
		m := &media[i]
		all = append(all, m.Proto, m.Conn.Host, m.RTCPConn.Host)
		for _, f := range m.Formats() {
			all = append(all, f.Name, f.Fmtp)
		}
		for _, c := range m.Candidates() {
			all = append(all, c.Conn.Host)
		}
		for _, c := range m.Crypto() {
			all = append(all, c.Suite, c.KeyParams)
		}
	}
	return all
}

// check parses b and checks what must hold for any bytes.
func check(t *testing.T, s *Session, b []byte) {
	err := s.Parse(b)
	for _, sub := range slices(s) {
		if !within(b, sub) {
			t.Fatalf("%q is not within the description", sub)
		}
	}
	if len(s.Media()) != min(s.Total, MaxMedia) {
		t.Fatalf("%d media of %d", len(s.Media()), s.Total)
	}
	var fresh Session
	if again := fresh.Parse(bytes.Clone(b)); again != err || dump(&fresh) != dump(s) {
		t.Fatalf("a copy reads otherwise: %v\n%s\nwas: %v\n%s", again, dump(&fresh), err, dump(s))
	}
}

func FuzzSDP(f *testing.F) {
	f.Add([]byte(webrtcOffer))
	f.Add([]byte(phoneOffer))
	f.Add([]byte("m =audio 1/2 RTP/AVP 0 0\na=rtpmap:0 X/1\nc=IN IP6 ::1/3"))
	used := new(Session)
	f.Fuzz(func(t *testing.T, b []byte) { check(t, used, b) })
}

func TestParseAllocs(t *testing.T) {
	var s Session
	for name, in := range map[string]string{"phone": phoneOffer, "webrtc": webrtcOffer, "none": "hello"} {
		b := []byte(in)
		if n := testing.AllocsPerRun(100, func() { _ = s.Parse(b) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, in string }{{"phone", phoneOffer}, {"webrtc", webrtcOffer}} {
		b.Run(c.name, func(b *testing.B) {
			var s Session
			in := []byte(c.in)
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if err := s.Parse(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
