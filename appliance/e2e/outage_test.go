package e2e

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/traffic"
	"ringside/flow/record"
)

// stream sends frames at A, as other calls in every pass, until halt is called.
// What the interface does not take is not sent again, and one that is not there
// is waited for: taken says how many frames it took.
type stream struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	taken  uint64
	err    error
}

func endless(t *testing.T, l *netns.Link, frames []replay.Frame, pps float64) *stream {
	ctx, cancel := context.WithCancel(t.Context())
	s := &stream{cancel: cancel}
	s.done.Go(func() {
		s.err = l.Do(netns.A, func() error {
			for ctx.Err() == nil {
				r, err := replay.Send(ctx, replay.Options{Iface: l.Side(netns.A).Iface, Frames: frames, PPS: pps, Loops: -1, Rewrite: true})
				s.taken += r.Sent
				if err == nil {
					continue
				}
				if !errors.Is(err, syscall.ENXIO) && !errors.Is(err, syscall.ENODEV) && !strings.Contains(err.Error(), "down") && !strings.Contains(err.Error(), "no such") {
					return err
				}
				time.Sleep(time.Millisecond) // the interface is away
			}
			return nil
		})
	})
	t.Cleanup(func() { s.halt(t) })
	return s
}

// halt ends the stream, and returns how many frames the interface took.
func (s *stream) halt(t *testing.T) uint64 {
	t.Helper()
	s.cancel()
	s.done.Wait()
	if s.err != nil {
		t.Error(s.err)
		s.err = nil
	}
	return s.taken
}

// received waits until an end of the link has received so many frames more.
func received(t *testing.T, l *netns.Link, v *live, side int, more uint64) {
	t.Helper()
	count := func() uint64 {
		c, err := l.Counters(side)
		if err != nil {
			t.Fatal(err)
		}
		return c.RxPackets
	}
	from := count()
	v.until("more packets have come", func() bool { return count() >= from+more })
}

// right checks the records of calls that were made when a fault was over: each is as
// a file gives it, or says that the capture lost packets. On a machine that is
// busy with other things some may.
func (v *live) right(want *heardLive) {
	v.t.Helper()
	facts := make(map[string]string)
	for _, c := range want.calls {
		id, _, _ := strings.Cut(c, " ")
		facts[id] = c
	}
	calls, _ := v.records()
	right := 0
	for i := range calls {
		c := &calls[i]
		want, known := facts[c.CallID]
		switch got := strings.ReplaceAll(callFacts(c), " incomplete", " "); {
		case !known:
		case got == want:
			right++
		case c.Flags&record.Incomplete == 0:
			v.t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	if right < (len(facts)+1)/2 {
		v.t.Errorf("%d of %d calls are right", right, len(facts))
	}
}

// afterwards are calls that are made when an outage is over, and their records as a
// file gives them. They are over IPv6: no address is one of the calls before.
func afterwards(t *testing.T) (frames []replay.Frame, want *heardLive) {
	t.Helper()
	o := everyScenario(8)
	o.Seed, o.IPv6, o.Background, o.Noise = 92, 1, 0, 0
	path, _ := generate(t, o)
	return framesOf(t, path), readBack(t, path)
}

// TestLiveStandsStill: the process stands still for more than a second of
// traffic, and goes on. What did not find room meanwhile is accounted for, what
// comes later has right records.
func TestLiveStandsStill(t *testing.T) {
	withoutRace(t)
	path, _ := generate(t, traffic.Options{Seed: 93, Calls: 20, Rate: 20, Talk: traffic.Length{Mean: 6 * time.Second}})
	frames := framesOf(t, path)
	after, want := afterwards(t)
	for _, tc := range []struct {
		name string
		args []string
	}{
		{"no XDP", []string{"--xdp", "none", "--ringbuffer", "8MiB"}},
		{"all stored", append(storing(t), "--dedicated", "--meter", "user", "--ringbuffer", "8MiB")},
		{"all stored, metered in the kernel", append(storing(t), "--dedicated", "--ringbuffer", "8MiB")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := wire(t, 1)
			v := listen(t, l, append(tc.args, "--rings", "1")...)
			s := endless(t, l, frames, 40_000)
			received(t, l, v, netns.B, 2000)
			if err := v.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			received(t, l, v, netns.B, 50_000)
			if err := v.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			received(t, l, v, netns.B, 2000)
			sent := s.halt(t) + send(t, l, after, replay.Options{Speed: 2, Retry: true})
			v.end()
			v.right(want)
			if rows := v.accounted(sent); rows["ring full"]+rows["feed full"] == 0 {
				t.Errorf("the ring had room for all: nothing was put to the test: %v", rows)
			}
		})
	}
}

// TestLivePatience: nothing is lost that the kernel can meter or the rings can hold
// while the process stands still for more than a second.
func TestLivePatience(t *testing.T) {
	withoutRace(t)
	path, _ := generate(t, everyScenario(12))
	frames := framesOf(t, path)
	want := readBack(t, path)
	for _, tc := range []struct {
		name string
		args []string
	}{{"kernel", []string{"--dedicated"}}, {"user", []string{"--dedicated", "--meter", "user"}}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := wire(t, 1)
			v := listen(t, l, append(tc.args, "--rings", "1")...)
			var sending sync.WaitGroup
			sent := uint64(0)
			sending.Go(func() { sent = send(t, l, frames, replay.Options{Speed: 1, Retry: true}) })
			received(t, l, v, netns.B, uint64(len(frames)/4))
			if err := v.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			received(t, l, v, netns.B, uint64(len(frames)/3))
			if err := v.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			sending.Wait()
			v.end().same(t, want)
			if rows := v.accounted(sent); rows["ring full"]+rows["feed full"] != 0 {
				t.Errorf("the ring was too small: %v", rows)
			}
		})
	}
}

