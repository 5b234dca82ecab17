// Package xdp is what user space has to do with the programs in bpf: it loads and
// attaches the pre-filter of an interface, tells it what to take, and reads
// what it has counted and metered.
//
// On an interface that is there for capturing alone (Options.Dedicated), the
// filter runs in XDP: in the driver if that can (Native), else in front of the
// host's stack (Generic). What it drops never costs an skb. On any other interface,
// and where XDP cannot be had, the same rules run as a filter of the ring's socket
// (SocketFilter), and the host's own traffic is left alone. Which it is, and why,
// Mode and Why say; none of it makes capturing fail.
//
// Each frame gets one verdict for one reason, and is counted by it (Stats): the
// sum is what the program received. RTP that was metered and is to be recorded, or is
// to be metered in user space, comes through memory that the program writes (Feed), a
// source beside the rings.
//
// Everything is held by descriptors, attachments too. When the process ends,
// however it ends, the kernel takes all of it back.
package xdp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"ringside/bpf"
)

// Mode is where the pre-filter runs.
type Mode uint8

// Modes. As an option, Auto and Native are Native if the driver can; Auto else Generic.
const (
	Auto    Mode = iota
	Native       // XDP in the driver
	Generic      // XDP in front of the host's stack, after an skb was made
	None         // no XDP: the socket filter
)

var modeNames = [...]string{"auto", "native", "generic", "none"}

// String is the name of the mode, as on the command line.
func (m Mode) String() string { return modeNames[min(int(m), len(modeNames)-1)] }

// ParseMode is the mode of a name.
func ParseMode(name string) (Mode, error) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), nil
		}
	}
	return Auto, fmt.Errorf("no XDP mode %q: use auto, native, generic or none", name)
}

// Options of a Filter.
type Options struct {
	Iface      string // name of the interface, in the network namespace of the calling thread
	Index      uint16 // of the interface in what is announced (frame.Metered)
	Dedicated  bool   // the interface is for capturing: what is not wanted may be dropped from it
	Mode       Mode
	Settings   Settings
	MeterSlots int // streams that are metered in the kernel; 0: none. Only in XDP
	Endpoints  int // room for addresses that SDP names; 0: 262,144

	// What becomes of the first 512 packets of a stream that no SDP has named yet;
	// Unknown: as Meter. Rules that may want RTP want it from its first packet.
	Unnamed Policy

	// RTP that is metered and delivered takes so many feeds instead of the rings,
	// where the filter runs in the driver, and all RTP if there is no meter; 0: none.
	// FeedMemory is for all of them together, bytes; each CPU has a part of it, of
	// 64 KiB at the least. What no meter has counted is cut behind 16 octets of
	// payload, which tell user space all it wants to measure, unless FeedWhole.
	Feeds      int
	FeedMemory int64
	FeedWhole  bool
}

// Limits of maps.
const (
	defaultEndpoints = 1 << 18
	maxOwn           = 2048 // half of the map's room: there are two settings while they change
)

// Filter is the pre-filter of one interface. Its methods may be called by several
// goroutines at the same time.
type Filter struct {
	options Options
	mode    Mode
	why     string
	program *ebpf.Program
	objects *ebpf.Collection
	meters  *Meters
	feeds   *feeds

	media endpoints

	mu    sync.Mutex // what follows
	link  link.Link
	set   settingsInForce
	ended bool

	stop chan struct{}
	done sync.WaitGroup
}

