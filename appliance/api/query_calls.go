package api

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"ringside/flow/record"
	"ringside/writer/store"
)

// facts are a call as conditions see it. The whole record is read only where a
// condition is about what lists do not have.
type facts struct {
	row  *store.Row
	load func() *record.Call // may be nil, and may give nil: the row is all there is
	call *record.Call
}

func (f *facts) whole() *record.Call {
	if f.call == nil {
		if f.load != nil {
			f.call = f.load()
		}
		if f.call == nil {
			f.call = &f.row.Call
		}
	}
	return f.call
}

func (f *facts) signalling() []netip.AddrPort {
	return []netip.AddrPort{f.row.Caller.Addr, f.row.Called.Addr}
}

func (f *facts) media() (out []netip.AddrPort) {
	c := f.whole()
	for i := range c.Streams {
		out = append(out, c.Streams[i].Src, c.Streams[i].Dst)
	}
	for i := range c.Media {
		out = append(out, c.Media[i].Addr)
	}
	return out
}

func (f *facts) codecs() (out []string) {
	c := f.whole()
	for i := range c.Streams {
		out = append(out, c.Streams[i].Codec)
	}
	return out
}

func optional[N any](p *N) (v N, ok bool) {
	if p == nil {
		return v, false
	}
	return *p, true
}

func spanned(p *int64) (time.Duration, bool) {
	v, ok := optional(p)
	return time.Duration(v), ok
}

const ordered = "<>"

var commonCodecs = []string{"PCMU", "PCMA", "G722", "G729", "opus", "GSM", "AMR", "AMR-WB", "iLBC", "EVS", "speex", "telephone-event"}

