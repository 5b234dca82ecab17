package suite

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/report"
)

const summary = "vb: filter: XDP, native; RTP that nobody records is measured in the kernel\n" +
	"Calls\n  answered       2  100.0 %\n  all            2\n\nRTP streams\n  packets of calls      195,591  0.0 % lost\n\n" +
	"Ledger: what became of every packet\n  packet sip                3,500\n  sum      199,092  balances\n\n" +
	"and of the RTP packets among them\n  rtp in-calls      195,591\n  rtp no-call    1\n  sum      195,592  balances\n\n" +
	"and of the packets for the spool, of each call that they are of\n  spool stored-sip      3,500\n  spool stored-rtp    195,590\n\n" +
	"On vb\n  nic received                   199,200\n  filter drop other                   4\n  filter drop REGISTER over limit    6\n" +
	"  filter drop no headroom     7\n  filter meter RTP       190,000\n  filter meter+pass RTP sample    5,592\n  filter pass SIP      3,500\n  ring taken     9,090\n" +
	"  ring full     2\n  decode frames      9,090\n"

func TestWhatProgramsSay(t *testing.T) {
	for _, tc := range []struct {
		name, said string
		on         *subject
		want       uint64
		fails      bool
	}{
		{"tcpdump", "2010 packets captured\n2010 packets received by filter\n", dumped, 2000, false},
		{"tcpdump that failed", "tcpdump: no such device\n", dumped, 0, true},
		{"RTP", summary, metered, 195592, false},
		{"stored", summary, headers, 195590, false},
		{"all that came to an end", summary, general, 4 + 6 + 190000 + 9090 - 10, false},
		{"nothing stored", "Calls\n  all  0\n", headers, 0, true},
		{"no ledger", "Calls\n  all  0\n", general, 0, true},
		{"no balance", summary + "  DOES NOT BALANCE: +1\n", metered, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r outcome
			err := r.read(trial{on: tc.on, load: &load{}}, tc.said, 10)
			if (err != nil) != tc.fails || !tc.fails && r.handled != tc.want {
				t.Errorf("got %d, %v; want %d", r.handled, err, tc.want)
			}
		})
	}
}

// Loss is what is missing of the packets, or of the calls in the records.
func TestLost(t *testing.T) {
	r := outcome{offered: 195592, arrived: 1}
	if err := r.read(trial{on: metered, load: &load{fixed: 4}}, summary, 0); err != nil {
		t.Fatal(err)
	}
	if want := (report.Records{Known: true, Calls: 4, CallsFound: 2, Packets: 195592, PacketsHere: 195591}); r.records != want {
		t.Errorf("records %+v, want %+v", r.records, want)
	}
	if got := r.lost(); got != 0.5 {
		t.Errorf("%v lost, want half: of the calls", got)
	}
	r.records.Calls = 2
	if got := r.lost(); got != 0 {
		t.Errorf("%v lost, want nothing", got)
	}
	r.handled = 195592 / 4
	if got := r.lost(); got != 0.75 {
		t.Errorf("%v lost, want three quarters: of the packets", got)
	}
	if r.xdp != "XDP, native" {
		t.Errorf("filter %q", r.xdp)
	}
}

func TestCommandOf(t *testing.T) {
	p := &process{cmd: exec.Command("ip", "netns", "exec", "ringside-1-1b", "taskset", "-c", "1", "/usr/bin/ringside", "run", "-i", "rb77",
		"--spool", "/var/tmp/ringbench-12/spool", "--control", "/var/tmp/ringbench-12/control", "--allow", "192.0.2.0/24")}
	if got, want := commandOf(p), "ringside run -i IFACE --spool DIR/spool --control DIR/control --allow 192.0.2.0/24"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := commandOf(&process{}); got != "" {
		t.Errorf("the floor has the command %q", got)
	}
}

// small are settings for a machine that does other things.
func small(t *testing.T) *Bench {
	t.Helper()
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	b := New()
	b.Floor, b.Folder, b.Span, b.Share = "../../bpf/floor_bpfel.o", t.TempDir(), 100*time.Millisecond, true
	b.Nice = 0
	return b
}

// What a subject has handled is at most what was offered, and what the floor has
// is what has arrived. (How much is lost depends on the machine.)
func TestMeasure(t *testing.T) {
	b := small(t)
	l, err := media(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []*subject{floor, dumped} {
		t.Run(on.name, func(t *testing.T) {
			if on == dumped {
				if _, err := exec.LookPath("tcpdump"); err != nil {
					t.Skip(err)
				}
			}
			r, err := b.measure(t.Context(), trial{on: on, load: l, rate: 20000, span: b.Span})
			if err != nil {
				t.Fatal(err)
			}
			if r.offered != 2000 || r.arrived == 0 || r.handled == 0 || r.handled > r.offered || r.kernel == 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestLoads(t *testing.T) {
	const n = 20
	c, err := newCalls(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.media) != 2*n || len(c.begin) < 3*n || len(c.end) < 2*n {
		t.Errorf("%d streams, %d frames of SIP that begin %d calls, %d that end them", len(c.media), len(c.begin), n, len(c.end))
	}
	for i, f := range c.media {
		if b := f.Data[atRTP:]; b[0] != 0x80 || b[1]&0x80 != 0 {
			t.Errorf("frame %d is no RTP without a marker: % x", i, b[:12])
		}
	}
	o := c.rtp(1e6, time.Second)
	if got := o.Loops * len(c.media); got != 1e6 {
		t.Errorf("%d frames are sent in a second, want 1000000", got)
	}
	// 40 streams at a million packets a second: each 40 µs a packet, at 8,000 Hz a third of a sample.
	if ts := o.Fields[1]; ts.Step != 1 || ts.Each != 2*n {
		t.Errorf("timestamps go on by %d every %d frames", ts.Step, ts.Each)
	}
	if got := c.load().sent(12345); got != n {
		t.Errorf("%d calls with media, want %d", got, n)
	}

	l, err := setups(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	o = l.main(1e4, time.Second)
	pass := uint64(len(o.Frames))
	for _, f := range o.Frames {
		if !strings.Contains(string(f.Data), "SIP/2.0") {
			t.Fatalf("a frame of call setups is no SIP: %q", f.Data)
		}
	}
	if pass < 7*n || !o.Rewrite || uint64(o.Loops)*pass < 1e4 {
		t.Errorf("%d frames of %d calls, %d loops, rewritten %v", pass, n, o.Loops, o.Rewrite)
	}
	if got := l.sent(3 * pass); got != 3*n {
		t.Errorf("%d calls in three passes, want %d", got, 3*n)
	}
	if l, err = carrier(t.Context(), n); err != nil || len(l.main(1e4, time.Second).Frames) < 50*n {
		t.Errorf("carrier: %v, few frames", err)
	}
	if o := registers(10).main(5000, 2*time.Second); o.Loops != 10000 || o.Engine != replay.XDP || len(o.Fields) == 0 {
		t.Errorf("registers: %d loops", o.Loops)
	}
}

// What a program has started ends with it, although it holds the outputs.
func TestKill(t *testing.T) {
	p, err := start(exec.CommandContext(t.Context(), "sh", "-c", "sleep 1000 & echo ready; wait"), "ready")
	if err != nil {
		t.Fatal(err)
	}
	p.kill()
	if p.failed == nil || !strings.Contains(p.said.String(), "ready") {
		t.Errorf("it ended with %v, and said %q", p.failed, p.said.String())
	}
}
