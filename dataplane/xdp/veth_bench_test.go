package xdp

import (
	"context"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bpf"
	"ringside/dataplane/frame"
)

// BenchmarkVeth sends RTP of 10,000 streams through a veth as fast as the kernel can
// make it, to a program on the other end that runs in a thread of its own, and
// reports how much of it got through. In this order: the floor, which reads the
// headers and drops; the filter that drops; the filter that meters. What the program
// costs is the kernel's own count (BPF_ENABLE_STATS), which adds the same to each; a busy
// machine changes it less than the rate.
func BenchmarkVeth(b *testing.B) {
	const streams = 10000
	drop, meter := DefaultSettings(), DefaultSettings()
	drop.RTP.Rule = NoRTP
	listed := drop
	listed.Allow = prefixes("100.64.0.0/10", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
	for _, tc := range []struct {
		name string
		open func(b *testing.B, l *netns.Link) *ebpf.Program
	}{
		{"floor", floorOn},
		{"drop", func(b *testing.B, l *netns.Link) *ebpf.Program {
			return opens(b, l, Options{Dedicated: true, Mode: Native, Settings: drop}).program
		}},
		{"drop behind an allow list", func(b *testing.B, l *netns.Link) *ebpf.Program {
			return opens(b, l, Options{Dedicated: true, Mode: Native, Settings: listed}).program
		}},
		{"meter", func(b *testing.B, l *netns.Link) *ebpf.Program {
			f := opens(b, l, Options{Dedicated: true, Mode: Native, Settings: meter, MeterSlots: 4 * streams})
			to := frame.Endpoint{Addr: frame.AddrFrom(netip.MustParseAddr("198.18.0.2")), Port: 30000}
			if err := f.Publish(to, Media{Policy: Meter}); err != nil {
				b.Fatal(err)
			}
			return f.program
		}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			l := linked(b)
			p := tc.open(b, l)
			stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
			if err != nil {
				b.Fatal(err)
			}
			defer stats.Close()
			threaded(b, l)
			frames, fields := replay.RTPFlood(streams)
			before, err := l.Counters(netns.B)
			if err != nil {
				b.Fatal(err)
			}
			var sent replay.Result
			b.ResetTimer()
			if err := l.Do(netns.A, func() (err error) {
				sent, err = replay.Send(context.Background(), replay.Options{
					Iface: l.Side(netns.A).Iface, Frames: frames, Fields: fields, Engine: replay.XDP, Loops: b.N, CPUs: []int{0},
				})
				return err
			}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			after, err := l.Counters(netns.B)
			if err != nil {
				b.Fatal(err)
			}
			got := float64(after.RxPackets-before.RxPackets) / sent.Took.Seconds()
			var cost *ebpf.ProgramStats
			until(b, "the first frame", func() bool {
				if cost, err = p.Stats(); err != nil {
					b.Fatal(err)
				}
				return cost.RunCount > 0
			})
			b.ReportMetric(float64(cost.Runtime.Nanoseconds())/float64(cost.RunCount), "ns/frame")
			b.ReportMetric(got/1e6, "Mpps")
			b.ReportMetric(sent.Rate()/1e6, "sent-Mpps")
		})
	}
}

// threaded lets the receiving end work in a thread, which the scheduler puts beside the sender.
func threaded(b *testing.B, l *netns.Link) {
	b.Helper()
	name := "/sys/class/net/" + l.Side(netns.B).Iface + "/threaded"
	if out, err := l.Command(context.Background(), netns.B, "sh", "-c", "echo 1 > "+name).CombinedOutput(); err != nil {
		b.Skipf("no threaded NAPI: %v: %s", err, out)
	}
}

// floorOn attaches the program that reads headers and drops to side B.
func floorOn(b *testing.B, l *netns.Link) *ebpf.Program {
	b.Helper()
	var floor bpf.FloorObjects
	if err := bpf.LoadFloorObjects(&floor, &ebpf.CollectionOptions{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { floor.Close() })
	if err := l.Do(netns.B, func() error {
		at, err := link.AttachXDP(link.XDPOptions{Program: floor.ReadAndDrop, Interface: l.Side(netns.B).Index, Flags: link.XDPDriverMode})
		if err == nil {
			b.Cleanup(func() { at.Close() })
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return floor.ReadAndDrop
}
