package api

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// SIP as text: what a person wants to see of a message. This is no parser of
// calls, that one is in flow/sip; it takes apart what it is given, right or wrong,
// and says what is wrong.

// compact are the short names of header fields (RFC 3261 section 7.3.3, and the
// registry of the IANA).
var compact = map[string]string{
	"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition", "e": "Content-Encoding",
	"f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported", "l": "Content-Length", "m": "Contact",
	"n": "Identity-Info", "o": "Event", "r": "Refer-To", "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via",
	"x": "Session-Expires", "y": "Identity",
}

// Bounds of what is taken apart.
const (
	maxTreeHeaders  = 1000
	maxTreeMessages = 500
	maxFolded       = 16 << 10 // bytes of a value that goes on in further lines
)

// treeOf takes a message apart. Lines may end with CRLF or LF.
func treeOf(text string) *SIPTree {
	head, body := splitMessage(text)
	lines := strings.Split(strings.ReplaceAll(head, "\r\n", "\n"), "\n")
	t := &SIPTree{Start: lines[0], Body: body, Headers: []SIPHeader{}}
	for i, line := range lines[1:] {
		if n := len(t.Headers); n > 0 && line != "" && (line[0] == ' ' || line[0] == '\t') { // folded
			if v := &t.Headers[n-1].Value; len(*v) < maxFolded {
				*v += " " + strings.TrimSpace(line)
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			name, value = "", line
		}
		h := SIPHeader{Name: strings.TrimRight(name, " \t"), Value: strings.TrimSpace(value), Line: i + 2}
		h.Long = compact[strings.ToLower(h.Name)]
		if len(t.Headers) < maxTreeHeaders {
			t.Headers = append(t.Headers, h)
		}
	}
	return t
}

// splitMessage cuts a message at its empty line.
func splitMessage(text string) (head, body string) {
	crlf, lf := strings.Index(text, "\r\n\r\n"), strings.Index(text, "\n\n")
	switch {
	case crlf >= 0 && (lf < 0 || crlf < lf):
		return text[:crlf], text[crlf+4:]
	case lf >= 0:
		return text[:lf], text[lf+2:]
	}
	return strings.TrimRight(text, "\r\n"), ""
}

// get is the value of the first header field of a name, and whether there is one.
func (t *SIPTree) get(name string) (SIPHeader, bool) {
	for _, h := range t.Headers {
		if strings.EqualFold(h.full(), name) {
			return h, true
		}
	}
	return SIPHeader{}, false
}

func (h SIPHeader) full() string {
	if h.Long != "" {
		return h.Long
	}
	return h.Name
}

// cseq is the number of the CSeq, 0 where there is none.
func (t *SIPTree) cseq() uint32 {
	h, _ := t.get("CSeq")
	number, _, _ := strings.Cut(h.Value, " ")
	n, _ := strconv.ParseUint(number, 10, 32)
	return uint32(n)
}

// sdp is the session description of a message, if it is all of its body or one
// part of it.
func (t *SIPTree) sdp() string {
	h, _ := t.get("Content-Type")
	kind := strings.ToLower(h.Value)
	switch {
	case strings.HasPrefix(kind, "application/sdp"):
		return t.Body
	case strings.HasPrefix(kind, "multipart/"):
		if at := strings.Index(strings.ToLower(t.Body), "application/sdp"); at >= 0 {
			_, part := splitMessage(t.Body[at:])
			part, _, _ = strings.Cut(part, "\n--")
			return part
		}
	}
	return ""
}

var (
	requestLine = regexp.MustCompile(`^[A-Za-z0-9.!%*_+'~-]+ [^ ]+ SIP/\d+\.\d+$`)
	statusLine  = regexp.MustCompile(`^SIP/\d+\.\d+ [1-6]\d\d( .*)?$`)
	startInText = regexp.MustCompile(`(?m)^(?:SIP/2\.0 [1-6]\d\d|[A-Z]{3,12} [^ \r\n]+ SIP/2\.0)[^\n]*$`)
)

// messagesIn finds the messages of a text that somebody pasted: bare ones, one
// after the other, or with the marks that programs put before them.
func messagesIn(text string) []string {
	if !strings.Contains(text, "\n") { // one line with written-out line ends
		text = strings.NewReplacer(`\r\n`, "\r\n", `\n`, "\n").Replace(text)
	}
	starts := startInText.FindAllStringIndex(text, maxTreeMessages)
	if len(starts) == 0 {
		return []string{text}
	}
	var out []string
	for i, s := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		out = append(out, bounded(text[s[0]:end]))
	}
	return out
}

