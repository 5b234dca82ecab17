package sip

import (
	"strings"
	"testing"
)

func TestLinks(t *testing.T) {
	const a, b = "ab30317f1a784dc48ff824d0d3715d86", "47755a9de7794ba387653f2099600ef2"
	null := strings.Repeat("0", 32)
	for _, c := range []struct {
		name, headers                          string
		local, remote, xcid, icid, replacesTag string
	}{
		{name: "nothing"},
		{name: "both UUIDs", headers: "Session-ID: " + a + ";remote=" + b + "\r\n", local: a, remote: b},
		{name: "the peer is not known yet", headers: "session-id: " + a + ";remote=" + null + "\r\n", local: a},
		{name: "of the sender alone (RFC 7329)", headers: "Session-ID: " + a + "\r\n", local: a},
		{name: "blanks and another parameter", headers: "Session-ID:\t" + a + " ; logme ; Remote = " + strings.ToUpper(b) + "\r\n", local: a, remote: strings.ToUpper(b)},
		{name: "no UUIDs", headers: "Session-ID: " + a[1:] + ";remote=" + b + "0\r\n"},
		{name: "hyphens", headers: "Session-ID: ab30317f-1a78-4dc4-8ff8-24d0d3715d86\r\n"},
		{name: "no hexadecimal digits", headers: "Session-ID: " + a[1:] + "g;remote=@" + b[1:] + "\r\n"},
		{name: "X-CID", headers: "X-CID: 1@x\r\n", xcid: "1@x"},
		{name: "x-call-id", headers: "x-call-id:2@x \r\n", xcid: "2@x"},
		{name: "X-CALLID", headers: "X-CALLID: 3@x\r\n", xcid: "3@x"},
		{name: "the first one counts", headers: "X-CID: 1@x\r\nX-Call-ID: 2@x\r\n", xcid: "1@x"},
		{name: "others of these lengths", headers: "X-Foo: 1\r\nX-Callin: 2\r\nX-Call-Me: 3\r\nAllow: INVITE\r\nX-Charging-Vector: icid-value=x\r\nRetaines: x\r\n"},
		{name: "ICID", headers: "P-Charging-Vector: icid-value=1234bc9876e; icid-generated-at=192.0.6.8; orig-ioi=home1.net\r\n", icid: "1234bc9876e"},
		{name: "ICID quoted and late", headers: "p-charging-vector: orig-ioi=\"a;icid-value=b\" ; ICID-Value = \"AyretyU0dm+6O2IrT5tAFrbHLso=\"\r\n", icid: "AyretyU0dm+6O2IrT5tAFrbHLso="},
		{name: "no ICID", headers: "P-Charging-Vector: orig-ioi=home1.net\r\n"},
		{name: "Replaces", headers: "Replaces: 425928@bobster.example.org ;to-tag=7743;from-tag=6472\r\n", replacesTag: "425928@bobster.example.org"},
		{name: "Replaces without tags", headers: "Replaces: 4@x\r\n", replacesTag: "4@x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustParse(t, []byte("INVITE sip:a@b SIP/2.0\r\n"+head+c.headers+"\r\n"))
			local, remote := m.SessionIDs()
			if string(local) != c.local || string(remote) != c.remote {
				t.Errorf("Session-ID %q and %q, want %q and %q", local, remote, c.local, c.remote)
			}
			if got := m.String(m.XCallID); got != c.xcid {
				t.Errorf("X-CID %q, want %q", got, c.xcid)
			}
			if got := string(m.ICID()); got != c.icid {
				t.Errorf("ICID %q, want %q", got, c.icid)
			}
			if got := string(m.ReplacesCallID()); got != c.replacesTag {
				t.Errorf("Replaces %q, want %q", got, c.replacesTag)
			}
		})
	}
}
