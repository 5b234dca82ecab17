package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
	"ringside/flow"
)

// LiveOptions say what to capture, and what becomes of it.
type LiveOptions struct {
	// ReadOptions say what becomes of the packets. Paths, Replay and Workers
	// are not looked at: each ring has a worker.
	ReadOptions
	CaptureOptions

	Interfaces []string

	// Alarm, if not nil, is called with each gap in the ledger that lasts, on a
	// goroutine of its own.
	Alarm func(Gap)

	open func(CaptureOptions, string, uint16) (*port, error) // for tests; nil: openPort
}

// Live is the capture from interfaces: rings, decoders and shards, wired.
type Live struct {
	pipeline
	options LiveOptions
	ports   []*port
	workers []*worker
	ledger  ledger
	status  lastStatus
	began   time.Time
	stop    sync.Once
	sound   bool      // the last look balanced
	metered uint64    // packets that the kernel has metered, by the last look
	told    endpoints // what the filters know of SDP
}

// worker is one thread with the ring that it reads, and the feeds beside it, which
// arrive on the same CPU.
type worker struct {
	port    *port
	source  frame.Source
	feeds   []frame.Source // that it reads beside
	decoder *counting
	cpu     int // -1: any
	thread  atomic.Int32
}

// counting counts the frames that a worker has decoded.
type counting struct {
	frame.Decoder
	frames atomic.Uint64
}

func (c *counting) Decode(b *frame.Batch) {
	c.frames.Add(uint64(len(b.Frames)))
	c.Decoder.Decode(b)
}

// liveAhead is how many batches a worker may read ahead of the others. One whose
// ring is quiet lets them wait for the hold of its mark: some 20 ms, in which a
// ring at a million packets a second fills some tens of blocks.
const liveAhead = 256

// NewLive opens the interfaces. From then on packets wait in the rings for Run.
func NewLive(o LiveOptions) (*Live, error) {
	options, err := o.flow()
	if err != nil {
		return nil, err
	}
	if len(o.Interfaces) == 0 {
		return nil, errors.New("capture: no interface is named")
	}
	o.vxlan, o.chosen = o.VXLANPorts, o.Filter != ""
	l := &Live{options: o, began: time.Now()}
	if o.unnamed, err = mayRecord(o.Spool); err != nil {
		return nil, err
	}
	cpus := workerCPUs(onlineCPUs())
	if o.Rings == 0 {
		o.Rings = max(1, len(cpus.run)/len(o.Interfaces))
	}
	open := o.open
	if open == nil {
		open = openPort
	}
	for i, name := range o.Interfaces {
		p, err := open(o.CaptureOptions, name, uint16(i))
		if err != nil {
			return nil, errors.Join(err, l.closePorts())
		}
		l.ports = append(l.ports, p)
		for r := range p.rings.Len() {
			w := &worker{port: p, source: p.rings.Source(r), cpu: cpus.pin(len(l.workers))}
			if cpus.pinned && p.cpus != nil {
				w.cpu = p.cpus[r]
			}
			l.workers = append(l.workers, w)
		}
		for f, feed := range p.feeds { // each beside a ring
			beside := l.workers[len(l.workers)-p.rings.Len()+f%p.rings.Len()]
			beside.feeds = append(beside.feeds, feed)
			options.Sources = max(options.Sources, 1+len(beside.feeds))
		}
	}
	l.joinKernel(&options)
	options.Workers = len(l.workers)
	options.Ahead = liveAhead
	if o.Spool != nil {
		o.Spool.Wait = false // packets do not wait for the disk
	}
	if err := l.build(&o.ReadOptions, options); err != nil {
		return nil, errors.Join(err, l.closePorts())
	}
	for i, w := range l.workers {
		w.decoder = &counting{Decoder: l.decoder(i)}
	}
	l.ledger.add(l.look())
	return l, nil
}

// joinKernel lets the shards have the meters in the kernel, and the kernel what SDP
// says.
func (l *Live) joinKernel(options *flow.Options) {
	m := new(meters)
	for _, p := range l.ports {
		if p.kernel != nil {
			l.told.of, m.of = append(l.told.of, p.kernel), append(m.of, p.kernel.Meters())
		}
	}
	if len(m.of) == 0 {
		return
	}
	options.Meters, options.Endpoints = m, &l.told
	first := l.workers[0]
	first.source = newAnnouncer(first.source, m.poll)
}

// Run captures until ctx is cancelled. It then takes no more packets, works off
// those that wait in the rings, and lets calls that go on be reported as at the
// end of a capture. It returns when the last record has been taken.
func (l *Live) Run(ctx context.Context) error {
	undo := context.AfterFunc(ctx, l.Stop)
	defer undo()
	quit, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		l.watch(quit)
	}()
	giveThreads(len(l.workers))
	err := l.group.Run(context.WithoutCancel(ctx), l.work)
	close(quit)
	<-watched
	l.sound = l.ledger.end(l.lastLook())
	return errors.Join(err, l.closePorts(), l.close())
}

