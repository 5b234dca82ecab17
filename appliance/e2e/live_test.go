package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringside/appliance/cli"
	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/traffic"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/record"
)

// asService makes the test program behave as the program does as a service: the
// first signal ends a capture in order, the second at once.
const asService = "RINGSIDE_E2E_AS_SERVICE"

func init() {
	if os.Getenv(asService) == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// wire is a veth between two namespaces: packets go in at A, ringside listens at B.
func wire(t *testing.T, queues int) *netns.Link {
	t.Helper()
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	l, err := netns.Pair(queues)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// framesOf reads all frames of a capture file.
func framesOf(t *testing.T, path string) (out []replay.Frame) {
	t.Helper()
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		for i := range b.Frames {
			if b.Frames[i].Link != frame.LinkEthernet {
				t.Fatal("not Ethernet")
			}
			out = append(out, replay.Frame{Time: b.Frames[i].Time, Data: bytes.Clone(b.Frames[i].Data)})
		}
		b.Release()
	}
}

// live is a running capture.
type live struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err *printed
	ended    chan error // what Wait said
}

// printed is what a process has printed so far.
type printed struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// listen starts a capture at one end of a link, and returns when it captures.
func listen(t *testing.T, l *netns.Link, args ...string) *live {
	t.Helper()
	return listenAt(t, l, netns.B, args...)
}

