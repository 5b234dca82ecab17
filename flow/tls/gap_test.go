package tls

import (
	"bytes"
	"fmt"
	mrand "math/rand/v2"
	"regexp"
	"slices"
	"testing"
)

// loss is what is lost of one direction: bytes of its stream.
type loss struct {
	fromClient bool
	from, to   int
	unknown    bool // nobody knows how much
}

// with feeds pieces without what is lost.
func (l loss) with(c *Conn, pieces []piece) (h heard) {
	at := 0 // in the direction that loses something
	for _, p := range pieces {
		i := 0
		if !p.fromClient {
			i = 1
		}
		to := []*[]byte{&h.client, &h.server}[i]
		plain := func(b []byte) { *to = append(*to, b...) }
		if p.fromClient != l.fromClient {
			h.states[i] = c.Feed(p.fromClient, p.b, plain)
			continue
		}
		from, end := at, at+len(p.b)
		at = end
		if head := p.b[:min(max(l.from-from, 0), len(p.b))]; len(head) > 0 {
			h.states[i] = c.Feed(p.fromClient, head, plain)
		}
		if from <= l.from && l.from < end {
			n := l.to - l.from
			if l.unknown {
				n = -1
			}
			c.Gap(p.fromClient, n)
		}
		if tail := p.b[min(max(l.to-from, 0), len(p.b)):]; len(tail) > 0 {
			h.states[i] = c.Feed(p.fromClient, tail, plain)
		}
	}
	h.info = c.Info()
	return h
}

// boundary is where a record of one direction begins, and what it is.
type boundary struct {
	at, size int
	kind     byte
}

func boundaries(pieces []piece, fromClient bool) (out []boundary) {
	var b []byte
	for _, p := range pieces {
		if p.fromClient == fromClient {
			b = append(b, p.b...)
		}
	}
	for at := 0; at < len(b); {
		size, _ := recordSize(b[at:])
		out = append(out, boundary{at, size, b[at]})
		at += size
	}
	return out
}

var messageNumber = regexp.MustCompile(`MESSAGE (\d+) sip:bob@example.org SIP/2.0\r\n\r\n`)

// numbers of the messages that were heard of the client.
func (h *heard) numbers() (out []string) {
	for _, m := range messageNumber.FindAllSubmatch(h.client, -1) {
		out = append(out, string(m[1]))
	}
	return out
}

// TestGap loses records, and parts of them, in the middle of the data: what was
// not touched is heard.
func TestGap(t *testing.T) {
	for _, c := range kept {
		pieces, log := readTape(t, c.name)
		data := boundaries(pieces, true)
		perMessage := 1
		if c.version == version10 {
			perMessage = 2 // Go sends the first byte alone
		}
		data = data[len(data)-20*perMessage:]
		all := make([]string, 20)
		for i := range all {
			all[i] = fmt.Sprint(i)
		}
		whole := func(i int) (from, to int) {
			last := data[(i+1)*perMessage-1]
			return data[i*perMessage].at, last.at + last.size
		}
		from5, to5 := whole(5)
		_, to12 := whole(12)
		from18, _ := whole(18)
		for _, tc := range []struct {
			name     string
			from, to int
			last     int // message that is touched; the first is 5
		}{
			{"a record", from5, to5, 5},
			{"the beginning of a record", from5, from5 + 20, 5},
			{"within a record", to5 - 20, to5 - 10, 5},
			{"the end of a record", to5 - 10, to5, 5},
			{"part of a header", from5, from5 + 3, 5},
			{"the rest of a header", from5 + 2, from5 + 30, 5},
			{"records", from5, to12, 12},
			{"from a record into another", to5 - 10, to12 - 10, 12},
			{"from a record to the end of another", to5 - 10, to12, 12},
			{"nearly all", from5, from18 - 7, 17},
		} {
			for _, unknown := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", c.name, tc.name, unknown), func(t *testing.T) {
					h := loss{true, tc.from, tc.to, unknown}.with(NewConn(keysOf(t, log)), pieces)
					last := tc.last + 1
					if c.version == version10 {
						last++ // the record after it has no IV
					}
					want := slices.Concat(all[:5], all[last:])
					got := h.numbers()
					if c.version == version10 && len(got) > len(want) {
						want = slices.Concat(all[:5], all[last-1:]) // but it was the one of a byte
					}
					if !slices.Equal(got, want) {
						t.Errorf("heard %v, want %v", got, want)
					}
					if h.states != [2]State{Decrypting, Decrypting} || !bytes.Equal(h.server, tapeTalk().of(false)) {
						t.Errorf("states %v, %d bytes of the server", h.states, len(h.server))
					}
				})
			}
		}
	}
}

