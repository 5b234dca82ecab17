package register

import (
	"bytes"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// transaction is a request, and what its final response says.
type transaction struct {
	head
	key        uint64
	aor        uint64 // of REGISTER: its address of record
	attempt    uint64 // … and the key of the attempt that it belongs to
	owner      ref    // of others: the exchange, if there is one
	ownerBirth uint64

	src, dst  frame.Endpoint // on the outermost hop
	time      int64          // of the request there
	answered  int64          // of the response that counts so far
	hops      [maxHops]hop   // the outermost first
	expires   int64          // Expires of the request, s; -1: not said
	granted   int64          // of the response; -1: not said
	vlan      int32
	cseq      uint32
	size      uint32 // of the body
	status    uint16 // of the response that counts so far; 0: none yet
	nHops     uint8
	nContacts uint8
	method    sip.Method
	transport record.Transport
	flags     uint8

	contacts [maxContacts]wish
}

// hop is where a request was seen.
type hop struct {
	branch uint64
	ends   uint64 // of both addresses, the same for both directions
	vias   uint8  // how far from the sender
}

// wish is a contact of a REGISTER: what the request and its response say.
type wish struct {
	key, uri uint64
	name     uint64 // for identifiers, see nameOf
	expires  int64  // of the request, s; -1: not said
	granted  int64  // of the response
}

// Flags of a transaction.
const (
	withCredentials uint8 = 1 << iota
	settled               // what came of it has been noted
	staleNonce            // it was challenged because of an old nonce
	warned                // what it is about was challenged last
	removesAll            // REGISTER with the contact "*"
	behindNAT             // a hop before the first one seen says that the sender is behind a NAT
	firstHop              // the request came from its sender, not from a proxy
	unsolicited           // NOTIFY that nobody asked for
)

// Fields of a transaction.
const (
	fCallID = iota
	fFrom   // user@host
	fTo
	fUser // of To
	fHost
	fAgent
	fMethod
	fAuth
	fContacts
	fPath
	fReason // of the response, from here on
	fPeerAgent
	fPeerTag
	fPeerContact
	fETag
)

// transactionKey names a transaction on all hops.
func (t *Table) transactionKey(m *sip.Message, meta *call.Meta) uint64 {
	kind := uint64(m.Method)
	if m.Method == sip.MethodUnknown {
		kind = t.hash(m.Get(m.CSeqMethod))
	}
	k := mix(mix(mix(mix(1, kind), t.hash(m.Get(m.CallID))), uint64(m.CSeq)), t.hash(m.Get(m.From.Tag)))
	switch m.Method { // what it is owned by
	case sip.REGISTER, sip.PUBLISH:
		k = mix(k, t.aorHash(m, &m.To))
	case sip.OPTIONS:
		k = mix(k, addressHash(meta.Src)+addressHash(meta.Dst))
	}
	return k
}

func addressHash(e frame.Endpoint) uint64 { return frame.Endpoint{Addr: e.Addr}.Hash() }

func (t *Table) hopOf(m *sip.Message, meta *call.Meta) hop {
	return hop{t.hash(m.Get(m.Branch)), meta.Src.Hash() + meta.Dst.Hash(), m.Vias}
}

// ask takes a request.
func (t *Table) ask(m *sip.Message, meta *call.Meta) {
	key, h := t.transactionKey(m, meta), t.hopOf(m, meta)
	if r := t.transactionOf[key]; r != 0 {
		x := t.transactions.at(r.slot())
		known := x.knows(h)
		switch {
		case known:
			t.repeated(r, x, meta)
			return
		case x.flags&settled == 0 || h.vias > x.hops[0].vias:
			t.stats.Copies++
			x.seenOn(h, meta)
			return
		}
		t.dropTransaction(r)
	}
	t.stats.Requests++
	t.begin(key, h, m, meta)
}

func (x *transaction) knows(h hop) bool {
	for i := range x.hops[:x.nHops] {
		if x.hops[i].branch == h.branch && x.hops[i].ends == h.ends {
			return true
		}
	}
	return false
}

// seenOn adds a hop. One that is nearer to the sender becomes the first, and the
// times are those of that one from then on.
func (x *transaction) seenOn(h hop, meta *call.Meta) {
	if int(x.nHops) < len(x.hops) {
		x.hops[x.nHops] = h
		x.nHops++
	}
	if last := int(x.nHops) - 1; h.vias < x.hops[0].vias {
		x.hops[last] = h
		x.hops[0], x.hops[last] = x.hops[last], x.hops[0]
		x.src, x.dst, x.time = meta.Src, meta.Dst, min(x.time, meta.Time)
		if h.vias <= 1 {
			x.flags |= firstHop
		}
	}
}

// repeated takes a retransmission of a request.
func (t *Table) repeated(r ref, x *transaction, meta *call.Meta) {
	t.stats.Retransmissions++
	if x.flags&settled != 0 {
		t.linger(r, x, meta.Clock)
	}
	if x.method == sip.REGISTER {
		for _, s := range t.concerned(x) {
			t.bindings.at(s.slot()).retrans++
		}
	} else if e := t.ownerOf(x); e != nil {
		e.retrans++
		e.last = max(e.last, meta.Time)
	}
}

// begin makes a transaction, and whatever it is about.
func (t *Table) begin(key uint64, h hop, m *sip.Message, meta *call.Meta) {
	for t.lists[listTransactions].n >= t.options.MaxTransactions || t.texts[kindTransaction].full() {
		t.stats.TransactionsEvicted++
		t.dropTransaction(t.lists[listTransactions].oldest)
	}
	r := makeRef(kindTransaction, t.transactions.get())
	x := t.transactions.at(r.slot())
	*x = transaction{
		key: key, method: m.Method, src: meta.Src, dst: meta.Dst, time: meta.Time,
		vlan: meta.VLAN, transport: meta.Transport, expires: m.Expires, granted: -1, cseq: m.CSeq, size: m.Body.Len, nHops: 1,
	}
	x.hops[0] = h
	if h.vias <= 1 {
		x.flags |= firstHop
	}
	if !m.AuthUser.IsZero() {
		x.flags |= withCredentials
	}
	f := &t.request
	f.clear()
	f.setMax(fCallID, m.Get(m.CallID), maxCallID)
	t.from, t.to = appendAOR(t.from[:0], m, &m.From), appendAOR(t.to[:0], m, &m.To)
	f.set(fFrom, t.from)
	f.set(fTo, t.to)
	f.set(fAgent, m.Get(m.UserAgent))
	f.set(fAuth, m.Get(m.AuthUser))
	f.set(fMethod, m.Get(m.MethodName))
	t.transactionOf[key] = r
	t.enter(r, listTransactions, after(meta.Clock, t.options.NonInv1st))
	switch m.Method {
	case sip.REGISTER:
		t.tryRegister(x, m, meta)
	case sip.SUBSCRIBE:
		t.trySubscribe(x, m, meta)
	case sip.NOTIFY:
		t.notify(x, m, meta)
	case sip.PUBLISH:
		t.tryPublish(x, m, meta)
	case sip.MESSAGE:
		t.tryMessage(x, m, meta)
	case sip.OPTIONS:
		t.tryOptions(x, m, meta)
	}
	x.text = t.texts[kindTransaction].save(0, f)
}

// appendAOR appends user@host of an address.
func appendAOR(dst []byte, m *sip.Message, a *sip.Address) []byte {
	dst = append(dst, m.Get(a.User)...)
	if !a.User.IsZero() && !a.Host.IsZero() {
		dst = append(dst, '@')
	}
	return append(dst, m.Get(a.Host)...)
}

// answer takes a response.
func (t *Table) answer(m *sip.Message, meta *call.Meta) {
	r := t.transactionOf[t.transactionKey(m, meta)]
	if r == 0 {
		t.stats.Stray++
		return
	}
	x := t.transactions.at(r.slot())
	switch {
	case x.flags&settled != 0:
		t.stats.Repeated++
		return
	case m.Status < 200:
		t.stats.Provisional++
		if x.status == 0 {
			t.set(r, after(meta.Clock, t.options.NonInv1st))
		}
		return
	}
	t.stats.Answers++
	outermost := t.isOutermost(x, m)
	f := &t.request
	t.texts[kindTransaction].load(x.text, f)
	t.absorb(x, m, meta)
	if outermost {
		t.settle(r, x, meta.Clock)
		return
	}
	x.text = t.texts[kindTransaction].save(x.text, f)
	t.set(r, after(meta.Clock, t.options.NonInvFin))
}

// isOutermost reports whether a response stands on the hop nearest to the sender
// of its request. One on a hop where the request was not seen goes by its Via
// values: the fewer there are, the nearer it is.
func (t *Table) isOutermost(x *transaction, m *sip.Message) bool {
	if x.nHops == 1 {
		return m.Vias <= x.hops[0].vias || t.hash(m.Get(m.Branch)) == x.hops[0].branch
	}
	branch := t.hash(m.Get(m.Branch))
	for i := range x.hops[:x.nHops] {
		if x.hops[i].branch == branch && x.hops[i].vias == m.Vias {
			return x.hops[i].vias == x.hops[0].vias
		}
	}
	return m.Vias <= x.hops[0].vias
}

// absorb takes from a final response what settling needs.
func (t *Table) absorb(x *transaction, m *sip.Message, meta *call.Meta) {
	f := &t.request
	x.status, x.answered, x.granted = m.Status, meta.Time, m.Expires
	f.set(fReason, m.Get(m.Reason))
	f.set(fPeerTag, m.Get(m.To.Tag))
	f.set(fPeerContact, m.Get(m.Contact.URI))
	f.set(fPeerAgent, m.Get(m.Server))
	if m.Server.IsZero() {
		f.set(fPeerAgent, m.Get(m.UserAgent))
	}
	challenge := isChallenge(m.Status)
	ok := m.Status/100 == 2
	if !challenge && (!ok || x.method != sip.REGISTER && x.method != sip.PUBLISH) {
		return
	}
	t.header.read(m)
	x.flags &^= staleNonce
	if t.header.stale {
		x.flags |= staleNonce
	}
	switch {
	case ok && x.method == sip.REGISTER:
		t.readGrants(x)
		f.keep(fPath, t.header.path)
	case ok:
		f.set(fETag, t.header.etag)
	}
}

// transactionDue fires the timer of a transaction.
func (t *Table) transactionDue(r ref, clock int64) {
	x := t.transactions.at(r.slot())
	if x.flags&settled != 0 {
		t.dropTransaction(r)
		return
	}
	t.texts[kindTransaction].load(x.text, &t.request)
	if x.status == 0 {
		t.stats.Timeouts++
	}
	t.settle(r, x, clock)
}

// endTransaction takes what an inner hop answered, when the capture ends.
func (t *Table) endTransaction(r ref, clock int64) {
	x := t.transactions.at(r.slot())
	if x.flags&settled == 0 && x.status != 0 {
		t.texts[kindTransaction].load(x.text, &t.request)
		t.settle(r, x, clock)
	} else if e := t.ownerOf(x); e != nil && x.method == sip.OPTIONS && x.flags&settled == 0 {
		t.countOptions(x.owner, e, x, clock)
	}
	t.dropTransaction(r)
}

// settle notes what came of a transaction: its status, 0 for no answer at all.
// Its fields are in t.request.
func (t *Table) settle(r ref, x *transaction, clock int64) {
	x.flags |= settled
	t.linger(r, x, clock)
	switch x.method {
	case sip.REGISTER:
		t.registered(x, clock)
	case sip.SUBSCRIBE:
		t.subscribed(x, clock)
	case sip.NOTIFY:
		t.notified(x, clock)
	case sip.PUBLISH:
		t.published(x, clock)
	case sip.MESSAGE:
		t.delivered(x, clock)
	case sip.OPTIONS:
		t.reached(x, clock)
	default:
		t.other(x, clock)
	}
}

// linger keeps a settled transaction for what is repeated.
func (t *Table) linger(r ref, x *transaction, clock int64) {
	wait := t.options.NonInvNeg
	if x.status/100 == 2 {
		wait = t.options.NonInvFin
	}
	t.set(r, after(clock, wait))
}

func (t *Table) dropTransaction(r ref) {
	x := t.transactions.at(r.slot())
	if t.transactionOf[x.key] == r {
		delete(t.transactionOf, x.key)
	}
	t.leave(r)
	t.transactions.put(r.slot())
}

// verdict is what a status means.
type verdict uint8

const (
	accepted   verdict = iota
	challenged         // 401 or 407 to a request without credentials, or with those for an old challenge
	refused            // 401, 403 or 407 to a request with credentials for the last challenge
	rejected           // any other status above 299
	unanswered
)

// verdict is what came of a transaction. Phones keep the credentials of the last
// challenge and use them again, until the nonce is too old: that is a challenge like
// any other, whether the server says "stale" or not.
func (x *transaction) verdict() verdict {
	credentials := x.flags&withCredentials != 0
	old := x.flags&staleNonce != 0 || x.owned() && x.flags&warned == 0
	switch s := x.status; {
	case s == 0:
		return unanswered
	case s/100 == 2:
		return accepted
	case isChallenge(s) && (!credentials || old):
		return challenged
	case (s == 401 || s == 403 || s == 407) && credentials:
		return refused
	}
	return rejected
}

// owned reports whether it is known what the transaction is about, and so how that
// was answered before.
func (x *transaction) owned() bool { return x.owner != 0 || x.method == sip.REGISTER }

func isChallenge(status uint16) bool { return status == 401 || status == 407 }

// other tells what came of a request that is an event and nothing more, or of one
// of an exchange.
func (t *Table) other(x *transaction, clock int64) {
	if v := x.verdict(); v == accepted {
		t.tell(record.OtherOK, x, clock)
	} else {
		t.failure(v, x, clock)
	}
}

// failure tells that a request was not accepted.
func (t *Table) failure(v verdict, x *transaction, clock int64) {
	switch v {
	case refused:
		t.tell(record.AuthRefused, x, clock)
	case rejected:
		t.tell(record.OtherFailed, x, clock)
	case unanswered:
		t.tell(record.OtherTimeout, x, clock)
	}
}

// tell makes the event of a transaction whose fields are in t.request.
func (t *Table) tell(kind record.EventKind, x *transaction, clock int64) {
	t.stats.Events++
	if t.options.Event == nil {
		return
	}
	f := &t.request
	at := x.answered
	if x.status == 0 {
		at = clock
	}
	e := &record.Event{
		Time: at, Kind: kind, Src: x.src.Netip(), Dst: x.dst.Netip(),
		AOR: f.string(fFrom), Target: f.string(fTo), CallID: f.string(fCallID),
		Method: f.string(fMethod), Status: x.status, Text: f.string(fReason), Agent: f.string(fAgent),
	}
	if x.method == sip.REGISTER {
		e.AOR, e.Target = f.string(fTo), ""
		if v, _ := nextValue(f.of[fContacts]); len(v) > 0 {
			c := readContact(v)
			e.Target = clean(c.uri[:min(len(c.uri), maxField)])
		}
	}
	t.send(e, uint64(x.cseq), clock)
}

// send completes an event of what name stands for, and hands it over.
func (t *Table) send(e *record.Event, name uint64, clock int64) {
	e.Sensor, e.Count = t.options.Sensor, 1
	e.ID = eventID(e, name)
	t.options.Event(e, clock)
}

// trip is the times from requests to their final responses, ns.
type trip struct {
	sum, least, most int64
	n                uint32
}

func (r *trip) add(x *transaction) {
	if x.status == 0 {
		return
	}
	d := max(x.answered-x.time, 0)
	if r.n == 0 || d < r.least {
		r.least = d
	}
	r.most = max(r.most, d)
	r.sum += d
	r.n++
}

// ms is mean, least and most in milliseconds.
func (r *trip) ms() (avg, least, most float64) {
	if r.n == 0 {
		return 0, 0, 0
	}
	return float64(r.sum) / float64(r.n) / 1e6, float64(r.least) / 1e6, float64(r.most) / 1e6
}

// isText reports whether a body of that type is text to be kept (RFC 3428: MESSAGE
// carries what the type says). It goes for message/cpim (RFC 3862) too.
func isText(contentType []byte) bool {
	kind, _, _ := bytes.Cut(contentType, []byte(";"))
	kind = bytes.TrimSpace(kind)
	return len(kind) > 5 && equalFold(kind[:5], "text/") || equalFold(kind, "message/cpim")
}
