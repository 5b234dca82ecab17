package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Limits say what is kept. Whatever is reached first counts. Segments are
// removed whole, the oldest first, and never one that holds a held call.
type Limits struct {
	Bytes   [Classes]int64         // of each class; 0: only Total counts
	Age     [Classes]time.Duration // by the clock of the machine; 0: none
	Total   int64                  // of all classes; default 80 % of the volume, or what Reserve leaves
	Reserve int64                  // bytes of the volume that stay free; default 5 % of it or 10 GiB, whichever is more
}

const leastReserve = 10 << 30

// fit fills in what is not said, and refuses what cannot be.
func (l Limits) fit(s Space) (Limits, error) {
	if l.Reserve <= 0 {
		l.Reserve = max(s.Total/20, leastReserve)
	}
	room := s.Total - l.Reserve
	if room <= 0 {
		return l, fmt.Errorf("the reserve of %s leaves nothing of a volume of %s: choose a larger volume, or a smaller reserve", Bytes(l.Reserve), Bytes(s.Total))
	}
	if l.Total <= 0 {
		l.Total = min(s.Total/5*4, room)
	}
	if l.Total > room {
		return l, fmt.Errorf("a quota of %s does not fit: the volume has %s, and %s stay free: choose at most %s", Bytes(l.Total), Bytes(s.Total), Bytes(l.Reserve), Bytes(room))
	}
	sum := int64(0)
	for _, b := range l.Bytes {
		sum += max(b, 0)
	}
	if sum > l.Total {
		return l, fmt.Errorf("quotas of sip %s, rtp %s and register %s do not fit into %s (volume %s, reserve %s)",
			Bytes(l.Bytes[SIP]), Bytes(l.Bytes[RTP]), Bytes(l.Bytes[Register]), Bytes(l.Total), Bytes(s.Total), Bytes(l.Reserve))
	}
	return l, nil
}

// Bytes prints a number of bytes with its unit, as 1.5 GiB.
type Bytes int64

func (b Bytes) String() string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, u := float64(b), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[u]
}

// Hold keeps the packets of a call from being removed.
type Hold struct {
	Key      string
	From, To int64 // ns; its segments are looked for in this time
}

// Pruned is what retention has removed.
type Pruned struct {
	Segments [Classes]uint64
	Bytes    [Classes]uint64
	Held     int64 // bytes of segments that stay because of holds, the last time
}

// Forecast is how long a class lasts at the rate of its last day.
type Forecast struct {
	Rate  float64       // bytes per second
	Lasts time.Duration // 0: not known
}

// kept is a closed segment.
type kept struct {
	Name
	Bytes int64
}

// plan chooses the segments to remove. They are sorted by their minute. Held
// is asked of those that would be removed.
func (l Limits) plan(all []*kept, free int64, now int64, held func(*kept) bool) (remove []*kept, pinned int64) {
	var bytes [Classes]int64
	var total int64
	for _, k := range all {
		bytes[k.Class] += k.Bytes
		total += k.Bytes
	}
	gone := make(map[*kept]bool)
	drop := func(k *kept) {
		if gone[k] {
			return
		}
		gone[k] = true // held ones too: they are asked about once
		if held(k) {
			pinned += k.Bytes
			return
		}
		remove = append(remove, k)
		bytes[k.Class] -= k.Bytes
		total -= k.Bytes
		free += k.Bytes
	}
	for _, k := range all {
		old := l.Age[k.Class] > 0 && now-k.Minute-minute > int64(l.Age[k.Class])
		if old || l.Bytes[k.Class] > 0 && bytes[k.Class] > l.Bytes[k.Class] {
			drop(k)
		}
	}
	// Together too much: RTP goes first while it is more than half, so that a
	// few busy hours do not cost months of signalling.
	over := func() bool { return total > l.Total || free < l.Reserve }
	for _, k := range all {
		if over() && k.Class == RTP && bytes[RTP] > total/2 {
			drop(k)
		}
	}
	for _, k := range all {
		if over() {
			drop(k)
		}
	}
	return remove, pinned
}

