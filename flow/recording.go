package flow

import (
	"cmp"
	"slices"
	"sync/atomic"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/rule"
)

// Recorder stores packets. Each shard has one of its own, and gives it what
// there is in runs, not packet by packet.
type Recorder interface {
	// Record stores packets, which are borrowed for the time of the call, and
	// marks those that it refuses.
	Record([]Recording)
	// End says that a tape is full: its number may be given to another.
	End(tape uint32)
	// Tick says that nothing older than this clock will be recorded, but for
	// what a look-back brings, and for parts of what ends later.
	Tick(clock int64)
}

// Recording is a packet that is to be stored.
type Recording struct {
	Time, Clock int64  // as in frame.Frame
	Data        []byte // of the frame: all, or up to what the rules want
	Len         uint32 // of the frame on the wire
	Tape        uint32 // one call, or something like it, in one class; from 1 on
	Key         string // Call-ID
	Link        frame.LinkType
	Iface       uint16
	Class       rule.Class
	Refused     bool
}

// odd is the key of what is not of a Call-ID: messages that were not understood.
const odd = "malformed"

// earlyMedia is how long (ns of clock) before its SDP media is held, at least.
const earlyMedia = int64(3e9)

// plan is what the rules want of a call. The shard that owns the call writes it,
// those that meter its media read it: what it says at a clock is settled before
// they look at that clock.
type plan struct {
	id    string
	rules *rule.Set              // that decide of it, to its end
	head  atomic.Pointer[wanted] // the newest
}

// wanted is what is wanted from a clock on.
type wanted struct {
	from   int64 // ns of clock; packets in the look-back before it are wanted as well
	policy rule.Policy
	before *wanted
}

// at is what was wanted at a clock, nil before the call began.
func (p *plan) at(clock int64) *wanted {
	w := p.head.Load()
	for w != nil && w.from > clock {
		w = w.before
	}
	return w
}

// level is what is wanted, as of now, of a media packet that came at a clock.
func (p *plan) level(clock, now int64) rule.Level {
	for w := p.at(now); w != nil; w = w.before {
		back := int64(w.policy.LookBack)
		if w.before == nil {
			back = max(back, earlyMedia)
		}
		if clock >= w.from-back {
			return w.policy.Want[rule.RTP]
		}
	}
	return rule.None
}

// tape is one call in one class, as one shard stores it.
type tape struct {
	plan   *plan
	want   *wanted    // as of the last packet
	level  rule.Level // most that was wanted
	rule   uint16     // that fired when the quality turned bad, as in rule.Policy; 0: none
	stored uint32
	missed uint32 // wanted, but there was no copy, or no memory to store it

	recent [8]int64 // clocks of the last frames of streams of bytes: they may hold two messages
	turn   uint8
}

// tapes numbers the tapes of a shard from 1 on.
type tapes struct {
	list []tape
	free []uint32
}

func (t *tapes) at(n uint32) *tape { return &t.list[n-1] }

func (t *tapes) begin(p *plan) uint32 {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		*t.at(i) = tape{plan: p}
		return i
	}
	t.list = append(t.list, tape{plan: p})
	return uint32(len(t.list))
}

// recording is the part of a shard that gives packets to its recorder; nothing
// of it is used where there is none.
type recording struct {
	to    Recorder
	rtp   rule.Level // most that any rule wants of RTP
	tapes tapes
	takes []Recording  // to be given on
	parts []frame.Kept // of the datagram that is being taken
	held  []frame.Kept // what is being taken of what a stream held

	// Of the calls that this shard owns.
	calls   map[call.Ref]*planned
	tallies map[call.Ref][]tape // of their media, as all shards stored it
	reading *signal             // the message that is being read
	took    call.Ref            // the call that took it; 0: none did
	others  [otherTapes]openTape
	odd     [oddSources]oddSource
	oddTape uint32

	// Of the media that this shard meters.
	media   map[callKey]uint32 // tapes
	touched uint32             // of no meaning; keeps loads that fetch lines ahead
}

const maxTakes = 64

func (s *Shard) initRecording(g *Group) {
	r := &s.rec
	r.to = g.options.Recorder(s.id)
	r.rtp = g.options.Rules.MayWant(rule.RTP)
	s.shelf = g.keeper.shelf(s.id, g.options.Workers)
	s.streams.holds = true
	r.calls, r.tallies, r.media = make(map[call.Ref]*planned), make(map[call.Ref][]tape), make(map[callKey]uint32)
	r.takes = make([]Recording, 0, maxTakes)
}

// records reports whether packets are recorded at all.
func (s *Shard) records() bool { return s.rec.to != nil }

