package sip

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"ringside/bench/corpus"
)

// rfc4475 says what becomes of each message of RFC 4475. The RFC says what an
// endpoint answers; an observer takes whatever can be put to a call (see the
// package comment), so a message that is to be answered with 400 is taken too,
// unless it lacks what identifies it.
var rfc4475 = map[string]struct {
	section string
	err     error
	want    string // summary
	flags   uint8
	why     string // where it is not what an endpoint does
}{
	"wsinv":      {"3.1.1.1", nil, `INVITE 9 INVITE | "J Rosenberg \\\"" jdrosen@example.com;98asjd8 | vivekg@chair-dnrc.example.com;1918181833n`, 0, ""},
	"intmeth":    {"3.1.1.2", nil, "!interesting-Method0123456789_*+`.%indeed'~ 139122385 !interesting-Method0123456789_*+`.%indeed'~ | \"token1~` token2'+_ token3*%!.-\" mundane@example.com;_token~1'+`*%!-. | \"BEL:\\a NUL:\\x00 DEL:\\x7f\" 1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/@example.com;", 0, ""},
	"esc01":      {"3.1.1.3", nil, "INVITE 234234 INVITE | I%20have%20spaces@example.net;938 | %75se%72@example.com;", 0, ""},
	"escnull":    {"3.1.1.4", nil, "REGISTER 14398234 REGISTER | null-%00-null@example.com;839923423 | null-%00-null@example.com;", 0, ""},
	"esc02":      {"3.1.1.5", nil, `RE%47IST%45R 29344 RE%47IST%45R | "%Z%45" resource@example.com;f232jadfj23 | "%Z%45" resource@example.com;`, 0, `"REGISTER" escaped is another method, and "Contact" escaped another header`},
	"lwsdisp":    {"3.1.1.6", nil, `OPTIONS 60 OPTIONS | "caller" caller@example.com;323 | user@example.com;`, 0, ""},
	"longreq":    {"3.1.1.7", nil, `INVITE 3882340 INVITE | amazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallernameamazinglylongcallername@example.net;12982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982982424 | "I have a user name of extremeextremeextremeextremeextremeextremeextremeextremeextremeextreme proportion" user@example.com;`, 0, ""},
	"dblreq":     {"3.1.1.8", nil, "REGISTER 8 REGISTER | j.user@example.com;43251j3j324 | j.user@example.com;", FlagTrailing, "the second message is what follows the first one's Content-Length"},
	"semiuri":    {"3.1.1.9", nil, "OPTIONS 8 OPTIONS | caller@example.org;33242 | j_user@example.com;", 0, ""},
	"transports": {"3.1.1.10", nil, "OPTIONS 60 OPTIONS | caller@example.com;323 | user@example.com;", 0, ""},
	"mpart01":    {"3.1.1.11", nil, "MESSAGE 1 MESSAGE | fluffy@example.com;2fb0dcc9 | kumiko@example.org;", 0, ""},
	"unreason":   {"3.1.1.12", nil, "200 35 INVITE | user@example.com;11141343 | user@example.edu;2229", 0, ""},
	"noreason":   {"3.1.1.13", nil, "100 35 INVITE | user@example.com;39ansfi3 | user@example.edu;902jndnke3", 0, ""},
	"badinv01":   {"3.1.2.1", nil, "INVITE 8 INVITE | caller@example.net;134161461246 | j.user@example.com;", 0, "400 for the separators in Via and Contact; no branch, the rest is clear"},
	"clerr":      {"3.1.2.2", nil, "INVITE 8 INVITE | caller@example.net;93942939o2 | j.user@example.com;", FlagCut, "400 for a Content-Length beyond the datagram; what there is of the body counts"},
	"ncl":        {"3.1.2.3", nil, "INVITE 0 INVITE | caller@example.net;32394234 | j.user@example.com;", 0, "400 for a negative Content-Length; it is read as none"},
	"scalar02":   {"3.1.2.4", BadCSeq, "REGISTER 0  | user@example.com;239232jh3 | user@example.com;", 0, "400: a CSeq beyond 32 bits identifies no transaction"},
	"scalarlg":   {"3.1.2.5", BadCSeq, "503 0  | other@example.net;2easdjfejw | user@example.com;", 0, "dropped: a CSeq beyond 32 bits identifies no transaction"},
	"quotbal":    {"3.1.2.6", nil, `INVITE 8 INVITE | caller@example.net;93334 | "Mr. J. User" j.user@example.com;`, 0, "400 for the missing quote; the angle bracket ends the display name"},
	"ltgtruri":   {"3.1.2.7", nil, "INVITE 1 INVITE | caller@example.net;39291 | user@example.com;", 0, "400 for the brackets around the Request-URI; they are taken off"},
	"lwsruri":    {"3.1.2.8", nil, "INVITE 2130706432 INVITE | caller@example.net;231413434 | user@example.com;3xfe-9921883-z9f", 0, "400 for the blank in the Request-URI; all before the version is the URI"},
	"lwsstart":   {"3.1.2.9", nil, "INVITE 1893884 INVITE | caller@example.net;8814 | user@example.com;", 0, "400 for two blanks in the request line; they read as one"},
	"trws":       {"3.1.2.10", nil, "OPTIONS 238923 OPTIONS | local-resource@example.com;329429089 | remote-target@example.com;", 0, "400 for blanks behind the version; they are ignored"},
	"escruri":    {"3.1.2.11", nil, "INVITE 149209342 INVITE | caller@example.net;341518 | user@example.com;", 0, "400 for headers in the Request-URI; they are a part of it"},
	"baddate":    {"3.1.2.12", nil, "INVITE 1392934 INVITE | caller@example.net;2234923 | user@example.com;", 0, "400 for the time zone; no record needs Date"},
	"regbadct":   {"3.1.2.13", nil, "REGISTER 1 REGISTER | user@example.com;998332 | user@example.com;", 0, `400 for a URI with "?" and no brackets; it is a part of the URI`},
	"badaspec":   {"3.1.2.14", nil, `OPTIONS 3923239 OPTIONS | "Bell, Alexander" a.g.bell@example.com;433423 | "Watson, Thomas" t.watson@example.org;`, 0, "400 for blanks around the addr-spec; they are taken off"},
	"baddn":      {"3.1.2.15", nil, `OPTIONS 3923239 OPTIONS | "Bell, Alexander" a.g.bell@example.com;43 | "Watson, Thomas" t.watson@example.org;`, 0, "400 for a comma outside quotes; a To or From is no list"},
	"badvers":    {"3.1.2.16", BadVersion, "", 0, "505: it is no SIP/2.0"},
	"mismatch01": {"3.1.2.17", nil, "OPTIONS 8 INVITE | caller@example.net;34525 | j.user@example.com;", FlagMethod, "400 for a CSeq of another method; flagged"},
	"mismatch02": {"3.1.2.18", nil, "NEWMETHOD 8 INVITE | caller@example.net;34525 | j.user@example.com;", FlagMethod, "501 or 400 for a CSeq of another method; flagged"},
	"bigcode":    {"3.1.2.19", BadStatus, "", 0, "dropped: no status code"},
	"badbranch":  {"3.2.1", nil, "OPTIONS 8 OPTIONS | caller@example.org;33242 | user@example.com;", 0, "the branch is the magic cookie and nothing else: no transaction identifier"},
	"insuf":      {"3.3.1", NoCallID, "", 0, "400 for the missing headers; the first one missing is named"},
	"unkscm":     {"3.3.2", nil, "OPTIONS 3923423 OPTIONS | caller@example.net;384 | user@example.com;", 0, ""},
	"novelsc":    {"3.3.3", nil, "OPTIONS 3923423 OPTIONS | caller@example.net;384 | user@example.com;", 0, ""},
	"unksm2":     {"3.3.4", nil, "REGISTER 234902 REGISTER | http://www.example.com;3234233 | isbn:2983792873;", 0, ""},
	"bext01":     {"3.3.5", nil, "OPTIONS 8 OPTIONS | caller@example.net;242etr | j_user@example.com;", 0, ""},
	"invut":      {"3.3.6", nil, "INVITE 235448 INVITE | caller@example.net;8392034 | j.user@example.com;", 0, ""},
	"regaut01":   {"3.3.7", nil, "REGISTER 9338 REGISTER | j.user@example.com;87321hj23128 | j.user@example.com;", 0, ""},
	"multi01":    {"3.3.8", nil, "INVITE 5 INVITE | caller@example.com;3413415 | user@example.com;", FlagRepeated, "400 for headers that stand twice; the first ones count, flagged"},
	"mcl01":      {"3.3.9", nil, "OPTIONS 15932 OPTIONS | other@example.net;3923942 | user@example.com;", FlagTrailing | FlagRepeated, "400 for two Content-Lengths; the first one counts, flagged"},
	"bcast":      {"3.3.10", nil, "200 35 INVITE | user@example.com;11141343 | user@example.edu;2229", 0, ""},
	"zeromf":     {"3.3.11", nil, "OPTIONS 39234321 OPTIONS | caller@example.net;3ghsd41 | user@example.com;", 0, ""},
	"cparam01":   {"3.3.12", nil, "REGISTER 2 REGISTER | watson@example.com;DkfVgjkrtMwaerKKpe | watson@example.com;", 0, ""},
	"cparam02":   {"3.3.13", nil, "REGISTER 3 REGISTER | watson@example.com;838293 | watson@example.com;", 0, ""},
	"regescrt":   {"3.3.14", nil, "REGISTER 14398234 REGISTER | user@example.com;8 | user@example.com;", 0, ""},
	"sdp01":      {"3.3.15", nil, "INVITE 8 INVITE | caller@example.net;234 | j_user@example.com;", 0, ""},
	"inv2543":    {"3.4.1", nil, "INVITE 56 INVITE | +13035551111@ift.client.example.net; | +16505552222@ss1.example.net;", 0, ""},
	"test":       {"none, of the set itself", NotSIP, "", 0, "no version in the request line, as HTTP/0.9 was"},
}

