package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ringside/bpf"
	"ringside/dataplane/frame"
)

const (
	maxShares = 16   // of 100,000 prefixes 16 shares are 26 MB
	cpuQueue  = 4096 // frames between two CPUs; more delays them, fewer loses bursts
	batchSize = 8192 // entries that are written, or read, in one call
)

// Lists of prefixes, and where the program looks for them: 2*active + list.
const (
	listDeny = iota
	listAllow
)

// PrefixCount counts the frames that a prefix has matched. Where source and destination
// are on a list, the source counts.
type PrefixCount struct {
	Prefix  netip.Prefix
	Allowed bool // on Allow; else on Deny
	Traffic
}

// prefix4 and prefix6 are the keys of the tries, struct rs_prefix4 and rs_prefix6.
type prefix4 struct {
	Bits uint32
	Addr [4]byte
}

type prefix6 struct {
	Bits uint32
	Addr [16]byte
}

// listed names a prefix of a list.
type listed struct {
	prefix  netip.Prefix
	allowed bool
}

// settingsInForce are what user space has to keep of the settings that the program uses.
type settingsInForce struct {
	begun    bool
	active   uint32
	own      []Tuple
	cpus     []int
	prefixes []listed           // by their number
	before   map[listed]Traffic // what they have matched under earlier settings
	hits     *ebpf.Map          // rs_hits of them
}

func (s *settingsInForce) close() {
	if s.hits != nil {
		s.hits.Close()
		s.hits = nil
	}
}

// Set changes the settings while the program runs: every frame is judged by the old
// ones or by the new ones. When it returns, the old ones are no longer used. If it
// fails, the old ones stay.
func (f *Filter) Set(s Settings) error {
	if err := s.check(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return errors.New("change the settings of a filter that is closed")
	}
	return f.apply(&s)
}

// apply puts settings into force.
func (f *Filter) apply(s *Settings) error {
	old, now := f.set, settingsInForce{begun: true, own: slices.Clone(s.Own), cpus: slices.Clone(s.CPUs)}
	if old.begun {
		now.active = 1 - old.active
	}
	value := s.compile()
	if f.options.MeterSlots > 0 {
		value.Flags |= metering
	}
	err := f.fill(s, &now, &old, value)
	if err == nil {
		// From here on the program uses them.
		err = f.objects.Variables[bpf.PrefilterVarRsActive].Set(now.active)
	}
	if err != nil {
		now.close()
		return fmt.Errorf("set the filter's rules: %w", errors.Join(err, f.clear(&now, &old)))
	}
	f.set = now
	if !old.begun {
		return nil
	}
	defer old.close()
	if err := f.clear(&old, &now); err != nil {
		return fmt.Errorf("clear the filter's old rules: %w", err)
	}
	return f.set.carry(&old)
}

// fill puts settings where the program does not look yet.
func (f *Filter) fill(s *Settings, now, old *settingsInForce, value *bpf.PrefilterRsSettings) error {
	if err := f.fillLists(s, now, value); err != nil {
		return err
	}
	if err := f.fillOwn(s, now); err != nil {
		return err
	}
	if err := f.fillCPUs(s, old); err != nil {
		return err
	}
	return f.objects.Maps[bpf.PrefilterMapRsSettingsOf].Put(now.active, value)
}

// fillLists builds the tries and the counters of the prefixes.
func (f *Filter) fillLists(s *Settings, now *settingsInForce, value *bpf.PrefilterRsSettings) error {
	known := make(map[listed]bool, len(s.Deny)+len(s.Allow))
	for list, prefixes := range [][]netip.Prefix{listDeny: s.Deny, listAllow: s.Allow} {
		var (
			four     []prefix4
			six      []prefix6
			of4, of6 []uint32 // their numbers
		)
		for _, p := range prefixes {
			p = canonical(p)
			number, name := uint32(len(now.prefixes)), listed{p, list == listAllow}
			if known[name] {
				continue
			}
			known[name] = true
			now.prefixes = append(now.prefixes, name)
			if p.Addr().Is4() {
				four, of4 = append(four, prefix4{uint32(p.Bits()), p.Addr().As4()}), append(of4, number)
			} else {
				six, of6 = append(six, prefix6{uint32(p.Bits()), p.Addr().As16()}), append(of6, number)
			}
		}
		at := 2*now.active + uint32(list)
		err := fillTrie(f.objects.Maps[bpf.PrefilterMapRsLists4], at, four, of4)
		if err == nil {
			err = fillTrie(f.objects.Maps[bpf.PrefilterMapRsLists6], at, six, of6)
		}
		if err != nil {
			return fmt.Errorf("load %d prefixes: %w", len(prefixes), err)
		}
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count the CPUs: %w", err)
	}
	value.Prefixes, value.Shares = uint32(len(now.prefixes)), hitShares(cpus)
	if cpus > int(value.Shares) {
		value.Flags |= sharedHits
	}
	hits, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: 16, Flags: unix.BPF_F_INNER_MAP,
		MaxEntries: max(1, value.Prefixes*value.Shares),
	})
	if err != nil {
		return fmt.Errorf("make counters of %d prefixes: %w", value.Prefixes, err)
	}
	now.hits = hits
	return f.objects.Maps[bpf.PrefilterMapRsHits].Put(now.active, hits)
}

