package flow

import (
	"slices"
	"strings"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/rtp"
	"ringside/flow/rule"
	"ringside/flow/sip"
)

// planned is a call at its owner.
type planned struct {
	plan   plan
	first  rule.Subject // of its first message, with bytes of its own
	tape   uint32
	policy rule.Policy
	held   []frame.Kept // of messages that nobody wants yet
}

// maxHeld is how many frames of the signalling of a call are held.
const maxHeld = 256

// What belongs to no call goes to tapes by its Call-ID and class, of which so many
// are open.
const otherTapes = 1024

type openTape struct {
	hash   uint64
	tape   uint32 // 0: nothing is wanted yet
	rules  *rule.Set
	policy rule.Policy
}

// Messages that were not understood are stored up to a limit, of each of some
// groups of sources: a sum over all would depend on who owns them.
const (
	oddSources = 64
	oddLimit   = 20 // a second
)

type oddSource struct {
	second int64
	count  int
}

// oddGroup is the group of a flow, in the bits that say who owns it.
func oddGroup(flow uint64) uint64 { return flow &^ (1<<58 - 1) }

// maxCallID is how many bytes of a Call-ID records have.
const maxCallID = 1024

// keyOf is a Call-ID as the record has it, so that the packets are found by that.
func keyOf(id []byte) string {
	return strings.ToValidUTF8(string(id[:min(len(id), maxCallID)]), "\uFFFD")
}

// taking asks the rules about a call that is about to take the message being
// read.
func (s *Shard) taking(ref call.Ref) {
	m := s.rec.reading
	s.rec.took = ref
	clock := m.meta.Clock
	p := s.rec.calls[ref]
	if p == nil {
		p = new(planned)
		p.plan.id = keyOf(m.msg.Get(m.msg.CallID))
		p.first = s.subject(m)
		p.plan.rules = s.group.rules.Load()
		p.policy = p.plan.rules.Decide(&p.first)
		p.first = ownSubject(&p.first)
		p.tape = s.rec.tapes.begin(&p.plan)
		s.rec.calls[ref] = p
		p.plan.head.Store(&wanted{from: clock, policy: p.policy})
		return
	}
	if len(p.plan.rules.Rules()) == 0 {
		return
	}
	x := s.subject(m)
	f := &p.first
	x.Time, x.VLAN, x.Iface = f.Time, f.VLAN, f.Iface
	x.CallerAddr, x.CalledAddr, x.Caller, x.Called = f.CallerAddr, f.CalledAddr, f.Caller, f.Called
	x.CallerDomain, x.CalledDomain = f.CallerDomain, f.CalledDomain
	if m.msg.Method != sip.INVITE { // an exchange of its own within the call, such as OPTIONS
		x.Method, x.Status = nil, 0
	}
	before := p.policy
	if p.policy = p.plan.rules.Again(before, &x); p.policy == before {
		return
	}
	p.plan.head.Store(&wanted{from: clock, policy: p.policy, before: p.plan.head.Load()})
	s.retell(s.named[ref], clock)
	if (p.policy.LookBack > 0 || s.group.options.Meters != nil) && p.policy.Want[rule.RTP] != rule.None {
		s.ask(order{kind: orderRecall, key: callKey{ref, uint16(s.id)}, clock: clock})
	}
}

var invite = []byte("INVITE")

// judgeOutcome asks the rules about a call that is over, and takes what is held of
// its messages. What is held of its media is taken when that is collected, next.
func (s *Shard) judgeOutcome(ref call.Ref, clock int64) {
	p := s.rec.calls[ref]
	if p == nil || !p.plan.rules.AsksOutcome() {
		return
	}
	x, before := p.first, p.policy
	x.Outcome, x.Status = s.table.Outcome(ref)
	if x.Outcome != record.Partial {
		x.Method = invite
	}
	if p.policy = p.plan.rules.Again(before, &x); p.policy == before {
		return
	}
	p.plan.head.Store(&wanted{from: clock, policy: p.policy, before: p.plan.head.Load()})
	s.takeHeldMessages(p, clock)
}

// takeHeldMessages takes those messages that nobody wanted when they came.
func (s *Shard) takeHeldMessages(p *planned, now int64) {
	level := p.policy.Want[rule.SIP]
	if level == rule.None {
		return
	}
	for _, k := range p.held {
		if k.Clock >= now-int64(p.policy.LookBack) {
			s.takeOnce(now, p.tape, rule.SIP, level, k)
		}
	}
	p.held = nil
}

func (s *Shard) subject(m *signal) rule.Subject {
	x := rule.SubjectOf(&m.msg, m.meta.Src.Netip().Addr(), m.meta.Dst.Netip().Addr())
	x.Time, x.Sensor, x.VLAN, x.Iface = m.meta.Time, s.group.options.Sensor, m.meta.VLAN, int32(m.iface)
	return x
}

// ownSubject is x without what it borrows but for names, which it copies.
func ownSubject(x *rule.Subject) rule.Subject {
	out := *x
	out.Message, out.Agent, out.Method = nil, nil, nil
	for _, b := range []*[]byte{&out.Caller, &out.Called, &out.CallerDomain, &out.CalledDomain} {
		*b = append([]byte(nil), *b...)
	}
	return out
}

