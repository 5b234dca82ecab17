package replay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringside/bench/traffic"
)

// rewritten is what the pass of a loop sends.
func rewritten(frames []Frame, loop uint64) []Frame {
	s := packetSender{o: &Options{Rewrite: true}, out: &batch{}}
	l := load{pass: uint64(len(frames))}
	for i := range frames {
		l.frames, l.places = append(l.frames, &frames[i]), append(l.places, i)
	}
	s.prepare(&l)
	out := make([]Frame, len(frames))
	for i := range s.shots {
		out[i] = Frame{frames[i].Time, bytes.Clone(s.frame(&s.shots[i], loop))}
	}
	return out
}

func TestTurn(t *testing.T) {
	const token = "Ab9-z_0.Q7xk3"
	seen := map[string]bool{}
	for loop := range uint64(10000) {
		b := []byte(token)
		turn(b, loop)
		if loop == 0 && string(b) != token {
			t.Errorf("the first pass has %s", b)
		}
		if seen[string(b)] {
			t.Fatalf("%s of pass %d was there before", b, loop)
		}
		seen[string(b)] = true
		for i := range b {
			if class(b[i]) != class(token[i]) {
				t.Fatalf("pass %d: %s is of another kind than %s", loop, b, token)
			}
		}
	}
	// Tokens of one pass stay different, also if they differ little.
	clear(seen)
	for i := range 10000 {
		b := fmt.Appendf(nil, "id%04d", i)
		turn(b, 77)
		if seen[string(b)] {
			t.Fatalf("two tokens have become %s", b)
		}
		seen[string(b)] = true
	}
}

// class is what kind of character c is; each character that is no letter and no digit is its own.
func class(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return '0'
	case c >= 'a' && c <= 'z':
		return 'a'
	case c >= 'A' && c <= 'Z':
		return 'A'
	}
	return c
}

func TestMoveAddress(t *testing.T) {
	seen := map[[4]byte]bool{}
	for loop := range uint64(1000) {
		a := [4]byte{10, 0, 9, 5}
		before := len(fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3]))
		moveAddress(&a, loop)
		text := fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])
		w := make([]byte, before)
		printQuad(w, a)
		var back [4]byte
		if len(text) != before || string(w) != text || !parseQuad(w, &back) || back != a || a[0] != 10 {
			t.Fatalf("pass %d: %s, printed as %s, read as %v", loop, text, w, back)
		}
		if seen[a] {
			t.Fatalf("pass %d: %s was there before", loop, text)
		}
		seen[a] = true
	}
	// Different addresses stay different.
	clear(seen)
	for i := range 1 << 16 {
		a := [4]byte{192, byte(i >> 8), byte(i), 77}
		moveAddress(&a, 123456)
		if seen[a] {
			t.Fatalf("two addresses have become %v", a)
		}
		seen[a] = true
	}
	for _, a := range [][4]byte{{0, 0, 0, 0}, {127, 0, 0, 1}, {224, 0, 1, 75}, {255, 255, 255, 255}} {
		b := a
		if moveAddress(&b, 5); b != a {
			t.Errorf("%v has become %v", a, b)
		}
	}
}

func TestTextEdits(t *testing.T) {
	const message = "SIP/2.0 200 OK\r\n" +
		"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKabc1;received=10.0.0.9\r\n" +
		"f: <sip:10.0.0.1>;tag=x-1\r\n" +
		"i: call-8@10.0.0.1\r\n" +
		"Replaces: other9@h;to-tag=7;from-tag=8\r\n" +
		"X-Version: 1.2.3 01.2.3.4 v1.2.3.4 300.1.1.1\r\n\r\n" +
		"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\nc=IN IP4 0.0.0.0\r\n"
	turned := func(s string) string {
		b := []byte(s)
		turn(b, 1)
		return string(b)
	}
	want := "SIP/2.0 200 OK\r\n" +
		"Via: SIP/2.0/UDP 10.1.0.1:5060;branch=z9hG4bK" + turned("abc1") + ";received=10.1.0.9\r\n" +
		"f: <sip:10.1.0.1>;tag=" + turned("x-1") + "\r\n" +
		"i: " + turned("call-8") + "@10.1.0.1\r\n" +
		"Replaces: " + turned("other9") + "@h;to-tag=" + turned("7") + ";from-tag=" + turned("8") + "\r\n" +
		"X-Version: 1.2.3 01.2.3.4 v1.2.3.4 300.1.1.1\r\n\r\n" +
		"v=0\r\no=- 1 1 IN IP4 10.1.0.1\r\nc=IN IP4 0.0.0.0\r\n"
	in := []Frame{{Data: datagram(5060, 5060, []byte(message))}}
	out := rewritten(in, 1)[0].Data
	if got := string(out[42:]); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	if a := out[26:34]; !bytes.Equal(a, []byte{100, 65, 0, 0, 198, 19, 0, 2}) {
		t.Errorf("addresses are %v", a)
	}
	if err := verify(out); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(rewritten(in, 0)[0].Data, in[0].Data) {
		t.Error("the first pass is not what is in the file")
	}
}

