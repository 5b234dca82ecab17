package flow

import (
	"ringside/flow/call"
	"ringside/flow/event"
	"ringside/flow/register"
	"ringside/flow/relate"
	"ringside/flow/rtp"
	"ringside/flow/sip"
	tcpstream "ringside/flow/stream"
)

// Stats counts what became of the packets, and what the tables hold. Every
// packet that a decoder yields is in exactly one of the counters of Kinds.
type Stats struct {
	SIPPackets uint64 // begin as a SIP message
	Keepalives uint64 // line ends or zeros only
	RTP        uint64
	RTCP       uint64
	STUN       uint64
	DTLS       uint64
	ZRTP       uint64
	TURN       uint64 // channel data
	UDPOther   uint64
	UDPEmpty   uint64

	// Segments of TCP and packets of SCTP are in Sessions, but for the second
	// copies of a mirror.
	SegmentDuplicates uint64

	SIPMessages   uint64                  // read, of SIPPackets and of streams
	SIPErrors     [sip.NumReasons]uint64  // not understood, by sip.Reason
	SIPCut        uint64                  // messages that end before their body does
	SIPDuplicates uint64                  // of SIPMessages: second copies of a mirror
	Requests      [sip.PUBLISH + 1]uint64 // of SIPMessages, by sip.Method
	Responses     [7]uint64               // of SIPMessages, by class, 1 to 6; 0: any other

	// RTP + Metered = InCalls + Orphan + Unconfirmed + Refused + RTPDuplicates +
	// Unmetered, once all streams ended.
	Metered     uint64 // packets that a meter in the kernel has counted, as far as it was read
	RTPCopies   uint64 // of these, those that came here as well
	InCalls     uint64 // packets of streams of calls
	Orphan      uint64 // packets of streams that no call claimed
	Unconfirmed uint64 // packets that looked like RTP and were no stream
	Refused     uint64 // packets of streams for which the table had no room

	Unmetered uint64 // packets of a stream that the kernel meters, which its meter was too busy to count

	RTPDuplicates  uint64    // second copies of a mirror
	RTCPDuplicates uint64    // of what RTCP said
	Duplicates     PathPairs // second copies of all kinds, by the paths of both

	DedupFull uint64 // packets whose copy would not have been found: the tables of recent packets were full

	Orphans    uint64 // streams that no call claimed
	OrphanRTCP uint64 // streams of which only RTCP was seen, and no call
	BadRTCP    uint64 // of RTCP: not well-formed (or encrypted)

	VQ    uint64 // quality reports of endpoints (RFC 6035)
	BadVQ uint64 // those that could not be read

	CaptureLost uint64 // frames that the capture says it lost; part of no other counter

	// Copies of frames, where packets are recorded.
	Recorded      uint64 // packets given to the recorder, of each call
	NotRecorded   uint64 // packets that it refused
	NotKept       uint64 // frames for which there was no memory
	LookBackShort uint64 // times that the look-back was cut short to make room

	ActiveStreams uint64
	Calls         call.Stats
	Registers     register.Stats
	Sessions      tcpstream.Stats
	Mirrors       []Mirror // by interface
	MirrorLoss    uint64   // seconds in which many unrelated streams lost packets at once
	Events        event.Stats
	Links         relate.Stats
}

// Kind is a named counter.
type Kind struct {
	Name  string
	Count uint64
}

// Kinds lists what packets were, by name. Their sum is the packets decoded.
func (s *Stats) Kinds() []Kind {
	kinds := []Kind{
		{"sip", s.SIPPackets},
		{"rtp", s.RTP},
		{"rtp-copy", s.RTPCopies},
		{"rtcp", s.RTCP},
		{"keep-alive", s.Keepalives},
		{"stun", s.STUN},
		{"dtls", s.DTLS},
		{"zrtp", s.ZRTP},
		{"turn-channel", s.TURN},
		{"udp-other", s.UDPOther},
		{"udp-empty", s.UDPEmpty},
		{"duplicate-segment", s.SegmentDuplicates},
	}
	for _, k := range s.Sessions.Kinds() {
		kinds = append(kinds, Kind{k.Name, k.Count})
	}
	return kinds
}

