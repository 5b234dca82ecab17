package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/traffic"
)

// manager is the service manager of a service: it hears what that says.
type manager struct {
	t     *testing.T
	l     *net.UnixConn
	path  string
	lines chan string
}

func newServiceManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify.sock")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	m := &manager{t, l, path, make(chan string, 10_000)}
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			for line := range strings.SplitSeq(string(b[:n]), "\n") {
				m.lines <- line
			}
		}
	}()
	return m
}

// service is ringside as it is installed: with a configuration, under a manager.
type service struct {
	*live
	dir     string
	manager *manager
	control *daemon.Control
}

// start starts the service at the other end of a link, and returns when it is ready.
func start(t *testing.T, l *netns.Link, dir string, m *manager) *service {
	t.Helper()
	v := &live{t: t, out: new(printed), err: new(printed), ended: make(chan error, 1)}
	v.cmd = l.Command(context.Background(), netns.B, os.Args[0], "run", "--config", filepath.Join(dir, "ringside.conf"))
	v.cmd.Stdout, v.cmd.Stderr = v.out, v.err
	v.cmd.Env = append(os.Environ(), asService+"=1", "NOTIFY_SOCKET="+m.path)
	for len(m.lines) > 0 { // of the run before
		<-m.lines
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		v.ended <- v.cmd.Wait()
		close(gone)
	}()
	t.Cleanup(func() {
		_ = v.cmd.Process.Kill()
		<-gone
	})
	s := &service{v, dir, m, daemon.NewControl(filepath.Join(dir, "ringside.sock"))}
	began := time.Now()
	s.hears("READY=1")
	t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
	return s
}

// hears waits until the manager hears a line that begins so.
func (s *service) hears(begins string) {
	s.t.Helper()
	s.until("the manager hears "+begins, func() bool {
		for {
			select {
			case line := <-s.manager.lines:
				if strings.HasPrefix(line, begins) {
					return true
				}
			default:
				return false
			}
		}
	})
}

// configure writes the configuration of a service.
func configure(t *testing.T, dir, iface, more string) {
	t.Helper()
	text := fmt.Sprintf(`interface = %s
dedicated = yes
ringbuffer = 16MiB
db = %[2]s/calls.db
queue = %[2]s/queue
spooldir = %[2]s/spool
spool_root = yes
spool_reserve = 64MiB
state_dir = %[2]s/state
control_socket = %[2]s/ringside.sock
listen = 127.0.0.1:8080
managerport = 5029
status_interval = 1s
`, iface, dir)
	if err := os.MkdirAll(filepath.Join(dir, "spool"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ringside.conf"), []byte(text+more), 0o600); err != nil {
		t.Fatal(err)
	}
}

func exitCodeOf(err error) int {
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		return failed.ExitCode()
	}
	return 0
}

// A service with a configuration captures live traffic: its calls are seen while
// they go on, with their quality, and afterwards in the store. It takes over what
// changes in the configuration, refuses what is wrong, and survives kill -9, which
// the next start explains.
func TestServiceLive(t *testing.T) {
	withoutRace(t)
	l := wire(t, 2)
	dir, m := t.TempDir(), newServiceManager(t)
	configure(t, dir, l.Side(netns.B).Iface, "")
	s := start(t, l, dir, m)

	path, _ := generate(t, traffic.Options{Seed: 17, Calls: 12, Rate: 3, RTCP: true, Talk: traffic.Length{Mean: 5 * time.Second}})
	frames, sent := framesOf(t, path), make(chan uint64, 1)
	go func() { sent <- send(t, l, frames, replay.Options{Speed: 1, Retry: true}) }()
	s.seesLiveCalls()
	if n := <-sent; n != uint64(len(frames)) {
		t.Fatalf("sent %d frames of %d", n, len(frames))
	}
	s.reloads(l.Side(netns.B).Iface)
	s.until("calls that are over are in the store", func() bool { return s.stored() >= 4 })

	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	before := s.storedOffline()
	again := start(t, l, dir, m)
	if text := again.err.String(); !strings.Contains(text, "was killed or crashed") {
		t.Errorf("the end of the run before is not explained:\n%s", text)
	}
	st := again.status()
	if st.LastRun == "" || st.Budget == nil || st.Budget.Sum() > st.Budget.Limit {
		t.Errorf("status: %q, %+v", st.LastRun, st.Budget)
	}
	if n := again.stored(); n < before {
		t.Errorf("%d calls are left of %d", n, before)
	}
	again.until("a healthy state", func() bool {
		st := again.status()
		return st.Health.State == daemon.StateHealthy && st.Ready
	})
	if out, err := process("status", "--control", filepath.Join(dir, "ringside.sock")).CombinedOutput(); err != nil || !strings.Contains(string(out), "state     healthy") {
		t.Errorf("ringside status: %v: %s", err, out)
	}
	if err := again.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = again.ending()
	b, err := os.ReadFile(filepath.Join(dir, "state", "run.json"))
	if err != nil || !bytes.Contains(b, []byte(`"clean":true`)) {
		t.Errorf("it ended in order, and says %s (%v)", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ringside.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the control socket is left: %v", err)
	}
}

// ending waits for the end in order, which the manager hears of.
func (s *service) ending() error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("it ended with %v:\n%s", err, s.err)
		}
	case <-time.After(time.Minute):
		s.t.Fatal("it does not end")
	}
	for {
		select {
		case line := <-s.manager.lines:
			if line == "STOPPING=1" {
				return nil
			}
		default:
			s.t.Error("the manager did not hear of the end")
			return nil
		}
	}
}

func (s *service) ask(method, path string, to any) {
	s.t.Helper()
	if err := s.control.Get(s.t.Context(), method, path, to); err != nil {
		s.t.Fatalf("%v; it said\n%s", err, s.err)
	}
}

