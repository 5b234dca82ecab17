package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/traffic"
	"ringside/tuning/doctor"
)

// terminal opens a pseudo-terminal of 100 columns and 30 lines: the side of who
// types and looks, and that of a program (pty(7)).
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { program.Close() })
	if err := unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100}); err != nil {
		t.Fatal(err)
	}
	return person, program
}

// watched is a person before a terminal.
type watched struct {
	t    *testing.T
	keys *os.File
	seen *heard
	done chan int // exit code of what runs there
	errs *heard
}

// watch runs a command on a terminal.
func watch(t *testing.T, args ...string) *watched {
	t.Helper()
	person, program := terminal(t)
	w := &watched{t, person, newHeard(), make(chan int, 1), newHeard()}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := person.Read(b)
			w.seen.Write(b[:n])
			if err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		w.done <- Main(ctx, args, program, program, w.errs)
	}()
	return w
}

// types presses keys, and waits until something is drawn after that.
func (w *watched) types(keys, want string) {
	w.t.Helper()
	before := len(w.seen.String())
	if _, err := w.keys.WriteString(keys); err != nil {
		w.t.Fatal(err)
	}
	w.sees(want, before)
}

func (w *watched) sees(want string, from int) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(w.seen.String()[from:], want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("waited for a minute for %q; there is\n%q\n%s", want, w.seen.String()[from:], w.errs)
		}
	}
}

// quits leaves, and reports how the command ended.
func (w *watched) quits() {
	w.t.Helper()
	if _, err := w.keys.WriteString("\x03"); err != nil {
		w.t.Fatal(err)
	}
	select {
	case code := <-w.done:
		if code != exitOK {
			w.t.Errorf("exit %d: %s", code, w.errs)
		}
		w.done <- code
	case <-time.After(time.Minute):
		w.t.Fatal("it does not end")
	}
}

// longCalls is a capture of calls that last while somebody looks at them.
func longCalls(t *testing.T) string {
	t.Helper()
	o, err := traffic.Preset("demo")
	if err != nil {
		t.Fatal(err)
	}
	o.Calls, o.Rate, o.Talk = 3, 20, traffic.Length{Mean: 4 * time.Minute}
	o.Scenarios = []traffic.Weighted[traffic.Scenario]{{Value: traffic.Answered, Weight: 1}}
	g, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "long.pcapng")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := g.Run(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// A service replays calls; top shows them, the ladder of one and its messages; and
// the doctor hears that it does well.
func TestTopLive(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	errs := newHeard()
	path := longCalls(t)
	if err := os.Mkdir(filepath.Join(dir, "spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		Main(ctx, []string{"read", "--replay", "--control", socket, "--state", dir, "--spool", filepath.Join(dir, "spool"), "--spool-root", path}, nil, newHeard(), errs)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	until(t, "the service", func() bool {
		select {
		case <-ended:
			t.Fatal(errs)
		default:
		}
		_, err := os.Stat(socket)
		return err == nil
	})

	w := watch(t, "top", "--utc", "--control", socket)
	w.sees("talking", 0)
	w.types("S\r", "INVITE +SDP") // the oldest call
	w.types("\r", "Call-ID:")
	w.types("\x1b", "Enter message")
	w.types("t", "SSRC 0x")
	w.types("q", "Enter message")
	w.types("q", "Enter open")
	w.quits()

	code, out, stderr := run(t, "doctor", "--control", socket, "--json", "-i", "lo")
	var report struct {
		Findings []doctor.Finding
		Service  doctor.Service
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK && code != exitFailure {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, stderr)
	}
	if !report.Service.Running || report.Service.State == "" {
		t.Errorf("the service is not asked: %+v", report.Service)
	}
}

// Without a service, top shows what is in captures and stores.
func TestTopOffline(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	path, totals := capture(t)
	db := filepath.Join(t.TempDir(), "calls.db")
	if code, _, stderr := run(t, "read", "--db", db, path); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, tc := range []struct{ path, raw string }{{path, "CSeq:"}, {db, "a store has no texts"}} {
		t.Run(filepath.Ext(tc.path), func(t *testing.T) {
			w := watch(t, "top", "--utc", tc.path)
			w.sees(fmt.Sprintf("%d of %d calls", totals.Calls, totals.Calls), 0)
			w.types("\r", "0.000")
			w.types("\r", tc.raw)
			w.types("?", "Ctrl-C: leave")
			w.quits()
		})
	}
}

func TestTopRefused(t *testing.T) {
	token := written(t, "token", "rst_x\n")
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"top"}, exitUsage, "draws on a terminal"},
		{[]string{"top", "--url", "https://x", "--control", "/x"}, exitUsage, "leave out the file and --control"},
		{[]string{"top", "--token-file", token}, exitUsage, "name it with --url"},
	} {
		if code, _, stderr := run(t, tc.args...); code != tc.code || !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: exit %d: %s", tc.args, code, stderr)
		}
	}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"top", "--control", filepath.Join(t.TempDir(), "none")}, exitUnavailable, "does not run"},
		{[]string{"top", "--url", "https://127.0.0.1:1"}, exitUsage, "--token-file"},
		{[]string{"top", "--url", "http://192.0.2.1", "--token-file", token}, exitUsage, "use https"},
		{[]string{"top", "--url", "https://127.0.0.1:1", "--token-file", token}, exitUnavailable, "refused"},
		{[]string{"top", "--url", "https://127.0.0.1:1", "--token-file", token, "--ca", token}, exitUsage, "no certificate"},
		{[]string{"top", "--url", "https://x", "--token-file", written(t, "two", "a b")}, exitUsage, "one token"},
		{[]string{"top", filepath.Join(t.TempDir(), "none.pcap")}, exitFailure, "none.pcap"},
	} {
		w := watch(t, tc.args...)
		select {
		case code := <-w.done:
			if code != tc.code || !strings.Contains(w.errs.String(), tc.want) {
				t.Errorf("%v: exit %d: %s", tc.args, code, w.errs)
			}
			w.done <- code
		case <-time.After(time.Minute):
			t.Fatalf("%v: it goes on", tc.args)
		}
	}
}
