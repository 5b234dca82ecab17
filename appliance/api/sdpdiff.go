package api

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of a description: hostile ones have many lines.
const (
	maxSDPParts = 64
	maxSDPLines = 200 // of a part, beside those that are known
)

// sdpPart is the session part of a description, or one of its media.
type sdpPart struct {
	name  string            // session, audio, video, audio 2, …
	facts map[string]string // what is compared, in words
	other []string          // lines of which there may be several
}

// sdpParts takes a session description (RFC 8866) apart into what is worth
// comparing. What differs every time and means nothing, the version in o=, is
// left out.
func sdpParts(text string) []sdpPart {
	parts := []sdpPart{{name: "session", facts: map[string]string{}}}
	seen := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 2 || line[1] != '=' || len(parts) > maxSDPParts {
			continue
		}
		value := line[2:]
		if line[0] == 'm' {
			kind, _, _ := strings.Cut(value, " ")
			name := kind
			if seen[kind]++; seen[kind] > 1 {
				name = fmt.Sprintf("%s %d", kind, seen[kind])
			}
			parts = append(parts, sdpPart{name: name, facts: map[string]string{}})
		}
		parts[len(parts)-1].take(line[0], value)
	}
	for i := range parts[1:] {
		p := &parts[i+1]
		if p.facts["address"] == "" {
			p.facts["address"] = parts[0].facts["address"]
		}
		if p.facts["direction"] == "" {
			if p.facts["direction"] = parts[0].facts["direction"]; p.facts["direction"] == "" {
				p.facts["direction"] = "sendrecv"
			}
		}
		p.facts["codecs"] = p.codecs()
	}
	if len(parts) > 1 { // said of the media
		delete(parts[0].facts, "address")
		delete(parts[0].facts, "direction")
	}
	return parts
}

func (p *sdpPart) take(kind byte, value string) {
	switch kind {
	case 'o':
		if f := strings.Fields(value); len(f) == 6 {
			p.facts["origin"] = f[0] + " " + f[5]
		}
	case 's':
		p.facts["name"] = value
	case 'c':
		f := strings.Fields(value)
		if len(f) == 3 {
			p.facts["address"] = f[2]
		}
	case 'm':
		f := strings.Fields(value)
		if len(f) >= 3 {
			p.facts["port"], p.facts["protocol"] = f[1], f[2]
			p.facts["formats"] = strings.Join(f[3:], " ")
		}
	case 'b':
		p.facts["bandwidth"] = value
	case 'a':
		p.attribute(value)
	}
}

func (p *sdpPart) attribute(value string) {
	name, arg, _ := strings.Cut(value, ":")
	switch name {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		p.facts["direction"] = name
	case "ptime", "maxptime", "rtcp", "rtcp-mux", "mid", "setup":
		p.facts[name] = arg
		if arg == "" {
			p.facts[name] = "yes"
		}
	case "crypto":
		f := strings.Fields(arg)
		if len(f) >= 2 {
			p.facts["encryption"] = f[1]
		}
	case "fingerprint":
		p.facts["encryption"] = "DTLS"
	case "candidate", "ssrc", "ice-ufrag", "ice-pwd":
		p.facts["ICE"] = "yes"
	case "rtpmap":
		number, codec, _ := strings.Cut(arg, " ")
		p.facts["rtpmap "+number] = codec
	default:
		if len(p.other) < maxSDPLines {
			p.other = append(p.other, "a="+value)
		}
	}
}

// static are the payload types with a fixed meaning (RFC 3551) that still occur.
var static = map[string]string{"0": "PCMU/8000", "3": "GSM/8000", "4": "G723/8000", "8": "PCMA/8000", "9": "G722/8000", "13": "CN/8000", "18": "G729/8000"}

// codecs are the formats by name, in the order of preference.
func (p *sdpPart) codecs() string {
	var out []string
	for f := range strings.FieldsSeq(p.facts["formats"]) {
		name := p.facts["rtpmap "+f]
		if name == "" {
			name = static[f]
		}
		if name == "" {
			name = f
		}
		out = append(out, name)
	}
	for k := range p.facts {
		if k == "formats" || strings.HasPrefix(k, "rtpmap ") {
			delete(p.facts, k)
		}
	}
	return strings.Join(out, " ")
}

// diffSDP is what one description changes against another.
func diffSDP(old, fresh string) []SDPLine {
	out := []SDPLine{}
	a, b := sdpParts(old), sdpParts(fresh)
	for i := range max(len(a), len(b)) {
		var x, y sdpPart
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		name := y.name
		if name == "" {
			name = x.name
		}
		switch {
		case x.name == "":
			out = append(out, SDPLine{name, "media", "", y.summary()})
			continue
		case y.name == "" || x.name != y.name:
			out = append(out, SDPLine{name, "media", x.summary(), y.summary()})
			continue
		}
		out = append(out, x.against(y)...)
	}
	return out
}

func (p sdpPart) summary() string {
	if p.name == "" {
		return ""
	}
	return strings.TrimSpace(p.name + " " + p.facts["codecs"])
}

func (p sdpPart) against(q sdpPart) (out []SDPLine) {
	var keys []string
	for k := range p.facts {
		keys = append(keys, k)
	}
	for k := range q.facts {
		if _, ok := p.facts[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if p.facts[k] != q.facts[k] {
			out = append(out, SDPLine{q.name, k, p.facts[k], q.facts[k]})
		}
	}
	for _, l := range p.other {
		if !slices.Contains(q.other, l) {
			out = append(out, SDPLine{q.name, "line", l, ""})
		}
	}
	for _, l := range q.other {
		if !slices.Contains(p.other, l) {
			out = append(out, SDPLine{q.name, "line", "", l})
		}
	}
	return out
}

// suites is what may be shown of a=crypto lines (RFC 4568): tags and suites. The
// key of a call is nobody's to read.
func suites(crypto string) string {
	var out []string
	for line := range strings.Lines(crypto) {
		f := strings.Fields(line)
		if len(f) >= 2 {
			out = append(out, f[0]+" "+f[1])
		}
	}
	return strings.Join(out, "\n")
}
