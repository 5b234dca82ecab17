// Package register makes records and events out of the SIP that is outside of
// calls: registrations (RFC 3261 section 10), subscriptions with their
// notifications (RFC 6665), publications (RFC 3903), text messages (RFC 3428),
// and OPTIONS, by which addresses are asked whether they are there.
//
// The table of one shard is driven by explicit clocks: messages in the order of
// (Clock, Seq), and Advance for the time between them. It starts nothing, reads
// no system clock, and is not safe for concurrent use. What comes of a message
// is a function of the messages of the same owner (see Owner) and their clocks.
// Nothing depends on which others share the table, but that a full table gives
// something up, which is counted.
//
// # Transactions
//
// A request and its final response are a transaction, known by method, Call-ID,
// CSeq and From tag; of OPTIONS, which is a matter between two addresses, by
// those too. A request seen again on the same hop (branch and addresses are
// equal) is a retransmission. The same request on another hop is a copy and
// counts once. The response on the hop that is nearest to the sender decides; one
// on another hop does if that does not come within NonInvFin, as behind it a proxy
// may try another target. So the round trip is that of the outermost hop. A
// request that comes after the answer on a new branch, and no farther from its
// sender, is another one: some do not count up CSeq when they are challenged.
//
// # Registrations
//
// A binding is an address of record with an instance (and reg-id, RFC 5626), or
// else with a contact URI. A 2xx makes it or renews it, for as long as the
// response says of that contact, else its Expires, else the request. It is over
// when it is removed and not made again within DelDelay, or ExpDelta after it was
// to be renewed. Until a 2xx comes what is tried at an address of record from one
// source address is kept as an attempt. It goes into the binding that it leads to;
// one that leads to none becomes a record without a contact (Rejected) when
// RetryWait has passed without another try.
//
// 401 and 407 are challenges to a request without credentials, and also to one with
// credentials if the last answer before was no challenge, or says "stale": phones
// use the credentials of an earlier challenge again. Anything else above 299 is a
// failure. Each failure is an event: AuthRefused for 401, 403 and 407 to credentials,
// else OtherFailed; OtherTimeout for a request without a final response.
//
// # Exchanges
//
// A subscription is known by Call-ID, the subscriber's tag and Event. A NOTIFY
// with a To tag that is not known belongs to one that began before the capture. One
// without a To tag nobody asked for; it is an exchange of its own ("unsolicited"). A
// publication goes on with the entity tag that it was given, or under its Call-ID. A
// text message is one MESSAGE, with the challenge that came before it. OPTIONS
// of one address to one endpoint are one exchange for each hour: a record comes
// when the hour is over, and the next request begins another. An address is down
// when three requests in a row had no answer, and up with any answer.
package register

