package decode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ringside/bench/corpus"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
)

// capture is a file of the corpus with its frames.
type capture struct {
	name   string // relative to the corpus
	frames []frame.Frame
}

// readCorpus reads all captures of the corpus, of calls and of encapsulations.
func readCorpus(t *testing.T, root string) []capture {
	t.Helper()
	var captures []capture
	for _, dir := range []string{"captures", "encap"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, ".tsv") || strings.HasSuffix(path, ".txt") {
				return err
			}
			name, _ := filepath.Rel(root, path)
			captures = append(captures, capture{name, readFrames(t, path)})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return captures
}

// readFrames copies the frames of a file. Damage is the business of pcapin.
func readFrames(t *testing.T, path string) []frame.Frame {
	t.Helper()
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var frames []frame.Frame
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return frames
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		for _, f := range b.Frames {
			f.Data = bytes.Clone(f.Data)
			frames = append(frames, f)
		}
		b.Release()
	}
}

// TestCorpusLedger wants the ledger to balance on every capture.
func TestCorpusLedger(t *testing.T) {
	var total Stats
	captures := readCorpus(t, corpus.Dir(t))
	for _, c := range captures {
		var d Decoder
		b := frame.Batch{Frames: c.frames}
		d.Decode(&b)
		s := d.Stats()
		into := frame.Batch{}
		for i := range b.Fragments {
			f, tunnel := &b.Fragments[i], frame.Tunnel{}
			if f.Tunnel > 0 {
				tunnel = b.Tunnels[f.Tunnel-1]
			}
			d.Join(f, &tunnel, &into)
		}
		s = d.Stats()
		if !s.Balanced() || s.Frames != uint64(len(c.frames)) || s.Packets != uint64(len(b.Packets)) ||
			s.Fragments != uint64(len(b.Fragments)) || s.JoinedPackets != uint64(len(into.Packets)) {
			t.Errorf("%s: %d frames, %d packets, %d fragments, reasons %v, fragments %v, datagrams %v", c.name,
				s.Frames, s.Packets, s.Fragments, s.Reasons, s.Fates(), s.Datagrams())
		}
		total.Add(&s)
	}
	t.Logf("%d captures, %d frames, %d packets, %d fragments that made %d packets; tunnels %v", len(captures),
		total.Frames, total.Packets, total.Fragments, total.JoinedPackets, total.Opened())
}

// reading is what one of the two programs makes of a frame: protocol, transport
// addresses, length of the payload and VLAN, or nothing.
type reading string

// differs is why tshark reads some frames of a capture otherwise, and how many.
type differs struct {
	frames int
	why    string
}

