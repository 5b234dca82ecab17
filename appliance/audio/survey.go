package audio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ringside/flow/record"
	"ringside/flow/rtp"
)

// Description is what a recording has to be heard.
type Description struct {
	Start    int64    `json:"start"`     // of the first audio packet, ns since the Unix epoch; 0: there is none
	Length   int64    `json:"length_ns"` // to the end of the last one's sound
	Rate     int      `json:"rate"`      // Hz, of a rendering that loses nothing
	Playable bool     `json:"playable"`
	Why      string   `json:"why,omitempty"` // it is not playable
	Notes    []string `json:"notes,omitempty"`
	Streams  []Stream `json:"streams"`
}

// Stream is one SSRC on one flow.
type Stream struct {
	Src       netip.AddrPort `json:"src"`
	Dst       netip.AddrPort `json:"dst"`
	SSRC      uint32         `json:"ssrc"`
	From      record.Side    `json:"from"`    // who sends it, and so the channel: left the caller
	Guessed   bool           `json:"guessed"` // From is a guess
	Codec     string         `json:"codec"`   // most used first, with a blank between them
	Encrypted bool           `json:"encrypted"`
	Playable  bool           `json:"playable"`
	Why       string         `json:"why,omitempty"` // it is not heard, or not all of it

	First      int64  `json:"first"` // arrival, ns since the Unix epoch
	Last       int64  `json:"last"`
	Packets    uint64 `json:"packets"`
	Lost       uint64 `json:"lost"`
	Duplicates uint64 `json:"duplicates"`
	Resyncs    uint64 `json:"resyncs"` // times that it had to be put anew: its clock was off by 200 ms, or it jumped
}

// Limits of a call.
const (
	maxTracks = 64
	strangers = 4 // packets that a stream must have if the record does not know it
)

// survey is what was found out of a call by reading its packets.
type survey struct {
	book   *book
	base   int64 // first audio packet, ns
	heard  map[streamKey]part
	tracks map[streamKey]*track
	extra  uint64 // packets of streams beyond maxTracks
	clock  int64
}

// part is how a stream is heard.
type part struct {
	side  record.Side
	plain bool // not encrypted, whatever signalling says
}

