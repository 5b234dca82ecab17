package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ringside/appliance/auth"
)

// limits keep one caller from taking everything.
type limits struct {
	rate    rate.Limit
	mu      sync.Mutex
	callers map[string]*caller
	total   [3]int // under way, by kind
}

// caller is who asks: an account, or an address that has not logged in.
type caller struct {
	bucket *rate.Limiter
	seen   time.Time
	busy   [3]int // under way, by kind
}

const (
	defaultRate = 50 // requests per second
	burst       = 4  // seconds of them at once
	maxCallers  = 4096
)

// How many may be under way, by kind: of one caller, and in all.
var (
	perCaller = [3]int{32, 10, 12}
	inAll     = [3]int{256, 32, 128}
)

func newLimits(perSecond float64) *limits {
	l := &limits{rate: rate.Limit(perSecond), callers: make(map[string]*caller)}
	switch {
	case perSecond == 0:
		l.rate = defaultRate
	case perSecond < 0:
		l.rate = rate.Inf
	}
	return l
}

// enter counts a request of a caller in, or says what is too much. The function
// that it returns counts it out.
func (l *limits) enter(who string, k kind) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	c := l.callers[who]
	if c == nil {
		if len(l.callers) >= maxCallers {
			l.forget(now)
		}
		c = &caller{bucket: rate.NewLimiter(l.rate, burst*max(1, int(min(l.rate, 1e6))))}
		l.callers[who] = c
	}
	c.seen = now
	if !c.bucket.AllowN(now, 1) {
		return nil, &failure{code: codeRate, detail: "ask less often", after: time.Second}
	}
	if c.busy[k] >= perCaller[k] || l.total[k] >= inAll[k] {
		return nil, &failure{code: codeBusy, detail: "wait until another request or download has ended", after: 2 * time.Second}
	}
	c.busy[k]++
	l.total[k]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		c.busy[k]--
		l.total[k]--
	}, nil
}

// forget makes room: those who have nothing under way and were not seen for a
// minute go, and if that is nobody, one of those who have nothing under way.
func (l *limits) forget(now time.Time) {
	var idle string
	for who, c := range l.callers {
		if c.busy != [3]int{} {
			continue
		}
		idle = who
		if now.Sub(c.seen) > time.Minute {
			delete(l.callers, who)
		}
	}
	if len(l.callers) >= maxCallers {
		delete(l.callers, idle)
	}
}

// caps bound what one answer may hold. Whoever runs the appliance gets more.
type caps struct {
	rows  int   // of an export
	calls int   // of a capture file of many
	bytes int64 // of a capture file
}

func capsOf(id *auth.Identity) caps {
	if id.Can(auth.SpoolManage) {
		return caps{rows: 5_000_000, calls: 10_000, bytes: 16 << 30}
	}
	return caps{rows: 1_000_000, calls: 1000, bytes: 2 << 30}
}
