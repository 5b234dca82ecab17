// Package relate finds the legs of one conversation on both sides of a B2BUA:
// calls that have different Call-IDs, but belong together. It links them and
// says why; the calls stay what they are.
//
// What headers say comes first, the surest first: Session-ID, X-CID, the ICID of
// P-Charging-Vector, a header that the user configured, Replaces. Where they say
// nothing, a score is given for what two calls have in common (score.go).
//
// A Finder sees calls in the order in which they ended, and holds each for a
// while for those that it may belong to. It keeps hashes and numbers, no text and
// no pointers, and does not ask the system's clock: the same calls in the same
// order give the same links.
package relate

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"ringside/flow/record"
)

// Options of a Finder. A field that is 0 stands for its default.
type Options struct {
	// Window is for how long a call waits after its end for others with a
	// header in common. By score, calls are compared for five minutes at most.
	// Default 1 h.
	Window time.Duration

	// MaxCalls is the most calls that wait; the oldest makes room for a new one
	// (Stats.Evicted). One takes some 250 bytes, twice that with all headers,
	// and 500 more in its first five minutes. Default 200,000.
	MaxCalls int

	// MinScore is the least score of a link that no header tells; above 100
	// there are none. Default 60.
	MinScore uint8
}

// Stats are the counters of a Finder.
type Stats struct {
	Calls     uint64                       // calls given
	Waiting   uint64                       // calls that others may be linked to
	Evicted   uint64                       // calls that waited less than Window, because there were too many
	Links     [record.LinkScore + 1]uint64 // by record.LinkReason
	Crowded   uint64                       // values of headers passed over because too many calls share them
	Busy      uint64                       // numbers and media addresses shared by more calls than are compared
	Ambiguous uint64                       // calls without links by score because too many came into question
}

// Bounds of what one call can cause.
const (
	// maxShared is how many calls may share the value of a header. With more it
	// tells nothing: a broken SBC sends one ICID for all.
	maxShared = 16
	// maxScored is how many links by score one call may have: more are not the
	// legs of one conversation, but a load test.
	maxScored = 4
	// maxCompared is how many calls that share a number are compared by score.
	maxCompared = 64
)

// scoreWait is for how long (ns) after its end a call is compared by score. Legs
// end together, but the record of one comes later: of a BYE without its answer
// after 30 s, of an INVITE without one after 2 to 3 min.
const scoreWait = int64(5 * time.Minute)

// Finder finds links between calls. It is not safe for concurrent use.
type Finder struct {
	options Options
	now     int64 // latest end of a call
	named   index[named]
	legs    index[leg]
	found   []found // for the call at hand
	stats   Stats
}

// named is a call that waits for others with a header in common.
type named struct {
	id, start, end int64
	call, session  uint64 // hashes of Call-ID and Session-ID
}

// found is a call that belongs to the one at hand.
type found struct {
	id, start int64
	reason    record.LinkReason
	score     uint8
	key       string
}

// New makes a Finder that knows no calls.
func New(o Options) *Finder {
	if o.Window <= 0 {
		o.Window = time.Hour
	}
	if o.MaxCalls <= 0 {
		o.MaxCalls = 200_000
	}
	if o.MinScore == 0 {
		o.MinScore = 60
	}
	return &Finder{options: o, named: newIndex[named](), legs: newIndex[leg]()}
}

// Stats is a snapshot of the counters.
func (f *Finder) Stats() Stats {
	s := f.stats
	s.Waiting = uint64(f.named.calls.len())
	return s
}

// Call takes the next finished call, and returns its links to calls that were
// given before, each of them once, with the surest reason. c is not kept. A call
// is never linked to one with its own Call-ID.
func (f *Finder) Call(c *record.Call) []record.Link {
	f.stats.Calls++
	f.now = max(f.now, c.End)
	f.expire()
	f.found = f.found[:0]
	n := named{id: c.ID, start: c.Start, end: c.End, call: hash(0, c.CallID), session: hash(0, c.SessionID)}
	f.byHeaders(c, &n)
	if l, ok := legOf(c, &n); ok {
		f.byScore(&l)
		f.waitLeg(&l)
	}
	f.wait(c, &n)
	return f.links(c)
}

// expire lets go of the calls that have waited for long enough.
func (f *Finder) expire() {
	window := int64(f.options.Window)
	for f.named.calls.len() > 0 && f.named.calls.first().end < f.now-window {
		f.named.drop()
	}
	wait := min(scoreWait, window)
	for f.legs.calls.len() > 0 && f.legs.calls.first().end < f.now-wait {
		f.legs.drop()
	}
}

