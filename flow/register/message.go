package register

import (
	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// publicationKey names a publication of an address of record by something else:
// its entity tag, or Call-ID and event.
func publicationKey(aor, by, event uint64) uint64 { return mix(mix(mix(6, aor), by), event) }

// tryPublish takes a PUBLISH (RFC 3903). It goes on with the publication whose
// entity tag it names, or else that of its Call-ID.
func (t *Table) tryPublish(x *transaction, m *sip.Message, meta *call.Meta) {
	h := &t.header
	h.read(m)
	x.aor = t.aorHash(m, &m.To)
	key := publicationKey(x.aor, t.hash(m.Get(m.CallID)), t.hash(h.event))
	r := t.exchangeOf[key]
	if len(h.ifMatch) > 0 {
		if tagged := t.exchangeOf[publicationKey(x.aor, t.hash(h.ifMatch), 0)]; tagged != 0 {
			r = tagged
		}
	}
	if r != 0 && t.exchanges.at(r.slot()).state == stateOver {
		t.closeExchange(r, "ok", 0, meta.Clock)
		r = 0
	}
	if r == 0 {
		r = t.openExchange(record.Publication, key, m, meta)
		t.kept.set(eEvent, h.event)
		e := t.exchanges.at(r.slot())
		e.text = t.texts[kindExchange].save(0, &t.kept)
	} else {
		t.saveCallID(t.exchanges.at(r.slot()), m)
	}
	e := t.asked(r, x, meta)
	e.requests++
	if e.state != stateActive {
		t.set(r, after(meta.Clock, t.options.RetryWait))
	}
}

// published takes what came of a PUBLISH.
func (t *Table) published(x *transaction, clock int64) {
	v := x.verdict()
	t.other(x, clock)
	e := t.ownerOf(x)
	if e == nil {
		return
	}
	t.responded(e, x, v)
	switch {
	case v == accepted && x.lasts() == 0:
		e.state, e.end = stateOver, x.answered
		t.set(x.owner, after(clock, t.options.NonInvFin))
	case v == accepted:
		e.state, e.expires = stateActive, uint32(x.lasts())
		t.retag(x.owner, e, publicationKey(x.aor, t.hash(t.request.of[fETag]), 0))
		t.set(x.owner, after(after(clock, seconds(e.expires)), t.options.ExpDelta))
	case e.state == stateActive && x.status != 412: // it lasts as long as was granted
	case v == unanswered:
		e.state = stateTimeout
		t.set(x.owner, after(clock, t.options.RetryWait))
	default:
		e.state = stateFailed
		t.set(x.owner, after(clock, t.options.RetryWait))
	}
}

// retag gives a publication its new entity tag.
func (t *Table) retag(r ref, e *exchange, key uint64) {
	if e.tagKey != 0 && t.exchangeOf[e.tagKey] == r {
		delete(t.exchangeOf, e.tagKey)
	}
	e.tagKey = 0
	if len(t.request.of[fETag]) > 0 {
		e.tagKey = key
		t.exchangeOf[key] = r
	}
}

// tryMessage takes a MESSAGE. One that follows a challenge under the same Call-ID
// and tag is the challenged one again.
func (t *Table) tryMessage(x *transaction, m *sip.Message, meta *call.Meta) {
	key := mix(mix(7, t.hash(m.Get(m.CallID))), t.hash(m.Get(m.From.Tag)))
	r := t.exchangeOf[key]
	if r == 0 || !t.exchanges.at(r.slot()).awaited {
		r = t.openExchange(record.TextMessage, 0, m, meta)
		t.header.read(m)
		e, k := t.exchanges.at(r.slot()), &t.kept
		e.key = key
		e.size = m.Body.Len
		if m.ContentLen > 0 {
			e.size = uint32(min(m.ContentLen, 1<<32-1))
		}
		k.set(eType, m.Get(m.ContentType))
		if isText(m.Get(m.ContentType)) && len(t.header.encoding) == 0 {
			k.setMax(eText, m.Get(m.Body), maxText)
		}
		e.text = t.texts[kindExchange].save(0, k)
	}
	e := t.asked(r, x, meta)
	e.requests++
	e.awaited = false
	t.set(r, after(after(meta.Clock, t.options.NonInv1st), t.options.RetryWait))
}

// delivered takes what came of a MESSAGE.
func (t *Table) delivered(x *transaction, clock int64) {
	v := x.verdict()
	t.other(x, clock)
	e := t.ownerOf(x)
	if e == nil {
		return
	}
	t.responded(e, x, v)
	wait := t.options.NonInvNeg
	switch v {
	case accepted:
		e.state, wait = stateOK, t.options.NonInvFin
	case challenged:
		e.state, wait, e.awaited = stateFailed, t.options.RetryWait, true
		t.exchangeOf[e.key] = x.owner
	case unanswered:
		e.state = stateTimeout
	default:
		e.state = stateFailed
	}
	t.set(x.owner, after(clock, wait))
}

// tryOptions takes an OPTIONS.
func (t *Table) tryOptions(x *transaction, m *sip.Message, meta *call.Meta) {
	key := mix(mix(8, addressHash(meta.Src)), meta.Dst.Hash())
	r := t.exchangeOf[key]
	if r == 0 {
		r = t.openExchange(record.Options, key, m, meta)
		e := t.exchanges.at(r.slot())
		e.caller = frame.Endpoint{Addr: meta.Src.Addr}
		e.text = t.texts[kindExchange].save(0, &t.kept)
		t.set(r, after(meta.Clock, t.options.PeerPeriod))
	}
	t.saveCallID(t.asked(r, x, meta), m)
}

// reached takes what came of an OPTIONS. Any answer shows that the address is
// there.
func (t *Table) reached(x *transaction, clock int64) {
	v := x.verdict()
	t.other(x, clock)
	e := t.ownerOf(x)
	if e == nil {
		return
	}
	t.countOptions(x.owner, e, x, clock)
	t.responded(e, x, v)
	switch {
	case v != unanswered:
		e.missed, e.up, e.heard = 0, true, max(e.heard, x.answered)
		if e.down {
			e.down = false
			e.changes++
			t.tell(record.PeerUp, x, clock)
		}
	case x.time >= e.heard: // else a later one was answered before this one was given up
		e.missed = min(e.missed+1, downAfter)
		if e.missed == downAfter && !e.down {
			e.down = true
			e.changes++
			t.tell(record.PeerDown, x, clock)
		}
	}
}

// countOptions counts a request, when it is known what came of it: so each record
// has the answers to its own requests. The first one begins the period.
func (t *Table) countOptions(r ref, e *exchange, x *transaction, clock int64) {
	if e.requests == 0 {
		e.start = x.time
		t.set(r, after(clock, t.options.PeerPeriod))
	}
	e.start = min(e.start, x.time)
	e.requests++
}

// periodOver makes the record of OPTIONS for the time that is over. What is not
// asked again in as much time is forgotten.
func (t *Table) periodOver(r ref, e *exchange, clock int64) {
	if e.requests == 0 {
		t.dropExchange(r)
		return
	}
	t.stats.Records++
	if t.options.Exchange != nil {
		t.options.Exchange(t.exchange(e, e.stateName(), e.last), clock)
	}
	e.requests, e.answered, e.failures, e.timeouts, e.retrans, e.changes = 0, 0, 0, 0, 0, 0
	e.rtt = trip{}
	t.set(r, after(clock, t.options.PeerPeriod))
}
