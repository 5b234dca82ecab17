package pcap

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringside/dataplane/frame"
)

// ether is a frame of an experimental protocol.
func ether(n int) []byte {
	b := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xB5}, make([]byte, n)...)
	for i := range n {
		b[14+i] = byte(i)
	}
	return b
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, stderr.Bytes())
	}
	return string(out)
}

func save(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

var packets = []struct {
	name string
	Packet
	fields string // what tshark reads
}{
	{"plain", Packet{Time: 1700000000123456789, Data: ether(50)}, "1700000000.123456789|64|64|0||"},
	{"cut", Packet{Time: 1700000001000000001, Data: ether(20), Len: 1514}, "1700000001.000000001|34|1514|0||"},
	{"tag put back", Packet{Time: 1700000002000000000, Data: ether(51), Tag: 0x8100<<16 | 7<<13 | 42, Dir: Inbound}, "1700000002.000000000|69|69|0|42|0x00000001"},
	{"other interface and comment", Packet{Time: 1700000003999999999, Data: ether(7), Iface: 1, Dir: Outbound, Comment: []byte("call-1@example.com")}, "1700000003.999999999|21|21|1||0x00000002"},
}

func TestPcapNG(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, PcapNG, &Section{Hardware: "x86_64", OS: "Linux 6", App: "ringside 1", Comment: "all of it"})
	for _, i := range []Interface{{Name: "eth0", Link: frame.LinkEthernet, Snap: 65535}, {Name: "mirror", Link: frame.LinkEthernet}} {
		if _, err := w.Interface(i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range packets {
		if err := w.Write(&packets[i].Packet); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	path := save(t, "all.pcapng", out.Bytes())
	got := strings.Split(run(t, "tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|", "-e", "frame.time_epoch",
		"-e", "frame.cap_len", "-e", "frame.len", "-e", "frame.interface_id", "-e", "vlan.id", "-e", "frame.packet_flags"), "\n")
	for i, p := range packets {
		if got[i] != p.fields {
			t.Errorf("%s: tshark reads %q, want %q", p.name, got[i], p.fields)
		}
	}
	if c := run(t, "tshark", "-n", "-r", path, "-Y", `frame.comment == "call-1@example.com"`, "-T", "fields", "-e", "frame.number"); c != "4\n" {
		t.Errorf("packets with the comment: %q", c)
	}
	info := run(t, "capinfos", path)
	for _, want := range []string{"x86_64", "Linux 6", "ringside 1", "all of it", "eth0", "mirror", "nanoseconds (9)", "Number of packets:   4"} {
		if !strings.Contains(info, want) {
			t.Errorf("capinfos does not say %q:\n%s", want, info)
		}
	}
}

func TestClassic(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, Classic, &Section{})
	if _, err := w.Interface(Interface{Link: frame.LinkEthernet}); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		p.Iface = 0
		if err := w.Write(&p.Packet); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Interface(Interface{Link: frame.LinkSLL}); err == nil {
		t.Error("a second link type was taken")
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	path := save(t, "all.pcap", out.Bytes())
	got := strings.Split(run(t, "tshark", "-n", "-r", path, "-T", "fields", "-E", "separator=|", "-e", "frame.time_epoch", "-e", "frame.cap_len", "-e", "frame.len"), "\n")
	for i, p := range packets {
		if !strings.HasPrefix(p.fields, got[i]+"|") {
			t.Errorf("%s: tshark reads %q, want %q", p.name, got[i], p.fields)
		}
	}
	if info := run(t, "capinfos", "-t", path); !strings.Contains(info, "nanosecond") {
		t.Errorf("capinfos: %s", info)
	}
}

// What was written is read back, and the sizes foretold are the sizes.
func TestReadBack(t *testing.T) {
	b := AppendSection(nil, &Section{App: "x", Comment: "key"})
	ifaces := []Interface{{Name: "eth0", Link: frame.LinkEthernet, Snap: 9000}, {Link: frame.LinkSLL2}}
	for i := range ifaces {
		had := len(b)
		if b = AppendInterface(b, &ifaces[i]); len(b)-had != InterfaceSize(&ifaces[i]) {
			t.Errorf("interface takes %d bytes, InterfaceSize says %d", len(b)-had, InterfaceSize(&ifaces[i]))
		}
	}
	for i := range packets {
		had := len(b)
		if b = AppendPacket(b, &packets[i].Packet); len(b)-had != PacketSize(&packets[i].Packet) {
			t.Errorf("%s takes %d bytes, PacketSize says %d", packets[i].name, len(b)-had, PacketSize(&packets[i].Packet))
		}
	}
	SetLength(b)
	if SectionLength(b) != int64(len(b)) {
		t.Errorf("section of %d bytes says %d", len(b), SectionLength(b))
	}
	var r Reader
	if err := r.Reset(b); err != nil || string(r.Comment) != "key" {
		t.Fatal(err, string(r.Comment))
	}
	var p Packet
	for _, want := range packets {
		if !r.Next(&p) {
			t.Fatal(r.Err())
		}
		data := appendData(nil, &want.Packet)
		if p.Time != want.Time || !bytes.Equal(p.Data, data) || p.Len != want.wire() || p.Iface != want.Iface || p.Dir != want.Dir || !bytes.Equal(p.Comment, want.Comment) {
			t.Errorf("%s: read back as %+v", want.name, p)
		}
	}
	if r.Next(&p) || r.Err() != nil {
		t.Error("more than was written, or", r.Err())
	}
	if fmt.Sprint(r.Ifaces) != fmt.Sprint(ifaces) {
		t.Errorf("interfaces: %v", r.Ifaces)
	}
}

func TestNoAllocations(t *testing.T) {
	b := make([]byte, 0, 64<<10)
	p := &packets[2].Packet
	w := NewWriter(&bytes.Buffer{}, PcapNG, &Section{})
	w.to = discard{}
	if _, err := w.Interface(Interface{Link: frame.LinkEthernet}); err != nil {
		t.Fatal(err)
	}
	full := AppendSection(nil, &Section{})
	full = AppendPacket(AppendInterface(full, &Interface{}), p)
	var r Reader
	for name, f := range map[string]func(){
		"pcapng":  func() { b = AppendPacket(b[:0], p) },
		"classic": func() { b = AppendRecord(b[:0], p) },
		"writer":  func() { _ = w.Write(p) },
		"reader": func() {
			var q Packet
			_ = r.Reset(full)
			_ = r.Next(&q)
		},
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations for a packet", name, n)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func FuzzReader(f *testing.F) {
	b := AppendSection(nil, &Section{Comment: "key"})
	b = AppendInterface(b, &Interface{Name: "eth0"})
	for i := range packets {
		p := packets[i].Packet
		p.Iface = 0
		b = AppendPacket(b, &p)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reader
		if r.Reset(b) != nil {
			return
		}
		var p Packet
		for n := 0; r.Next(&p); n++ {
			if n > len(b) || int(p.Iface) >= len(r.Ifaces) {
				t.Fatal("packets without end, or of no interface")
			}
		}
	})
}

func BenchmarkAppendPacket(b *testing.B) {
	buf := make([]byte, 0, 64<<10)
	p := &Packet{Time: 1, Data: ether(200), Dir: Inbound}
	b.ReportAllocs()
	b.SetBytes(int64(len(p.Data)))
	for b.Loop() {
		if len(buf) > 60<<10 {
			buf = buf[:0]
		}
		buf = AppendPacket(buf, p)
	}
}

// TestPacketSizes: a packet block is the same, byte for byte, whichever way it is
// written, and what was in the buffer before does not show.
func TestPacketSizes(t *testing.T) {
	data := []byte("0123456789abcdefghij")
	for n := range len(data) {
		for _, more := range []uint32{0, 100} {
			p := Packet{Time: 0x123456789abcdef0, Data: data[:n], Len: uint32(n) + more, Iface: 7}
			size := uint32(32 + (n+3)/4*4)
			var want []byte
			for _, v := range []uint32{6, size, 7, 0x12345678, 0x9abcdef0, uint32(n), uint32(n) + more} {
				want = le.AppendUint32(want, v)
			}
			want = append(append(want, data[:n]...), make([]byte, int(size)-32-n)...)
			want = le.AppendUint32(want, size)
			got := AppendPacket(bytes.Repeat([]byte{0xff}, 200)[:5], &p)[5:]
			if !bytes.Equal(got, want) || PacketSize(&p) != len(want) {
				t.Errorf("%d of %d bytes: % x\nwant % x", n, p.Len, got, want)
			}
		}
	}
}