// Four projects carry copies of these messages.
func TestRFC4475(t *testing.T) {
	for _, set := range []string{
		"rfc4475-ersip/*.dat", "resiprocate/*.dat", "sipgo-torture/*.dat", "php-sip-protos/fixtures__rfc4475__*.dat",
	} {
		seen := 0
		corpus.EachTorture(t, set, func(t *testing.T, name string, b []byte) {
			name = strings.TrimSuffix(name[strings.LastIndex(name, "__")+1:], ".dat")
			name = strings.TrimPrefix(name, "_")
			want, ok := rfc4475[name]
			if !ok {
				t.Fatal("the table does not list it")
			}
			m, _, err := check(t, b)
			if err != want.err {
				t.Fatalf("%v, want %v (RFC 4475 section %s: %s)", err, want.err, want.section, want.why)
			}
			seen++
			if m.CallID.IsZero() {
				return // nothing was read
			}
			if got := summary(&m); got != want.want {
				t.Errorf("got  %s\nwant %s", got, want.want)
			}
			if m.Flags&^FlagOpen != want.flags { // one of the copies lacks its last line
				t.Errorf("flags %b, want %b", m.Flags, want.flags)
			}
			if id := string(m.Get(m.CallID)); name != "mpart01" && !strings.HasPrefix(id, name+".") {
				t.Errorf("Call-ID %q is not of this message", id)
			}
		})
		if seen < 49 {
			t.Errorf("%s: %d messages", set, seen)
		}
	}
}

