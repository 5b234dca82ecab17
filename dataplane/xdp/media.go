package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"ringside/bpf"
	"ringside/dataplane/frame"
)

// Policy is what is to become of the RTP of an endpoint beside metering it; enum
// rs_policy of bpf/include/types.h.
type Policy uint8

// Policies.
const (
	Unknown    Policy = iota // as Meter, for an endpoint of which nothing else is known
	Meter                    // the counters suffice
	HeaderOnly               // deliver up to the end of the RTP header
	Full                     // deliver whole
)

// Class is the class of a payload type, as in docs/design/meter.md.
type Class uint8

// Classes of payload types.
const (
	Voice   Class = iota // or any other media
	Event                // telephone-event, RFC 4733
	Comfort              // comfort noise, RFC 3389
)

// Payload is a payload type that SDP has given a meaning.
type Payload struct {
	Rate  uint32 // clock rate, Hz
	Type  uint8
	Class Class
}

// Media is what SDP said of a transport address. Of more than eight payload types
// the first eight are told to the program; to it the others have their static
// meaning, or none.
type Media struct {
	Policy   Policy
	Payloads []Payload
}

// Publish tells the program of an endpoint, or tells it anew.
func (f *Filter) Publish(at frame.Endpoint, m Media) error {
	var value bpf.PrefilterRsMedia
	value.Policy = uint8(m.Policy)
	value.N = uint8(min(len(m.Payloads), len(value.Payloads)))
	for i := range value.N {
		p := &m.Payloads[i]
		value.Payloads[i].Rate, value.Payloads[i].Pt, value.Payloads[i].Class = p.Rate, p.Type, uint8(p.Class)
	}
	if err := f.objects.Maps[bpf.PrefilterMapMedia].Put(mediaKey(at), &value); err != nil {
		return fmt.Errorf("publish media endpoint %s: %w", at, err)
	}
	return nil
}

// Withdraw takes back what Publish has said. One that is not there is no error.
func (f *Filter) Withdraw(at frame.Endpoint) error {
	if err := f.objects.Maps[bpf.PrefilterMapMedia].Delete(mediaKey(at)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("withdraw media endpoint %s: %w", at, err)
	}
	return nil
}

// mediaKey is struct rs_media_key.
func mediaKey(at frame.Endpoint) []byte {
	k := make([]byte, 0, 24)
	k = binary.BigEndian.AppendUint64(k, at.Addr.Hi)
	k = binary.BigEndian.AppendUint64(k, at.Addr.Lo)
	k = binary.BigEndian.AppendUint16(k, at.Port)
	return append(k, 0, 0, 0, 0, 0, 0)
}
