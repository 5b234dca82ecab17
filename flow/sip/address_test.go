package sip

import (
	"fmt"
	"testing"
)

// parts is an address as display|scheme|user|host|port|tag.
func parts(m *Message, a *Address) string {
	return fmt.Sprintf("%s|%s|%s|%s|%d|%s", m.String(a.Display), m.Get(a.Scheme), m.Get(a.User), m.Get(a.Host), a.Port, m.Get(a.Tag))
}

func TestAddress(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"<sip:a@h>;tag=1", "|sip|a|h|0|1"},
		{"sip:a@h;tag=1", "|sip|a|h|0|1"},
		{"sip:a@h ;x=y; TAG = 1 ;z", "|sip|a|h|0|1"},
		{"<sip:a@h:5070;user=phone?x=y>;x=\";tag=9\";tag=1;tag=2", "|sip|a|h|5070|1"},
		{"<sip:a@h;tag=inside>", "|sip|a|h|0|inside"},
		{"<sip:a@h;tag=inside>;tag=1", "|sip|a|h|0|1"},
		{"<sip:a@h>;tag=\"quoted\"", "|sip|a|h|0|quoted"},
		{"<sip:a@h>;tag=", "|sip|a|h|0|"},
		{"<sip:a@h>;tagged=1;xtag=2", "|sip|a|h|0|"},
		{"<sip:a@h> tag=1", "|sip|a|h|0|1"},
		{"<sip:a@h;tag=1", "|sip|a|h|0|1"},
		{`"A, \"B\" <C>" <sip:a@h>`, `A, "B" <C>|sip|a|h|0|`},
		{`"" <sip:a@h>`, "|sip|a|h|0|"},
		{`"A"sip:a@h;tag=1`, "A|sip|a|h|0|1"},
		{`Bell, Alexander <sip:a@h>;tag=1`, "Bell, Alexander|sip|a|h|0|1"},
		{`"Mr. J. User <sip:a@h>;tag=1`, "Mr. J. User|sip|a|h|0|1"},
		{`caller<sip:a@h>`, "caller|sip|a|h|0|"},
		{"< sip:a@h >;tag=1", "|sip|a|h|0|1"},
		{"<sips:a:secret@h:5061>", "|sips|a|h|5061|"},
		{"<sip:+49301;npdi;rn=+4930@h;user=phone>", "|sip|+49301|h|0|"},
		{"<sip:a;b?c@h>", "|sip|a|h|0|"},
		{"<SIP:h>", "|SIP||h|0|"},
		{"<sip:h:5060;lr>", "|sip||h|5060|"},
		{"<sip:a@[2001:db8::1]:5070;lr>", "|sip|a|2001:db8::1|5070|"},
		{"<sip:[2001:db8::1]>", "|sip||2001:db8::1|0|"},
		{"<sip:a@2001:db8::1>", "|sip|a|2001:db8::1|0|"},
		{"<sip:a@[2001:db8::1>", "|sip|a|2001:db8::1|0|"},
		{"<sip:a@h:99999>", "|sip|a|h|0|"},
		{"<sip:a@h:x>", "|sip|a|h|0|"},
		{"<sip:a@h:>", "|sip|a|h|0|"},
		{"<sip:a@domain@proxy:5070>", "|sip|a|proxy|5070|"},
		{"<sip:@h>", "|sip||h|0|"},
		{"<sip:a@>", "|sip|a||0|"},
		{"<sip:>", "|sip|||0|"},
		{"<tel:+1-201-555-0123;phone-context=example.com>;tag=1", "|tel|+1-201-555-0123||0|1"},
		{"tel:911;tag=1", "|tel|911||0|1"},
		{"<urn:service:sos>", "|urn|||0|"},
		{"<im:a@h>", "|im|a|h|0|"},
		{"<http://www.example.com>;tag=1", "|http|||0|1"},
		{"a@h;tag=1", "||a|h|0|1"},
		{"h", "|||h|0|"},
		{"<>;tag=1", "||||0|1"},
	} {
		t.Run(c.in, func(t *testing.T) {
			m := &Message{Buf: []byte("XY" + c.in)}
			m.From.parse(m.Buf, 2, len(m.Buf))
			if got := parts(m, &m.From); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// Lists: the first value counts, wherever its commas are.
func TestAddressFirst(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"<sip:a@h>, <sip:b@h>", "|sip|a|h|0|"},
		{"sip:a@h,sip:b@h", "|sip|a|h|0|"},
		{"sip:a@h, \"B\" <sip:b@h>", "|sip|a|h|0|"},
		{`"A, B" <sip:a,x@h>;q=1, <sip:b@h>`, "A, B|sip|a,x|h|0|"},
		{`Bell, Alexander <sip:a@h>`, "Bell, Alexander|sip|a|h|0|"},
		{"*", "|||*|0|"},
	} {
		m := &Message{Buf: []byte(c.in)}
		a := m.AddressAt(span(0, len(c.in)))
		if got := parts(m, &a); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.in, got, c.want)
		}
	}
}

func TestContact(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"Contact: *\n", ""},
		{"m: <sip:c@h:5070;transport=tcp>;expires=60, <sip:d@h>\n", "sip:c@h:5070;transport=tcp"},
		{"Contact: <sip:c@h>\nContact: <sip:d@h>\n", "sip:c@h"},
		{"Contact:\nContact: <sip:d@h>\n", "sip:d@h"},
		{"Contact: \"Lost\" <>\nContact: <sip:d@h>\n", "sip:d@h"},
	} {
		m := mustParse(t, crlf("INVITE sip:b@h SIP/2.0\n"+head+c.in+"\n"))
		if got := string(m.Get(m.Contact.URI)); got != c.want || !m.Contact.Display.IsZero() {
			t.Errorf("%q: %q, display %q", c.in, got, m.Get(m.Contact.Display))
		}
	}
}

func TestAuthUser(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`Authorization: Digest username="al\"ice", realm="x"`, `al"ice`},
		{`Proxy-Authorization: Digest realm="a, username=b", nonce="x",username = "bob"`, "bob"},
		{`authorization:Digest USERNAME=carol,realm="x"`, "carol"},
		{`Authorization: Digest realm="x"`, ""},
		{`Authorization: NoOneKnowsThisScheme opaque-data=here`, ""},
		{`Authorization:`, ""},
	} {
		m := mustParse(t, crlf("REGISTER sip:h SIP/2.0\n"+head+c.in+"\n\n"))
		if got := m.String(m.AuthUser); got != c.want {
			t.Errorf("%s: %q", c.in, got)
		}
	}
}
