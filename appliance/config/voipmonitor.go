package config

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// theirText is what becomes of the keys of VoIPmonitor. A line that begins at
// its margin says it of all the keys in the indented lines below:
//
//	mapped: TEXT             a key here has the same name, or another one for it
//	mapped KEY: TEXT         the value goes to our key in another form (converted)
//	not needed: TEXT         it is done anyway, or in another way
//	not supported: TEXT      it has no effect; TEXT says why, and what to do instead
//	refused when on: TEXT    the same, of what must not be left undone by mistake
//
// Where TEXT of a mapped key is more than "the same", it is a remark.
//
//go:embed voipmonitor.txt
var theirText string

// theirs is what is known of a key of VoIPmonitor.
type theirs struct {
	name    string // as VoIPmonitor writes it
	verdict Verdict
	strict  bool   // refused unless it is off
	to      string // key of ours; empty: none
	text    string
}

// theirSection is what the table says of several keys at once.
type theirSection struct {
	theirs
	keys []string
}

// sections is the table in its order. That it is well formed is a test.
var sections = sync.OnceValue(func() []theirSection {
	var out []theirSection
	for n, l := range strings.Split(theirText, "\n") {
		switch {
		case strings.TrimSpace(l) == "" || l[0] == '#':
		case l[0] != ' ':
			out = append(out, theirSection{section(n+1, l), nil})
		default:
			s := &out[len(out)-1]
			s.keys = append(s.keys, strings.Fields(l)...)
		}
	}
	return out
})

// foreign is the keys of VoIPmonitor by their names as they are looked up.
var foreign = sync.OnceValue(func() map[string]theirs {
	out := map[string]theirs{}
	for _, s := range sections() {
		for _, key := range s.keys {
			t := s.theirs
			t.name = key
			out[name(key)] = t
		}
	}
	return out
})

// section reads a line that says what becomes of the keys below it.
func section(n int, l string) theirs {
	head, text, ok := strings.Cut(l, ": ")
	if !ok {
		panic(fmt.Sprintf("voipmonitor.txt:%d: no verdict", n))
	}
	switch to, mapped := strings.CutPrefix(head, "mapped"); {
	case mapped:
		return theirs{verdict: Mapped, to: strings.TrimSpace(to), text: text}
	case head == "not needed":
		return theirs{verdict: NotNeeded, text: text}
	case head == "not supported":
		return theirs{verdict: NotSupported, text: text}
	case head == "refused when on":
		return theirs{verdict: NotSupported, strict: true, text: text}
	}
	panic(fmt.Sprintf("voipmonitor.txt:%d: no verdict %q", n, head))
}

// converted makes the value of one of our keys of that of one of VoIPmonitor's.
// An empty one leaves our key as it is.
var converted = map[string]func(string) (string, error){
	"autocleanmingb":      gibibytes,
	"autocleanspoolmingb": gibibytes,
	"ssl_ipport":          keyOfServer,
}

func gibibytes(s string) (string, error) {
	if _, err := strconv.ParseFloat(s, 64); err != nil {
		return "", errors.New("write a number of GiB")
	}
	return s + "GiB", nil
}

// keyOfServer is the file with a server's key in "ADDRESS : PORT FILE [PASSWORD]".
func keyOfServer(s string) (string, error) {
	i := strings.Index(s, "/")
	for ; i >= 0; i++ { // the slash of a prefix has no blank before it
		if i == 0 || s[i-1] == ' ' || s[i-1] == '\t' {
			return strings.Fields(s[i:])[0], nil
		}
		next := strings.Index(s[i+1:], "/")
		if next < 0 {
			break
		}
		i += next
	}
	return "", nil
}

// remark is what is said behind the value of a mapped key.
func (f theirs) remark() string {
	if f.text == "" || f.text == "the same" {
		return ""
	}
	return "; " + f.text
}

// isOff reports whether a value says that something is not wanted.
func isOff(s string) bool {
	switch strings.ToLower(s) {
	case "", "no", "n", "0", "false", "off", "disabled", none, "-1", "0.0.0.0":
		return true
	}
	return false
}

// foreign takes a line with a key of VoIPmonitor that is none of ours.
func (l *loading) foreign(n line, f theirs) {
	l.theirs = true
	off := isOff(n.value)
	switch {
	case f.verdict == Mapped:
		l.convert(n, f)
	case f.verdict == NotSupported && off:
		l.say(n.origin, n.key, NotNeeded, "it is off, and there is no such thing here")
	case f.strict:
		l.say(n.origin, n.key, Refused, f.text)
	default:
		l.say(n.origin, n.key, f.verdict, f.text)
	}
}

// convert sets a key of ours from one of VoIPmonitor's with another meaning of
// its values.
func (l *loading) convert(n line, f theirs) {
	k := names()[name(f.to)]
	value, err := converted[name(f.name)](n.value)
	if err == nil && value == "" {
		l.say(n.origin, n.key, NotNeeded, f.text)
		return
	}
	if err == nil {
		value, err = l.set(n.origin, k, value)
	}
	if err != nil {
		l.say(n.origin, n.key, Refused, err.Error())
		return
	}
	l.say(n.origin, n.key, Mapped, k.Name+" = "+value+f.remark())
}

// checkTheirs says where a configuration that was written for VoIPmonitor
// leaves something to a default, and that is another one here.
func (l *loading) checkTheirs() {
	if !l.theirs {
		return
	}
	s := &l.config.Spool
	for _, d := range []struct {
		key, text string
		differs   bool
	}{
		{"savesip", "SIP of all calls is stored, and VoIPmonitor stores none by itself", s.Dir != "" && s.Rules == ""},
		{"savertp", "RTP of all calls is stored, and VoIPmonitor stores none by itself", s.Dir != "" && s.Rules == ""},
		{"cleandatabase", fmt.Sprintf("records are removed after %d days, and VoIPmonitor keeps them", l.config.Store.Days), true},
		{"mysqlhost", "records go to " + l.config.Store.Path + ", and VoIPmonitor takes a server on this machine by itself", l.config.Store.Kind() == "sqlite"},
	} {
		if d.differs && !l.given(d.key) {
			l.say(origin{file: l.report.Files[0]}, d.key, Warning, "it is not written: "+d.text+". Write what you want")
		}
	}
}