// Kinds of keys. What one call says of another's Call-ID is looked up under the
// kind of that.
const (
	keySession uint64 = iota + 1
	keyCallID
	keyXCallID
	keyICID
	keyHeader
	keyReplaces
	keyCalled
	keyCaller
	keyMedia
)

// byHeaders finds the calls that share what headers say, the surest first.
func (f *Finder) byHeaders(c *record.Call, n *named) {
	for uuid := range strings.SplitSeq(c.SessionID, ";") {
		f.sharing(keySession, uuid, n, record.LinkSessionID)
	}
	f.sharing(keyCallID, c.XCallID, n, record.LinkXCallID)
	f.sharing(keyXCallID, c.CallID, n, record.LinkXCallID)
	f.sharing(keyXCallID, c.XCallID, n, record.LinkXCallID)
	f.sharing(keyICID, c.ICID, n, record.LinkICID)
	f.sharing(keyHeader, c.LinkHeader, n, record.LinkHeader)
	f.sharing(keyCallID, c.Replaces, n, record.LinkReplaces)
	f.sharing(keyReplaces, c.CallID, n, record.LinkReplaces)
}

// halfSession is the score of two calls that share one UUID of Session-ID. Legs
// through a B2BUA share both (RFC 7989 section 7); where it put another party in
// the place of one, they share that of the party that stayed.
const halfSession = 90

// sharing finds the calls that wait under a key.
func (f *Finder) sharing(kind uint64, value string, n *named, reason record.LinkReason) {
	if value == "" {
		return
	}
	p := f.named.newest(hash(kind, value))
	if p != nil && p.rank >= maxShared {
		f.stats.Crowded++
		return
	}
	for ; p != nil; p = f.named.older(p) {
		o := f.named.calls.at(p.call)
		if o.call == n.call || f.has(o.id) {
			continue
		}
		score, key := uint8(100), value
		if kind == keySession && o.session != n.session {
			score = halfSession
		}
		f.found = append(f.found, found{o.id, o.start, reason, score, key})
	}
}

func (f *Finder) has(id int64) bool {
	return slices.ContainsFunc(f.found, func(o found) bool { return o.id == id })
}

// wait puts a call under its keys.
func (f *Finder) wait(c *record.Call, n *named) {
	if f.named.calls.len() >= f.options.MaxCalls {
		f.named.drop()
		f.stats.Evicted++
	}
	f.named.add(*n)
	for uuid := range strings.SplitSeq(c.SessionID, ";") {
		f.post(keySession, uuid)
	}
	f.post(keyCallID, c.CallID)
	f.post(keyXCallID, c.XCallID)
	f.post(keyICID, c.ICID)
	f.post(keyHeader, c.LinkHeader)
	f.post(keyReplaces, c.Replaces)
}

func (f *Finder) post(kind uint64, value string) {
	if value != "" {
		f.named.post(hash(kind, value))
	}
}

// links makes records of what was found.
func (f *Finder) links(c *record.Call) []record.Link {
	if len(f.found) == 0 {
		return nil
	}
	out := make([]record.Link, len(f.found))
	for i, o := range f.found {
		l := record.Link{First: o.id, Second: c.ID, Start: o.start, Other: c.Start, Reason: o.reason, Key: o.key, Score: o.score}
		if cmp.Or(cmp.Compare(c.Start, o.start), cmp.Compare(c.ID, o.id)) < 0 {
			l.First, l.Second, l.Start, l.Other = l.Second, l.First, l.Other, l.Start
		}
		l.ID = linkID(&l)
		out[i] = l
		f.stats.Links[o.reason]++
	}
	return out
}

// linkID names a link for good.
func linkID(l *record.Link) int64 {
	var b [17]byte
	binary.BigEndian.PutUint64(b[:], uint64(l.First))
	binary.BigEndian.PutUint64(b[8:], uint64(l.Second))
	b[16] = byte(l.Reason)
	sum := sha256.Sum256(b[:])
	return int64(binary.BigEndian.Uint64(sum[:]) >> 1)
}

// hash is FNV-1a with a last mix; 0 stands for nothing.
func hash(kind uint64, s string) uint64 {
	if s == "" {
		return 0
	}
	h := mix(14695981039346656037, kind)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h, 0) | 1
}

func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}
