package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/appliance/daemon"
	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/traffic"
	"ringside/flow/record"
)

// crowd lets a running capture have a small part of one CPU only, until relieve is
// called: then a sender on another CPU is too fast for it, however slow it is. With
// a niceness of 10 it has a twentieth, with 19 hardly anything.
func (v *live) crowd(cpu, nice int) (relieve func()) {
	v.t.Helper()
	var set unix.CPUSet
	set.Set(cpu)
	each := func(change func(thread int) error) {
		v.t.Helper()
		tasks, err := os.ReadDir("/proc/" + strconv.Itoa(v.cmd.Process.Pid) + "/task")
		if err != nil {
			v.t.Fatal(err)
		}
		for _, e := range tasks {
			id, err := strconv.Atoi(e.Name())
			if err == nil {
				err = change(id)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				v.t.Fatal(err)
			}
		}
	}
	each(func(thread int) error { return unix.SchedSetaffinity(thread, &set) })
	each(func(thread int) error { return unix.Setpriority(unix.PRIO_PROCESS, thread, nice) })
	var crowd []*exec.Cmd
	end := func() {
		for _, c := range crowd {
			_ = c.Process.Kill()
			_ = c.Wait() // it was killed
		}
		crowd = nil
	}
	v.t.Cleanup(end)
	for range 2 {
		c := exec.Command("sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			v.t.Fatal(err)
		}
		crowd = append(crowd, c)
		if err := unix.SchedSetaffinity(c.Process.Pid, &set); err != nil {
			v.t.Fatal(err)
		}
	}
	return func() {
		end()
		each(func(thread int) error { return unix.Setpriority(unix.PRIO_PROCESS, thread, 0) })
	}
}

// twoCPUs are two different ones that this process may use.
func twoCPUs(t *testing.T) (a, b int) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	if set.Count() < 2 {
		t.Skip("one CPU: a sender cannot be faster than who receives")
	}
	var found []int
	for i := 0; len(found) < 2; i++ {
		if set.IsSet(i) {
			found = append(found, i)
		}
	}
	return found[0], found[1]
}

// storing are flags that store all packets, in a directory that goes with the test.
func storing(t *testing.T) []string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	return []string{"--spool", dir, "--spool-root", "--spool-memory", "32MiB"}
}

// offer sends frames at A, and returns what became of them there.
func offer(t *testing.T, l *netns.Link, frames []replay.Frame, o replay.Options) replay.Result {
	t.Helper()
	o.Iface, o.Frames = l.Side(netns.A).Iface, frames
	var r replay.Result
	if err := l.Do(netns.A, func() (err error) {
		r, err = replay.Send(t.Context(), o)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return r
}

// finish stops the capture, and returns its records of calls, and of streams that
// no call claimed.
func (v *live) finish() (calls []record.Call, orphans []record.Stream) {
	v.t.Helper()
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		v.t.Fatal(err)
	}
	if err := <-v.ended; err != nil {
		v.t.Fatalf("ringside run: %v; it said\n%s", err, v.err)
	}
	return v.records()
}

// records are those of a capture that has ended.
func (v *live) records() (calls []record.Call, orphans []record.Stream) {
	v.t.Helper()
	calls, orphans, _ = recordsIn(v.t, v.out.String())
	return calls, orphans
}

// recordsIn reads records as lines of JSON: calls, streams of no call, and how many
// others of each type.
func recordsIn(t *testing.T, text string) (calls []record.Call, orphans []record.Stream, other map[string]int) {
	t.Helper()
	other = make(map[string]int)
	for line := range strings.Lines(text) {
		var kind struct {
			Type   string `json:"type"`
			Orphan bool   `json:"orphan"`
		}
		var c record.Call
		var s record.Stream
		err := json.Unmarshal([]byte(line), &kind)
		switch {
		case kind.Type != "":
			other[kind.Type]++
		case kind.Orphan:
			err = errors.Join(err, json.Unmarshal([]byte(line), &s))
			orphans = append(orphans, s)
		default:
			err = errors.Join(err, json.Unmarshal([]byte(line), &c))
			calls = append(calls, c)
		}
		if err != nil {
			t.Fatalf("%v in %s", err, line)
		}
	}
	return calls, orphans, other
}

// accounted checks that each frame has exactly one fate on the way to the
// decoders, and returns the rows of the ledger. sent is what the driver took.
func (v *live) accounted(sent uint64) map[string]uint64 {
	v.t.Helper()
	rows := v.ledger()
	verdicts, passed, fed, filter := uint64(0), uint64(0), uint64(0), false
	for name, n := range rows {
		rest, ok := strings.CutPrefix(name, "filter ")
		if !ok {
			continue
		}
		filter = true
		verdicts += n
		switch verdict, _, _ := strings.Cut(rest, " "); verdict {
		case "pass", "meter+pass", "cut":
			passed += n
		case "meter+feed", "feed":
			fed += n
		}
	}
	if !filter {
		verdicts, passed = sent, sent
	}
	if rows["nic received"] != sent || verdicts != sent || rows["ring taken"]+rows["ring full"] != passed || rows["feed taken"] != fed ||
		rows["decode frames"] != rows["ring taken"]+rows["feed taken"] {
		v.t.Errorf("of %d frames that were sent %d have a verdict, and %d and %d were passed on: %v; it said\n%s", sent, verdicts, passed, fed, rows, v.err)
	}
	return rows
}

// blameless checks that no record shows as the network's loss what was lost here:
// the traffic itself loses nothing. It returns how many records say that the
// capture lost packets.
func blameless(t *testing.T, calls []record.Call, orphans []record.Stream) (incomplete int) {
	t.Helper()
	check := func(whose string, s *record.Stream, excused bool) {
		if s.Lost > 0 && !excused {
			t.Errorf("%s: %d of %d packets lost, and nothing says that it was the capture: %+v", whose, s.Lost, s.Expected, s)
		}
	}
	for i := range calls {
		c := &calls[i]
		excused := c.Flags&record.Incomplete != 0
		if excused {
			incomplete++
		}
		for j := range c.Streams {
			check(c.CallID, &c.Streams[j], excused)
		}
	}
	for i := range orphans {
		excused := strings.Contains(orphans[i].Flags, "incomplete")
		if excused {
			incomplete++
		}
		check("stream of no call", &orphans[i], excused)
	}
	return incomplete
}

// worked is for how long the threads of a running capture have had a CPU
// (schedstat of proc(5)).
func (v *live) worked() (sum time.Duration) {
	v.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", v.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		v.t.Fatalf("no threads: %v", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			v.t.Fatal(err)
		}
		sum += time.Duration(n)
	}
	return sum
}

