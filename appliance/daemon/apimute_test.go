package daemon

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringside/dataplane/frame"
	"ringside/writer/pcap"
)

// datagramOf is an Ethernet frame with a part of a UDP datagram in IPv4.
func datagramOf(id uint16, offset int, more bool, part []byte) []byte {
	b := make([]byte, 14+20, 14+20+len(part))
	b[12] = 8
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(part)))
	binary.BigEndian.PutUint16(ip[4:], id)
	at := uint16(offset / 8)
	if more {
		at |= 0x2000
	}
	binary.BigEndian.PutUint16(ip[6:], at)
	copy(ip[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	return append(b, part...)
}

func udpOf(payload string) []byte {
	b := []byte{0x13, 0xc4, 0x13, 0xc4, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

// What is no signalling loses what is behind its headers, signalling loses keys.
func TestMute(t *testing.T) {
	const head = 14 + 20 + 8
	sip := "INVITE sip:b@example.com SIP/2.0\r\nCall-ID: a\r\n\r\nv=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\n"
	muted := strings.Replace(sip, "c2VjcmV0", "xxxxxxxx", 1)
	fixed := "\x80\x08\x00\x01\x00\x00\x00\xa0\x01\x02\x03\x04"
	extended := "\x91\x08\x00\x01\x00\x00\x00\xa0\x01\x02\x03\x04CSRC\xbe\xde\x00\x01EXT1"
	sound := strings.Repeat("sound", 32)
	split := udpOf(sip)
	for _, tc := range []struct {
		name   string
		frames [][]byte
		want   []string // behind IPv4 and UDP headers
	}{
		{"SIP", [][]byte{datagramOf(1, 0, false, udpOf(sip))}, []string{muted}},
		{"RTP", [][]byte{datagramOf(1, 0, false, udpOf(fixed+sound))}, []string{fixed}},
		{"RTP with more headers", [][]byte{datagramOf(1, 0, false, udpOf(extended+sound))}, []string{extended}},
		{"RTP whose header says more than there is", [][]byte{datagramOf(1, 0, false, udpOf("\x8f"+fixed[1:]+"sound"))}, []string{""}},
		{"RTCP", [][]byte{datagramOf(1, 0, false, udpOf("\x80\xc9\x00\x01\x01\x02\x03\x04"))}, []string{"\x80\xc9\x00\x01\x01\x02\x03\x04"}},
		{"STUN", [][]byte{datagramOf(1, 0, false, udpOf("\x00\x01\x00\x00\x21\x12\xa4\x42transaction0"))}, []string{"\x00\x01\x00\x00\x21\x12\xa4\x42transaction0"}},
		{"fax (T.38)", [][]byte{datagramOf(1, 0, false, udpOf("\x00\x01\x06"+sound))}, []string{""}},
		{"SIP in fragments", [][]byte{datagramOf(7, 0, true, split[:64]), datagramOf(7, 64, false, split[64:])}, []string{muted[:56], muted[56:]}},
		{"RTP in fragments", [][]byte{datagramOf(8, 0, true, udpOf(fixed + sound)[:64]), datagramOf(8, 64, false, udpOf(fixed + sound)[64:])}, []string{fixed, ""}},
		{"a fragment without the first", [][]byte{datagramOf(9, 64, false, split[64:])}, []string{""}},
		{"no IP", [][]byte{append(make([]byte, 14), sound...)}, []string{""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMuter(nil)
			n := 0
			emit := m.before(func(p *pcap.Packet, _ pcap.Interface, _ string) error {
				from := head
				if offset := binary.BigEndian.Uint16(tc.frames[n][20:]) & 0x1fff; offset > 0 {
					from -= 8
				}
				if got := string(p.Data[min(from, len(p.Data)):]); got != tc.want[n] || int(p.Len) != len(tc.frames[n]) {
					t.Errorf("frame %d: %q of %d bytes, want %q of %d", n, got, p.Len, tc.want[n], len(tc.frames[n]))
				}
				n++
				return nil
			})
			for _, f := range tc.frames {
				before := bytes.Clone(f)
				if err := emit(&pcap.Packet{Time: 1e18, Data: f, Len: uint32(len(f))}, pcap.Interface{Link: frame.LinkEthernet}, ""); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(f, before) {
					t.Error("the spool's own bytes were changed")
				}
			}
		})
	}
}

// A capture that somebody loads who may not hear has no RTP beyond its headers, and
// tshark reads those.
func TestPacketsWithoutSound(t *testing.T) {
	dir := t.TempDir()
	o, rings := capturingFile(t, dir)
	s := serving(t, dir, o)
	defer s.stop()
	<-rings.quiet
	eventually(t, "ready", func() bool { return s.Status().Ready })
	boss := s.login()
	body := `{"name":"anna","password":"correct horse battery","roles":["analyst"]}`
	if status, _, b := s.web("POST", "/api/v1/users", boss, body); status != http.StatusCreated {
		t.Fatalf("an analyst: %d %s", status, b)
	}
	_, h, _ := s.web("POST", "/api/v1/session", "", `{"user":"anna","password":"correct horse battery"}`)
	anna, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	var list struct{ Items []struct{ ID string } }
	eventually(t, "calls in the store", func() bool {
		s.get("/api/v1/calls?outcome=answered&min_connected=1s", boss, &list)
		return len(list.Items) > 0
	})
	path := "/api/v1/calls/" + list.Items[len(list.Items)-1].ID + "/pcap?format=pcap&class=rtp"
	for _, tc := range []struct {
		cookie string
		sound  bool
	}{{boss, true}, {anna, false}} {
		status, _, capture := s.web("GET", path, tc.cookie, "")
		if status != http.StatusOK {
			t.Fatalf("packets: %d %.200s", status, capture)
		}
		if rtp, sound := soundIn(capture); rtp == 0 || sound != tc.sound {
			t.Errorf("%d packets of RTP, their sound is there: %v, want %v", rtp, sound, tc.sound)
		}
	}
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not there (apt-get install tshark)")
	}
	file := filepath.Join(dir, "anna.pcapng")
	_, _, capture := s.web("GET", strings.Split(path, "?")[0], anna, "")
	if err := os.WriteFile(file, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tshark", "-r", file, "-Y", "rtp", "-T", "fields", "-e", "rtp.ssrc", "-e", "rtp.seq", "-e", "rtp.payload").CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	headers := 0
	for _, l := range lines {
		f := strings.Fields(l)
		if len(f) < 2 || !strings.HasPrefix(f[0], "0x") {
			continue // it warns of root
		}
		if headers++; len(f) > 2 && f[2] != "<MISSING>" {
			t.Fatalf("tshark reads %q", l)
		}
	}
	if err != nil || headers < 20 {
		t.Fatalf("tshark reads %d headers: %v, %.500s", headers, err, out)
	}
}

// soundIn counts the packets of a capture that are RTP by their first octets, and
// says whether any has something behind a header without extensions.
func soundIn(capture []byte) (packets int, sound bool) {
	const fileHeader, recordHeader = 24, 16
	for rest := capture[fileHeader:]; len(rest) > 0; {
		n := binary.LittleEndian.Uint32(rest[8:])
		data := rest[recordHeader : recordHeader+n]
		rest = rest[recordHeader+n:]
		udp := 14 + 20 + 8
		if data[12] == 0x86 {
			udp += 20
		}
		if len(data) < udp+12 || data[udp] != 0x80 || data[udp+1]>>5 == 6 {
			continue
		}
		packets++
		sound = sound || len(data) > udp+12
	}
	return packets, sound
}
