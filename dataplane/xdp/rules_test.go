package xdp

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"

	"ringside/bench/encap"
	"ringside/dataplane/frame"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// wants sends frames one after another, and wants each to be counted by its row.
type wants []struct {
	name  string
	frame []byte
	row   string
}

func (w wants) run(t *testing.T, f *Filter) {
	t.Helper()
	for _, tc := range w {
		if row, _, _ := judge(t, f, tc.frame); row != tc.row {
			t.Errorf("%s: counted as %q, want %q", tc.name, row, tc.row)
		}
	}
}

// between is a frame of UDP between two addresses of either version.
func between(src, dst string, sport, dport int, payload []byte) []byte {
	a, b := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	if a.Is4() {
		return ether(0x0800, ipv4Of(a, b, 17, nil, 0, udp(sport, dport, payload)))
	}
	return ether(0x86dd, ipv6Of(a, b, 17, udp(sport, dport, payload)))
}

func sipBetween(src, dst string) []byte { return between(src, dst, 5060, 5060, invite()) }

func TestPrefixes(t *testing.T) {
	s := DefaultSettings()
	s.Deny = prefixes("10.6.6.0/24", "2001:db8:6::/48")
	s.Allow = prefixes("10.0.0.0/8", "::ffff:192.168.0.0/112", "2001:db8::/32", "10.1.0.0/16")
	f := loaded(t, s, 0)
	wants{
		{"source allowed", sipBetween("10.0.0.1", "8.8.8.8"), "pass: SIP"},
		{"destination allowed", sipBetween("8.8.8.8", "10.0.0.1"), "pass: SIP"},
		{"mapped prefix", sipBetween("8.8.8.8", "192.168.255.1"), "pass: SIP"},
		{"IPv6", sipBetween("2001:db8::1", "2001:4860::1"), "pass: SIP"},
		{"the longest prefix", sipBetween("10.1.0.1", "8.8.8.8"), "pass: SIP"},
		{"neither", sipBetween("8.8.8.8", "9.9.9.9"), "drop: not allowed"},
		{"neither of IPv6", sipBetween("2001:4860::1", "2001:4860::2"), "drop: not allowed"},
		{"source denied", sipBetween("10.6.6.1", "10.0.0.1"), "drop: denied"},
		{"destination denied", sipBetween("10.0.0.1", "10.6.6.1"), "drop: denied"},
		{"IPv6 denied", sipBetween("2001:db8:6::1", "2001:db8::1"), "drop: denied"},
		{"inside of a tunnel", encap.Wrap(kind(t, "vxlan"), sipBetween("10.0.0.1", "8.8.8.8")), "pass: SIP"},
		{"denied in a tunnel", encap.Wrap(kind(t, "gre"), sipBetween("10.6.6.1", "8.8.8.8")), "drop: denied"},
		{"tunnel that is not opened", encap.Wrap(kind(t, "l2tp"), sipBetween("10.6.6.1", "8.8.8.8")), "pass: tunnel"},
	}.run(t, f)
	got, err := f.Prefixes()
	if err != nil {
		t.Fatal(err)
	}
	packets := map[string]uint64{}
	for _, p := range got {
		packets[p.Prefix.String()] = p.Packets
		if p.Packets > 0 && p.Bytes < 60*p.Packets {
			t.Errorf("%s: %d bytes in %d packets", p.Prefix, p.Bytes, p.Packets)
		}
	}
	for prefix, want := range map[string]uint64{
		"10.6.6.0/24": 3, "2001:db8:6::/48": 1, "10.0.0.0/8": 3, "192.168.0.0/16": 1, "2001:db8::/32": 1, "10.1.0.0/16": 1,
	} {
		if packets[prefix] != want {
			t.Errorf("%s matched %d packets, want %d", prefix, packets[prefix], want)
		}
	}
	// Counters stay with their prefixes when the lists change.
	s.Deny, s.Allow = nil, prefixes("2001:db8::/32", "10.0.0.0/8", "10.9.9.9/8")
	if err := f.Set(s); err != nil {
		t.Fatal(err)
	}
	wants{
		{"no longer denied", sipBetween("10.6.6.1", "8.8.8.8"), "pass: SIP"},
		{"no longer allowed", sipBetween("192.168.1.1", "8.8.8.8"), "drop: not allowed"},
	}.run(t, f)
	if got, err = f.Prefixes(); err != nil || len(got) != 2 || got[0].Packets != 1 || got[1].Packets != 4 {
		t.Errorf("after the change: %+v, %v", got, err)
	}
}

