package tls

import (
	"bytes"
	"testing"
)

// FuzzFeed reads a recorded connection as its input says: in which pieces, what
// is lost, what is damaged, and what comes in between. Nothing may be heard that
// was not said, unless the keys are missing; and memory stays bounded.
func FuzzFeed(f *testing.F) {
	type recording struct {
		keys   *Keys
		pieces []piece
	}
	_, private := certificate(f, false)
	var all []recording
	for _, c := range kept {
		pieces, log := readTape(f, c.name)
		for _, keys := range []*Keys{keysOf(f, log), NewKeys()} {
			if err := keys.AddRSA(private); err != nil {
				f.Fatal(err)
			}
			all = append(all, recording{keys, pieces})
		}
		all = append(all, recording{nil, pieces})
	}
	for i := range all {
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), []byte{0, 255, 1, 10, 2, 3, 3, 8, 4, 200, 5, 4, 22, 3, 3, 0})
	}
	f.Fuzz(func(t *testing.T, which uint8, ops []byte) {
		r := all[int(which)%len(all)]
		c := NewConn(r.keys)
		clean, heard := true, 0
		plain := func(b []byte) { heard += len(b) }
		pieces := r.pieces
		var rest piece
		next := func(n int) piece {
			for len(rest.b) == 0 && len(pieces) > 0 {
				rest, pieces = pieces[0], pieces[1:]
			}
			p := piece{rest.fromClient, rest.b[:min(n, len(rest.b))]}
			rest.b = rest.b[len(p.b):]
			return p
		}
		for len(ops) > 1 && len(pieces) > 0 {
			op, n := ops[0], int(ops[1])
			ops = ops[2:]
			switch op % 8 {
			case 0, 1: // what comes next
				p := next(n)
				c.Feed(p.fromClient, p.b, plain)
			case 2: // lost
				p := next(n)
				clean = clean && len(p.b) == 0
				c.Gap(p.fromClient, len(p.b))
			case 3:
				p := next(n * 8)
				clean = false
				c.Gap(p.fromClient, -1)
			case 4: // damaged
				p := next(n)
				b := append([]byte(nil), p.b...)
				for i := range b {
					b[i] ^= byte(n >> (i % 8))
				}
				clean = false
				c.Feed(p.fromClient, b, plain)
			case 5, 6: // inserted
				n = min(n, len(ops))
				clean = false
				c.Feed(op%8 == 5, ops[:n], plain)
				ops = ops[n:]
			case 7: // a long one
				clean = false
				c.Feed(n%2 == 0, make([]byte, n<<8), plain)
			}
			if n := held(c); n > maxHeldOfConn {
				t.Fatalf("%d bytes are kept", n)
			}
		}
		for clean && (len(pieces) > 0 || len(rest.b) > 0) {
			p := next(1 << 16)
			c.Feed(p.fromClient, p.b, plain)
		}
		said := len(tapeTalk().of(true)) + len(tapeTalk().of(false))
		if heard > said || clean && int(which)%len(all)%3 == 0 && heard != said {
			t.Fatalf("heard %d bytes of %d", heard, said)
		}
	})
}

// FuzzReadLog reads a key log.
func FuzzReadLog(f *testing.F) {
	_, log := readTape(f, "tls13")
	f.Add(log)
	f.Add([]byte("RSA 0123456789abcdef 00\r\n# x\nCLIENT_RANDOM"))
	f.Fuzz(func(t *testing.T, log []byte) {
		k := NewKeys()
		lines := 1
		for _, c := range log {
			if c == '\n' {
				lines++
			}
		}
		err := k.ReadLog(bytes.NewReader(log))
		if k.Len() > lines {
			t.Fatalf("%d secrets in %d lines", k.Len(), lines)
		}
		if again := NewKeys(); (again.ReadLog(bytes.NewReader(log)) == nil) != (err == nil) || again.Len() != k.Len() {
			t.Fatal("the same log is read in two ways")
		}
	})
}
