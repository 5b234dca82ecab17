package register

import (
	"bytes"
	"unicode/utf8"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// exchange is a subscription, a publication, a text message, or what became of
// the OPTIONS of one address to one endpoint.
type exchange struct {
	head
	key, tagKey uint64 // as it began; by its entity tag, 0 if it has none

	caller, called frame.Endpoint
	start, last    int64
	end            int64 // when it was over, 0 if it is not
	rtt            trip
	expires        uint32
	requests       uint32
	answered       uint32
	failures       uint32
	timeouts       uint32
	notifies       uint32
	retrans        uint32
	changes        uint32
	size           uint32
	cseq           uint32 // of the first request
	vlan           int32
	status         uint16
	transport      record.Transport
	kind           record.ExchangeKind
	state          state
	heard          int64 // last answer to OPTIONS
	missed         uint8 // OPTIONS in a row without an answer, at most downAfter
	up             bool  // it answered at some time
	down           bool  // and does not any more, or never did
	awaited        bool  // a MESSAGE that was challenged: the next one is its repetition
}

// state is how an exchange stands.
type state uint8

const (
	statePending state = iota // not answered
	stateActive               // subscription or publication: accepted
	stateOver                 // … ended; it waits for what is repeated
	stateOK                   // message: accepted
	stateFailed               // not accepted so far
	stateTimeout              // not answered in time
	stateAlone                // NOTIFY without a subscription
)

// Fields of an exchange.
const (
	eCallID = iota
	eCaller // and what of it follows
	eCallerDomain
	eCallerName
	eCallerTag
	eCallerAgent
	eCallerContact
	eCalled
	eCalledDomain
	eCalledName
	eCalledTag
	eCalledAgent
	eCalledContact
	eEvent
	eReason
	eNote
	eType
	eText
)

// ownerOf is the exchange of a transaction, if it is still there.
func (t *Table) ownerOf(x *transaction) *exchange {
	if x.owner == 0 {
		return nil
	}
	if e := t.exchanges.at(x.owner.slot()); e.birth == x.ownerBirth {
		return e
	}
	return nil
}

// openExchange makes an exchange that begins with a request. Where there is no
// room it gives up the one that was silent for longest.
func (t *Table) openExchange(kind record.ExchangeKind, key uint64, m *sip.Message, meta *call.Meta) ref {
	to, most := uint8(listExchanges), t.options.MaxExchanges
	if kind == record.Options {
		to, most = listPeers, t.options.MaxPeers
	}
	for t.lists[to].n >= most {
		t.evictExchange(to, meta.Clock)
	}
	for t.texts[kindExchange].full() {
		if t.lists[listExchanges].n > 0 {
			t.evictExchange(listExchanges, meta.Clock)
		} else {
			t.evictExchange(listPeers, meta.Clock)
		}
	}
	r := makeRef(kindExchange, t.exchanges.get())
	e := t.exchanges.at(r.slot())
	*e = exchange{
		key: key, kind: kind, caller: meta.Src, called: meta.Dst, start: meta.Time, last: meta.Time,
		vlan: meta.VLAN, transport: meta.Transport, cseq: m.CSeq,
	}
	if key != 0 {
		t.exchangeOf[key] = r
	}
	t.enter(r, to, after(meta.Clock, t.options.RetryWait))
	f := &t.kept
	f.clear()
	f.setMax(eCallID, m.Get(m.CallID), maxCallID)
	setParty(f, eCaller, m, &m.From)
	setParty(f, eCalled, m, &m.To)
	f.set(eCallerAgent, m.Get(m.UserAgent))
	f.set(eCallerContact, m.Get(m.Contact.URI))
	return r
}

// setParty sets the fields of one party, who begin with the number at i.
func setParty(f *fields, i int, m *sip.Message, a *sip.Address) {
	f.set(i, m.Get(a.User))
	f.set(i+eCallerDomain-eCaller, m.Get(a.Host))
	f.set(i+eCallerName-eCaller, m.Get(a.Display))
	f.set(i+eCallerTag-eCaller, m.Get(a.Tag))
}

// turn makes caller out of called, and the other way round: who began an exchange
// that is known by what the other side sent.
func (t *Table) turn(e *exchange) {
	f := &t.kept
	for i := range eCalled - eCaller {
		a, b := eCaller+i, eCalled+i
		f.of[a], f.of[b] = f.of[b], f.of[a]
	}
	e.caller, e.called = e.called, e.caller
}

func (t *Table) evictExchange(from uint8, clock int64) {
	t.stats.ExchangesEvicted++
	r := t.lists[from].oldest
	e := t.exchanges.at(r.slot())
	if e.requests+e.notifies == 0 {
		t.dropExchange(r) // OPTIONS: the last record was made already
		return
	}
	t.closeExchange(r, e.stateName(), e.last, clock)
}

// asked ties a request to its exchange.
func (t *Table) asked(r ref, x *transaction, meta *call.Meta) *exchange {
	e := t.exchanges.at(r.slot())
	x.owner, x.ownerBirth = r, e.birth
	if isChallenge(e.status) {
		x.flags |= warned
	}
	e.last = max(e.last, meta.Time)
	t.touch(r)
	return e
}

// responded counts the final response to a request of an exchange, or that there
// was none, and notes what it says. Its fields are in t.kept then.
func (t *Table) responded(e *exchange, x *transaction, v verdict) {
	f, k := &t.request, &t.kept
	t.texts[kindExchange].load(e.text, k)
	switch v {
	case unanswered:
		e.timeouts++
		return
	case refused, rejected:
		e.failures++
	}
	e.answered++
	e.status = x.status
	e.last = max(e.last, x.answered)
	e.rtt.add(x)
	k.set(eReason, f.of[fReason])
	k.keep(eCalledAgent, f.of[fPeerAgent])
	if v == accepted {
		k.keep(eCalledTag, f.of[fPeerTag])
		k.keep(eCalledContact, f.of[fPeerContact])
	}
	e.text = t.texts[kindExchange].save(e.text, k)
}

// setField keeps one field of an exchange.
func (t *Table) setField(e *exchange, i int, b []byte) {
	t.texts[kindExchange].load(e.text, &t.kept)
	t.kept.set(i, b)
	e.text = t.texts[kindExchange].save(e.text, &t.kept)
}

// saveCallID keeps the Call-ID of the last request.
func (t *Table) saveCallID(e *exchange, m *sip.Message) {
	t.texts[kindExchange].load(e.text, &t.kept)
	t.kept.setMax(eCallID, m.Get(m.CallID), maxCallID)
	e.text = t.texts[kindExchange].save(e.text, &t.kept)
}

// exchangeDue fires the timer of an exchange.
func (t *Table) exchangeDue(r ref, clock int64) {
	e := t.exchanges.at(r.slot())
	switch {
	case e.kind == record.Options:
		t.periodOver(r, e, clock)
	case e.state == stateActive:
		end := clock - int64(t.options.ExpDelta)
		if e.kind == record.Subscription {
			t.tellSubscription(record.SubDel, e, end, clock)
			t.closeExchange(r, "expired", end, clock)
			return
		}
		t.closeExchange(r, e.stateName(), end, clock)
	default:
		t.closeExchange(r, e.stateName(), e.last, clock)
	}
}

// endExchange ends an exchange with the capture.
func (t *Table) endExchange(r ref, clock int64) {
	e := t.exchanges.at(r.slot())
	if e.requests+e.notifies == 0 {
		t.dropExchange(r)
		return
	}
	end := e.last
	if e.state == stateActive {
		end = max(clock, end)
	}
	t.closeExchange(r, e.stateName(), end, clock)
}

// stateName is the state as records say it.
func (e *exchange) stateName() string {
	switch e.kind {
	case record.Options:
		switch {
		case e.down:
			return "down"
		case e.up:
			return "up"
		case e.timeouts > 0:
			return "down" // never seen to answer
		}
		return "pending"
	case record.Subscription:
		switch e.state {
		case stateActive:
			return "active"
		case stateOver:
			return "terminated"
		case stateAlone:
			return "unsolicited"
		case stateFailed, stateTimeout:
			return "rejected"
		}
		return "pending"
	}
	switch e.state {
	case stateActive, stateOver, stateOK:
		return "ok"
	case stateFailed:
		return "failed"
	case stateTimeout:
		return "timeout"
	}
	return "pending"
}

func (t *Table) closeExchange(r ref, state string, end, clock int64) {
	e := t.exchanges.at(r.slot())
	t.stats.Records++
	if t.options.Exchange != nil {
		t.options.Exchange(t.exchange(e, state, end), clock)
	}
	t.dropExchange(r)
}

func (t *Table) dropExchange(r ref) {
	e := t.exchanges.at(r.slot())
	for _, k := range []uint64{e.key, e.tagKey} {
		if k != 0 && t.exchangeOf[k] == r {
			delete(t.exchangeOf, k)
		}
	}
	t.leave(r)
	t.exchanges.put(r.slot())
}

func (t *Table) exchange(e *exchange, state string, end int64) *record.Exchange {
	f := &t.kept
	t.texts[kindExchange].load(e.text, f)
	if e.end != 0 {
		end = e.end
	}
	x := &record.Exchange{
		Kind: e.kind, Sensor: t.options.Sensor, CallID: f.string(eCallID),
		Caller: party(f, eCaller, e.caller), Called: party(f, eCalled, e.called),
		Transport: e.transport, VLAN: e.vlan,
		Start: e.start, Last: e.last, End: max(end, e.start), State: state, Note: f.string(eNote),
		Event: f.string(eEvent), Expires: e.expires,
		Requests: e.requests, Answered: e.answered, Failures: e.failures, Timeouts: e.timeouts,
		Notifies: e.notifies, Retrans: e.retrans, Changes: e.changes,
		LastStatus: e.status, LastReason: f.string(eReason),
		ContentType: f.string(eType), Text: bodyText(f.of[eText], f.of[eType]), Size: e.size,
	}
	x.RTT, x.RTTMin, x.RTTMax = e.rtt.ms()
	x.ID = exchangeID(x, e.cseq)
	return x
}

func party(f *fields, i int, at frame.Endpoint) record.Party {
	return record.Party{
		Number: f.string(i), Domain: f.string(i + eCallerDomain - eCaller), Name: f.string(i + eCallerName - eCaller),
		Tag: f.string(i + eCallerTag - eCaller), Addr: at.Netip(),
		Agent: f.string(i + eCallerAgent - eCaller), Contact: f.string(i + eCallerContact - eCaller),
	}
}

// bodyText is a body as text in UTF-8, at most maxText bytes. What is not UTF-8 is
// read as Latin-1 if the type says so, and replaced otherwise.
func bodyText(b, contentType []byte) string {
	if len(b) == maxText {
		b = wholeRunes(b)
	}
	if utf8.Valid(b) {
		return string(b)
	}
	var text []byte
	if _, params, _ := bytes.Cut(contentType, []byte(";")); isLatin1(param(params, "charset")) {
		for _, c := range b {
			text = utf8.AppendRune(text, rune(c))
		}
	} else {
		text = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	return string(wholeRunes(text[:min(len(text), maxText)]))
}

// wholeRunes is b without the character at its end that was cut.
func wholeRunes(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

func isLatin1(charset []byte) bool {
	return equalFold(charset, "iso-8859-1") || equalFold(charset, "windows-1252") || equalFold(charset, "latin1")
}
