package relate

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringside/flow/record"
)

// Points that two calls get for what they have in common. Both numbers and the
// times are enough, or numbers, times and the B2BUA's address where the numbers
// are short; media and times, where the numbers were rewritten. One number alone
// is never: a hotline has hundreds of calls to one number that begin together.
const (
	calledInFull = 24
	calledInPart = 16
	callerInFull = 20
	callerInPart = 14
	sameName     = 5  // display name of the caller
	oneMedia     = 36 // one media address or SSRC
	moreMedia    = 50 // more of them: media does not go through the B2BUA, or keeps its SSRC
	startSoon    = 10 // the second INVITE within a second
	startLater   = 6  // … within ten
	endTogether  = 10 // within two seconds
	sameAddress  = 10 // the first INVITE went where the second came from
	atMost       = 99 // 100 is for what headers say
)

// Times between two legs, ns.
const (
	soon     = int64(time.Second)
	later    = int64(10 * time.Second)
	together = int64(2 * time.Second)
)

// leg is a call that waits to be compared.
type leg struct {
	named
	answer                  int64
	called, request, caller number
	name                    uint64 // hash of the display name
	src                     uint64 // hash of the address that sent the first INVITE
	dst                     [2]uint64
	media                   [4]uint64
	ssrc                    [4]uint32
}

// legOf takes from a call what is compared; false if its beginning is not known.
func legOf(c *record.Call, n *named) (l leg, ok bool) {
	if c.Outcome == record.Partial || c.Flags&record.MidCall != 0 || c.Invites == 0 {
		return l, false
	}
	l = leg{
		named: *n, answer: c.Answer,
		caller: numberOf(c.Caller.Number), called: numberOf(c.Called.Number), request: numberOf(c.RequestUser),
		src: hashAddr(c.Caller.Addr.Addr()),
	}
	if name := strings.ToLower(strings.TrimSpace(c.Caller.Name)); name != strings.ToLower(c.Caller.Number) && nameOf(name).n != 0 {
		l.name = hash(0, name)
	}
	// On a path of several hops the B2BUA is at the end of the last one.
	l.dst[0] = hashAddr(c.Called.Addr.Addr())
	l.dst[1] = l.dst[0]
	for i := range c.Messages {
		m := &c.Messages[i]
		if m.Status > 100 {
			break
		}
		if m.Method == "INVITE" && m.Status == 0 {
			l.dst[1] = hashAddr(m.Dst.Addr())
		}
	}
	keep := l.media[:0]
	for i := range c.Media {
		if h := hashPort(c.Media[i].Addr); len(keep) < len(l.media) && !slices.Contains(keep, h) {
			keep = append(keep, h)
		}
	}
	sources := l.ssrc[:0]
	for i := range c.Streams {
		if s := c.Streams[i].SSRC; len(sources) < len(l.ssrc) && s != 0 && !slices.Contains(sources, s) {
			sources = append(sources, s)
		}
	}
	return l, true
}

func hashAddr(a netip.Addr) uint64 {
	if !a.IsValid() {
		return 0
	}
	b := a.As16()
	return hash(0, string(b[:]))
}

func hashPort(a netip.AddrPort) uint64 {
	if !a.IsValid() {
		return 0
	}
	return mix(hashAddr(a.Addr()), uint64(a.Port())) | 1
}

// step is how long (ns) legs that begin stand under one key. What began less
// than `later` before or after a leg is in the step of the leg, or in the one
// that is nearer.
const step = 2 * later

func (l *leg) step() int64 { return l.start / step }

func (l *leg) nearer() int64 {
	if l.start%step < later {
		return l.step() - 1
	}
	return l.step() + 1
}

// keys calls f with what the leg is found by in a step: numbers and media
// addresses.
func (l *leg) keys(step int64, f func(key uint64)) {
	at := mix(keyCalled, uint64(step))
	key := func(kind, value uint64) { f(mix(mix(at, kind), value)) }
	if l.called.n != 0 {
		key(keyCalled, l.called.bucket())
	}
	if l.request.n != 0 && l.request.bucket() != l.called.bucket() {
		key(keyCalled, l.request.bucket())
	}
	if l.caller.n != 0 {
		key(keyCaller, l.caller.bucket())
	}
	for _, m := range l.media {
		if m != 0 {
			key(keyMedia, m)
		}
	}
}