// reach is the clock of the oldest frame whose copy may be looked at, at a clock.
// Only where memory is short it depends on how far the shard is.
func (s *Shard) reach(now int64) int64 { return max(now-s.group.keeper.lookBack, s.floor.Load()) }

// take gives one frame to the recorder, with those that it is linked to as parts
// of one datagram, the oldest first.
func (s *Shard) take(now int64, n uint32, class rule.Class, level rule.Level, k frame.Kept) {
	t := s.rec.tapes.at(n)
	t.level = max(t.level, level)
	if k.At <= noCopy || k.Clock < s.reach(now) {
		t.missed++
		return
	}
	b := s.group.keeper.at(k.At)
	if !b.whole() {
		s.takeParts(now, n, class, level, b)
	}
	s.give(n, t, class, level, b)
}

func (s *Shard) takeParts(now int64, n uint32, class rule.Class, level rule.Level, b kept) {
	t, reach := s.rec.tapes.at(n), s.reach(now)
	parts := s.rec.parts[:0]
	for k := b.follow(keptPart); k.At != 0; k = b.follow(keptPart) {
		if k.At == noCopy || k.Clock < reach {
			t.missed++
			break
		}
		b = s.group.keeper.at(k.At)
		parts = append(parts, frame.Kept{Clock: b.clock(), At: k.At})
	}
	slices.SortFunc(parts, func(a, b frame.Kept) int { return cmp.Compare(a.Clock, b.Clock) })
	for _, k := range parts {
		s.give(n, t, class, level, s.group.keeper.at(k.At))
	}
	s.rec.parts = parts
}

func (s *Shard) give(n uint32, t *tape, class rule.Class, level rule.Level, b kept) {
	data := b.data()
	if level == rule.Header {
		data = data[:b.head()]
	}
	r := s.recording(n, t, class) // field by field, as in sampleOf
	r.Time, r.Clock, r.Data, r.Len = b.time(), b.clock(), data, b.wire()
	r.Link, r.Iface = b.link(), b.iface()
}

// recording is the next packet that the recorder gets, for tape n.
func (s *Shard) recording(n uint32, t *tape, class rule.Class) *Recording {
	if len(s.rec.takes) == maxTakes {
		s.flushTakes()
	}
	t.stored++
	s.rec.takes = s.rec.takes[:len(s.rec.takes)+1]
	r := &s.rec.takes[len(s.rec.takes)-1]
	r.Tape, r.Key, r.Class, r.Refused = n, t.plan.id, class, false
	return r
}

// flushTakes hands over what was taken. It must come before the floor rises.
func (s *Shard) flushTakes() {
	if len(s.rec.takes) == 0 {
		return
	}
	s.rec.to.Record(s.rec.takes)
	for i := range s.rec.takes {
		if r := &s.rec.takes[i]; r.Refused {
			t := s.rec.tapes.at(r.Tape)
			t.stored--
			t.missed++
			s.stats.NotRecorded++
		} else {
			s.stats.Recorded++
		}
	}
	s.rec.takes = s.rec.takes[:0]
}

// endTape lets a tape go, and says what is on it.
func (s *Shard) endTape(n uint32) tape {
	s.flushTakes()
	t := *s.rec.tapes.at(n)
	s.rec.to.End(n)
	*s.rec.tapes.at(n) = tape{}
	s.rec.tapes.free = append(s.rec.tapes.free, n)
	return t
}

func (t *tape) result(level rule.Level) record.Stored {
	return record.Stored{Level: record.StoredLevel(level + 1), Packets: t.stored, Missed: t.missed}
}

// keepFrame keeps a copy of the frame of a number. Where headers are wanted, it
// ends so many bytes behind the begin of part, which is a part of it; with head -1
// the whole frame is one. Numbers must come in order.
func (s *Shard) keepFrame(b *frame.Batch, seq uint64, part []byte, head int) uint32 {
	f := s.frameOf(b, seq)
	if f == nil {
		return noCopy
	}
	n := len(f.Data)
	if head >= 0 {
		n = min(n, offset(f, part)+head)
	}
	return s.shelf.put(f, len(f.Data), n)
}

func (s *Shard) frameOf(b *frame.Batch, seq uint64) *frame.Frame {
	for s.cursor < len(b.Frames) && b.Frames[s.cursor].Seq < seq {
		s.cursor++
	}
	if s.cursor == len(b.Frames) || b.Frames[s.cursor].Seq != seq {
		return nil
	}
	return &b.Frames[s.cursor]
}

// sayRecorded hands over what was taken, and says which copies may go, now that
// this shard has metered so far.
func (s *Shard) sayRecorded() {
	s.flushTakes()
	s.rec.to.Tick(s.meteredTo)
	s.sayFloor()
}
