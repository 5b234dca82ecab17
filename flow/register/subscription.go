package register

import (
	"bytes"

	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// subscriptionKey names a subscription by its Call-ID, the tag of the subscriber
// and the event (RFC 6665 section 4.5.1).
func (t *Table) subscriptionKey(m *sip.Message, tag sip.Span) uint64 {
	event, params, _ := bytes.Cut(t.header.event, []byte(";"))
	t.line = appendLower(t.line[:0], bytes.TrimSpace(event))
	k := mix(mix(mix(4, t.hash(m.Get(m.CallID))), t.hash(m.Get(tag))), t.hash(t.line))
	return mix(k, t.hash(param(params, "id")))
}

// trySubscribe takes a SUBSCRIBE.
func (t *Table) trySubscribe(x *transaction, m *sip.Message, meta *call.Meta) {
	t.header.read(m)
	key := t.subscriptionKey(m, m.From.Tag)
	r := t.exchangeOf[key]
	if r != 0 && t.exchanges.at(r.slot()).state == stateOver {
		t.closeExchange(r, "terminated", 0, meta.Clock)
		r = 0
	}
	if r == 0 {
		r = t.openExchange(record.Subscription, key, m, meta)
		t.kept.set(eEvent, t.header.event)
		e := t.exchanges.at(r.slot())
		e.text = t.texts[kindExchange].save(0, &t.kept)
	}
	e := t.asked(r, x, meta)
	e.requests++
	if e.state != stateActive {
		t.set(r, after(meta.Clock, t.options.RetryWait))
	}
}

// subscribed takes what came of a SUBSCRIBE.
func (t *Table) subscribed(x *transaction, clock int64) {
	v := x.verdict()
	e := t.ownerOf(x)
	if e == nil {
		t.failure(v, x, clock)
		return
	}
	t.responded(e, x, v)
	switch {
	case v != accepted:
		t.notSubscribed(e, x, v, clock)
	case x.lasts() == 0 && e.state != stateOver: // a look at the state, too
		t.endSubscription(x.owner, e, x.answered, clock)
	case e.state != stateOver:
		t.subscribes(x.owner, e, uint32(x.lasts()), x.answered, clock)
	}
}

// lasts is for how long (s) a response grants a subscription or publication.
func (x *transaction) lasts() int64 {
	switch {
	case x.expires == 0:
		return 0
	case x.granted >= 0:
		return x.granted
	case x.expires > 0:
		return x.expires
	}
	return neverSaid
}

func (t *Table) notSubscribed(e *exchange, x *transaction, v verdict, clock int64) {
	t.failure(v, x, clock)
	switch {
	case e.state == stateActive && x.status == 481:
		t.endSubscription(x.owner, e, x.answered, clock)
		return
	case e.state == stateActive || e.state == stateOver:
		return
	case v == unanswered:
		e.state = stateTimeout
	default:
		e.state = stateFailed
	}
	t.set(x.owner, after(clock, t.options.RetryWait))
}

// subscribes makes or renews a subscription.
func (t *Table) subscribes(r ref, e *exchange, expires uint32, at, clock int64) {
	made := e.state != stateActive
	e.state, e.expires = stateActive, expires
	t.set(r, after(after(clock, seconds(expires)), t.options.ExpDelta))
	if made {
		t.tellSubscription(record.SubNew, e, at, clock)
	}
}

// endSubscription ends one. What follows is still of it.
func (t *Table) endSubscription(r ref, e *exchange, at, clock int64) {
	stood := e.state == stateActive
	e.state, e.end = stateOver, at
	t.set(r, after(clock, t.options.NonInvFin))
	if stood {
		t.tellSubscription(record.SubDel, e, at, clock)
	}
}

// notify takes a NOTIFY.
func (t *Table) notify(x *transaction, m *sip.Message, meta *call.Meta) {
	h := &t.header
	h.read(m)
	alone := m.To.Tag.IsZero()
	key := t.subscriptionKey(m, m.To.Tag)
	if alone {
		x.flags |= unsolicited
		key = mix(t.subscriptionKey(m, m.From.Tag), 5)
	}
	state, params, _ := bytes.Cut(h.state, []byte(";"))
	over := equalFold(bytes.TrimSpace(state), "terminated")
	r := t.exchangeOf[key]
	if r == 0 {
		r = t.openExchange(record.Subscription, key, m, meta)
		e := t.exchanges.at(r.slot())
		if e.state = stateAlone; !alone {
			e.state = stateActive // since before the capture
			t.turn(e)
			t.set(r, after(after(meta.Clock, seconds(neverSaid)), t.options.ExpDelta))
		}
		t.kept.set(eEvent, h.event)
		e.text = t.texts[kindExchange].save(0, &t.kept)
	}
	e := t.asked(r, x, meta)
	e.notifies++
	switch {
	case alone:
		e.requests++
		t.set(r, after(meta.Clock, t.options.RetryWait))
	case over && e.state != stateOver:
		t.setField(e, eNote, param(params, "reason"))
		t.endSubscription(r, e, meta.Time, meta.Clock)
	case e.state == stateOver:
		t.set(r, after(meta.Clock, t.options.NonInvFin))
	default:
		if left := number(param(params, "expires")); left >= 0 {
			t.subscribes(r, e, uint32(left), meta.Time, meta.Clock)
		} else if e.state != stateActive {
			t.subscribes(r, e, neverSaid, meta.Time, meta.Clock)
		}
	}
}

// notified takes what came of a NOTIFY.
func (t *Table) notified(x *transaction, clock int64) {
	v := x.verdict()
	alone := x.flags&unsolicited != 0
	if alone {
		t.other(x, clock)
	} else {
		t.failure(v, x, clock)
	}
	e := t.ownerOf(x)
	switch {
	case e == nil:
	case alone:
		t.responded(e, x, v)
	case v == unanswered:
		e.timeouts++
	case v == refused || v == rejected:
		e.failures++
		if x.status == 481 && e.state == stateActive {
			t.setField(e, eNote, t.request.of[fReason])
			t.endSubscription(x.owner, e, x.answered, clock)
		}
	}
	if e != nil && v != unanswered {
		e.last = max(e.last, x.answered)
	}
}

// tellSubscription makes an event of a subscription.
func (t *Table) tellSubscription(kind record.EventKind, e *exchange, at, clock int64) {
	t.stats.Events++
	if t.options.Event == nil {
		return
	}
	f := &t.kept
	t.texts[kindExchange].load(e.text, f)
	t.send(&record.Event{
		Time: at, Kind: kind, Src: e.caller.Netip(), Dst: e.called.Netip(),
		AOR: join(f, eCaller, eCallerDomain), Target: join(f, eCalled, eCalledDomain), CallID: f.string(eCallID),
		Method: "SUBSCRIBE", Status: e.status, Text: f.string(eReason), Agent: f.string(eCallerAgent),
	}, nameOf(f.of[eEvent], f.of[eCallerTag]), clock)
}