// What a line does not show.
func TestRFC4475Details(t *testing.T) {
	for _, c := range []struct {
		file string
		got  func(m *Message) string
		want string
	}{
		{"wsinv", func(m *Message) string { return m.String(m.Branch) }, "390skdjuw"},
		{"wsinv", func(m *Message) string { return strconv.Itoa(int(m.Vias)) }, "3"},
		{"wsinv", func(m *Message) string { return m.String(m.Contact.Display) }, `Quoted string ""`},
		{"wsinv", func(m *Message) string { return m.String(m.Contact.URI) }, "sip:jdrosen@example.com"},
		{"wsinv", func(m *Message) string { return strconv.Itoa(int(m.ContentLen)) }, "150"},
		{"wsinv", func(m *Message) string { return m.String(m.Via) }, "SIP  /   2.0 /UDP 192.0.2.2;branch=390skdjuw"},
		{"intmeth", func(m *Message) string { return m.String(m.CallID) }, `intmeth.word%ZK-!.*_+'@word` + "`" + `~)(><:\/"][?}{`},
		{"intmeth", func(m *Message) string { return m.String(m.To.Display) }, "BEL:\a NUL:\x00 DEL:\x7f"},
		{"esc01", func(m *Message) string { return m.String(m.RequestURI.User) }, "sips%3Auser%40example.com"},
		{"esc01", func(m *Message) string { return m.String(m.Contact.Host) }, "host5.example.net"},
		{"esc02", func(m *Message) string { return m.String(m.Contact.URI) }, "sip:alias1@host1.example.com"},
		{"longreq", func(m *Message) string { return strconv.Itoa(int(m.Vias)) }, "34"},
		{"longreq", func(m *Message) string { return strconv.Itoa(len(m.SDP())) }, "150"},
		{"semiuri", func(m *Message) string { return m.String(m.RequestURI.User) }, "user"}, // parameters of the user are cut
		{"transports", func(m *Message) string { return strconv.Itoa(int(m.Vias)) }, "5"},
		{"unreason", func(m *Message) string { return m.String(m.Reason) }, "= 2**3 * 5**2 но сто девяносто девять - простое"},
		{"noreason", func(m *Message) string { return m.String(m.Reason) }, ""},
		{"regaut01", func(m *Message) string { return m.String(m.AuthUser) }, ""},
		{"scalar02", func(m *Message) string { return strconv.FormatInt(m.Expires, 10) }, "4294967295"},
		{"escruri", func(m *Message) string { return m.String(m.RequestURI.Host) }, "example.com"},
		{"ltgtruri", func(m *Message) string { return m.String(m.RequestURI.URI) }, "sip:user@example.com"},
		{"novelsc", func(m *Message) string { return m.String(m.RequestURI.Scheme) }, "soap.beep"},
		{"novelsc", func(m *Message) string { return m.String(m.RequestURI.Host) }, ""},
		{"cparam01", func(m *Message) string { return m.String(m.Contact.URI) }, "sip:+19725552222@gw1.example.net"},
		{"cparam02", func(m *Message) string { return m.String(m.Contact.URI) }, "sip:+19725552222@gw1.example.net;unknownparam"},
		{"mcl01", func(m *Message) string { return m.String(m.Body) }, "There's no wa"},
		{"invut", func(m *Message) string { return strconv.Itoa(len(m.SDP())) }, "0"},
		{"mpart01", func(m *Message) string {
			var types []string
			m.EachBody(func(contentType, body []byte) bool {
				types = append(types, string(contentType)+" "+strconv.Itoa(len(body)))
				return true
			})
			return strings.Join(types, ", ")
		}, "text/plain 5, application/octet-stream 342"},
	} {
		b := corpus.Torture(t, "rfc4475-ersip", c.file+".dat")
		var m Message
		if _, err := m.Parse(b); err != nil && err != BadCSeq {
			t.Fatalf("%s: %v", c.file, err)
		}
		if got := c.got(&m); got != c.want {
			t.Errorf("%s: got %q, want %q", c.file, got, c.want)
		}
	}
}

