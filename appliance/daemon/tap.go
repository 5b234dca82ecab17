package daemon

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"ringside/flow"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// LiveCall is a call that goes on.
type LiveCall = flow.LiveCall

// SIPMessage is a message of the tap.
type SIPMessage struct {
	Time   int64
	Meta   call.Meta
	Parsed sip.Message // with bytes of its own
	Sensor uint16
	Missed uint64 // before this one, for which there was no room
}

// tap lets people look at SIP as it comes. Shards pass every message by; while
// nobody listens that is one load, and else one copy. They never wait: who does
// not take messages as fast as they come misses some, and is told how many.
type tap struct {
	listeners atomic.Pointer[[]*listener] // nil: none
	mu        sync.Mutex                  // for changes
	sensor    uint16
}

// listener is one who looks.
type listener struct {
	to     chan SIPMessage
	missed atomic.Uint64
	tokens atomic.Int64 // messages that it may still have in this second
}

// Limits of a listener: what it has not taken yet, and how many it gets in a
// second. Nobody reads more, and a flood would cost copies.
const (
	tapQueue   = 256
	tapRate    = 500
	tapMessage = 64 << 10 // bytes of a message
)

// message is called by the shards with every message that was understood.
func (t *tap) message(m *sip.Message, meta *call.Meta) {
	list := t.listeners.Load()
	if list == nil {
		return
	}
	own := *m
	copied := false
	for _, l := range *list {
		if l.tokens.Add(-1) < 0 {
			l.missed.Add(1)
			continue
		}
		if !copied {
			own.Buf, copied = bytes.Clone(m.Buf), true
		}
		out := SIPMessage{Time: meta.Time, Meta: *meta, Parsed: own, Sensor: t.sensor, Missed: l.missed.Swap(0)}
		select {
		case l.to <- out:
		default:
			l.missed.Add(out.Missed + 1)
		}
	}
}

// listen calls f with messages until ctx ends or f fails.
func (t *tap) listen(ctx context.Context, f func(*SIPMessage) error) error {
	l := &listener{to: make(chan SIPMessage, tapQueue)}
	l.tokens.Store(tapRate)
	t.change(func(list []*listener) []*listener { return append(list, l) })
	defer t.change(func(list []*listener) (left []*listener) {
		for _, o := range list {
			if o != l {
				left = append(left, o)
			}
		}
		return left
	})
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-second.C:
			l.tokens.Store(tapRate)
		case m := <-l.to:
			if err := f(&m); err != nil {
				return err
			}
		}
	}
}

// change replaces the list of listeners.
func (t *tap) change(f func([]*listener) []*listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*listener
	if old := t.listeners.Load(); old != nil {
		list = append(list, *old...)
	}
	if list = f(list); len(list) == 0 {
		t.listeners.Store(nil)
		return
	}
	t.listeners.Store(&list)
}

// liveCalls are the calls that go on, asked for at most once a second, however many
// look.
type liveCalls struct {
	mu     sync.Mutex
	last   liveAnswer
	asking chan struct{} // closed with the answer; nil: nobody asks
}

// liveAnswer is the calls that went on at a moment.
type liveAnswer struct {
	calls []LiveCall // not changed any more
	open  int        // all of them, those that are not listed included
	at    time.Time
}

// What is asked for at the most, and how long the shards have to answer. A capture
// that is busy answers late: who has an answer of a moment ago does not wait for it.
const (
	liveMost  = 5_000
	liveAge   = time.Second
	liveStale = 10 * time.Second // an older answer is none
	liveWait  = 2 * time.Second
	liveFirst = 500 * time.Millisecond // for who has no answer at all
	liveNext  = 20 * time.Millisecond
)

// get is the calls as of a moment at most two seconds ago; longer ago where the
// capture is too busy to answer.
func (l *liveCalls) get(s *Service) liveAnswer {
	now := time.Now()
	if s.input == nil || s.over.Load() {
		return liveAnswer{at: now}
	}
	l.mu.Lock()
	age := now.Sub(l.last.at)
	if age < liveAge {
		defer l.mu.Unlock()
		return l.last
	}
	if l.asking == nil {
		l.asking = make(chan struct{})
		go l.ask(s, l.asking)
	}
	answer := l.asking
	l.mu.Unlock()

	patience := liveNext
	if age >= liveStale {
		patience = liveFirst
	}
	select {
	case <-answer:
	case <-time.After(patience):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.last.at) >= liveStale { // nobody has answered
		return liveAnswer{at: now}
	}
	return l.last
}

// ask asks the shards once. An answer that is not of all of them takes the place of
// an old one only.
func (l *liveCalls) ask(s *Service, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), liveWait)
	defer cancel()
	at := time.Now()
	found := s.input.flows().Live(ctx, liveMost)
	l.mu.Lock()
	defer l.mu.Unlock()
	if found.Silent == 0 || at.Sub(l.last.at) >= liveStale {
		l.last = liveAnswer{found.Calls, found.Open, at}
	}
	l.asking = nil
	close(done)
}

// worstOf is what is worst of the streams of a call so far.
type worstOf struct {
	codec             string
	mos, loss, jitter float64
}

func worst(c *record.Call) (w worstOf) {
	for i := range c.Streams {
		st := &c.Streams[i]
		if w.codec == "" {
			w.codec = st.Codec
		}
		if mos := st.MOS.LQ; mos > 0 && (w.mos == 0 || mos < w.mos) {
			w.mos = mos
		}
		if st.Expected > 0 {
			w.loss = max(w.loss, 100*float64(st.Lost)/float64(st.Expected))
		}
		w.jitter = max(w.jitter, st.JitterMax)
	}
	return w
}
