package register

import "time"

// Limits bound a table in time and memory. A field that is 0 stands for its
// default; a time less than 0 for none at all.
type Limits struct {
	// MaxBindings is the most bindings and attempts at one time. When another
	// would begin, the oldest attempt is given up, and a binding only where there
	// is no attempt. Default 100,000.
	MaxBindings int

	// MaxExchanges is the most subscriptions, publications and messages at one
	// time. The one that was silent for longest is given up. Default 50,000.
	MaxExchanges int

	// MaxPeers is the most pairs of addresses that are followed by OPTIONS. The
	// one that was silent for longest is given up. Default 20,000.
	MaxPeers int

	// MaxTransactions is the most transactions at one time. The oldest is given
	// up. Default 50,000.
	MaxTransactions int

	// DelDelay is how long a removed binding may be made again without having
	// been away (reg_del_delay). Default 5 s.
	DelDelay time.Duration

	// ExpDelta is how long after its expiry a binding, subscription or publication
	// is taken for expired (reg_exp_delta). Default 30 s.
	ExpDelta time.Duration

	NonInv1st time.Duration // request without a final response: 30 s
	NonInvNeg time.Duration // after a failure, waiting for what is repeated: 5 s
	NonInvFin time.Duration // after a 2xx; also for the response on the outermost hop: 5 s

	// RetryWait is how long after the last try a request that was challenged or
	// failed may be tried again as the same thing. Default 60 s.
	RetryWait time.Duration

	// PeerPeriod is how long one record of OPTIONS lasts. Default 1 h.
	PeerPeriod time.Duration

	// IgnoreContactPort takes contacts that differ only in the port for the same
	// (contact_ignore_port).
	IgnoreContactPort bool
}

// downAfter is how many OPTIONS in a row remain without an answer before an
// address is down.
const downAfter = 3

// Bounds of one entry.
const (
	maxCallID    = 1024     // bytes of a Call-ID kept; the rest counts in its hash only
	maxField     = 255      // bytes of any other text kept
	maxContacts  = 8        // contacts of one REGISTER; further ones are counted
	maxList      = 2 << 10  // bytes of its Contact values kept
	maxText      = 16 << 10 // bytes of the text of a message kept
	maxHops      = 4        // hops of one transaction told apart
	textPerEntry = 640      // bytes of text an entry may have on average, when the table is full
)

// neverSaid (s) is how long a binding lasts of which nobody said how long.
const neverSaid = 3600

var defaults = Limits{
	MaxBindings:     100_000,
	MaxExchanges:    50_000,
	MaxPeers:        20_000,
	MaxTransactions: 50_000,
	DelDelay:        5 * time.Second,
	ExpDelta:        30 * time.Second,
	NonInv1st:       30 * time.Second,
	NonInvNeg:       5 * time.Second,
	NonInvFin:       5 * time.Second,
	RetryWait:       60 * time.Second,
	PeerPeriod:      time.Hour,
}

// withDefaults replaces what is not set.
func (l Limits) withDefaults() Limits {
	for _, n := range []struct {
		value *int
		def   int
	}{
		{&l.MaxBindings, defaults.MaxBindings}, {&l.MaxExchanges, defaults.MaxExchanges},
		{&l.MaxPeers, defaults.MaxPeers}, {&l.MaxTransactions, defaults.MaxTransactions},
	} {
		if *n.value <= 0 {
			*n.value = n.def
		}
		*n.value = min(*n.value, maxSlots)
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&l.DelDelay, defaults.DelDelay}, {&l.ExpDelta, defaults.ExpDelta},
		{&l.NonInv1st, defaults.NonInv1st}, {&l.NonInvNeg, defaults.NonInvNeg}, {&l.NonInvFin, defaults.NonInvFin},
		{&l.RetryWait, defaults.RetryWait}, {&l.PeerPeriod, defaults.PeerPeriod},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
		*d.value = max(*d.value, 0)
	}
	return l
}