func kind(t *testing.T, name string) encap.Kind {
	t.Helper()
	for _, k := range encap.Kinds() {
		if k.Name == name {
			return k
		}
	}
	t.Fatalf("no encapsulation %q", name)
	return encap.Kind{}
}

func TestOwnTraffic(t *testing.T) {
	s := DefaultSettings()
	s.Own = []Tuple{
		{Proto: frame.ProtoUDP, A: netip.MustParseAddrPort("192.0.2.9:5060")},
		{A: netip.MustParseAddrPort("192.0.2.10:5060"), B: netip.MustParseAddrPort("198.51.100.9:5060")},
		{A: netip.MustParseAddrPort("[2001:db8::9]:0")},
		{Proto: frame.ProtoTCP, A: netip.AddrPortFrom(netip.Addr{}, 5061)},
	}
	f := loaded(t, s, 0)
	cases := wants{
		{"from it", sipBetween("192.0.2.9", "192.0.2.2"), "drop: own traffic"},
		{"to it", sipBetween("192.0.2.2", "192.0.2.9"), "drop: own traffic"},
		{"both ends", sipBetween("198.51.100.9", "192.0.2.10"), "drop: own traffic"},
		{"one end of both", sipBetween("198.51.100.8", "192.0.2.10"), "pass: SIP"},
		{"an address alone", sipBetween("2001:db8::9", "2001:db8::1"), "drop: own traffic"},
		{"a port alone", ether(0x0800, ipv4(6, tcp(5061, 40000, nil))), "drop: own traffic"},
		{"another protocol", over4(5061, 5060, invite()), "pass: SIP"},
		{"none of it", sipBetween("192.0.2.1", "192.0.2.2"), "pass: SIP"},
	}
	cases.run(t, f)
	// The same again, in the other half of the settings, and back without.
	for range 2 {
		if err := f.Set(s); err != nil {
			t.Fatal(err)
		}
		cases.run(t, f)
	}
	s.Own = nil
	if err := f.Set(s); err != nil {
		t.Fatal(err)
	}
	for _, tc := range cases {
		if row, _, _ := judge(t, f, tc.frame); row != "pass: SIP" {
			t.Errorf("%s, no longer its own: %s", tc.name, row)
		}
	}
}

func TestFragments(t *testing.T) {
	fragment := func(offset int, id byte, inner []byte) []byte {
		b := ipv4Of(src4, dst4, 17, nil, offset, inner)
		b[5] = id
		return ether(0x0800, b)
	}
	big := func(src, dst int) []byte { return udp(src, dst, append(invite(), make([]byte, 1400)...)) }
	six := func(offset int, id byte, more bool, inner []byte) []byte {
		b := fragment6(17, offset, more, inner)
		b[7] = id
		return ether(0x86dd, ipv6(44, b))
	}
	rest := make([]byte, 80)
	s := DefaultSettings()
	f := loaded(t, s, 64)
	wants{
		{"first of SIP", fragment(0x2000, 1, big(5060, 5060)), "pass: SIP"},
		{"middle of SIP", fragment(0x2000|100, 1, rest), "pass: fragment of passed"},
		{"last of SIP", fragment(181, 1, rest), "pass: fragment of passed"},
		{"first of other", fragment(0x2000, 2, big(53, 5353)), "drop: other"},
		{"last of other", fragment(181, 2, rest), "drop: fragment of dropped"},
		{"last before its first", fragment(181, 3, rest), "pass: fragment alone"},
		{"RTP is never metered in parts", fragment(0x2000, 4, udp(20000, 20002, voice)), "pass: RTP in fragments"},
		{"its rest", fragment(22, 4, rest), "pass: fragment of passed"},
		{"the identification comes again", fragment(0x2000, 2, big(5060, 5060)), "pass: SIP"},
		{"and its rest", fragment(181, 2, rest), "pass: fragment of passed"},
		{"IPv6", six(0, 1, true, big(5060, 5060)), "pass: SIP"},
		{"IPv6, rest", six(181, 1, false, rest), "pass: fragment of passed"},
		{"IPv6, other", six(0, 2, true, big(53, 5353)), "drop: other"},
		{"IPv6, its rest", six(181, 2, false, rest), "drop: fragment of dropped"},
		{"too short for ports", fragment(0x2000, 9, make([]byte, 4)), "pass: truncated"},
		{"its rest", fragment(1, 9, rest), "pass: fragment of passed"},
	}.run(t, f)
	// A tunnel in fragments: the addresses inside decide, also for what shows only those outside.
	s.Allow = prefixes("192.0.2.0/24")
	if err := f.Set(s); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		port int
		drop bool
	}{{"SIP", 5060, false}, {"other", 53, true}} {
		whole := encap.Wrap(kind(t, "vxlan"), over4(tc.port, tc.port, append(invite(), make([]byte, 1400)...)))
		for i, part := range encap.Fragment(whole, 800) {
			if _, action, _ := judge(t, f, part); (action == xdpDrop) != tc.drop {
				t.Errorf("fragment %d of a tunnel with %s: action %d", i, tc.name, action)
			}
		}
	}
	wants{
		{"alone, of others", ether(0x0800, ipv4Of(netip.MustParseAddr("8.8.8.8"), dst4, 17, nil, 181, rest)), "drop: not allowed"},
		{"alone, allowed", fragment(181, 77, rest), "pass: fragment alone"},
	}.run(t, f)
}

