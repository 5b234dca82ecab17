package sip_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/sip"
)

// corpus is the folder of captures with their readings by tshark.
func corpus(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		corpus := filepath.Join(dir, "..", "shared", "corpus")
		if _, err := os.Stat(corpus); err == nil {
			return corpus
		}
		if filepath.Dir(dir) == dir {
			t.Skip("no ../shared/corpus beside the module: captures are not read")
		}
		dir = filepath.Dir(dir)
	}
}

// row is what tshark reads of one SIP message.
type row struct {
	frame             int // from 1
	what, callID, seq string
}

// reference reads NAME.sip.tsv: the messages over UDP by frame.
func reference(t *testing.T, path string) map[int][]row {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[int][]row{}
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		f := strings.Split(line, "\t")
		if i == 0 || f[2] != "UDP" {
			continue
		}
		f = append(f, "", "", "") // Call-ID, CSeq and note may be missing
		n, err := strconv.Atoi(f[0])
		if err != nil || len(f) < 9 {
			t.Fatalf("%s, line %d: %q", path, i+1, line)
		}
		rows[n] = append(rows[n], row{n, f[5], f[6], f[7]})
	}
	return rows
}

// eachPacket calls f with the packets of a capture and their frame numbers.
func eachPacket(t *testing.T, path string, f func(n int, p *frame.Packet)) {
	t.Helper()
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var d decode.Decoder
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		d.Batch(b)
		for i := range b.Packets {
			f(int(b.Packets[i].Seq)+1, &b.Packets[i])
		}
		b.Release()
	}
}

// read parses the messages of a datagram as tshark names them.
func read(n int, b []byte) (rows []row) {
	for sip.Looks(b) {
		var m sip.Message
		taken, err := m.Parse(b)
		what := string(m.Get(m.MethodName))
		if m.Response {
			what = strconv.Itoa(int(m.Status))
		}
		if err == sip.NoCallID { // tshark shows what there is
			return append(rows, row{n, what, "", ""})
		}
		if err != nil {
			return append(rows, row{n, err.Error(), "", ""})
		}
		rows = append(rows, row{n, what, string(m.Get(m.CallID)), fmt.Sprintf("%d %s", m.CSeq, m.Get(m.CSeqMethod))})
		b = b[taken:]
	}
	return rows
}

const gtpU = 2152 // 3GPP TS 29.281

// notPlain are the captures whose SIP (over UDP) comes in tunnels or fragments,
// with the number of messages that do. A later decoder makes this table shorter.
var notPlain = map[string]struct {
	messages int
	how      string
}{
	"arkime+arkime/gtp-iphone.pcap":                 {4, "GTP-U"},
	"dotpcap+packetnet/udp-ip-fragmented.pcap":      {1, "IPv4 fragments"},
	"irontec+sngrep/ipv6frag.pcap":                  {2, "IPv6 fragments"},
	"negbie+heplify/erspan_sip_ipv4_udp.pcapng":     {140, "ERSPAN"},
	"ntop+nDPI/gre.pcapng":                          {1, "GRE"},
	"open5gs+open5gs/ipsec_reg.pcapng":              {24, "GTP-U"},
	"open5gs+open5gs/ipsec_to_ipsec_call.pcapng":    {57, "GTP-U"},
	"open5gs+open5gs/nonipsec_to_ipsec_call.pcapng": {30, "GTP-U"},
	"seladb+PcapPlusPlus/sip_reqs.pcap":             {2, "PPPoE"},
	"open5gs+open5gs/volte.pcapng":                  {17, "GTP-U"},
}

// Every SIP message over UDP that tshark reads in the captures is read here, with
// the same method or status, Call-ID and CSeq, and none besides.
func TestTshark(t *testing.T) {
	root := corpus(t)
	compared, elsewhere := 0, 0
	err := filepath.WalkDir(filepath.Join(root, "captures"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(filepath.Join(root, "captures"), path)
		ref := filepath.Join(root, "ref", strings.ReplaceAll(name, "/", "__")+".sip.tsv")
		if _, err := os.Stat(ref); err != nil {
			return nil // no capture, or one that tshark does not read
		}
		want := reference(t, ref)
		missing := 0
		eachPacket(t, path, func(n int, p *frame.Packet) {
			if p.Proto != frame.ProtoUDP {
				return
			}
			if p.Flags&frame.FlagFragment != 0 {
				return // tshark shows the message at its last fragment
			}
			got := read(n, p.Payload)
			if len(got) == 0 && (p.Src.Port == gtpU || p.Dst.Port == gtpU) {
				return // what tshark shows is in the tunnel
			}
			if fmt.Sprint(got) != fmt.Sprint(want[n]) {
				t.Errorf("%s, frame %d:\n got %v\nwant %v", name, n, got, want[n])
			}
			compared += len(got)
			delete(want, n)
		})
		for _, rows := range want {
			missing += len(rows)
		}
		if missing > notPlain[name].messages {
			t.Errorf("%s: %d messages are not in plain datagrams, want at most %d (%s)", name, missing, notPlain[name].messages, notPlain[name].how)
		}
		elsewhere += missing
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages compared, %d in tunnels and fragments", compared, elsewhere)
	if compared < 350 {
		t.Errorf("only %d messages", compared)
	}
}
