package cli

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
)

func TestFileName(t *testing.T) {
	c := &record.Call{Caller: record.Party{Number: "+49/30"}, Called: record.Party{Number: ".1"}}
	begin := time.Date(2026, 1, 5, 10, 4, 5, 0, time.UTC)
	long := strings.Repeat("x", 101)
	for _, tc := range []struct{ template, id, want string }{
		{"{call_id}", "a84b4c76e66710@pc33.example.com", "a84b4c76e66710@pc33.example.com"},
		{"{call_id}", "../../etc/passwd", "_._.._etc_passwd"},
		{"{call_id}", "-rf *", "_rf__"},
		{"{call_id}", "grüße\x00\n", "gr__e__"},
		{"{call_id}", long[:100], long[:100]},
		{"{call_id}", long, "_hash_608367d7ab56b138608cbf35a9a32c02"},
		{"{date}_{time}-{caller}-{called}_x", "id", "2026-01-05_10-04-05-+49_30-_1_x"},
		{"callid_{call_id}.v1", "id", "callid_id.v1"},
	} {
		t.Run(tc.template+" "+tc.id, func(t *testing.T) {
			if got := fileName(tc.template, tc.id, begin, c); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
	if got := fileName("{caller}", "id", begin, nil); got != "unknown" {
		t.Errorf("without a record: %q", got)
	}
	one, two := fileName(long+"{call_id}", "one", begin, c), fileName(long+"{call_id}", "two", begin, c)
	if len(one) != 100 || len(two) != 100 || one == two || !strings.HasPrefix(one, "xxx") || !strings.Contains(one, "_hash_") {
		t.Errorf("cut to %q and %q", one, two)
	}
}

// filesOf are the files of a directory with their packets.
func filesOf(t *testing.T, dir string) map[string][]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = nil
		if strings.HasSuffix(e.Name(), ".pcapng") {
			out[e.Name()] = packetsOf(t, b)
		}
	}
	return out
}

// Every call gets a file with its own packets and no others.
func TestPcapEach(t *testing.T) {
	dir, a := exampleSpool(t), answeredCall()
	leg, link := otherLeg()
	leg.Start = a.Start // the template of the numbers tells them apart
	db := storeOf(t, a, leg, link)
	for _, tc := range []struct {
		name string
		args []string
		want map[string]int // packets by file
		says string
	}{
		{"by Call-ID", []string{a.CallID, "other"}, map[string]int{a.CallID + ".pcapng": 12, "other.pcapng": 6}, "18 packets of 2 Call-IDs"},
		{"one is missing", []string{"other", "missing", "--sip"}, map[string]int{"other.pcapng": 6}, "missing: no signalling of it in the spool"},
		{"template", []string{"--db", db, "--utc", "--caller", "555", "--name", "call_{date}_{time}_{caller}"}, map[string]int{"call_2026-01-05_10-00-00_555.pcapng": 6}, "6 packets of 1 Call-ID"},
		{"the same name twice", []string{a.CallID, "other", "--utc", "--name", "{date}"}, map[string]int{"2026-01-05.pcapng": 12, "2026-01-05-2.pcapng": 6}, "18 packets"},
		{"of a time", []string{a.CallID, "--utc", "--sip", "--from", "2026-01-05 10:00:10", "--to", "2026-01-05 10:00:30"}, map[string]int{a.CallID + ".pcapng": 2}, "2 packets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "calls", "each")
			code, out, errs := run(t, append([]string{"pcap", "--spool", dir, "--each", to}, tc.args...)...)
			if code != exitOK || out != "" || !strings.Contains(errs, tc.says) {
				t.Fatalf("exit %d: %s%s", code, out, errs)
			}
			got := filesOf(t, to)
			if len(got) != len(tc.want) {
				t.Errorf("files %v", got)
			}
			for name, n := range tc.want {
				if len(got[name]) != n || slices.ContainsFunc(got[name], func(p string) bool { return p[:3] != got[name][0][:3] }) {
					t.Errorf("%s has %q, want %d packets of one call", name, got[name], n)
				}
			}
		})
	}
	to := t.TempDir()
	if code, _, errs := run(t, "pcap", "--spool", dir, "--each", to, "missing"); code != exitFailure || len(filesOf(t, to)) != 0 {
		t.Errorf("without packets: exit %d, %v: %s", code, filesOf(t, to), errs)
	}
	put(t, dir, frame.LinkRaw, packet{"other", at(20*time.Second + 5), "rtp raw"})
	if code, _, errs := run(t, "pcap", "--spool", dir, "--each", to, "--pcap", a.CallID, "other"); code != exitFailure || !strings.Contains(errs, "leave out --pcap") || len(filesOf(t, to)) != 1 {
		t.Errorf("two link types: exit %d, %v: %s", code, filesOf(t, to), errs)
	}
}

// The archive has the folders of the reference's spool, and only complete files.
func TestPcapTar(t *testing.T) {
	dir, a := exampleSpool(t), answeredCall()
	file := filepath.Join(t.TempDir(), "calls.tar")
	folder := "2026-01-05/10/00/"
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"all", []string{a.CallID, "other", "-q"}, []string{folder + "SIP/" + a.CallID + ".pcap", folder + "RTP/" + a.CallID + ".pcap", folder + "SIP/other.pcap"}},
		{"media", []string{a.CallID, "other", "--rtp"}, []string{folder + "RTP/" + a.CallID + ".pcap"}},
		{"pcapng", []string{"other", "--pcapng"}, []string{folder + "SIP/other.pcapng"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, errs := run(t, append([]string{"pcap", "--utc", "--spool", dir, "--tar", file}, tc.args...)...)
			if code != exitOK || out != "" {
				t.Fatalf("exit %d: %s", code, errs)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := tar.NewReader(bytes.NewReader(b))
			var got []string
			for {
				h, err := r.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, h.Name)
				if n, err := io.Copy(io.Discard, r); err != nil || n != h.Size || n < 24+6*16 || h.ModTime.Unix() != time.Unix(0, at(0)).Unix() {
					t.Errorf("%s: %d bytes of %v, %v", h.Name, n, h.ModTime, err)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q\nwant %q", got, tc.want)
			}
		})
	}
	entries, _ := os.ReadDir(filepath.Dir(file))
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if code, out, _ := run(t, "pcap", "--spool", dir, "--tar", "-", "other"); code != exitOK || len(out)%512 != 0 || !strings.Contains(out[:100], "SIP/other.pcap") {
		t.Errorf("to standard output: exit %d, %d bytes", code, len(out))
	}
	file += ".none"
	if code, _, _ := run(t, "pcap", "--spool", dir, "--tar", file, "missing"); code != exitFailure {
		t.Errorf("without packets: exit %d", code)
	}
	put(t, dir, frame.LinkRaw, packet{a.CallID, at(20*time.Second + 5), "rtp raw"})
	if code, _, errs := run(t, "pcap", "--spool", dir, "--tar", file, a.CallID); code != exitFailure || !strings.Contains(errs, "add --pcapng") {
		t.Errorf("two link types: exit %d: %s", code, errs)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("half an archive stays")
	}
}
