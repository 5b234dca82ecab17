package call

import "ringside/flow/sip"

// Stats are the counters of a table.
//
//	Messages = InCalls + Outside + Stray + Refused
//	Created  = Open + Closed
type Stats struct {
	Open       uint64 // calls that go on
	Unfinished uint64 // closed, record not taken yet

	Created  uint64
	MidCall  uint64 // of these, begun without their INVITE
	Closed   uint64
	Finished uint64
	Evicted  uint64 // closed because the table was full
	Probes   uint64

	Messages uint64 // taken in all
	InCalls  uint64 // of calls
	Outside  uint64 // of no INVITE dialog: REGISTER, OPTIONS, SUBSCRIBE, …
	Stray    uint64 // came after their call was over
	Refused  uint64 // would have begun a call in its middle, but the table was full

	Requests  [sip.PUBLISH + 1]uint64 // by sip.Method
	Responses [7]uint64               // by class, 1 to 6; 0: any other

	Retransmissions uint64
	BadSDP          uint64 // session descriptions that could not be read
}

func (s *Stats) count(m *sip.Message) {
	s.Messages++
	if !m.Response {
		if int(m.Method) < len(s.Requests) {
			s.Requests[m.Method]++
		}
		return
	}
	class := int(m.Status / 100)
	if class >= len(s.Responses) {
		class = 0
	}
	s.Responses[class]++
}

// Add adds the counters of another table.
func (s *Stats) Add(o *Stats) {
	for _, p := range []struct{ to, from *uint64 }{
		{&s.Open, &o.Open}, {&s.Unfinished, &o.Unfinished}, {&s.Created, &o.Created},
		{&s.MidCall, &o.MidCall}, {&s.Closed, &o.Closed}, {&s.Finished, &o.Finished},
		{&s.Evicted, &o.Evicted}, {&s.Probes, &o.Probes}, {&s.Messages, &o.Messages},
		{&s.InCalls, &o.InCalls}, {&s.Outside, &o.Outside}, {&s.Stray, &o.Stray},
		{&s.Refused, &o.Refused}, {&s.Retransmissions, &o.Retransmissions}, {&s.BadSDP, &o.BadSDP},
	} {
		*p.to += *p.from
	}
	for i := range s.Requests {
		s.Requests[i] += o.Requests[i]
	}
	for i := range s.Responses {
		s.Responses[i] += o.Responses[i]
	}
}