// hitShares is in how many parts hits are counted, a power of two: one for each CPU, but
// no more than maxShares. CPUs that share one wait for one another now and then.
func hitShares(cpus int) uint32 {
	n := 1
	for n < cpus && n < maxShares {
		n *= 2
	}
	return uint32(n)
}

// fillTrie makes a trie of prefixes with their numbers, and puts it into a map of
// maps, which holds it from then on. Where there are none, there is no trie.
func fillTrie[P prefix4 | prefix6](outer *ebpf.Map, at uint32, prefixes []P, numbers []uint32) error {
	if len(prefixes) == 0 {
		return nil
	}
	trie, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.LPMTrie, KeySize: uint32(binary.Size(prefixes[0])), ValueSize: 4,
		MaxEntries: uint32(len(prefixes)), Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return err
	}
	defer trie.Close()
	for i := 0; i < len(prefixes); i += batchSize {
		n := min(i+batchSize, len(prefixes))
		if _, err := trie.BatchUpdate(prefixes[i:n], numbers[i:n], nil); err != nil {
			return err
		}
	}
	return outer.Put(at, trie)
}

// canonical is a prefix as the tries know it: of IPv4 if it is mapped, and without bits behind its length.
func canonical(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

func appendAddr(b []byte, a frame.Addr) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, a.Hi), a.Lo)
}

func appendPort(b []byte, port uint16) []byte { return binary.BigEndian.AppendUint16(b, port) }

// fillOwn puts in the appliance's own traffic.
func (f *Filter) fillOwn(s *Settings, now *settingsInForce) error {
	for i := range s.Own {
		if err := f.objects.Maps[bpf.PrefilterMapRsOwn].Put(s.Own[i].key(now.active), uint8(1)); err != nil {
			return fmt.Errorf("exclude own traffic: %w", err)
		}
	}
	return nil
}

// fillCPUs makes the queues to the CPUs that share what passes. One that is there stays.
func (f *Filter) fillCPUs(s *Settings, old *settingsInForce) error {
	cpus, arrived := f.objects.Maps[bpf.PrefilterMapRsCpus], f.objects.Programs[bpf.PrefilterProgRsArrived]
	if cpus == nil {
		return nil // a socket filter steers nothing
	}
	for _, cpu := range s.CPUs {
		if slices.Contains(old.cpus, cpu) {
			continue
		}
		value := bpf.PrefilterBpfCpumapVal{Qsize: cpuQueue}
		value.BpfProg.Fd = int32(arrived.FD())
		if err := cpus.Put(uint32(cpu), &value); err != nil {
			return fmt.Errorf("steer to CPU %d: %w", cpu, err)
		}
	}
	return nil
}

// clear takes away what only the settings of gone have, beside those of kept. Taking
// a map out of a map of maps waits until no program uses it any more.
func (f *Filter) clear(gone, kept *settingsInForce) error {
	var errs []error
	take := func(name string, key any) {
		if err := f.objects.Maps[name].Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("delete from %s: %w", name, err))
		}
	}
	take(bpf.PrefilterMapRsHits, gone.active)
	for list := range uint32(2) {
		take(bpf.PrefilterMapRsLists4, 2*gone.active+list)
		take(bpf.PrefilterMapRsLists6, 2*gone.active+list)
	}
	for i := range gone.own {
		take(bpf.PrefilterMapRsOwn, gone.own[i].key(gone.active))
	}
	for _, cpu := range gone.cpus {
		if f.objects.Maps[bpf.PrefilterMapRsCpus] != nil && !slices.Contains(kept.cpus, cpu) {
			take(bpf.PrefilterMapRsCpus, uint32(cpu))
		}
	}
	return errors.Join(errs...)
}

// Prefixes are the prefixes of Deny and Allow, in the order of the settings, each once,
// and what they have matched since they are there.
func (f *Filter) Prefixes() ([]PrefixCount, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts, err := f.set.counts()
	if err != nil {
		return nil, err
	}
	out := make([]PrefixCount, len(counts))
	for i, p := range f.set.prefixes {
		out[i] = PrefixCount{Prefix: p.prefix, Allowed: p.allowed, Traffic: counts[i]}
	}
	return out, nil
}

// counts are what the prefixes have matched, by their number.
func (s *settingsInForce) counts() ([]Traffic, error) {
	out := make([]Traffic, len(s.prefixes))
	for i, p := range s.prefixes {
		out[i] = s.before[p]
	}
	if s.hits == nil || len(out) == 0 {
		return out, nil
	}
	var cursor ebpf.MapBatchCursor
	keys, values := make([]uint32, batchSize), make([]bpf.PrefilterRsTraffic, batchSize)
	for {
		n, err := s.hits.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, fmt.Errorf("read the counters of prefixes: %w", err)
		}
		for i, key := range keys[:n] {
			t := &out[int(key)%len(out)]
			t.Packets += values[i].Packets
			t.Bytes += values[i].Bytes
		}
		if err != nil {
			return out, nil
		}
	}
}

// carry takes over what the prefixes of s had matched under the settings that are gone.
func (s *settingsInForce) carry(gone *settingsInForce) error {
	counts, err := gone.counts()
	if err != nil {
		return err
	}
	matched := map[listed]Traffic{}
	for i, p := range gone.prefixes {
		if counts[i] != (Traffic{}) {
			matched[p] = counts[i]
		}
	}
	s.before = map[listed]Traffic{}
	for _, p := range s.prefixes {
		if t, ok := matched[p]; ok {
			s.before[p] = t
		}
	}
	return nil
}