// TestGapInHandshake loses parts of the handshake after the hellos.
func TestGapInHandshake(t *testing.T) {
	for _, c := range kept {
		if c.version == version10 {
			continue
		}
		pieces, log := readTape(t, c.name)
		for _, fromClient := range []bool{true, false} {
			all := boundaries(pieces, fromClient)
			data := len(all) - 20
			for first := 1; first < data; first++ {
				for last := first; last < data; last++ {
					for _, unknown := range []bool{false, true} {
						name := fmt.Sprintf("%s/client %v/%d to %d/%v", c.name, fromClient, first, last, unknown)
						t.Run(name, func(t *testing.T) {
							l := loss{fromClient, all[first].at, all[last].at + all[last].size, unknown}
							h := l.with(NewConn(keysOf(t, log)), pieces)
							h.check(t, tapeTalk())
						})
					}
				}
			}
		}
	}
}

// TestGapTooLarge loses more than can be made up for, and says so; with nonces
// that are counted it is not too large.
func TestGapTooLarge(t *testing.T) {
	cert, _ := certificate(t, true)
	var k talk
	for i := range 200 {
		k = append(k, fmt.Appendf(nil, "MESSAGE %d sip:bob@example.org SIP/2.0\r\n\r\n", i), []byte("OK\r\n"))
	}
	for _, tc := range []struct {
		suite uint16
		want  State
	}{{0xcca9, Broken}, {0xc02b, Decrypting}} {
		var log bytes.Buffer
		client, server := configs(cert, version12, &log)
		client.CipherSuites = []uint16{tc.suite}
		pieces := recorded(t, client, server, k)
		all := boundaries(pieces, true)
		data := all[len(all)-200:]
		h := loss{true, data[10].at, data[150].at, true}.with(NewConn(keysOf(t, log.Bytes())), pieces)
		if h.states != [2]State{tc.want, Decrypting} {
			t.Errorf("suite %#x: states %v, want the client's %v", tc.suite, h.states, tc.want)
		}
		if n := len(h.numbers()); tc.want == Decrypting && n != 60 {
			t.Errorf("suite %#x: heard %d messages of 60", tc.suite, n)
		}
	}
}

// TestGapRandom loses anything at all: nothing is heard that was not said.
func TestGapRandom(t *testing.T) {
	r := mrand.New(mrand.NewPCG(5, 6))
	for _, c := range kept {
		pieces, log := readTape(t, c.name)
		all := boundaries(pieces, true)
		end := all[len(all)-1].at + all[len(all)-1].size
		said := map[string]bool{}
		for i := range 20 {
			said[fmt.Sprint(i)] = true
		}
		for range 300 {
			from := r.IntN(end)
			l := loss{true, from, from + 1 + r.IntN(end-from), r.IntN(2) == 0}
			conn := NewConn(keysOf(t, log))
			h := l.with(conn, cut(r, pieces))
			for _, n := range h.numbers() {
				if !said[n] {
					t.Fatalf("%s, loss %+v: heard message %s", c.name, l, n)
				}
			}
			if n := held(conn); n > maxHeldOfConn {
				t.Fatalf("%s, loss %+v: %d bytes are kept", c.name, l, n)
			}
		}
	}
}

// maxHeldOfConn is what a Conn may hold at most. Append may make room for twice
// what is needed.
const maxHeldOfConn = 2*(2*(maxHeld+maxMessage+4)+maxNoted) + maxRecord + 1024

// TestRelease: what is held can be let go of, which is a gap if it was part of a
// record.
func TestRelease(t *testing.T) {
	c := NewConn(NewKeys())
	if c.Release(true) || c.Held() != 0 {
		t.Error("a new connection holds something")
	}
	c.Feed(true, []byte{typeHandshake, 3, 1, 0, 100, clientHello, 0, 0, 96}, nil)
	if c.Held() == 0 {
		t.Error("part of a record is held, and not counted")
	}
	if !c.Release(true) || c.Held() != 0 || !c.half[0].sync || c.half[1].sync {
		t.Errorf("%d bytes are held after the release", c.Held())
	}
	if c.Release(true) || c.Release(false) {
		t.Error("there was nothing left to lose")
	}
}