// Open reads the packets of a call and finds out what can be heard.
func Open(ctx context.Context, c Call) (*Recording, error) {
	if c.Packets == nil {
		return nil, errors.New("open recording: there is no source of packets")
	}
	s := &survey{book: newBook(&c), tracks: map[streamKey]*track{}, heard: map[streamKey]part{}}
	n := 0
	err := c.Packets(ctx, func(p *Packet) error {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		s.see(p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	for _, t := range s.tracks {
		t.release(1<<63 - 1)
	}
	r := &Recording{call: c, survey: s}
	r.Description = s.describe()
	return r, nil
}

// see takes in one packet.
func (s *survey) see(p *Packet) {
	var h rtp.Header
	if !media(p, &h) {
		s.book.sniff(p.Data)
		return
	}
	k := streamKey{p.Src, p.Dst, h.SSRC}
	t := s.tracks[k]
	if t == nil {
		if len(s.tracks) == maxTracks {
			s.extra++
			return
		}
		t = s.book.track(k)
		s.tracks[k] = t
	}
	if (t.opener == nil || len(t.opener.keys) < len(s.book.keys)) && s.book.encrypted(k) {
		t.opener = newOpener(s.book.keys, s.book.side(k))
	}
	t.push(p, &h)
	s.clock = max(s.clock, p.Time)
	t.release(s.clock - hold)
}

// media reports whether a packet is RTP, and reads its header.
func media(p *Packet, h *rtp.Header) bool {
	return len(p.Data) >= 12 && p.Len >= len(p.Data) && rtp.Demux(p.Data) == rtp.RTP && rtp.ParseHeader(p.Data, p.Len, h)
}

func (b *book) track(k streamKey) *track {
	return &track{key: k, find: func(pt uint8) format { return b.find(k, pt) }, voices: map[uint8]*voice{}}
}

// describe makes the description, and chooses what is heard.
func (s *survey) describe() Description {
	d := Description{Streams: []Stream{}, Rate: Rates[0]}
	var found []*track
	for k, t := range s.tracks {
		if s.book.streams[k] != nil || t.packets >= strangers {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *track) int {
		return cmp.Or(cmp.Compare(a.first, b.first), a.key.src.Compare(b.key.src), a.key.dst.Compare(b.key.dst), cmp.Compare(a.key.ssrc, b.key.ssrc))
	})
	s.sides(found)
	for _, t := range found {
		x := s.stream(t)
		if x.Playable {
			if first := s.copyOf(t, found, d.Streams); first != nil {
				x.Playable = false
				x.Why = fmt.Sprintf("the same sound as that of %s to %s, passed on: heard once", first.Src, first.Dst)
			}
		}
		d.Streams = append(d.Streams, x)
		if !s.audio(t) {
			continue
		}
		if d.Start == 0 || t.first < d.Start {
			d.Start = t.first
		}
		if x.Playable {
			s.heard[t.key] = part{t.side, t.opener != nil && t.opened == 0}
			d.Playable = true
			d.Rate = max(d.Rate, s.needs(t))
		}
	}
	for _, t := range found {
		if s.audio(t) {
			d.Length = max(d.Length, t.last-d.Start)
		}
	}
	s.base = d.Start
	if d.Length == 0 {
		d.Playable = false
	}
	d.explain(s)
	return d
}

// explain says why nothing can be heard, and what else is to be known.
func (d *Description) explain(s *survey) {
	if s.extra > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("%d packets of streams beyond the first %d were passed over", s.extra, maxTracks))
	}
	for _, f := range s.book.faulty {
		d.Notes = append(d.Notes, "a=crypto: "+f)
	}
	if d.Playable {
		return
	}
	var why []string
	for _, x := range d.Streams {
		if x.Why != "" && !slices.Contains(why, x.Why) {
			why = append(why, x.Why)
		}
	}
	d.Why = strings.Join(why, "; ")
	if len(why) == 0 {
		d.Why = "no RTP of this call is stored"
	}
}

// sides settles who sends what: where nothing says so, the first direction is
// taken for the caller's.
func (s *survey) sides(found []*track) {
	known := map[netip.Addr]record.Side{}
	for _, t := range found {
		if t.side = s.book.side(t.key); t.side != record.SideUnknown {
			known[t.key.src.Addr()] = t.side
		}
	}
	for _, t := range found {
		if t.side != record.SideUnknown {
			continue
		}
		src, dst := t.key.src.Addr(), t.key.dst.Addr()
		switch {
		case src == dst:
			t.side = record.SideCaller
			if t.key.src.Port() > t.key.dst.Port() {
				t.side = record.SideCalled
			}
		case known[src] != record.SideUnknown:
			t.side = known[src]
		case known[dst] != record.SideUnknown:
			t.side = other(known[dst])
		default:
			t.side = record.SideCaller
		}
		if src != dst {
			known[src] = t.side
		}
	}
}

// audio reports whether a stream has audio, playable or not.
func (s *survey) audio(t *track) bool {
	for _, pt := range t.used() {
		if c := t.find(pt).codec; !c.Video() && c != rtp.RTX && c != rtp.ULPFEC && c != rtp.FlexFEC && c != rtp.T140 {
			return true
		}
	}
	return false
}

// used are the payload types of a stream, most used first.
func (t *track) used() (out []uint8) {
	for pt, n := range t.types {
		if n > 0 {
			out = append(out, uint8(pt))
		}
	}
	slices.SortStableFunc(out, func(a, b uint8) int { return cmp.Compare(t.types[b], t.types[a]) })
	return out
}

// needs is the rate of a rendering that loses nothing of a stream.
func (s *survey) needs(t *track) int {
	rate := 0
	for _, pt := range t.used() {
		if f := t.find(pt); f.sampling(Rates[0]) > 0 {
			rate = max(rate, f.needs())
		}
	}
	return rate
}

// stream describes a track.
func (s *survey) stream(t *track) Stream {
	x := Stream{
		Src: t.key.src, Dst: t.key.dst, SSRC: t.key.ssrc, From: t.side, Guessed: s.book.side(t.key) == record.SideUnknown,
		Encrypted: t.opener != nil, First: t.first, Last: t.lastSeen,
		Packets: t.packets, Lost: t.lost, Duplicates: t.again, Resyncs: t.resyncs,
	}
	var names, why []string
	for _, pt := range t.used() {
		f := t.find(pt)
		name := f.codec.String()
		if f.codec == rtp.Unknown {
			name = fmt.Sprintf("type-%d", pt)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		switch {
		case f.sampling(Rates[0]) > 0 || f.codec == rtp.RED:
			x.Playable = true
		case !f.silent():
			why = append(why, f.why(pt))
		}
	}
	x.Codec = strings.Join(names, " ")
	if len(why) == 0 && !x.Playable {
		why = append(why, "it has no voice: "+x.Codec)
	}
	if w := s.obstacle(t, &x); w != "" {
		why = append(why, w)
	}
	x.Why = strings.Join(why, "; ")
	return x
}

// obstacle is what keeps a stream whose codec is known from being heard.
func (s *survey) obstacle(t *track, x *Stream) string {
	if t.cut > 0 {
		if t.cut == t.packets {
			x.Playable = false
			return "only the headers of its packets are stored: a capture rule has to want the whole of them"
		}
		return fmt.Sprintf("%d of %d packets are stored without their whole payload", t.cut, t.packets)
	}
	switch {
	case t.opener == nil || t.opened > 0 && t.sealed == 0:
	case t.opened > 0:
		return fmt.Sprintf("%d of %d packets could not be decrypted", t.sealed, t.sealed+t.opened)
	case x.Playable && t.unprotected():
		x.Encrypted = false
	case len(s.book.keys) == 0:
		x.Playable = false
		return "encrypted (SRTP), no key: the signalling that was captured has none; keys that DTLS agrees on are never there"
	default:
		x.Playable = false
		return "encrypted (SRTP), and no key of the signalling fits"
	}
	return ""
}

// unprotected reports whether a stream that was announced as SRTP is not: all
// payloads have the length of whole 5 ms of G.711, which no tag leaves.
func (t *track) unprotected() bool {
	for _, pt := range t.used() {
		switch f := t.find(pt); {
		case f.codec == rtp.PCMU, f.codec == rtp.PCMA, f.codec == rtp.G722, f.silent():
		default:
			return false
		}
	}
	return t.odd == 0 && t.sealed > 0
}

// copyOf is the stream that is heard already and that this one repeats: of the
// same side at the same time, with the same SSRC, or sent on by the host that
// received it.
func (s *survey) copyOf(t *track, found []*track, before []Stream) *Stream {
	for i := range before {
		x, u := &before[i], found[i]
		both := min(t.lastSeen, u.lastSeen) - max(t.first, u.first)
		if !x.Playable || u.side != t.side || both <= min(t.lastSeen-t.first, u.lastSeen-u.first)/2 {
			continue
		}
		relayed := u.key.dst.Addr() == t.key.src.Addr() && u.key.src.Addr() != u.key.dst.Addr()
		if u.key.ssrc == t.key.ssrc || relayed {
			return x
		}
	}
	return nil
}
