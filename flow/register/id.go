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

// registrationID is that of a record: an attempt has no contact, but a source.
func registrationID(r *record.Registration) int64 {
	d := new(digest).text("registration", r.AOR, r.Contact, r.Instance).number(r.Start)
	if r.Contact == "" {
		d.text(r.Src.Addr().String())
	}
	return d.id()
}

func exchangeID(x *record.Exchange) int64 {
	d := new(digest).text("exchange").number(int64(x.Kind))
	if x.Kind == record.Options {
		d.text(x.Caller.Addr.String(), x.Called.Addr.String())
	} else {
		d.text(x.CallID, x.Caller.Tag, x.Event)
	}
	return d.number(x.Start).id()
}

func eventID(e *record.Event) int64 {
	return new(digest).text("event", e.Src.String(), e.Dst.String(), e.AOR, e.Target, e.CallID, e.Method, e.Text, e.Agent).
		number(e.Time, int64(e.Kind), int64(e.Sensor), int64(e.Status)).id()
}