import (
	"cmp"
	"hash/maphash"
	"math"
	"slices"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// Options of a Table. The callbacks may be nil. They are called in the order of
// the clocks that they carry, and must not call the table. Records belong to the
// receiver.
type Options struct {
	Limits
	Sensor uint16 // goes into the records

	Registration func(r *record.Registration, clock int64)
	Exchange     func(x *record.Exchange, clock int64)
	Event        func(e *record.Event, clock int64)
}

// Table holds the transactions, bindings and exchanges that one shard owns.
// Entries hold no Go pointers: they name each other by ref, and their text is in
// arenas.
type Table struct {
	options Options
	seed    maphash.Seed
	births  uint64

	transactions pool[transaction]
	bindings     pool[binding]
	exchanges    pool[exchange]

	// Entries by their keys. Keys are hashes of 64 bits under a seed that nobody
	// else knows; two that are equal are taken for the same thing.
	transactionOf map[uint64]ref
	bindingOf     map[uint64]ref
	recordOf      map[uint64]ref // newest binding of an address of record
	exchangeOf    map[uint64]ref

	lists  [numLists]list
	timers timers
	texts  [numKinds]arena

	stats Stats

	// Of the message at hand.
	request  fields // of its transaction
	kept     fields // of the entry that it changes
	header   headers
	subjects []ref
	line     []byte
	from, to []byte
}

// New makes an empty table.
func New(o Options) *Table {
	o.Limits = o.Limits.withDefaults()
	t := &Table{
		options:       o,
		seed:          maphash.MakeSeed(),
		transactionOf: make(map[uint64]ref),
		bindingOf:     make(map[uint64]ref),
		recordOf:      make(map[uint64]ref),
		exchangeOf:    make(map[uint64]ref),
	}
	t.texts[kindTransaction].limit = blocksFor(o.MaxTransactions)
	t.texts[kindBinding].limit = blocksFor(o.MaxBindings)
	t.texts[kindExchange].limit = blocksFor(o.MaxExchanges + o.MaxPeers)
	return t
}

// Owner says which shard takes a message, by the upper bits of hash. REGISTER and
// PUBLISH go by the address of record, OPTIONS by the pair of addresses. Without
// ok the message goes by its Call-ID. Responses go by the method of their CSeq.
func Owner(m *sip.Message, meta *call.Meta) (hash uint64, ok bool) {
	switch m.Method {
	case sip.REGISTER, sip.PUBLISH:
		h := uint64(14695981039346656037) // FNV-1a
		for _, c := range m.Get(m.To.User) {
			h = (h ^ uint64(c)) * 1099511628211
		}
		h = (h ^ '@') * 1099511628211
		for _, c := range m.Get(m.To.Host) {
			h = (h ^ uint64(lower(c))) * 1099511628211
		}
		return mix(h, uint64(m.Method)), true
	case sip.OPTIONS:
		return frame.FlowHash(frame.Endpoint{Addr: meta.Src.Addr}, frame.Endpoint{Addr: meta.Dst.Addr}), true
	}
	return 0, false
}

// Message takes the next message. Both arguments are borrowed during the call.
// Timers that run out before meta.Clock fire first; one that runs out at that
// clock is moved by the message.
func (t *Table) Message(m *sip.Message, meta *call.Meta) {
	t.Advance(meta.Clock - 1)
	t.stats.Messages++
	switch {
	case !followed(m):
		t.stats.Ignored++
	case m.Response:
		t.answer(m, meta)
	default:
		t.ask(m, meta)
	}
}

// followed reports whether a message is of a method that this package follows.
// The others belong to calls, if to anything.
func followed(m *sip.Message) bool {
	switch m.Method {
	case sip.INVITE, sip.ACK, sip.BYE, sip.CANCEL, sip.PRACK:
		return false
	}
	return true
}

// Advance fires every timer with a deadline at or before clock, in the order of
// deadlines, and of creation where they are equal. It says that no message with
// such a clock will follow.
func (t *Table) Advance(clock int64) {
	for r, at := t.due(clock); r != 0; r, at = t.due(clock) {
		switch r.kind() {
		case kindTransaction:
			t.transactionDue(r, at)
		case kindBinding:
			t.bindingDue(r, at)
		default:
			t.exchangeDue(r, at)
		}
	}
}

// CloseAll ends the capture: timers up to clock fire, and what is still open is
// closed in the order in which it began. A request without an answer is not
// taken for one that had none to come.
func (t *Table) CloseAll(clock int64) {
	t.Advance(clock)
	for _, e := range t.inOrder() {
		if e.ref.kind() == kindTransaction {
			t.endTransaction(e.ref, clock)
		}
	}
	for _, e := range t.inOrder() {
		if e.ref.kind() == kindBinding {
			t.endBinding(e.ref, clock)
		} else {
			t.endExchange(e.ref, clock)
		}
	}
}

// inOrder lists all entries in the order of creation.
func (t *Table) inOrder() []timer {
	open := slices.Clone(t.timers)
	slices.SortFunc(open, func(a, b timer) int { return cmp.Compare(a.birth, b.birth) })
	return open
}

// Stats is a snapshot of the counters.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Bound = uint64(t.lists[listBound].n)
	s.Attempts = uint64(t.lists[listAttempts].n)
	s.Exchanges = uint64(t.lists[listExchanges].n)
	s.Peers = uint64(t.lists[listPeers].n)
	s.Transactions = uint64(t.lists[listTransactions].n)
	for i := range t.texts {
		s.TextLost += t.texts[i].lost
	}
	return s
}

// after is clock + d, or the end of time.
func after(clock int64, d time.Duration) int64 {
	if clock > math.MaxInt64-int64(d) {
		return math.MaxInt64
	}
	return clock + int64(d)
}

// seconds is n seconds as a duration.
func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// hash names bytes within one table; 0 is "not there".
func (t *Table) hash(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	return maphash.Bytes(t.seed, b) | 1
}

// mix adds v to a hash.
func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lower(c))
	}
	return dst
}