// Fates lists what became of the RTP packets, by name. Once all streams have
// ended, their sum is RTP + Metered.
func (s *Stats) Fates() []Kind {
	return []Kind{
		{"in-calls", s.InCalls},
		{"no-call", s.Orphan},
		{"unconfirmed", s.Unconfirmed},
		{"table-full", s.Refused},
		{"duplicate", s.RTPDuplicates},
		{"unmetered", s.Unmetered},
	}
}

func (s *Stats) countKind(k rtp.Kind) {
	switch k {
	case rtp.STUN:
		s.STUN++
	case rtp.DTLS:
		s.DTLS++
	case rtp.ZRTP:
		s.ZRTP++
	case rtp.TURN:
		s.TURN++
	default:
		s.UDPOther++
	}
}

func (s *Stats) countMessage(m *sip.Message) {
	s.SIPMessages++
	if !m.Response {
		if int(m.Method) < len(s.Requests) {
			s.Requests[m.Method]++
		}
		return
	}
	class := int(m.Status / 100)
	if class >= len(s.Responses) {
		class = 0
	}
	s.Responses[class]++
}

func (s *Stats) countSIPError(err error) {
	reason, _ := err.(sip.Reason)
	s.SIPErrors[reason]++
}

// SIPProblems lists the messages that were not understood, by reason.
func (s *Stats) SIPProblems() []Kind {
	var out []Kind
	for i, n := range s.SIPErrors {
		if n > 0 {
			out = append(out, Kind{sip.Reason(i).String(), n})
		}
	}
	return out
}

// add adds the counters of another shard.
func (s *Stats) add(o *Stats) {
	sum := []struct{ to, from *uint64 }{
		{&s.SIPPackets, &o.SIPPackets}, {&s.Keepalives, &o.Keepalives},
		{&s.RTP, &o.RTP}, {&s.RTCP, &o.RTCP}, {&s.STUN, &o.STUN}, {&s.DTLS, &o.DTLS},
		{&s.ZRTP, &o.ZRTP}, {&s.TURN, &o.TURN}, {&s.UDPOther, &o.UDPOther},
		{&s.UDPEmpty, &o.UDPEmpty}, {&s.SIPMessages, &o.SIPMessages}, {&s.SIPCut, &o.SIPCut},
		{&s.SegmentDuplicates, &o.SegmentDuplicates}, {&s.SIPDuplicates, &o.SIPDuplicates},
		{&s.RTPDuplicates, &o.RTPDuplicates}, {&s.RTCPDuplicates, &o.RTCPDuplicates}, {&s.InCalls, &o.InCalls}, {&s.Orphan, &o.Orphan},
		{&s.Unconfirmed, &o.Unconfirmed}, {&s.Refused, &o.Refused}, {&s.Orphans, &o.Orphans},
		{&s.OrphanRTCP, &o.OrphanRTCP}, {&s.BadRTCP, &o.BadRTCP},
		{&s.DedupFull, &o.DedupFull}, {&s.VQ, &o.VQ}, {&s.BadVQ, &o.BadVQ},
		{&s.Recorded, &o.Recorded}, {&s.NotRecorded, &o.NotRecorded}, {&s.NotKept, &o.NotKept},
		{&s.Metered, &o.Metered}, {&s.RTPCopies, &o.RTPCopies}, {&s.Unmetered, &o.Unmetered},
		{&s.ActiveStreams, &o.ActiveStreams}, {&s.CaptureLost, &o.CaptureLost},
	}
	for _, c := range sum {
		*c.to += *c.from
	}
	for i, n := range o.SIPErrors {
		s.SIPErrors[i] += n
	}
	for i, n := range o.Requests {
		s.Requests[i] += n
	}
	for i, n := range o.Responses {
		s.Responses[i] += n
	}
	s.Duplicates.merge(&o.Duplicates)
	s.Calls.Add(&o.Calls)
	s.Registers.Add(&o.Registers)
	s.Sessions.Add(&o.Sessions)
}
