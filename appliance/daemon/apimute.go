package daemon

import (
	"encoding/binary"

	"ringside/appliance/api"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/flow/rtp"
	"ringside/flow/sip"
	"ringside/writer/pcap"
)

// muter makes frames fit for somebody who has no right to hear: RTP ends behind its
// header, as header-only recording stores it, and keys of media in signalling are
// crossed out. Of what is neither signalling nor RTCP nor STUN, and of what cannot
// be told, nothing stays behind the headers: it may be sound.
type muter struct {
	decoder *decode.Decoder
	batch   frame.Batch
	data    []byte
	said    map[datagram]bool // datagrams in fragments that are signalling
}

// datagram names one that comes in fragments.
type datagram struct {
	src, dst frame.Addr
	id       uint32
	proto    uint8
}

const (
	udpHeader  = 8
	unknown    = 14      // bytes of a frame that is not understood: the header of Ethernet
	mostSplit  = 1 << 10 // datagrams in fragments that are remembered
	stunCookie = 0x2112A442
)

func newMuter(vxlan []uint16) *muter {
	return &muter{decoder: decode.New(decode.Options{VXLANPorts: vxlan}), said: make(map[datagram]bool)}
}

// before hands frames on as they may be seen.
func (m *muter) before(emit func(*pcap.Packet, pcap.Interface, string) error) func(*pcap.Packet, pcap.Interface, string) error {
	return func(p *pcap.Packet, i pcap.Interface, key string) error {
		q := *p
		q.Data = m.mute(p, i.Link)
		q.Len = max(p.Len, uint32(len(p.Data)))
		return emit(&q, i, key)
	}
}

// mute is what may be seen of a frame. It is valid until the next call.
func (m *muter) mute(p *pcap.Packet, link frame.LinkType) []byte {
	m.data = append(m.data[:0], p.Data...) // the spool's own must stay
	m.batch.Frames = append(m.batch.Frames[:0], frame.Frame{Time: p.Time, Clock: p.Time, Data: m.data, Len: p.Len, Link: link})
	m.decoder.Decode(&m.batch)
	var body []byte
	keep := 0
	switch {
	case len(m.batch.Packets) == 1:
		body = m.batch.Packets[0].Payload
		keep = silent(m.batch.Packets[0].Proto, body)
	case len(m.batch.Fragments) == 1:
		body = m.batch.Fragments[0].Data
		keep = m.fragment(&m.batch.Fragments[0])
	}
	at := within(m.data, body)
	switch {
	case at < 0:
		return m.data[:min(unknown, len(m.data))]
	case keep == len(body):
		return m.data
	}
	return m.data[:at+keep]
}

// silent is how many bytes of a payload have no sound in them. Keys in them are
// crossed out.
func silent(proto uint8, payload []byte) int {
	if proto != frame.ProtoUDP { // SIP over TCP or SCTP: media do not come so
		api.HideKeys(payload)
		return len(payload)
	}
	switch rtp.Demux(payload) {
	case rtp.RTCP:
		return len(payload)
	case rtp.RTP:
		var h rtp.Header
		if rtp.ParseHeader(payload, len(payload), &h) {
			return min(int(h.Offset), len(payload))
		}
		return 0
	case rtp.STUN:
		if binary.BigEndian.Uint32(payload[4:]) == stunCookie {
			return len(payload)
		}
		return 0
	}
	if !sip.Looks(payload) {
		return 0
	}
	api.HideKeys(payload)
	return len(payload)
}

// fragment is silent for a fragment: what the first one says of a datagram holds
// for the others.
func (m *muter) fragment(f *frame.Fragment) int {
	of := datagram{f.Src, f.Dst, f.ID, f.Proto}
	switch {
	case f.Offset > 0 && m.said[of]:
		api.HideKeys(f.Data)
		return len(f.Data)
	case f.Offset > 0 || f.Proto != frame.ProtoUDP || len(f.Data) < udpHeader:
		return 0
	}
	payload := f.Data[udpHeader:]
	keep := silent(f.Proto, payload)
	if len(m.said) >= mostSplit {
		clear(m.said)
	}
	m.said[of] = sip.Looks(payload)
	return udpHeader + keep
}

// within is where a part of a frame begins in it, or -1.
func within(data, part []byte) int {
	if len(part) == 0 {
		return -1
	}
	for at := len(data) - len(part); at >= 0; at-- {
		if &data[at] == &part[0] {
			return at
		}
	}
	return -1
}
