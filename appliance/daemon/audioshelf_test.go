package daemon

import (
	"testing"
	"time"

	"ringside/appliance/audio"
	"ringside/flow/record"
)

// The last few recordings are kept for a while, of calls that do not grow any more.
func TestAudioShelf(t *testing.T) {
	var s audioShelf
	now := time.Unix(1e9, 0)
	call := func(id int64, ago time.Duration) *record.Call {
		return &record.Call{ID: id, End: now.Add(-ago).UnixNano()}
	}
	r := new(audio.Recording)
	for id := range int64(shelfRoom + 1) {
		s.put(call(id, time.Hour), r, now)
	}
	if s.get(call(0, time.Hour), now) != nil || s.get(call(1, time.Hour), now) != r {
		t.Error("the oldest one is to go, and no other")
	}
	s.put(call(100, time.Hour), r, now) // in place of 2: 1 was asked for
	if s.get(call(1, time.Hour), now) != r || s.get(call(2, time.Hour), now) != nil {
		t.Error("the one that nobody asked for is to go")
	}
	if s.get(call(1, time.Minute), now) != nil {
		t.Error("a call that has grown is given as it was")
	}
	if s.get(call(100, time.Hour), now.Add(shelfTime)) != nil {
		t.Error("it is kept for longer than it may be")
	}
	large := &audio.Recording{Description: audio.Description{Streams: make([]audio.Stream, shelfStreams+1)}}
	for what, put := range map[string]func(){
		"a call that has just ended": func() { s.put(call(7, time.Second), r, now) },
		"a call that goes on":        func() { s.put(&record.Call{ID: 7}, r, now) },
		"one of many streams":        func() { s.put(call(7, time.Hour), large, now) },
	} {
		if put(); len(s.kept) != 0 {
			t.Errorf("%s is kept", what)
		}
	}
}
