package api

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

const invite = "INVITE sip:bob@example.com SIP/2.0\r\n" +
	"v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n" +
	"Max-Forwards: 70\r\n" +
	"f: <sip:ann@example.com>;tag=1\r\n" +
	"t: <sip:bob@example.com>\r\n" +
	"i: a@b\r\n" +
	"CSeq: 7 INVITE\r\n" +
	"m: <sip:ann@192.0.2.1>\r\n" +
	"Subject: one\r\n two\r\n" +
	"c: application/sdp\r\n" +
	"l: 5\r\n\r\nv=0\r\n"

func TestTree(t *testing.T) {
	tree := treeOf(invite)
	if tree.Start != "INVITE sip:bob@example.com SIP/2.0" || tree.Body != "v=0\r\n" || tree.cseq() != 7 || tree.sdp() != "v=0\r\n" {
		t.Errorf("%+v", tree)
	}
	want := SIPHeader{Name: "Subject", Value: "one two", Line: 9}
	if h, _ := tree.get("subject"); h != want {
		t.Errorf("%+v, want %+v", h, want)
	}
	if h, _ := tree.get("Via"); h.Name != "v" || h.Long != "Via" {
		t.Errorf("%+v", h)
	}
}

func TestLint(t *testing.T) {
	if _, found := lint(invite); len(found) != 0 {
		t.Errorf("a good message: %+v", found)
	}
	for _, tc := range []struct {
		name string
		text string
		want []string // parts of what is said
	}{
		{"not SIP", "GET / HTTP/1.1\r\n\r\n", []string{"neither a request line", "Via is missing", "Call-ID is missing"}},
		{"empty", "", []string{"neither a request line"}},
		{"version", strings.Replace(invite, "SIP/2.0\r\nv", "SIP/3.0\r\nv", 1), []string{"version is not SIP/2.0"}},
		{"lines", strings.ReplaceAll(invite, "\r\n", "\n"), []string{"LF alone"}},
		{"no colon", strings.Replace(invite, "Max-Forwards: 70", "nonsense", 1), []string{"no colon", "Max-Forwards is missing"}},
		{"twice", strings.Replace(invite, "i: a@b", "i: a@b\r\nCall-ID: c", 1), []string{"Call-ID stands more than once"}},
		{"cseq", strings.Replace(invite, "7 INVITE", "4294967296 BYE", 1), []string{"number of CSeq", "CSeq names the method"}},
		{"branch", strings.Replace(invite, "z9hG4bK1", "1", 1), []string{"does not begin with z9hG4bK"}},
		{"tag", strings.Replace(invite, ";tag=1", "", 1), []string{"From has no tag"}},
		{"hops", strings.Replace(invite, "70", "0", 1), []string{"no proxy will send it on"}},
		{"length", strings.Replace(invite, "l: 5", "l: 500", 1), []string{"says 500 bytes, there are 5"}},
		{"contact", strings.Replace(invite, "m: <sip:ann@192.0.2.1>\r\n", "", 1), []string{"needs a Contact"}},
		{"type", strings.Replace(invite, "c: application/sdp\r\n", "", 1), []string{"no Content-Type"}},
		{"control", strings.Replace(invite, "one", "o\x01ne", 1), []string{"control characters"}},
		{"to tag", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: x\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n", []string{"To of a response has no tag"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, found := lint(tc.text)
			for _, w := range tc.want {
				if !slices.ContainsFunc(found, func(l Lint) bool { return strings.Contains(l.Text, w) && l.Line > 0 && l.Severity != "" }) {
					t.Errorf("%q is not said: %+v", w, found)
				}
			}
		})
	}
}

