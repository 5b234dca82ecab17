package api

import (
	"bytes"
	"regexp"

	"ringside/appliance/auth"
)

// Keys of media stand in session descriptions: a=crypto (RFC 4568 section 9.1),
// a=key-mgmt (RFC 4567 section 3) and k= (RFC 4566 section 5.12). With them what
// was said can be heard, so they are for those who may hear.

var keyMaterial = []*regexp.Regexp{
	regexp.MustCompile(`(?i)inline:[ \t]*([A-Za-z0-9+/=_-]+)`),
	regexp.MustCompile(`(?i)^a=key-mgmt:[ \t]*[^ \t]+[ \t]+(.+)$`),
	regexp.MustCompile(`(?i)^k=[a-z0-9]+:(.+)$`),
}

// HideKeys crosses out the keys of media in a SIP message, or a part of one, in
// place: what stays has the same length.
func HideKeys(message []byte) {
	for first := true; len(message) > 0; first = false {
		line, rest, _ := bytes.Cut(message, []byte("\n"))
		message = rest
		// A part may begin within a line. All others of a description are x=….
		if !first && (len(line) < 2 || line[1] != '=') {
			continue
		}
		line = bytes.TrimRight(line, "\r")
		for _, re := range keyMaterial {
			for _, at := range re.FindAllSubmatchIndex(line, -1) {
				for i := at[2]; i < at[3]; i++ {
					line[i] = 'x'
				}
			}
		}
	}
}

// readable is the text of a message as the caller may read it.
func (q *request) readable(text string) string {
	if q.id.Can(auth.AudioRead) {
		return text
	}
	b := []byte(text)
	HideKeys(b)
	return string(b)
}
