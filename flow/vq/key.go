package vq

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// key takes one value (RFC 6035 section 4.6.2).
func (p *parser) key(key, value string) {
	switch p.name {
	case "localaddr":
		address(key, value, &p.r.Local)
		return
	case "remoteaddr":
		address(key, value, &p.r.Remote)
		if key == "SSRC" {
			p.r.SSRC = ssrc(value)
		}
		return
	}
	if !p.local {
		return
	}
	r, x := p.r, &p.r.XR
	switch key {
	case "START":
		r.Start = clock(value)
	case "STOP":
		r.Stop = clock(value)
	case "PD":
		r.Codec = cut(value, maxText)
	case "NLR":
		number(value, &x.Loss)
	case "JDR":
		number(value, &x.Discard)
	case "BLD":
		number(value, &x.BurstLoss)
	case "BD":
		number(value, &x.Burst)
	case "GLD":
		number(value, &x.GapLoss)
	case "GD":
		number(value, &x.Gap)
	case "JBN":
		number(value, &x.JitterBuffer)
	case "JBM":
		number(value, &x.JitterMax)
	case "RTD":
		number(value, &x.RTT)
	case "ESD":
		number(value, &x.EndDelay)
	case "SL":
		level(value, &x.Signal)
	case "NL":
		level(value, &x.Noise)
	case "RERL":
		level(value, &x.RERL)
	case "RCQ": // what RFC 3611 calls the R factor
		estimate(value, &x.R)
	case "RLQ":
		if x.R == 0 {
			estimate(value, &x.R)
		}
	case "EXTRI":
		estimate(value, &x.ExternalR)
	case "MOSLQ":
		estimate(value, &x.MOSLQ)
	case "MOSCQ":
		estimate(value, &x.MOSCQ)
	}
}

// number reads a finite number, or leaves f as it is.
func number(s string, f *float64) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(n) < 1e9 {
		*f = n
	}
}

// unavailable is how RFC 3611 section 4.7 says that a level or an estimate is
// not known.
const unavailable = 127

func estimate(s string, f *float64) {
	if number(s, f); *f == unavailable {
		*f = -1
	}
}

func level(s string, l *int16) {
	f := float64(*l)
	if number(s, &f); f == unavailable {
		f = -1
	}
	*l = int16(min(max(f, math.MinInt16), math.MaxInt16))
}

// clock is a time as in 2004-10-10T18:23:43Z (RFC 3339), 0 if it is none.
func clock(s string) int64 {
	t, err := time.Parse(time.RFC3339, strings.ToUpper(s))
	if err != nil || t.Year() < 1970 || t.Year() > 2200 {
		return 0
	}
	return t.UnixNano()
}

// address sets the part of an address that key names. One without a port, as
// some devices write it, has port 0.
func address(key, value string, at *netip.AddrPort) {
	switch key {
	case "IP":
		a, err := netip.ParseAddr(strings.Trim(value, "[]"))
		if err == nil {
			*at = netip.AddrPortFrom(a.Unmap().WithZone(""), at.Port())
		}
	case "PORT":
		n, err := strconv.ParseUint(value, 10, 16)
		if err == nil {
			*at = netip.AddrPortFrom(at.Addr(), uint16(n))
		}
	}
}

// ssrc reads a source: 0x and hexadecimal digits, as the grammar wants it, or
// without 0x, as its example has it; nothing but digits is a decimal number, as
// some phones write it.
func ssrc(s string) uint32 {
	hex, is := strings.CutPrefix(strings.ToLower(s), "0x")
	base := 16
	if !is && !strings.ContainsAny(hex, "abcdef") {
		base = 10
	}
	n, err := strconv.ParseUint(hex, base, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
