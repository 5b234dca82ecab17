package filter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ringside/bench/corpus"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
)

// sample is a frame of the corpus with the packet it yields.
type sample struct {
	frame  frame.Frame
	packet frame.Packet
	tunnel *frame.Tunnel
}

// plain reports whether tcpdump sees the same headers as the decoder: it judges
// neither what is in tunnels nor what stands behind tags.
func (s *sample) plain() bool {
	ether := binary.BigEndian.Uint16(s.frame.Data[12:])
	return s.tunnel == nil && s.packet.Flags&frame.FlagVLAN == 0 && (ether == 0x0800 || ether == 0x86dd)
}

// readSamples reads the Ethernet frames of the corpus that yield a packet, up to
// limit of each file.
func readSamples(t testing.TB, limit int) []sample {
	t.Helper()
	var out []sample
	for _, dir := range []string{"captures", "encap"} {
		err := filepath.WalkDir(filepath.Join(corpus.Dir(t), dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, ".tsv") || strings.HasSuffix(path, ".txt") {
				return err
			}
			out = append(out, fileSamples(t, path, limit)...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func fileSamples(t testing.TB, path string, limit int) []sample {
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []sample
	var d decode.Decoder
	for len(out) < limit {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		d.Decode(b)
		at := 0
		for _, p := range b.Packets {
			for b.Frames[at].Seq != p.Seq {
				at++
			}
			f := b.Frames[at]
			if f.Link != frame.LinkEthernet {
				continue
			}
			s := sample{frame: f, packet: p}
			s.frame.Data, s.packet.Payload = bytes.Clone(f.Data), bytes.Clone(p.Payload)
			if p.Tunnel > 0 {
				tunnel := b.Tunnels[p.Tunnel-1]
				s.tunnel = &tunnel
			}
			out = append(out, s)
		}
		b.Release()
	}
	return out[:min(len(out), limit)]
}

// writePcap writes frames as a classic capture file of Ethernet.
func writePcap(t *testing.T, samples []sample) string {
	t.Helper()
	var out []byte
	le := binary.LittleEndian
	out = le.AppendUint32(out, 0xa1b2c3d4)
	out = append(out, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	out = le.AppendUint32(le.AppendUint32(out, 1<<18), 1)
	for i := range samples {
		f := &samples[i].frame
		// The time numbers the frame.
		out = le.AppendUint32(le.AppendUint32(out, uint32(i)), 0)
		out = le.AppendUint32(le.AppendUint32(out, uint32(len(f.Data))), max(f.Len, uint32(len(f.Data))))
		out = append(out, f.Data...)
	}
	path := filepath.Join(t.TempDir(), "samples.pcap")
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tcpdump is the numbers of the frames that tcpdump chooses, or its complaint.
func tcpdump(t *testing.T, path, expression string) (map[int]bool, string) {
	t.Helper()
	c := exec.Command("tcpdump", "-Z", "root", "-r", path, "-w", "-", "--", expression)
	if os.Getuid() != 0 {
		c = exec.Command("tcpdump", "-r", path, "-w", "-", "--", expression)
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if strings.Contains(stderr.String(), "rejects all packets") {
		return nil, ""
	}
	if err != nil {
		return nil, stderr.String()
	}
	chosen := map[int]bool{}
	for out = out[24:]; len(out) > 0; {
		chosen[int(binary.LittleEndian.Uint32(out))] = true
		out = out[16+binary.LittleEndian.Uint32(out[8:]):]
	}
	return chosen, ""
}

// expressions that both programs must understand alike. Addresses and ports are
// such as the corpus has.
var expressions = strings.Split(strings.TrimSpace(`

udp
tcp
sctp
ip
ip6
not udp
not ip6
!tcp
icmp
icmp6
arp
rarp
igmp
ip and udp
ip6 and udp
ip or ip6
tcp or udp
tcp or udp and ip6
(tcp or udp) and ip6
not (tcp or ip6)
not tcp and not ip6
udp && ip || tcp
port 5060
port sip
port domain
port http
port 0x13c4
port 011704
port 5060 or 5061
port 5060 or 5061 or 5080
port (5060 or 5061)
port 5060 or port 5061 and tcp
not port 5060
not port 5060 or 5061
port not 5060
port ! 5060
src port 5060
dst port 5060
src or dst port 5060
dst or src port 5060
src and dst port 5060
dst and src port 5060
src port 5060 or 5061
src port 5060 and dst port 5060
udp port 5060
tcp port 5060
sctp port 5060
tcp port 5060 or 5061
udp src port 5060
tcp dst port 5060
udp src and dst port 5060
portrange 5060-5061
portrange 5061-5060
portrange sip-6000
portrange 10000-20000
portrange 5060
src portrange 10000-65535
dst portrange 1024-65535
udp portrange 10000-20000
not portrange 1-1023
port 5060 or portrange 16384-32767
host 10.0.0.1
host 127.0.0.1
src host 127.0.0.1
src 127.0.0.1
dst 127.0.0.1
src and dst 127.0.0.1
src or dst host 127.0.0.1
host 127.0.0.1 or 10.0.0.1
host (127.0.0.1 or 10.0.0.1)
host 192.168.1
host 10
not host 127.0.0.1
host 127.0.0.1 and not port 5060
host 127.0.0.1 and port 5060 or 5062
ip host 127.0.0.1
arp host 127.0.0.1
net 10
net 10.0.0.0/8
net 192.168
net 192.168.0.0/16
net 192.168.0.0
net 172.16.0.0/12
net 10.0.0.0 mask 255.0.0.0
src net 10.0.0.0/8
dst net 10.0.0.0/8
src and dst net 10.0.0.0/8
src net 10 and dst net 192.168
net 10 or 192.168
ip net 10
net 0.0.0.0/0
not net 10.0.0.0/8
not (net 10.0.0.0/8 or net 192.168.0.0/16 or net 172.16.0.0/12)
net 224.0.0.0/4
ip multicast
ip6 multicast
ether multicast
ether broadcast
multicast
broadcast
not multicast
host ::1
host 2001:db8::1
ip6 host ::1
src host ::1
net 2001:db8::/32
net fe80::/10
src net fe80::/10
net 2001::/16 and udp
ip6 net ::/0
net fd00::/8 or fe80::/10
net 2000::/3 and not port 53
ip proto 17
ip proto \udp
ip proto 6
ip6 proto 17
proto 17
proto \tcp
proto 132
ip proto 17 or 6
ip proto \icmp
not ip proto 17
ether proto 0x0800
ether proto \ip
ether proto \ip6
ether proto 0x86dd
ether proto \arp
less 100
greater 100
greater 200 and less 300
len > 500
len <= 500
len = 214
len != 214
not less 300
len - 14 > 200
udp[0:2] = 5060
udp[2:2] = 5060
udp[2:2] >= 10000 and udp[2:2] < 20000
udp[4:2] > 180
udp[8:4] = 0x494e5649
udp[8:4] = 0x5349502f
udp[8] = 0x80
udp[8] & 0xc0 = 0x80
udp[8] & 0xc0 == 0x80 and udp[9] & 0x7f < 35
udp[8] & 0xc0 = 0x80 and not udp[9] & 0x7f = 0
udp[100] = 0
not udp[100] = 0
udp[100] = 0 or tcp
tcp or udp[100] = 0
udp[0] | 1 & 3 = 3
udp[0] & 1 | 3 = 3
udp[0] ^ 1 & 2 = 2
udp[0:2] % 2 = 0
udp[0:2] / 10 = 506
udp[0:2] + 1 = udp[2:2]
udp[0:2] - 1 = udp[2:2]
udp[0:2] - 1 - 1 > 65533
udp[0] << 8 + 1 = 5
udp[0] << 8 | udp[1] = 5060
(udp[0] << 8) + udp[1] = 5060
udp[0:2] >> 4 = 316
udp[0:2] = udp[2:2]
(udp[0:2]) = 5060 or ((tcp[0:2]) = 5060)
-1 < udp[0]
-udp[0] > 5
2 * 3 = 6
1 = 2
udp[0] ^ 1 | 1 = 1
udp[0] ^ 1 | 1 = 7
udp[0] | 3 ^ 1 = 19
udp[0] | 3 ^ 1 = 18
udp[1] + 7 % 4 = 5
udp[1] % 5 * 2 = 4
-udp[1] % 7 > 5
udp[1] % 11 % 7 = 3
udp[1] & 12 ^ 5 << 1 = 6
1 + 1 = 2 and udp
ip[8] = 64
ip[8] < 65
ip[9] = 17
ip[12:4] = 0x7f000001
ip[12] = 10 or ip[16] = 10
ip[4:2] = 0
ip[4:2] & 1 = 1
ip[1] & 0xfc = 0xb8
ip[1] & 0xfc != 0
ip[0] >> 4 = 4
ip6[7] = 64
ip6[6] = 17
ip6[8:4] = 0x20010db8
ip6[0] >> 4 = 6
tcp[0:2] = 5060
tcp[tcpflags] & tcp-syn != 0
tcp[tcpflags] & (tcp-syn|tcp-fin) != 0
tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn
tcp[13] & 0x3f = 0x18
tcp[4:4] > 0x7fffffff
tcp[8:4] != 0
tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x53495020
tcp[((tcp[12] & 0xf0) >> 2):4] = 0x494e5649
sctp[0:2] = 5060
sctp[12] = 0
not sctp[12] = 0
(udp or tcp) and (port 5060 or port 5061) and (net 10 or net 192.168)
udp and not port 53 and (portrange 1024-65535 or host 10.0.0.1)
ip host 192.168.1.2 or ip6 host ::1 or tcp
((((port 5060))))
not not not udp
not (not port 5060 and not port 5061)
`), "\n")

// ours is the numbers of the samples that match.
func ours(f *Filter, samples []sample) map[int]bool {
	chosen := map[int]bool{}
	for i := range samples {
		s := &samples[i]
		if f.match(&s.packet, s.tunnel, &s.frame) {
			chosen[i] = true
		}
	}
	return chosen
}

// reasons why ringside answers otherwise than tcpdump, on purpose. Each must be
// met in the corpus.
var reasons = []struct {
	why string
	is  func(e string, s *sample) bool
}{
	{"the decoder reads over extension headers and AH to the transport; tcpdump does not", func(_ string, s *sample) bool {
		if s.packet.Src.Addr.Is4() {
			return s.frame.Data[23] != s.packet.Proto
		}
		return s.frame.Data[20] != s.packet.Proto
	}},
	{"bytes of transports are read behind IPv6, too; tcpdump reads them behind IPv4 only", func(e string, s *sample) bool {
		return !s.packet.Src.Addr.Is4() && (strings.Contains(e, "udp[") || strings.Contains(e, "tcp[") || strings.Contains(e, "sctp["))
	}},
	{"bytes are those of the datagram; tcpdump reads on in the padding, or what else is in the frame", func(e string, s *sample) bool {
		return strings.Contains(e, "[") && s.packet.Src.Addr.Is4() &&
			len(s.frame.Data) > 14+int(s.frame.Data[14]&15)*4+8+len(s.packet.Payload) && s.packet.Proto != frame.ProtoTCP
	}},
}

func TestTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skipf("no tcpdump to compare with: %v", err)
	}
	var samples []sample
	for _, s := range readSamples(t, 400) {
		if s.plain() {
			samples = append(samples, s)
		}
	}
	path := writePcap(t, samples)
	random := rand.New(rand.NewPCG(1, 2))
	list := expressions
	for range 60 {
		list = append(list, randomExpression(random, samples, 3))
	}
	some, met := 0, make([]int, len(reasons))
	for _, e := range list {
		theirs, complaint := tcpdump(t, path, e)
		f, err := Parse(e)
		if complaint != "" || err != nil {
			t.Errorf("%q: tcpdump says %q, ringside %v", e, complaint, err)
			continue
		}
		mine := ours(f, samples)
		if len(mine) > 0 && len(mine) < len(samples) {
			some++
		}
		wrong := 0
		for i := range samples {
			if mine[i] == theirs[i] {
				continue
			}
			s, known := &samples[i], false
			for r := range reasons {
				if reasons[r].is(e, s) {
					met[r]++
					known = true
					break
				}
			}
			if known {
				continue
			}
			if wrong++; wrong < 4 {
				t.Errorf("%q: ringside %v, tcpdump %v for %v > %v protocol %d, %d bytes, flags %#x", e, mine[i], theirs[i],
					s.packet.Src, s.packet.Dst, s.packet.Proto, s.frame.Len, s.packet.Flags)
			}
		}
	}
	for r := range reasons {
		t.Logf("%d answers: %s", met[r], reasons[r].why)
		if met[r] == 0 {
			t.Errorf("no answer differs because %s", reasons[r].why)
		}
	}
	t.Logf("%d expressions on %d packets; %d chose some of them", len(list), len(samples), some)
}

// randomExpression is an expression of addresses and ports that the samples
// have, in brackets of up to depth.
func randomExpression(r *rand.Rand, samples []sample, depth int) string {
	if depth > 0 && r.IntN(3) > 0 {
		a, b := randomExpression(r, samples, depth-1), randomExpression(r, samples, depth-1)
		switch r.IntN(6) {
		case 0:
			return "not (" + a + ")"
		case 1:
			return a + " and (" + b + ")"
		case 2:
			return "(" + a + ") and (" + b + ")"
		case 3:
			return "(" + a + ") or " + b
		case 4:
			return a + " or " + b
		}
		return "not (" + a + ") or not (" + b + ")"
	}
	p := &samples[r.IntN(len(samples))].packet
	a := p.Src
	if r.IntN(2) == 0 {
		a = p.Dst
	}
	dir := []string{"", "src ", "dst ", "src or dst ", "src and dst "}[r.IntN(5)]
	transport := []string{"", "udp ", "tcp ", "sctp "}[r.IntN(4)]
	port := int(a.Port)
	switch r.IntN(6) {
	case 0:
		return dir + "host " + a.Addr.String()
	case 1:
		bits := 8 + r.IntN(25)
		if !a.Addr.Is4() {
			bits = 16 + r.IntN(113)
		}
		return dir + "net " + netip.PrefixFrom(a.Addr.Netip(), bits).Masked().String()
	case 2:
		return transport + dir + "portrange " + strconv.Itoa(max(1, port-r.IntN(2000))) + "-" + strconv.Itoa(min(65535, port+r.IntN(2000)))
	case 3:
		return []string{"udp", "tcp", "sctp", "ip", "ip6", "ip proto 17", "ip6 proto 17", "proto 6"}[r.IntN(8)]
	}
	return transport + dir + "port " + strconv.Itoa(port)
}