// stream parses the messages in b one behind the other, as they stand in a byte
// stream; without a Content-Length there is no body (RFC 3261 section 18.3 wants
// one there, recorded streams do without).
func stream(t *testing.T, b []byte) (n int) {
	for len(b) > 0 {
		m, taken, err := check(t, b)
		if err == Empty {
			break
		}
		if err != nil {
			t.Fatalf("message %d, %.60q: %v", n, b, err)
		}
		if m.ContentLen < 0 {
			taken -= int(m.Body.Len)
		}
		n++
		b = b[taken:]
	}
	return n
}

func TestStreams(t *testing.T) {
	for name, want := range map[string]int{"generic": 0, "lioneagle-sipparser": 0} {
		b := corpus.Torture(t, "php-sip-protos", "fixtures__stream__"+name+".txt")
		for line := range bytes.Lines(b) {
			if bytes.HasPrefix(line, []byte("SIP/2.0 ")) || bytes.HasSuffix(line, []byte(" SIP/2.0\r\n")) {
				want++
			}
		}
		if n := stream(t, b); n != want || n == 0 {
			t.Errorf("%s: %d messages, %d start lines", name, n, want)
		}
	}
}

// The call flows of RFC 3327, 3515, 3665, 4916 and 5626, as block scalars of YAML.
func TestCallFlows(t *testing.T) {
	total := 0
	for _, pattern := range []string{"php-sip-protos/*.yaml", "php-sip-protos/*.orig"} {
		corpus.EachTorture(t, pattern, func(t *testing.T, _ string, b []byte) {
			for i, block := range bytes.Split(append([]byte("\n"), b...), []byte("\n- |"))[1:] {
				_, block, _ = bytes.Cut(block, []byte("\n"))
				block = bytes.TrimPrefix(block, []byte("  "))
				block = bytes.ReplaceAll(block, []byte("\n  "), []byte("\n"))
				m, _, err := check(t, crlf(string(block)))
				if err != nil {
					t.Errorf("message %d, %.60q: %v", i, block, err)
				}
				if m.Method == MethodUnknown || m.From.Tag.IsZero() {
					t.Errorf("message %d: %s", i, summary(&m))
				}
				total++
			}
		})
	}
	if total < 200 {
		t.Errorf("%d messages", total)
	}
}

