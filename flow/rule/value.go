package rule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringside/flow/record"
)

// term reads one condition.
func (c *cursor) term() (term, error) {
	t := term{not: c.take("not")}
	w, err := c.word("a condition, such as called 112")
	if err != nil {
		return t, err
	}
	k := slices.IndexFunc(kinds[:], func(k struct{ word, about string }) bool { return strings.EqualFold(k.word, w.text) })
	if k < 0 || !w.bare {
		var words []string
		for _, k := range kinds {
			words = append(words, k.word)
		}
		return t, c.fail(w.at, "no condition %q: there are %s", w.text, strings.Join(words, ", "))
	}
	switch t.kind = kind(k); t.kind {
	case kHeader:
		return t, c.header(&t)
	case kMOS, kLoss, kJitter:
		if t.not {
			return t, c.fail(w.at, "a rule comes true when a call turns bad: write no not before %s", w.text)
		}
		return t, c.quality(&t, w)
	}
	return t, c.values(&t, c.value)
}

// values reads one value after the other.
func (c *cursor) values(t *term, read func(*term) error) error {
	for {
		if err := read(t); err != nil {
			return err
		}
		if !c.take("|") {
			return nil
		}
	}
}

// compact are the short names of header fields (RFC 3261 section 7.3.3 and
// others).
var compact = map[string]byte{
	"accept-contact": 'a', "allow-events": 'u', "call-id": 'i', "contact": 'm', "content-encoding": 'e',
	"content-length": 'l', "content-type": 'c', "event": 'o', "from": 'f', "identity": 'y', "refer-to": 'r',
	"referred-by": 'b', "reject-contact": 'j', "request-disposition": 'd', "session-expires": 'x',
	"subject": 's', "supported": 'k', "to": 't', "via": 'v',
}

func (c *cursor) header(t *term) error {
	w, err := c.word("the name of a header, such as X-Tenant")
	if err != nil {
		return err
	}
	if strings.ContainsFunc(w.text, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`:*\"`, r) }) || w.text == "" {
		return c.fail(w.at, "%q is no name of a header: write one such as X-Tenant, without a colon", w.text)
	}
	t.name = lower(w.text)
	t.short = compact[t.name]
	switch {
	case c.take("exists"):
		return nil
	case c.take("is"):
		return c.values(t, c.value)
	case c.take("contains"):
		return c.values(t, func(t *term) error {
			at := c.at()
			if err := c.value(t); err != nil {
				return err
			}
			p := &t.texts[len(t.texts)-1]
			if p.head || p.tail {
				return c.fail(at, "contains needs no '*': leave it out, or write is")
			}
			p.head, p.tail = true, true
			return nil
		})
	}
	return c.fail(c.at(), "write exists, is or contains behind the name of the header")
}

// units are those of quality, with the most that makes sense.
var units = map[kind]struct {
	sign, unit string
	most       float64
}{kMOS: {"<", "", 5}, kLoss: {">", "%", 100}, kJitter: {">", "ms", 10_000}}

func (c *cursor) quality(t *term, w token) error {
	u := units[t.kind]
	if !c.take(u.sign) {
		return c.fail(c.at(), "a rule comes true when a call turns bad: write %s %s and a number", w.text, u.sign)
	}
	n, err := c.word("a number")
	if err != nil {
		return err
	}
	digits := n.text
	if u.unit != "" {
		if digits = strings.TrimSuffix(digits, u.unit); digits == n.text {
			c.take(u.unit)
		}
	}
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(v >= 0 && v <= u.most) {
		return c.fail(n.at, "%q is no limit: write a number from 0 to %g%s", n.text, u.most, u.unit)
	}
	t.limit = v
	return nil
}

