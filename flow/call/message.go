package call

import (
	"ringside/dataplane/frame"
	"ringside/flow/sip"
)

// message is what a call keeps of one of its messages.
type message struct {
	time    int64
	hop     uint64 // names it on its hop: equal in retransmissions
	same    uint64 // names it on all hops: equal in copies
	cseq    uint32
	reason  text // reason phrase of a response
	name    text // method, where package sip has no number for it
	status  uint16
	repeats uint16 // retransmissions of it
	src     uint8  // index of the signalling address, or noEndpoint
	dst     uint8
	method  sip.Method
	flags   uint8
}

// Flags of a message.
const (
	withSDP uint8 = 1 << iota
	retransmitted
	inDialog // a request with a To tag
)

const noEndpoint = maxEndpoints

// keys name a message and its parts.
type keys struct {
	hop, same uint64 // as in message
	branch    uint64
	from, to  uint64 // tags
}

// keys computes what tells a message from others of its call.
func (t *Table) keys(m *sip.Message, meta *Meta) keys {
	k := keys{
		branch: t.hash(m.Get(m.Branch)),
		from:   t.hash(m.Get(m.From.Tag)),
		to:     t.hash(m.Get(m.To.Tag)),
	}
	kind := uint64(m.Status)<<8 | uint64(m.Method)
	if m.Method == sip.MethodUnknown {
		kind ^= t.hash(m.Get(m.CSeqMethod)) << 24
	}
	k.same = sameKey(kind, m.CSeq, k.from, k.to)
	k.hop = mix(mix(k.same, k.branch), meta.Src.Hash())
	k.hop = mix(mix(k.hop, meta.Dst.Hash()), uint64(m.RSeq))
	k.hop = mix(k.hop, t.hash(m.Get(m.Body)))
	return k
}

// sameKey names a message on all hops. kind is status and method; of a
// request, the method alone.
func sameKey(kind uint64, cseq uint32, from, to uint64) uint64 {
	return mix(mix(mix(mix(1, kind), uint64(cseq)), from), to)
}

// knows reports whether the message was seen before, on whichever hop.
func (c *call) knows(k *keys) bool {
	for i := range c.messages {
		if c.messages[i].same == k.same {
			return true
		}
	}
	return false
}

// seen is what the call's list says of a message.
type seen struct {
	again *message // the first on this hop; nil if there is none
	first int64    // when it was first seen on any hop
	copy  bool     // seen on another hop before
}

func (c *call) lookUp(k *keys, now int64) seen {
	s := seen{first: now}
	for i := range c.messages {
		e := &c.messages[i]
		if e.same != k.same {
			continue
		}
		s.copy = true
		s.first = min(s.first, e.time)
		if e.hop == k.hop && e.flags&retransmitted == 0 && s.again == nil {
			s.again = e
		}
	}
	return s
}

// note adds a message to the list. When the list is full its second half is a
// ring of the last ones.
func (c *call) note(m *sip.Message, meta *Meta, k *keys, most int, flags uint8) {
	e := message{
		time: meta.Time, hop: k.hop, same: k.same,
		cseq: m.CSeq, status: m.Status, method: m.Method, flags: flags,
		src: c.endpoint(meta.Src), dst: c.endpoint(meta.Dst),
		reason: c.keep(m.Get(m.Reason)),
	}
	if m.Method == sip.MethodUnknown {
		e.name = c.keep(m.Get(m.CSeqMethod))
		if !m.Response {
			e.name = c.keep(m.Get(m.MethodName))
		}
	}
	if n := int(c.total); n < most {
		if c.messages == nil {
			c.messages = make([]message, 0, 8)
		}
		c.messages = append(c.messages, e)
	} else {
		half := most / 2
		c.messages[half+(n-half)%(most-half)] = e
	}
	c.total++
}

// inOrder calls f with the messages kept, oldest first.
func (c *call) inOrder(f func(*message)) {
	n, kept := int(c.total), len(c.messages)
	if n == kept {
		for i := range c.messages {
			f(&c.messages[i])
		}
		return
	}
	half := kept / 2
	for i := range half {
		f(&c.messages[i])
	}
	for i := range kept - half {
		f(&c.messages[half+(n-half+i)%(kept-half)])
	}
}

// endpoint is the index of a signalling address of the call.
func (c *call) endpoint(e frame.Endpoint) uint8 {
	for i := range c.endpoints {
		if c.endpoints[i] == e {
			return uint8(i)
		}
	}
	if len(c.endpoints) == maxEndpoints {
		return noEndpoint
	}
	c.endpoints = append(c.endpoints, e)
	return uint8(len(c.endpoints) - 1)
}