// until waits for a condition.
func (v *live) until(what string, ok func() bool) {
	v.t.Helper()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case err := <-v.ended:
			v.t.Fatalf("it ended before %s: %v; it said\n%s", what, err, v.err)
		case <-deadline:
			v.t.Fatalf("waited for a minute: %s; it said\n%s", what, v.err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// setupToken waits until it tells how the first account is made.
func (v *live) setupToken() string {
	v.t.Helper()
	token := regexp.MustCompile(`setup token (\S+)\s`)
	v.until("it tells the setup token", func() bool { return token.MatchString(v.err.String()) })
	return token.FindStringSubmatch(v.err.String())[1]
}

// send sends frames into the link, and returns how many the driver took.
func send(t *testing.T, l *netns.Link, frames []replay.Frame, o replay.Options) uint64 {
	t.Helper()
	o.Iface, o.Frames = l.Side(netns.A).Iface, frames
	var r replay.Result
	if err := l.Do(netns.A, func() (err error) {
		r, err = replay.Send(t.Context(), o)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return r.Sent
}

// end stops the capture as a service manager does, and returns its records.
func (v *live) end() *heardLive {
	v.t.Helper()
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		v.t.Fatal(err)
	}
	if err := <-v.ended; err != nil {
		v.t.Fatalf("ringside run: %v; it said\n%s", err, v.err)
	}
	return recordsOf(v.t, v.out.String())
}

// heardLive is what does not depend on when packets came.
type heardLive struct {
	calls   []string
	orphans []string
	other   map[string]int // records of other types
}

// recordsOf reads lines of JSON.
func recordsOf(t *testing.T, text string) *heardLive {
	t.Helper()
	h := new(heardLive)
	calls, orphans, other := recordsIn(t, text)
	for i := range calls {
		h.calls = append(h.calls, callFacts(&calls[i]))
	}
	for i := range orphans {
		h.orphans = append(h.orphans, facts(&orphans[i]))
	}
	h.other = other
	slices.Sort(h.calls)
	slices.Sort(h.orphans)
	return h
}

func callFacts(c *record.Call) string {
	var streams []string
	for i := range c.Streams {
		streams = append(streams, facts(&c.Streams[i]))
	}
	slices.Sort(streams)
	return fmt.Sprintf("%s %v %v hung up by %v, %d %s, %s@%s to %s@%s, %s, %d messages, %d again, digits %d, %v\n  %s",
		c.CallID, c.Outcome, c.EndReason, c.HungUp, c.LastStatus, c.LastReason, c.Caller.Number, c.Caller.Domain, c.Called.Number, c.Called.Domain,
		cmp.Or(c.RequestUser, "-"), c.MessagesTotal, c.Retransmissions, len(c.Digits), c.Answer != 0, strings.Join(streams, "\n  "))
}

func facts(s *record.Stream) string {
	return fmt.Sprintf("%s>%s %08x %s/%d: %d packets, %d received, %d bytes, %d expected, %d lost %v, %d twice, %d events, %d comfort %s",
		s.Src, s.Dst, s.SSRC, s.Codec, s.Rate, s.Packets, s.Received, s.Bytes, s.Expected, s.Lost, s.LossRuns, s.Duplicate, s.Events, s.Comfort, s.Flags)
}

// same compares two runs, call by call.
func (h *heardLive) same(t *testing.T, want *heardLive) {
	t.Helper()
	if len(want.calls) == 0 {
		t.Fatal("nothing to compare with")
	}
	differ := func(what string, got, want []string) {
		if len(got) != len(want) {
			t.Errorf("%d %s, want %d", len(got), what, len(want))
		}
		shown := 0
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] && shown < 5 {
				shown++
				t.Errorf("%s: got\n%s\nwant\n%s", what, got[i], want[i])
			}
		}
	}
	differ("calls", h.calls, want.calls)
	differ("streams of no call", h.orphans, want.orphans)
	for kind, n := range want.other {
		if h.other[kind] != n {
			t.Errorf("%d records of type %s, want %d", h.other[kind], kind, n)
		}
	}
}

// readBack reads the file that was sent.
func readBack(t *testing.T, path string) *heardLive {
	t.Helper()
	out, _ := ringside(t, 0, "read", "--json", "-", "--dedup", "off", "-q", path)
	return recordsOf(t, out)
}

// everyScenario is traffic with calls of every kind, in some seconds.
func everyScenario(calls int) traffic.Options {
	o := traffic.Options{
		Seed: 71, Calls: calls, Rate: 8, Talk: traffic.Length{Mean: 1500 * time.Millisecond}, RTCP: true, Mux: 0.3, Digits: 0.3,
		IPv6: 0.3, Proxied: 0.3, Background: 1, Noise: 2, InTurn: true,
		Impairments: []traffic.Weighted[traffic.Impairment]{{Weight: 1}, {Value: traffic.Impairment{Loss: 0.02, Duplicate: 0.01}, Weight: 1}},
	}
	for _, s := range []traffic.Scenario{traffic.Answered, traffic.Busy, traffic.Auth407, traffic.Cancelled} {
		o.Scenarios = append(o.Scenarios, traffic.Weighted[traffic.Scenario]{Value: s, Weight: 1})
	}
	return o
}

// TestLive: what is captured live gives the records that reading it from a file
// gives, whatever it is captured with, and every packet is accounted for.
func TestLive(t *testing.T) {
	path, _ := generate(t, everyScenario(20))
	frames := framesOf(t, path)
	want := readBack(t, path)
	for _, tc := range []struct {
		name   string
		args   []string
		kernel bool // RTP is measured there
	}{
		{"no XDP, one ring", []string{"--xdp", "none", "--rings", "1"}, false},
		{"no XDP, three rings", []string{"--xdp", "none", "--rings", "3"}, false},
		{"XDP in the driver", []string{"--dedicated", "--xdp", "native", "--meter", "user", "--rings", "1"}, false},
		{"XDP in front of the stack", []string{"--dedicated", "--xdp", "generic", "--meter", "user", "--rings", "1"}, false},
		{"measured in the kernel", []string{"--dedicated", "--rings", "1"}, true},
		{"measured in the kernel, three rings", []string{"--dedicated", "--rings", "3"}, true},
		{"two interfaces, one of them down", []string{"--dedicated", "--rings", "1", "-i", "spare"}, true},
		{"steered to CPUs", []string{"--dedicated", "--rings", "2", "--steer", "cpu"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if testing.Short() && !strings.HasSuffix(tc.name, "three rings") {
				t.Skip("-short: each takes ten seconds")
			}
			t.Parallel()
			l := wire(t, 2)
			spare := l.Command(context.Background(), netns.B, "ip", "link", "add", "spare", "type", "veth", "peer", "name", "other")
			if out, err := spare.CombinedOutput(); err != nil {
				t.Fatalf("make another interface: %v: %s", err, out)
			}
			v := listen(t, l, tc.args...)
			if sent := send(t, l, frames, replay.Options{Speed: 1, Retry: true}); sent != uint64(len(frames)) {
				t.Fatalf("sent %d frames of %d", sent, len(frames))
			}
			got := v.end()
			got.same(t, want)
			rows := v.ledger()
			if rows["nic received"] != uint64(len(frames)) || strings.Contains(v.err.String(), "LOST") {
				t.Errorf("of %d frames: %v; it said\n%s", len(frames), rows, v.err)
			}
			if kernel := rows["filter meter RTP"] > 0; kernel != tc.kernel {
				t.Errorf("measured in the kernel: %v", kernel)
			}
		})
	}
}

// ledger reads what a finished capture has shown of the way to the decoders, by
// stage and reason. It must balance.
func (v *live) ledger() map[string]uint64 {
	v.t.Helper()
	_, text, found := strings.Cut(v.err.String(), "\nOn vb\n")
	if !found || strings.Contains(v.err.String(), "NOT BALANCE") || strings.Contains(v.err.String(), "does not balance") {
		v.t.Errorf("the ledger does not balance:\n%s", v.err)
	}
	text, _, _ = strings.Cut(text, "\nOn ") // another interface
	rows := make(map[string]uint64)
	for _, m := range ledgerRow.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(strings.ReplaceAll(m[2], ",", ""), 10, 64)
		if err != nil {
			v.t.Error(err)
		}
		rows[m[1]] = n
	}
	return rows
}