// tsharkDiffers lists the captures in which tshark reads frames otherwise.
var tsharkDiffers = map[string]differs{
	"captures/arkime+arkime/arkime_synthetic.pcap":                                                              {3, "two tunnels by their source port only, which tshark takes, too; " + udpToEnd},
	"encap/AlexeyVasilev+PcapFlowLab/ah__17_ah_invalid_payload_length_too_small.pcap":                           {1, "an AH of 8 bytes makes tcp-bad-header of what follows; tshark takes ports from it"},
	"encap/AlexeyVasilev+PcapFlowLab/eoip__14_eoip_payload_length_smaller_than_inner_frame.pcap":                {1, "the payload ends where the header of Ethernet over IP says (truncated-ip); tshark reads on"},
	"encap/AlexeyVasilev+PcapFlowLab/eoip__24_ipv4_gre_v0_6400_wrong_version_key.pcap":                          {1, otherVersion},
	"encap/AlexeyVasilev+PcapFlowLab/eoip__25_ipv4_gre_v1_checksum_key_6400_not_eoip.pcap":                      {1, otherVersion},
	"encap/AlexeyVasilev+PcapFlowLab/geneve__06_geneve_invalid_version.pcap":                                    {1, otherVersion},
	"encap/AlexeyVasilev+PcapFlowLab/geneve__08_geneve_truncated_inner_ethernet.pcap":                           {1, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/geneve__09_geneve_truncated_inner_ipv4.pcap":                               {1, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/geneve__10_geneve_unsupported_protocol_type.pcap":                          {1, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/geneve__18_geneve_udp_port_direction_matrix.pcap":                          {1, sourcePort},
	"encap/AlexeyVasilev+PcapFlowLab/geneve__28_geneve_udp_declared_bounds_matrix.pcap":                         {2, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/geneve__29_geneve_capture_truncation_matrix.pcap":                          {1, insideCut},
	"encap/AlexeyVasilev+PcapFlowLab/gtpu__08_gtpu_truncated_inner_ipv4.pcap":                                   {1, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/gtpu__09_gtpu_truncated_inner_ipv6.pcap":                                   {1, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/ip_options__07_ipv4_loose_source_route_udp.pcap":                           {1, sourceRoute},
	"encap/AlexeyVasilev+PcapFlowLab/ip_options__08_ipv4_strict_source_route_udp.pcap":                          {1, sourceRoute},
	"encap/AlexeyVasilev+PcapFlowLab/ip_options__20_ipv4_snaplen_truncated_before_next_header.pcap":             {1, headerCut},
	"encap/AlexeyVasilev+PcapFlowLab/llc_snap__15_llc_snap_length_extra_payload.pcap":                           {1, length8023},
	"encap/AlexeyVasilev+PcapFlowLab/llc_snap__19_llc_snap_declared_short_with_captured_tail.pcap":              {1, length8023},
	"encap/AlexeyVasilev+PcapFlowLab/mpls__21_mpls_snaplen_truncated_inner_tcp.pcap":                            {1, headerCut},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__01_mpls_pw_eth_ipv4_tcp_no_cw.pcap":                               {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__02_mpls_pw_eth_ipv4_udp_no_cw.pcap":                               {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__03_mpls_pw_eth_ipv6_tcp_cw.pcap":                                  {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__04_mpls_pw_eth_ipv6_udp_cw.pcap":                                  {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__06_mpls_pw_eth_vlan_ipv4_tcp_cw.pcap":                             {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__07_mpls_pw_eth_qinq_ipv4_udp_cw.pcap":                             {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__08_mpls_pw_eth_llc_snap_ipv4_udp_cw.pcap":                         {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__14_mpls_pw_control_word_with_sequence.pcap":                       {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__15_mpls_pw_ambiguous_no_cw_inner_ethernet.pcap":                   {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__16_mpls_pw_outer_vlan_inner_qinq_ipv4_udp_cw.pcap":                {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__17_mpls_pw_outer_qinq_inner_ipv4_udp_cw.pcap":                     {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__18_mpls_pw_outer_legacy_vlan_ipv4_tcp_cw.pcap":                    {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__19_mpls_pw_ambiguous_no_cw_mac_starts_with_4.pcap":                {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/mpls_pw__20_mpls_pw_ambiguous_no_cw_mac_starts_with_6.pcap":                {1, pseudoWire},
	"encap/AlexeyVasilev+PcapFlowLab/pbb__08_pbb_inner_llc_snap_ipv4_udp.pcap":                                  {1, "tshark reads no LLC in 802.1ah"},
	"encap/AlexeyVasilev+PcapFlowLab/pppoe__27_pppoe_session_capture_truncated_ipv4_udp_caplen_lt_origlen.pcap": {1, headerCut},
	"encap/AlexeyVasilev+PcapFlowLab/pppoe__28_pppoe_session_unsupported_version_with_ipv4_trailer.pcap":        {1, otherVersion},
	"encap/AlexeyVasilev+PcapFlowLab/pppoe__29_pppoe_session_unsupported_type_with_ipv4_trailer.pcap":           {1, otherVersion},
	"encap/AlexeyVasilev+PcapFlowLab/pppoe__30_pppoe_session_unsupported_code_with_ipv4_trailer.pcap":           {1, otherVersion},
	"encap/AlexeyVasilev+PcapFlowLab/pppoe__33_pppoe_same_session_id_supported_and_unsupported_code.pcap":       {1, otherVersion},
	"encap/AlexeyVasilev+PcapFlowLab/sctp__12_sctp_truncated_common_header.pcap":                                {1, headerCut},
	"encap/AlexeyVasilev+PcapFlowLab/tcp_options__18_tcp_syn_options_snaplen_truncated.pcap":                    {1, headerCut},
	"encap/AlexeyVasilev+PcapFlowLab/tcp_options__19_tcp_syn_tcp_header_snaplen_truncated.pcap":                 {1, headerCut},
	"encap/AlexeyVasilev+PcapFlowLab/vxlan__06_vxlan_invalid_flags_or_reserved_bits.pcap":                       {1, "a header that says it has no VNI (RFC 7348 section 5); tshark opens it"},
	"encap/AlexeyVasilev+PcapFlowLab/vxlan__07_vxlan_truncated_inner_ethernet.pcap":                             {1, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/vxlan__08_vxlan_truncated_inner_ipv4.pcap":                                 {1, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/vxlan__17_vxlan_udp_port_and_header_matrix.pcap":                           {2, "source port of a tunnel in one frame, a header without VNI in the other; tshark opens both"},
	"encap/AlexeyVasilev+PcapFlowLab/vxlan__25_vxlan_outer_ipv6_fragmentation.pcap":                             {1, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/vxlan__26_vxlan_udp_declared_bounds_matrix.pcap":                           {1, noInside},
	"encap/AlexeyVasilev+PcapFlowLab/vxlan__29_vxlan_capture_truncation_matrix.pcap":                            {1, headerCut},
	"encap/the-tcpdump-group+tcpdump/tests__ipv6_frag6_negative_len.pcap":                                       {1, "tshark shows no fragment header that is followed by nothing"},
	"encap/zeek+zeek/tunnels__geneve-truncated.pcapng":                                                          {1, noInside},
	"encap/zeek+zeek/tunnels__gre-aruba-amsdu.pcap":                                                             {1, "GRE of Aruba carries 802.11 (unknown-ethertype)"},
	"encap/zeek+zeek/tunnels__gtp__gtp9_unknown_or_too_short_payload.pcap":                                      {1, "the inner packet is longer than its tunnel: the length is the packet's, and it is cut; tshark goes by the tunnel"},
	"encap/zeek+zeek/tunnels__gtp__gtp_control_prime.pcap":                                                      {2, "tshark finds ICMP in what it takes for GTP' by the port"},
	"encap/zeek+zeek/tunnels__gtp__pdp_ctx_messages.pcapng":                                                     {2, "tshark finds ICMP in what it takes for GTP' by the port"},
	"encap/zeek+zeek/vntag_vlan_sandwich_clean.pcap":                                                            {1, headerCut},

	"path: ether-ip version 4":   {1, otherVersion},
	"path: five tags":            {1, "tshark has no limit of VLAN tags"},
	"path: four tags":            {1, "tshark does not know the EtherTypes 0x9200 and 0x9300"},
	"path: ipv6 length zero":     {1, "tshark takes the payload for empty"},
	"path: ipv6 nine extensions": {1, "tshark has no limit of extension headers"},
	"path: null ipv6 linux":      {1, "tshark does not know the address family of Linux"},
	"path: short sctp":           {1, headerShort},
	"path: short tcp":            {1, headerShort},
	"path: short udp":            {1, headerShort},
	"path: tcp offset 4":         {1, "tshark shows the ports of a header that contradicts itself"},
	"path: tcp offset beyond ip": {1, "tshark shows the ports of a header that contradicts itself"},
	"path: udp length 7":         {1, "tshark shows the ports of a header that contradicts itself"},
	"path: udp length zero":      {1, udpToEnd},
}

const (
	udpToEnd     = "the payload of UDP with length 0 reaches to the end of the IP payload; tshark has none"
	sourceRoute  = "the destination is that of the header; tshark takes the last of the source route"
	headerCut    = "the snap length cuts the transport header (truncated-transport); tshark shows the ports"
	headerShort  = "the IP payload ends within the transport header (short-transport); tshark shows what there is"
	length8023   = "the IP length bounds the packet, also where the 802.3 length is less; tshark goes by the latter"
	pseudoWire   = "a pseudo-wire is told by the EtherType in it; tshark wants known vendors' addresses"
	otherVersion = "a header of a version, or type, that is not read; tshark reads it as the usual one"
	sourcePort   = "a tunnel is told by its destination port; tshark takes the source port, too"
	noInside     = "what follows the header of the tunnel cannot be, so it is UDP of that port; tshark names the tunnel"
	insideCut    = "the snap length cuts the inside of the tunnel (truncated-link); tshark shows the UDP around"
)

// TestTshark compares every frame of the corpus, and the frames of the path
// tests, with tshark's reading. The frames go to tshark in one file per link
// type, which spares it hundreds of starts and leaves the reading of files out
// of the comparison.
func TestTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skipf("no tshark to compare with: %v", err)
	}
	type origin struct {
		name   string
		number int
	}
	frames := map[frame.LinkType][]frame.Frame{}
	origins := map[frame.LinkType][]origin{}
	var captures []capture
	dir, haveCorpus := corpus.Find(t)
	if haveCorpus {
		captures = readCorpus(t, dir)
	} else {
		t.Logf("no corpus at %s: its captures are not compared", dir)
	}
	for _, c := range slices.Concat(packetPaths, reasonPaths) {
		captures = append(captures, capture{"path: " + c.name, oneFrame(c.link, c.data).Frames})
	}
	for _, c := range captures {
		for i, f := range c.frames {
			frames[f.Link] = append(frames[f.Link], f)
			origins[f.Link] = append(origins[f.Link], origin{c.name, i + 1})
		}
	}
	differ := map[string]int{} // frames by capture
	for _, link := range []frame.LinkType{
		frame.LinkEthernet, frame.LinkSLL, frame.LinkSLL2, frame.LinkNull, frame.LinkLoop,
		frame.LinkRaw, frame.LinkIPv4, frame.LinkIPv6,
	} {
		t.Run(fmt.Sprint("link ", link), func(t *testing.T) {
			ours := ourReadings(frames[link])
			theirs := tsharkReadings(t, tshark, link, frames[link])
			if len(theirs) != len(ours) {
				t.Fatalf("tshark read %d frames of %d", len(theirs), len(ours))
			}
			for i, o := range origins[link] {
				if ours[i] == theirs[i] {
					continue
				}
				if differ[o.name]++; differ[o.name] > tsharkDiffers[o.name].frames {
					t.Errorf("%s frame %d:\n   ours %s\n tshark %s", o.name, o.number, ours[i], theirs[i])
				}
			}
			t.Logf("%d frames", len(ours))
		})
	}
	for name, d := range tsharkDiffers {
		if differ[name] != d.frames && (haveCorpus || strings.HasPrefix(name, "path: ")) {
			t.Errorf("%s differs in %d frames, not in %d as listed: %s", name, differ[name], d.frames, d.why)
		}
	}
}

func ourReadings(frames []frame.Frame) []reading {
	readings := make([]reading, len(frames))
	var d Decoder
	for i := range frames {
		b := frame.Batch{Frames: frames[i : i+1]}
		d.Decode(&b)
		if len(b.Fragments) > 0 {
			f := &b.Fragments[0]
			readings[i] = reading(fmt.Sprintf("fragment %v %v offset %d", f.Src, f.Dst, f.Offset))
		}
		for _, p := range b.Packets {
			vlan := ""
			if p.Flags&frame.FlagVLAN != 0 {
				vlan = fmt.Sprint(p.VLAN)
			}
			length := fmt.Sprint(p.Len)
			if p.Proto == frame.ProtoSCTP {
				length = "" // tshark has no field for it
			}
			readings[i] = reading(fmt.Sprintf("%d %v %v len %s vlan %s", p.Proto, p.Src, p.Dst, length, vlan))
		}
	}
	return readings
}

// tsharkReadings are of the innermost IP header.
func tsharkReadings(t *testing.T, tshark string, link frame.LinkType, frames []frame.Frame) []reading {
	t.Helper()
	file := filepath.Join(t.TempDir(), "frames.pcap")
	if err := os.WriteFile(file, pcapFile(link, frames), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := []string{
		"frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst",
		"ip.flags.mf", "ip.frag_offset", "ipv6.fraghdr.more", "ipv6.fraghdr.offset",
		"udp.srcport", "udp.dstport", "udp.length", "tcp.srcport", "tcp.dstport", "tcp.len",
		"sctp.srcport", "sctp.dstport", "vlan.id", "ieee8021ad.id",
	}
	args := []string{
		"-n", "-r", file, "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,",
		"-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-d", "udp.port==8472,vxlan",
		"-o", "esp.enable_null_encryption_decode_heuristic:TRUE",
	}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatalf("run tshark: %v", err)
	}
	var readings []reading
	for line := range strings.Lines(string(out)) {
		values := map[string][]string{}
		for i, v := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
			values[fields[i]] = strings.Split(v, ",")
		}
		readings = append(readings, tsharkReading(values))
	}
	return readings
}

// tsharkStops are layers in which tshark finds further IP headers, but that are
// no tunnels of ours.
var tsharkStops = []string{"icmp", "icmpv6", "teredo", "ayiya"}

// tsharkReading is the reading of a frame by the values of its fields, each
// with one value per header.
func tsharkReading(values map[string][]string) reading {
	count := map[string]int{} // layers by name
	at := func(field string, layer string) string {
		v, i := values[field], count[layer]-1
		if i < 0 || i >= len(v) {
			return ""
		}
		return v[i]
	}
	vlan, network, transport := "", "", ""
	var src, dst netip.Addr
	for _, layer := range strings.Split(strings.Join(values["frame.protocols"], ","), ":") {
		if slices.Contains(tsharkStops, layer) {
			break
		}
		count[layer]++
		var offset, more string
		switch layer {
		case "vlan", "ieee8021ad":
			if vlan == "" {
				vlan = values[layer+".id"][0]
			}
		case "eth": // of a tunnel; what comes before is not the innermost
			network, transport = "", ""
		case "ip", "ipv6":
			network, transport = layer, ""
			var err error
			if src, err = netip.ParseAddr(at(network+".src", network)); err != nil {
				return "" // the header is too bad to show
			}
			dst, _ = netip.ParseAddr(at(network+".dst", network))
			if layer == "ip" {
				offset, more = at("ip.frag_offset", layer), at("ip.flags.mf", layer)
			}
		case "ipv6.fraghdr":
			offset, more = at("ipv6.fraghdr.offset", layer), at("ipv6.fraghdr.more", layer)
		case "udp", "tcp", "sctp":
			transport = layer
		}
		if n, _ := strconv.Atoi(offset); n != 0 || more == "1" { // in units of 8 bytes
			return reading(fmt.Sprintf("fragment %v %v offset %d", src, dst, 8*n))
		}
	}
	if network == "" || transport == "" {
		return ""
	}
	proto := map[string]int{"tcp": 6, "udp": 17, "sctp": 132}[transport]
	length := at(transport+".len", transport)
	if transport == "udp" {
		n, _ := strconv.Atoi(at("udp.length", transport))
		length = fmt.Sprint(n - 8)
	}
	srcPort, _ := strconv.Atoi(at(transport+".srcport", transport))
	dstPort, _ := strconv.Atoi(at(transport+".dstport", transport))
	return reading(fmt.Sprintf("%d %v %v len %s vlan %s", proto,
		netip.AddrPortFrom(src, uint16(srcPort)), netip.AddrPortFrom(dst, uint16(dstPort)), length, vlan))
}

// pcapFile is a capture file of the frames, in the classic format with
// nanoseconds.
func pcapFile(link frame.LinkType, frames []frame.Frame) []byte {
	order := binary.LittleEndian
	file := order.AppendUint32(nil, 0xa1b23c4d)
	for _, v := range []uint32{4<<16 | 2, 0, 0, 256 << 10, uint32(link)} {
		file = order.AppendUint32(file, v)
	}
	for _, f := range frames {
		for _, v := range []int64{f.Time / 1e9, f.Time % 1e9, int64(len(f.Data)), int64(max(f.Len, uint32(len(f.Data))))} {
			file = order.AppendUint32(file, uint32(v))
		}
		file = append(file, f.Data...)
	}
	return file
}
