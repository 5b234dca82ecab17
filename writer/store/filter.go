package store

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ringside/flow/record"
)

// Filter chooses calls: those that meet every condition given. The zero value
// of a field is no condition.
type Filter struct {
	From, To int64 // Start in [From, To), ns since the epoch

	Scope Scope // what may be seen at all

	Caller Match // number of the caller
	Called Match // number of the called party
	Number Match // number of either

	Domain string // of either party, in any case
	CallID string // exact
	Agent  string // contained in the user agent of either party, in any case
	Codec  string // of a stream

	Addr       netip.Prefix // any address: signalling, SDP or RTP
	SignalAddr netip.Prefix // signalling address of either party
	CallerAddr netip.Prefix
	CalledAddr netip.Prefix
	MediaAddr  netip.Prefix // named by SDP, or sending or receiving RTP

	StatusMin, StatusMax uint16 // last final status; a lone StatusMin means up to 699
	Outcomes             []record.Outcome
	EndReasons           []record.EndReason
	Sensors              []uint16

	Flags    record.Flags // all of these set
	NotFlags record.Flags // none of these set

	MinDuration, MaxDuration   time.Duration // start to end, inclusive
	MinConnected, MaxConnected time.Duration // answer to end; only answered calls
	MinPDD, MaxPDD             time.Duration // only calls that rang or were answered

	MOSBelow, MOSAbove float64 // worst stream's MOS.LQ; only calls that have one
	LossAbove          float64 // worst stream's loss, per cent
	JitterAbove        float64 // worst stream's JitterMax, ms

	MinMessages, MaxMessages uint32 // SIP messages

	Tag string // a tag of the call, in any case
}

// Match is a condition on a number. Its zero value is none.
type Match struct {
	Value string
	Kind  MatchKind
}

// MatchKind says which part of a number a Match is about.
type MatchKind uint8

// Match kinds.
const (
	Exact MatchKind = iota
	Prefix
	Suffix
	Contains
)

// ParseMatch reads a number with '*' for anything at its start (suffix), its
// end (prefix) or both (contains). A backslash takes the next character as it
// is: `\*98` is the number *98.
func ParseMatch(s string) (Match, error) {
	var value strings.Builder
	var head, tail bool
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			value.WriteByte(s[i])
		case s[i] != '*':
			value.WriteByte(s[i])
		case i == 0:
			head = true
		case i == len(s)-1:
			tail = true
		default:
			return Match{}, fmt.Errorf(`parse number %q: '*' stands at the start or the end (write \* for the key)`, s)
		}
	}
	m := Match{Value: value.String()}
	if m.Value == "" && s != "" {
		if tail || head {
			return Match{}, nil // anything
		}
		return Match{}, errors.New("parse number: empty")
	}
	switch {
	case head && tail:
		m.Kind = Contains
	case head:
		m.Kind = Suffix
	case tail:
		m.Kind = Prefix
	}
	return m, nil
}

// ParseAddr reads an address or a prefix, such as 10.0.0.0/8.
func ParseAddr(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("parse address %q: %w", s, err)
		}
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("parse address %q: %w", s, err)
	}
	return netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
}

// ParseStatus reads a status (486), a class (4xx) or a range (400-499).
func ParseStatus(s string) (low, high uint16, err error) {
	bad := fmt.Errorf("parse status %q: write 486, 4xx or 400-499", s)
	number := func(s string) uint16 {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n < 100 || n > 699 {
			return 0
		}
		return uint16(n)
	}
	from, to, isRange := strings.Cut(s, "-")
	switch {
	case isRange:
		low, high = number(from), number(to)
	case len(s) == 3 && strings.EqualFold(s[1:], "xx"):
		low, high = number(s[:1]+"00"), number(s[:1]+"99")
	default:
		low = number(s)
		high = low
	}
	if low == 0 || high < low {
		return 0, 0, bad
	}
	return low, high, nil
}

