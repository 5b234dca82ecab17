package nic

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func u32(v uint32) []byte { return native.AppendUint32(nil, v) }

// linkBody is an RTM_NEWLINK without its attributes.
func linkBody(family byte, index int, flags uint32) []byte {
	b := make([]byte, linkLen)
	b[0] = family
	native.PutUint32(b[4:], uint32(index))
	native.PutUint32(b[8:], flags)
	return b
}

func TestParseLink(t *testing.T) {
	stats := make([]byte, 0, 8*(statCount+1))
	var want linkStats
	for i := range statCount + 1 { // newer kernels have more
		stats = native.AppendUint64(stats, uint64(100+i))
		if i < statCount {
			want[i] = uint64(100 + i)
		}
	}
	b := linkBody(0, 7, unix.IFF_UP|unix.IFF_LOWER_UP)
	b = attribute(b, unix.IFLA_IFNAME, []byte("eth7\x00"))
	b = attribute(b, unix.IFLA_MTU, u32(9000))
	b = attribute(b, unix.IFLA_MASTER, u32(3))
	b = attribute(b, unix.IFLA_LINK, u32(5))
	b = attribute(b, unix.IFLA_NUM_RX_QUEUES, u32(16))
	b = attribute(b, unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 1})
	b = attribute(b, unix.IFLA_LINKINFO|unix.NLA_F_NESTED, attribute(nil, unix.IFLA_INFO_KIND, []byte("vlan")))
	b = attribute(b, unix.IFLA_STATS64, stats)
	b = attribute(b, unix.IFLA_XDP, attribute(attribute(nil, unix.IFLA_XDP_ATTACHED, []byte{2}), unix.IFLA_XDP_PROG_ID, u32(99)))
	l, ok := parseLink(b)
	expect := link{
		index: 7, name: "eth7", flags: unix.IFF_UP | unix.IFF_LOWER_UP, mtu: 9000, kind: "vlan", master: 3, below: 5, queues: 16, carrier: true,
		mac: []byte{2, 0, 0, 0, 0, 1}, stats: want, xdp: XDP{"generic", 99},
	}
	if !ok || !reflect.DeepEqual(l, expect) {
		t.Errorf("%+v\nwant %+v", l, expect)
	}
	if other, _ := parseLink(attribute(b, unix.IFLA_LINK_NETNSID, u32(0))); other.below != 0 {
		t.Errorf("an interface of another namespace is taken for number %d of this one", other.below)
	}
	// Cut anywhere, it yields less, and nothing else.
	for n := range len(b) {
		l, ok := parseLink(b[:n])
		if ok != (n >= linkLen) || ok && (l.index != 7 || l.name != "" && l.name != "eth7") {
			t.Errorf("cut to %d bytes: %v %+v", n, ok, l)
		}
	}
}

func TestParseXDP(t *testing.T) {
	for attached, want := range []string{"", "native", "generic", "offloaded", "several", ""} {
		b := attribute(nil, unix.IFLA_XDP_ATTACHED, []byte{byte(attached)})
		if x := parseXDP(b); x.Mode != want {
			t.Errorf("attached %d: %q, want %q", attached, x.Mode, want)
		}
	}
}

