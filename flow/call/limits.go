package call

import (
	"fmt"
	"strings"
	"time"
)

// Limits bound a table in time and memory. A field that is 0 stands for its
// default.
type Limits struct {
	// MaxCalls is the most calls open at one time. A new INVITE beyond it ends
	// the call that has been silent for longest (Stats.Evicted); a call that
	// would begin in its middle is refused (Stats.Refused). Default 100,000.
	MaxCalls int

	// MaxMessages is how many messages of a call its record lists: the first
	// half and the last half of them when there were more. It is also how far
	// back a retransmission is recognised. Default 200, at least 8.
	MaxMessages int

	Timeouts Timeouts

	// ReorderWait is for how long after a response without its request that
	// INVITE is still taken for the beginning of the call. Default 2 s.
	ReorderWait time.Duration

	// Linger is for how long the Call-ID of a call that is over is remembered:
	// what comes late (retransmissions, RFC 3261 table 4: 64*T1) then makes no
	// record of its own. Default 32 s.
	Linger time.Duration

	// LinkHeader names a header field of INVITE, and of its 2xx, whose value
	// goes into the record (record.Call.LinkHeader), to link the legs of a
	// B2BUA. Default none.
	LinkHeader string
}

// Timeouts say for how long a call waits in each state for its next message.
// Every message of a call starts the time of its state anew.
type Timeouts struct {
	Inv1st         time.Duration // INVITE without an answer but 100: 120 s
	InvEarlyDlg    time.Duration // provisional response above 100: 180 s
	InvNeg         time.Duration // final failure, waiting for another try: 30 s
	InvEstablished time.Duration // answered; longer if Session-Expires (RFC 4028) says so: 3600 s
	InvByeSeen     time.Duration // BYE without its answer: 30 s
	InvByeRepl     time.Duration // BYE answered, waiting for what is repeated: 5 s
	InvCanceled    time.Duration // CANCEL: 5 s
}

// ProbeWait is for how long (ns of clock) the table waits for MediaAlive after
// Probe before it takes an established call for dead.
const ProbeWait = 60_000_000_000

// Bounds of one call.
const (
	maxText      = 16 << 10 // bytes of names, numbers and phrases kept
	maxCallID    = 1024     // bytes of it kept; the rest counts in its hash only
	maxField     = 255      // bytes of any other text kept
	maxEndpoints = 64       // signalling addresses told apart
	maxLegs      = 32
	maxMedia     = 32
	maxBranches  = 32   // INVITE transactions of one attempt told apart
	maxTags      = 4    // From tags of one caller
	maxCrypto    = 1024 // bytes of the keys of one media description
	maxDigits    = 256
)

var defaults = Limits{
	MaxCalls:    100_000,
	MaxMessages: 200,
	ReorderWait: 2 * time.Second,
	Linger:      32 * time.Second,
	Timeouts: Timeouts{
		Inv1st:         120 * time.Second,
		InvEarlyDlg:    180 * time.Second,
		InvNeg:         30 * time.Second,
		InvEstablished: 3600 * time.Second,
		InvByeSeen:     30 * time.Second,
		InvByeRepl:     5 * time.Second,
		InvCanceled:    5 * time.Second,
	},
}

// withDefaults replaces what is not set.
func (l Limits) withDefaults() Limits {
	if l.MaxCalls <= 0 {
		l.MaxCalls = defaults.MaxCalls
	}
	if l.MaxMessages <= 0 {
		l.MaxMessages = defaults.MaxMessages
	}
	l.MaxMessages = max(l.MaxMessages, 8)
	if l.ReorderWait <= 0 {
		l.ReorderWait = defaults.ReorderWait
	}
	if l.Linger <= 0 {
		l.Linger = defaults.Linger
	}
	def := defaults.Timeouts
	for i, d := range l.Timeouts.fields() {
		if *d.value <= 0 {
			*d.value = *def.fields()[i].value
		}
	}
	return l
}

type timeoutField struct {
	name  string
	value *time.Duration
}

func (t *Timeouts) fields() []timeoutField {
	return []timeoutField{
		{"inv_1st", &t.Inv1st},
		{"inv_early_dlg", &t.InvEarlyDlg},
		{"inv_neg", &t.InvNeg},
		{"inv_established", &t.InvEstablished},
		{"inv_bye_seen", &t.InvByeSeen},
		{"inv_bye_repl", &t.InvByeRepl},
		{"inv_canceled", &t.InvCanceled},
	}
}

// ParseTimeouts reads a list like "inv_established=7200s,inv_neg=1m". A colon
// may stand for the equals sign. What is not named stays 0, the default.
func ParseTimeouts(s string) (Timeouts, error) {
	var t Timeouts
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		i := strings.IndexAny(item, "=:")
		if i < 0 {
			return Timeouts{}, fmt.Errorf("parse timeout %q: write STATE=DURATION, as in inv_neg=30s", item)
		}
		name, value := strings.TrimSpace(item[:i]), strings.TrimSpace(item[i+1:])
		if err := t.set(name, value); err != nil {
			return Timeouts{}, err
		}
	}
	return t, nil
}

func (t *Timeouts) set(name, value string) error {
	fields := t.fields()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
		if f.name != name {
			continue
		}
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("parse timeout %s: %q is no duration; write it as in 90s or 2h", name, value)
		}
		if d <= 0 {
			return fmt.Errorf("parse timeout %s: %s is not more than 0", name, value)
		}
		*f.value = d
		return nil
	}
	return fmt.Errorf("parse timeout: no state %q; the states are %s", name, strings.Join(names, ", "))
}
