package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringside/appliance/cli"
	"ringside/bench/traffic"
	"ringside/writer/store"
)

// asRingside makes the test program behave as ringside: a process that a test can
// kill.
const asRingside = "RINGSIDE_E2E_AS_RINGSIDE"

// withoutRace skips a test of faults around the program where the race detector
// is on, with -short: it is slow, and nothing runs beside anything else that the
// store's own tests do not run.
func withoutRace(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it is run in full without the race detector")
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(asRingside) != "" {
		os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process is ringside as a process of its own, not yet started.
func process(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asRingside+"=1")
	return c
}

const (
	kills      = 200 // with -full
	killers    = 10  // processes at a time
	longestRun = 9 * time.Second

	// promised is when a call that was reported is in the store or its queue,
	// at the latest: the stated 2 s, and what a busy machine adds before the
	// record that was printed comes to the store.
	promised = 2*time.Second + 2*time.Second
)

// reported is a call that a line told of.
type reported struct {
	id     int64
	callID string
	at     time.Time
}

// killed is what became of one process.
type killed struct {
	dir          string
	calls        []reported
	due          int // calls that must be in the store
	found        int // of all that were reported
	closed, open int // segments at the kill
	saved        bool
}

// TestKilled: whenever ringside is killed, what it had reported for longer than it
// promises is in the store, once; every segment that has its name is whole; and
// the next start closes the others and says so.
func TestKilled(t *testing.T) {
	withoutRace(t)
	t.Parallel()
	// Two minutes of traffic, in which calls come fast and packets do not.
	capture, _ := generate(t, traffic.Options{
		Seed: 31, Calls: 240, Rate: 2, Talk: traffic.Length{Mean: time.Second},
		Scenarios: []traffic.Weighted[traffic.Scenario]{
			{Value: traffic.Answered, Weight: 1}, {Value: traffic.Busy, Weight: 4}, {Value: traffic.Auth407, Weight: 1},
		},
		Proxied: 0.2, Background: 1,
	})
	after, _ := generate(t, traffic.Options{Seed: 32, Calls: 2, Rate: 2, Talk: traffic.Length{Mean: time.Second}, Start: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)})
	root := t.TempDir()
	random := rand.New(rand.NewPCG(41, 42))
	kills := kills / every(4)
	lives := make([]time.Duration, kills)
	for i := range lives {
		lives[i] = 100*time.Millisecond + time.Duration(random.Int64N(int64(longestRun)))
	}
	results := make([]killed, kills)
	next := make(chan int)
	var all sync.WaitGroup
	for range killers {
		all.Go(func() {
			for i := range next {
				k := &results[i]
				k.dir = filepath.Join(root, fmt.Sprint(i))
				if err := k.run(capture, lives[i], 1+i%2); err != nil {
					t.Errorf("run %d: %v", i, err)
				} else if err := k.check(t, after, i%20 == 0); err != nil {
					t.Errorf("run %d, killed after %v: %v", i, lives[i], err)
				}
				_ = os.RemoveAll(k.dir)
			}
		})
	}
	for i := range kills {
		next <- i
	}
	close(next)
	all.Wait()
	var sum killed
	saved := 0
	told := 0
	for i := range results {
		k := &results[i]
		told, sum.due, sum.found = told+len(k.calls), sum.due+k.due, sum.found+k.found
		sum.closed, sum.open = sum.closed+k.closed, sum.open+k.open
		if k.saved {
			saved++
		}
	}
	t.Logf("%d kills: %d calls reported, %d of them longer than %v before, %d found in the stores; %d segments had their names, %d did not; %d starts told of what they saved",
		kills, told, sum.due, promised, sum.found, sum.closed, sum.open, saved)
	if sum.due == 0 || sum.closed == 0 || sum.open == 0 {
		t.Error("nothing was put to the test")
	}
}

func (k *killed) outputs() []string {
	return []string{"--db", filepath.Join(k.dir, "calls.db"), "--queue", filepath.Join(k.dir, "queue"), "--spool", filepath.Join(k.dir, "spool"), "--spool-root", "--spool-reserve", "64MiB"}
}

