package sip

import (
	"bytes"
	"reflect"
	"testing"
)

// check parses b and checks what must hold for any bytes.
func check(t testing.TB, b []byte) (m Message, n int, err error) {
	t.Helper()
	n, err = m.Parse(b)
	if n < 0 || n > len(b) {
		t.Fatalf("took %d of %d bytes", n, len(b))
	}
	if err != nil {
		if r, ok := err.(Reason); !ok || r.String() == "unknown" {
			t.Fatalf("%v is no Reason", err)
		}
	}
	checkSpans(t, &m)
	checkWalks(t, &m)
	if n == 0 || err == Empty {
		return m, n, err
	}

	// What was taken is the message: with nothing behind it, it reads the same.
	again := Message{Buf: []byte("other")}
	if n2, err2 := again.Parse(m.Buf); n2 != len(m.Buf) || err2 != err {
		t.Fatalf("the message alone: took %d of %d bytes, %v, was %v", n2, len(m.Buf), err2, err)
	}
	alone := m
	alone.Flags &^= FlagTrailing
	if !reflect.DeepEqual(alone, again) {
		t.Fatalf("the message alone reads otherwise:\n%+v\nwas\n%+v", again, alone)
	}

	// A copy of the bytes under a copy of the struct shows the same.
	moved := m
	moved.Buf = bytes.Clone(m.Buf)
	if summary(&moved) != summary(&m) {
		t.Fatalf("moved: %s, was %s", summary(&moved), summary(&m))
	}
	return m, n, err
}

// checkSpans walks m's fields, so that no Span is forgotten.
func checkSpans(t testing.TB, m *Message) {
	var walk func(name string, v reflect.Value)
	walk = func(name string, v reflect.Value) {
		if s, ok := v.Interface().(Span); ok {
			if end := int64(s.Off) + int64(s.Len); end > int64(len(m.Buf)) {
				t.Fatalf("%s ends at %d of %d", name, end, len(m.Buf))
			}
			if s.Len == 0 && s.Off != 0 {
				t.Fatalf("%s is empty, but not zero: %+v", name, s)
			}
			return
		}
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	walk("Message", reflect.ValueOf(*m))
}

// checkWalks calls what walks over m.
func checkWalks(t testing.TB, m *Message) {
	inside := func(what string, b []byte) {
		if !bytes.Contains(m.Buf, b) {
			t.Fatalf("%s %q is not in the message", what, b)
		}
	}
	headers := 0
	m.EachHeader(func(name, value []byte) bool {
		headers++
		inside("header name", name)
		inside("value", value)
		if folded := Unfold(nil, value); bytes.IndexByte(folded, '\n') >= 0 {
			t.Fatalf("%q is folded yet", folded)
		}
		return true
	})
	if m.Headers > 0 && headers != int(m.Headers) && headers <= MaxHeaders {
		t.Fatalf("%d header fields, Parse saw %d", headers, m.Headers)
	}
	m.EachReason(func(protocol, cause, text []byte) {
		inside("protocol", protocol)
		inside("cause", cause)
		inside("text", text)
	})
	m.EachBody(func(contentType, body []byte) bool {
		inside("Content-Type", contentType)
		inside("body", body)
		return true
	})
	local, remote := m.SessionIDs()
	inside("Session-ID", local)
	inside("its remote", remote)
	inside("Replaces", m.ReplacesCallID())
	inside("ICID", m.ICID())
	a := m.AddressAt(m.ReferTo)
	inside("Refer-To", m.Get(a.URI))
}

func FuzzSIP(f *testing.F) {
	f.Add(invite)
	f.Add([]byte("\r\nSIP/2.0 200 OK\n" + head + "Reason: SIP;cause=1;text=\"x\", Y\nRefer-To: <sip:a@h>\nl: 2\n\nxyz"))
	f.Add([]byte("INVITE sip:a@b SIP/2.0\r\n" + head + "Session-ID: 0123456789abcdef0123456789abcdef;remote=1\nX-CID: y\nReplaces: z;to-tag=1\nP-Charging-Vector: icid-value=\"q\"\n\n"))
	f.Add([]byte("BYE <tel:1> SIP/2.0\nm:\"a\\\" <sip:[::1]:1>;x, *\nv: a,b;branch=c\n" + head + "\n"))
	f.Add(withBody("multipart/mixed;boundary=b", "--b\nc: application/sdp\n\nv=0\n--b--"))
	f.Add([]byte("INVITE a@b@c SIP/2.0\nFrom: a:b@c:d;tag=\"\nAuthorization: x username=\"y\"\nTo:<\nCSeq:1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, err := check(t, b)
		if Looks(b) && (err == NotSIP || err == BadVersion || err == Empty) {
			t.Fatalf("looks like SIP, but Parse says: %v", err)
		}
	})
}

// Nothing that a shard calls for each message allocates, errors included.
func TestAllocs(t *testing.T) {
	response := []byte("SIP/2.0 603 Decline\r\n" + head + "Reason: SIP;cause=603;text=\"x\"\r\n\r\n")
	multipart := withBody("multipart/mixed;boundary=b", "--b\nc: application/sdp\n\nv=0\n--b--")
	broken := []byte("INVITE sip:a@b SIP/2.0\r\nFrom: x\r\n\r\n")
	noise := []byte("GET / HTTP/1.1\r\n\r\n")
	var m Message
	n := 0
	for name, f := range map[string]func(){
		"request":  func() { _, _ = m.Parse(invite) },
		"response": func() { _, _ = m.Parse(response) },
		"broken":   func() { _, _ = m.Parse(broken) },
		"noise":    func() { _, _ = m.Parse(noise) },
		"Looks":    func() { _ = Looks(invite) },
		"SDP": func() {
			_, _ = m.Parse(multipart)
			n += len(m.SDP())
		},
		"EachReason": func() {
			_, _ = m.Parse(response)
			m.EachReason(func(protocol, _, _ []byte) { n += len(protocol) })
		},
		"EachHeader": func() {
			_, _ = m.Parse(invite)
			m.EachHeader(func(name, _ []byte) bool { n += len(name); return true })
		},
		"links": func() {
			_, _ = m.Parse(invite)
			local, _ := m.SessionIDs()
			n += len(local) + len(m.ICID()) + len(m.ReplacesCallID())
		},
		"AddressAt": func() { a := m.AddressAt(m.CallID); n += int(a.Port) },
	} {
		if allocs := testing.AllocsPerRun(100, f); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
	if n == 0 {
		t.Error("the callbacks saw nothing")
	}
}
