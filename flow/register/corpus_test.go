package register

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"ringside/bench/corpus"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// TestCorpus reads the SIP over UDP of real captures. What is wanted was counted
// in tshark's list of their messages.
func TestCorpus(t *testing.T) {
	corpus.Dir(t)
	for _, c := range []struct{ file, want string }{
		{"OISF+suricata-verify/sip-tcp.pcap", ""}, // no UDP
		{"OISF+suricata-verify/sip.pcap", "voi18063@sip.cybercity.dk rejected registers=1 ok=0 challenges=1 failures=0 expires=0"},
		{"OISF+suricata-verify/input.pcap", `options up requests=1 answered=1 failures=0 ""`},
		{"OISF+suricata-verify/public-cloudshark-sip-s0.pcap", "francisco@bestel.com registered registers=1 ok=1 challenges=0 failures=0 expires=20"},
		{"ntop+nDPI/sip_hello.pcapng", "26841945@10.192.60.4 registered registers=4 ok=2 challenges=2 failures=0 expires=600"},
		{"andreeaDumitrache29+eim_lab9/sip.pcap", "andreea@upb3.onsip.com registered registers=2 ok=1 challenges=1 failures=0 expires=3600\nmessage ok requests=2 answered=2 failures=0 \"hello\""},
		{"seladb+PcapPlusPlus/sip_not_sdp.pcap", `publication pending requests=1 answered=0 failures=0 ""`},
	} {
		t.Run(c.file, func(t *testing.T) {
			var got []string
			table := New(Options{
				Registration: func(r *record.Registration, _ int64) {
					got = append(got, fmt.Sprintf("%s %s registers=%d ok=%d challenges=%d failures=%d expires=%d", r.AOR, r.State, r.Registers, r.Successes, r.Challenges, r.Failures, r.Expires))
				},
				Exchange: func(x *record.Exchange, _ int64) {
					got = append(got, fmt.Sprintf("%s %s requests=%d answered=%d failures=%d %q", x.Kind, x.State, x.Requests, x.Answered, x.Failures, x.Text))
				},
			})
			clock := eachMessage(t, corpus.Capture(t, c.file), table.Message)
			check(t, table)
			table.CloseAll(clock)
			empty(t, table)
			if got := strings.Join(got, "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// eachMessage calls f with the SIP messages that stand whole in UDP over IPv4 over
// Ethernet, and returns the last clock.
func eachMessage(t *testing.T, path string, f func(*sip.Message, *call.Meta)) (clock int64) {
	t.Helper()
	in, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for {
		b, err := in.Next()
		if errors.Is(err, io.EOF) {
			return clock
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		for i := range b.Frames {
			x := &b.Frames[i]
			clock = x.Clock
			meta := call.Meta{Time: x.Time, Clock: x.Clock, Seq: x.Seq, VLAN: -1, Transport: record.UDP}
			var m sip.Message
			if payload := datagram(x.Data, &meta); payload == nil {
			} else if _, err := m.Parse(payload); err == nil {
				f(&m, &meta)
			}
		}
		b.Release()
	}
}

func datagram(b []byte, meta *call.Meta) []byte {
	if len(b) < 14+20 || b[12] != 8 || b[13] != 0 || b[14]>>4 != 4 || b[14+9] != frame.ProtoUDP {
		return nil
	}
	ip := b[14:]
	udp := ip[min(int(ip[0]&15)*4, len(ip)):]
	if len(udp) < 8 {
		return nil
	}
	meta.Src = frame.Endpoint{Addr: frame.AddrFrom4(ip[12:]), Port: binary.BigEndian.Uint16(udp)}
	meta.Dst = frame.Endpoint{Addr: frame.AddrFrom4(ip[16:]), Port: binary.BigEndian.Uint16(udp[2:])}
	return udp[8:min(max(int(binary.BigEndian.Uint16(udp[4:])), 8), len(udp))]
}