// sipRust are the messages of that set that are refused; all others are taken,
// which its invalid ones are too, for the reasons that rfc4475 gives.
var sipRust = map[string]error{
	"rfc4475-invalid__overlargRequestScalars.sip":  BadCSeq,
	"rfc4475-invalid__overlargResponseScalars.sip": BadCSeq,
	"rfc4475-invalid__overlargeResponseCode.sip":   BadStatus,
	"rfc4475-invalid__unknownProtocolVersion.sip":  BadVersion,
	"rfc4475-valid__wideRangeValidChars.sip":       BadStartLine, // a backslash has come into the method, which is no token then
}

func TestSIPRust(t *testing.T) {
	corpus.EachTorture(t, "siprust-fixtures/*.sip", func(t *testing.T, name string, b []byte) {
		if _, _, err := check(t, b); err != sipRust[name] {
			t.Errorf("%v, want %v", err, sipRust[name])
		}
	})
}

// RFC 5118: messages with IPv6 addresses.
func TestRFC5118(t *testing.T) {
	for name, want := range map[string]struct{ host, contact string }{
		"v41_basicIpv6":               {"2001:db8::10", "2001:db8::1"},
		"v42_ipv6NoBrackets":          {"2001:db8::10", "2001:db8::1"}, // section 4.2: invalid, yet clear
		"v43_portAmbiguousInBrackets": {"2001:db8::10:5070", "2001:db8::1"},
		"v44_portUnambiguous":         {"2001:db8::10", "2001:db8::1"},
		"v49_ipv4Mapped":              {"example.com", "::ffff:192.0.2.2"},
	} {
		b := corpus.Torture(t, "siprust-fixtures", "ipv6__"+name+".sip")
		m := mustParse(t, b)
		if host, contact := m.String(m.RequestURI.Host), m.String(m.Contact.Host); host != want.host || contact != want.contact {
			t.Errorf("%s: %s and %s, want %+v", name, host, contact, want)
		}
		if port := m.RequestURI.Port; (port == 5070) != (name == "v44_portUnambiguous") {
			t.Errorf("%s: port %d", name, port)
		}
	}
}

// The set of osip names what osip answers in a line before the message; what it
// refuses (-5) is bad in places that an observer does not need.
func TestOsip(t *testing.T) {
	refused := map[string]error{
		"sip-malformed1": NoCallID, // "illegal missing mandatory headers"; osip leaves that to the application
	}
	corpus.EachTorture(t, "osip-res/sip*", func(t *testing.T, name string, b []byte) {
		if bytes.HasPrefix(b, []byte("expected_error:")) {
			_, b, _ = bytes.Cut(b, []byte("\n"))
		}
		if _, _, err := check(t, b); err != refused[name] {
			t.Errorf("%v, want %v", err, refused[name])
		}
	})
	hg := map[int]error{ // refused messages of torture_hgs, by place
		10: NoCallID,   // "should respond with an error"
		40: BadVersion, // SIP/02.00, "should be rejected with 400"
		41: BadVersion, // SIP/7.0
	}
	hgs := corpus.Torture(t, "osip-res", "torture_hgs")
	for i, b := range bytes.Split(hgs, []byte("\n|")) {
		for len(b) > 0 && !bytes.Contains(b[:bytes.IndexByte(b, '\n')+1], []byte("SIP/")) {
			_, b, _ = bytes.Cut(b, []byte("\n")) // what the message is about
		}
		if len(b) == 0 {
			continue
		}
		if _, _, err := check(t, b); err != hg[i] {
			t.Errorf("torture_hgs %d, %.60q: %v, want %v", i, b, err, hg[i])
		}
	}
}