// bounded cuts a message off where its Content-Length says that it ends, if what
// is behind is no more than marks between messages.
func bounded(text string) string {
	head, body := splitMessage(text)
	t := treeOf(head)
	h, ok := t.get("Content-Length")
	if n, err := strconv.Atoi(h.Value); ok && err == nil && n >= 0 && n < len(body) {
		return text[:len(text)-len(body)+n]
	}
	return strings.TrimRight(text, "\r\n") + tail(body)
}

// tail is the line end that a message without a body or with one has.
func tail(body string) string {
	if strings.TrimSpace(body) == "" {
		return "\r\n\r\n"
	}
	return "\r\n"
}

// linter gathers what is wrong with a message.
type linter struct {
	tree *SIPTree
	out  []Lint
}

func (l *linter) say(line int, severity, rfc, format string, args ...any) {
	l.out = append(l.out, Lint{line, severity, fmt.Sprintf(format, args...), rfc})
}

// lint looks a message over against RFC 3261.
func lint(text string) (*SIPTree, []Lint) {
	l := &linter{tree: treeOf(text), out: []Lint{}}
	request := requestLine.MatchString(l.tree.Start)
	if !request && !statusLine.MatchString(l.tree.Start) {
		l.say(1, "error", "RFC 3261 7.1", "the first line is neither a request line nor a status line")
	} else if !strings.Contains(l.tree.Start, "SIP/2.0") {
		l.say(1, "error", "RFC 3261 7.1", "the version is not SIP/2.0")
	}
	if strings.Contains(text, "\n") && !strings.Contains(text, "\r\n") {
		l.say(1, "note", "RFC 3261 7", "lines end with LF alone, not CRLF (as copied text does)")
	}
	l.fields()
	l.required(request)
	l.values(request)
	l.length()
	return l.tree, l.out
}

