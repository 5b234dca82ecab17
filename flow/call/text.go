package call

import (
	"bytes"
	"hash/maphash"
	"unicode/utf8"
)

// text is a run of bytes in the text of a call.
type text struct{ off, len uint16 }

// keep copies b, or finds it in what was kept before: the same domain, tag or
// phrase comes with every message. Without room for it, nothing is kept.
func (c *call) keep(b []byte) text { return c.keepMax(b, maxField) }

func (c *call) keepMax(b []byte, most int) text {
	b = b[:min(len(b), most)]
	if len(b) == 0 {
		return text{}
	}
	if i := bytes.Index(c.bytes, b); i >= 0 {
		return text{uint16(i), uint16(len(b))}
	}
	if len(c.bytes)+len(b) > maxText {
		return text{}
	}
	off := len(c.bytes)
	c.bytes = append(c.bytes, b...)
	return text{uint16(off), uint16(len(b))}
}

func (c *call) get(t text) []byte { return c.bytes[t.off : t.off+t.len] }

// string copies kept text into a record. What is not UTF-8 there is replaced,
// so that the record can be written as JSON and stored.
func (c *call) string(t text) string {
	b := c.get(t)
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	return string(b)
}

// hash names bytes within one table; 0 is "not there".
func (t *Table) hash(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	return maphash.Bytes(t.seed, b) | 1
}

// mix adds v to a hash.
func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}
