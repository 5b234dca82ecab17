package sdp

import (
	"bytes"
	"strings"
	"testing"

	"ringside/bench/corpus"
)

// expect checks what came of in by a plain rule: every m= line is a media
// description, and all lines can be read but extra ones, and "m=audio 492170",
// which an early torture draft has and others have copied: it exceeds a port.
func expect(t *testing.T, what string, s *Session, in []byte, extra int) {
	t.Helper()
	media, bad := 0, extra
	for line := range bytes.Lines(in) {
		if bytes.HasPrefix(line, []byte("m=")) || bytes.HasPrefix(line, []byte("m =")) { // as RFC 4475, dblreq
			media++
		}
		if bytes.HasPrefix(line, []byte("m=audio 492170 ")) {
			bad++
		}
	}
	if s.Total != media || s.Bad != bad {
		t.Errorf("%s: %d media and %d bad lines, want %d and %d:\n%s", what, s.Total, s.Bad, media, bad, dump(s))
	}
}

func TestOsip(t *testing.T) {
	var s Session
	corpus.EachTorture(t, "osip-res/sdp*", func(t *testing.T, name string, b []byte) {
		check(t, &s, b)
		expect(t, name, &s, b, 0)
	})
	b := corpus.Torture(t, "osip-res", "torture_sdps")
	total := 0
	for part := range strings.SplitSeq(string(b), "\n|") {
		if part = strings.TrimLeft(part, "#\n"); part == "" {
			continue
		}
		if part[0] != 'v' {
			_, part, _ = strings.Cut(part, "\n") // what it is about
		}
		check(t, &s, []byte(part))
		expect(t, part, &s, []byte(part), 0)
		total++
	}
	if total < 10 {
		t.Errorf("%d descriptions in torture_sdps", total)
	}
}

// The corpus of a fuzzer for WebRTC: no more is asked than that nothing is read
// that is not there; and that the real offers in it are read whole.
func TestJanus(t *testing.T) {
	var s Session
	for _, set := range []string{"sdp_fuzzer*", "rt*"} {
		corpus.EachTorture(t, "janus-rtcp-rtp-sdp/"+set, func(t *testing.T, _ string, b []byte) { check(t, &s, b) })
	}
	for _, set := range []string{"unittest", "firefox", "opera"} {
		corpus.EachTorture(t, "janus-rtcp-rtp-sdp/sdp_fuzzer__2webrtc__"+set+"*", func(t *testing.T, name string, b []byte) {
			check(t, &s, b)
			expect(t, name, &s, b, 0)
		})
	}
}

// The bodies of the SIP sets. RFC 4475 says of none that its SDP is bad.
func TestBodies(t *testing.T) {
	var s Session
	total := 0
	for _, set := range []string{
		"rfc4475-ersip/*", "resiprocate/*", "sipgo-torture/*", "siprust-fixtures/*", "php-sip-protos/*.dat",
		"protos-c07-sip-r2-capture/*", "osip-res/sip*", "zeek-fuzz/sip-corpus/*",
	} {
		corpus.EachTorture(t, set, func(t *testing.T, name string, b []byte) {
			for {
				i := bytes.Index(b, []byte("\nv=0"))
				if i < 0 {
					return
				}
				b = b[i+1:]
				body := b
				if end := bytes.Index(b, []byte("\n\r\n")); end >= 0 {
					body = b[:end]
				} else if end := bytes.Index(b, []byte("\x01PKT")); end >= 0 {
					body = b[:end]
				}
				check(t, &s, body)
				expect(t, name, &s, body, oddBodies[name])
				total++
				b = b[len(body):]
			}
		})
	}
	if total < 100 {
		t.Errorf("%d bodies", total)
	}
}

// oddBodies are the bad lines in bodies of the SIP sets, by file.
var oddBodies = map[string]int{
	"test.dat":                    1, // testing=123
	"invalid__test.dat":           1,
	"fixtures__rfc4475__test.dat": 1,
	"sip-malformed9":              2, // lines of the multipart body behind it
	"sip2":                        2,
	"sip63":                       2, // junk behind the end of the body, on purpose
}
