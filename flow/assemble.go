package flow

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
	tcpstream "ringside/flow/stream"
)

// join puts fragments together, up to the clock that all workers have read.
// What comes of them goes on as if it had been read.
func (s *Shard) join() bool {
	if s.joinedTo > s.joined.Load() {
		return s.say(&s.joined, s.joinedTo, &s.out[fromFragments])
	}
	limit := s.lowest(handedMark)
	if limit <= s.joined.Load() {
		return false
	}
	for from := oldest(s.fragmentIn, limit, (*fragment).place); from != nil; from = oldest(s.fragmentIn, limit, (*fragment).place) {
		f, b := from.head(), &s.rejoined
		b.Packets, b.Tunnels = b.Packets[:0], b.Tunnels[:0]
		b.Kept = b.Kept[:0]
		s.decoder.Join(&f.f, &f.tunnel, b)
		if s.records() {
			s.linkParts(b.Kept, frame.Kept{Clock: f.f.Clock, At: f.f.Kept})
			for i := range b.Packets {
				b.Packets[i].Kept = f.f.Kept
			}
		}
		s.packets(b, &s.out[fromFragments])
		from.next++
	}
	s.census.hand(&s.group.mirrors) // before joined says that it was
	s.joinedTo = limit
	return s.say(&s.joined, s.joinedTo, &s.out[fromFragments])
}

// assemble puts the streams of TCP and SCTP together, up to the clock to which
// all fragments are joined. What it says then is said of all signalling.
func (s *Shard) assemble() bool {
	if s.signalledTo > s.signalled.Load() {
		return s.say(&s.signalled, s.signalledTo, &s.out[fromStreams])
	}
	limit := s.lowest(joinedMark)
	if limit <= s.signalled.Load() {
		return false
	}
	s.group.mirrors.judge(limit, s.mirrorFound)
	for from := oldest(s.segmentIn, limit, (*segment).place); from != nil; from = oldest(s.segmentIn, limit, (*segment).place) {
		s.carried = from.head()
		if s.duplicateSegment(s.carried) {
			s.stats.SegmentDuplicates++
		} else {
			s.sessions.Packet(&s.carried.p)
		}
		from.next++
	}
	s.carried = nil
	if limit == end {
		s.sessions.Close(s.lastClock() - 1) // what it finds in the end comes at the last clock
	} else {
		s.sessions.Advance(limit - 1)
	}
	s.signalledTo = limit
	return s.say(&s.signalled, s.signalledTo, &s.out[fromStreams])
}

func (s *Shard) sessionOptions() tcpstream.Options {
	o := s.group.options.Sessions
	n := s.group.options.Workers
	o.MaxFlows = share(o.MaxFlows, n)
	o.MaxBytes = (o.MaxBytes + int64(n) - 1) / int64(n)
	o.Emit = s.carriedMessage
	return o
}

// carriedMessage reads a message that came on a stream.
func (s *Shard) carriedMessage(m *tcpstream.Message) {
	p := m.Packet
	meta := call.Meta{
		Time: p.Time, Clock: p.Clock, Seq: p.Seq, Src: m.Src, Dst: m.Dst,
		Transport: m.Transport, VLAN: -1, DSCP: p.DSCP, Cut: m.Cut,
	}
	if p.Flags&frame.FlagVLAN != 0 {
		meta.VLAN = int32(p.VLAN)
	}
	if p.Tunnel != 0 && s.carried != nil {
		meta.Tunnel = tunnelRecord(&s.carried.tunnel)
	}
	s.kept = append(s.kept[:0], m.Kept...)
	s.parse(m.Data, &meta, p, 0, &s.out[fromStreams])
}

// mirrorFound says that an interface delivers packets more than once.
func (s *Shard) mirrorFound(iface uint16, at int64, m Mirror) {
	what := fmt.Sprintf("each packet comes %.2f times", m.Factor())
	if 2*m.Elsewhere > m.Twice {
		what = fmt.Sprintf("%d %% of its packets came on another interface before", 100*m.Elsewhere/max(1, m.Seen))
	}
	e := &record.Event{
		Time: at, Kind: record.MirrorDuplicates, Sensor: s.group.options.Sensor, Count: 1,
		Text: fmt.Sprintf("interface %d: %s; copies within %v are removed from now on", iface, what,
			cmp.Or(s.group.options.DedupWindow, defaultWindow)),
	}
	e.ID = eventID(e)
	s.emit(at, e)
}

// loop makes the Call-ID that of another call in each pass of a capture that
// is replayed in a loop. The text is put behind the message.
func (m *signal) loop(pass uint16) {
	id := m.msg.CallID
	at := len(m.bytes)
	m.bytes = append(m.bytes, m.bytes[id.Off:id.Off+id.Len]...)
	m.bytes = append(m.bytes, passMark...)
	m.bytes = strconv.AppendUint(m.bytes, uint64(pass)+1, 10)
	m.msg.CallID = sip.Span{Off: uint32(at), Len: uint32(len(m.bytes) - at)}
	m.pass = pass
}

// passMark begins what loop puts behind a Call-ID.
const passMark = ";pass="

// repass gives what a call of a later pass refers to the mark of its Call-ID,
// so that the legs of one pass find each other and no others.
func repass(c *record.Call) {
	at := strings.LastIndex(c.CallID, passMark)
	if at < 0 {
		return
	}
	mark := c.CallID[at:]
	for _, s := range []*string{&c.XCallID, &c.ICID, &c.LinkHeader, &c.Replaces} {
		if *s != "" {
			*s += mark
		}
	}
	if c.SessionID != "" { // both UUIDs count, each for itself
		mark = "." + strings.TrimPrefix(mark, passMark)
		c.SessionID = strings.ReplaceAll(c.SessionID, ";", mark+";") + mark
	}
}

// parseError is the event of a message that was not understood.
func parseError(why sip.Reason, meta *call.Meta, sensor uint16) *record.Event {
	e := &record.Event{
		Time: meta.Clock, Kind: record.ParseError, Sensor: sensor,
		Src: meta.Src.Netip(), Dst: meta.Dst.Netip(), Text: why.String(), Count: 1,
	}
	e.ID = eventID(e) // of the clock, which no other frame has
	e.Time = meta.Time
	return e
}