// fields looks at each line of the header section by itself.
func (l *linter) fields() {
	for _, h := range l.tree.Headers {
		switch {
		case h.Name == "":
			l.say(h.Line, "error", "RFC 3261 7.3.1", "the line has no colon: it is no header field")
		case strings.Trim(h.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~") != "":
			l.say(h.Line, "error", "RFC 3261 25.1", "%q is no name of a header field", cut(h.Name, 40))
		}
		if len(h.Value) > 1024 {
			l.say(h.Line, "note", "", "the value of %s has %d bytes", h.full(), len(h.Value))
		}
		if strings.ContainsFunc(h.Value, func(r rune) bool { return r < 32 && r != '\t' || r == 127 }) {
			l.say(h.Line, "warning", "RFC 3261 25.1", "%s has control characters", h.full())
		}
	}
}

// once are the header fields that stand at most once.
var once = []string{"From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type", "Expires", "Date"}

func (l *linter) required(request bool) {
	must := []string{"Via", "From", "To", "Call-ID", "CSeq"}
	if request {
		must = append(must, "Max-Forwards")
	}
	for _, name := range must {
		if _, ok := l.tree.get(name); !ok {
			severity := "error"
			if name == "Max-Forwards" {
				severity = "warning"
			}
			l.say(1, severity, "RFC 3261 8.1.1", "%s is missing", name)
		}
	}
	for _, name := range once {
		n := 0
		for _, h := range l.tree.Headers {
			if strings.EqualFold(h.full(), name) {
				if n++; n == 2 {
					l.say(h.Line, "error", "RFC 3261 7.3.1", "%s stands more than once", name)
				}
			}
		}
	}
	method, _, _ := strings.Cut(l.tree.Start, " ")
	if _, ok := l.tree.get("Contact"); request && method == "INVITE" && !ok {
		l.say(1, "error", "RFC 3261 8.1.1.8", "an INVITE needs a Contact")
	}
}

func (l *linter) values(request bool) {
	if h, ok := l.tree.get("CSeq"); ok {
		number, method, _ := strings.Cut(h.Value, " ")
		if n, err := strconv.ParseUint(number, 10, 64); err != nil || n >= 1<<31 {
			l.say(h.Line, "error", "RFC 3261 8.1.1.5", "the number of CSeq is none, or 2^31 or more")
		}
		start, _, _ := strings.Cut(l.tree.Start, " ")
		if method = strings.TrimSpace(method); request && method != start {
			l.say(h.Line, "error", "RFC 3261 8.1.1.5", "CSeq names the method %q, the request is %q", cut(method, 40), cut(start, 40))
		}
	}
	if h, ok := l.tree.get("Via"); ok && !strings.Contains(h.Value, "branch=z9hG4bK") {
		l.say(h.Line, "warning", "RFC 3261 8.1.1.7", "the branch of Via does not begin with z9hG4bK")
	}
	if h, ok := l.tree.get("From"); ok && !strings.Contains(h.Value, "tag=") {
		l.say(h.Line, "error", "RFC 3261 8.1.1.3", "From has no tag")
	}
	if h, ok := l.tree.get("To"); ok && !request && !strings.Contains(h.Value, "tag=") && !strings.Contains(l.tree.Start, " 100") {
		l.say(h.Line, "error", "RFC 3261 8.2.6.2", "To of a response has no tag")
	}
	if h, ok := l.tree.get("Max-Forwards"); ok {
		if n, err := strconv.Atoi(h.Value); err != nil || n < 0 || n > 255 {
			l.say(h.Line, "error", "RFC 3261 20.22", "Max-Forwards is no number from 0 to 255")
		} else if n == 0 {
			l.say(h.Line, "warning", "RFC 3261 16.3", "Max-Forwards is 0: no proxy will send it on")
		}
	}
	if h, ok := l.tree.get("Call-ID"); ok && strings.ContainsAny(h.Value, " \t") {
		l.say(h.Line, "error", "RFC 3261 25.1", "Call-ID has blanks")
	}
}

func (l *linter) length() {
	body := len(l.tree.Body)
	h, ok := l.tree.get("Content-Length")
	n, err := strconv.Atoi(h.Value)
	switch {
	case !ok:
		l.say(1, "note", "RFC 3261 20.14", "there is no Content-Length: over TCP and TLS it must be there")
	case err != nil || n < 0:
		l.say(h.Line, "error", "RFC 3261 20.14", "Content-Length is no number")
	case n > body:
		l.say(h.Line, "error", "RFC 3261 18.3", "Content-Length says %d bytes, there are %d", n, body)
	}
	if _, typed := l.tree.get("Content-Type"); body > 0 && !typed && (!ok || n > 0) {
		l.say(1, "error", "RFC 3261 20.15", "there is a body, but no Content-Type")
	}
}

// parseSIP is the route of the parse lab.
func (q *request) parseSIP() error {
	if err := q.params().done(); err != nil {
		return err
	}
	text, err := q.text()
	if err != nil {
		return err
	}
	if strings.TrimSpace(text) == "" {
		return fail(codeBody, "there is no text: send SIP messages")
	}
	out := Parsed{Messages: []ParsedMessage{}}
	for _, m := range messagesIn(strings.ToValidUTF8(text, "\uFFFD")) {
		tree, found := lint(m)
		out.Messages = append(out.Messages, ParsedMessage{*tree, found})
	}
	return q.json(out)
}