// status is that of the last second.
func (s *service) status() (st daemon.ServiceStatus) {
	s.t.Helper()
	s.ask("GET", "/status", &st)
	return st
}

// seesLiveCalls waits for a call that goes on and is measured both ways.
func (s *service) seesLiveCalls() {
	s.t.Helper()
	saw := map[string]int{}
	defer func() {
		if s.t.Failed() {
			s.t.Logf("calls that it saw, by state, streams, packets and MOS: %v", saw)
		}
	}()
	s.until("a call that goes on is seen with its quality", func() bool {
		var got daemon.ControlCalls
		s.ask("GET", "/calls", &got)
		for i := range got.Calls {
			c := &got.Calls[i]
			of := c.State
			for _, x := range c.Record.Streams {
				of += fmt.Sprintf(" %d/%.1f", x.Packets/10*10, x.MOS.LQ)
			}
			saw[of]++
			if c.State == "talking" && len(c.Record.Streams) >= 2 && c.Record.Streams[0].Packets > 20 && c.Record.Streams[0].MOS.LQ > 1 {
				return true
			}
		}
		return false
	})
	var list struct{ Items []json.RawMessage }
	s.ask("GET", "/api/v1/live/calls", &list)
	if len(list.Items) == 0 {
		s.t.Error("the API sees no calls that go on")
	}
}

// stored is how many calls the API finds.
func (s *service) stored() int {
	s.t.Helper()
	var list struct{ Items []json.RawMessage }
	s.ask("GET", "/api/v1/calls?limit=1000", &list)
	return len(list.Items)
}

// storedOffline is how many calls the store has while nobody writes it.
func (s *service) storedOffline() int {
	s.t.Helper()
	out, err := process("calls", "--db", filepath.Join(s.dir, "calls.db"), "--json", "--limit", "1000").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return bytes.Count(out, []byte("\n"))
}

// reloads changes the configuration: by a signal, by the command, and to something
// that is wrong.
func (s *service) reloads(iface string) {
	s.t.Helper()
	t := s.t
	configure(t, s.dir, iface, "interface_ip_deny = 203.0.113.0/24\nrings = 3\nsavertp = header\n")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.hears("RELOADING=1")
	s.hears("READY=1")
	s.until("what has changed is said", func() bool {
		text := s.err.String()
		return strings.Contains(text, "interface_ip_deny: nothing -> 203.0.113.0/24\n") && strings.Contains(text, "rings: auto -> 3 (needs a restart)") &&
			strings.Contains(text, "savertp: full -> header\n")
	})
	reload := func() (string, int) {
		out, err := process("reload", "--control", filepath.Join(s.dir, "ringside.sock")).CombinedOutput()
		return string(out), exitCodeOf(err)
	}
	if out, code := reload(); code != 0 || !strings.Contains(out, "nothing has changed") {
		t.Errorf("exit %d: %s", code, out)
	}
	configure(t, s.dir, iface, "interfaze = eth9\n")
	if out, code := reload(); code != 78 || !strings.Contains(out, "did you mean interface") || !strings.Contains(out, "the old one holds") {
		t.Errorf("exit %d: %s", code, out)
	}
	configure(t, s.dir, iface, "savertp = header\n")
	if out, code := reload(); code != 0 || !strings.Contains(out, "interface_ip_deny: 203.0.113.0/24 -> nothing") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// With a configuration that names no interface the UI is there, and says so. What
// is wrong with a configuration at the start is an exit code of its own.
func TestServiceIdle(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "ringside.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	common := fmt.Sprintf("db = %[1]s/calls.db\nqueue =\nspooldir =\nstate_dir = %[1]s/state\ncontrol_socket = %[1]s/c.sock\n", dir)
	for _, tc := range []struct {
		text, says string
		code       int
	}{
		{"no_such_key = 1\n", "no_such_key", 78},
		{common + "listen = 0.0.0.0:18080\n", "readable on the way", 78},
		{common + "max_memory = 100MiB\ninterface = lo\n", "does not fit", 78},
	} {
		write(tc.text)
		if out, err := process("run", "--config", conf).CombinedOutput(); exitCodeOf(err) != tc.code || !strings.Contains(string(out), tc.says) {
			t.Errorf("%q: exit %d: %s", tc.text, exitCodeOf(err), out)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	write(common + "listen = " + free.Addr().String() + "\n")
	p := process("run", "--config", conf)
	said := new(printed)
	p.Stderr = said
	p.Env = append(os.Environ(), asService+"=1")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	defer func() { _ = p.Process.Kill() }()
	control := daemon.NewControl(filepath.Join(dir, "c.sock"))
	var st daemon.ServiceStatus
	for end := time.Now().Add(time.Minute); !st.Ready; time.Sleep(20 * time.Millisecond) {
		if _ = control.Get(t.Context(), "GET", "/status", &st); time.Now().After(end) {
			t.Fatalf("it is not ready: %+v\n%s", st, said)
		}
	}
	if st.Health.State != daemon.StateIdle || st.URL == "" || !strings.Contains(said.String(), "no interface is set") || !strings.Contains(said.String(), "setup token") {
		t.Errorf("%+v\n%s", st, said)
	}
	if out, err := process("status", "--control", filepath.Join(dir, "c.sock"), "--json").Output(); err != nil || !json.Valid(out) {
		t.Errorf("status: %v: %s", err, out)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v\n%s", err, said)
	}
	if out, err := process("status", "--control", filepath.Join(dir, "c.sock")).CombinedOutput(); exitCodeOf(err) != 69 || !strings.Contains(string(out), "does not run") {
		t.Errorf("exit %d: %s", exitCodeOf(err), out)
	}
}
