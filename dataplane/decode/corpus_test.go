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
		d.Batch(&b)
		s := d.Stats()
		sum := s.Packets
		for _, n := range s.Reasons {
			sum += n
		}
		if sum != s.Frames || s.Frames != uint64(len(c.frames)) || s.Packets != uint64(len(b.Packets)) {
			t.Errorf("%s: %d frames, %d packets, reasons %v", c.name, s.Frames, s.Packets, s.Reasons)
		}
		total.Add(&s)
	}
	t.Logf("%d captures, %d frames, %d packets", len(captures), total.Frames, total.Packets)
}

// reading is what one of the two programs makes of a frame: protocol, transport
// addresses, length of the payload and VLAN, or nothing.
type reading string

// tsharkDiffers lists, by capture, the one frame that tshark reads otherwise, and why.
var tsharkDiffers = map[string]string{
	"captures/arkime+arkime/arkime_synthetic.pcap":                                                  udpToEnd,
	"encap/AlexeyVasilev+PcapFlowLab/ah__17_ah_invalid_payload_length_too_small.pcap":               "an AH of 8 bytes makes tcp-bad-header of what follows; tshark takes ports from it",
	"encap/AlexeyVasilev+PcapFlowLab/ip_options__07_ipv4_loose_source_route_udp.pcap":               sourceRoute,
	"encap/AlexeyVasilev+PcapFlowLab/ip_options__08_ipv4_strict_source_route_udp.pcap":              sourceRoute,
	"encap/AlexeyVasilev+PcapFlowLab/ip_options__20_ipv4_snaplen_truncated_before_next_header.pcap": headerCut,
	"encap/AlexeyVasilev+PcapFlowLab/llc_snap__15_llc_snap_length_extra_payload.pcap":               length8023,
	"encap/AlexeyVasilev+PcapFlowLab/llc_snap__19_llc_snap_declared_short_with_captured_tail.pcap":  length8023,
	"encap/AlexeyVasilev+PcapFlowLab/pbb__09_pbb_outer_btag_ipv4_udp.pcap":                          tunnel8021ah,
	"encap/AlexeyVasilev+PcapFlowLab/pbb__10_pbb_outer_btag_inner_vlan_ipv4_tcp.pcap":               tunnel8021ah,
	"encap/AlexeyVasilev+PcapFlowLab/sctp__12_sctp_truncated_common_header.pcap":                    headerCut,
	"encap/AlexeyVasilev+PcapFlowLab/tcp_options__18_tcp_syn_options_snaplen_truncated.pcap":        headerCut,
	"encap/AlexeyVasilev+PcapFlowLab/tcp_options__19_tcp_syn_tcp_header_snaplen_truncated.pcap":     headerCut,
	"encap/AlexeyVasilev+PcapFlowLab/vxlan__29_vxlan_capture_truncation_matrix.pcap":                headerCut,
	"encap/zeek+zeek/ipv4__fragmented-3.pcap":                                                       tcpFragment,
	"encap/zeek+zeek/ipv4__fragmented-4.pcap":                                                       tcpFragment,
	"encap/zeek+zeek/ipv4__fragmented-syn.pcap":                                                     headerShort,

	"path: four tags":                  "tshark does not know the EtherTypes 0x9200 and 0x9300",
	"path: five tags":                  "tshark has no limit of VLAN tags",
	"path: null ipv6 linux":            "tshark does not know the address family of Linux",
	"path: ipv6 length zero":           "tshark takes the payload for empty",
	"path: ipv6 nine extensions":       "tshark has no limit of extension headers",
	"path: ipv4 first fragment of tcp": tcpFragment,
	"path: udp length zero":            udpToEnd,
	"path: udp length 7":               "tshark shows the ports of a header that contradicts itself",
	"path: tcp offset 4":               "tshark shows the ports of a header that contradicts itself",
	"path: tcp offset beyond ip":       "tshark shows the ports of a header that contradicts itself",
	"path: short udp":                  headerShort,
	"path: short tcp":                  headerShort,
	"path: short sctp":                 headerShort,
}

