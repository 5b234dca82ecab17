package store

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"ringside/flow/record"
)

// Dimension is what calls are told apart by in statistics. Where a call has
// several values (two addresses, two user agents) it counts for each of them.
type Dimension string

// Dimensions.
const (
	ByNone         Dimension = ""
	BySensor       Dimension = "sensor"
	ByStatus       Dimension = "status"        // last final status
	ByClass        Dimension = "class"         // its class: 2xx … 6xx, or none
	ByOutcome      Dimension = "outcome"       // record.Outcome
	ByCaller       Dimension = "caller"        // number
	ByCalled       Dimension = "called"        // number
	ByCallerPrefix Dimension = "caller_prefix" // first characters of the number
	ByCalledPrefix Dimension = "called_prefix"
	ByTrunk        Dimension = "trunk"  // signalling address of either party
	ByMedia        Dimension = "media"  // address of RTP, or named by SDP
	ByCodec        Dimension = "codec"  // of the stream with the most packets
	ByAgent        Dimension = "agent"  // user agent of either party
	ByDomain       Dimension = "domain" // of either party
)

// prefixLength is how many characters of a number make a prefix: +493, 0049.
const prefixLength = 4

// valueLength bounds the values that are kept in rollups (characters).
const valueLength = 100

// grain is how finely a dimension is kept in rollups.
type grain uint8

const (
	unkept grain = iota
	hourly
	minutely // and hourly
)

// dimension says where the values of a Dimension come from.
type dimension struct {
	name  Dimension
	grain grain
	of    func(*Row) []string // nil: not in the row
	needs []string            // columns of calls that of looks at
}

// totals is the name in rollups of what is counted of all calls.
const totals = "total"

func one(v string) []string { return []string{v} }

// either is the two values of a call, once if they are equal, without empty
// ones; empty if both are.
func either(a, b string) []string {
	switch {
	case a == b || b == "":
		return []string{a}
	case a == "":
		return []string{b}
	}
	return []string{a, b}
}

var dimensions = []dimension{
	{ByNone, minutely, func(*Row) []string { return one("") }, nil},
	{BySensor, minutely, func(c *Row) []string { return one(strconv.Itoa(int(c.Sensor))) }, []string{"sensor"}},
	{ByStatus, minutely, func(c *Row) []string { return one(statusName(c.LastStatus)) }, nil},
	{ByClass, minutely, func(c *Row) []string { return one(className(c.LastStatus)) }, nil},
	{ByOutcome, minutely, func(c *Row) []string { return one(c.Outcome.String()) }, nil},
	{ByCaller, unkept, func(c *Row) []string { return one(c.Caller.Number) }, []string{"caller_number"}},
	{ByCalled, unkept, func(c *Row) []string { return one(c.Called.Number) }, []string{"called_number"}},
	{ByCallerPrefix, hourly, func(c *Row) []string { return one(cutText(c.Caller.Number, prefixLength)) }, []string{"caller_number"}},
	{ByCalledPrefix, hourly, func(c *Row) []string { return one(cutText(c.Called.Number, prefixLength)) }, []string{"called_number"}},
	{ByTrunk, hourly, func(c *Row) []string { return either(addrName(c.Caller.Addr), addrName(c.Called.Addr)) },
		[]string{"caller_addr", "called_addr"}},
	{ByMedia, unkept, nil, nil},
	{ByCodec, hourly, func(c *Row) []string { return one(cutText(c.Codec, valueLength)) }, []string{"codec"}},
	{ByAgent, hourly, func(c *Row) []string {
		return either(cutText(c.Caller.Agent, valueLength), cutText(c.Called.Agent, valueLength))
	}, []string{"caller_agent", "called_agent"}},
	{ByDomain, hourly, func(c *Row) []string {
		return either(strings.ToLower(cutText(c.Caller.Domain, valueLength)), strings.ToLower(cutText(c.Called.Domain, valueLength)))
	}, []string{"caller_domain", "called_domain"}},
}

// Dimensions lists every dimension but ByNone in order.
func Dimensions() []Dimension {
	var out []Dimension
	for _, d := range dimensions[1:] {
		out = append(out, d.name)
	}
	return out
}

func dimensionOf(by Dimension) (dimension, bool) {
	i := slices.IndexFunc(dimensions, func(d dimension) bool { return d.name == by })
	if i < 0 {
		return dimension{}, false
	}
	return dimensions[i], true
}

// kept is the name that a dimension has in rollups: what is told apart by sensor
// is told of all calls, and classes are sums of statuses.
func (d *dimension) kept() string {
	switch d.name {
	case ByNone, BySensor:
		return totals
	case ByClass:
		return string(ByStatus)
	}
	return string(d.name)
}

func statusName(status uint16) string {
	if status == 0 {
		return "none"
	}
	return strconv.Itoa(int(status))
}

func className(status uint16) string {
	i := class(status)
	if i == 0 {
		return "none"
	}
	return strconv.Itoa(i+1) + "xx"
}

func addrName(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return ""
	}
	return a.Addr().String()
}

// cutText is the first n characters of s.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// mainCodec is the codec of the stream with the most packets.
func mainCodec(streams []record.Stream) string {
	if len(streams) == 0 {
		return ""
	}
	best := slices.MaxFunc(streams, func(a, b record.Stream) int { return cmp.Compare(a.Packets, b.Packets) })
	return cutText(best.Codec, utf8.UTFMax*16)
}
