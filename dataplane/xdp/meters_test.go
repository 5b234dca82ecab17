package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"ringside/bpf"
)

// rig is the test program of bpf, loaded: a table and a bare meter, and the
// mapping through which both are fed.
type rig struct {
	bpf.MetertestObjects
	fed    []fed   // packets to feed
	states []state // of the bare meter
}

// fed and state are as in bpf/metertest.bpf.c.
type (
	fed struct {
		flow   [40]byte
		time   int64
		ts     uint32
		len    uint32
		seq    uint16
		pt     uint8
		marker uint8
		ttl    uint8
		dscp   uint8
		vlan   int16
		rate   uint32
		stream uint32
		class  uint8
		result uint8
		_      [6]byte
	}
	state [StateSize]byte
)

// load loads the test program with room for some streams in its table, or
// skips.
func load(tb testing.TB, slots int, change ...func(*ebpf.CollectionSpec)) *rig {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("loading kernel programs needs root")
	}
	if err := features.HaveProgramHelper(ebpf.XDP, asm.FnLoop); errors.Is(err, ebpf.ErrNotSupported) {
		tb.Skipf("feeding many packets at a time needs Linux 5.17: %v", err)
	}
	spec, err := bpf.LoadMetertest()
	if err != nil {
		tb.Fatal(err)
	}
	if err := SizeTable(spec, slots); err != nil {
		tb.Fatal(err)
	}
	for _, c := range change {
		c(spec)
	}
	r := &rig{}
	if err := spec.LoadAndAssign(&r.MetertestObjects, nil); err != nil {
		var v *ebpf.VerifierError
		if errors.As(err, &v) {
			tb.Fatalf("%+v", v)
		}
		if errors.Is(err, unix.EPERM) {
			tb.Skipf("this container may not load kernel programs: %v", err)
		}
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.MetertestObjects.Close() })
	r.fed = mapped[fed](tb, r.Fed)
	r.states = mapped[state](tb, r.States)
	return r
}

// mapped is the memory of an array map.
func mapped[T any](tb testing.TB, m *ebpf.Map) []T {
	tb.Helper()
	if size := int(unsafe.Sizeof(*new(T))); size != int(m.ValueSize()) {
		tb.Fatalf("%v: values of %d bytes in C, %d in Go", m, m.ValueSize(), size)
	}
	mem, err := unix.Mmap(m.FD(), 0, int(m.MaxEntries()*m.ValueSize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unix.Munmap(mem); err != nil {
			tb.Error(err)
		}
	})
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), m.MaxEntries())
}

// run has a program take the packets from..from+n.
func run(tb testing.TB, p *ebpf.Program, from, n, streams int) uint32 {
	tb.Helper()
	ret, err := tryRun(p, from, n, streams)
	if err != nil {
		tb.Fatal(err)
	}
	return ret
}

func tryRun(p *ebpf.Program, from, n, streams int) (uint32, error) {
	span := make([]byte, 64)
	binary.LittleEndian.PutUint32(span, uint32(from))
	binary.LittleEndian.PutUint32(span[4:], uint32(n))
	binary.LittleEndian.PutUint32(span[8:], uint32(streams))
	ret, err := p.Run(&ebpf.RunOptions{Data: span})
	if err != nil {
		return 0, fmt.Errorf("run %v: %w", p, err)
	}
	return ret, nil
}