func TestMessages(t *testing.T) {
	one := func(typ uint16, body []byte) []byte {
		b := native.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
		b = native.AppendUint16(native.AppendUint16(b, typ), unix.NLM_F_MULTI)
		b = native.AppendUint32(native.AppendUint32(b, 5), 0)
		b = append(b, body...)
		return append(b, make([]byte, align(len(body))-len(body))...)
	}
	b := append(one(16, []byte("abcde")), one(3, nil)...)
	list, err := messages(b)
	if err != nil || len(list) != 2 || list[0].typ != 16 || string(list[0].data) != "abcde" || list[0].seq != 5 || list[1].typ != 3 || list[1].flags != unix.NLM_F_MULTI {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := messages(b[:20]); err == nil || len(list) != 0 {
		t.Errorf("a cut message: %+v, %v", list, err)
	}
}

func TestParseAddress(t *testing.T) {
	head := func(family, bits byte, index uint32) []byte {
		b := make([]byte, addrLen)
		b[0], b[1] = family, bits
		native.PutUint32(b[4:], index)
		return b
	}
	four := attribute(attribute(head(unix.AF_INET, 30, 4), unix.IFA_ADDRESS, []byte{10, 0, 0, 2}), unix.IFA_LOCAL, []byte{10, 0, 0, 1})
	six := netip.MustParseAddr("2001:db8::1")
	for _, tc := range []struct {
		body  []byte
		index int
		want  string
	}{
		{four, 4, "10.0.0.1/30"},
		{attribute(head(unix.AF_INET6, 64, 5), unix.IFA_ADDRESS, six.AsSlice()), 5, "2001:db8::1/64"},
		{head(unix.AF_INET, 24, 6), 6, ""},
		{nil, 0, ""},
	} {
		index, p, ok := parseAddress(tc.body)
		if index != tc.index || ok != (tc.want != "") || ok && p.String() != tc.want {
			t.Errorf("%d %v %v, want %d %s", index, p, ok, tc.index, tc.want)
		}
	}
}

func TestParseDefaultRoute(t *testing.T) {
	route := func(bits byte, typ byte) []byte {
		b := make([]byte, routeLen)
		b[1], b[7] = bits, typ
		return b
	}
	hop := func(index uint32) []byte {
		b := make([]byte, hopLen)
		native.PutUint16(b, hopLen)
		native.PutUint32(b[4:], index)
		return b
	}
	for _, tc := range []struct {
		name string
		body []byte
		want map[int]bool
	}{
		{"default", attribute(route(0, unix.RTN_UNICAST), unix.RTA_OIF, u32(3)), map[int]bool{3: true}},
		{"of several ways", attribute(route(0, unix.RTN_UNICAST), unix.RTA_MULTIPATH, append(hop(3), hop(4)...)), map[int]bool{3: true, 4: true}},
		{"a net", attribute(route(24, unix.RTN_UNICAST), unix.RTA_OIF, u32(3)), map[int]bool{}},
		{"unreachable", attribute(route(0, unix.RTN_UNREACHABLE), unix.RTA_OIF, u32(1)), map[int]bool{}},
		{"cut", route(0, unix.RTN_UNICAST)[:5], map[int]bool{}},
	} {
		got := map[int]bool{}
		if parseDefaultRoute(tc.body, got); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestUsers(t *testing.T) {
	p := netip.MustParsePrefix
	links := []link{
		{index: 1, name: "lo", flags: unix.IFF_LOOPBACK},
		{index: 2, name: "eth0", master: 4}, {index: 3, name: "eth1", master: 4}, {index: 4, name: "bond0"},
		{index: 5, name: "bond0.7", below: 4}, {index: 6, name: "eth2"}, {index: 7, name: "eth3"},
		{index: 8, name: "eth3.9", below: 7}, {index: 9, name: "eth4", master: 10}, {index: 10, name: "br0"},
	}
	addresses := map[int][]netip.Prefix{
		1: {p("127.0.0.1/8")}, 5: {p("fe80::1/64"), p("10.7.0.1/24"), p("10.7.0.2/24")}, 6: {p("fe80::2/64")}, 8: {p("2001:db8::1/64")},
	}
	routes := map[int]bool{10: true}
	for name, want := range map[string][]string{
		"lo":    {"lo is the loopback interface"},
		"eth0":  {"bond0.7 has the address 10.7.0.1/24"},
		"bond0": {"bond0.7 has the address 10.7.0.1/24"},
		"eth2":  nil,
		"eth3":  {"eth3.9 has the address 2001:db8::1/64"},
		"eth4":  {"a default route leads to br0"},
	} {
		for _, l := range links {
			if l.name == name {
				if got, routed := users(l, links, addresses, routes); !reflect.DeepEqual(got, want) || routed != (name == "eth4") {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		}
	}
	s := State{users: []string{"a", "b"}}
	if s.Shared() != "a; b" {
		t.Error(s.Shared())
	}
}

func TestParseStrings(t *testing.T) {
	b := make([]byte, 3*stringLen)
	copy(b, "rx_packets")
	copy(b[stringLen:], "a name of exactly 32 bytes .....")
	if got := parseStrings(b, 3); !reflect.DeepEqual(got, []string{"rx_packets", "a name of exactly 32 bytes .....", ""}) {
		t.Errorf("%q", got)
	}
	if got := parseStrings(b[:stringLen+5], 3); len(got) != 1 {
		t.Errorf("cut: %q", got)
	}
}

func TestParseSoftnet(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []softnetRow
	}{
		{"numbered CPUs",
			"00000010 00000002 00000003 00000000 00000000 00000000 00000000 00000000 00000000 00000005 00000004 00000000 00000000 00000000 00000000\n" +
				"0000ffff 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000003 00000000 00000000\n",
			[]softnetRow{{0, [5]uint64{16, 2, 3, 4, 5}}, {3, [5]uint64{0xffff}}}},
		{"older kernels",
			"0ac7342a 00000000 00000099 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n0a41ec9a 00000007 0000009a 0 0 0 0 0 0 0\n",
			[]softnetRow{{0, [5]uint64{0x0ac7342a, 0, 0x99}}, {1, [5]uint64{0x0a41ec9a, 7, 0x9a}}}},
		{"empty", "", nil},
		{"no number", "00000000 xyz 00000000\n", nil},
		{"too short", "00000000 00000000\n", nil},
	} {
		got, err := parseSoftnet(tc.text)
		if !reflect.DeepEqual(got, tc.want) || (err == nil) != (tc.want != nil || tc.text == "") {
			t.Errorf("%s: %v, %v, want %v", tc.name, got, err, tc.want)
		}
	}
}

// Counts of the backlog go on over a wrap, and over CPUs that come.
func TestSoftnet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "softnet_stat")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const rest = " 0 0 0 0 0 0 0 0 0 "
	write("fffffff0 00000005 00000001" + rest + "0\n")
	s, err := openSoftnet(path)
	if err != nil {
		t.Fatal(err)
	}
	write("00000010 00000007 00000001" + rest + "0\n00000064 00000001 00000002" + rest + "1\n")
	all, each, err := s.Read()
	want := map[int]SoftnetCounters{0: {Processed: 32, Dropped: 2}, 1: {Processed: 100, Dropped: 1, Squeezed: 2}}
	if err != nil || !reflect.DeepEqual(each, want) || all != (SoftnetCounters{Processed: 132, Dropped: 3, Squeezed: 2}) {
		t.Errorf("%+v, %+v, %v", all, each, err)
	}
	write("broken\n")
	if again, _, err := s.Read(); err == nil || again != all {
		t.Errorf("a broken file: %+v, %v", again, err)
	}
	if _, err := openSoftnet(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there was read")
	}
	if real, err := OpenSoftnet(); err != nil || len(real.cpus) == 0 {
		t.Errorf("the machine's own: %v", err)
	}
}

func TestNUMA(t *testing.T) {
	sys := t.TempDir()
	dir := filepath.Join(sys, "bus/pci/devices/0000:3b:00.0")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "numa_node"), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for bus, want := range map[string]int{"0000:3b:00.0": 1, "0000:3b:00.1": -1, "": -1, "../x": -1} {
		if got := numaNode(sys, bus); got != want {
			t.Errorf("%q: node %d, want %d", bus, got, want)
		}
	}
}

// Nothing that a socket says breaks the parsers.
func FuzzParse(f *testing.F) {
	f.Add(attribute(linkBody(0, 7, 1), unix.IFLA_XDP, attribute(nil, unix.IFLA_XDP_ATTACHED, []byte{9})))
	f.Add(attribute(make([]byte, routeLen), unix.RTA_MULTIPATH, make([]byte, 24)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, _ := messages(b); len(list)*unix.SizeofNlMsghdr > len(b) {
			t.Fatalf("%d messages of %d bytes", len(list), len(b))
		}
		parseLink(b)
		parseAddress(b)
		parseDefaultRoute(b, map[int]bool{})
		if rows, err := parseSoftnet(string(b)); err == nil && len(rows)*5 > len(b)+1 {
			t.Fatalf("%d rows of %d bytes", len(rows), len(b))
		}
	})
}