// Open loads the filter and, on a dedicated interface, attaches it. It fails if the
// settings make no sense, or if not even the socket filter can be loaded: then the
// kernel has no eBPF, or the process may not use it, and capturing goes without.
func Open(o Options) (*Filter, error) {
	if err := o.Settings.check(); err != nil {
		return nil, err
	}
	// Kernels before 5.11 count maps as locked memory. Where that cannot be raised and
	// is too little, loading fails and says so.
	_ = rlimit.RemoveMemlock()
	f := &Filter{options: o, mode: None}
	switch {
	case !o.Dedicated:
		f.why = "the interface is shared with the host: its own traffic must not be touched"
	case o.Mode == None:
		f.why = "as asked"
	default:
		err := f.openXDP()
		if err == nil {
			f.start()
			return f, nil
		}
		f.why = err.Error()
	}
	if err := f.openSocket(); err != nil {
		return nil, fmt.Errorf("load the socket filter for %s, which needs CAP_BPF: %w", o.Iface, err)
	}
	f.start()
	return f, nil
}

// openXDP loads the XDP program and attaches it.
func (f *Filter) openXDP() error {
	iface, err := net.InterfaceByName(f.options.Iface)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", f.options.Iface, err)
	}
	if err := f.load(bpf.LoadPrefilter); err != nil {
		return fmt.Errorf("load the XDP program: %w", err)
	}
	if err := f.attach(iface.Index); err != nil {
		f.unload()
		return err
	}
	return nil
}

// openSocket loads the socket filter.
func (f *Filter) openSocket() error { return f.load(bpf.LoadSocketfilter) }

// load loads a collection with the settings in force.
func (f *Filter) load(read func() (*ebpf.CollectionSpec, error)) error {
	spec, err := read()
	if err != nil {
		return err
	}
	if spec.Programs[bpf.PrefilterProgPrefilter].Type == ebpf.XDP {
		if err := SizeTable(spec, f.options.MeterSlots); err != nil {
			return err
		}
		cpus, err := ebpf.PossibleCPU()
		if err != nil {
			return fmt.Errorf("count the CPUs: %w", err)
		}
		spec.Maps[bpf.PrefilterMapRsCpus].MaxEntries = uint32(cpus)
		if err := f.sizeFeeds(spec, cpus); err != nil {
			return err
		}
		if f.options.Unnamed != Unknown {
			if err := spec.Variables[bpf.PrefilterVarTableUnknown].Set(uint32(f.options.Unnamed)); err != nil {
				return fmt.Errorf("say what becomes of streams that are not named: %w", err)
			}
		}
	} else {
		f.options.MeterSlots, f.options.Feeds = 0, 0 // it only says yes or no
	}
	media := spec.Maps[bpf.PrefilterMapMedia]
	media.MaxEntries, media.Flags = uint32(f.options.Endpoints), media.Flags|unix.BPF_F_NO_PREALLOC
	if f.options.Endpoints == 0 {
		media.MaxEntries = defaultEndpoints
	}
	f.objects, err = ebpf.NewCollection(spec)
	if err != nil {
		return err
	}
	f.program = f.objects.Programs[bpf.PrefilterProgPrefilter]
	if err := f.begin(); err != nil {
		f.unload()
		return err
	}
	return nil
}

// begin fills what a program needs before its first packet.
func (f *Filter) begin() error {
	if err := f.setClock(); err != nil {
		return err
	}
	if err := f.media.open(f.objects.Maps[bpf.PrefilterMapRsMediaPorts]); err != nil {
		return err
	}
	if f.options.MeterSlots > 0 {
		m, err := OpenMeters(f.objects.Maps, f.objects.Variables, f.options.Index)
		if err != nil {
			return err
		}
		f.meters = m
	}
	if err := f.openFeeds(); err != nil {
		return err
	}
	return f.apply(&f.options.Settings)
}

// unload gives back what load has taken.
func (f *Filter) unload() {
	if f.meters != nil {
		f.meters.Close() // an error of munmap would be a bug, and the process goes on
		f.meters = nil
	}
	if f.feeds != nil {
		f.feeds.close()
	}
	f.media.close()
	if f.objects != nil {
		f.objects.Close()
	}
}