const (
	udpToEnd     = "the payload of UDP with length 0 reaches to the end of the IP payload; tshark has none"
	sourceRoute  = "the destination is that of the header; tshark takes the last of the source route"
	headerCut    = "the snap length cuts the transport header (truncated-transport); tshark shows the ports"
	headerShort  = "the IP payload ends within the transport header (short-transport); tshark shows what there is"
	length8023   = "the IP length bounds the packet, also where the 802.3 length is less; tshark goes by the latter"
	tunnel8021ah = "802.1ah is a tunnel, named but not opened (tunnel-fabric)"
	tcpFragment  = "the length of a first fragment of TCP is the fragment's; tshark has none"
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
				if differ[o.name]++; differ[o.name] > 1 || tsharkDiffers[o.name] == "" {
					t.Errorf("%s frame %d:\n   ours %s\n tshark %s", o.name, o.number, ours[i], theirs[i])
				}
			}
			t.Logf("%d frames", len(ours))
		})
	}
	for name, why := range tsharkDiffers {
		if differ[name] == 0 && (haveCorpus || strings.HasPrefix(name, "path: ")) {
			t.Errorf("%s does not differ, but is listed: %s", name, why)
		}
	}
}

func ourReadings(frames []frame.Frame) []reading {
	readings := make([]reading, len(frames))
	var d Decoder
	for i := range frames {
		b := frame.Batch{Frames: frames[i : i+1]}
		d.Batch(&b)
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

// tsharkReadings are of the outermost IP header, as tunnels are not opened.
func tsharkReadings(t *testing.T, tshark string, link frame.LinkType, frames []frame.Frame) []reading {
	t.Helper()
	file := filepath.Join(t.TempDir(), "frames.pcap")
	if err := os.WriteFile(file, pcapFile(link, frames), 0o600); err != nil {
		t.Fatal(err)
	}
	fields := []string{
		"frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst",
		"udp.srcport", "udp.dstport", "udp.length", "tcp.srcport", "tcp.dstport", "tcp.len",
		"sctp.srcport", "sctp.dstport", "vlan.id", "ieee8021ad.id",
	}
	args := []string{"-n", "-r", file, "-T", "fields", "-E", "occurrence=f", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatalf("run tshark: %v", err)
	}
	var readings []reading
	for line := range strings.Lines(string(out)) {
		value := map[string]string{}
		for i, v := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
			value[fields[i]] = v
		}
		readings = append(readings, tsharkReading(value))
	}
	return readings
}

func tsharkReading(value map[string]string) reading {
	protocols := strings.Split(value["frame.protocols"], ":")
	vlan := ""
	for {
		if len(protocols) == 0 {
			return ""
		}
		layer := protocols[0]
		if layer == "ip" || layer == "ipv6" {
			break
		}
		switch layer {
		case "vlan", "ieee8021ad":
			if vlan == "" {
				vlan = value[layer+".id"]
			}
		case "eth", "ethertype", "sll", "null", "raw", "llc":
		default:
			return ""
		}
		protocols = protocols[1:]
	}
	src, _ := netip.ParseAddr(value[protocols[0]+".src"])
	dst, _ := netip.ParseAddr(value[protocols[0]+".dst"])
	i := 1 + slices.IndexFunc(protocols[1:], func(layer string) bool {
		return !strings.HasPrefix(layer, "ipv6.") && layer != "ah"
	})
	transport := protocols[i]
	length := value[transport+".len"]
	proto, ok := map[string]int{"tcp": 6, "udp": 17, "sctp": 132}[transport]
	if !ok {
		return ""
	}
	if transport == "udp" {
		n, _ := strconv.Atoi(value["udp.length"])
		length = fmt.Sprint(n - 8)
	}
	srcPort, _ := strconv.Atoi(value[transport+".srcport"])
	dstPort, _ := strconv.Atoi(value[transport+".dstport"])
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
