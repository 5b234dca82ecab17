package cli

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringside/appliance/config"
	"ringside/appliance/daemon"
)

// liveScript is a capture that hands over prepared records, and then waits for
// the end.
type liveScript struct {
	script
	status daemon.Status
	reload error
	rows   []daemon.LiveRow
	gaps   []daemon.Gap
	err    error
}

func (s *liveScript) Run(ctx context.Context) error {
	for _, c := range s.calls {
		_ = s.to.take(c)
	}
	<-ctx.Done()
	return s.err
}

func (s *liveScript) Describe() []string { return s.said }
func (s *liveScript) Lately() daemon.ServiceStatus {
	return daemon.ServiceStatus{Capture: s.status, Store: daemon.StoreStatus{Waiting: -1}}
}
func (s *liveScript) Reload(context.Context) ([]config.Change, error) { return nil, s.reload }
func (s *liveScript) Ledger() ([]daemon.LiveRow, []daemon.Gap)        { return s.rows, s.gaps }

func (s *liveScript) Report() daemon.LiveReport {
	return daemon.LiveReport{
		Report: daemon.Report{Frames: 42, Packets: 42, Ledger: []daemon.LedgerRow{{Stage: daemon.StageKind, Reason: "sip", Count: 42}}},
		Rows:   s.rows, Gaps: s.gaps, Behind: s.err == nil,
	}
}

func (s *liveScript) open(_ context.Context, _ runFlags, to sink, log *daemon.Log) (capturing, error) {
	s.to = to
	log.Info("the service speaks")
	return s, nil
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for a minute: " + what)
		}
	}
}

// heard is what a command says, for a test that looks while it runs.
type heard struct {
	l lines
	b bytes.Buffer
}

func newHeard() *heard { h := new(heard); h.l.to = &h.b; return h }

func (h *heard) Write(b []byte) (int, error) { return h.l.Write(b) }

func (h *heard) String() string {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	return h.b.String()
}

// While a capture runs it says how it goes, its exports can be read, and it
// shows the ledger when it is asked; in the end comes the summary.
func TestCaptureLive(t *testing.T) {
	s := &liveScript{
		reload: daemon.ErrNoConfig,
		script: script{calls: sample().calls, said: []string{"eth1: described"}},
		status: daemon.Status{Active: 3, Lost: []daemon.LiveRow{{Interface: "eth1", Stage: "ring", Reason: "full", Packets: 1204, Lost: true}}},
		rows:   []daemon.LiveRow{{Interface: "eth1", Stage: "nic", Reason: "received", Packets: 1_000_042}},
		gaps:   []daemon.Gap{{Interface: "eth1", Between: "here and there", Packets: 12}},
	}
	f := runFlags{readFlags: readFlags{json: filepath.Join(t.TempDir(), "out.json"), live: true}, statusEvery: 10 * time.Millisecond}
	ctx, end := context.WithCancel(t.Context())
	out, errs, done := newHeard(), newHeard(), make(chan error, 1)
	go func() { done <- captureLive(ctx, f, &style{utc: true}, s.open, out, errs) }()
	until(t, "a line of status", func() bool { return strings.Contains(errs.String(), "LOST eth1 ring full 1,204") })
	until(t, "JSON while it runs", func() bool {
		b, _ := os.ReadFile(f.json)
		return bytes.Count(b, []byte("\n")) == len(s.calls)
	})
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2} {
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the answer to SIGHUP", func() bool { return strings.Contains(errs.String(), "no configuration file") })
	until(t, "the ledger on SIGUSR2", func() bool { return strings.Contains(errs.String(), "1,000,042") })
	end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"eth1: described\n", "the service speaks\n"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("not said: %q in\n%s", want, errs)
		}
	}
	if strings.Contains(out.String(), "between decoder and shards") {
		t.Errorf("the gap is elsewhere:\n%s", out)
	}
	for _, want := range []string{"\nCalls\n", "42  balances", "On eth1", "DOES NOT BALANCE: eth1: 12"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, out)
		}
	}
}

// A capture that fails says so, and shows what there is.
func TestCaptureLiveFails(t *testing.T) {
	s := &liveScript{err: errors.New("eth1 burst into flames")}
	ctx, end := context.WithCancel(t.Context())
	end()
	var out, errs bytes.Buffer
	err := captureLive(ctx, runFlags{}, &style{}, s.open, &out, &errs)
	if err == nil || !strings.Contains(err.Error(), "flames") || !strings.Contains(out.String(), "ended early") {
		t.Errorf("%v; %s", err, &out)
	}
}

// A failed export is named, but the packets have all been seen.
func TestCaptureLiveFailedExport(t *testing.T) {
	s := &liveScript{script: script{calls: sample().calls}}
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	var out, errs bytes.Buffer
	err := captureLive(ctx, runFlags{readFlags: readFlags{json: "/dev/full"}}, &style{}, s.open, &out, &errs)
	if !errors.Is(err, syscall.ENOSPC) || strings.Contains(out.String(), "ended early") || !strings.Contains(out.String(), "42  balances") {
		t.Errorf("%v; %s", err, &out)
	}
}

// When an export has failed, the others get what is still reported.
func TestLiveSinks(t *testing.T) {
	for _, live := range []bool{false, true} {
		good, stopped := new(heldSink), 0
		s := &sinks{to: []sink{failingSink{}, good}, stop: func() { stopped++ }, live: live}
		for range 3 {
			if err := s.take(1); err == nil {
				t.Error("no error")
			}
		}
		if want := map[bool]int{true: 3}[live]; good.n != want || stopped != 1 {
			t.Errorf("live %v: %d records, want %d; stopped %d times", live, good.n, want, stopped)
		}
	}
}