func (f *Finder) waitLeg(l *leg) {
	if f.legs.calls.len() >= f.options.MaxCalls {
		f.legs.drop()
	}
	f.legs.add(*l)
	l.keys(l.step(), f.legs.post)
}

// byScore finds the legs that have enough in common with l, the best first.
func (f *Finder) byScore(l *leg) {
	if f.options.MinScore > 100 {
		return
	}
	before := len(f.found)
	for _, step := range [2]int64{l.step(), l.nearer()} {
		l.keys(step, func(key uint64) { f.compare(l, key, before+maxScored) })
	}
	scored := f.found[before:]
	if len(scored) > maxScored {
		f.stats.Ambiguous++
		f.found = f.found[:before]
		return
	}
	slices.SortStableFunc(scored, func(a, b found) int { return int(b.score) - int(a.score) })
}

// compare scores the legs that wait under a key, the last ones first, until more
// than `most` calls are found in all.
func (f *Finder) compare(l *leg, key uint64, most int) {
	n := 0
	for p := f.legs.newest(key); p != nil && len(f.found) <= most; p = f.legs.older(p) {
		if n++; n > maxCompared {
			f.stats.Busy++
			return
		}
		o := f.legs.calls.at(p.call)
		if s := score(l, o); s.points() >= int(f.options.MinScore) && o.call != l.call && !f.has(o.id) {
			f.found = append(f.found, found{o.id, o.start, record.LinkScore, uint8(s.points()), s.String()})
		}
	}
}

// common is what two legs have in common, in points.
type common struct{ called, caller, name, media, start, end, address int }

func (s common) points() int {
	return min(s.called+s.caller+s.name+s.media+s.start+s.end+s.address, atMost)
}

// String names it, as in "called caller start end".
func (s common) String() string {
	var b strings.Builder
	for _, x := range []struct {
		points int
		name   string
	}{
		{s.called, "called"}, {s.caller, "caller"}, {s.name, "name"}, {s.media, "media"},
		{s.start, "start"}, {s.end, "end"}, {s.address, "address"},
	} {
		if x.points > 0 {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(x.name)
		}
	}
	return b.String()
}

// score compares two legs. Nothing is in common of legs that cannot be on two
// sides of a B2BUA: the second INVITE comes within ten seconds of the first,
// before its answer and its end; and not from the same host to the same host.
func score(a, b *leg) (s common) {
	if b.start < a.start {
		a, b = b, a
	}
	late := b.start - a.start
	switch {
	case late > later, b.start > a.end, a.answer != 0 && b.start > a.answer:
		return s
	case a.src != 0 && a.src == b.src && a.dst[0] == b.dst[0]:
		return s
	}
	s.start = startLater
	if late <= soon {
		s.start = startSoon
	}
	if d := a.end - b.end; d <= together && -d <= together {
		s.end = endTogether
	}
	if b.src != 0 && (b.src == a.dst[0] || b.src == a.dst[1]) {
		s.address = sameAddress
	}
	s.called = [...]int{different: 0, inPart: calledInPart, inFull: calledInFull}[max(
		a.called.agrees(b.called), a.called.agrees(b.request), a.request.agrees(b.called), a.request.agrees(b.request))]
	s.caller = [...]int{different: 0, inPart: callerInPart, inFull: callerInFull}[a.caller.agrees(b.caller)]
	if a.name != 0 && a.name == b.name {
		s.name = sameName
	}
	switch n := max(shared(a.media[:], b.media[:]), shared(a.ssrc[:], b.ssrc[:])); n {
	case 0:
	case 1:
		s.media = oneMedia
	default:
		s.media = moreMedia
	}
	return s
}

// shared is how many values two lists have in common; 0 is no value.
func shared[T comparable](a, b []T) (n int) {
	var none T
	for _, x := range a {
		if x != none && slices.Contains(b, x) {
			n++
		}
	}
	return n
}