func TestRTPRules(t *testing.T) {
	learned := frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: 4000}
	rtcp := []byte{0x80, 201, 0, 1, 1, 2, 3, 4}
	fax := []byte{0, 1, 6, 1, 2, 3, 4, 5, 6}
	for _, tc := range []struct {
		name string
		rule RTPRule
		rows [8]string // in range; learned; in range and learned; RTCP in range, of learned, of others; fax of learned, in range
	}{
		{"none", NoRTP, [8]string{"drop: other", "drop: other", "drop: other", "drop: other", "drop: other", "drop: other", "drop: other", "drop: other"}},
		{"range", InRange, [8]string{"pass: RTP", "drop: other", "pass: RTP", "pass: RTCP", "drop: other", "drop: other", "pass: media endpoint", "drop: other"}},
		{"learned", Learned, [8]string{"drop: other", "pass: RTP", "pass: RTP", "drop: other", "pass: RTCP", "drop: other", "pass: media endpoint", "drop: other"}},
		{"either", InRangeOrLearned, [8]string{"pass: RTP", "pass: RTP", "pass: RTP", "pass: RTCP", "pass: RTCP", "drop: other", "pass: media endpoint", "drop: other"}},
		{"both", InRangeAndLearned, [8]string{"drop: other", "drop: other", "pass: RTP", "drop: other", "drop: other", "drop: other", "pass: media endpoint", "drop: other"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := DefaultSettings()
			s.RTP = RTP{tc.rule, []PortRange{{10000, 20000}}}
			f := loaded(t, s, 0)
			if err := f.Publish(learned, Media{Policy: Meter}); err != nil {
				t.Fatal(err)
			}
			for i, data := range [][]byte{
				over4(10000, 30000, voice), over4(30000, 4000, voice), over4(20000, 4000, voice),
				over4(10001, 30000, rtcp), over4(30000, 4001, rtcp), over4(30000, 6001, rtcp),
				over4(30000, 4000, fax), over4(10000, 30000, fax),
			} {
				if row, _, _ := judge(t, f, data); row != tc.rows[i] {
					t.Errorf("frame %d: %q, want %q", i, row, tc.rows[i])
				}
			}
		})
	}
	s := DefaultSettings()
	s.PassOther = true
	wants{{"passed", over4(53, 53, voice), "pass: other"}}.run(t, loaded(t, s, 0))
}

// TestPortsOfEndpoints tells of endpoints that share a port, and takes them back: an
// endpoint is known as long as it is there, whatever becomes of the others.
func TestPortsOfEndpoints(t *testing.T) {
	s := DefaultSettings()
	s.RTP = RTP{Learned, nil}
	f := loaded(t, s, 0)
	here, there := frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: 4000}, frame.Endpoint{Addr: frame.AddrFrom(dst4.Next()), Port: 4000}
	for i, step := range []struct {
		do   func(frame.Endpoint) error
		at   frame.Endpoint
		want string
	}{
		{func(e frame.Endpoint) error { return f.Publish(e, Media{}) }, there, "drop: other"},
		{func(e frame.Endpoint) error { return f.Publish(e, Media{}) }, here, "pass: RTP"},
		{func(e frame.Endpoint) error { return f.Publish(e, Media{Policy: Full}) }, here, "pass: RTP"},
		{f.Withdraw, there, "pass: RTP"},
		{f.Withdraw, there, "pass: RTP"},
		{f.Withdraw, here, "drop: other"},
		{func(e frame.Endpoint) error { return f.Publish(e, Media{}) }, here, "pass: RTP"},
	} {
		if err := step.do(step.at); err != nil {
			t.Fatal(err)
		}
		if row, _, _ := judge(t, f, over4(30000, 4000, voice)); row != step.want {
			t.Errorf("step %d: %q, want %q", i, row, step.want)
		}
	}
	if f.media.of[4000] != 1 || f.media.ports[4000/64] != 1<<(4000%64) {
		t.Errorf("%d endpoints of the port, bits %#x", f.media.of[4000], f.media.ports[4000/64])
	}
}