// callFields is what can be asked of a call. now is for times before it.
func callFields(now func() time.Time) *language[*facts] {
	type F = *facts
	moment := func(s string) (int64, error) { return parseTime(s, now()) }
	texts := func(get func(*store.Row) []string) func(F) []string {
		return func(f F) []string { return get(f.row) }
	}
	return &language[*facts]{bare: bareWord, fields: []field[*facts]{
		{name: "caller", also: []string{"from"}, help: "number of the caller", sample: "+4930*",
			compile: numbers(texts(func(r *store.Row) []string { return []string{r.Caller.Number} }))},
		{name: "called", also: []string{"callee", "to"}, help: "number of the called party", sample: "+4930*",
			compile: numbers(texts(func(r *store.Row) []string { return []string{r.Called.Number} }))},
		{name: "number", help: "number of either party", sample: "*1234",
			compile: numbers(texts(func(r *store.Row) []string { return []string{r.Caller.Number, r.Called.Number} }))},
		{name: "domain", help: "domain of either party", sample: "example.org",
			compile: anyOf(texts(func(r *store.Row) []string { return []string{r.Caller.Domain, r.Called.Domain} }))},
		{name: "name", help: "in the display name of either party", sample: "smith",
			compile: containing(texts(func(r *store.Row) []string { return []string{r.Caller.Name, r.Called.Name} }))},
		{name: "agent", also: []string{"ua"}, help: "in the user agent of either party", sample: "snom",
			compile: containing(texts(func(r *store.Row) []string { return []string{r.Caller.Agent, r.Called.Agent} }))},
		{name: "callid", also: []string{"call_id", "call-id"}, help: "SIP Call-ID", sample: "a84b4c76e66710@example.org",
			compile: exactly(func(f F) string { return f.row.CallID })},
		{name: "ip", also: []string{"addr", "address"}, help: "any address of signalling or media", sample: "10.0.0.0/8",
			compile: addresses(func(f F) []netip.AddrPort { return append(f.signalling(), f.media()...) })},
		{name: "signal_ip", also: []string{"signal_addr"}, help: "signalling address of either party", sample: "10.0.0.0/8",
			compile: addresses(F.signalling)},
		{name: "caller_ip", also: []string{"caller_addr"}, help: "signalling address of the caller", sample: "10.0.0.1",
			compile: addresses(func(f F) []netip.AddrPort { return f.signalling()[:1] })},
		{name: "called_ip", also: []string{"called_addr"}, help: "signalling address of the called party", sample: "10.0.0.1",
			compile: addresses(func(f F) []netip.AddrPort { return f.signalling()[1:] })},
		{name: "media_ip", also: []string{"media_addr"}, help: "address of media", sample: "10.0.0.0/8",
			compile: addresses(F.media)},
		{name: "status", also: []string{"code"}, help: "last final status", ops: ordered, sample: "4xx",
			values: []string{"2xx", "3xx", "4xx", "5xx", "6xx"}, compile: statuses(func(f F) uint16 { return f.row.LastStatus })},
		{name: "outcome", help: "what became of it", sample: "busy", values: namesOf(record.Partial),
			compile: known(namesOf(record.Partial), texts(func(r *store.Row) []string { return []string{r.Outcome.String()} }))},
		{name: "end", help: "why it ended", sample: "bye", values: namesOf(record.EndEvicted),
			compile: known(namesOf(record.EndEvicted), texts(func(r *store.Row) []string { return []string{r.EndReason.String()} }))},
		{name: "flag", help: "something that is true of it", sample: "one-way", values: flagNames,
			compile: known(flagNames, texts(func(r *store.Row) []string { return r.Flags.Names() }))},
		{name: "hungup", help: "who hung up", sample: "caller", values: namesOf(record.SideCalled),
			compile: known(namesOf(record.SideCalled), texts(func(r *store.Row) []string { return []string{r.HungUp.String()} }))},
		{name: "transport", help: "what carried its first message", sample: "TLS", values: namesOf(record.SCTP),
			compile: known(namesOf(record.SCTP), texts(func(r *store.Row) []string { return []string{r.Transport.String()} }))},
		{name: "codec", help: "codec of a stream", sample: "PCMA", values: commonCodecs, compile: anyOf(F.codecs)},
		{name: "start", also: []string{"time"}, help: "when it began", ops: ordered, sample: "-2h",
			compile: compared(moment, func(f F) (int64, bool) { return f.row.Start, true })},
		{name: "duration", help: "from its start to its end", ops: ordered, sample: "30s",
			compile: compared(parseSpan, func(f F) (time.Duration, bool) { return time.Duration(f.row.Duration), true })},
		{name: "connected", help: "from the answer to its end", ops: ordered, sample: "30s",
			compile: compared(parseSpan, func(f F) (time.Duration, bool) { return spanned(f.row.Connected) })},
		{name: "pdd", help: "post-dial delay", ops: ordered, sample: "5s",
			compile: compared(parseSpan, func(f F) (time.Duration, bool) { return spanned(f.row.PDD) })},
		{name: "mos", help: "MOS of the worst stream", ops: ordered, sample: "3.5",
			compile: compared(parseFloat, func(f F) (float64, bool) { return optional(f.row.MOSMin) })},
		{name: "loss", help: "packet loss of the worst stream, per cent", ops: ordered, sample: "5",
			compile: compared(parseFloat, func(f F) (float64, bool) { return optional(f.row.LossMax) })},
		{name: "jitter", help: "greatest jitter of a stream, ms", ops: ordered, sample: "30",
			compile: compared(parseFloat, func(f F) (float64, bool) { return optional(f.row.JitterMax) })},
		{name: "streams", help: "RTP streams", ops: ordered, sample: "2",
			compile: compared(parseWhole, func(f F) (int64, bool) { return int64(f.row.StreamCount), true })},
		{name: "messages", help: "SIP messages", ops: ordered, sample: "20",
			compile: compared(parseWhole, func(f F) (int64, bool) { return int64(f.row.MessagesTotal), true })},
		{name: "cause", help: "Q.850 cause", ops: ordered, sample: "16",
			compile: compared(parseWhole, func(f F) (int64, bool) { return int64(f.row.Q850Cause), f.row.Q850Cause != 0 })},
		{name: "vlan", help: "VLAN of its first message", ops: ordered, sample: "100",
			compile: compared(parseWhole, func(f F) (int64, bool) { return int64(f.row.VLAN), f.row.VLAN >= 0 })},
		{name: "sensor", help: "id of the sensor", sample: "1",
			compile: compared(parseWhole, func(f F) (int64, bool) { return int64(f.row.Sensor), true })},
	}}
}

// bareWord is the field that a word alone is a value of.
func bareWord(word string) string {
	if _, err := store.ParseAddr(word); err == nil && strings.ContainsAny(word, ".:") {
		return "ip"
	}
	if strings.ContainsRune(word, '@') {
		return "callid"
	}
	return "number"
}

