package stream

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/tls"
)

// turn is bytes that one side sent in one go; side 0 is the client.
type turn struct {
	side int
	b    []byte
}

// recorder is a connection that notes what is written to it.
type recorder struct {
	net.Conn
	side int
	mu   *sync.Mutex
	log  *[]turn
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	*r.log = append(*r.log, turn{r.side, bytes.Clone(b)})
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// encrypt is what goes over the wire when both sides send their turns one after
// the other over TLS, and the key log.
func encrypt(t *testing.T, version uint16, turns []turn) (wire []turn, keys []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<32, 0)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var keyLog bytes.Buffer
	a, b := net.Pipe()
	client := stdtls.Client(&recorder{a, 0, &mu, &wire}, &stdtls.Config{
		InsecureSkipVerify: true, KeyLogWriter: &keyLog, MaxVersion: version,
	})
	server := stdtls.Server(&recorder{b, 1, &mu, &wire}, &stdtls.Config{
		Certificates: []stdtls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}, MaxVersion: version,
	})
	sides := []*stdtls.Conn{client, server}
	done := make(chan error)
	go func() { done <- server.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, turn := range turns {
		go func() {
			_, err := sides[turn.side].Write(turn.b)
			done <- err
		}()
		if _, err := io.ReadFull(sides[1-turn.side], make([]byte, len(turn.b))); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return wire, keyLog.Bytes()
}

// overWire gives turns to a table as segments of at most size bytes. Those that
// lose names, by number, are not captured.
func overWire(t *testing.T, table *Table, wire []turn, size int, lose ...int) {
	next := [2]uint32{1000, 2000}
	ends := [2]frame.Endpoint{
		{Addr: frame.AddrFrom4([]byte{192, 0, 2, 1}), Port: 4000},
		{Addr: frame.AddrFrom4([]byte{192, 0, 2, 2}), Port: 5061},
	}
	clock, n, given := epoch, 0, uint64(0)
	for _, turn := range wire {
		for b := range slices.Chunk(turn.b, size) {
			clock += 1e6
			p := frame.Packet{
				Time: clock, Clock: clock, Seq: uint64(n), Proto: frame.ProtoTCP, Control: frame.TCPAck,
				SeqNo: next[turn.side], AckNo: next[1-turn.side],
				Src: ends[turn.side], Dst: ends[1-turn.side], Payload: b, Len: uint32(len(b)),
			}
			next[turn.side] += uint32(len(b))
			if !slices.Contains(lose, n) {
				table.Packet(&p)
				given++
			}
			n++
			checkTable(t, table, given)
		}
	}
	table.Close(clock)
	checkTable(t, table, given)
}

func TestTLS(t *testing.T) {
	invite, ok := message("INVITE", "1", 700, 700), message("200", "1", 300, 300)
	ack, bye := message("ACK", "1", 0, 0), message("BYE", "1", 0, 0)
	plain := []turn{{0, invite}, {1, ok}, {0, slices.Concat(ack, bye)}, {1, []byte("\r\n")}}
	web := []turn{
		{0, []byte(webGet)}, {1, []byte(webSwitch)}, {0, webFrame(0x81, true, invite)}, {1, webFrame(0x81, false, ok)},
		{0, slices.Concat(webFrame(0x81, true, ack), webFrame(0x81, true, bye))},
	}
	http := []turn{{0, []byte("GET / HTTP/1.1\r\n\r\n")}, {1, []byte("HTTP/1.1 200 OK\r\n\r\n")}}
	for name, test := range map[string]struct {
		turns     []turn
		transport string
		want      [][]byte
	}{
		"sip":       {plain, "tls", [][]byte{invite, ok, ack, bye}},
		"websocket": {web, "wss", [][]byte{invite, ok, ack, bye}},
		"http":      {http, "", nil},
	} {
		for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
			wire, log := encrypt(t, version, test.turns)
			for _, size := range []int{1, 100, 1460} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, stdtls.VersionName(version), size), func(t *testing.T) {
					keys := tls.NewKeys()
					if err := keys.ReadLog(bytes.NewReader(log)); err != nil {
						t.Fatal(err)
					}
					var got [][]byte
					table := New(Options{Keys: keys, Emit: func(m *Message) {
						if m.Cut || m.Transport.String() != test.transport {
							t.Errorf("a message over %v, cut %v", m.Transport, m.Cut)
						}
						got = append(got, bytes.Clone(m.Data))
					}})
					overWire(t, table, wire, size)
					if !slices.EqualFunc(got, test.want, bytes.Equal) {
						t.Errorf("got %d messages:\n%q\nwant %d", len(got), got, len(test.want))
					}
					kinds := kindsOf(table)
					if kinds["tls-handshake"] == 0 || kinds["tls-decrypted"] == 0 || (kinds["tls-encrypted"] > 0) != (test.want == nil) {
						t.Errorf("the segments are %v", kinds)
					}
				})
			}
		}
	}
}

