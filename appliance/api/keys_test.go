package api_test

import (
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"ringside/appliance/api"
	"ringside/appliance/auth"
)

func TestHideKeys(t *testing.T) {
	const crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"
	for name, tc := range map[string]struct{ text, want string }{
		"crypto":        {"v=0\r\n" + crypto + "c2Vj+/0=|2^20|1:4\r\na=x", "v=0\r\n" + crypto + "xxxxxxxx|2^20|1:4\r\na=x"},
		"two keys":      {"v=0\n" + crypto + "AAAA;inline:BBBB\n", "v=0\n" + crypto + "xxxx;inline:xxxx\n"},
		"in capitals":   {"v=0\r\nA=CRYPTO:1 X INLINE:AAAA\r\n", "v=0\r\nA=CRYPTO:1 X INLINE:xxxx\r\n"},
		"within a line": {"80 inline:AAAA\r\nm=audio", "80 inline:xxxx\r\nm=audio"},
		"k":             {"v=0\r\nk=base64:AAAA\r\nk=prompt\r\n", "v=0\r\nk=base64:xxxx\r\nk=prompt\r\n"},
		"mikey":         {"v=0\r\na=key-mgmt:mikey AQAFgM0X\r\n", "v=0\r\na=key-mgmt:mikey xxxxxxxx\r\n"},
		"no key":        {"INVITE sip:a@b SIP/2.0\r\nSubject: inline:AAAA\r\n\r\nv=0\r\n", "INVITE sip:a@b SIP/2.0\r\nSubject: inline:AAAA\r\n\r\nv=0\r\n"},
		"nothing":       {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := []byte(tc.text)
			if api.HideKeys(b); string(b) != tc.want {
				t.Errorf("%q, want %q", b, tc.want)
			}
		})
	}
}

// Keys, and RTP beyond its header, are for those who may hear.
func TestMediaNeedsAudio(t *testing.T) {
	const key = "c2VjcmV0IGtleSBvZiBtZWRpYQ"
	w := newWorld(t)
	w.src.key = key
	one := "/api/v1/calls/" + w.answered().ID
	w.src.sip = []api.SIPMessage{{Method: "INVITE", Src: netip.MustParseAddrPort("10.0.0.1:5060"), Dst: netip.MustParseAddrPort("10.0.0.2:5060"),
		Text: "INVITE sip:x SIP/2.0\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "\r\n"}}
	srv := httptest.NewServer(w.http)
	defer srv.Close()
	for _, tc := range []struct {
		user  string
		roles []auth.Role
		hears bool
	}{
		{"anna", []auth.Role{auth.Analyst}, false},
		{"boss", []auth.Role{auth.Admin}, false},
		{"lisa", []auth.Role{auth.Analyst, auth.Listener}, true},
	} {
		t.Run(tc.user, func(t *testing.T) {
			token := w.token(tc.user, auth.Scope{}, tc.roles...)
			for _, path := range []string{one + "/messages", one + "/ladder"} {
				got := w.ask(token, "GET", path).Body.String()
				if shows := strings.Contains(got, key); shows != (tc.hears && strings.HasSuffix(path, "/messages")) {
					t.Errorf("%s shows the key: %v", path, shows)
				}
			}
			if got := w.ask(token, "GET", one+"/messages").Body.String(); !strings.Contains(got, "inline:") {
				t.Errorf("the line itself must stay: %.300s", got)
			}
			for _, path := range []string{one + "/pcap", one + "/pcap?class=rtp&format=pcap", "/api/v1/calls/pcap?limit=2"} {
				if rec := w.ask(token, "GET", path); rec.Code != 200 || w.src.query.HeadersOnly == tc.hears {
					t.Errorf("%s: %d, headers only: %v", path, rec.Code, w.src.query.HeadersOnly)
				}
			}
			l := w.listen(srv, token, "/api/v1/live/sip?q="+url.QueryEscape("text:inline"))
			defer l.close()
			if _, data := l.next(); strings.Contains(data, key) != tc.hears {
				t.Errorf("live: %s", data)
			}
			if tc.hears {
				return
			}
			// Nor may a condition on the text tell it, a letter at a time.
			w.src.mu.Lock()
			w.src.sip = append(w.src.sip[:1:1], api.SIPMessage{Method: "OPTIONS", Src: w.src.sip[0].Src, Dst: w.src.sip[0].Dst, Text: "OPTIONS sip:x SIP/2.0\r\n\r\n" + key[:4]})
			w.src.mu.Unlock()
			guess := w.listen(srv, token, "/api/v1/live/sip?q="+url.QueryEscape("text:"+key[:4]))
			defer guess.close()
			if _, data := guess.next(); !strings.Contains(data, "OPTIONS") {
				t.Errorf("a guess of the key is answered: %s", data)
			}
		})
	}
}

// Why the appliance is not ready names hosts and files: only who has a login is told.
func TestReadyForNobody(t *testing.T) {
	w := newWorld(t)
	w.src.fail = errBroken
	if rec := w.ask("", "GET", "/readyz"); rec.Code != 503 || strings.Contains(rec.Body.String(), "/secret/path") {
		t.Errorf("nobody: %d %s", rec.Code, rec.Body)
	}
	if rec := w.ask(w.token("vic", auth.Scope{}, auth.Viewer), "GET", "/readyz"); rec.Code != 503 || !strings.Contains(rec.Body.String(), "/secret/path") {
		t.Errorf("a viewer: %d %s", rec.Code, rec.Body)
	}
}