// TestLiveOverload: a sender that is faster than ringside, and rings that are too
// small. Every packet is accounted for by place, no record takes our loss for
// the network's, and with more load ringside does not do less with its CPU.
func TestLiveOverload(t *testing.T) {
	withoutRace(t)
	sender, receiver := twoCPUs(t)
	path, _ := generate(t, traffic.Options{Seed: 91, Calls: 20, Rate: 20, Talk: traffic.Length{Mean: 6 * time.Second}})
	frames := framesOf(t, path)
	l := wire(t, 1)
	// try offers traffic for a while, as fast as possible if no rate is given. It
	// returns the packets sent and delivered in a second, and those delivered in a
	// second of CPU, as the machine may have other things to do.
	try := func(pps float64, loops int) (sent, delivered, each float64) {
		t.Helper()
		v := listen(t, l, append(storing(t), "--dedicated", "--meter", "user", "--rings", "1", "--ringbuffer", "1MiB")...)
		relieve := v.crowd(receiver, 10)
		before := v.worked()
		r := offer(t, l, frames, replay.Options{PPS: pps, Loops: loops, Rewrite: true, CPUs: []int{sender}, Patience: 100 * time.Millisecond})
		worked := v.worked() - before
		relieve()
		calls, orphans := v.finish()
		rows := v.accounted(r.Sent)
		full := rows["ring full"] + rows["feed full"]
		if incomplete := blameless(t, calls, orphans); full > 0 && incomplete == 0 {
			t.Errorf("%d packets were lost, and no record is incomplete", full)
		}
		got, seconds := float64(rows["decode frames"]), r.Took.Seconds()
		sent, delivered, each = float64(r.Sent)/seconds, got/seconds, got/worked.Seconds()
		t.Logf("%.0f packets/s sent, %.0f delivered, %.0f in a second of CPU: of %d %d lost at ring and feed; %d calls", sent, delivered, each, r.Sent, full, len(calls))
		return sent, delivered, each
	}
	most, delivered, _ := try(0, 15)
	if delivered == most {
		t.Errorf("ringside takes all that the sender can send: nothing was put to the test")
	}
	// What it takes is more than that: the sender has taken some of it away.
	rate, once := delivered, 0.0
	for ok := true; ok; {
		rate *= 1.3
		var sent float64
		sent, delivered, once = try(rate, int(1.5*rate)/len(frames)+1)
		ok = delivered > 0.98*sent && rate < most
	}
	if _, _, twice := try(2*rate, int(3*rate)/len(frames)+1); twice < once/2 {
		t.Errorf("in a second of CPU ringside delivers %.0f of %.0f packets/s, and %.0f of twice as many", once, rate, twice)
	}
}

// TestLiveBehind: what waits in the rings for seconds, as ringside has hardly any CPU,
// is no gap in the ledger.
func TestLiveBehind(t *testing.T) {
	withoutRace(t)
	sender, receiver := twoCPUs(t)
	path, _ := generate(t, traffic.Options{Seed: 97, Calls: 20, Rate: 20, Talk: traffic.Length{Mean: 6 * time.Second}})
	l := wire(t, 1)
	v := listen(t, l, "--dedicated", "--meter", "user", "--rings", "1", "--ringbuffer", "128MiB", "--status-interval", "1s")
	relieve := v.crowd(receiver, 19)
	r := offer(t, l, framesOf(t, path), replay.Options{Loops: 12, Rewrite: true, CPUs: []int{sender}})
	looked := strings.Count(v.err.String(), "rings ")
	v.until("the counters were compared some more times", func() bool { return strings.Count(v.err.String(), "rings ") > looked+4 })
	relieve()
	calls, _ := v.finish()
	if rows := v.accounted(r.Sent); rows["ring full"]+rows["feed full"] > 0 || len(calls) != 240 {
		t.Errorf("%d calls of 240, %v; it said\n%s", len(calls), rows, v.err)
	}
}