func TestLimits(t *testing.T) {
	s := DefaultSettings()
	s.Limit.Register = Limit{PerSecond: 1, Burst: 4, Sample: 3}
	s.Limit.Options = Limit{TotalPerSecond: 1, TotalBurst: 2}
	s.Limit.Other = Limit{PerSecond: 1, Burst: 1}
	f := loaded(t, s, 0)
	value := s.compile()
	for i := range value.Limits { // slower than a busy machine can be
		l := &value.Limits[i]
		l.Interval, l.Burst, l.TotalInterval, l.TotalBurst = l.Interval*1e6, l.Burst*1e6, l.TotalInterval*1e6, l.TotalBurst*1e6
	}
	if err := f.objects.Maps["rs_settings_of"].Put(f.set.active, value); err != nil {
		t.Fatal(err)
	}
	from := func(src string, payload string) []byte {
		return between(src, "198.51.100.2", 5060, 5060, []byte(payload+" sip:a@example.com SIP/2.0\r\n\r\n"))
	}
	const a, b = "192.0.2.1", "192.0.2.2"
	for i, want := range []string{
		"pass: SIP", "pass: SIP", "pass: SIP", "pass: SIP",
		"pass: REGISTER sample", "drop: REGISTER over limit", "drop: REGISTER over limit", "pass: REGISTER sample", "drop: REGISTER over limit",
	} {
		if row, _, _ := judge(t, f, from(a, "REGISTER")); row != want {
			t.Errorf("REGISTER %d: %q, want %q", i, row, want)
		}
	}
	if got, err := f.Sources(); err != nil || len(got) != 1 || got[0] != (Source{netip.MustParseAddr(a), "REGISTER", 5}) {
		t.Errorf("sources over their limits: %+v, %v", got, err)
	}
	wants{
		{"another source", from(b, "REGISTER"), "pass: SIP"},
		{"OPTIONS of one", from(a, "OPTIONS"), "pass: SIP"},
		{"OPTIONS of another", from(b, "OPTIONS"), "pass: SIP"},
		{"OPTIONS of a third", from("192.0.2.3", "OPTIONS"), "drop: OPTIONS over limit"},
		{"MESSAGE", from(a, "MESSAGE"), "pass: SIP"},
		{"SUBSCRIBE", from(a, "SUBSCRIBE"), "drop: request over limit"},
	}.run(t, f)
	for _, method := range []string{"INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "SIP/2.0 200 OK", "\r\n\r\nREGISTER", "\x00\x00"} {
		for range 10 {
			if row, _, _ := judge(t, f, from(a, method)); row != "pass: SIP" {
				t.Errorf("%q: %s", method, row)
			}
		}
	}
}

// TestFlood sends REGISTERs from ever new sources: they are counted to the packet, and
// the buckets of real sources stay.
func TestFlood(t *testing.T) {
	s := DefaultSettings()
	s.Limit.Register = Limit{PerSecond: 1, Burst: 1, TotalPerSecond: 1, TotalBurst: 100, Sample: 10}
	f := loaded(t, s, 0)
	value := s.compile()
	value.Limits[0].Interval, value.Limits[0].TotalInterval = 1e15, 1e15
	value.Limits[0].TotalBurst = 99e15
	if err := f.objects.Maps["rs_settings_of"].Put(f.set.active, value); err != nil {
		t.Fatal(err)
	}
	judge(t, f, between("192.0.2.1", "198.51.100.2", 5060, 5060, register()))
	data := between("10.0.0.0", "198.51.100.2", 5060, 5060, register())
	const flood = 2000
	for i := range flood {
		binary.BigEndian.PutUint32(data[26:], 10<<24|uint32(i))
		if _, err := f.program.Run(&ebpf.RunOptions{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]uint64{}
	for _, r := range mustStats(t, f).Rows {
		got[r.Verdict+": "+r.Reason] = r.Packets
	}
	if got["pass: SIP"] != 100 || got["pass: REGISTER sample"] != (flood-99+9)/10 ||
		got["pass: SIP"]+got["pass: REGISTER sample"]+got["drop: REGISTER over limit"] != flood+1 {
		t.Errorf("counted %v", got)
	}
	if row, _, _ := judge(t, f, between("192.0.2.1", "198.51.100.2", 5060, 5060, register())); row == "pass: SIP" {
		t.Error("the first source was forgotten")
	}
	if row, _, _ := judge(t, f, between("10.0.0.1", "198.51.100.2", 5060, 5060, invite())); row != "pass: SIP" {
		t.Errorf("INVITE in the flood: %s", row)
	}
}

// manyPrefixes are n prefixes, one in ten of IPv6.
func manyPrefixes(seed uint64, n int) (out []netip.Prefix) {
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		if i%10 == 0 {
			var a [16]byte
			binary.BigEndian.PutUint64(a[:], 0x20010db8<<32|uint64(r.Uint32()))
			out = append(out, netip.PrefixFrom(netip.AddrFrom16(a), 64))
			continue
		}
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 1<<24|r.Uint32()>>8)
		out = append(out, netip.PrefixFrom(netip.AddrFrom4(a), 24+r.IntN(9)))
	}
	return out
}

