// Package traffic makes seeded SIP and RTP traffic as a capture file, and with
// it the truth: what a perfect observer at the point of capture must report.
//
// A Generator writes frames in order of time. It plans a call when the call
// begins (its SIP messages, and when each side sends RTP), and keeps nothing of
// it when it is over, so that memory follows the number of concurrent calls and
// not the length of the file. The same seed and options give the same bytes.
//
// # Rules of the truth
//
// The truth file is JSON lines: "call" (with its streams), "stream" (one that
// no SDP named), and a last line "totals". Names and meanings are those of
// flow/record. Where that leaves room, the truth says:
//
//   - A call is one Call-ID. A request seen on both hops of a proxy counts once
//     (same CSeq, method and From tag), and is no retransmission; messages_total
//     counts every message on every hop. "First" is the smallest time on any hop.
//   - ring is the first 180, or the first 183 of a call without any 180.
//     A 100 or 2xx to a re-INVITE (a request with a To tag) is no trying or answer.
//   - end is the first BYE; or the first final failure that ended the call; or
//     the 487 of a CANCEL; or else the last SIP message or RTP packet.
//   - end_reason: bye-unconfirmed whenever no 200 to the BYE was seen. A call
//     without any end is a timeout if the file goes on for its timer (120 s
//     without a response, 180 s ringing) after its last message, else capture-end.
//   - last_status is that of the last final response to an INVITE, re-INVITEs
//     included; invites includes reinvites; challenges and redirects count once
//     per request.
//   - retransmissions are the same bytes again on the same hop.
//   - holds counts changes from talking to held, not offers.
//   - forks counts To tags of 101 to 299 responses to INVITE beyond the first.
//   - one-way, no-rtp and silence are stated for answered calls only, and judge
//     RTP since the answer. early-media
//     is SDP in a provisional response, or RTP before the answer. late-sdp is a
//     stream that began before the first SDP that names its destination. A call
//     captured from the middle on has no early-media: its answer was not seen.
//     port-reuse is a media endpoint that another call named less than 30 s
//     after that call's end.
//   - A stream belongs to the call whose SDP named its destination, or for RTP
//     from behind a NAT its source. With no SDP in the file it is an orphan.
//   - RTCP that begins only after the BYE, on a port of its own, belongs to no call.
//   - Times are those of the file: a capture in microseconds truncates.
//
// # Streams, fragments, copies
//
// SIP over TCP, WebSocket and SCTP goes over connections of one call, or of two
// to four calls that share them (Streams). Whatever delays a message delays all
// that its call does afterwards.
//
//   - A message's time is that of the packet after which the observer has all bytes
//     of its direction up to the message's end; over SCTP, all chunks of the
//     message itself. Bytes that come again change nothing. A datagram's time is
//     that of the fragment which completes it.
//   - The addresses of a call are those of the connection, not of Via or Contact.
//   - What the capture alone missed is acknowledged before anything else comes in
//     that direction, so the gap is known to stay. A message that is missed whole
//     is not in the truth, and not the cause of any flag; it is an ACK to a 2xx, a
//     100, an INFO, a NOTIFY, or a final response without SDP to neither INVITE,
//     BYE nor CANCEL. One whose body is missed (INFO, NOTIFY, over TCP) counts, and
//     its call is sip-cut.
//   - A connection that the capture comes upon in its midst begins, in each
//     direction, with a packet in order: on TCP maybe with the end of a message,
//     which is none, on WebSocket with a message in one frame.
//   - With a mirror the truth is that of the first copies, VLAN and TTL included.
//     Frames counts all, everything else counts once. Lines of type "duplicates"
//     say how many frames came twice, by VLAN and TTL of both copies.
//   - Attacks (Options.Hostile) appear in the totals alone.
//
// The figures of a stream are computed by a second, independent implementation
// of docs/design/meter.md from the packets as captured.
package traffic
