package spool

import "fmt"

// SetLimits gives the directories of an open spool other limits, in the order of
// Options: that of Dir first. They hold from the next round of retention on. Limits
// that cannot fit, or are not as many as there are directories, change nothing.
func (s *Spool) SetLimits(limits []Limits) error {
	if len(limits) != len(s.tiers) {
		return fmt.Errorf("change the limits of the spool: %d for %d directories", len(limits), len(s.tiers))
	}
	fitted := make([]Limits, len(limits))
	for i, t := range s.tiers {
		space, err := t.mounted(s.fs)
		if err == nil {
			fitted[i], err = limits[i].Fit(space)
		}
		if err != nil {
			return fmt.Errorf("change the limits of spool %s: %w", t.dir, err)
		}
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, t := range s.tiers {
		t.limits = fitted[i]
	}
	return nil
}