// Stop ends the capture: Run works off what is there, and returns.
func (l *Live) Stop() {
	l.stop.Do(func() {
		// The first ring that ends asks all meters for the last time.
		for _, p := range l.ports {
			p.hush()
		}
		for _, p := range l.ports {
			p.stop()
		}
	})
}

// work is a worker's: its thread is its own, and ends with it.
func (l *Live) work(ctx context.Context, i int, s *flow.Shard) error {
	w := l.workers[i]
	runtime.LockOSThread()
	w.thread.Store(int32(unix.Gettid()))
	if w.cpu >= 0 {
		var set unix.CPUSet
		set.Set(w.cpu)
		// A thread that may not be pinned runs where the kernel puts it.
		_ = unix.SchedSetaffinity(0, &set)
	}
	return s.Run(ctx, w.source, w.decoder, w.feeds...)
}

// lookEvery is how often the counters are compared.
const lookEvery = time.Second

// watch looks at the counters until quit is closed.
func (l *Live) watch(quit <-chan struct{}) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
			l.leaveOwnOut()
			for _, g := range l.ledger.add(l.look()) {
				if l.options.Alarm != nil {
					l.options.Alarm(g)
				}
			}
		}
	}
}

// leaveOwnOut tells the filters of the traffic of this process. Where it cannot be
// told, that traffic is captured like any other.
func (l *Live) leaveOwnOut() {
	own, err := ownTraffic()
	if err != nil {
		return
	}
	for _, p := range l.ports {
		_ = p.leaveOut(own)
	}
}

// look reads all counters.
func (l *Live) look() look {
	now := look{at: time.Now()}
	metered := uint64(0)
	for _, p := range l.ports {
		delivered, counted := p.look(&now)
		metered += counted
		decoded := uint64(0)
		for _, w := range l.workers {
			if w.port == p && w.decoder != nil {
				decoded += w.decoder.frames.Load()
			}
		}
		now.rows = append(now.rows, LiveRow{Interface: p.name, Stage: StageDecode, Reason: "frames", Packets: decoded})
		now.sums = append(now.sums, sum{
			iface: p.name, between: "the rings and the decoders", in: delivered, out: decoded,
		})
	}
	l.metered = metered
	if n := l.told.failed.Load(); n > 0 {
		now.rows = append(now.rows, LiveRow{Stage: StageFilter, Reason: "media addresses that it had no room for", Packets: n})
	}
	if h := l.ports[0].backlog(); h > 0 {
		now.rows = append(now.rows, LiveRow{Stage: StageHost, Reason: "backlog full", Packets: h, Lost: true})
	}
	return now
}

// lastLook is the look behind the end, when all streams have been read.
func (l *Live) lastLook() look {
	now := l.look()
	if l.metered > 0 {
		now.sums = append(now.sums, sum{iface: "all interfaces", between: "the meter in the kernel and the streams", in: l.metered, out: l.group.Stats().Metered})
	}
	return now
}

// closePorts closes what is open.
func (l *Live) closePorts() error {
	var errs []error
	for _, p := range l.ports {
		if err := p.close(); err != nil {
			errs = append(errs, fmt.Errorf("close capture of %s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

// Describe says in lines for people how each interface is captured, what is
// missing, what is done instead, and what the spool may hold.
func (l *Live) Describe() []string {
	var out []string
	for _, p := range l.ports {
		out = append(out, p.said...)
	}
	out = append(out, describeWorkers(l.workers))
	return append(out, l.pipeline.Describe()...)
}

// Ledger is what became of the packets so far, from the interfaces to the
// decoders, and the gaps in it that last. It may be called at any time.
func (l *Live) Ledger() ([]LiveRow, []Gap) { return l.ledger.snapshot() }

// LiveReport is what a finished Live says of itself: the ledger from the
// interfaces to the decoders, and behind it that of all captures.
type LiveReport struct {
	Report
	Rows   []LiveRow
	Gaps   []Gap
	Behind bool          // what is behind the decoders balances, whatever is before them
	Early  bool          // it was ended before its end: sums cannot balance
	Span   time.Duration // of the capture
}

// Report is to be called after Run.
func (l *Live) Report() LiveReport {
	frames := uint64(0)
	for _, w := range l.workers {
		frames += w.decoder.frames.Load()
	}
	out := LiveReport{Report: l.report(frames), Span: time.Since(l.began)}
	out.Rows, out.Gaps = l.ledger.snapshot()
	out.Behind = out.Balanced
	out.Balanced = out.Balanced && l.sound
	return out
}
