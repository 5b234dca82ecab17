package api

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

// maxCompletions is how many are worth showing.
const maxCompletions = 40

// complete lists what may stand at a place of an expression, in characters: the
// names of fields, the words that join them, or the values of a field.
func (l *language[T]) complete(src string, pos int) []Completion {
	at := bytesOf(src, pos)
	from := max(strings.LastIndexAny(src[:at], " \t\r\n("), -1) + 1
	to := at
	if i := strings.IndexAny(src[at:], " \t\r\n)"); i >= 0 {
		to += i
	} else {
		to = len(src)
	}
	piece := src[from:at]
	for i := range piece {
		op := operatorAt(piece[i:])
		if op == "" {
			continue
		}
		f := l.field(piece[:i])
		if f == nil {
			return []Completion{}
		}
		begin := i + len(op)
		if comma := strings.LastIndexAny(piece[begin:], ",|"); comma >= 0 {
			begin += comma + 1
		}
		return f.completeValue(src, from+begin, at, to)
	}
	return l.completeName(src, from, at, to)
}

func (f *field[T]) completeValue(src string, from, at, to int) []Completion {
	typed := strings.ToLower(src[from:at])
	if comma := strings.IndexAny(src[at:to], ",|"); comma >= 0 {
		to = at + comma
	}
	out := []Completion{}
	for _, v := range f.values {
		if strings.HasPrefix(strings.ToLower(v), typed) && len(out) < maxCompletions {
			out = append(out, Completion{v, f.help, characters(src, from), characters(src, to)})
		}
	}
	if len(out) == 0 && typed == "" && f.sample != "" {
		out = append(out, Completion{f.sample, f.help, characters(src, from), characters(src, to)})
	}
	return out
}

func (l *language[T]) completeName(src string, from, at, to int) []Completion {
	typed := strings.ToLower(src[from:at])
	out := []Completion{}
	add := func(text, help string) {
		if len(out) < maxCompletions {
			out = append(out, Completion{text, help, characters(src, from), characters(src, to)})
		}
	}
	for _, f := range l.fields {
		names := append([]string{f.name}, f.also...)
		for _, n := range names {
			if strings.HasPrefix(n, typed) {
				op := ":"
				if f.compares() && len(f.values) == 0 {
					op = "<"
					if f.name != "mos" {
						op = ">"
					}
				}
				add(f.name+op, f.help)
				break
			}
		}
	}
	for _, k := range []struct{ word, help string }{
		{"not ", "what does not meet the next condition"}, {"and ", "both conditions"}, {"or ", "one of the conditions"},
	} {
		if typed != "" && strings.HasPrefix(k.word, typed) || typed == "" && k.word == "not " || typed == "" && strings.TrimSpace(src[:from]) != "" {
			add(k.word, k.help)
		}
	}
	return out
}

// bytesOf turns a place in characters into one in bytes.
func bytesOf(s string, chars int) int {
	for i := range s {
		if chars == 0 {
			return i
		}
		chars--
	}
	return len(s)
}

func characters(s string, bytes int) int { return utf8.RuneCountInString(s[:bytes]) }

var sipMethods = []string{"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER", "MESSAGE", "UPDATE"}

// sipFields is what can be asked of a message.
var sipFields = &language[*SIPMessage]{
	bare: func(word string) string {
		for _, m := range sipMethods {
			if strings.EqualFold(m, word) {
				return "method"
			}
		}
		return bareWord(word)
	},
	fields: []field[*SIPMessage]{
		{name: "method", help: "request method, or that of the CSeq of a response", sample: "INVITE", values: sipMethods,
			compile: anyOf(func(m *SIPMessage) []string { return []string{m.Method} })},
		{name: "status", also: []string{"code"}, help: "status of a response", ops: ordered, sample: "4xx",
			values: []string{"1xx", "2xx", "3xx", "4xx", "5xx", "6xx"}, compile: statuses(func(m *SIPMessage) uint16 { return m.Status })},
		{name: "from", also: []string{"caller"}, help: "user part of From", sample: "+4930*",
			compile: numbers(func(m *SIPMessage) []string { return []string{m.From} })},
		{name: "to", also: []string{"called"}, help: "user part of To", sample: "+4930*",
			compile: numbers(func(m *SIPMessage) []string { return []string{m.To} })},
		{name: "number", help: "user part of either", sample: "*1234",
			compile: numbers(func(m *SIPMessage) []string { return []string{m.From, m.To} })},
		{name: "callid", also: []string{"call_id", "call-id"}, help: "Call-ID", sample: "a84b4c76e66710@example.org",
			compile: exactly(func(m *SIPMessage) string { return m.CallID })},
		{name: "ip", also: []string{"addr"}, help: "either address", sample: "10.0.0.0/8",
			compile: addresses(func(m *SIPMessage) []netip.AddrPort { return []netip.AddrPort{m.Src, m.Dst} })},
		{name: "src", help: "address of the sender", sample: "10.0.0.1",
			compile: addresses(func(m *SIPMessage) []netip.AddrPort { return []netip.AddrPort{m.Src} })},
		{name: "dst", help: "address of the receiver", sample: "10.0.0.1",
			compile: addresses(func(m *SIPMessage) []netip.AddrPort { return []netip.AddrPort{m.Dst} })},
		{name: "transport", help: "what carried it", sample: "TLS", values: []string{"UDP", "TCP", "TLS", "WS", "WSS", "SCTP"},
			compile: anyOf(func(m *SIPMessage) []string { return []string{m.Transport} })},
		{name: "interface", help: "where it was captured", sample: "eth1",
			compile: anyOf(func(m *SIPMessage) []string { return []string{m.Interface} })},
		{name: "text", help: "anywhere in the message", sample: "snom",
			compile: containing(func(m *SIPMessage) []string { return []string{m.Text} })},
	},
}
