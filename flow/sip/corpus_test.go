package sip_test

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"

	"ringside/bench/corpus"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/sip"
)

// row is what tshark reads of one SIP message.
type row struct {
	frame             int // from 1
	what, callID, seq string
}

// reference is the messages over UDP in a capture, by frame.
func reference(t *testing.T, file string) map[int][]row {
	t.Helper()
	rows := map[int][]row{}
	for i, r := range corpus.Reference(t, file, "sip") {
		if r["transport"] != "UDP" {
			continue
		}
		n, err := strconv.Atoi(r["frame"])
		what, ok := r["method_or_status"]
		if err != nil || !ok {
			t.Fatalf("%s, row %d: %q", file, i+1, r)
		}
		rows[n] = append(rows[n], row{n, what, r["call_id"], r["cseq"]})
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
		d.Decode(b)
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
	compared, elsewhere := 0, 0
	for _, capture := range corpus.Index(t) {
		name := capture["file"]
		want := reference(t, name)
		missing := 0
		eachPacket(t, corpus.Capture(t, name), func(n int, p *frame.Packet) {
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
	}
	t.Logf("%d messages compared, %d in tunnels and fragments", compared, elsewhere)
	if compared < 350 {
		t.Errorf("only %d messages", compared)
	}
}
