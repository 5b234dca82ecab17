package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/dataplane/frame"
	"ringside/flow/rule"
	"ringside/writer/spool"
)

func TestSpoolFlags(t *testing.T) {
	const g, day = int64(1 << 30), 24 * time.Hour
	want := &daemon.SpoolOptions{
		Dir: "s", RulesFile: "r", AllowRoot: true, Memory: 256 << 20, Wait: true,
		Quota: daemon.SpoolQuota{Total: 500 * g, Reserve: g, Bytes: [3]int64{50 * g, 400 * g, 0}, Age: [3]time.Duration{90 * day, 30 * day, 30 * day}},
		Cold:  []daemon.SpoolDir{{Dir: "c", Limits: daemon.SpoolQuota{Total: 5 << 40, Reserve: 2 * g, Bytes: [3]int64{g, 0, 0}, Age: [3]time.Duration{0, 12 * time.Hour, 0}}}},
	}
	for _, tc := range []struct{ name, line string }{
		{"own names", "--spool s --rules r --spool-root --spool-memory 256MiB --spool-quota 500GiB,rtp=400GiB,sip=50GiB --spool-days sip=90,30 --spool-reserve 1GiB " +
			"--spool-cold c --spool-cold-quota 5TiB,sip=1GiB --spool-cold-days rtp=0.5 --spool-cold-reserve 2GiB"},
		{"names of others, in MiB", "--spooldir s --rules r --spool-root --spool-memory 256 --maxpoolsize 512000 --maxpoolrtpsize 409600 --maxpoolsipsize 51200 --maxpooldays 30 --maxpoolsipdays 90 " +
			"--spool-reserve 1024 --spooldir_2 c --maxpoolsize_2 5242880 --maxpoolsipsize_2 1024 --maxpoolrtpdays_2 0.5 --spool-cold-reserve 2048"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := parseRead(tc.line + " x")
			if err != nil {
				t.Fatal(err)
			}
			if got := f.spool.options(true); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
	if f, err := parseRead("x"); err != nil || f.spool.options(true) != nil {
		t.Errorf("without flags packets are stored: %v", err)
	}
	err := withRemedy(fmt.Errorf("open spool: /x %w: allow it", daemon.ErrSpoolOnRoot))
	if !strings.HasSuffix(err.Error(), "allow it: --spool-root") {
		t.Errorf("refused without the flag that helps: %v", err)
	}
	_, bad := rule.Parse("what\nwhat")
	err = withRemedy(fmt.Errorf("read capture rules x: %w", bad))
	if exitCode(err) != exitConfig || strings.Contains(err.Error(), "\n") || !strings.HasSuffix(err.Error(), ": see ringside rules check") {
		t.Errorf("rules refused with exit code %d: %q", exitCode(err), err)
	}
}

// What holds is said once, before the read, unless it is to be quiet.
func TestReadSaysWhatHolds(t *testing.T) {
	for quiet, want := range map[bool]int{false: 1, true: 0} {
		s := sample()
		s.said = []string{"spool /x: 40 GiB of a volume of 50 GiB"}
		var out, errs strings.Builder
		if err := read(t.Context(), readFlags{quiet: quiet, spool: spoolFlags{dir: "/x"}}, &style{}, s.open, &out, &errs); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String()+errs.String(), s.said[0]); n != want || strings.Contains(out.String(), s.said[0]) {
			t.Errorf("quiet %v: said %d times, want %d:\n%s", quiet, n, want, errs.String())
		}
	}
}

// twoDirs is a spool in two directories: the first call of exampleSpool has
// moved on.
func twoDirs(t *testing.T) (hot, cold string) {
	hot, cold = t.TempDir(), t.TempDir()
	put(t, hot, frame.LinkEthernet, packet{"new", at(time.Hour), "sip new"})
	put(t, cold, frame.LinkEthernet, packet{"old", at(0), "sip old"}, packet{"new", at(time.Minute), "rtp of new"})
	return hot, cold
}

func TestSeveralDirs(t *testing.T) {
	hot, cold := twoDirs(t)
	code, out, errs := run(t, "pcap", "--spool", hot, "--spool", cold, "new", "old")
	if want := []string{"old: sip old", "new: rtp of new", "new: sip new"}; code != exitOK || !slices.Equal(packetsOf(t, []byte(out)), want) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, out, errs = run(t, "spool", "ls", "--utc", hot, cold)
	if code != exitOK || !strings.Contains(out, "\n2026-01-05/11/00-sip-0") ||
		!strings.Contains(out, filepath.Join(cold, "2026-01-05/10/00-sip-0")) || !strings.Contains(out, cold+": volume") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if _, out, _ = run(t, "spool", "ls", "--json", hot, cold); strings.Count(out, `"dir"`) != 2+2 || !strings.Contains(out, `"further"`) {
		t.Errorf("as JSON: %s", out)
	}
	if code, out, errs = run(t, "spool", "check", hot, cold); code != exitOK || !strings.Contains(out, "3 segments whole: 3 packets") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	path := filepath.Join(cold, "2026-01-05", "10", "01-rtp-0.pcapng")
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if code, out, _ = run(t, "spool", "check", hot, cold); code != exitFailure || !strings.Contains(out, "damaged: "+path) {
		t.Errorf("exit %d: %s", code, out)
	}
}

// A quota that ringside would refuse is told.
func TestSpoolListDoubt(t *testing.T) {
	_, out, _ := run(t, "spool", "ls", "--quota", "4000PiB", "--reserve", "1GiB", exampleSpool(t))
	if !strings.Contains(out, "would not start with that: a quota of 4000 PiB does not fit") {
		t.Errorf("says %s", out)
	}
}

// A held call survives pruning, its neighbour does not.
func TestSpoolHold(t *testing.T) {
	dir := t.TempDir()
	a := answeredCall()
	put(t, dir, frame.LinkEthernet, packet{a.CallID, at(0), "sip kept"}, packet{"neighbour", at(10 * time.Minute), "sip gone"})
	code, out, errs := run(t, "spool", "hold", "--db", storeOf(t, a), dir, fmt.Sprint(a.ID), "unknown")
	if code != exitOK || out != "held in "+dir+": 2 calls\n" || errs != "unknown is not in the store: held as a Call-ID, whenever it is\n" {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	_, out, _ = run(t, "spool", "ls", "--utc", dir)
	for _, want := range []string{"Held call", a.CallID + " 2026-01-05 09:59:50 2026-01-05 10:0", "unknown"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("the list does not say %q:\n%s", want, out)
		}
	}
	if _, out, _ = run(t, "spool", "ls", "--json", dir); !strings.Contains(out, `"call_id": "`+a.CallID+`"`) {
		t.Errorf("as JSON: %s", out)
	}

	o := spool.Options{Dir: dir, Memory: 1 << 20, AllowRoot: true, Now: func() time.Time { return time.Unix(0, at(24*time.Hour)) },
		Limits: spool.Limits{Reserve: 1 << 20, Age: [3]time.Duration{time.Hour, time.Hour, time.Hour}}}
	s, err := spool.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if code, out, _ := run(t, "pcap", "--spool", dir, a.CallID); code != exitOK || len(packetsOf(t, []byte(out))) != 1 {
		t.Errorf("of the held call: exit %d", code)
	}
	if code, _, _ := run(t, "pcap", "--spool", dir, "neighbour"); code != exitFailure {
		t.Errorf("of its neighbour: exit %d", code)
	}

	if code, out, _ = run(t, "spool", "release", dir, a.CallID, a.CallID); code != exitOK || out != "1 call released, 1 left in "+dir+"\n" {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, _, errs = run(t, "spool", "release", dir, a.CallID); code != exitFailure || !strings.Contains(errs, "1 call not held") {
		t.Errorf("exit %d: %s", code, errs)
	}
	s.Keep()
	if code, _, _ := run(t, "pcap", "--spool", dir, a.CallID); code != exitFailure {
		t.Errorf("of the call that was released: exit %d", code)
	}
}

// A call that is held twice is held for both times.
func TestHoldTwice(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct{ add, want daemon.SpoolHold }{
		{daemon.SpoolHold{Key: "x", From: 5, To: 9}, daemon.SpoolHold{Key: "x", From: 5, To: 9}},
		{daemon.SpoolHold{Key: "x", From: 7, To: 12}, daemon.SpoolHold{Key: "x", From: 5, To: 12}},
		{daemon.SpoolHold{Key: "x"}, daemon.SpoolHold{Key: "x"}},
		{daemon.SpoolHold{Key: "x", From: 5, To: 9}, daemon.SpoolHold{Key: "x"}},
	} {
		if n, err := daemon.HoldCalls(dir, []daemon.SpoolHold{tc.add}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if got, err := spool.ReadHolds(spool.OS, dir); err != nil || len(got) != 1 || got[0] != tc.want {
			t.Errorf("with %v: %v, %v", tc.add, got, err)
		}
	}
}

// The flags reach the spool: what is old moves on when it is opened, and what
// holds is said.
func TestReadMovesOn(t *testing.T) {
	hot, cold, id := exampleSpool(t), t.TempDir(), answeredCall().CallID
	capture := filepath.Join(t.TempDir(), "x.pcap")
	if code, _, errs := run(t, "pcap", "--spool", hot, "--sip", "--pcap", "-o", capture, id); code != exitOK {
		t.Fatal(errs)
	}
	flags := []string{"read", "--spool-root", "--spool", hot, "--spool-reserve", "1MiB", "--spool-memory", "2MiB", "--spool-quota", "100MiB,rtp=50MiB", "--spool-days", "sip=1",
		"--spool-cold", cold, "--spool-cold-reserve", "1MiB", "--spool-cold-quota", "200MiB"}
	code, _, errs := run(t, append(flags, capture)...)
	for _, want := range []string{"spool " + hot + ": 100 MiB of a volume of ", ", 1 MiB stay free, sip at most 1 days, rtp at most 50 MiB\n", "spool " + cold + ": 200 MiB of a volume of "} {
		if code != exitOK || !strings.Contains(errs, want) {
			t.Errorf("exit %d, does not say %q:\n%s", code, want, errs)
		}
	}
	for _, tc := range []struct {
		dir   string
		class string
		want  int
	}{{hot, "--rtp", 6}, {cold, "--sip", 6}, {hot, "--sip", 0}, {cold, "--rtp", 0}} {
		_, out, _ := run(t, "pcap", "--spool", tc.dir, tc.class, "-q", id)
		n := 0
		if out != "" {
			n = len(packetsOf(t, []byte(out)))
		}
		if n != tc.want {
			t.Errorf("%s of %s: %d packets, want %d", tc.class, tc.dir, n, tc.want)
		}
	}
}
