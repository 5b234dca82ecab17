package daemon

import (
	"slices"
	"sync"
	"time"

	"ringside/appliance/audio"
	"ringside/flow/record"
)

// audioShelf keeps the recordings that were opened last: who listens to a call asks
// what there is, for its picture, and for its sound, piece by piece, and finding out
// what there is means to read all packets of the call. A recording itself has no
// packets; those that could be large are not kept.
type audioShelf struct {
	mu   sync.Mutex
	kept []shelved // the one that was asked for last is the last
}

// shelved is a recording that was opened.
type shelved struct {
	id, end int64 // of the call, and when that ended: a call that goes on grows
	at      time.Time
	of      *audio.Recording
}

const (
	shelfRoom    = 8 // recordings
	shelfStreams = 8 // of each: more than calls have, but for those meant to do harm
	shelfTime    = 2 * time.Minute
	shelfSettled = 30 * time.Second // behind the end of a call: its packets are on disk by then
)

// get is the recording of a call, nil if it is not there any more.
func (s *audioShelf) get(c *record.Call, now time.Time) *audio.Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(k shelved) bool { return now.Sub(k.at) >= shelfTime || now.Before(k.at) })
	i := slices.IndexFunc(s.kept, func(k shelved) bool { return k.id == c.ID && k.end == c.End })
	if i < 0 {
		return nil
	}
	found := s.kept[i]
	s.kept = append(slices.Delete(s.kept, i, i+1), found)
	return found.of
}

// put keeps a recording for a while, if the call is over and it is small.
func (s *audioShelf) put(c *record.Call, r *audio.Recording, now time.Time) {
	if c.End == 0 || now.Sub(time.Unix(0, c.End)) < shelfSettled || len(r.Streams) > shelfStreams {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(k shelved) bool { return k.id == c.ID })
	if len(s.kept) >= shelfRoom {
		s.kept = slices.Delete(s.kept, 0, 1)
	}
	s.kept = append(s.kept, shelved{c.ID, c.End, now, r})
}