// where is the filter as SQL. No value of it becomes part of the SQL text.
func (f *Filter) where() *where {
	w := new(where)
	f.whereTime(w)
	f.whereText(w)
	f.whereAddr(w)
	f.whereResult(w)
	f.whereFigures(w)
	w.scope(f.Scope, "sensor", []string{"caller_number", "called_number"}, []string{"caller_addr", "called_addr"})
	return w
}

func (f *Filter) whereTime(w *where) {
	w.times("start_at", f.From, f.To)
}

func (f *Filter) whereText(w *where) {
	const byTime = true // where an index is searched, Filter.accesses says so
	caller, called := numberColumn{"caller_number", "caller_reverse"}, numberColumn{"called_number", "called_reverse"}
	w.number(f.Caller, byTime, caller)
	w.number(f.Called, byTime, called)
	w.number(f.Number, byTime, caller, called)
	w.fold(f.Domain, "caller_domain", "called_domain")
	w.is("call_id", f.CallID)
	w.contains(f.Agent, "caller_agent", "called_agent")
	if f.Codec != "" {
		w.add(ofCall("stream", "orphan = 0 AND LOWER(x.codec) = LOWER(?)"), f.Codec)
	}
}

// ofCall is a condition on a child row of the call, which is x.
func ofCall(table, cond string) string {
	return "EXISTS (SELECT 1 FROM " + table + " x WHERE x.start_at = calls.start_at AND x.id = calls.id AND " + cond + ")"
}

func (f *Filter) whereAddr(w *where) {
	media := func(p netip.Prefix) (string, []any) {
		c, args := anyInside(p, "x.src_addr", "x.dst_addr")
		d, more := anyInside(p, "x.addr")
		return "(" + ofCall("stream", "x.orphan = 0 AND "+c) + " OR " + ofCall("call_media", d) + ")", append(args, more...)
	}
	if p := f.Addr; p.IsValid() {
		c, args := anyInside(p, "caller_addr", "called_addr")
		d, more := media(p)
		w.add("("+c+" OR "+d+")", append(args, more...)...)
	}
	if p := f.MediaAddr; p.IsValid() {
		c, args := media(p)
		w.add(c, args...)
	}
	w.inside(f.SignalAddr, "caller_addr", "called_addr")
	w.inside(f.CallerAddr, "caller_addr")
	w.inside(f.CalledAddr, "called_addr")
}

func (f *Filter) whereResult(w *where) {
	w.status("last_status", f.StatusMin, f.StatusMax)
	oneOf(w, "outcome", f.Outcomes, record.Outcome.String)
	oneOf(w, "end_reason", f.EndReasons, record.EndReason.String)
	w.sensors(f.Sensors)
	if f.Flags != 0 {
		w.add("flags & ? = ?", int64(f.Flags), int64(f.Flags))
	}
	if f.NotFlags != 0 {
		w.add("flags & ? = 0", int64(f.NotFlags))
	}
}

func (f *Filter) whereFigures(w *where) {
	span := func(column string, low, high time.Duration) {
		if low != 0 {
			w.add(column+" >= ?", int64(low))
		}
		if high != 0 {
			w.add(column+" <= ?", int64(high))
		}
	}
	span("duration", f.MinDuration, f.MaxDuration)
	span("connected", f.MinConnected, f.MaxConnected)
	span("pdd", f.MinPDD, f.MaxPDD)
	figure := func(cond string, v float64) {
		if v != 0 {
			w.add(cond, v)
		}
	}
	figure("mos_min < ?", f.MOSBelow)
	figure("mos_min > ?", f.MOSAbove)
	figure("loss_max > ?", f.LossAbove)
	figure("jitter_max > ?", f.JitterAbove)
	if f.Tag != "" {
		w.add(ofCall(noteTable.name, "x.tag = 1 AND x.body = ?"), strings.ToLower(f.Tag))
	}
	if f.MinMessages != 0 {
		w.add("messages_total >= ?", int64(f.MinMessages))
	}
	if f.MaxMessages != 0 {
		w.add("messages_total <= ?", int64(f.MaxMessages))
	}
}
