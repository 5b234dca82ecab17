package tls

import (
	"bytes"
	gotls "crypto/tls"
	"fmt"
	mrand "math/rand/v2"
	"testing"
)

// sample is a recorded connection and its keys.
type sample struct {
	name   string
	pieces []piece
	log    []byte
	rsa    []byte // the server's key, if it decided the premaster secret
	talk   talk
	suite  uint16
}

// samples are connections in every version and suite that Go speaks.
func samples(t testing.TB) (out []sample) {
	t.Helper()
	ecc, _ := certificate(t, true)
	rsa, key := certificate(t, false)
	add := func(version, id uint16) {
		cert, exchange := ecc, []byte(nil)
		if s, name := findSuite(id); s == nil {
			return // RC4
		} else if s.exchange == "RSA" {
			cert, exchange = rsa, key
		} else if bytes.Contains([]byte(name), []byte("ECDHE_RSA")) {
			cert = rsa
		}
		var log bytes.Buffer
		client, server := configs(cert, version, &log)
		if version < version13 {
			client.CipherSuites, server.CipherSuites = []uint16{id}, []uint16{id}
		}
		k := smallTalk()
		name := fmt.Sprintf("%s %s", gotls.VersionName(version), gotls.CipherSuiteName(id))
		out = append(out, sample{name, recorded(t, client, server, k), log.Bytes(), exchange, k, id})
	}
	all := append(gotls.CipherSuites(), gotls.InsecureCipherSuites()...)
	for _, s := range all {
		for _, version := range s.SupportedVersions {
			if version != version13 {
				add(version, s.ID)
			}
		}
	}
	add(version13, 0x1301)
	return out
}

func TestSuites(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			h := listen(NewConn(keysOf(t, s.log)), s.pieces)
			h.check(t, s.talk)
			if h.info.ServerName != "sip.example.org" || h.info.ALPN != "sip/2" {
				t.Errorf("server name %q and protocol %q", h.info.ServerName, h.info.ALPN)
			}
			// In TLS 1.3 Go chooses; TestOpenSSL has each suite.
			if s.suite != 0x1301 && h.info.Suite != gotls.CipherSuiteName(s.suite) {
				t.Errorf("suite %s", h.info.Suite)
			}
			if h.info.Skipped != 0 {
				t.Errorf("skipped %d records", h.info.Skipped)
			}
			r := mrand.New(mrand.NewPCG(1, 2))
			for range 6 {
				h := listen(NewConn(keysOf(t, s.log)), cut(r, s.pieces))
				h.check(t, s.talk)
			}
			if s.rsa != nil {
				keys := NewKeys()
				if err := keys.AddRSA(s.rsa); err != nil {
					t.Fatal(err)
				}
				h := listen(NewConn(keys), cut(r, s.pieces))
				h.check(t, s.talk)
			}
		})
	}
}

// TestSides has the two directions mixed up by the caller.
func TestSides(t *testing.T) {
	for _, c := range kept {
		pieces, log := readTape(t, c.name)
		for i := range pieces {
			pieces[i].fromClient = !pieces[i].fromClient
		}
		h := listen(NewConn(keysOf(t, log)), pieces)
		h.client, h.server = h.server, h.client
		h.check(t, tapeTalk())
	}
}

// TestRetry has a client that has to say hello again.
func TestRetry(t *testing.T) {
	cert, _ := certificate(t, true)
	var log bytes.Buffer
	client, server := configs(cert, version13, &log)
	client.CurvePreferences = []gotls.CurveID{gotls.X25519, gotls.CurveP384}
	server.CurvePreferences = []gotls.CurveID{gotls.CurveP384}
	k := smallTalk()
	h := listen(NewConn(keysOf(t, log.Bytes())), nil)
	if h.states != [2]State{} {
		t.Errorf("states of nothing: %v", h.states)
	}
	pieces := recorded(t, client, server, k)
	c := NewConn(keysOf(t, log.Bytes()))
	h = listen(c, pieces)
	h.check(t, k)
	if !c.hello.retried {
		t.Error("no HelloRetryRequest was seen")
	}
}

