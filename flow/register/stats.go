package register

// Stats are the counters of a table.
//
//	Messages = Requests + Retransmissions + Copies + Provisional + Answers + Repeated + Stray + Ignored
type Stats struct {
	Transactions uint64 // that are kept now
	Bound        uint64 // bindings that stand now
	Attempts     uint64 // addresses of record, each from one source, that were only tried so far
	Exchanges    uint64 // subscriptions, publications and messages now
	Peers        uint64 // pairs of addresses that are followed by OPTIONS now

	Messages        uint64 // taken in all
	Requests        uint64 // not seen before
	Retransmissions uint64 // requests seen before on the same hop
	Copies          uint64 // requests seen before on another hop
	Provisional     uint64 // responses below 200
	Answers         uint64 // final responses to what was not settled yet
	Repeated        uint64 // responses to what was settled
	Stray           uint64 // responses to a request that was not seen, or is too long ago
	Ignored         uint64 // of methods that belong to calls

	Timeouts   uint64 // requests without a final response in time
	Challenges uint64 // REGISTER requests that were challenged
	Successes  uint64 // … answered by 2xx
	Failures   uint64 // … answered by anything else above 299
	Fetches    uint64 // … answered by 2xx that named no contact
	Outdated   uint64 // removals of a contact that its instance had left before

	Created  uint64 // bindings made
	Removed  uint64 // … removed
	Expired  uint64 // … not renewed
	Rejected uint64 // attempts that led to none
	Flaps    uint64 // bindings removed and made again within DelDelay

	Records uint64 // handed over: registrations and exchanges
	Events  uint64

	TransactionsEvicted uint64 // for want of room, as all that follow; no record is made of it
	AttemptsEvicted     uint64 // no record either
	AttemptsRefused     uint64 // there were bindings only
	BindingsEvicted     uint64
	ExchangesEvicted    uint64
	ContactsCut         uint64 // REGISTER requests with more contacts than are read
	TextLost            uint64 // texts that there was no room for
}

// Add adds the counters of another table.
func (s *Stats) Add(o *Stats) {
	for _, p := range []struct{ to, from *uint64 }{
		{&s.Transactions, &o.Transactions}, {&s.Bound, &o.Bound}, {&s.Attempts, &o.Attempts},
		{&s.Exchanges, &o.Exchanges}, {&s.Peers, &o.Peers}, {&s.Messages, &o.Messages},
		{&s.Requests, &o.Requests}, {&s.Retransmissions, &o.Retransmissions}, {&s.Copies, &o.Copies},
		{&s.Provisional, &o.Provisional}, {&s.Answers, &o.Answers}, {&s.Repeated, &o.Repeated},
		{&s.Stray, &o.Stray}, {&s.Ignored, &o.Ignored}, {&s.Timeouts, &o.Timeouts},
		{&s.Challenges, &o.Challenges}, {&s.Successes, &o.Successes}, {&s.Failures, &o.Failures},
		{&s.Fetches, &o.Fetches}, {&s.Outdated, &o.Outdated}, {&s.Created, &o.Created},
		{&s.Removed, &o.Removed}, {&s.Expired, &o.Expired}, {&s.Rejected, &o.Rejected}, {&s.Flaps, &o.Flaps},
		{&s.Records, &o.Records}, {&s.Events, &o.Events},
		{&s.TransactionsEvicted, &o.TransactionsEvicted}, {&s.AttemptsEvicted, &o.AttemptsEvicted},
		{&s.AttemptsRefused, &o.AttemptsRefused},
		{&s.BindingsEvicted, &o.BindingsEvicted}, {&s.ExchangesEvicted, &o.ExchangesEvicted},
		{&s.ContactsCut, &o.ContactsCut}, {&s.TextLost, &o.TextLost},
	} {
		*p.to += *p.from
	}
}
