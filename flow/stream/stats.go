package stream

import (
	"ringside/flow/record"
	"ringside/flow/sctp"
)

// Stats are the counters of a table. Every packet is in exactly one of the
// counters of Kinds; what it was is decided when it comes.
type Stats struct {
	packets [numKinds]uint64

	Flows  uint64 // known now
	SIP    uint64 // of these, that carry SIP
	Bytes  uint64 // of buffers in use now
	Opened uint64 // flows since the beginning

	Messages [record.SCTP + 1]uint64 // emitted, by transport
	Cut      uint64                  // of these, without (part of) their body
	Dropped  uint64                  // messages that lost a part of their header section, or had none to speak of
	TooLong  uint64                  // messages longer than MaxMessage: cut or dropped

	Retransmitted      uint64 // segments that brought nothing new
	RetransmittedBytes uint64 // also of segments that brought something
	OutOfOrder         uint64 // segments that came before others that they follow
	Conflicts          uint64 // segments that brought other bytes than held ones for the same place
	Outside            uint64 // segments far behind their stream, not taken
	Gaps               uint64 // holes that were given up
	GapBytes           uint64 // bytes in them, as far as it is known
	Resyncs            uint64 // times that the next start line was looked for
	Garbage            uint64 // bytes that were passed over to find it
	KeepAlives         uint64 // line ends between messages (RFC 5626), and WebSocket pings and pongs
	Unreadable         uint64 // WebSocket messages that are compressed, or broken
	NotSIP             uint64 // messages of WebSocket and SCTP that are no SIP

	Evicted    uint64 // flows forgotten to make room
	EvictedSIP uint64 // of these, that carried SIP
	Relieved   uint64 // directions that gave up what they held, or TLS that was left unread, to make room

	SCTP sctp.Stats
}

// kind is what a packet was.
type kind uint8

const (
	kindSIP kind = iota
	kindWebSocket
	kindDecrypted
	kindHandshake
	kindEncrypted
	kindKeepAlive
	kindEmpty
	kindUndecided
	kindOther
	kindSCTP
	kindSCTPOther
	numKinds
)

var kindNames = [numKinds]string{
	kindSIP:       "sip-stream",
	kindWebSocket: "websocket",
	kindDecrypted: "tls-decrypted",
	kindHandshake: "tls-handshake",
	kindEncrypted: "tls-encrypted",
	kindKeepAlive: "tcp-keep-alive",
	kindEmpty:     "tcp-empty",
	kindUndecided: "tcp-undecided",
	kindOther:     "tcp-other",
	kindSCTP:      "sctp-sip",
	kindSCTPOther: "sctp-other",
}

// Kind is a named counter.
type Kind struct {
	Name  string
	Count uint64
}

// Kinds lists what packets were, by name: segments of flows that carry SIP, in
// the clear, in WebSocket frames, or in TLS that is read; of TLS before it
// encrypts, and of TLS that is not read; keep-alives of SIP and of TCP; segments
// without payload; segments of flows that are not known yet, and of flows that
// carry something else; packets of SCTP that completed a SIP message, and
// others. Their sum is the packets taken.
func (s *Stats) Kinds() []Kind {
	out := make([]Kind, numKinds)
	for i, n := range s.packets {
		out[i] = Kind{kindNames[i], n}
	}
	return out
}

func (s *Stats) kind(k kind) *uint64 { return &s.packets[k] }

// Notes lists what is worth knowing beside the ledger, by name.
func (s *Stats) Notes() []Kind {
	return []Kind{
		{"cut-messages", s.Cut}, {"dropped-messages", s.Dropped}, {"too-long-messages", s.TooLong},
		{"retransmitted", s.Retransmitted}, {"out-of-order", s.OutOfOrder}, {"conflicts", s.Conflicts},
		{"outside-window", s.Outside}, {"gaps", s.Gaps}, {"gap-bytes", s.GapBytes},
		{"resyncs", s.Resyncs}, {"garbage-bytes", s.Garbage}, {"keep-alives", s.KeepAlives},
		{"unreadable-websocket", s.Unreadable}, {"not-sip", s.NotSIP},
		{"evicted-flows", s.Evicted}, {"evicted-sip-flows", s.EvictedSIP}, {"relieved", s.Relieved},
	}
}

// Add adds the counters of another table.
func (s *Stats) Add(o *Stats) {
	for i, n := range o.packets {
		s.packets[i] += n
	}
	for i, n := range o.Messages {
		s.Messages[i] += n
	}
	for _, c := range []struct{ to, from *uint64 }{
		{&s.Flows, &o.Flows}, {&s.SIP, &o.SIP}, {&s.Bytes, &o.Bytes}, {&s.Opened, &o.Opened},
		{&s.Cut, &o.Cut}, {&s.Dropped, &o.Dropped}, {&s.TooLong, &o.TooLong},
		{&s.Retransmitted, &o.Retransmitted}, {&s.RetransmittedBytes, &o.RetransmittedBytes},
		{&s.OutOfOrder, &o.OutOfOrder}, {&s.Conflicts, &o.Conflicts}, {&s.Outside, &o.Outside},
		{&s.Gaps, &o.Gaps}, {&s.GapBytes, &o.GapBytes}, {&s.Resyncs, &o.Resyncs},
		{&s.Garbage, &o.Garbage}, {&s.KeepAlives, &o.KeepAlives}, {&s.Unreadable, &o.Unreadable},
		{&s.NotSIP, &o.NotSIP}, {&s.Evicted, &o.Evicted}, {&s.EvictedSIP, &o.EvictedSIP},
		{&s.Relieved, &o.Relieved},
	} {
		*c.to += *c.from
	}
	s.SCTP.Add(&o.SCTP)
}

// Stats is a copy of the counters.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Flows, s.SIP = uint64(t.used), uint64(t.order[listSIP].len)
	s.Bytes = uint64(t.buffers.used + t.sealedBytes)
	s.SCTP = t.sctp.Stats()
	return s
}