// TestResumed has sessions that are taken up again.
func TestResumed(t *testing.T) {
	for _, version := range []uint16{version12, version13} {
		t.Run(gotls.VersionName(version), func(t *testing.T) {
			cert, _ := certificate(t, false)
			var log bytes.Buffer
			client, server := configs(cert, version, &log)
			client.ClientSessionCache = gotls.NewLRUClientSessionCache(4)
			k, keys := smallTalk(), NewKeys()
			for i := range 3 {
				resumed := false
				client.VerifyConnection = func(s gotls.ConnectionState) error {
					resumed = s.DidResume
					return nil
				}
				pieces := recorded(t, client, server, k)
				if resumed != (i > 0) {
					t.Errorf("connection %d is resumed: %v", i, resumed)
				}
				// Go logs nothing of a session that is resumed before TLS 1.3.
				if err := keys.ReadLog(&log); err != nil {
					t.Fatal(err)
				}
				h := listen(NewConn(keys), pieces)
				h.check(t, k)
			}
		})
	}
}

// TestPeers has sessions of two pairs of hosts, which do not mix.
func TestPeers(t *testing.T) {
	k := NewKeys()
	id := [32]byte{1}
	k.remember(session{1, id}, secret{n: 48})
	if _, ok := k.recall(session{2, id}); ok {
		t.Error("the session of another pair of hosts was found")
	}
	if _, ok := k.recall(session{1, id}); !ok {
		t.Error("the session is forgotten")
	}
	for i := range maxSessions {
		k.remember(session{3, [32]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}}, secret{})
	}
	if _, ok := k.recall(session{1, id}); ok || len(k.sessions) != maxSessions {
		t.Errorf("%d sessions are kept, the oldest: %v", len(k.sessions), ok)
	}
}

// TestOrder has a mirror port that delivers one direction ahead of the other.
func TestOrder(t *testing.T) {
	for _, c := range kept {
		pieces, log := readTape(t, c.name)
		for at := range len(pieces) - 1 {
			if pieces[at].fromClient == pieces[at+1].fromClient {
				continue
			}
			late := append([]piece(nil), pieces...)
			late[at], late[at+1] = late[at+1], late[at]
			t.Run(fmt.Sprintf("%s/%d", c.name, at), func(t *testing.T) {
				h := listen(NewConn(keysOf(t, log)), late)
				h.check(t, tapeTalk())
			})
		}
	}
}

