package xdp

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"ringside/dataplane/frame"
	"ringside/flow/meter"
)

// TestConcurrent has two threads meter packets of the same streams while a
// third reads and releases them. No packet is lost or counted twice, and
// nothing that is read is torn.
func TestConcurrent(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for _, tc := range []struct{ streams, slots int }{
		{6, 8},        // one bucket, for which all three struggle
		{200, 8 * 32}, // some buckets are full, and refuse streams
		{200, 8 * 1024},
	} {
		t.Run(fmt.Sprintf("%d streams in %d slots", tc.streams, tc.slots), func(t *testing.T) {
			r := load(t, tc.slots)
			m := openMeters(t, r)
			half := len(r.fed) / 2
			for i := range r.fed {
				// Neighbours of one stream mostly come in order, now and then not.
				p := pk(uint16(i/tc.streams), int64(i/tc.streams)*20)
				p.TS = uint32(i / tc.streams * 160)
				r.fed[i] = tablePacket(i%tc.streams, p)
			}

			var feeders sync.WaitGroup
			var done atomic.Bool
			var busy, refused atomic.Uint64
			for f := range 2 {
				feeders.Add(1)
				go func() {
					defer feeders.Done()
					runtime.LockOSThread()
					for range rounds {
						if _, err := tryRun(r.RunTable, f*half, half, 0); err != nil {
							t.Error(err)
							return
						}
						for _, p := range r.fed[f*half : (f+1)*half] {
							switch p.result {
							case noRoom:
								refused.Add(1)
							case noRoom + 1:
								busy.Add(1)
							}
						}
					}
				}()
			}
			go func() {
				feeders.Wait()
				done.Store(true)
			}()

			var read, void, generations uint64
			out := make([]frame.Metered, 0, 64)
			look := func(release bool) {
				out = m.Poll(out[:0])
				for _, f := range out {
					var s [StateSize]byte
					packets, ok := m.Read(f.Slot, &s)
					if !ok {
						continue // its turn comes at the end
					}
					whole(t, f, packets, &s)
					if !release {
						continue
					}
					if m.Release(f.Slot, packets) {
						read += uint64(packets)
						generations++
					} else {
						void++
					}
				}
			}
			for i := 0; !done.Load() && !t.Failed(); i++ {
				look(i%3 == 0)
			}
			feeders.Wait()
			// What was told of and not released is not told of again.
			clear(m.told)
			clear(m.seen)
			for look(true); len(out) > 0; {
				look(true)
			}

			fed := uint64(rounds * 2 * half)
			if got := read + refused.Load() + busy.Load(); got != fed {
				t.Errorf("%d packets read, %d refused, %d busy: %d, but %d were fed", read, refused.Load(), busy.Load(), got, fed)
			}
			s, err := m.Stats()
			if err != nil {
				t.Fatal(err)
			}
			if s.Used != 0 || s.Begun != generations || s.Refused != refused.Load() || s.Busy != busy.Load() {
				t.Errorf("%+v: want %d begun and all released, %d refused, %d busy", s, generations, refused.Load(), busy.Load())
			}
			t.Logf("%d packets, %d generations, %d void releases, %d refused, %d busy", fed, generations, void, refused.Load(), busy.Load())
		})
	}
}

// whole checks what a state must be at any moment between two packets.
func whole(t *testing.T, f frame.Metered, packets uint32, s *[StateSize]byte) {
	t.Helper()
	var h meter.Hot
	var c meter.Cold
	meter.Adopt(&h, &c, s[:])
	r := meter.Finish(&h, &c)
	switch {
	case r.Packets != uint64(packets), r.Bytes != 160*r.Packets:
		t.Errorf("torn: %d packets, %+v", packets, r)
	case r.Expected != r.Received+r.Lost, r.Packets != r.Received+r.Duplicate+r.Stray:
		t.Errorf("torn: the sums do not hold: %+v", r)
	case f.First > f.Time, f.SSRC>>16 != 0xabcd, f.VLAN != -1, f.TTL != [2]uint8{60, 60}:
		t.Errorf("torn: %+v", f)
	}
}
