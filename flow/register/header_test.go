package register

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestBodyText(t *testing.T) {
	long := strings.Repeat("x", maxText-1)
	for _, c := range []struct{ name, body, kind, want string }{
		{"plain", "Grüße", "text/plain", "Grüße"},
		{"not UTF-8", "Gr\xfc\xdfe", "text/plain", "Gr\uFFFDe"},
		{"Latin-1", "Gr\xfc\xdfe", "text/plain; charset=\"ISO-8859-1\"", "Grüße"},
		{"cut in a character", long + "\xc3", "text/plain", long},
		{"not cut", long + "x", "text/plain", long + "x"},
		{"longer in UTF-8", strings.Repeat("\xfc", maxText), "text/plain;charset=latin1", strings.Repeat("ü", maxText/2)},
		{"cut after it became longer", "x" + strings.Repeat("\xfc", maxText-1), "text/plain;charset=latin1", "x" + strings.Repeat("ü", maxText/2-1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := bodyText([]byte(c.body), []byte(c.kind))
			if got != c.want || !utf8.ValidString(got) {
				t.Errorf("%d bytes, want %d: %.40q", len(got), len(c.want), got)
			}
		})
	}
}

func TestReadContact(t *testing.T) {
	for _, c := range []struct {
		in                              string
		uri, host, port, instance, flow string
		expires                         int64
	}{
		{"<sip:a@h:5070;transport=tcp>;expires=60", "sip:a@h:5070;transport=tcp", "h", "5070", "", "", 60},
		{`"A, <B>; x" <sip:a@[2001:db8::1]:5>;q=1; Expires = "7"`, "sip:a@[2001:db8::1]:5", "2001:db8::1", "5", "", "", 7},
		{"sip:h;expires=1", "sip:h", "h", "", "", "", 1},
		{"<sip:a;b@h?x=y@z>", "sip:a;b@h?x=y@z", "h", "", "", "", -1},
		{`<sip:a@h>;+sip.instance="<urn:uuid:1>";reg-id=2`, "sip:a@h", "h", "", "urn:uuid:1", "2", -1},
		{"<sip:a@h>;expires=99999999999", "sip:a@h", "h", "", "", "", 1<<32 - 1},
		{"<sip:a@h>;expires=soon", "sip:a@h", "h", "", "", "", -1},
		{"<sip:a@h", "sip:a@h", "h", "", "", "", -1},
		{"<<<\"", "<<\"", "<<\"", "", "", "", -1},
		{"", "", "", "", "", "", -1},
	} {
		t.Run(c.in, func(t *testing.T) {
			g := readContact([]byte(c.in))
			if string(g.uri) != c.uri || string(g.host) != c.host || string(g.port) != c.port ||
				string(g.instance) != c.instance || string(g.flow) != c.flow || g.expires != c.expires {
				t.Errorf("uri %q, host %q, port %q, instance %q, reg-id %q, expires %d", g.uri, g.host, g.port, g.instance, g.flow, g.expires)
			}
		})
	}
}

// TestContactsAreBounded: of a REGISTER with very many contacts the first count.
func TestContactsAreBounded(t *testing.T) {
	var list bytes.Buffer
	for i := range 200 {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString("<sip:" + strings.Repeat("x", i) + "@10.0.0.1>")
	}
	s := newScript(t, Limits{})
	s.line("0 A>P REGISTER 1 contact=" + list.String())
	s.line("1 P>A 200 REGISTER 1")
	s.line("2 A>P REGISTER 2 contact=<sip:" + strings.Repeat("y", maxList) + "@10.0.0.1>")
	s.line("3 P>A 200 REGISTER 2")
	if st := s.table.Stats(); st.Bound != maxContacts || st.ContactsCut != 2 {
		t.Errorf("%+v", st)
	}
	check(t, s.table)
}