// A pass has the SSRCs of its own in RTP and in all of RTCP.
func TestMediaEdits(t *testing.T) {
	be := binary.BigEndian
	ssrc := []byte{0xca, 0xfe, 0xf0, 0x0d}
	rtcp := func(count, kind byte, body ...any) []byte {
		b := []byte{0x80 | count, kind, 0, 0}
		for _, x := range body {
			switch x := x.(type) {
			case int:
				b = append(b, make([]byte, x)...)
			case []byte:
				b = append(b, x...)
			}
		}
		be.PutUint16(b[2:], uint16(len(b)/4-1))
		return b
	}
	compound := bytes.Join([][]byte{
		rtcp(2, 200, ssrc, 20, ssrc, 20, ssrc, 20),
		rtcp(1, 201, ssrc, ssrc, 20),
		rtcp(1, 202, ssrc, 4),
		rtcp(0, 207, ssrc, []byte{4, 0, 0, 2}, 8, []byte{7, 0, 0, 8}, ssrc, 28),
		rtcp(2, 203, ssrc, ssrc),
	}, nil)
	rtp := append([]byte{0x80, 0, 0, 1, 0, 0, 0, 2}, append(ssrc, 1, 2, 3)...)
	next := be.AppendUint32(nil, be.Uint32(ssrc)+0xdaa66d13)
	for name, p := range map[string][]byte{"rtp": rtp, "rtcp": compound} {
		out := rewritten([]Frame{{Data: datagram(20000, 20001, p)}}, 3)[0].Data
		if want := bytes.ReplaceAll(p, ssrc, next); !bytes.Equal(out[42:], want) {
			t.Errorf("%s: got\n%x, want\n%x", name, out[42:], want)
		}
		if err := verify(out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// tshark finds all checksums of several passes right, and in each pass as many
// calls and streams as in the first, none of them twice.
func TestRewriteTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("no tshark (Debian: apt-get install tshark)")
	}
	o := mixed(12)
	o.Large, o.IPv6 = 0, 0
	frames := generated(t, o)
	path := filepath.Join(t.TempDir(), "pass.pcap")
	seen, sizes := map[string]bool{}, map[string]int{}
	for _, loop := range []uint64{0, 1, 37} {
		passed := rewritten(frames, loop)
		for i, f := range passed {
			if err := verify(f.Data); err != nil {
				t.Fatalf("pass %d, frame %d: %v", loop, i, err)
			}
		}
		writePcap(t, path, passed)
		found, good := tshark(t, path), 0
		for _, field := range []string{"ip", "udp", "tcp", "sctp"} {
			status := found[field+".checksum.status"]
			if status["0"] > 0 { // PROTO_CHECKSUM_E_BAD
				t.Errorf("pass %d: tshark says that %d checksums of %s are wrong", loop, status["0"], field)
			}
			if good += status["1"]; status["1"] == 0 {
				t.Errorf("pass %d: tshark found no right checksum of %s", loop, field)
			}
		}
		if good < len(frames)*3/2 {
			t.Errorf("pass %d: tshark found %d checksums right, in %d frames", loop, good, len(frames))
		}
		for _, field := range []string{"sip.Call-ID", "rtp.ssrc"} {
			for id := range found[field] {
				if seen[id] {
					t.Errorf("%s %s of pass %d was in a pass before", field, id, loop)
				}
				seen[id] = true
			}
			if loop == 0 {
				sizes[field] = len(found[field])
			}
			if n := len(found[field]); n != sizes[field] || n < 12 {
				t.Errorf("pass %d has %d different %s, the first pass %d", loop, n, field, sizes[field])
			}
		}
		// Media goes where the SDP of its own pass says.
		for dst := range found["ip.dst of rtp"] {
			if found["sdp.connection_info.address"][dst] == 0 {
				t.Errorf("pass %d: media to %s, which no SDP names", loop, dst)
			}
		}
	}
}

// tshark counts the values of some fields.
func tshark(t *testing.T, path string) map[string]map[string]int {
	t.Helper()
	fields := []string{"ip.checksum.status", "udp.checksum.status", "tcp.checksum.status", "sctp.checksum.status",
		"sip.Call-ID", "sdp.connection_info.address", "rtp.ssrc", "ip.dst"}
	args := []string{"-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
		"-o", "tcp.check_checksum:TRUE", "-o", "sctp.checksum:CRC 32c", "-o", "rtp.heuristic_rtp:TRUE", "-T", "fields", "-E", "occurrence=f"}
	found := map[string]map[string]int{"ip.dst of rtp": {}}
	for _, f := range fields {
		args = append(args, "-e", f)
		found[f] = map[string]int{}
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		values := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(values) != len(fields) {
			t.Fatalf("tshark says %q", line)
		}
		for i, v := range values {
			if v != "" {
				found[fields[i]][v]++
			}
		}
		if values[6] != "" {
			found["ip.dst of rtp"][values[7]]++
		}
	}
	return found
}

// writePcap writes frames as a capture file.
func writePcap(t *testing.T, path string, frames []Frame) {
	t.Helper()
	le := binary.LittleEndian
	file := le.AppendUint32(nil, 0xa1b23c4d)
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 1, 0, 0, 0)
	for _, f := range frames {
		for _, v := range []int64{f.Time / 1e9, f.Time % 1e9, int64(len(f.Data)), int64(len(f.Data))} {
			file = le.AppendUint32(file, uint32(v))
		}
		file = append(file, f.Data...)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Preparing a frame to be sent costs no memory.
func TestRewriteAllocates(t *testing.T) {
	frames := generated(t, traffic.Options{Calls: 1})
	s := packetSender{o: &Options{Rewrite: true}, out: &batch{}}
	l := load{pass: uint64(len(frames))}
	for i := range frames {
		l.frames, l.places = append(l.frames, &frames[i]), append(l.places, i)
	}
	s.prepare(&l)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		s.frame(&s.shots[i%len(s.shots)], 1)
		i++
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