// attach attaches the program to an interface, in the best mode that it takes.
func (f *Filter) attach(index int) error {
	var reasons []error
	for _, try := range []struct {
		mode Mode
		flag link.XDPAttachFlags
	}{{Native, link.XDPDriverMode}, {Generic, link.XDPGenericMode}} {
		if f.options.Mode != Auto && f.options.Mode != try.mode {
			continue
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: f.program, Interface: index, Flags: try.flag})
		if err != nil {
			reasons = append(reasons, fmt.Errorf("attach XDP to %s in %s mode%s: %w", f.options.Iface, try.mode, remedy(err), err))
			continue
		}
		if err := f.startFeeding(try.mode == Native); err != nil {
			return errors.Join(err, l.Close())
		}
		f.link, f.mode = l, try.mode
		switch {
		case len(reasons) > 0:
			f.why = errors.Join(reasons...).Error()
		case try.mode == Generic:
			f.why = "as asked"
		}
		return nil
	}
	return errors.Join(reasons...)
}

// remedy is what to do about the usual reasons why XDP cannot be attached.
func remedy(err error) string {
	switch {
	case errors.Is(err, unix.EBUSY):
		return " (another XDP program is there: detach it)"
	case errors.Is(err, unix.EPERM):
		return " (give CAP_NET_ADMIN)"
	case errors.Is(err, unix.EINVAL):
		return " (turn off LRO, and see the kernel log for what the driver asks)"
	case errors.Is(err, unix.EOPNOTSUPP):
		return " (the driver has no XDP)"
	}
	return ""
}

// Reattach attaches the XDP program to the interface if that was removed and has
// come again under its name; the kernel detaches from one that goes. It does
// nothing while the program is attached, or where it never was. Like Open, it
// looks in the network namespace of the calling thread.
func (f *Filter) Reattach() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || f.link == nil {
		return nil
	}
	if info, err := f.link.Info(); err == nil && info.XDP() != nil && info.XDP().Ifindex != 0 {
		return nil
	}
	iface, err := net.InterfaceByName(f.options.Iface)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", f.options.Iface, err)
	}
	old := f.link
	if err := f.attach(iface.Index); err != nil {
		return err
	}
	return old.Close()
}

// start keeps the program's clock right until Close.
func (f *Filter) start() {
	f.stop = make(chan struct{})
	f.done.Add(1)
	go func() {
		defer f.done.Done()
		tick := time.NewTicker(clockEvery)
		defer tick.Stop()
		for {
			select {
			case <-f.stop:
				return
			case <-tick.C:
				f.setClock() // it has worked before; a clock that is not set goes on as it was
			}
		}
	}()
}

// Mode is where the filter runs: Native, Generic or None.
func (f *Filter) Mode() Mode {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mode
}

// Why says why the filter does not run in the driver; empty if it does.
func (f *Filter) Why() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

// SocketFilter is the descriptor of the program to attach to the ring's sockets
// (SO_ATTACH_BPF), or -1 where XDP has already done its work. It belongs to the
// filter; sockets keep the program beyond Close.
func (f *Filter) SocketFilter() int {
	if f.Mode() != None {
		return -1
	}
	return f.program.FD()
}

// Meters is the table of streams that the program meters, or nil. It is closed with the filter.
func (f *Filter) Meters() *Meters { return f.meters }

// Feeds are the sources of RTP that is delivered, as many as Options asks for; none
// unless the filter runs in the driver. They end when they
// are told to, and with the filter; batches are to be released before that.
func (f *Filter) Feeds() []*Feed {
	if f.feeds == nil || f.Mode() != Native {
		return nil
	}
	return f.feeds.of
}

// Close detaches the program and gives everything back. The filter must not be
// used by anybody else afterwards.
func (f *Filter) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil
	}
	f.ended = true
	close(f.stop)
	f.done.Wait()
	var err error
	if f.link != nil {
		err = f.link.Close()
	}
	f.set.close()
	f.unload()
	if err != nil {
		return fmt.Errorf("detach XDP from %s: %w", f.options.Iface, err)
	}
	return nil
}