func kindsOf(table *Table) map[string]uint64 {
	out := map[string]uint64{}
	st := table.Stats()
	for _, k := range st.Kinds() {
		if k.Count > 0 {
			out[k.Name] = k.Count
		}
	}
	return out
}

// TestTLSWithoutKeys: with the keys of another connection, or none, nothing comes
// out, and the segments are counted for what they are.
func TestTLSWithoutKeys(t *testing.T) {
	invite := message("INVITE", "1", 700, 700)
	turns := []turn{{0, invite}, {1, invite}, {0, invite}}
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		wire, _ := encrypt(t, version, turns)
		_, log := encrypt(t, version, turns)
		others := tls.NewKeys()
		if err := others.ReadLog(bytes.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		for name, keys := range map[string]*tls.Keys{"none": nil, "others": others, "empty": tls.NewKeys()} {
			t.Run(stdtls.VersionName(version)+"/"+name, func(t *testing.T) {
				table := New(Options{Keys: keys, Emit: func(m *Message) { t.Errorf("%q came out", m.Data) }})
				overWire(t, table, wire, 500)
				kinds := kindsOf(table)
				if kinds["tls-encrypted"] == 0 || kinds["tls-decrypted"] > 0 || kinds["tcp-other"] > 0 || kinds["sip-stream"] > 0 {
					t.Errorf("the segments are %v", kinds)
				}
			})
		}
	}
}

// TestTLSLoss: what comes behind a lost record is read, from a start line on.
func TestTLSLoss(t *testing.T) {
	var turns []turn
	var want []string
	for i := range 20 {
		id := fmt.Sprint(i)
		turns = append(turns, turn{0, message("MESSAGE", id, 300, 300)}, turn{1, message("200", id, 0, 0)})
		want = append(want, id)
	}
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		t.Run(stdtls.VersionName(version), func(t *testing.T) {
			wire, log := encrypt(t, version, turns)
			keys := tls.NewKeys()
			if err := keys.ReadLog(bytes.NewReader(log)); err != nil {
				t.Fatal(err)
			}
			var got []string
			table := New(Options{Keys: keys, Emit: func(m *Message) {
				if m.Src.Port == 4000 {
					_, id, _ := strings.Cut(string(m.Data), "Call-ID: ")
					id, _, _ = strings.Cut(id, "\r\n")
					got = append(got, id)
				}
			}})
			// Each turn is a segment of its own. From the last on, so that the
			// handshake stays whole: turn 2*i is wire[len-40+2*i].
			first := len(wire) - 40
			overWire(t, table, wire, 1<<16, first+2*7, first+2*11, first+2*12)
			want := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return id == "7" || id == "11" || id == "12" })
			if !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v; %v", got, want, kindsOf(table))
			}
		})
	}
}

// TestTLSMemory: what connections hold while they are decrypted is bounded. Those
// that had to give up half a record are read on from the next one.
func TestTLSMemory(t *testing.T) {
	const ports, most = 60, 128 << 10
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		invite := message("INVITE", "1", 4000, 4000)
		ack, bye := message("ACK", "1", 0, 0), message("BYE", "1", 0, 0)
		wire, log := encrypt(t, version, []turn{{0, invite}, {0, ack}, {0, bye}})
		keys := tls.NewKeys()
		if err := keys.ReadLog(bytes.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		s := sender{table: New(Options{MaxBytes: most, Keys: keys, Emit: func(m *Message) { count[string(m.Data[:3])]++ }})}
		next := map[[2]int]uint32{}
		give := func(port, side int, b []byte) {
			for b := range slices.Chunk(b, 1000) {
				at := [2]int{port, side}
				s.give(t, port, side == 1, 0, next[at], b)
				next[at] += uint32(len(b))
			}
		}
		tail := len(wire) - 2
		for port := 1000; port < 1000+ports; port++ {
			for _, turn := range wire[:tail] {
				give(port, turn.side, turn.b)
			}
			give(port, 0, wire[tail].b[:100])
		}
		if n := s.table.Stats().Relieved; n < ports/2 {
			t.Errorf("%x: only %d connections gave anything up", version, n)
		}
		for port := 1000; port < 1000+ports; port++ {
			give(port, 0, wire[tail].b[100:])
			give(port, 0, wire[tail+1].b)
		}
		if count["INV"] != ports || count["BYE"] != ports || count["ACK"] == 0 || count["ACK"] == ports {
			t.Errorf("%x: of %d each came out: %v", version, ports, count)
		}
		s.table.Close(epoch + s.clock)
		checkTable(t, s.table, s.given)
	}
}
