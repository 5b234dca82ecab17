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

	// Reservation is the part of Reserve that a file holds, and that is given
	// back to databases and logs when somebody else has filled the volume.
	// Default a tenth, at most 1 GiB; negative: none.
	Reservation int64
}

const (
	leastReserve    = 10 << 30
	mostReservation = 1 << 30
)

// Fit fills in what is not said, and refuses what cannot be on a volume.
func (l Limits) Fit(s Space) (Limits, error) {
	if l.Reserve <= 0 {
		l.Reserve = max(s.Total/20, leastReserve)
	}
	if l.Reservation == 0 {
		l.Reservation = min(l.Reserve/10, mostReservation)
	}
	l.Reservation = min(max(l.Reservation, 0), l.Reserve)
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

// describe says what a directory may hold, for people.
func (l Limits) describe(dir string, s Space) string {
	text := fmt.Sprintf("spool %s: %s of a volume of %s, %s stay free", dir, Bytes(l.Total), Bytes(s.Total), Bytes(l.Reserve))
	for c := range Class(Classes) {
		if l.Bytes[c] > 0 {
			text += fmt.Sprintf(", %s at most %s", c, Bytes(l.Bytes[c]))
		}
		if l.Age[c] > 0 {
			text += fmt.Sprintf(", %s at most %s days", c, strings.TrimSuffix(fmt.Sprintf("%.1f", l.Age[c].Hours()/24), ".0"))
		}
	}
	return text
}

// Pruned is what retention has removed.
type Pruned struct {
	Segments [Classes]uint64
	Bytes    [Classes]uint64
	Moved    uint64 // segments that went on to the next tier
	Held     int64  // bytes of segments that stay because of holds, the last time
}

// Forecast is how long a class lasts at the rate of its last day.
type Forecast struct {
	Rate  float64       // bytes per second
	Lasts time.Duration // 0: not known
}

// spot is where a segment lies: in which tier, under which name.
type spot struct {
	tier int
	name Name
}

// kept is a closed segment.
type kept struct {
	Name
	Bytes int64
	tier  int
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

// forecast is how long a class lasts in directories that segments move through,
// at the rate of the first one. These are its segments, sorted by minute.
func forecast(c Class, tiers []Limits, all []*kept) Forecast {
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
	quota := int64(0)
	for _, l := range tiers {
		if l.Bytes[c] > 0 {
			quota += l.Bytes[c]
		} else {
			quota += l.Total
		}
	}
	f.Lasts = time.Duration(min(float64(quota)/f.Rate*1e9, float64(never/2)))
	if age := tiers[len(tiers)-1].Age[c]; age > 0 {
		f.Lasts = min(f.Lasts, age)
	}
	return f
}

// Forecasts are those of the directories of a spool, from a List of the first.
func Forecasts(tiers []Limits, first []Info) (out [Classes]Forecast) {
	all := make([]*kept, len(first))
	for i := range first {
		all[i] = &kept{Name: first[i].Name, Bytes: first[i].Bytes}
	}
	sortKept(all)
	for c := range Class(Classes) {
		out[c] = forecast(c, tiers, all)
	}
	return out
}

// sortKept sorts segments by minute, then path.
func sortKept(all []*kept) {
	slices.SortFunc(all, func(a, b *kept) int {
		return cmp.Or(cmp.Compare(a.Minute, b.Minute), cmp.Compare(a.Path(), b.Path()))
	})
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

// Keep reads the list of held calls, moves and removes what is beyond the limits,
// and looks whether the volume is there and has room. It runs by itself every ten
// seconds.
func (s *Spool) Keep() {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	errs := []error{s.readHolds()}
	if s.rescan.Swap(false) {
		errs = append(errs, s.load())
	}
	s.look() // before segments are moved, which may take long
	for i := len(s.tiers) - 1; i >= 0; i-- {
		if err := s.prune(i); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.look())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepErr = errors.Join(errs...)
}

// look says to the writers whether they may write, and keeps the reservation.
func (s *Spool) look() error {
	t := s.tiers[0]
	space, err := t.mounted(s.fs)
	s.away.Store(err != nil)
	if err != nil {
		return err
	}
	free := t.reserve(s.fs, space)
	short := int32(0)
	switch {
	case free < t.limits.Reserve/2:
		short = 2
	case free < t.limits.Reserve:
		short = 1
	}
	s.short.Store(short)
	return nil
}

// prune moves what is beyond the limits of a tier to the next, or, if it is the
// last, removes it.
func (s *Spool) prune(tier int) error {
	t := s.tiers[tier]
	space, err := t.mounted(s.fs)
	if err != nil {
		return err
	}
	s.mu.Lock()
	held, all := slices.Concat(s.held, s.listed), make([]*kept, 0, len(s.catalog))
	for _, k := range s.catalog {
		if k.tier == tier {
			all = append(all, k)
		}
	}
	s.mu.Unlock()
	sortKept(all)
	last := tier == len(s.tiers)-1
	free := space.Free + t.reserved.Load()
	remove, pinned := t.limits.plan(all, free, s.opts.Now().UnixNano(), func(k *kept) bool { return last && s.holds(k, held) })
	var errs []error
	for _, k := range remove {
		if !last {
			err := s.move(k)
			if err == nil {
				free += k.Bytes
				continue
			}
			errs = append(errs, err)
			// What cannot be moved stays, unless there is no room for what is new.
			if free >= t.limits.Reserve || s.holds(k, held) {
				continue
			}
		}
		if err := s.remove(k); err != nil {
			errs = append(errs, err)
			continue
		}
		free += k.Bytes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last {
		s.pruned.Held = pinned
	}
	if tier == 0 {
		for c := range Class(Classes) {
			s.forecast[c] = forecast(c, s.limits(), all)
		}
	}
	return errors.Join(errs...)
}

func (s *Spool) limits() []Limits {
	var out []Limits
	for _, t := range s.tiers {
		out = append(out, t.limits)
	}
	return out
}

// remove unlinks a segment.
func (s *Spool) remove(k *kept) error {
	if err := unlink(s.fs, s.tiers[k.tier].dir, k.Name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.catalog, spot{k.tier, k.Name})
	s.pruned.Segments[k.Class]++
	s.pruned.Bytes[k.Class] += uint64(k.Bytes)
	return nil
}

func unlink(files FS, dir string, n Name) error {
	path := filepath.Join(dir, n.Path())
	if err := files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove segment: %w", err)
	}
	// The folders above, if they are empty now; not, if not.
	if files.Remove(filepath.Dir(path)) == nil {
		_ = files.Remove(filepath.Dir(filepath.Dir(path)))
	}
	return nil
}

// load fills the catalog from the names of the files.
func (s *Spool) load() error {
	catalog := map[spot]*kept{}
	for i, t := range s.tiers {
		all, err := names(s.fs, t.dir)
		if err != nil {
			return err
		}
		for _, n := range all {
			if n.Hidden {
				continue
			}
			k := &kept{Name: n, tier: i}
			err := withFile(s.fs, filepath.Join(t.dir, n.Path()), func(f File) error {
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
			catalog[spot{i, n}] = k
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, k := range catalog {
		if s.catalog[at] == nil {
			s.catalog[at] = k
		}
	}
	return nil
}