type heldSink struct{ n int }

func (h *heldSink) take(any) error { h.n++; return nil }
func (h *heldSink) close() error   { return nil }

type failingSink struct{}

func (failingSink) take(any) error { return errors.New("full") }
func (failingSink) close() error   { return nil }

// Errors that were joined are one line.
func TestOneLine(t *testing.T) {
	if got := oneLine(errors.Join(errors.New("a"), errors.New("b\x1b")).Error() + "\n"); got != "a; b?" {
		t.Errorf("%q", got)
	}
}

func TestStatusLine(t *testing.T) {
	for _, tc := range []struct {
		name string
		s    daemon.Status
		db   daemon.StoreStatus
		want string
	}{
		{"quiet", daemon.Status{Spool: -1, CPU: []float64{0}}, daemon.StoreStatus{Waiting: -1}, "0 calls open, 0/s  SIP 0/s  RTP 0/s  0 Mbit/s  rings 0 %  CPU 0 %  0 bytes"},
		{
			"busy",
			daemon.Status{
				Active: 1200, Calls: 3.14, SIP: 42, RTP: 100_000.4, Bits: 171.2e6, Rings: 0.256, Spool: 0.5, CPU: []float64{0.81, 0.4}, Memory: 300 << 20,
				Lost: []daemon.LiveRow{{Interface: "eth1", Stage: "ring", Reason: "full", Packets: 1204, Rate: 12}, {Stage: "spool", Reason: "no memory", Packets: 3}},
				Gaps: []daemon.Gap{{Interface: "eth1", Between: "a and b", Packets: 9}}, Down: []string{"eth2: no link"},
			}, daemon.StoreStatus{Waiting: 0.01, Lost: 5, Away: true},
			"1,200 calls open, 3.1/s  SIP 42/s  RTP 100,000/s  171 Mbit/s  rings 26 %  spool 50 %  store queue 1 %  CPU 81+40 %  300.0 MiB" +
				"  LOST eth1 ring full 1,204 (12/s)  spool no memory 3  LOST store 5 records  AWAY store  LEDGER eth1: 9 packets are missing between a and b  DOWN eth2: no link",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := statusLine(daemon.ServiceStatus{Capture: tc.s, Store: tc.db}); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestRunFlags(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		says string
	}{
		{"no interface", nil, "name an interface"},
		{"empty interface", []string{"-i", ""}, "--interface"},
		{"twice", []string{"-i", "lo", "-i", "lo"}, "twice"},
		{"rings", []string{"-i", "lo", "--rings", "-1"}, "--rings -1"},
		{"many rings", []string{"-i", "lo", "--rings", "257"}, "up to 256"},
		{"XDP", []string{"-i", "lo", "--xdp", "fast"}, "write auto, native, generic or none"},
		{"meter", []string{"-i", "lo", "--meter", "kernel"}, "add --dedicated"},
		{"steer", []string{"-i", "lo", "--steer", "cpu"}, "add --dedicated"},
		{"small ring", []string{"-i", "lo", "--ringbuffer", "64KiB"}, "1MiB to 128GiB"},
		{"large ring", []string{"-i", "lo", "--ringbuffer", "900GiB"}, "1MiB to 128GiB"},
		{"SIP ports", []string{"-i", "lo", "--sip-ports", "5060,0"}, "5060-5070,5080"},
		{"prefix", []string{"-i", "lo", "--allow", "192.0.2.1/24"}, "write 192.0.2.0/24"},
		{"no prefix", []string{"-i", "lo", "--deny", "everybody"}, "write addresses and prefixes"},
		{"ports", []string{"-i", "lo", "--rtp-ports", "20000-10000"}, "the least and the greatest port"},
		{"a file", []string{"-i", "lo", "trace.pcap"}, "trace.pcap"},
		{"a flag of read", []string{"-i", "lo", "--replay"}, "--replay"},
		{"queue without store", []string{"-i", "lo", "--queue", "q"}, "add --db"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if code, _, errs := run(t, append([]string{"run"}, tc.args...)...); code != exitUsage || !strings.Contains(errs, tc.says) {
				t.Errorf("exit %d, %q; want %q in it", code, errs, tc.says)
			}
		})
	}
	t.Run("no such interface", func(t *testing.T) {
		if code, _, errs := run(t, "run", "-i", "not-there0"); code != exitUnavailable || !strings.Contains(errs, "not-there0") {
			t.Errorf("exit %d, %q", code, errs)
		}
	})
}

func TestParseCapture(t *testing.T) {
	for in, want := range map[string]netip.Prefix{
		"192.0.2.0/24": netip.MustParsePrefix("192.0.2.0/24"),
		"192.0.2.7":    netip.MustParsePrefix("192.0.2.7/32"),
		"2001:db8::1":  netip.MustParsePrefix("2001:db8::1/128"),
	} {
		if got, err := parsePrefix(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	if got, err := parsePorts([]uint16{5080}, "5062-5064, 5060,5063"); err != nil || !slices.Equal(got, []uint16{5060, 5062, 5063, 5064, 5080}) {
		t.Errorf("%v, %v", got, err)
	}
	for in, want := range map[string][2]uint16{"1024-65535": {1024, 65535}, "5004": {5004, 5004}} {
		if got, err := parseRange(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}
