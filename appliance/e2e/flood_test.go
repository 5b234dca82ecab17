package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/traffic"
)

const (
	floodRate    = 500_000 // REGISTERs a second
	floodSources = 1_000_000
	floodDialogs = 60

	// What ringside may take of memory in a flood: 64 MiB of rings, 68 MiB of
	// streams in the kernel, and tables that are bounded.
	floodMemory = 512 << 20
)

// TestLiveFlood: while a million sources register, each dialog has its record
// with the right outcome and all of its media. The flood is counted to the packet
// and sampled, and memory is bounded.
func TestLiveFlood(t *testing.T) {
	withoutRace(t)
	o := traffic.Options{
		Seed: 96, Calls: floodDialogs, Rate: 15, Talk: traffic.Length{Mean: 2 * time.Second}, RTCP: true, Digits: 0.2, IPv6: 0.2, InTurn: true,
		Impairments: []traffic.Weighted[traffic.Impairment]{{Weight: 1}, {Value: traffic.Impairment{Loss: 0.02}, Weight: 1}},
	}
	for _, s := range []traffic.Scenario{traffic.Answered, traffic.Busy, traffic.Answered, traffic.Auth407, traffic.Cancelled} {
		o.Scenarios = append(o.Scenarios, traffic.Weighted[traffic.Scenario]{Value: s, Weight: 1})
	}
	path, _ := generate(t, o)
	frames := framesOf(t, path)
	want := readBack(t, path)
	if len(want.calls) != floodDialogs {
		t.Fatalf("%d calls in the file", len(want.calls))
	}
	l := wire(t, 2)
	v := listen(t, l, "--dedicated", "--rings", "1")
	calm := v.memory("VmRSS")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var flood replay.Result
	var failed error
	var flooding sync.WaitGroup
	flooding.Go(func() {
		failed = l.Do(netns.A, func() (err error) {
			register := replay.Options{Iface: l.Side(netns.A).Iface, Engine: replay.XDP, PPS: floodRate, Loops: -1, Patience: time.Second}
			register.Frames, register.Fields = replay.RegisterFlood(floodSources)
			flood, err = replay.Send(ctx, register)
			return err
		})
	})
	received(t, l, v, netns.B, floodRate/10)
	sent := send(t, l, frames, replay.Options{Speed: 1, Retry: true})
	received(t, l, v, netns.B, floodRate/10)
	cancel()
	flooding.Wait()
	if failed != nil && !errors.Is(failed, context.Canceled) {
		t.Fatal(failed)
	}
	peak := v.memory("VmHWM")

	got := v.end()
	got.other, want.other = nil, nil // those of the flood's sample
	got.same(t, want)
	rows := v.accounted(sent + flood.Sent)
	over, sample := rows["filter drop REGISTER over limit"], rows["filter pass REGISTER sample"]
	t.Logf("%d REGISTERs in %v, %.0f/s: %d dropped, %d of the sample, the others within the limit; memory %d MiB before, %d MiB at most",
		flood.Sent, flood.Took, flood.Rate(), over, sample, calm>>20, peak>>20)
	signalling := uint64(0)
	for _, f := range frames {
		if isSIP(f.Data) {
			signalling++
		}
	}
	if rows["filter pass SIP"]+over+sample != flood.Sent+signalling {
		t.Errorf("%d REGISTERs and %d messages of calls: %v", flood.Sent, signalling, rows)
	}
	if over == 0 || sample != (over+sample+99)/100 {
		t.Errorf("%d are beyond the limit, and %d of them were taken as a sample", over+sample, sample)
	}
	if rows["ring full"] != 0 {
		t.Errorf("the ring lost packets: %v", rows)
	}
	if peak > floodMemory {
		t.Errorf("%d MiB of memory", peak>>20)
	}
}

// isSIP reports whether a frame of the generator, without tags and tunnels, goes to
// or from the port of SIP.
func isSIP(b []byte) bool {
	at := 14 + 20
	if b[12] == 0x86 {
		at = 14 + 40
	}
	return b[at] == 5060>>8 && b[at+1] == 5060&0xff || b[at+2] == 5060>>8 && b[at+3] == 5060&0xff
}

// memory is what the kernel says of a running capture's, in bytes (status of proc(5)).
func (v *live) memory(name string) int64 {
	v.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.cmd.Process.Pid))
	if err != nil {
		v.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindSubmatch(b)
	if m == nil {
		v.t.Fatalf("no %s in %s", name, b)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		v.t.Fatal(err)
	}
	return n << 10
}