// narrow puts into a filter of the store what the store can look for, and returns
// what is left to be asked of each call, nil if nothing is. What the filter asks
// for already stays.
func narrow(e *expression[*facts], f *store.Filter, now time.Time) func(*facts) bool {
	left := e.rest
	for _, t := range e.terms {
		if !push(t, f, now) {
			left = append(left, t.match)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return func(c *facts) bool {
		for _, m := range left {
			if !m(c) {
				return false
			}
		}
		return true
	}
}

// push reports whether it could say a condition in a filter of the store, with
// exactly the same meaning, in a place that is not taken.
func push(t term[*facts], f *store.Filter, now time.Time) bool {
	one := t.values[0]
	if t.negate {
		if t.field.name != "flag" {
			return false
		}
		for _, v := range t.values { // none of them
			bit, _ := parseFlag(v)
			f.NotFlags |= bit
		}
		return true
	}
	switch t.field.name {
	case "outcome":
		return pushList(&f.Outcomes, t.values, named[record.Outcome])
	case "end":
		return pushList(&f.EndReasons, t.values, named[record.EndReason])
	case "sensor":
		return pushList(&f.Sensors, t.values, parseSensor)
	}
	if len(t.values) > 1 {
		return false
	}
	switch t.field.name {
	case "caller":
		return pushOne(&f.Caller, one, store.ParseMatch)
	case "called":
		return pushOne(&f.Called, one, store.ParseMatch)
	case "number":
		return pushOne(&f.Number, one, store.ParseMatch)
	case "domain":
		return pushText(&f.Domain, one)
	case "agent":
		return pushText(&f.Agent, one)
	case "callid":
		return pushText(&f.CallID, one)
	case "codec":
		return pushText(&f.Codec, one)
	case "ip":
		return pushOne(&f.Addr, one, store.ParseAddr)
	case "signal_ip":
		return pushOne(&f.SignalAddr, one, store.ParseAddr)
	case "caller_ip":
		return pushOne(&f.CallerAddr, one, store.ParseAddr)
	case "called_ip":
		return pushOne(&f.CalledAddr, one, store.ParseAddr)
	case "media_ip":
		return pushOne(&f.MediaAddr, one, store.ParseAddr)
	case "flag":
		bit, err := parseFlag(one)
		f.Flags |= bit
		return err == nil
	}
	return pushOrder(t.field.name, t.op, one, f, now)
}

// pushOrder is push of what compares.
func pushOrder(name, op, value string, f *store.Filter, now time.Time) bool {
	number, _ := parseFloat(value)
	switch name {
	case "status":
		if op != ":" || f.StatusMin != 0 || f.StatusMax != 0 {
			return false
		}
		low, high, err := store.ParseStatus(value)
		f.StatusMin, f.StatusMax = low, high
		return err == nil
	case "start":
		return pushStart(op, value, f, now)
	case "duration":
		return pushSpan(&f.MinDuration, &f.MaxDuration, op, value)
	case "connected":
		return pushSpan(&f.MinConnected, &f.MaxConnected, op, value)
	case "pdd":
		return pushSpan(&f.MinPDD, &f.MaxPDD, op, value)
	case "mos":
		return op == "<" && pushFigure(&f.MOSBelow, number) || op == ">" && pushFigure(&f.MOSAbove, number)
	case "loss":
		return op == ">" && pushFigure(&f.LossAbove, number)
	case "jitter":
		return op == ">" && pushFigure(&f.JitterAbove, number)
	case "messages":
		return pushCount(&f.MinMessages, &f.MaxMessages, op, int64(number))
	}
	return false
}

func pushText(to *string, v string) bool {
	if *to != "" {
		return false
	}
	*to = v
	return true
}

func pushOne[V comparable](to *V, s string, parse func(string) (V, error)) bool {
	var none V
	v, err := parse(s)
	if err != nil || *to != none || v == none {
		return false
	}
	*to = v
	return true
}

func pushList[V any](to *[]V, values []string, parse func(string) (V, error)) bool {
	if len(*to) > 0 {
		return false
	}
	var list []V
	for _, s := range values {
		v, err := parse(s)
		if err != nil {
			return false
		}
		list = append(list, v)
	}
	*to = list
	return true
}

// pushStart bounds the start, which the filter's [From, To) may do already.
func pushStart(op, value string, f *store.Filter, now time.Time) bool {
	at, err := parseTime(value, now)
	if err != nil {
		return false
	}
	from, to := f.From, f.To
	switch op {
	case ">=":
		from = max(from, at)
	case ">":
		from = max(from, at+1)
	case "<", "<=":
		if op == "<=" {
			at++
		}
		if to == 0 || at < to {
			to = at
		}
	default:
		return false
	}
	f.From, f.To = from, to
	return true
}

// pushSpan is for bounds that are inclusive, and no bound if zero.
func pushSpan(low, high *time.Duration, op, value string) bool {
	d, err := parseSpan(value)
	if err != nil {
		return false
	}
	switch op {
	case ">":
		d++
	case "<":
		d--
	}
	switch {
	case d <= 0:
		return false
	case op[0] == '>' && *low == 0:
		*low = d
	case op[0] == '<' && *high == 0:
		*high = d
	default:
		return false
	}
	return true
}

func pushFigure(to *float64, v float64) bool {
	if *to != 0 || v == 0 {
		return false
	}
	*to = v
	return true
}

func pushCount(low, high *uint32, op string, n int64) bool {
	switch op {
	case ">":
		n++
	case "<":
		n--
	}
	switch {
	case n <= 0 || n > 1<<31:
		return false
	case op[0] == '>' && *low == 0:
		*low = uint32(n)
	case op[0] == '<' && *high == 0:
		*high = uint32(n)
	default:
		return false
	}
	return true
}

func parseSensor(s string) (uint16, error) {
	n, err := parseWhole(s)
	if err != nil || n < 0 || n > 65535 {
		return 0, fmt.Errorf("%q is no sensor: a sensor is a number from 0 to 65535", s)
	}
	return uint16(n), nil
}
