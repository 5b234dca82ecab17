// Package vq reads the voice quality reports that endpoints send at the end of
// a call, or during it (RFC 6035): bodies of type application/vq-rtcpxr, of
// PUBLISH and NOTIFY.
//
// A report is lines of NAME: KEY=VALUE KEY=VALUE …. Devices order, fold, space
// and spell them as they like, so a key is understood on whatever line it
// stands. Only the metrics of the reporter itself (LocalMetrics) are read; what
// it repeats of its peer's (RemoteMetrics), the peer reports better.
package vq

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ringside/flow/record"
)

// Bounds of one report, bytes.
const (
	maxBody   = 64 << 10
	maxCallID = 1024
	maxText   = 255
)

// Is reports whether a Content-Type is that of a report, in any case and with
// any parameters.
func Is(contentType []byte) bool {
	s, _, _ := strings.Cut(string(contentType[:min(len(contentType), maxText)]), ";")
	return strings.EqualFold(strings.TrimSpace(s), "application/vq-rtcpxr")
}

// Parse reads a body into r, all but Time, Sensor and Src, which are to be set
// before: ID is a hash of them too. body is not kept. After an error r is of no
// use.
func Parse(body []byte, r *record.QualityReport) error {
	if len(body) > maxBody {
		return fmt.Errorf("parse quality report: %d bytes are more than %d", len(body), maxBody)
	}
	p := parser{r: r, local: true}
	r.XR = record.XR{Reports: 1, RTT: -1, EndDelay: -1, MOSLQ: -1, MOSCQ: -1}
	for line := range strings.Lines(strings.ToValidUTF8(string(body), "\uFFFD")) {
		p.line(line)
	}
	switch {
	case r.Kind == "":
		return errors.New("parse quality report: it begins with no VQSessionReport, VQIntervalReport or VQAlertReport")
	case r.CallID == "":
		return errors.New("parse quality report: it names no call; a line CallID is missing")
	}
	r.ID = id(r)
	return nil
}

// id names a report for good: 63 bits of a hash of all that it says.
func id(r *record.QualityReport) int64 {
	r.ID = 0
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // the fields are plain, and the numbers finite
	}
	sum := sha256.Sum256(b)
	return int64(binary.BigEndian.Uint64(sum[:]) >> 1)
}

// parser reads the lines of a report.
type parser struct {
	r     *record.QualityReport
	local bool   // not within RemoteMetrics
	name  string // of the line, or of the one that it continues; lower case
}

// Names of lines with keys that are read. Those of others may mean anything.
var keyed = map[string]bool{
	"": true, "vqsessionreport": true, "vqintervalreport": true, "vqalertreport": true,
	"localmetrics": true, "remotemetrics": true, "localaddr": true, "remoteaddr": true,
	"timestamps": true, "sessiondesc": true, "jitterbuffer": true, "packetloss": true,
	"burstgaploss": true, "delay": true, "signal": true, "qualityest": true,
}

func (p *parser) line(line string) {
	text := strings.TrimSpace(line)
	name, value, named := strings.Cut(text, ":")
	name = strings.ToLower(strings.TrimSpace(name))
	switch {
	case strings.ContainsAny(name, "= \t\"<"):
		named = false // a colon in a value
	case strings.HasPrefix(name, "vq") && strings.HasSuffix(name, "report"):
		named = true // linphone leaves the colon out
	}
	if named {
		p.name = name
		p.begin(strings.TrimSpace(value))
		text = value
	} else if line[0] != ' ' && line[0] != '\t' {
		p.name = ""
	}
	if keyed[p.name] {
		p.keys(text)
	}
}

// begin takes the lines that are one value, or open a section.
func (p *parser) begin(value string) {
	r := p.r
	switch p.name {
	case "vqsessionreport":
		p.kind("session")
	case "vqintervalreport":
		p.kind("interval")
	case "vqalertreport":
		p.kind("alert")
	case "callid":
		r.CallID = cut(value, maxCallID)
	case "dialogid": // CallID;to-tag=…;from-tag=…
		if r.CallID == "" {
			value, _, _ = strings.Cut(value, ";")
			r.CallID = cut(strings.TrimSpace(value), maxCallID)
		}
	case "localid":
		r.LocalID = cut(value, maxText)
	case "remoteid":
		r.RemoteID = cut(value, maxText)
	case "localmetrics":
		p.local = true
	case "remotemetrics":
		p.local = false
	}
}

// kind keeps what the first line says.
func (p *parser) kind(k string) {
	if p.r.Kind == "" {
		p.r.Kind = k
	}
}

// keys reads KEY=VALUE …, with blanks, commas or semicolons between them; a
// value may be quoted.
func (p *parser) keys(s string) {
	for {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return
		}
		// Words before the key that have no value are none of ours.
		key = strings.TrimSpace(key)
		key = key[strings.LastIndexAny(key, " \t,;")+1:]
		var value string
		rest = strings.TrimLeft(rest, " \t")
		if strings.HasPrefix(rest, `"`) {
			value, s, _ = strings.Cut(rest[1:], `"`)
		} else {
			end := strings.IndexAny(rest, " \t,;\r\n")
			if end < 0 {
				end = len(rest)
			}
			value, s = rest[:end], rest[end:]
		}
		p.key(strings.ToUpper(key), value)
	}
}

// cut is s without what is beyond n bytes, and not within a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