// TestLiveTablesFull: more streams than the kernel's meter has room for, more media
// addresses than its map, more streams and calls than the tables of the shards.
// What is refused is named, and no packet is counted twice.
func TestLiveTablesFull(t *testing.T) {
	withoutRace(t)
	path, _ := generate(t, traffic.Options{Seed: 95, Calls: 60, Rate: 30, Talk: traffic.Length{Mean: 2 * time.Second}, RTCP: true, Background: 2})
	frames := framesOf(t, path)
	all := readRTP(t, path)
	for _, tc := range []struct {
		name  string
		limit func(*daemon.LiveOptions)
		full  func(rows map[string]uint64, r *daemon.LiveReport) uint64 // what was refused
	}{
		{"meter in the kernel", func(o *daemon.LiveOptions) { o.MeterSlots = 16 },
			func(rows map[string]uint64, _ *daemon.LiveReport) uint64 { return rows["filter pass RTP, meter full"] }},
		{"media addresses", func(o *daemon.LiveOptions) { o.Endpoints = 8 },
			func(rows map[string]uint64, _ *daemon.LiveReport) uint64 {
				return rows["filter media addresses that it had no room for"]
			}},
		{"streams", func(o *daemon.LiveOptions) { o.MaxStreams = 24 },
			func(_ map[string]uint64, r *daemon.LiveReport) uint64 { return r.Flow.Refused }},
		{"calls", func(o *daemon.LiveOptions) { o.Limits.MaxCalls = 10 },
			func(_ map[string]uint64, r *daemon.LiveReport) uint64 { return r.Flow.Calls.Evicted }},
		{"all of them", func(o *daemon.LiveOptions) {
			o.MeterSlots, o.Endpoints, o.MaxStreams, o.Limits.MaxCalls = 16, 8, 24, 10
		}, func(rows map[string]uint64, r *daemon.LiveReport) uint64 {
			return min(rows["filter pass RTP, meter full"], rows["filter media addresses that it had no room for"], r.Flow.Refused, r.Flow.Calls.Evicted)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := wire(t, 1)
			o := daemon.LiveOptions{Interfaces: []string{l.Side(netns.B).Iface}}
			o.Dedicated, o.KernelMeter, o.Rings, o.Dedup = true, true, 1, "off"
			tc.limit(&o)
			packets, known := uint64(0), make(map[string]int)
			count := func(s *record.Stream) { packets += s.Packets }
			o.Orphan = count
			o.Call = func(c *record.Call) {
				known[c.CallID]++
				for i := range c.Streams {
					count(&c.Streams[i])
				}
			}
			r := runLive(t, l, o, func() { send(t, l, frames, replay.Options{Speed: 1, Retry: true}) })
			rows := rowsOf(&r)
			if !r.Balanced || len(r.Gaps) > 0 || rows["nic received"] != uint64(len(frames)) {
				t.Errorf("of %d frames: %v %v", len(frames), r.Gaps, rows)
			}
			if tc.full(rows, &r) == 0 {
				t.Errorf("nothing was full: %v %+v", rows, r.Flow)
			}
			if r.RTP != all || packets != r.Flow.InCalls+r.Flow.Orphan {
				t.Errorf("%d RTP packets were sent, %d are in the ledger; %d of calls and %d of none, and %d in the records", all, r.RTP, r.Flow.InCalls, r.Flow.Orphan, packets)
			}
			if len(known) != 60 {
				t.Errorf("records of %d calls of 60", len(known))
			}
		})
	}
}

// readRTP is how many RTP packets a file has.
func readRTP(t *testing.T, path string) uint64 {
	t.Helper()
	r, err := daemon.NewRead(daemon.ReadOptions{Paths: []string{path}, Dedup: "off"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r.Report().RTP
}

// runLive captures at B in this process while traffic comes.
func runLive(t *testing.T, l *netns.Link, o daemon.LiveOptions, traffic func()) daemon.LiveReport {
	t.Helper()
	var c *daemon.Live
	if err := l.Do(netns.B, func() (err error) {
		c, err = daemon.NewLive(o)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer cancel()
	traffic()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return c.Report()
}

// rowsOf are the rows of the live ledger, by stage and reason.
func rowsOf(r *daemon.LiveReport) map[string]uint64 {
	rows := make(map[string]uint64)
	for _, row := range r.Rows {
		rows[row.Stage+" "+row.Reason] += row.Packets
	}
	return rows
}