// forecast is that of one class, from its segments sorted by minute.
func (l Limits) forecast(c Class, all []*kept) Forecast {
	const day = int64(24 * time.Hour)
	var newest, oldest, sum int64
	for i := len(all) - 1; i >= 0; i-- {
		k := all[i]
		if k.Class != c {
			continue
		}
		if newest == 0 {
			newest = k.Minute + minute
		}
		if newest-k.Minute > day {
			break
		}
		oldest, sum = k.Minute, sum+k.Bytes
	}
	if sum == 0 {
		return Forecast{}
	}
	f := Forecast{Rate: float64(sum) / (float64(newest-oldest) / 1e9)}
	quota := l.Bytes[c]
	if quota <= 0 {
		quota = l.Total
	}
	f.Lasts = time.Duration(min(float64(quota)/f.Rate*1e9, float64(never/2)))
	if l.Age[c] > 0 {
		f.Lasts = min(f.Lasts, l.Age[c])
	}
	return f
}

// Hold replaces the list of held calls.
func (s *Spool) Hold(calls []Hold) {
	held := make([]Hold, len(calls))
	for i, h := range calls {
		held[i] = Hold{keyOf(h.Key), h.From, h.To}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
}

// holds says whether a segment has frames of a held call. One that cannot be
// read is not held.
func (s *Spool) holds(k *kept, held []Hold) bool {
	found := false
	_ = withFile(s.fs, filepath.Join(s.root, k.Path()), func(f File) error {
		var x *stored
		for _, h := range held {
			if k.Minute+minute+int64(slack) < h.From || k.Minute > h.To+int64(slack) {
				continue
			}
			if x == nil {
				var err error
				if x, err = openIndex(f, k.Format); err != nil {
					return err
				}
			}
			if from, to, err := x.has(h.Key); err == nil && from < to {
				found = true
				return nil
			}
		}
		return nil
	})
	return found
}

const keepEvery = 10 * time.Second

func (s *Spool) keep() {
	defer s.keeper.Done()
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.Keep()
		}
	}
}

// Keep removes what is beyond the limits, and looks whether the volume still
// has room. It runs by itself every ten seconds.
func (s *Spool) Keep() {
	var errs []error
	if s.rescan.Swap(false) {
		errs = append(errs, s.load())
	}
	err := s.mounted()
	space, err2 := s.fs.Space(s.root)
	if err = errors.Join(err, err2); err == nil {
		err = s.prune(space)
	}
	err = errors.Join(append(errs, err)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepErr = err
}

func (s *Spool) prune(space Space) error {
	s.mu.Lock()
	held, all := s.held, make([]*kept, 0, len(s.catalog))
	for _, k := range s.catalog {
		all = append(all, k)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *kept) int {
		return cmp.Or(cmp.Compare(a.Minute, b.Minute), cmp.Compare(a.Path(), b.Path()))
	})
	limits := s.opts.Limits
	remove, pinned := limits.plan(all, space.Free, s.opts.Now().UnixNano(), func(k *kept) bool { return s.holds(k, held) })
	var errs []error
	for _, k := range remove {
		path := k.Path()
		if err := s.fs.Remove(filepath.Join(s.root, path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove segment: %w", err))
			continue
		}
		// The folders above, if they are empty now; not, if not.
		if s.fs.Remove(filepath.Dir(filepath.Join(s.root, path))) == nil {
			_ = s.fs.Remove(filepath.Dir(filepath.Dir(filepath.Join(s.root, path))))
		}
		space.Free += k.Bytes
		s.mu.Lock()
		delete(s.catalog, path)
		s.pruned.Segments[k.Class]++
		s.pruned.Bytes[k.Class] += uint64(k.Bytes)
		s.mu.Unlock()
	}
	short := int32(0)
	switch {
	case space.Free < limits.Reserve/2:
		short = 2
	case space.Free < limits.Reserve:
		short = 1
	}
	s.short.Store(short)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pruned.Held = pinned
	for c := range Class(Classes) {
		s.forecast[c] = limits.forecast(c, all)
	}
	return errors.Join(errs...)
}

// load fills the catalog from the names of the files.
func (s *Spool) load() error {
	catalog := map[string]*kept{}
	all, err := names(s.fs, s.root)
	if err != nil {
		return err
	}
	for _, n := range all {
		if n.Hidden {
			continue
		}
		k := &kept{Name: n}
		err := withFile(s.fs, filepath.Join(s.root, n.Path()), func(f File) error {
			var err error
			k.Bytes, err = f.Size()
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read size of segment: %w", err)
		}
		catalog[n.Path()] = k
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, k := range catalog {
		if s.catalog[path] == nil {
			if s.catalog == nil {
				s.catalog = map[string]*kept{}
			}
			s.catalog[path] = k
		}
	}
	if s.catalog == nil {
		s.catalog = catalog
	}
	return nil
}
