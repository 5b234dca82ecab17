package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

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
	f.media.Lock()
	defer f.media.Unlock()
	// The bit of the port is there before the endpoint, and goes behind the last one.
	f.media.count(at.Port, 1)
	media := f.objects.Maps[bpf.PrefilterMapMedia]
	err := media.Update(mediaKey(at), &value, ebpf.UpdateNoExist)
	if errors.Is(err, ebpf.ErrKeyExist) {
		f.media.count(at.Port, -1)
		err = media.Update(mediaKey(at), &value, ebpf.UpdateAny)
	} else if err != nil {
		f.media.count(at.Port, -1)
	}
	if err == nil {
		err = f.newGeneration()
	}
	if err != nil {
		return fmt.Errorf("publish media endpoint %s: %w", at, err)
	}
	return nil
}

// Withdraw takes back what Publish has said. One that is not there is no error.
func (f *Filter) Withdraw(at frame.Endpoint) error {
	f.media.Lock()
	defer f.media.Unlock()
	err := f.objects.Maps[bpf.PrefilterMapMedia].Delete(mediaKey(at))
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("withdraw media endpoint %s: %w", at, err)
	}
	f.media.count(at.Port, -1)
	return nil
}

// endpoints is what is known of the media map here.
type endpoints struct {
	sync.Mutex
	generation uint32        // as the program was told last
	mem        []byte        // rs_media_ports
	ports      []uint64      // the same memory: a bit for each port that an endpoint has
	of         [65536]uint32 // endpoints of each port
}

// open maps the set of ports.
func (e *endpoints) open(ports *ebpf.Map) (err error) {
	e.generation = 1 // as in bpf/include/table.h
	e.mem, err = unix.Mmap(ports.FD(), 0, len(e.of)/8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the ports of media endpoints: %w", err)
	}
	e.ports, _ = overlay(e.mem)
	return nil
}

func (e *endpoints) close() {
	if e.mem != nil {
		unix.Munmap(e.mem) // an error would be a bug, and the process goes on
	}
	e.mem, e.ports = nil, nil
}

// count says that a port has one endpoint more, or less.
func (e *endpoints) count(port uint16, n int) {
	word, bit := &e.ports[port/64], uint64(1)<<(port%64)
	if e.of[port] += uint32(n); e.of[port] > 0 {
		atomic.OrUint64(word, bit)
	} else {
		atomic.AndUint64(word, ^bit)
	}
}

// newGeneration says that there is something new in the media map, so that
// streams which were not found there are looked for again.
func (f *Filter) newGeneration() error {
	v := f.objects.Variables[bpf.PrefilterVarMediaGeneration]
	if v == nil {
		return nil // a socket filter, without a table
	}
	if f.media.generation++; f.media.generation == 0 {
		f.media.generation++
	}
	return v.Set(f.media.generation)
}

// mediaKey is struct rs_media_key.
func mediaKey(at frame.Endpoint) []byte {
	k := make([]byte, 0, 24)
	k = binary.BigEndian.AppendUint64(k, at.Addr.Hi)
	k = binary.BigEndian.AppendUint64(k, at.Addr.Lo)
	k = binary.BigEndian.AppendUint16(k, at.Port)
	return append(k, 0, 0, 0, 0, 0, 0)
}
