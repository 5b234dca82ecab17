package register

import (
	"crypto/sha256"
	"encoding/binary"

	"ringside/flow/record"
)

// digest collects what an identifier is made of.
type digest struct{ b []byte }

func (d *digest) text(values ...string) *digest {
	for _, s := range values {
		d.b = binary.BigEndian.AppendUint32(d.b, uint32(len(s)))
		d.b = append(d.b, s...)
	}
	return d
}

func (d *digest) number(values ...int64) *digest {
	for _, n := range values {
		d.b = binary.BigEndian.AppendUint64(d.b, uint64(n))
	}
	return d
}

// id is the first 63 bits of the hash.
func (d *digest) id() int64 {
	sum := sha256.Sum256(d.b)
	return int64(binary.BigEndian.Uint64(sum[:]) >> 1)
}

// Two records of one moment must not have the same ID, or a store would keep one
// of them. Times of a capture may be coarse, and texts are cut to maxField: so what
// a record does not say goes into its ID as well.

// nameOf is a hash (FNV-1a) of texts as they were sent, the same in every table.
func nameOf(texts ...[]byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range texts {
		for _, c := range b {
			h = (h ^ uint64(c)) * 1099511628211
		}
		h = (h ^ 0x100) * 1099511628211 // no byte: the end of a text
	}
	return h
}

// registrationID is that of a record: an attempt has no contact, but a source.
// name is of the whole contact, its instance and reg-id.
func registrationID(r *record.Registration, name uint64) int64 {
	d := new(digest).text("registration", r.AOR, r.Contact, r.Instance).number(r.Start, int64(name))
	if r.Contact == "" {
		d.text(r.Src.Addr().String())
	}
	return d.id()
}

// exchangeID is that of a record whose first request had this CSeq.
func exchangeID(x *record.Exchange, cseq uint32) int64 {
	d := new(digest).text("exchange").number(int64(x.Kind))
	if x.Kind == record.Options {
		d.text(x.Caller.Addr.String(), x.Called.Addr.String())
	} else {
		d.text(x.CallID, x.Caller.Tag, x.Event).number(int64(cseq))
	}
	return d.number(x.Start).id()
}

// eventID is that of an event of what name tells from others: a contact, a
// subscription, a request.
func eventID(e *record.Event, name uint64) int64 {
	return new(digest).text("event", e.Src.String(), e.Dst.String(), e.AOR, e.Target, e.CallID, e.Method, e.Text, e.Agent).
		number(e.Time, int64(e.Kind), int64(e.Sensor), int64(e.Status), int64(name)).id()
}
