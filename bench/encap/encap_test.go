package encap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// inner are frames to wrap: RTP-like datagrams over IPv4, IPv6 and in a VLAN,
// and one that Ethernet pads.
func inner() map[string][]byte {
	ip4, ip6, small := ip4(protoUDP, udp(16384, 30000, voice(172))), ip6(protoUDP, udp(16384, 30000, voice(172))), ip4(protoUDP, udp(16384, 30000, voice(5)))
	return map[string][]byte{
		"ipv4":   customer(etherIPv4, ip4),
		"ipv6":   customer(etherIPv6, ip6),
		"vlan":   customer(etherVLAN, slices.Concat(be16(77), be16(etherIPv4), ip4)),
		"padded": append(customer(etherIPv4, small), make([]byte, 60-14-33)...),
	}
}

func customer(etherType int, b []byte) []byte {
	return slices.Concat([]byte{0x02, 0x99, 1, 2, 3, 4, 0x02, 0x99, 5, 6, 7, 8}, be16(etherType), b)
}

func voice(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	b[0] = 0x80
	return b
}

// TestWrap: wrapping is deterministic, leaves the frame alone, and carries it.
func TestWrap(t *testing.T) {
	names := map[string]bool{}
	for _, k := range Kinds() {
		if names[k.Name] {
			t.Errorf("two kinds are called %s", k)
		}
		names[k.Name] = true
		for name, f := range inner() {
			before := bytes.Clone(f)
			a, b := Wrap(k, f), Wrap(k, f)
			if !bytes.Equal(a, b) || !bytes.Equal(f, before) {
				t.Errorf("%s of %s: differs from run to run, or has changed the frame", k, name)
			}
			want := f[12:] // a tag may stand behind the addresses
			if !k.Bridged {
				ip, _ := ipOf(f)
				want = ip[len(ip)-8:] // transport mode changes the headers
			}
			if len(a) <= len(want) || !bytes.Contains(a, want) {
				t.Errorf("%s of %s does not carry it", k, name)
			}
		}
	}
}

// TestTshark wants tshark to find the inner ports and length in what Wrap makes.
func TestTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skipf("no tshark to ask: %v", err)
	}
	byHints := map[string][]Kind{}
	for _, k := range Kinds() {
		key := strings.Join(k.hints, "\x00")
		byHints[key] = append(byHints[key], k)
	}
	for _, kinds := range byHints {
		var names []string
		var frames [][]byte
		for _, k := range kinds {
			for name, f := range inner() {
				names, frames = append(names, k.Name+" of "+name), append(frames, Wrap(k, f))
			}
		}
		readings := ask(t, tshark, kinds[0].hints, frames)
		for i, got := range readings {
			want := "16384 30000 172"
			if strings.HasSuffix(names[i], " of padded") {
				want = "16384 30000 5"
			}
			if got.udp != want {
				t.Errorf("%s: tshark reads %s in %s", names[i], got.udp, got.protocols)
			}
		}
	}
}

// reading is what tshark finds in a frame.
type reading struct {
	protocols string
	udp       string // ports and length of the payload, innermost
}

// ask runs tshark on the frames.
func ask(t *testing.T, tshark string, hints []string, frames [][]byte) []reading {
	t.Helper()
	file := filepath.Join(t.TempDir(), "frames.pcap")
	if err := os.WriteFile(file, pcap(frames), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-n", "-r", file, "-T", "fields", "-E", "occurrence=l",
		"-e", "frame.protocols", "-e", "udp.srcport", "-e", "udp.dstport", "-e", "udp.length"}, hints...)
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("run tshark %v: %v", args, err)
	}
	var readings []reading
	for line := range strings.Lines(string(out)) {
		v := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		n, _ := strconv.Atoi(v[3])
		readings = append(readings, reading{v[0], fmt.Sprintf("%s %s %d", v[1], v[2], n-8)})
	}
	if len(readings) != len(frames) {
		t.Fatalf("tshark read %d frames of %d", len(readings), len(frames))
	}
	return readings
}

// pcap is a classic capture file of the frames, a millisecond apart.
func pcap(frames [][]byte) []byte {
	order := binary.LittleEndian
	file := order.AppendUint32(nil, 0xa1b2c3d4)
	for _, v := range []uint32{4<<16 | 2, 0, 0, 256 << 10, 1} {
		file = order.AppendUint32(file, v)
	}
	for i, f := range frames {
		for _, v := range []uint32{1_700_000_000, uint32(i) * 1000 % 1_000_000, uint32(len(f)), uint32(len(f))} {
			file = order.AppendUint32(file, v)
		}
		file = append(file, f...)
	}
	return file
}

// TestFragment wants tshark to put the fragments together to the datagram.
func TestFragment(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skipf("no tshark to ask: %v", err)
	}
	big4, big6 := ip4(protoUDP, udp(5060, 5062, voice(4001))), ip6(protoUDP, udp(5060, 5062, voice(4001)))
	for name, f := range map[string][]byte{
		"ipv4":        customer(etherIPv4, big4),
		"ipv6":        customer(etherIPv6, big6),
		"tagged ipv4": customer(etherVLAN, slices.Concat(be16(9), be16(etherIPv4), big4)),
		"padded":      append(customer(etherIPv6, big6), 0, 0, 0),
	} {
		for _, mtu := range []int{576, 1280, 1500, 4100} {
			t.Run(fmt.Sprint(name, " ", mtu), func(t *testing.T) {
				pieces := Fragment(f, mtu)
				if want := 1; (mtu == 4100) != (len(pieces) == want) {
					t.Fatalf("%d fragments", len(pieces))
				}
				for i, p := range pieces {
					if start, end, _ := ipAt(p); end-start > mtu || mtu < 4100 && i < len(pieces)-1 && end-start <= mtu-8 {
						t.Errorf("fragment %d is a packet of %d bytes", i, end-start)
					}
				}
				readings := ask(t, tshark, nil, pieces)
				if got := readings[len(readings)-1].udp; got != "5060 5062 4001" {
					t.Errorf("tshark puts together %s", got)
				}
			})
		}
	}
}