// TestManyPrefixes loads and changes 100,000 prefixes while frames are judged: each
// judgement is that of one of the lists.
func TestManyPrefixes(t *testing.T) {
	n := 100000
	if testing.Short() {
		n = 5000
	}
	lists := [2]Settings{DefaultSettings(), DefaultSettings()}
	for i := range lists { // each allows one of two hosts, and denies the other
		lists[i].Allow = append(manyPrefixes(uint64(i), n), prefixes("192.0.2.0/24")...)
		lists[i].Deny = prefixes([]string{"192.0.2.1/32", "192.0.2.2/32"}[i])
	}
	f := loaded(t, lists[0], 0)
	var done atomic.Bool
	var sent atomic.Uint64
	var wait sync.WaitGroup
	wait.Go(func() {
		both := [2][]byte{sipBetween("192.0.2.1", "8.8.8.8"), sipBetween("192.0.2.2", "8.8.8.8")}
		for i := 0; !done.Load(); i++ {
			if _, err := f.program.Run(&ebpf.RunOptions{Data: both[i%2], Repeat: 100}); err != nil {
				t.Error(err)
				return
			}
			sent.Add(100)
		}
	})
	for i := range 6 {
		if err := f.Set(lists[(i+1)%2]); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	wait.Wait()
	s := mustStats(t, f)
	for _, r := range s.Rows {
		if r.Packets > 0 && r.Reason != "SIP" && r.Reason != "denied" {
			t.Errorf("%d frames: %s, %s", r.Packets, r.Verdict, r.Reason)
		}
	}
	// A run that a signal interrupts is begun anew, so there may be more.
	if got := s.Received().Packets; got < sent.Load() || sent.Load() == 0 {
		t.Errorf("counted %d frames of %d", got, sent.Load())
	}
	counts, err := f.Prefixes()
	if err != nil {
		t.Fatal(err)
	}
	if len(counts) < n*9/10 || counts[0].Packets == 0 || counts[len(counts)-1].Packets == 0 {
		t.Errorf("%d prefixes, the first %+v, the last %+v", len(counts), counts[0], counts[len(counts)-1])
	}
}

func TestSettingsRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Settings)
	}{
		{"prefix", func(s *Settings) { s.Allow = []netip.Prefix{{}} }},
		{"ports", func(s *Settings) { s.RTP.Ranges = []PortRange{{2, 1}} }},
		{"range without ports", func(s *Settings) { s.RTP = RTP{Rule: InRange} }},
		{"rule", func(s *Settings) { s.RTP.Rule = 9 }},
		{"everything its own", func(s *Settings) { s.Own = []Tuple{{}} }},
		{"too much its own", func(s *Settings) { s.Own = slices.Repeat([]Tuple{{Proto: 6}}, maxOwn+1) }},
		{"too many CPUs", func(s *Settings) { s.CPUs = make([]int, 257) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := DefaultSettings()
			tc.change(&s)
			if err := s.check(); err == nil {
				t.Error("taken")
			}
		})
	}
	f := loaded(t, DefaultSettings(), 0)
	s := DefaultSettings()
	s.CPUs = []int{1 << 20}
	s.SIP.UDP = nil
	if err := f.Set(s); err == nil {
		t.Error("a CPU that is not there was taken")
	}
	wants{{"as before", over4(5060, 5060, invite()), "pass: SIP"}}.run(t, f)
}