// TestStates has connections that are not opened, and why. Nothing is kept of them.
func TestStates(t *testing.T) {
	pieces, log := readTape(t, "tls12-gcm")
	pieces13, log13 := readTape(t, "tls13")
	wrong := func(log []byte) *Keys {
		k := keysOf(t, log)
		for key, s := range k.secrets {
			s.b[0] ^= 1
			k.secrets[key] = s
		}
		return k
	}
	change := func(pieces []piece, from, to string) (out []piece) {
		for _, p := range pieces {
			out = append(out, piece{p.fromClient, bytes.Replace(p.b, []byte(from), []byte(to), 1)})
		}
		return out
	}
	for _, tc := range []struct {
		name   string
		keys   *Keys
		pieces []piece
		want   State
	}{
		{"no keys at all", nil, pieces, NoKeys},
		{"no keys at all in 1.3", nil, pieces13, NoKeys},
		{"keys of others", keysOf(t, log13), pieces, NoKeys},
		{"keys of others in 1.3", keysOf(t, log), pieces13, NoKeys},
		{"wrong keys", wrong(log), pieces, Broken},
		{"wrong keys in 1.3", wrong(log13), pieces13, Broken},
		{"picked up in the middle", keysOf(t, log), pieces[len(pieces)-10:], NoKeys},
		{"picked up in the middle of 1.3", keysOf(t, log13), pieces13[len(pieces13)-10:], NoKeys},
		{"suite that nobody knows", keysOf(t, log), change(pieces, "\xc0\x2b\x00", "\xab\xcd\x00"), Unsupported},
		{"not TLS", keysOf(t, log), []piece{{true, []byte("INVITE sip:a@b SIP/2.0\r\n")}, {false, []byte("SIP/2.0 100 Trying\r\n")}}, Broken},
		{"hostile length", keysOf(t, log), []piece{{true, []byte("\x16\x03\x01\xff\xff\x01")}, {false, []byte("\x17\x03\x03\x60\x00\x01")}}, Broken},
		{"hello too short", keysOf(t, log), []piece{{true, []byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")}, {false, []byte("\x00\x00\x00")}, {false, []byte("\x00\x00\x00")}}, Broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := NewConn(tc.keys)
			h := listen(c, tc.pieces)
			if h.states != [2]State{tc.want, tc.want} {
				t.Errorf("states %v, want %v", h.states, tc.want)
			}
			if len(h.client)+len(h.server) != 0 {
				t.Errorf("opened %q and %q", h.client, h.server)
			}
			if n := held(c); n > 4096 {
				t.Errorf("%d bytes are kept", n)
			}
		})
	}
	t.Run("cut off", func(t *testing.T) {
		last := pieces[len(pieces)-1]
		h := listen(NewConn(keysOf(t, log)), append(pieces[:len(pieces)-1:len(pieces)-1], piece{last.fromClient, last.b[:len(last.b)-1]}))
		if h.states != [2]State{Decrypting, Decrypting} || len(h.server) >= len(tapeTalk().of(false)) {
			t.Errorf("states %v, %d bytes of the server", h.states, len(h.server))
		}
	})
}

// held is the memory that a Conn keeps, without what is of fixed size.
func held(c *Conn) int {
	n := cap(c.transcript) + cap(c.plain)
	for i := range c.half {
		n += cap(c.half[i].buf) + cap(c.half[i].message)
	}
	return n
}

// TestLateKeys has a key log that comes after the handshake, as it does when it
// is followed live: what is sent from then on is heard.
func TestLateKeys(t *testing.T) {
	for _, c := range kept {
		t.Run(c.name, func(t *testing.T) {
			pieces, log := readTape(t, c.name)
			for at := range len(pieces) - 10 {
				keys := NewKeys()
				conn := NewConn(keys)
				listen(conn, pieces[:at])
				if err := keys.ReadLog(bytes.NewReader(log)); err != nil {
					t.Fatal(err)
				}
				h := listen(conn, pieces[at:])
				if h.states != [2]State{Decrypting, Decrypting} {
					t.Fatalf("keys before piece %d: states %v", at, h.states)
				}
				k := tapeTalk()
				for i, got := range [][]byte{h.client, h.server} {
					// TLS 1.0 needs a record to find in.
					want, least := k.of(i == 0), k[len(k)-4:].of(i == 0)
					if !bytes.HasSuffix(want, got) || len(got) < len(least) {
						t.Fatalf("keys before piece %d: heard %q", at, got)
					}
				}
			}
		})
	}
}

func TestLooks(t *testing.T) {
	for _, tc := range []struct {
		b    string
		want bool
	}{
		{"\x16\x03\x01\x00\x05\x01", true},
		{"\x17\x03\x03\x40\x18", true},
		{"\x16\x03\x01", true},
		{"\x16\x03", false},
		{"", false},
		{"\x16\x03\x01\x00\x00", false},
		{"\x16\x03\x01\xff\x00", false},
		{"\x16\x02\x01\x00\x05", false},
		{"\x16\x03\x05\x00\x05", false},
		{"\x19\x03\x03\x00\x05", false},
		{"\r\n\r\n\r\n", false},
		{"OPTIONS sip:a", false},
	} {
		if got := Looks([]byte(tc.b)); got != tc.want {
			t.Errorf("Looks(%q) is %v", tc.b, got)
		}
	}
}