func TestMessagesIn(t *testing.T) {
	bye := "BYE sip:bob@example.com SIP/2.0\r\nVia: x\r\nContent-Length: 0\r\n\r\n"
	for _, tc := range []struct {
		name, text string
		want       int
	}{
		{"one", invite, 1},
		{"two", invite + bye, 2},
		{"ngrep", "U 2026/01/31 15:04:05 192.0.2.1:5060 -> 192.0.2.2:5060\n" + invite + "\n#\nU 2026/01/31 15:04:06 192.0.2.1:5060 -> 192.0.2.2:5060\n" + bye, 2},
		{"written-out ends", strings.ReplaceAll(invite, "\r\n", `\r\n`), 1},
		{"nonsense", "hello", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := messagesIn(tc.text)
			if len(got) != tc.want {
				t.Fatalf("%d messages: %q", len(got), got)
			}
			if tc.name != "nonsense" {
				if tree, found := lint(got[0]); tree.Body != "v=0\r\n" || len(found) != 0 {
					t.Errorf("body %q, %+v", tree.Body, found)
				}
			}
		})
	}
}

func TestDiffSDP(t *testing.T) {
	old := "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n"
	for _, tc := range []struct {
		name, fresh string
		want        []SDPLine
	}{
		{"the same, later", strings.Replace(old, "- 1 1 ", "- 1 2 ", 1), []SDPLine{}},
		{"hold", old + "a=sendonly\r\n", []SDPLine{{"audio", "direction", "sendrecv", "sendonly"}}},
		{"address", strings.Replace(old, "c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.9", 1), []SDPLine{{"audio", "address", "192.0.2.1", "192.0.2.9"}}},
		{"port", strings.Replace(old, "4000", "4002", 1), []SDPLine{{"audio", "port", "4000", "4002"}}},
		{"codecs", strings.Replace(old, "RTP/AVP 0 96", "RTP/AVP 8", 1), []SDPLine{{"audio", "codecs", "PCMU/8000 opus/48000/2", "PCMA/8000"}}},
		{"line", strings.Replace(old, "useinbandfec=1", "useinbandfec=0", 1), []SDPLine{{"audio", "line", "a=fmtp:96 useinbandfec=1", ""}, {"audio", "line", "", "a=fmtp:96 useinbandfec=0"}}},
		{"media comes", old + "m=video 5000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n", []SDPLine{{"video", "media", "", "video H264/90000"}}},
		{"media becomes fax", strings.Replace(old, "m=audio 4000 RTP/AVP 0 96", "m=image 4000 udptl t38", 1), []SDPLine{{"image", "media", "audio PCMU/8000 opus/48000/2", "image t38"}}},
		{"key", old + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\n", []SDPLine{{"audio", "encryption", "", "AES_CM_128_HMAC_SHA1_80"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := diffSDP(old, tc.fresh); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestSuites(t *testing.T) {
	if got := suites("1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\n2 AEAD_AES_256_GCM inline:x"); got != "1 AES_CM_128_HMAC_SHA1_80\n2 AEAD_AES_256_GCM" {
		t.Errorf("%q", got)
	}
}

// What is long on purpose takes no longer than it must: the time of this test is
// that of its slowest input.
func TestLongText(t *testing.T) {
	for name, text := range map[string]string{
		"folds":      "INVITE sip:a@b SIP/2.0\r\nSubject: x\r\n" + strings.Repeat(" y\r\n", parseBytes/4),
		"headers":    "INVITE sip:a@b SIP/2.0\r\n" + strings.Repeat("a:\r\n", parseBytes/4),
		"messages":   strings.Repeat("SIP/2.0 200\n", parseBytes/12),
		"attributes": "m=audio 1 RTP/AVP 0\r\n" + strings.Repeat("a=x\r\n", parseBytes/5),
		"formats":    "m=audio 1 RTP/AVP " + strings.Repeat("0 ", parseBytes/2),
	} {
		t.Run(name, func(t *testing.T) {
			for _, m := range messagesIn(text) {
				lint(m)
			}
			diffSDP(text, text+"a=y\r\n")
		})
	}
}

func FuzzSIPText(f *testing.F) {
	f.Add(invite)
	f.Add("m=audio\r\na=rtpmap:\r\n\r\nSIP/2.0 200 OK\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, m := range messagesIn(s) {
			tree, _ := lint(m)
			diffSDP(tree.Body, s)
		}
	})
}
