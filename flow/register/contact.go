package register

import (
	"bytes"

	"ringside/flow/sip"
)

// contact is one value of Contact. The slices are borrowed from it.
type contact struct {
	uri      []byte
	host     []byte // of uri, IPv6 without its brackets
	lead     []byte // of uri, what is before the host
	tail     []byte // of uri, what follows the port
	port     []byte
	instance []byte // +sip.instance (RFC 5626) without quotes and angle brackets
	flow     []byte // reg-id
	expires  int64  // s; -1: not said
	star     bool
}

func readContact(v []byte) (c contact) {
	var params []byte
	if open := until(v, '<', false); open < len(v) {
		uri := v[open+1:]
		end := bytes.IndexByte(uri, '>')
		if end < 0 {
			end = len(uri)
		} else {
			params = uri[end+1:]
		}
		c.uri = trim(uri[:end])
	} else {
		c.uri = v
		if i := bytes.IndexByte(v, ';'); i >= 0 {
			c.uri, params = trim(v[:i]), v[i+1:]
		}
	}
	if string(c.uri) == "*" {
		c.star = true
		return c
	}
	c.expires = -1
	for len(params) > 0 {
		var name, v []byte
		name, v, params = nextParam(params)
		switch {
		case equalFold(name, "expires"):
			c.expires = number(v)
		case equalFold(name, "+sip.instance"):
			c.instance = bytes.Trim(v, "<>")
		case equalFold(name, "reg-id"):
			c.flow = v
		}
	}
	c.split()
	return c
}

// split finds the host in the URI.
func (c *contact) split() {
	host := bytes.IndexByte(c.uri, ':') + 1
	user := c.uri
	if i := bytes.IndexByte(user, '?'); i >= 0 {
		user = user[:i]
	}
	if i := bytes.LastIndexByte(user, '@'); i >= 0 {
		host = i + 1
	}
	c.lead = c.uri[:host]
	rest := c.uri[host:]
	end := len(rest)
	if i := bytes.IndexAny(rest, ";?"); i >= 0 {
		end = i
	}
	c.tail = rest[end:]
	c.host, c.port = hostPort(rest[:end])
}

// hostPort takes "host:port" apart; an IPv6 address may stand in brackets, or
// without them and a port.
func hostPort(b []byte) (host, port []byte) {
	if len(b) > 0 && b[0] == '[' {
		if i := bytes.IndexByte(b, ']'); i > 0 {
			return b[1:i], bytes.TrimPrefix(b[i+1:], []byte(":"))
		}
	}
	if i := bytes.IndexByte(b, ':'); i >= 0 && bytes.IndexByte(b[i+1:], ':') < 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// uriHash names the URI of a contact: scheme and host in any case.
func (t *Table) uriHash(c *contact) uint64 {
	b := t.line[:0]
	scheme := bytes.IndexByte(c.lead, ':') + 1
	b = appendLower(b, c.lead[:scheme])
	b = append(b, c.lead[scheme:]...)
	b = appendLower(b, c.host)
	if !t.options.IgnoreContactPort {
		b = append(append(b, ':'), c.port...)
	}
	b = append(b, c.tail...)
	t.line = b
	return t.hash(b)
}

// bindingKey names the binding of a contact of an address of record.
func (t *Table) bindingKey(aor uint64, c *contact, uri uint64) uint64 {
	if len(c.instance) == 0 {
		return mix(mix(aor, 1), uri)
	}
	t.line = appendLower(t.line[:0], c.instance)
	return mix(mix(mix(aor, 2), t.hash(t.line)), t.hash(c.flow))
}

// aorHash names an address of record: user and host, the host in any case.
func (t *Table) aorHash(m *sip.Message, a *sip.Address) uint64 {
	b := append(t.line[:0], m.Get(a.User)...)
	b = append(b, '@')
	b = appendLower(b, m.Get(a.Host))
	t.line = b
	return t.hash(b)
}

// readWishes reads the contacts of a REGISTER, and returns those of the list
// that fit.
func (t *Table) readWishes(x *transaction, list []byte) []byte {
	rest := list
	for len(rest) > 0 {
		var v []byte
		v, rest = nextValue(rest)
		if len(v) == 0 {
			continue
		}
		kept := len(list) - len(rest)
		if int(x.nContacts) == len(x.contacts) || kept > maxList {
			t.stats.ContactsCut++
			return list[:max(len(list)-len(rest)-len(v)-1, 0)]
		}
		c := readContact(v)
		if c.star {
			x.flags |= removesAll
			continue
		}
		w := &x.contacts[x.nContacts]
		x.nContacts++
		w.uri, w.name = t.uriHash(&c), nameOf(c.uri, c.instance, c.flow)
		w.key = t.bindingKey(x.aor, &c, w.uri)
		w.expires, w.granted = c.expires, -1
		if w.expires < 0 {
			w.expires = x.expires
		}
	}
	return list
}

// readGrants reads for how long the response binds each contact. It lists all of
// the address of record; only those of the request count. One that comes back
// with another URI, as a proxy may have written it, is known where it is alone.
func (t *Table) readGrants(x *transaction) {
	listed := 0
	var only int64
	var exact [maxContacts]bool
	for rest := t.header.contacts; len(rest) > 0; {
		var v []byte
		if v, rest = nextValue(rest); len(v) == 0 {
			continue
		}
		c := readContact(v)
		listed, only = listed+1, c.expires
		uri := t.uriHash(&c)
		key := t.bindingKey(x.aor, &c, uri)
		for i := range x.contacts[:x.nContacts] {
			// An instance may have left another contact there.
			if w := &x.contacts[i]; w.uri == uri || w.key == key && !exact[i] {
				w.granted, exact[i] = c.expires, w.uri == uri
			}
		}
	}
	if w := &x.contacts[0]; listed == 1 && x.nContacts == 1 && w.granted < 0 && w.expires != 0 {
		w.granted = only
	}
}

// grant is for how long (s) a contact is bound.
func (x *transaction) grant(w *wish) uint32 {
	if w.expires == 0 {
		return 0
	}
	for _, s := range []int64{w.granted, x.granted, w.expires} {
		if s >= 0 {
			return uint32(s)
		}
	}
	return neverSaid
}

// binds reports whether a binding is made or renewed by one of the first n
// contacts.
func (x *transaction) binds(key uint64, n int) bool {
	for i := range x.contacts[:n] {
		if w := &x.contacts[i]; w.key == key && x.grant(w) != 0 {
			return true
		}
	}
	return false
}
