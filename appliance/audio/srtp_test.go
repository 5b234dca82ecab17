package audio

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/pion/srtp/v3"

	"ringside/flow/record"
)

// sealer encrypts as a sender with this key does.
func sealer(t *testing.T, name, params string) func([]byte) []byte {
	t.Helper()
	keys, err := parseKeys(name, params)
	if err != nil {
		t.Fatal(err)
	}
	k := keys[0]
	var options []srtp.ContextOption
	if len(k.mki) > 0 {
		options = append(options, srtp.MasterKeyIndicator(k.mki))
	}
	c, err := srtp.CreateContext(k.key, k.salt, k.profile, options...)
	if err != nil {
		t.Fatal(err)
	}
	return func(b []byte) []byte {
		out, err := c.EncryptRTP(nil, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func inline(n, seed int) string {
	return "inline:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(seed), byte(7 * seed)}, n)[:n])
}

// Each suite, with the keys among others, of both sides, and a sequence that wraps.
func TestSRTP(t *testing.T) {
	for name, s := range suites {
		t.Run(name, func(t *testing.T) {
			n := s.key + s.salt
			tape := &tape{}
			a, b := tape.sender(alice, bob, 1), tape.sender(bob, alice, 2)
			a.seal = sealer(t, name, inline(n, 3))
			b.seal = sealer(t, name, inline(n, 4)+"|2^31|1:4")
			a.tone(100, 400) // from 65500 on
			b.tone(100, 1000)
			r := open(t, Call{Packets: tape.source, Media: []record.Media{
				{
					Side: record.SideCaller, Addr: alice, SRTP: true,
					Crypto: "1 AES_CM_128_HMAC_SHA1_80 " + inline(30, 9) + "\n2 " + name + " " + inline(n, 3),
				},
				{Side: record.SideCalled, Addr: bob, SRTP: true, Crypto: "2 " + name + " " + inline(n, 4) + "|2^31|1:4"},
			}})
			for _, x := range r.Streams {
				if !x.Playable || !x.Encrypted || x.Why != "" {
					t.Errorf("described as %+v", x)
				}
			}
			w := render(t, r, Options{})
			spans(t, "caller", loud(w.left, w.rate), [][2]int{{0, 2000}})
			spans(t, "called", loud(w.right, w.rate), [][2]int{{0, 2000}})
			for i, c := range tone(400, 0, 160) {
				if w.left[i] != mulaw[c] {
					t.Fatalf("sample %d is %v, sent was %v", i, w.left[i], mulaw[c])
				}
			}
		})
	}
}

func TestSRTPCapturedLate(t *testing.T) {
	const suite = "AES_CM_128_HMAC_SHA1_32"
	for name, roc := range map[string]int{"after one wrap": 1, "after three": 3} {
		t.Run(name, func(t *testing.T) {
			s := &tape{}
			a := s.sender(alice, bob, 1)
			a.seal = sealer(t, suite, inline(30, 3))
			for range roc {
				for _, seq := range []uint16{0, 20000, 40000, 60000} {
					a.seal(rtpPacket(0, seq, 0, 1, make([]byte, 160)))
				}
			}
			a.seq = 100
			a.tone(50, 400)
			r := open(t, Call{Packets: s.source, Media: []record.Media{
				{Side: record.SideCalled, Addr: bob, SRTP: true},
				{Side: record.SideCaller, Addr: alice, SRTP: true, Crypto: "1 " + suite + " " + inline(30, 3)},
			}})
			w := render(t, r, Options{})
			spans(t, "caller", loud(w.left, w.rate), [][2]int{{0, 1000}})
		})
	}
}

// Keys that change in mid-call, as by a re-INVITE whose SDP is among the packets.
func TestSRTPNewKey(t *testing.T) {
	const suite = "AEAD_AES_128_GCM"
	body := func(key string) []byte {
		return []byte("INVITE sip:b SIP/2.0\r\n\r\nv=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 " + suite + " " + key + "\r\n")
	}
	s := &tape{}
	a := s.sender(alice, bob, 1)
	for i := range 2 {
		key := inline(28, 3+i)
		s.packets = append(s.packets, Packet{Time: a.at - 1, Src: alice, Dst: bob, Data: body(key), Len: len(body(key))})
		a.seal = sealer(t, suite, key)
		a.tone(50, 400)
	}
	r := open(t, Call{Packets: s.source})
	w := render(t, r, Options{})
	spans(t, "caller", loud(w.left, w.rate), [][2]int{{0, 2000}})
}

func TestSRTPWrongKey(t *testing.T) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	s := &tape{}
	a := s.sender(alice, bob, 1)
	a.seal = sealer(t, suite, inline(30, 3))
	a.tone(100, 400)
	r := open(t, Call{Packets: s.source, Media: []record.Media{
		{Side: record.SideCaller, Addr: alice, SRTP: true, Crypto: "1 " + suite + " " + inline(30, 4)},
	}})
	if r.Playable || !strings.Contains(r.Why, "no key of the signalling fits") {
		t.Errorf("playable %v, since %q", r.Playable, r.Why)
	}
}

func TestParseKeys(t *testing.T) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	for _, c := range []struct {
		params string
		keys   int
		mki    []byte
	}{
		{inline(30, 1), 1, nil},
		{inline(30, 1) + "|2^20", 1, nil},
		{inline(30, 1) + "|2^20|1:4", 1, []byte{0, 0, 0, 1}},
		{inline(30, 1) + "|258:2", 1, []byte{1, 2}},
		{inline(30, 1) + "|2^20|1:1;" + inline(30, 2) + "|2^20|2:1", 2, []byte{1}},
		{"inline:" + strings.Repeat("A", 40) + "==", 1, nil},
		{inline(29, 1), 0, nil},
		{"inline:!", 0, nil},
		{"prompt:x", 0, nil},
		{inline(30, 1) + "|1:0", 0, nil},
		{inline(30, 1) + "|1:999", 0, nil},
		{"", 0, nil},
	} {
		got, err := parseKeys(suite, c.params)
		if len(got) != c.keys && (err == nil || c.keys > 0) || (err != nil) != (c.keys == 0) {
			t.Errorf("%q: %d keys, %v", c.params, len(got), err)
			continue
		}
		if c.keys > 0 && !bytes.Equal(got[0].mki, c.mki) {
			t.Errorf("%q: identifier % x, want % x", c.params, got[0].mki, c.mki)
		}
	}
	if _, err := parseKeys("NULL", inline(30, 1)); err == nil || !strings.Contains(fmt.Sprint(err), "NULL") {
		t.Errorf("an unknown suite: %v", err)
	}
}