// attached reports whether a program is on the interface at B.
func attached(t *testing.T, l *netns.Link) bool {
	t.Helper()
	out, err := l.Command(t.Context(), netns.B, "ip", "-d", "link", "show").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Contains(string(out), "xdp")
}

// ip runs ip(8) in the namespace of an end.
func ip(t *testing.T, l *netns.Link, side int, args ...string) {
	t.Helper()
	if out, err := l.Command(t.Context(), side, "ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// replaced removes the interface at B, its peer goes with it, and makes both again.
func replaced(t *testing.T, l *netns.Link) {
	t.Helper()
	a, b := l.Side(netns.A), l.Side(netns.B)
	ip(t, l, netns.B, "link", "del", b.Iface)
	ip(t, l, netns.A, "link", "add", a.Iface, "type", "veth", "peer", "name", b.Iface, "netns", b.Namespace)
	for side, s := range map[int]netns.Side{netns.A: a, netns.B: b} {
		ip(t, l, side, "link", "set", s.Iface, "multicast", "off", "addrgenmode", "none", "up")
	}
}

// TestLiveOutage: an interface goes down and up again, or is removed and made anew,
// under traffic. Ringside says so, goes on by itself with all that was attached
// to it, and its ledger balances.
func TestLiveOutage(t *testing.T) {
	withoutRace(t)
	path, _ := generate(t, traffic.Options{Seed: 94, Calls: 20, Rate: 20, Talk: traffic.Length{Mean: 6 * time.Second}})
	frames := framesOf(t, path)
	after, want := afterwards(t)
	for _, tc := range []struct {
		name   string
		args   []string
		outage func(*testing.T, *netns.Link, *live)
	}{
		{"down, no XDP", []string{"--xdp", "none"}, downAndUp},
		{"down, metered in the kernel", []string{"--dedicated"}, downAndUp},
		{"down, metered here", []string{"--dedicated", "--meter", "user"}, downAndUp},
		{"anew, no XDP", []string{"--xdp", "none"}, removedAndMade},
		{"anew, metered in the kernel", []string{"--dedicated"}, removedAndMade},
		{"anew, metered here", []string{"--dedicated", "--meter", "user"}, removedAndMade},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := wire(t, 1)
			v := listen(t, l, append(tc.args, "--rings", "1", "--status-interval", "50ms")...)
			s := endless(t, l, frames, 5000)
			received(t, l, v, netns.B, 1000)
			tc.outage(t, l, v)
			v.until("the interface is captured again", func() bool {
				said := strings.TrimSpace(v.err.String())
				return !strings.Contains(said[strings.LastIndexByte(said, '\n')+1:], "DOWN") && (tc.args[0] != "--dedicated" || attached(t, l))
			})
			received(t, l, v, netns.B, 1000)
			sent := s.halt(t) + send(t, l, after, replay.Options{Speed: 2, Retry: true})
			v.end()
			v.right(want)
			rows := v.ledger()
			if rows["nic outages, of which nobody knows what they lost"] == 0 || rows["nic received"] > sent || rows["decode frames"] != rows["ring taken"]+rows["feed taken"] {
				t.Errorf("of %d frames: %v; it said\n%s", sent, rows, v.err)
			}
			calls, orphans := v.records()
			calls = slices.DeleteFunc(calls, func(c record.Call) bool { return strings.Contains(c.CallID, "2001:db8:") }) // after it, with losses of their own
			if blameless(t, calls, orphans) == 0 {
				t.Error("no record says that the capture lost packets")
			}
		})
	}
}

func downAndUp(t *testing.T, l *netns.Link, v *live) {
	ip(t, l, netns.B, "link", "set", l.Side(netns.B).Iface, "down")
	v.until("it says that the interface is down", func() bool { return strings.Contains(v.err.String(), "DOWN vb: interface is down") })
	ip(t, l, netns.B, "link", "set", l.Side(netns.B).Iface, "up")
}

func removedAndMade(t *testing.T, l *netns.Link, v *live) { replaced(t, l) }