// The lists of osip are values of one header field each, one a line. All of
// them leave the message readable, with a value where one was meant.
func TestOsipValues(t *testing.T) {
	for _, c := range []struct {
		file, field string
		got         func(m *Message) Span
	}{
		{"froms.txt", "From", func(m *Message) Span { return m.From.URI }},
		{"contacts.txt", "Contact", func(m *Message) Span { return m.Contact.URI }},
		{"vias.txt", "Via", func(m *Message) Span { return m.Via }},
		{"callids.txt", "Call-ID", func(m *Message) Span { return m.CallID }},
		{"urls.txt", "Refer-To", func(m *Message) Span { a := m.AddressAt(m.ReferTo); return a.URI }},
		{"auths.txt", "Authorization", nil},
		{"wwwas.txt", "WWW-Authenticate", nil},
	} {
		b := corpus.Torture(t, "osip-res", c.file)
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			m, _, err := check(t, crlf("INVITE sip:b@h SIP/2.0\n"+c.field+": "+line+"\n"+head+"\n"))
			if err != nil {
				t.Errorf("%s: %q: %v", c.file, line, err)
			}
			if c.got != nil && line != "*" && c.got(&m).IsZero() {
				t.Errorf("%s: %q: nothing was read", c.file, line)
			}
		}
	}
}

// PROTOS test group c07: the method is mutated. Where it is a token, the message
// is taken; where it is none, refused; frames of 16,000 bytes end in the start line.
func TestProtos(t *testing.T) {
	corpus.EachTorture(t, "protos-c07-sip-r2-capture/*.sip", func(t *testing.T, _ string, b []byte) {
		var want error
		switch {
		case bytes.IndexByte(b, '\n') < 0:
			want = NotSIP
		case !is(b[0], cToken):
			want = BadStartLine
		}
		if _, _, err := check(t, b); err != want {
			t.Errorf("%v, want %v", err, want)
		}
	})
}

// Sets made by fuzzers, and what is not SIP at all: no more is asked than that
// nothing is read that is not there, and that it is not taken for SIP.
func TestFuzzSets(t *testing.T) {
	for _, set := range []string{"mercury-fuzz/*", "janus-rtcp-rtp-sdp/*"} {
		corpus.EachTorture(t, set, func(t *testing.T, _ string, b []byte) {
			if _, _, err := check(t, b); err == nil || Looks(b) {
				t.Errorf("taken for SIP (%v)", err)
			}
		})
	}
	corpus.EachTorture(t, "sipgo-fuzz/*", func(t *testing.T, _ string, b []byte) {
		_, quoted, _ := bytes.Cut(b, []byte("string("))
		in, err := strconv.Unquote(string(bytes.TrimSuffix(bytes.TrimSpace(quoted), []byte(")"))))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := check(t, []byte(in)); err != NotSIP { // "0 0 SIP": no version
			t.Errorf("%q: %v", in, err)
		}
	})
}

// Packets of one flow, each after a mark.
func TestZeek(t *testing.T) {
	total := 0
	corpus.EachTorture(t, "zeek-fuzz/sip-corpus/*.pkt", func(t *testing.T, name string, b []byte) {
		b = bytes.ReplaceAll(b, []byte("\x01PKT\x02"), []byte("\x01PKT\x01"))
		for i, p := range bytes.Split(b, []byte("\x01PKT\x01")) {
			if len(p) == 0 {
				continue // before the first mark
			}
			_, _, err := check(t, p)
			if want := zeek(name, p); err != want {
				t.Errorf("packet %d, %.40q: %v, want %v", i, p, err, want)
			}
			total++
		}
	})
	if total < 50 {
		t.Errorf("%d packets", total)
	}
}

// zeek is what becomes of packet p.
func zeek(name string, p []byte) error {
	if name == "sip-junk-before-request.pkt" {
		return NoCallID // a start line and Expires, no more
	}
	return nil
}
