// Package filter chooses packets by an expression in the language of tcpdump
// (pcap-filter(7)).
//
// tcpdump judges frames, by bytes at fixed places. So "port 5060" loses all but
// the first fragment of a long INVITE, and whatever comes in a tunnel or behind
// a VLAN tag that the expression does not name. This package judges decoded
// packets: fragments after they were put together, what is in a tunnel by its
// own addresses and ports.
//
// # What a test is asked of
//
// A test of addresses, ports or protocols holds if it holds for the packet, or
// for the innermost tunnel that the packet came through, as far as that is
// known: its outer addresses, and the protocol and port that its kind uses. So
// "host A" finds what A says in a tunnel, and what a tunnel that ends at A
// carries; "not host A" is neither.
//
// vlan asks for the outermost tag, mpls, pppoes, vxlan and geneve for the
// innermost tunnel, and change nothing of what stands behind them. Byte
// expressions read headers as they are without options, put together from the
// decoded packet, and the payload.
//
// Where a test cannot be answered, because the packet was put together from
// fragments and has no frame of its own, the packet is kept: it is only dropped
// if it surely does not match.
//
// # Parts
//
// lex and parse turn text to a tree, compile the tree to a flat program, match
// runs it. Classic makes a program of the kernel's old BPF of it, which drops
// early what Match is sure to refuse.
package filter

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"ringside/dataplane/frame"
)

// Filter is a compiled expression. It does not change, and may be used by any
// number of goroutines.
type Filter struct {
	text   string
	code   []instr
	entry  int32
	framed bool // a test asks for what only the frame knows
}

// maxText bounds an expression, in bytes: some thousands of addresses.
const maxText = 1 << 16

// Parse compiles an expression; the empty one matches everything. Its error is
// an *Error.
func Parse(text string) (*Filter, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := parser{text: text, tokens: tokens}
	tree, err := p.parse()
	if err != nil {
		return nil, err
	}
	f := compile(tree)
	f.text = strings.TrimSpace(text)
	return f, nil
}

// String is the expression as it was written.
func (f *Filter) String() string { return f.text }

// Match reports whether the expression holds for p, which came through t; t may
// be nil, or zero, for none. It does not allocate.
func (f *Filter) Match(p *frame.Packet, t *frame.Tunnel) bool { return f.match(p, t, nil) }

// Error says what is wrong with an expression, and where.
type Error struct {
	Text string // the expression
	At   int    // byte of Text
	Says string // what is wrong, and the remedy
}

// Runes of an expression that are shown before and behind a place.
const before, behind = 50, 20

// Error tells it in one line, with the place by its column and what stands there.
func (e *Error) Error() string {
	tail := []rune(e.Text[e.At:])
	if len(tail) == 0 {
		return "filter, at its end: " + e.Says
	}
	shown := string(tail[:min(len(tail), behind)])
	return fmt.Sprintf("filter, column %d, at %q: %s", utf8.RuneCountInString(e.Text[:e.At])+1, shown, e.Says)
}

// Place shows the place with a caret below it, in two lines.
func (e *Error) Place() string {
	head, tail := []rune(e.Text[:e.At]), []rune(e.Text[e.At:])
	if len(head) > before {
		head = append([]rune{'…'}, head[len(head)-before:]...)
	}
	if len(tail) > behind {
		tail = append(tail[:behind:behind], '…')
	}
	return visible(string(head)+string(tail)) + "\n" + strings.Repeat(" ", len(head)) + "^"
}

// visible is s with a space for each rune that would move the caret.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
