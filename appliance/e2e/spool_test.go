package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringside/appliance/cli"
	"ringside/flow/record"
)

// stored is a packet of a capture file: all that a spool must give back.
type stored struct {
	time int64 // ns since the Unix epoch
	wire uint32
	data string
}

// ringside runs a command in this process, and returns what it printed.
func ringside(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := cli.Main(t.Context(), args, strings.NewReader(""), &out, &errs); code != want {
		t.Fatalf("ringside %s: exit %d, want %d: %s", strings.Join(args, " "), code, want, errs.String())
	}
	return out.String(), errs.String()
}

// tool runs a program on a file, and returns what it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	var errs bytes.Buffer
	c := exec.CommandContext(t.Context(), name, args...)
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// need skips the test where a program is missing.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			t.Skipf("no %s: what the spool holds is not compared with what it reads", n)
		}
	}
}

// readClassic reads a pcap with nanoseconds, little-endian, as editcap and
// "ringside pcap --pcap" write it. It shares no code with ringside.
func readClassic(t *testing.T, path string) []stored {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b23c4d {
		t.Fatalf("%s is no pcap with nanoseconds", path)
	}
	var out []stored
	for b = b[24:]; len(b) > 0; {
		if len(b) < 16 || len(b) < 16+int(le.Uint32(b[8:])) {
			t.Fatalf("%s ends within packet %d", path, len(out)+1)
		}
		n := int(le.Uint32(b[8:]))
		out = append(out, stored{int64(le.Uint32(b))*1e9 + int64(le.Uint32(b[4:])), le.Uint32(b[12:]), string(b[16 : 16+n])})
		b = b[16+n:]
	}
	return out
}

// packetsOf are the packets of a capture of any format, as editcap reads it; nil
// where it has several link types, which a pcap cannot hold.
func packetsOf(t *testing.T, path string) []stored {
	t.Helper()
	to := filepath.Join(t.TempDir(), "plain.pcap")
	if out, err := exec.Command("editcap", "-F", "nsecpcap", path, to).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "can't be saved") {
			return nil
		}
		t.Fatalf("editcap %s: %v: %s", path, err, out)
	}
	return readClassic(t, to)
}

// spooled is a capture that was read with a spool.
type spooled struct {
	dir     string
	calls   map[string][]*record.Call // by Call-ID
	orphans []*record.Stream
	summary string
}

// spoolRead reads captures with a spool of its own.
func spoolRead(t *testing.T, workers string, path string, flags ...string) *spooled {
	t.Helper()
	s := &spooled{dir: t.TempDir(), calls: map[string][]*record.Call{}}
	out := filepath.Join(t.TempDir(), "records.json")
	args := append([]string{"read", "--utc", "--spool", s.dir, "--spool-root", "--spool-reserve", "64MiB", "--workers", workers, "--json", out}, flags...)
	s.summary, _ = ringside(t, 0, append(args, path)...)
	if strings.Contains(s.summary, "NOT BALANCE") {
		t.Errorf("the ledger does not balance:\n%s", s.summary)
	}
	for _, c := range readRecords(t, out, &s.orphans) {
		s.calls[c.CallID] = append(s.calls[c.CallID], c)
	}
	return s
}

// readRecords reads what --json wrote.
func readRecords(t *testing.T, path string, orphans *[]*record.Stream) (calls []*record.Call) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var line json.RawMessage
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			return calls
		} else if err != nil {
			t.Fatal(err)
		}
		var kind struct {
			Type   string
			Orphan bool
		}
		c, s := new(record.Call), new(record.Stream)
		err := json.Unmarshal(line, &kind)
		switch {
		case kind.Type != "":
		case kind.Orphan:
			err = errors.Join(err, json.Unmarshal(line, s))
			if orphans != nil {
				*orphans = append(*orphans, s)
			}
		default:
			err = errors.Join(err, json.Unmarshal(line, c))
			calls = append(calls, c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// export is the packets of a Call-ID, nil if there are none.
func (s *spooled) export(t *testing.T, id string, flags ...string) []stored {
	t.Helper()
	to := filepath.Join(t.TempDir(), "call.pcap")
	args := append([]string{"pcap", "--spool", s.dir, "--pcap", "-o", to}, flags...)
	var out, errs bytes.Buffer
	code := cli.Main(context.Background(), append(args, "--", id), strings.NewReader(""), &out, &errs)
	if code == 1 && strings.Contains(errs.String(), " has none of ") {
		return nil
	}
	if code != 0 {
		t.Fatalf("export %q: exit %d: %s", id, code, errs.String())
	}
	return readClassic(t, to)
}