// value reads one value of a condition.
func (c *cursor) value(t *term) error {
	w, err := c.word("what " + kinds[t.kind].about + " is")
	if err != nil {
		return err
	}
	if w.is("or") || w.is("not") {
		return c.fail(w.at, "write a value before %s, or put it into quotes", w.text)
	}
	switch t.kind {
	case kAddress, kCallerAddress, kCalledAddress:
		n, ok := parsePrefix(w.text)
		if !ok {
			return c.fail(w.at, "%q is no address: write one such as 10.0.0.0/8 or 2001:db8::1", w.text)
		}
		t.nets = append(t.nets, n)
	case kSensor, kInterface:
		return c.span(t, w, 0, 65535)
	case kVLAN:
		if w.is("none") {
			t.nums = append(t.nums, span{-1, -1})
			return nil
		}
		return c.span(t, w, 0, 4095)
	case kStatus:
		if len(w.text) == 3 && strings.EqualFold(w.text[1:], "xx") && w.text[0] >= '1' && w.text[0] <= '6' {
			class := int32(w.text[0]-'0') * 100
			t.nums = append(t.nums, span{class, class + 99})
			return nil
		}
		return c.span(t, w, 100, 699)
	case kDirection:
		return c.name(t, w, directions)
	case kOutcome:
		return c.name(t, w, outcomes)
	case kTime:
		return c.hours(t, w)
	default:
		p, err := parsePattern(w.text, t.kind == kDomain || t.kind == kAgent || t.kind == kHeader)
		if err != nil {
			return c.fail(w.at, "%s", err)
		}
		t.texts = append(t.texts, p)
	}
	return nil
}

// outcomes are the names of that condition's values: those of records, of which
// the first one is none.
var outcomes = func() []string {
	var out []string
	for _, o := range record.Outcomes() {
		out = append(out, o.String())
	}
	out[record.OutcomeUnknown] = ""
	return out
}()

func (c *cursor) name(t *term, w token, names []string) error {
	i := slices.Index(names, strings.ToLower(w.text))
	if i < 0 || w.text == "" {
		there := slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == "" })
		return c.fail(w.at, "no %s %q: there are %s", kinds[t.kind].word, w.text, strings.Join(there, ", "))
	}
	t.set |= 1 << i
	return nil
}

func (c *cursor) span(t *term, w token, least, most int32) error {
	from, to, isRange := strings.Cut(w.text, "-")
	low, err1 := strconv.ParseUint(from, 10, 16)
	high, err2 := low, error(nil)
	if isRange {
		high, err2 = strconv.ParseUint(to, 10, 16)
	}
	s := span{int32(low), int32(high)}
	if err1 != nil || err2 != nil || s.low < least || s.high > most || s.low > s.high {
		return c.fail(w.at, "%q is no %s: write a number from %d to %d, or a range such as %d-%d", w.text, kinds[t.kind].word, least, most, least+1, least+9)
	}
	t.nums = append(t.nums, s)
	return nil
}

var dayNames = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// hours reads days, hours, or days and hours.
func (c *cursor) hours(t *term, w token) error {
	h := hours{first: time.Monday, last: time.Sunday, to: day}
	days := h.days(w.text)
	if days {
		if len(c.tokens) == 0 || !c.tokens[0].bare || c.tokens[0].is("or") {
			t.times = append(t.times, h)
			return nil
		}
		w, c.tokens = c.tokens[0], c.tokens[1:]
	}
	if !h.clock(w.text) {
		return c.fail(w.at, "%q is no time: write days, hours, or both, such as Mon-Fri 08:00-18:00", w.text)
	}
	t.times = append(t.times, h)
	return nil
}

func (h *hours) days(s string) bool {
	from, to, isRange := strings.Cut(s, "-")
	named := func(s string) int {
		return slices.IndexFunc(dayNames, func(d string) bool { return strings.EqualFold(d, s) })
	}
	first := named(from)
	last := first
	if isRange {
		last = named(to)
	}
	if first < 0 || last < 0 {
		return false
	}
	h.first, h.last = time.Weekday(first), time.Weekday(last)
	return true
}

func (h *hours) clock(s string) bool {
	from, to, _ := strings.Cut(s, "-")
	low, ok1 := minutes(from)
	high, ok2 := minutes(to)
	if !ok1 || !ok2 || low == high || low == day {
		return false
	}
	h.from, h.to = low, high
	return true
}

// minutes reads 08:30, and 24:00 for the end of a day.
func minutes(s string) (int, bool) {
	var hour, minute int
	if _, err := fmt.Sscanf(s, "%d:%d", &hour, &minute); err != nil || fmt.Sprintf("%02d:%02d", hour, minute) != s {
		return 0, false
	}
	m := 60*hour + minute
	return m, hour >= 0 && minute >= 0 && minute < 60 && m <= day
}
