package filter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"

	"ringside/bench/corpus"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
)

// outerAddrs are the addresses of the outermost header, if it is IPv4 behind
// untagged Ethernet.
func outerAddrs(data []byte) (src, dst frame.Addr, ok bool) {
	if len(data) < 38 || binary.BigEndian.Uint16(data[12:]) != 0x0800 {
		return src, dst, false
	}
	return frame.AddrFrom4(data[26:]), frame.AddrFrom4(data[30:]), true
}

// positive is a random expression without not, of what tcpdump sees in a frame
// of the samples.
func positive(r *rand.Rand, samples []sample) string {
	data := samples[r.IntN(len(samples))].frame.Data
	src, dst, _ := outerAddrs(data)
	var e string
	switch r.IntN(6) {
	case 0:
		e = "host " + src.String()
	case 1:
		e = "dst " + dst.String()
	case 2:
		e = fmt.Sprintf("src net %d.%d.0.0/16", data[26], data[27])
	case 3:
		e = fmt.Sprintf("ip proto %d", data[23])
	case 4:
		e = fmt.Sprintf("src host %s and dst host %s", src, dst)
	default:
		e = "ip"
		if data[23] == frame.ProtoUDP {
			e = fmt.Sprintf("udp dst port %d", binary.BigEndian.Uint16(data[36:]))
		}
	}
	switch r.IntN(4) {
	case 0:
		return "(" + e + ") and (" + positive(r, samples) + ")"
	case 1:
		return e + " or " + positive(r, samples)
	}
	return e
}

// What tcpdump chooses by the outer headers of a tunnel is chosen, too, and so
// is what is asked for of its inside.
func TestTunnels(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skipf("no tcpdump to compare with: %v", err)
	}
	var samples []sample
	for _, s := range readSamples(t, 100) {
		// Of tunnels in tunnels only the innermost is known, of MPLS in UDP and GRE in UDP not the port.
		src, dst, ok := outerAddrs(s.frame.Data)
		if ok && s.tunnel != nil && s.tunnel.Src == src && s.tunnel.Dst == dst && s.frame.Data[23] == carriers[s.tunnel.Kind].proto &&
			s.frame.Data[20]&0x1f == 0 && s.frame.Data[21] == 0 && !odd(&s) {
			samples = append(samples, s)
		}
	}
	path := writePcap(t, samples)
	r := rand.New(rand.NewPCG(5, 6))
	chosen := 0
	for range 150 {
		e := positive(r, samples)
		f, err := Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		theirs, complaint := tcpdump(t, path, e)
		if complaint != "" {
			t.Fatalf("%q: %s", e, complaint)
		}
		mine := ours(f, samples)
		for i := range theirs {
			if chosen++; !mine[i] {
				t.Errorf("%q: tcpdump takes what ringside does not: %v > %v in %+v", e, samples[i].packet.Src, samples[i].packet.Dst, *samples[i].tunnel)
			}
		}
	}
	for i := range samples {
		s := &samples[i]
		inside := fmt.Sprintf("src host %s and dst host %s", s.packet.Src.Addr, s.packet.Dst.Addr)
		if f, err := Parse(inside); err != nil || !f.match(&s.packet, s.tunnel, &s.frame) {
			t.Errorf("%q, of the inside, does not match: %v", inside, err)
		}
	}
	if t.Logf("%d tunnelled packets, tcpdump chose %d", len(samples), chosen); chosen == 0 {
		t.Error("tcpdump chose none")
	}
}

// odd reports whether a tunnel in UDP has a destination port that its kind does
// not tell: it was found by the source port, or by one of several.
func odd(s *sample) bool {
	c := carriers[s.tunnel.Kind]
	if c.ports[0] == 0 {
		return false
	}
	port := binary.BigEndian.Uint16(s.frame.Data[14+int(s.frame.Data[14]&15)*4+2:])
	return s.frame.Data[14]&15 != 5 || port != c.ports[0] && port != c.ports[1]
}

// Datagrams that came in fragments are judged whole: by their ports, too, which
// tcpdump sees in the first fragment only.
func TestFragments(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skipf("no tcpdump to compare with: %v", err)
	}
	var samples []sample // with the frame that completed them
	for _, pattern := range []string{"captures/*/*frag*", "encap/*/*frag*"} {
		files, err := filepath.Glob(filepath.Join(corpus.Dir(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			samples = append(samples, joinedSamples(t, path)...)
		}
	}
	path := writePcap(t, samples)
	chosen, lost := 0, 0
	for i := range samples {
		p := &samples[i].packet
		proto := map[uint8]string{frame.ProtoUDP: "udp", frame.ProtoTCP: "tcp", frame.ProtoSCTP: "sctp"}[p.Proto]
		for _, e := range []string{
			fmt.Sprintf("host %s", p.Src.Addr), fmt.Sprintf("src %s and dst %s", p.Src.Addr, p.Dst.Addr),
			fmt.Sprintf("%s port %d", proto, p.Dst.Port), fmt.Sprintf("%s and src port %d and host %s", proto, p.Src.Port, p.Dst.Addr),
		} {
			f, err := Parse(e)
			if err != nil {
				t.Fatal(err)
			}
			theirs, complaint := tcpdump(t, path, e)
			if complaint != "" {
				t.Fatalf("%q: %s", e, complaint)
			}
			mine := ours(f, samples)
			for at := range theirs {
				if chosen++; !mine[at] {
					t.Errorf("%q: tcpdump takes what ringside does not: %v > %v", e, samples[at].packet.Src, samples[at].packet.Dst)
				}
			}
			if !mine[i] {
				t.Errorf("%q does not match %v > %v", e, p.Src, p.Dst)
			} else if !theirs[i] {
				lost++
			}
		}
	}
	if t.Logf("%d joined datagrams: tcpdump chose %d last fragments, and lost %d", len(samples), chosen, lost); chosen == 0 || lost == 0 {
		t.Error("nothing to compare")
	}
}

// joinedSamples are the datagrams of a file that came in fragments of Ethernet.
func joinedSamples(t *testing.T, path string) []sample {
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []sample
	d := NewDecoder(decode.New(decode.Options{}), &Filter{entry: accept})
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		d.Decode(b)
		at := 0
		for i := range b.Fragments {
			f := &b.Fragments[i]
			for b.Frames[at].Seq != f.Seq {
				at++
			}
			if f.Tunnel != 0 || b.Frames[at].Link != frame.LinkEthernet {
				continue
			}
			into := &frame.Batch{}
			d.Join(f, &frame.Tunnel{}, into)
			for _, p := range into.Packets {
				if p.Tunnel != 0 {
					continue
				}
				s := sample{frame: b.Frames[at], packet: p}
				s.frame.Data, s.packet.Payload = bytes.Clone(s.frame.Data), bytes.Clone(p.Payload)
				out = append(out, s)
			}
		}
		b.Release()
	}
}
