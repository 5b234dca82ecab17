package call

import (
	"fmt"
	"strings"
	"testing"

	"ringside/flow/record"
	"ringside/flow/sip"
)

// steady is a table with one established call, and messages of it.
func steady(t testing.TB, lines ...string) (*Table, []*sip.Message, *Meta) {
	tt := new(testing.T)
	table := NewTable(Options{Limits: Limits{MaxMessages: 8, LinkHeader: "X-Link"}, Publish: func(Ref, *Media, int64) {}})
	var out []*sip.Message
	var meta *Meta
	take := func(line string) *sip.Message {
		m, at := messageOf(tt, fields(line))
		meta = at
		return m
	}
	for _, line := range []string{"0 A>B INVITE 1 sdp=10.1.0.1:4000", "1 B>A 200 INVITE 1 sdp=10.1.0.2:6000", "1 A>B ACK 1"} {
		table.Message(take(line), meta)
	}
	for _, line := range lines {
		out = append(out, take("2 "+line))
	}
	if tt.Failed() {
		t.Fatal("a line cannot be read")
	}
	for range 4 {
		for _, m := range out {
			table.Message(m, meta)
		}
	}
	return table, out, meta
}

func TestNoAllocation(t *testing.T) {
	var info, digits []string
	for i := range 40 {
		info = append(info, fmt.Sprintf("A>B INFO %d", i+2), fmt.Sprintf("B>A 200 INFO %d", i+2))
		digits = append(digits, fmt.Sprintf("A>B INFO %d relay=%d/100", i+2, i%10))
	}
	for _, c := range []struct {
		name  string
		lines []string
	}{
		{"messages", info},
		{"digits", digits},
		{"links", []string{
			"A>B INVITE 100 to=b \"Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=47755A9DE7794BA387653F2099600EF2\" \"X-CID: 1@x\"",
			"B>A 200 INVITE 100 \"P-Charging-Vector: icid-value=7\" \"Replaces: 2@y;to-tag=1\" \"X-Link: 1\"", "A>B ACK 100",
		}},
		{"keys", []string{
			"A>B INVITE 100 to=b sdp=10.1.0.1:4000//RTP-SAVP/a2V5MQ==", "B>A 200 INVITE 100 sdp=10.1.0.2:6000//RTP-SAVP/a2V5Mg==", "A>B ACK 100",
			"A>B INVITE 101 to=b sdp=10.1.0.1:4000//RTP-SAVP/a2V5Mw==", "B>A 200 INVITE 101 sdp=10.1.0.2:6004//udptl", "A>B ACK 101",
		}},
		{"retransmissions", []string{"A>B ACK 1", "B>A 200 INVITE 1 sdp=10.1.0.2:6000"}},
		{"re-INVITEs", []string{
			"A>B INVITE 100 to=b sdp=10.1.0.1:4000/sendonly", "B>A 200 INVITE 100 sdp=10.1.0.2:6000/recvonly \"Session-Expires: 1800\"", "A>B ACK 100",
			"A>B INVITE 101 to=b sdp=10.1.0.1:4000", "B>A 200 INVITE 101 sdp=10.1.0.2:6000", "A>B ACK 101",
			"A>B INVITE 102 to=b sdp=10.1.0.1:4000", "B>A 488 INVITE 102 \"Reason: Q.850;cause=88;text='x'\"", "A>B ACK 102",
		}},
		{"of no call", []string{"A>B OPTIONS 7 call=o", "B>A 200 OPTIONS 7 call=o", "A>B NOTIFY 1 call=n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, messages, meta := steady(t, c.lines...)
			if n := testing.AllocsPerRun(100, func() {
				for _, m := range messages {
					table.Message(m, meta)
				}
			}); n != 0 {
				t.Errorf("%g allocations for %d messages", n, len(messages))
			}
		})
	}
}

// BenchmarkMessage is one message of a known call that is no retransmission,
// with eight messages kept.
func BenchmarkMessage(b *testing.B) {
	var info []string
	for i := range 40 {
		info = append(info, fmt.Sprintf("A>B INFO %d", i+2))
	}
	table, messages, meta := steady(b, info...)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		table.Message(messages[i%len(messages)], meta)
		i++
	}
}

// BenchmarkCall is a whole call of seven messages with its record, in a table
// of 20,000 other calls.
func BenchmarkCall(b *testing.B) {
	tt := new(testing.T)
	var table *Table
	var rec *record.Call
	table = NewTable(Options{})
	load := func(id string) (out []*sip.Message) {
		for _, line := range []string{
			"A>B INVITE 1 sdp=10.1.0.1:4000", "B>A 100 INVITE 1", "B>A 180 INVITE 1", "B>A 200 INVITE 1 sdp=10.1.0.2:6000",
			"A>B ACK 1", "A>B BYE 2", "B>A 200 BYE 2",
		} {
			m, _ := messageOf(tt, fields("0 "+line+" call="+id))
			out = append(out, m)
		}
		return out
	}
	_, meta := messageOf(tt, fields("0 A>B INVITE 1"))
	for i := range 20000 {
		m, _ := messageOf(tt, fields(fmt.Sprintf("0 A>B INVITE 1 call=%s%d", strings.Repeat("f", 20), i)))
		table.Message(m, meta)
	}
	var last Ref
	table.options.Closed = func(ref Ref, _ int64) { last = ref }
	messages := load("the-call@host.example.com")
	b.ReportAllocs()
	for b.Loop() {
		last = 0
		for _, m := range messages {
			table.Message(m, meta)
		}
		// An INVITE that is not known ends the call, which is over.
		c := table.find(table.hash(messages[0].Get(messages[0].CallID)), messages[0].Get(messages[0].CallID))
		table.close(c, meta.Clock, record.EndUnknown)
		rec = table.Finish(last)
	}
	if rec.MessagesTotal != 7 {
		b.Fatalf("%d messages", rec.MessagesTotal)
	}
}