// run reads traffic for a while and is killed.
func (k *killed) run(capture string, life time.Duration, workers int) error {
	if err := os.MkdirAll(filepath.Join(k.dir, "spool"), 0o750); err != nil {
		return err
	}
	args := append([]string{"read", "--quiet", "--json", "-", "--replay", "--replay-pps", "4000", "--loop", "1000", "--workers", fmt.Sprint(workers)}, k.outputs()...)
	p := process(append(args, capture)...)
	var errs bytes.Buffer
	p.Stderr = &errs
	out, err := p.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	over := make(chan error, 1)
	go func() {
		lines := bufio.NewReaderSize(out, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				over <- nil
				return // the last one is cut
			}
			var v struct {
				Type   string
				Orphan bool
				ID     int64
				CallID string `json:"call_id"`
			}
			if err := json.Unmarshal(line, &v); err != nil {
				over <- err
				return
			}
			if v.Type == "" && !v.Orphan {
				k.calls = append(k.calls, reported{v.ID, v.CallID, time.Now()})
			}
		}
	}()
	time.Sleep(life)
	at := time.Now()
	if err := p.Process.Kill(); err != nil {
		return fmt.Errorf("it ended by itself: %w: %s", err, errs.String())
	}
	err = <-over
	_ = p.Wait() // it was killed
	for _, c := range k.calls {
		if at.Sub(c.at) > promised {
			k.due++
		}
	}
	if errs.Len() > 0 {
		return fmt.Errorf("it said: %s", errs.String())
	}
	return err
}

// check looks at what is left, starts ringside again, and looks at the store.
func (k *killed) check(t *testing.T, after string, sample bool) error {
	spool := filepath.Join(k.dir, "spool")
	if out, err := quietly("spool", "check", spool); err != nil {
		return fmt.Errorf("check spool: %w: %s", err, out)
	}
	hidden := 0
	segments, err := segmentsIn(spool)
	if err != nil {
		return err
	}
	for _, path := range segments {
		if strings.HasPrefix(filepath.Base(path), ".") {
			hidden++
			continue
		}
		k.closed++
		if p := packers[filepath.Ext(path)]; sample && p != "" {
			if out, err := exec.Command(p, "-qt", path).CombinedOutput(); err != nil {
				return fmt.Errorf("%s %s: %w: %s", p, path, err, out)
			}
		}
		if sample && (filepath.Ext(path) == ".gz" || filepath.Ext(path) == ".pcapng") {
			if out, err := exec.Command("tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.number").Output(); err != nil || len(out) == 0 {
				return fmt.Errorf("tshark %s: %w", path, err)
			}
		}
	}
	k.open = hidden
	summary, err := quietly(append(append([]string{"read", "--utc"}, k.outputs()...), after)...)
	if err != nil {
		return fmt.Errorf("start again: %w: %s", err, summary)
	}
	k.saved = strings.Contains(summary, "that a crash left, closed") || strings.Contains(summary, "no whole frame, lost")
	if strings.Contains(summary, "NOT BALANCE") {
		return fmt.Errorf("the ledger does not balance: %s", summary)
	}
	if hidden > 0 && !strings.Contains(summary, "that a crash left") {
		return fmt.Errorf("%d segments had no name, and the summary does not tell: %s", hidden, summary)
	}
	if segments, err = segmentsIn(spool); err != nil {
		return err
	}
	if i := slices.IndexFunc(segments, func(p string) bool { return strings.HasPrefix(filepath.Base(p), ".") }); i >= 0 {
		return fmt.Errorf("%s is hidden still", segments[i])
	}
	if out, err := quietly("spool", "check", spool); err != nil {
		return fmt.Errorf("check spool after the start: %w: %s", err, out)
	}
	return k.checkStore(t.Context())
}

// checkStore counts the calls in the store.
func (k *killed) checkStore(ctx context.Context) error {
	s, err := store.Open(ctx, store.Options{Path: filepath.Join(k.dir, "calls.db")})
	if err != nil {
		return err
	}
	defer s.Close()
	found, err := s.Calls(ctx, store.Filter{}, store.Page{Limit: store.MaxLimit})
	if err != nil {
		return err
	}
	ids, callIDs := map[int64]int{}, map[string]int{}
	for i := range found.Calls {
		ids[found.Calls[i].ID]++
		callIDs[found.Calls[i].CallID]++
	}
	due := k.due
	for i, c := range k.calls { // the oldest first
		if n := ids[c.id]; n > 1 || callIDs[c.callID] != n {
			return fmt.Errorf("call %s is in the store %d times by its id, %d by its Call-ID", c.callID, n, callIDs[c.callID])
		} else if n == 0 && i < due {
			return fmt.Errorf("call %s was reported longer than %v before the kill, and is not in the store", c.callID, promised)
		} else {
			k.found += n
		}
	}
	return nil
}

// segmentsIn are the segments of a spool, hidden ones included.
func segmentsIn(dir string) ([]string, error) {
	named, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.pcapng*"))
	if err != nil {
		return nil, err
	}
	hidden, err := filepath.Glob(filepath.Join(dir, "*", "*", ".*.pcapng*"))
	slices.Sort(named)
	return slices.Compact(slices.Sorted(slices.Values(append(named, hidden...)))), err
}

// quietly runs a command of ringside in this process.
func quietly(args ...string) (string, error) {
	var out bytes.Buffer
	if code := cli.Main(context.Background(), args, strings.NewReader(""), &out, &out); code != 0 {
		return out.String(), fmt.Errorf("exit %d", code)
	}
	return out.String(), nil
}
