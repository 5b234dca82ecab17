package tls

import (
	"bytes"
	gotls "crypto/tls"
	"testing"
)

// steady is a connection that is being read, and what its client sends next,
// over and over: records of n bytes.
type steady struct {
	name    string
	conn    *Conn
	records []byte
	count   int // records in them
	seq     uint64
	last    [16]byte
}

// again takes the direction of the client back to before the records.
func (s *steady) again() {
	h := &s.conn.half[0]
	h.seq = s.seq
	h.open.last = s.last
}

// steadies are connections of each cipher.
func steadies(t testing.TB, n, count int) (out []*steady) {
	t.Helper()
	ecc, _ := certificate(t, true)
	rsa, _ := certificate(t, false)
	for _, c := range []struct {
		version, suite uint16
		cert           gotls.Certificate
	}{
		{version10, 0xc00a, ecc}, {version12, 0xc023, ecc}, {version12, 0xc02b, ecc}, {version12, 0xcca9, ecc},
		{version12, 0x000a, rsa}, {version13, 0, ecc},
	} {
		k := talk{[]byte("x"), []byte("y")}
		for range count {
			k = append(k, bytes.Repeat([]byte("s"), n), nil)
		}
		var log bytes.Buffer
		client, server := configs(c.cert, c.version, &log)
		client.CipherSuites, server.CipherSuites = []uint16{c.suite}, []uint16{c.suite}
		server.SessionTicketsDisabled = true
		pieces := recorded(t, client, server, k)
		s := &steady{conn: NewConn(keysOf(t, log.Bytes()))}
		// All records that carry the talk are the client's last pieces.
		at := len(pieces)
		for at > 0 && pieces[at-1].fromClient {
			at--
		}
		listen(s.conn, pieces[:at])
		for _, p := range pieces[at:] {
			s.records = append(s.records, p.b...)
		}
		s.count = len(boundaries(pieces[at:], true))
		info := s.conn.Info()
		s.name = info.VersionName() + " " + info.Suite
		s.seq, s.last = s.conn.half[0].seq, s.conn.half[0].open.last
		out = append(out, s)
	}
	return out
}

// TestAllocations guards the way of application data: whole records, records cut
// in two, and records that nothing opens.
func TestAllocations(t *testing.T) {
	for _, s := range steadies(t, 600, 20) {
		t.Run(s.name, func(t *testing.T) {
			got := 0
			plain := func(b []byte) { got += len(b) }
			feed := func() {
				s.again()
				s.conn.Feed(true, s.records[:1000], plain)
				if state := s.conn.Feed(true, s.records[1000:], plain); state != Decrypting {
					t.Fatalf("state %v", state)
				}
			}
			feed()
			if got != 20*600 {
				t.Fatalf("heard %d bytes", got)
			}
			if n := testing.AllocsPerRun(50, feed); n != 0 {
				t.Errorf("%v allocations for %d records", n, s.count)
			}
			s.conn.half[0].state = NoKeys
			if n := testing.AllocsPerRun(50, func() { s.conn.Feed(true, s.records, plain) }); n != 0 {
				t.Errorf("%v allocations for %d records without keys", n, s.count)
			}
		})
	}
}

// BenchmarkFeed is the cost of a record of a SIP message of 600 bytes.
func BenchmarkFeed(b *testing.B) {
	for _, s := range steadies(b, 600, 100) {
		b.Run(s.name, func(b *testing.B) {
			got := 0
			plain := func(p []byte) { got += len(p) }
			b.ReportAllocs()
			b.SetBytes(600)
			n := 0
			for b.Loop() {
				if n%100 == 0 {
					s.again()
				}
				// TLS 1.0 sends two records for a message.
				size := len(s.records) / 100
				at := n % 100 * size
				s.conn.Feed(true, s.records[at:at+size], plain)
				n++
			}
			if got != n*600 {
				b.Fatalf("heard %d bytes of %d records", got, n)
			}
		})
	}
}

// BenchmarkNoKeys is the cost of a record that nothing opens.
func BenchmarkNoKeys(b *testing.B) {
	s := steadies(b, 600, 100)[2]
	s.conn.half[0].state = NoKeys
	size := len(s.records) / 100
	b.ReportAllocs()
	b.SetBytes(600)
	for b.Loop() {
		s.conn.Feed(true, s.records[:size], nil)
	}
}

// BenchmarkHandshake is the cost of a connection without data.
func BenchmarkHandshake(b *testing.B) {
	for _, c := range kept {
		pieces, log := readTape(b, c.name)
		pieces = pieces[:len(pieces)-40]
		keys := keysOf(b, log)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				listen(NewConn(keys), pieces)
			}
		})
	}
}

// BenchmarkReadLog is the cost of a line of a key log.
func BenchmarkReadLog(b *testing.B) {
	_, log := readTape(b, "tls13")
	k := NewKeys()
	b.ReportAllocs()
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		if err := k.ReadLog(bytes.NewReader(log)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*bytes.Count(log, []byte("\n"))), "ns/line")
}
