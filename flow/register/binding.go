package register

import (
	"net/netip"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// binding is a binding of an address of record, or an attempt: what was tried
// there from one address without success.
type binding struct {
	head
	key        uint64
	uri        uint64 // hash of the contact URI
	name       uint64 // of the contact, for identifiers, see nameOf
	aor        uint64
	kin, child ref // neighbours among the bindings of the address of record: older and newer

	src, dst             frame.Endpoint // of the last REGISTER
	start, last          int64
	end                  int64 // when it was removed
	expiresAt            int64
	rtt                  trip
	expires              uint32 // s
	registers, successes uint32
	challenges, failures uint32
	timeouts, retrans    uint32
	vlan                 int32
	status               uint16
	transport            record.Transport
	phase                phase
	nat                  bool
}

// phase is the state of a binding.
type phase uint8

const (
	attempt  phase = iota // no binding: nothing succeeded yet
	bound                 // a 2xx made it
	removing              // a 2xx removed it; it may be made again
)

// Fields of a binding.
const (
	bUser = iota
	bDomain
	bContact
	bInstance
	bPath
	bCallID
	bAgent
	bAuth
	bReason
)

// tryRegister takes a REGISTER.
func (t *Table) tryRegister(x *transaction, m *sip.Message, meta *call.Meta) {
	h, f := &t.header, &t.request
	h.read(m)
	x.aor = t.aorHash(m, &m.To)
	x.attempt = mix(mix(x.aor, 3), addressHash(meta.Src))
	if h.received && m.Vias > 1 {
		x.flags |= behindNAT
	}
	f.set(fUser, m.Get(m.To.User))
	f.set(fHost, m.Get(m.To.Host))
	f.set(fPath, h.path)
	f.setMax(fContacts, t.readWishes(x, h.contacts), maxList)

	subjects := t.concerned(x)
	if len(subjects) == 0 {
		wait := after(meta.Clock, t.options.RetryWait)
		if r := t.openBinding(x.attempt, x, listAttempts, wait, meta.Clock); r != 0 {
			subjects = append(subjects, r)
			t.subjects = subjects
		}
	}
	for _, s := range subjects {
		b := t.bindings.at(s.slot())
		b.registers++
		if isChallenge(b.status) {
			x.flags |= warned
		}
		t.touch(s)
		if b.phase == attempt {
			t.describe(b, x)
			b.last = max(b.last, x.time)
			t.set(s, after(meta.Clock, t.options.RetryWait))
		}
	}
}

// concerned is the bindings that a REGISTER is about: those of its contacts, or
// with "*" all. Where there are none it is the attempt, if there is one.
func (t *Table) concerned(x *transaction) []ref {
	out := t.subjects[:0]
	for i := range x.contacts[:x.nContacts] {
		if r := t.bindingOf[x.contacts[i].key]; r != 0 && !has(out, r) {
			out = append(out, r)
		}
	}
	if x.flags&removesAll != 0 && len(out) == 0 {
		for r := t.recordOf[x.aor]; r != 0 && len(out) < maxContacts; r = t.bindings.at(r.slot()).kin {
			out = append(out, r)
		}
	}
	if r := t.bindingOf[x.attempt]; len(out) == 0 && r != 0 {
		out = append(out, r)
	}
	t.subjects = out
	return out
}

func has(list []ref, r ref) bool {
	for _, o := range list {
		if o == r {
			return true
		}
	}
	return false
}

// openBinding makes a binding or an attempt. Where there is no room the oldest
// attempt is given up, and where there is none of those, the binding that was
// silent for longest, but not for an attempt: then the result is 0.
func (t *Table) openBinding(key uint64, x *transaction, to uint8, deadline, clock int64) ref {
	for t.lists[listAttempts].n+t.lists[listBound].n >= t.options.MaxBindings || t.texts[kindBinding].full() {
		if old := t.lists[listAttempts].oldest; old != 0 {
			t.stats.AttemptsEvicted++
			t.dropBinding(old)
			continue
		}
		if to == listAttempts {
			t.stats.AttemptsRefused++
			return 0
		}
		t.stats.BindingsEvicted++
		old := t.lists[listBound].oldest
		t.closeBinding(old, record.Replaced, t.bindings.at(old.slot()).last, clock)
	}
	r := makeRef(kindBinding, t.bindings.get())
	b := t.bindings.at(r.slot())
	*b = binding{key: key, aor: x.aor, start: x.time, last: x.time}
	t.bindingOf[key] = r
	t.enter(r, to, deadline)
	return r
}

// describe notes in a binding what its last REGISTER says, which is in t.request.
func (t *Table) describe(b *binding, x *transaction) {
	f, k := &t.request, &t.kept
	t.texts[kindBinding].load(b.text, k)
	k.set(bUser, f.of[fUser])
	k.set(bDomain, f.of[fHost])
	k.setMax(bCallID, f.of[fCallID], maxCallID)
	k.keep(bAgent, f.of[fAgent])
	k.keep(bAuth, f.of[fAuth])
	b.text = t.texts[kindBinding].save(b.text, k)
	b.src, b.dst, b.transport, b.vlan = x.src, x.dst, x.transport, x.vlan
}

// registered takes what came of a REGISTER.
func (t *Table) registered(x *transaction, clock int64) {
	v := x.verdict()
	tried := false
	for _, s := range t.concerned(x) {
		b := t.bindings.at(s.slot())
		tried = tried || b.phase == attempt
		b.rtt.add(x)
		switch v {
		case accepted:
			b.successes++
		case challenged:
			b.challenges++
		case unanswered:
			b.timeouts++
		default:
			b.failures++
		}
		if v == unanswered {
			continue
		}
		b.status = x.status
		t.texts[kindBinding].load(b.text, &t.kept)
		t.kept.set(bReason, t.request.of[fReason])
		b.text = t.texts[kindBinding].save(b.text, &t.kept)
		if b.phase == attempt {
			t.set(s, after(clock, t.options.RetryWait))
		}
	}
	switch v {
	case accepted:
		t.stats.Successes++
		t.bind(x, tried, clock)
	case challenged:
		t.stats.Challenges++
	case unanswered:
		t.failure(v, x, clock)
	default:
		t.stats.Failures++
		t.failure(v, x, clock)
	}
}

// bind carries out a REGISTER that was accepted, removals first. One contact may
// take the place of another of the same instance: that removes nothing. The attempt
// that led to it is over then.
func (t *Table) bind(x *transaction, tried bool, clock int64) {
	if x.nContacts == 0 && x.flags&removesAll == 0 {
		t.stats.Fetches++
	}
	if x.flags&removesAll != 0 {
		for r := t.recordOf[x.aor]; r != 0; {
			next := t.bindings.at(r.slot()).kin
			t.remove(r, x, clock)
			r = next
		}
	}
	var like binding // the one made before, as it was then: it may be gone again
	for _, removal := range []bool{true, false} {
		for i := range x.contacts[:x.nContacts] {
			w := &x.contacts[i]
			granted := x.grant(w)
			if removal != (granted == 0) || removal && x.binds(w.key, int(x.nContacts)) {
				continue
			}
			r := t.bindingOf[w.key]
			made := r == 0
			if made && x.binds(w.key, i) {
				continue // listed before: it was made, and had to make room for others of the list
			}
			if made {
				r = t.openBound(w, x, &like, clock)
				like = *t.bindings.at(r.slot())
			}
			b := t.bindings.at(r.slot())
			switch {
			case removal && b.uri != w.uri:
				t.stats.Outdated++
			case removal:
				t.remove(r, x, clock)
			default:
				t.renew(r, w, x, granted, made, clock)
			}
		}
	}
	if r := t.bindingOf[x.attempt]; r != 0 && tried {
		t.dropBinding(r)
	}
}

// openBound makes the binding of a contact out of what was tried for it. Of several
// contacts of one REGISTER the first takes the attempt, and the others are like
// the one before.
func (t *Table) openBound(w *wish, x *transaction, like *binding, clock int64) ref {
	var b *binding
	r := t.bindingOf[x.attempt]
	if r != 0 {
		b = t.bindings.at(r.slot())
		delete(t.bindingOf, b.key)
		b.key = w.key
		t.bindingOf[b.key] = r
		t.unlink(r)
		t.push(r, listBound)
	} else {
		var tried binding
		if like.phase != attempt {
			tried = *like
		} else {
			tried.start, tried.registers, tried.successes, tried.status = x.time, 1, 1, x.status
			tried.rtt.add(x)
		}
		r = t.openBinding(w.key, x, listBound, clock, clock)
		b = t.bindings.at(r.slot())
		b.start, b.registers, b.successes, b.challenges = tried.start, tried.registers, tried.successes, tried.challenges
		b.failures, b.timeouts, b.retrans = tried.failures, tried.timeouts, tried.retrans
		b.status, b.rtt = tried.status, tried.rtt
	}
	b.phase, b.uri = bound, w.uri
	if first := t.recordOf[b.aor]; first != 0 {
		b.kin = first
		t.bindings.at(first.slot()).child = r
	}
	t.recordOf[b.aor] = r
	t.describe(b, x)
	t.setReason(b)
	t.setContact(b, w, x)
	return r
}

func (t *Table) setReason(b *binding) {
	t.texts[kindBinding].load(b.text, &t.kept)
	t.kept.set(bReason, t.request.of[fReason])
	b.text = t.texts[kindBinding].save(b.text, &t.kept)
}

// setContact notes the contact of a binding, and whether it is behind a NAT.
func (t *Table) setContact(b *binding, w *wish, x *transaction) {
	b.name = w.name
	for rest := t.request.of[fContacts]; len(rest) > 0; {
		var v []byte
		v, rest = nextValue(rest)
		c := readContact(v)
		if t.uriHash(&c) != w.uri {
			continue
		}
		k := &t.kept
		t.texts[kindBinding].load(b.text, k)
		k.set(bContact, c.uri)
		k.set(bInstance, c.instance)
		b.text = t.texts[kindBinding].save(b.text, k)
		b.nat = x.flags&behindNAT != 0
		if x.flags&firstHop != 0 {
			if a, err := netip.ParseAddr(string(c.host)); err == nil {
				b.nat = b.nat || frame.AddrFrom(a) != x.src.Addr
			}
		}
		return
	}
}

// renew binds a contact, for granted seconds from the response on.
func (t *Table) renew(r ref, w *wish, x *transaction, granted uint32, made bool, clock int64) {
	b := t.bindings.at(r.slot())
	if b.phase == removing {
		t.stats.Flaps++
		b.phase = bound
	}
	b.last = max(b.last, x.time)
	b.expires = granted
	b.expiresAt = after(x.answered, seconds(granted))
	moved := b.src.Addr != x.src.Addr || b.uri != w.uri || t.options.IgnoreContactPort
	b.uri = w.uri
	if !made {
		t.describe(b, x)
		if moved {
			t.setContact(b, w, x)
		}
	}
	if path := t.request.of[fPath]; len(path) > 0 {
		t.texts[kindBinding].load(b.text, &t.kept)
		t.kept.set(bPath, path)
		b.text = t.texts[kindBinding].save(b.text, &t.kept)
	}
	t.touch(r)
	t.set(r, after(after(clock, seconds(granted)), t.options.ExpDelta))
	if made {
		t.stats.Created++
		t.tellBinding(record.RegNew, b, x.answered, clock)
	}
}

// remove takes a binding that was removed out of use once DelDelay has passed.
func (t *Table) remove(r ref, x *transaction, clock int64) {
	b := t.bindings.at(r.slot())
	if b.phase == removing {
		return
	}
	b.phase, b.end = removing, x.answered
	b.last = max(b.last, x.time)
	t.describe(b, x)
	t.set(r, after(clock, t.options.DelDelay))
	if t.options.DelDelay == 0 {
		t.bindingDue(r, clock)
	}
}

// bindingDue fires the timer of a binding.
func (t *Table) bindingDue(r ref, clock int64) {
	switch b := t.bindings.at(r.slot()); b.phase {
	case attempt:
		t.closeAttempt(r, clock)
	case removing:
		t.stats.Removed++
		t.tellBinding(record.RegDel, b, b.end, clock)
		t.closeBinding(r, record.Unregistered, b.end, clock)
	default:
		t.stats.Expired++
		t.tellBinding(record.RegExpired, b, b.expiresAt, clock)
		t.closeBinding(r, record.Expired, b.expiresAt, clock)
	}
}

// endBinding ends a binding with the capture.
func (t *Table) endBinding(r ref, clock int64) {
	if b := t.bindings.at(r.slot()); b.phase == bound {
		t.closeBinding(r, record.Registered, max(clock, b.last), clock)
		return
	}
	t.bindingDue(r, clock)
}

// closeAttempt makes a record of what was only refused.
func (t *Table) closeAttempt(r ref, clock int64) {
	if b := t.bindings.at(r.slot()); b.successes == 0 {
		t.stats.Rejected++
		t.closeBinding(r, record.Rejected, b.last, clock)
		return
	}
	t.dropBinding(r)
}

func (t *Table) closeBinding(r ref, state record.RegistrationState, end, clock int64) {
	b := t.bindings.at(r.slot())
	t.stats.Records++
	if t.options.Registration != nil {
		t.options.Registration(t.registration(b, state, end), clock)
	}
	t.dropBinding(r)
}

func (t *Table) dropBinding(r ref) {
	b := t.bindings.at(r.slot())
	delete(t.bindingOf, b.key)
	if b.phase != attempt {
		if b.kin != 0 {
			t.bindings.at(b.kin.slot()).child = b.child
		}
		switch {
		case b.child != 0:
			t.bindings.at(b.child.slot()).kin = b.kin
		case b.kin != 0:
			t.recordOf[b.aor] = b.kin
		default:
			delete(t.recordOf, b.aor)
		}
	}
	t.leave(r)
	t.bindings.put(r.slot())
}

// tellBinding makes an event of a binding.
func (t *Table) tellBinding(kind record.EventKind, b *binding, at, clock int64) {
	t.stats.Events++
	if t.options.Event == nil {
		return
	}
	f := &t.kept
	t.texts[kindBinding].load(b.text, f)
	t.send(&record.Event{
		Time: at, Kind: kind, Src: b.src.Netip(), Dst: b.dst.Netip(),
		AOR: join(f, bUser, bDomain), Target: f.string(bContact), CallID: f.string(bCallID),
		Method: "REGISTER", Status: b.status, Text: f.string(bReason), Agent: f.string(bAgent),
	}, b.name, clock)
}

// join is user@host.
func join(f *fields, user, host int) string {
	u, h := f.string(user), f.string(host)
	if u == "" || h == "" {
		return u + h
	}
	return u + "@" + h
}

func (t *Table) registration(b *binding, state record.RegistrationState, end int64) *record.Registration {
	f := &t.kept
	t.texts[kindBinding].load(b.text, f)
	r := &record.Registration{
		Sensor: t.options.Sensor,
		AOR:    join(f, bUser, bDomain), User: f.string(bUser), Domain: f.string(bDomain),
		Contact: f.string(bContact), Instance: f.string(bInstance), Path: f.string(bPath),
		CallID: f.string(bCallID), Agent: f.string(bAgent), AuthUser: f.string(bAuth),
		Src: b.src.Netip(), Dst: b.dst.Netip(), Transport: b.transport, VLAN: b.vlan, NATed: b.nat,
		Start: b.start, Last: b.last, End: max(end, b.start), ExpiresAt: b.expiresAt, Expires: b.expires, State: state,
		Registers: b.registers, Successes: b.successes, Challenges: b.challenges,
		Failures: b.failures, Timeouts: b.timeouts, Retrans: b.retrans,
		LastStatus: b.status, LastReason: f.string(bReason),
	}
	r.RTT, r.RTTMin, r.RTTMax = b.rtt.ms()
	r.ID = registrationID(r, b.name)
	return r
}
