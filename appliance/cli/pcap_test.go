package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/writer/pcap"
	"ringside/writer/spool"
)

// packetsOf are the packets of a capture file, as "key: text".
func packetsOf(t *testing.T, file []byte) []string {
	t.Helper()
	var r pcap.Reader
	if err := r.Reset(file); err != nil {
		t.Fatal(err)
	}
	var out []string
	var p pcap.Packet
	last := int64(0)
	for r.Next(&p) {
		if p.Time < last {
			t.Errorf("packet %d goes back in time", len(out))
		}
		last = p.Time
		out = append(out, fmt.Sprintf("%s: %s", p.Comment, p.Data))
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return out
}

func storeOf(t *testing.T, records ...any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "calls.db")
	s, err := newStoreSink(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := s.take(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// otherLeg is a call that is linked with the answered one.
func otherLeg() (*record.Call, *record.Link) {
	a, b := answeredCall(), answeredCall()
	b.ID, b.CallID, b.Start, b.Caller.Number = 99, "other", a.Start+1, "555"
	return b, &record.Link{ID: 1, First: a.ID, Second: b.ID, Start: a.Start, Other: b.Start, Reason: record.LinkXCallID, Score: 100}
}

func TestPcap(t *testing.T) {
	dir, a := exampleSpool(t), answeredCall()
	leg, link := otherLeg()
	db := storeOf(t, a, leg, link)
	var sip, rtp, both, other []string
	for i := range 6 {
		s, o, m := fmt.Sprintf("%s: sip %d", a.CallID, i), "other: sip of other", fmt.Sprintf("%s: rtp %d", a.CallID, i)
		sip, rtp, both, other = append(sip, s), append(rtp, m), append(both, s, m), append(other, o)
	}
	var all []string
	for i := range 6 {
		all = append(all, sip[i], other[i], rtp[i])
	}
	for _, tc := range []struct {
		name string
		args []string
		want []string
	}{
		{"by Call-ID", []string{a.CallID}, both},
		{"twice", []string{a.CallID, a.CallID}, both},
		{"of two calls", []string{a.CallID, "other"}, all},
		{"signalling", []string{a.CallID, "--sip"}, sip},
		{"media", []string{a.CallID, "--rtp"}, rtp},
		{"both classes", []string{a.CallID, "--rtp", "--sip"}, both},
		{"of a time", []string{a.CallID, "--utc", "--sip", "--from", "2026-01-05 10:00:10", "--to", "2026-01-05 10:00:30"}, sip[1:3]},
		{"up to a time", []string{a.CallID, "--utc", "--sip", "--to", "2026-01-05 10:00:30"}, sip[:3]},
		{"from a time", []string{a.CallID, "--utc", "--sip", "--from", "2026-01-05 10:00:30"}, sip[3:]},
		{"by Call-ID, with a store", []string{a.CallID, "--db", db}, both},
		{"by id", []string{fmt.Sprint(a.ID), "--db", db}, both},
		{"not in the store yet", []string{"other", "--db", storeOf(t, a)}, other},
		{"with legs", []string{fmt.Sprint(a.ID), "--db", db, "--legs"}, all},
		{"legs from the other side", []string{"99", "--db", db, "--legs", "--rtp"}, rtp},
		{"by filter", []string{"--db", db, "--caller", "+4930*"}, both},
		{"by time of the call", []string{"--db", db, "--utc", "--from", "2026-01-05 10:00:00"}, all},
		{"by filter with legs", []string{"--db", db, "--caller", "555", "--legs", "--pcapng"}, all},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, errs := run(t, append([]string{"pcap", "--spool", dir}, tc.args...)...)
			if code != exitOK {
				t.Fatalf("exit %d: %s", code, errs)
			}
			got := packetsOf(t, []byte(out))
			if strings.Join(got, "\n") != strings.Join(tc.want, "\n") {
				t.Errorf("got %q\nwant %q", got, tc.want)
			}
			if !strings.HasPrefix(errs, fmt.Sprintf("%d packets of ", len(tc.want))) {
				t.Errorf("says %q", errs)
			}
		})
	}
}

// A call that still runs, in a spool that is being written.
func TestPcapLive(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(spool.Options{Dir: dir, Memory: 1 << 20, Limits: spool.Limits{Reserve: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var tape spool.Tape
	for i := range 3 {
		when := at(time.Duration(i) * time.Second)
		s.Shard(0).Put(&tape, spool.SIP, "live", when, frame.LinkEthernet, &pcap.Packet{Time: when, Data: []byte{'0' + byte(i)}, Len: 1})
		s.Shard(0).Flush()
		s.Flush()
		code, out, errs := run(t, "pcap", "--spool", dir, "live")
		if code != exitOK {
			t.Fatalf("packet %d: exit %d: %s", i, code, errs)
		}
		if got := packetsOf(t, []byte(out)); len(got) != i+1 || got[i] != fmt.Sprintf("live: %d", i) {
			t.Errorf("after packet %d: %q", i, got)
		}
	}
}

func TestPcapFile(t *testing.T) {
	dir, id := exampleSpool(t), answeredCall().CallID
	path := filepath.Join(t.TempDir(), "call.pcap")
	code, out, errs := run(t, "pcap", "--spool", dir, id, "--pcap", "-q", "-o", path)
	if code != exitOK || out+errs != "" {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b[:4], []byte{0x4d, 0x3c, 0xb2, 0xa1}) || len(b) != 24+12*(16+5) {
		t.Errorf("%d bytes beginning with %x", len(b), b[:4])
	}
	// A second link type fits into pcapng only; no half file stays.
	put(t, dir, frame.LinkRaw, packet{id, at(20*time.Second + 5), "rtp raw"})
	code, _, errs = run(t, "pcap", "--spool", dir, id, "--pcap", "-o", path)
	if code != exitFailure || !strings.Contains(errs, "link types") || !strings.Contains(errs, "leave out --pcap") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, out, _ := run(t, "pcap", "--spool", dir, id, "-o", "-"); code != exitOK || len(packetsOf(t, []byte(out))) != 13 {
		t.Errorf("as pcapng: exit %d", code)
	}
	// Nothing found: no file.
	path += ".none"
	if code, _, _ := run(t, "pcap", "--spool", dir, "nobody", "-o", path); code != exitFailure {
		t.Errorf("exit %d", code)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file without packets")
	}
}

// Why there are no packets, by the record of the call.
func TestWhyMissing(t *testing.T) {
	c := &record.Call{Rule: "all", Start: t0, End: at(time.Minute), Last: at(time.Minute)}
	holds := func(from time.Duration) *daemon.SpoolClass {
		return &daemon.SpoolClass{Packets: 1, First: at(from), Last: at(from)}
	}
	whole := record.Stored{Level: record.Whole, Packets: 7}
	for _, tc := range []struct {
		stored record.Stored
		class  *daemon.SpoolClass
		says   string
	}{
		{record.Stored{}, holds(0), "the record tells of no spool"},
		{record.Stored{Level: record.NotWanted}, holds(0), "not wanted by the capture rule all"},
		{record.Stored{Level: record.Whole, Missed: 5}, holds(0), "5 packets wanted by the capture rule all, but memory was short"},
		{record.Stored{Level: record.HeaderOnly}, holds(0), "wanted by the capture rule all, but there was none"},
		{whole, holds(time.Hour), "expired: 7 packets were stored, and the oldest that the spool holds are of 2026-01-05 11:00:00.000 UTC"},
		{whole, &daemon.SpoolClass{}, "7 packets were stored, but the spool holds none of this class any more: expired, or it is another spool"},
		{whole, holds(30 * time.Second), "7 packets were stored, but are not here: removed,"},
		{record.Stored{Level: record.Whole, Packets: 7, Missed: 1}, holds(0), "7 packets were stored, but are not here"},
	} {
		t.Run(tc.says, func(t *testing.T) {
			if got := why(tc.stored, c, tc.class, wide); !strings.HasPrefix(got, tc.says) {
				t.Errorf("says %q", got)
			}
		})
	}
}

func TestPcapMissing(t *testing.T) {
	dir := exampleSpool(t)
	missing := busyCall()
	missing.CallID = "missing"
	for _, tc := range []struct {
		name string
		args []string
		says []string
	}{
		{"no store", nil, []string{"missing: nothing of it in the spool, which holds packets from 2026-01-05 10:00:00.000 UTC to 2026-01-05 10:00:50.000 UTC", "is the Call-ID whole?", "--db"}},
		{"no store, media only", []string{"--rtp"}, []string{"missing: no media of it in the spool"}},
		{"not in the store", []string{"--db", storeOf(t, busyCall())}, []string{"and not in the store"}},
		{"no spool", []string{"--db", storeOf(t, missing)}, []string{"missing: signalling: the record tells of no spool", "missing: media: the record tells of no spool"}},
		{"media only", []string{"--rtp", "--db", storeOf(t, missing)}, []string{"missing: media: the record tells of no spool"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, errs := run(t, append([]string{"pcap", "--utc", "--spool", dir, "missing"}, tc.args...)...)
			if code != exitFailure || out != "" {
				t.Errorf("exit %d, %d bytes", code, len(out))
			}
			for _, want := range append(tc.says, "has none of 1 Call-ID") {
				if !strings.Contains(errs, want) {
					t.Errorf("does not say %q:\n%s", want, errs)
				}
			}
			if n := strings.Count(errs, "\n"); n != len(tc.says)+1 && tc.name != "no store" {
				t.Errorf("%d lines:\n%s", n, errs)
			}
		})
	}
	if _, _, errs := run(t, "pcap", "--spool", t.TempDir(), "x"); !strings.Contains(errs, "the spool is empty") {
		t.Errorf("an empty spool: %s", errs)
	}
}

func TestPcapDamage(t *testing.T) {
	dir := exampleSpool(t)
	sip := filepath.Join(dir, "2026-01-05", "10", "00-sip-0.pcapng.gz")
	b, err := os.ReadFile(sip)
	if err != nil {
		t.Fatal(err)
	}
	b[20] ^= 0xFF
	b[len(b)-20] ^= 0xFF
	if err := os.WriteFile(sip, b, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := run(t, "pcap", "--spool", dir, answeredCall().CallID)
	if code != exitOK || len(packetsOf(t, []byte(out))) != 6 || !strings.Contains(errs, "could not be read; ringside spool check") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestPcapUsage(t *testing.T) {
	db := storeOf(t, answeredCall())
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"pcap x", exitUsage, "give --spool DIR"},
		{"pcap --spool d", exitUsage, "of which calls?"},
		{"pcap --spool d --caller 1", exitUsage, "give --db PATH"},
		{"pcap --spool d x --caller 1", exitUsage, "not both"},
		{"pcap --spool d x --legs", exitUsage, "leave out --legs"},
		{"pcap --spool d x --pcap --pcapng", exitUsage, "choose one"},
		{"pcap --spool d x --each e --tar t", exitUsage, "choose one of --output, --each and --tar"},
		{"pcap --spool d x --each e -o o", exitUsage, "choose one of --output, --each and --tar"},
		{"pcap --spool d x --name {date}", exitUsage, "add --each DIR"},
		{"pcap --spool d x --each e --name {caller}", exitUsage, "give --db PATH"},
		{"pcap --spool d x --each e --name {number}", exitUsage, "write {call_id}, {date}, {time}, {caller}, {called}"},
		{"pcap --spool d x --each e --name ../x", exitUsage, "without /"},
		{"pcap --spool . --spool nowhere x", exitUnavailable, "nowhere"},
		{"pcap --spool d x --from noon", exitUsage, "parse time"},
		{"pcap --spool . x --db nowhere.db", exitUnavailable, "nowhere.db"},
		{"pcap --spool nowhere x", exitUnavailable, "nowhere"},
		{"pcap --spool . --db " + db + " --caller nobody", exitFailure, "meets the filters"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			if code, _, errs := run(t, strings.Fields(tc.args)...); code != tc.code || !strings.Contains(errs, tc.says) {
				t.Errorf("exit %d, want %d: %s", code, tc.code, errs)
			}
		})
	}
	if code, _, errs := run(t, "pcap", "--spool", "d", ""); code != exitUsage || !strings.Contains(errs, "a Call-ID is empty") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := run(t, "pcap", "--spool", "d", "--caller", ""); code != exitUsage || !strings.Contains(errs, "empty") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
