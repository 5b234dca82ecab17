package stream

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"testing"

	"ringside/bench/corpus"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/sip"
)

// explained are the captures in which this package and tshark differ, with the
// messages that only one of them shows.
var explained = map[string]struct {
	more, fewer int
	why         string
}{
	"ntop+nDPI/http_on_sip_port.pcap": {0, 2, "tshark takes HTTP on port 5060 for SIP, without method and Call-ID"},
}

// TestTshark: every SIP message over TCP, WebSocket and SCTP that tshark reads in
// the captures is read here, with the same method or status, Call-ID, CSeq and
// addresses, and none besides.
func TestTshark(t *testing.T) {
	compared := 0
	for _, capture := range corpus.Index(t) {
		name := capture["file"]
		var want []string
		for _, r := range corpus.Reference(t, name, "sip") {
			if r["transport"] != "UDP" {
				want = append(want, fmt.Sprintf("%s %s > %s: %s %s %s", r["transport"], r["src"], r["dst"], r["method_or_status"], r["call_id"], r["cseq"]))
			}
		}
		got := readCapture(t, corpus.Capture(t, name))
		compared += len(want)
		slices.Sort(want)
		slices.Sort(got)
		more, fewer := difference(got, want), difference(want, got)
		if e := explained[name]; len(more) != e.more || len(fewer) != e.fewer {
			t.Errorf("%s: %d messages; only here %d:\n%q\nonly in tshark %d:\n%q", name, len(want), len(more), more, len(fewer), fewer)
		}
	}
	t.Logf("%d messages compared", compared)
	if compared < 400 {
		t.Error("that is too few")
	}
}

// difference is what is in a and not in b, as often as it is there more.
func difference(a, b []string) (out []string) {
	b = slices.Clone(b)
	for _, s := range a {
		if i := slices.Index(b, s); i >= 0 {
			b = slices.Delete(b, i, i+1)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// readCapture is the messages that a capture has on streams.
func readCapture(t *testing.T, path string) (out []string) {
	t.Helper()
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	table := New(Options{Emit: func(m *Message) {
		var p sip.Message
		_, err := p.Parse(m.Data)
		what := string(p.Get(p.MethodName))
		if p.Response {
			what = strconv.Itoa(int(p.Status))
		}
		if err != nil && err != sip.NoCallID {
			what += " " + err.Error()
		}
		transport := map[string]string{"tcp": "TCP", "ws": "WS", "sctp": "SCTP"}[m.Transport.String()]
		cseq := ""
		if p.CSeqMethod.Len > 0 {
			cseq = fmt.Sprintf("%d %s", p.CSeq, p.Get(p.CSeqMethod))
		}
		out = append(out, fmt.Sprintf("%s %v > %v: %s %s %s", transport, m.Src, m.Dst, what, p.Get(p.CallID), cseq))
	}})
	var d decode.Decoder
	var joined frame.Batch
	packets, clock := uint64(0), int64(0)
	take := func(all []frame.Packet) {
		for i := range all {
			if p := &all[i]; p.Proto != frame.ProtoUDP {
				table.Packet(p)
				packets++
				clock = p.Clock
			}
		}
	}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		d.Decode(b)
		take(b.Packets)
		for i := range b.Fragments {
			f := &b.Fragments[i]
			var tunnel frame.Tunnel
			if f.Tunnel > 0 {
				tunnel = b.Tunnels[f.Tunnel-1]
			}
			joined.Packets, joined.Tunnels = joined.Packets[:0], joined.Tunnels[:0]
			d.Join(f, &tunnel, &joined)
			take(joined.Packets)
		}
		b.Release()
	}
	table.Close(clock)
	checkTable(t, table, packets)
	return out
}