var ledgerRow = regexp.MustCompile(`(?m)^  (\S.*?)  +([0-9,]+)(?:  .*)?$`)

// TestLiveStops: while the process stands still, its ring fills and the kernel
// drops. Each packet is accounted for all the same.
func TestLiveStops(t *testing.T) {
	path, _ := generate(t, everyScenario(8))
	frames := framesOf(t, path)
	for _, tc := range []struct {
		name string
		args []string
	}{
		{"no XDP", []string{"--xdp", "none"}},
		{"XDP", []string{"--dedicated", "--meter", "user"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := wire(t, 1)
			v := listen(t, l, append(tc.args, "--rings", "1", "--ringbuffer", "1MiB")...)
			if err := v.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			sent := send(t, l, frames, replay.Options{PPS: 20_000, Loops: 1 + 20_000/len(frames)})
			if err := v.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			v.end()
			rows := v.accounted(sent)
			taken, full := rows["ring taken"]+rows["feed taken"], rows["ring full"]+rows["feed full"]
			if full == 0 || taken == 0 || taken+full+rows["filter drop other"] != sent {
				t.Errorf("of %d frames: %v", sent, rows)
			}
		})
	}
}

// TestLiveRecorded: packets of calls that rules name come to the spool, although
// the kernel measures their RTP, whole or cut as the rules say; and all of them.
func TestLiveRecorded(t *testing.T) {
	withoutRace(t)
	path, _ := generate(t, everyScenario(12))
	frames := framesOf(t, path)
	want := readBack(t, path)
	for _, tc := range []struct {
		name, rules string
		rows        []string // of the ledger, that are not 0
	}{
		{"whole", "default -> sip full, rtp full\n", []string{"filter meter+feed RTP whole", "feed taken"}},
		{"headers", "default -> sip full, rtp header\n", []string{"filter meter+feed RTP header", "feed taken"}},
		{"nothing", "default -> sip full, rtp none\n", []string{"filter meter RTP"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			rules := filepath.Join(dir, "rules.conf")
			if err := os.WriteFile(rules, []byte(tc.rules), 0o600); err != nil {
				t.Fatal(err)
			}
			spools := make(map[string]string)
			for _, name := range []string{"file", "live"} {
				spools[name] = filepath.Join(dir, name)
				if err := os.Mkdir(spools[name], 0o700); err != nil {
					t.Fatal(err)
				}
			}
			storing := func(name string) []string { return []string{"--spool", spools[name], "--spool-root", "--rules", rules} }
			ringside(t, 0, append([]string{"read", "-q", "--dedup", "off", path}, storing("file")...)...)
			l := wire(t, 1)
			v := listen(t, l, append(storing("live"), "--dedicated", "--rings", "1")...)
			send(t, l, frames, replay.Options{Speed: 1, Retry: true})
			v.end().same(t, want)
			rows := v.ledger()
			for _, name := range tc.rows {
				if rows[name] == 0 {
					t.Errorf("no packet is %q: %v", name, rows)
				}
			}
			got, want := packetsIn(t, spools["live"]), packetsIn(t, spools["file"])
			if len(got) != len(want) {
				t.Errorf("%d packets are stored, of the file %d", len(got), len(want))
			}
			for p, n := range want {
				if got[p] != n {
					t.Errorf("%d times instead of %d: %x", got[p], n, p)
				}
			}
		})
	}
}

// packetsIn counts the packets in the segments of a spool by their bytes.
func packetsIn(t *testing.T, dir string) map[string]int {
	t.Helper()
	out := make(map[string]int)
	var paths []string
	if err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if strings.Contains(d.Name(), ".pcapng") {
			paths = append(paths, p)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		for _, f := range framesOf(t, p) {
			out[string(f.Data)]++
		}
	}
	return out
}