// recordSignal records a message that was just read.
func (s *Shard) recordSignal(m *signal) {
	p := s.rec.calls[s.rec.took]
	if p == nil {
		s.recordOther(m)
		return
	}
	level, clock := p.policy.Want[rule.SIP], m.meta.Clock
	if level == rule.None {
		if p.plan.rules.LookBack() > 0 {
			p.hold(m.kept, clock-s.group.keeper.lookBack)
		}
		return
	}
	s.takeHeldMessages(p, clock)
	s.takeMessage(m, p.tape, rule.SIP, level)
}

// hold keeps frames in mind that nobody wants yet, as far as they are not older
// than since.
func (p *planned) hold(frames []frame.Kept, since int64) {
	n := 0
	for n < len(p.held) && (p.held[n].Clock < since || len(p.held)-n+len(frames) > maxHeld) {
		n++
	}
	p.held = append(slices.Delete(p.held, 0, n), frames...)
}

// takeMessage takes the frames of a message. Those of a stream of bytes may have
// held the end of another one, and been taken with that.
func (s *Shard) takeMessage(m *signal, n uint32, class rule.Class, level rule.Level) {
	for _, k := range m.kept {
		if m.meta.Transport == record.UDP {
			s.take(m.meta.Clock, n, class, level, k)
		} else {
			s.takeOnce(m.meta.Clock, n, class, level, k)
		}
	}
}

func (s *Shard) takeOnce(now int64, n uint32, class rule.Class, level rule.Level, k frame.Kept) {
	t := s.rec.tapes.at(n)
	if k.At > noCopy {
		if slices.Contains(t.recent[:], k.Clock) {
			return
		}
		t.recent[t.turn%uint8(len(t.recent))] = k.Clock
		t.turn++
	}
	s.take(now, n, class, level, k)
}

// recordOther records a message that is of no call, or of one that is over.
func (s *Shard) recordOther(m *signal) {
	class, id := rule.SIP, m.msg.Get(m.msg.CallID)
	if m.msg.Method == sip.REGISTER {
		class = rule.Register
	}
	h := callHash(id) ^ uint64(class)
	o := &s.rec.others[h%otherTapes]
	x := s.subject(m)
	if o.hash == h {
		o.policy = o.rules.Again(o.policy, &x)
	} else {
		if o.tape != 0 {
			s.endTape(o.tape)
		}
		rules := s.group.rules.Load()
		*o = openTape{hash: h, rules: rules, policy: rules.Decide(&x)}
	}
	level := o.policy.Want[class]
	if level == rule.None {
		return
	}
	if o.tape == 0 {
		o.tape = s.rec.tapes.begin(&plan{id: keyOf(id)})
	}
	s.takeMessage(m, o.tape, class, level)
}

// recordOdd records a message that was not understood, some of a second.
func (s *Shard) recordOdd(m *signal) {
	r := &s.rec
	o := &r.odd[oddGroup(frame.FlowHash(m.meta.Src, m.meta.Dst))>>58]
	if second := m.meta.Clock / 1e9; second != o.second {
		*o = oddSource{second: second}
	}
	level := s.group.rules.Load().Default().Want[rule.SIP]
	if o.count++; o.count > oddLimit || level == rule.None {
		return
	}
	if r.oddTape == 0 {
		r.oddTape = r.tapes.begin(&plan{id: odd})
	}
	s.takeMessage(m, r.oddTape, rule.SIP, level)
}

// recordedCall writes into the record of a call what became of its packets.
func (s *Shard) recordedCall(ref call.Ref, rec *record.Call) {
	p := s.rec.calls[ref]
	if p == nil {
		return
	}
	delete(s.rec.calls, ref)
	t := s.endTape(p.tape)
	rec.SIPStored = t.result(p.policy.Want[rule.SIP])
	rtp := tape{level: p.policy.Want[rule.RTP]}
	for _, o := range s.rec.tallies[ref] {
		rtp.level = max(rtp.level, o.level)
		rtp.stored += o.stored
		rtp.missed += o.missed
		if o.rule != 0 && (p.policy.Rule == 0 || o.rule < p.policy.Rule) {
			p.policy.Rule = o.rule
		}
	}
	delete(s.rec.tallies, ref)
	rec.Rule = p.plan.rules.Name(p.policy)
	rec.RTPStored = rtp.result(rtp.level)
}

// headOfFragment is how many bytes of a fragment are headers. The first one of
// UDP has those of the datagram, the others have none.
func headOfFragment(f *frame.Fragment) int {
	switch {
	case f.Proto != frame.ProtoUDP:
		return -1 // it may be a tunnel
	case f.Offset > 0:
		return 0
	case len(f.Data) < 8:
		return len(f.Data)
	}
	return 8 + headOf(f.Data[8:])
}

// headOf is how many bytes of the payload of a datagram are headers, as a rule
// sees it: those of RTP, or a SIP message without its body; all of what is neither.
func headOf(payload []byte) int {
	if len(payload) > 0 && payload[0]>>6 == 2 {
		var h rtp.Header
		if !rtp.IsRTCP(payload) && rtp.ParseHeader(payload, len(payload), &h) {
			return int(h.Offset)
		}
		return len(payload)
	}
	rest := trimKeepalive(payload)
	if n := sip.HeadEnd(rest, 0); n > 0 && sip.Looks(rest) {
		return len(payload) - len(rest) + n
	}
	return len(payload)
}
