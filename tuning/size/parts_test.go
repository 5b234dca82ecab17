package size_test

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"ringside/bench/traffic"
	"ringside/tuning/size"
)

// TestParts measures what the constants of figures.go are made of: pairs of runs that
// differ in one thing, and the difference by packet, message, call or row. Times are those
// of the reference machine.
func TestParts(t *testing.T) {
	if !*measured {
		t.Skip("it only measures, for a minute: add -measured")
	}
	meter := size.Load{Recording: size.Meter, NoStore: true, NoSIP: true}
	stored, header, full := meter, meter, meter
	stored.NoStore = false
	header.NoSIP, header.Recording, header.SpoolMemory = false, size.Header, 64<<20
	full.NoSIP, full.Recording, full.SpoolMemory = false, size.Full, 64<<20
	signalling := full
	signalling.Recording = size.Meter

	few := newSample(t, 200, 10*time.Second, "PCMU", traffic.Answered)     // 400 streams
	many := newSample(t, 4000, 3*time.Second, "G729@40", traffic.Answered) // 8,000 streams
	short := newSample(t, 6000, time.Second, "G729@120", traffic.Answered)
	busy := newSample(t, 12000, time.Second, "PCMU", traffic.Busy)
	thousand := newSample(t, 1000, time.Second, "G729@120", traffic.Answered)

	show := func(what string, ns, each float64) { t.Logf("%-40s %9.0f ns", what, ns*1e9/each) }
	start := newSample(t, 1, time.Second, "PCMU", traffic.Busy).least(t, meter)
	t.Logf("%-40s %9.0f ms", "start and end", start*1e3)

	base := few.least(t, meter) - start
	rtp := base / few.rtp
	show("RTP packet, 400 streams", base, few.rtp)
	crowded := many.least(t, meter) - start
	show("RTP packet, 8,000 streams, with calls", crowded, many.rtp)
	attempts := busy.least(t, meter) - start
	show("call that fails, 4 messages", attempts, busy.calls)
	answered := short.least(t, meter) - start - short.rtp*rtp
	show("call, 7 messages, without its media", answered, short.calls)
	plain := thousand.least(t, meter)
	show("stored call", thousand.least(t, stored)-plain, thousand.calls)
	kept := few.least(t, header) - base - start
	show("packet kept, header", kept, few.rtp)
	show("call kept, without its packets", many.least(t, header)-crowded-start-many.rtp*kept/few.rtp, many.calls)
	show("packet kept, whole (214 bytes)", few.least(t, full)-base-start, few.rtp)
	show("SIP message kept", busy.least(t, signalling)-attempts-start, busy.sip)
}

// capture is a file of generated calls.
type capture struct {
	path            string
	calls, rtp, sip float64
}

func newSample(t *testing.T, calls int, talk time.Duration, codec string, what traffic.Scenario) *capture {
	t.Helper()
	path, totals := generate(t, t.TempDir(), calls, talk, codec, what)
	return &capture{path, float64(totals.Calls), float64(totals.RTP), float64(totals.SIPCalls)}
}

// least is the processor time of reading it, in s of the reference machine: the
// least of some runs, each beside a calibration.
func (c *capture) least(t *testing.T, l size.Load) float64 {
	t.Helper()
	best := math.Inf(1)
	for i := range 5 {
		loop := calibrate(t)
		got := read(t, filepath.Join(t.TempDir(), fmt.Sprint(i)), c.path, l)
		best = math.Min(best, got.cpu/math.Min(loop, calibrate(t)))
	}
	return best * size.Reference.Seconds()
}