// TestLiveFilter: a filter leaves out of a live capture what it leaves out of a
// file; and what is left goes to the store.
func TestLiveFilter(t *testing.T) {
	withoutRace(t)
	path, _ := generate(t, everyScenario(8))
	const only = "port 5060 and not host 10.100.0.5"
	out, _ := ringside(t, 0, "read", "--json", "-", "--dedup", "off", "-q", "--filter", only, path)
	want := recordsOf(t, out)
	dir := t.TempDir()
	db := filepath.Join(dir, "calls.db")
	l := wire(t, 1)
	v := listen(t, l, "--dedicated", "--filter", only, "--db", db, "--queue", filepath.Join(dir, "queue"))
	send(t, l, framesOf(t, path), replay.Options{Speed: 1, Retry: true})
	v.end().same(t, want)
	if rows := v.ledger(); rows["filter meter RTP"] != 0 || rows["filter feed RTP"] == 0 {
		t.Errorf("the kernel has measured what is left out: %v", rows)
	}
	if stored, _ := ringside(t, 0, "calls", "--db", db, "--count"); strings.TrimSpace(stored) != strconv.Itoa(len(want.calls)) {
		t.Errorf("%s calls in the store, want %d", strings.TrimSpace(stored), len(want.calls))
	}
}

// TestLiveWithoutRights: who may not capture is told so, and how to get there.
func TestLiveWithoutRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: cannot become somebody without rights")
	}
	// The link leads to this program also for those who may not look into its folder.
	c := exec.CommandContext(t.Context(), "/proc/self/exe", "run", "-i", "lo")
	c.Env = append(os.Environ(), asService+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	c.Dir = "/"
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 77 || !strings.Contains(string(out), "setcap cap_net_raw") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestLiveKeepsHost: the interface by which a host is reached is not given to the
// capture alone.
func TestLiveKeepsHost(t *testing.T) {
	l := wire(t, 1)
	b := l.Side(netns.B)
	if out, err := l.Command(t.Context(), netns.B, "ip", "route", "add", "default", "dev", b.Iface).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := l.Command(t.Context(), netns.B, os.Args[0], "run", "-i", b.Iface, "--dedicated")
	c.Env = append(os.Environ(), asService+"=1")
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "would cut this host off") {
		t.Errorf("%v: %s", err, out)
	}
	listen(t, l).end() // with its host it may
}

// TestLiveKilled: nothing is left on an interface whose capture was killed, and
// the next one begins.
func TestLiveKilled(t *testing.T) {
	withoutRace(t)
	l := wire(t, 1)
	v := listen(t, l, "--dedicated")
	programs := func() string {
		out, err := l.Command(t.Context(), netns.B, "ip", "-d", "link", "show", "dev", l.Side(netns.B).Iface).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if !strings.Contains(programs(), "xdp") {
		t.Fatalf("no program is attached:\n%s\n%s", programs(), v.err)
	}
	if err := v.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-v.ended
	for end := time.Now().Add(time.Minute); strings.Contains(programs(), "xdp"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a program is left:\n%s", programs())
		}
	}
	listen(t, l, "--dedicated").end()
}

// TestLiveInterface: an interface that goes down and comes up is said to be
// down, is captured again, and what came over it is accounted for.
func TestLiveInterface(t *testing.T) {
	withoutRace(t)
	path, _ := generate(t, everyScenario(8))
	frames := framesOf(t, path)
	for _, tc := range []struct {
		name string
		args []string
	}{{"no XDP", []string{"--xdp", "none"}}, {"XDP", []string{"--dedicated"}}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := wire(t, 1)
			v := listen(t, l, append(tc.args, "--status-interval", "50ms", "--rings", "1")...)
			turn := func(to string) {
				t.Helper()
				out, err := l.Command(t.Context(), netns.B, "ip", "link", "set", l.Side(netns.B).Iface, to).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			sent := send(t, l, frames, replay.Options{PPS: 5000})
			turn("down")
			v.until("it says that the interface is down", func() bool { return strings.Contains(v.err.String(), "DOWN vb: ") })
			turn("up")
			v.until("the interface is captured again", func() bool {
				lines := strings.Split(strings.TrimSpace(v.err.String()), "\n")
				return !strings.Contains(lines[len(lines)-1], "DOWN")
			})
			sent += send(t, l, frames, replay.Options{PPS: 5000})
			v.end()
			if rows := v.ledger(); rows["nic received"] != sent || rows["decode frames"] == 0 {
				t.Errorf("of %d frames: %v", sent, rows)
			}
		})
	}
}
