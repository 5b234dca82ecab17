package tls

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With -update the connections in testdata are recorded anew.
var update = flag.Bool("update", false, "record the connections in testdata anew")

// kept are connections that are kept in testdata, so that a failure found with
// them can be found again.
var kept = []struct {
	name           string
	version, suite uint16
}{
	{"tls10-cbc", version10, 0xc00a},
	{"tls12-cbc", version12, 0xc023},
	{"tls12-gcm", version12, 0xc02b},
	{"tls12-chacha", version12, 0xcca9},
	{"tls13", version13, 0},
}

// tapeTalk is what they say.
func tapeTalk() talk {
	var k talk
	for i := range 20 {
		k = append(k, fmt.Appendf(nil, "MESSAGE %d sip:bob@example.org SIP/2.0\r\n\r\n", i), fmt.Appendf(nil, "SIP/2.0 200 %d\r\n\r\n", i))
	}
	return k
}

// readTape reads a file of testdata: the key log, and then a line per piece,
// with > from the client and < from the server.
func readTape(t testing.TB, name string) (pieces []piece, log []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".tape"))
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line := in.Text()
		if line[0] != '<' && line[0] != '>' {
			log = append(append(log, line...), '\n')
			continue
		}
		b, err := hex.DecodeString(line[2:])
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, piece{line[0] == '>', b})
	}
	return pieces, log
}

func writeTape(t *testing.T, name string, pieces []piece, log []byte) {
	t.Helper()
	var b strings.Builder
	b.Write(log)
	for _, p := range pieces {
		fmt.Fprintf(&b, "%c %x\n", map[bool]byte{true: '>', false: '<'}[p.fromClient], p.b)
	}
	if err := os.WriteFile(filepath.Join("testdata", name+".tape"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTapes(t *testing.T) {
	for _, c := range kept {
		t.Run(c.name, func(t *testing.T) {
			if *update {
				cert, _ := certificate(t, true)
				var log bytes.Buffer
				client, server := configs(cert, c.version, &log)
				client.CipherSuites, server.CipherSuites = []uint16{c.suite}, []uint16{c.suite}
				writeTape(t, c.name, recorded(t, client, server, tapeTalk()), log.Bytes())
			}
			pieces, log := readTape(t, c.name)
			h := listen(NewConn(keysOf(t, log)), pieces)
			h.check(t, tapeTalk())
		})
	}
}
