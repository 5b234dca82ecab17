package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/writer/pcap"
	"ringside/writer/spool"
)

// packet is a packet of a test spool.
type packet struct {
	key  string
	time int64
	text string
}

// put writes packets into a spool, those with a text of "rtp…" as media.
func put(t *testing.T, dir string, link frame.LinkType, packets ...packet) {
	t.Helper()
	s, err := spool.Open(spool.Options{Dir: dir, Memory: 1 << 20, Limits: spool.Limits{Reserve: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	tapes := map[string]*spool.Tape{}
	for _, p := range packets {
		class := spool.SIP
		if strings.HasPrefix(p.text, "rtp") {
			class = spool.RTP
		}
		k := class.String() + p.key
		if tapes[k] == nil {
			tapes[k] = new(spool.Tape)
		}
		if !s.Shard(0).Put(tapes[k], class, p.key, p.time, link, &pcap.Packet{Time: p.time, Data: []byte(p.text), Len: uint32(len(p.text))}) {
			t.Fatal("a packet was refused")
		}
	}
	s.Shard(0).Flush()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// exampleSpool has the packets of the answered call of the examples, and of
// another one.
func exampleSpool(t *testing.T) (dir string) {
	dir = t.TempDir()
	id := answeredCall().CallID
	var all []packet
	for i := range 6 {
		when := at(time.Duration(i) * 10 * time.Second)
		all = append(all, packet{id, when, fmt.Sprintf("sip %d", i)}, packet{"other", when + 1, "sip of other"}, packet{id, when + 2, fmt.Sprintf("rtp %d", i)})
	}
	put(t, dir, frame.LinkEthernet, all...)
	return dir
}

func TestSpoolList(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	dir := exampleSpool(t)
	code, out, errs := run(t, "spool", "ls", "--utc", "--quota", "100GB", "--reserve", "1GiB", dir)
	if code != exitOK || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"2026-01-05/10/00-rtp-0.pcapng  closed      1        6",
		"2026-01-05/10/00-sip-0.pcapng.gz  closed      2       12",
		"2026-01-05 10:00:00  2026-01-05 10:00:50", "the spool may take 93.1 GiB, 1.0 GiB stay free", "> 10 years",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the list does not say %q:\n%s", want, out)
		}
	}
	strange := "a\x1b[31m\u202eb"
	if code, _, errs := run(t, "spool", "hold", dir, strange); code != exitOK {
		t.Fatal(errs)
	}
	if _, held, _ := run(t, "spool", "ls", dir); !strings.Contains(held, "a?[31m?b") {
		t.Errorf("a held call as it came from the network:\n%q", held)
	}
	_, narrow, _ := run(t, "spool", "ls", "--utc", "--width", "60", dir)
	for l := range strings.Lines(narrow) {
		if cells(l) > 61 && !strings.HasPrefix(l, "volume") {
			t.Errorf("too long: %q", l)
		}
	}
	_, out, _ = run(t, "spool", "ls", "--json", dir)
	var l spoolList
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatal(err)
	}
	if len(l.Segments) != 2 || l.Classes[0].Packets != 12 || l.Classes[1].Packets != 6 || l.Classes[0].From != "2026-01-05T10:00:00Z" || l.Volume <= 0 || l.Classes[1].Rate <= 0 {
		t.Errorf("%+v", l)
	}
	if _, out, _ = run(t, "spool", "ls", "--totals", dir); strings.Contains(out, ".pcapng") {
		t.Errorf("not only totals:\n%s", out)
	}
}

// Damage is found, told by every command, and repaired; what is whole stays.
func TestSpoolCheckAndRepair(t *testing.T) {
	dir := exampleSpool(t)
	code, out, _ := run(t, "spool", "check", dir)
	if code != exitOK || !strings.Contains(out, "2 segments whole: 18 packets") {
		t.Fatalf("exit %d: %s", code, out)
	}
	if code, out, _ = run(t, "spool", "repair", dir); code != exitOK || out != "nothing to repair\n" {
		t.Fatalf("exit %d: %s", code, out)
	}
	rtp := filepath.Join(dir, "2026-01-05", "10", "00-rtp-0.pcapng")
	whole, err := os.ReadFile(rtp)
	if err != nil {
		t.Fatal(err)
	}
	// The index is gone, and a crash has left a segment of another minute.
	if err := os.WriteFile(rtp, whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(rtp), ".07-rtp-0.pcapng"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := run(t, "spool", "check", dir)
	if code != exitFailure || !strings.Contains(out, "damaged: 2026-01-05/10/00-rtp-0.pcapng: ") || !strings.Contains(out, "1 segment open") || !strings.Contains(errs, "spool repair") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if _, out, _ = run(t, "spool", "ls", dir); !strings.Contains(out, "damaged: ") || !strings.Contains(out, " open ") {
		t.Errorf("the list does not tell damage:\n%s", out)
	}
	code, out, errs = run(t, "spool", "repair", "--json", dir)
	if code != exitOK || strings.Count(out, `"repaired"`) != 2 || strings.Count(out, `"packets":6`) != 2 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, _ = run(t, "spool", "check", dir); code != exitOK || !strings.Contains(out, "3 segments whole: 24 packets") {
		t.Errorf("after the repair: exit %d: %s", code, out)
	}
}

// A spool that somebody writes to is not repaired.
func TestSpoolRepairInUse(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(spool.Options{Dir: dir, Memory: 1 << 20, Limits: spool.Limits{Reserve: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if code, _, errs := run(t, "spool", "repair", dir); code != exitFailure || !strings.Contains(errs, "used by another process") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestSpoolUsage(t *testing.T) {
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"spool", exitUsage, "ls, check, repair, hold, release or probe"},
		{"spool ls", exitUsage, "at least 1 arg"},
		{"spool ls --quota 3apples x", exitUsage, "200GiB"},
		{"spool ls --quota 3GiB,video=1GiB x", exitUsage, "write one of sip, rtp, register"},
		{"spool ls --days sip=0 x", exitUsage, "days above 0"},
		{"spool ls . nowhere", exitUnavailable, "nowhere"},
		{"spool hold .", exitUsage, "at least 2 arg"},
		{"spool hold nowhere x", exitUnavailable, "nowhere"},
		{"spool hold . x --db nowhere.db", exitUnavailable, "nowhere.db"},
		{"spool release nowhere x", exitUnavailable, "nowhere"},
		{"spool ls spool.go", exitUnavailable, "it is no directory"},
		{"spool ls nowhere", exitUnavailable, "nowhere"},
		{"spool check nowhere", exitUnavailable, "nowhere"},
		{"spool repair nowhere", exitUnavailable, "nowhere"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			if code, _, errs := run(t, strings.Fields(tc.args)...); code != tc.code || !strings.Contains(errs, tc.says) {
				t.Errorf("exit %d, want %d: %s", code, tc.code, errs)
			}
		})
	}
}

// A spool that is not there is not made: it may be the one below a lost mount.
func TestReadNoSpool(t *testing.T) {
	code, _, errs := run(t, "read", "--spool", t.TempDir()+"/none", "spool.go")
	if code == exitOK || !strings.Contains(errs, "make the directory first") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"1024": 1 << 30, "1KiB": 1024, "1.5 GiB": 3 << 29, "2TB": 2e12, "10B": 10, "3k": 3072, "40G": 40 << 30,
		"": 0, "GiB": 0, "1X": 0, "-1GB": 0, "1iB": 0, "1KKB": 0, "NaN": 0, "9000EiB": 0, "0": 0,
	} {
		got, err := parseSize(s)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
}
