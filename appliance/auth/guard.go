package auth

import (
	"container/list"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// guard says who may try to log in. It counts failed attempts by account and by
// source, and makes both wait, twice as long with every further one. An attempt
// counts as failed from its beginning on, so that many at once gain nothing.
//
// Somebody else's attempts do not lock out those who have logged in to the account
// from their address before: they have a count of their own.
type guard struct {
	mu      sync.Mutex
	sources limiter
	names   limiter // of accounts, and of accounts by source
	unknown limiter // names of no account: they wait alike
	friends limiter // accounts by source that have logged in

	counts guardStats
}

type guardStats struct{ good, bad, locked uint64 }

const (
	nameFree   = 5 // attempts that may fail before one waits
	sourceFree = 20
	waitFirst  = time.Second
	waitMost   = 15 * time.Minute
	forget     = time.Hour // without an attempt
)

func newGuard() *guard {
	return &guard{
		sources: limiter{free: sourceFree, most: 16384},
		names:   limiter{free: nameFree, most: 4 * maxUsers},
		unknown: limiter{free: nameFree, most: 16384},
		friends: limiter{most: 16384},
	}
}

// try is one attempt to log in. One of its methods says how it ended.
type try struct {
	g            *guard
	source, name *limited
	friend       string
	now          time.Time
}

// begin counts an attempt, or says how long to wait before the next.
func (g *guard) begin(now time.Time, name string, from netip.Addr, known bool) (try, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	src := sourceOf(from)
	friend := name + "|" + src
	names := &g.unknown
	if known {
		names = &g.names
	}
	if g.friends.has(friend) {
		name = friend
	}
	s, wait := g.sources.begin(now, src)
	if wait > 0 {
		g.counts.locked++
		return try{}, wait
	}
	n, wait := names.begin(now, name)
	if wait > 0 {
		g.counts.locked++
		return try{}, wait
	}
	return try{g, s, n, friend, now}, 0
}

func (t try) failed() {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	t.g.counts.bad++
}

// passed forgets the failures of the account, not those of the source: it may have
// an account of its own to wash itself with.
func (t try) passed() {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	t.g.counts.good++
	t.source.takeBack()
	*t.name = limited{key: t.name.key, last: t.name.last}
	t.g.friends.touch(t.friend, t.now)
}

// undo is for an attempt that was not looked at.
func (t try) undo() {
	t.g.mu.Lock()
	defer t.g.mu.Unlock()
	t.source.takeBack()
	t.name.takeBack()
}

// pardon forgets failures of an account, as an admin has given it a new password.
func (g *guard) pardon(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key := range g.names.m {
		if key == name || strings.HasPrefix(key, name+"|") {
			g.names.forget(key)
		}
	}
}

func (g *guard) stats() guardStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}

// sourceOf is what attempts of one source have in common: a host has one IPv4
// address, but as many of IPv6 as its network.
func sourceOf(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addrString(a)
}

// limiter counts attempts by key. It remembers the last most keys only.
type limiter struct {
	free  int
	most  int
	m     map[string]*list.Element
	order list.List // of *limited, the one used last in front
}

// limited is the count of one key.
type limited struct {
	key         string
	fails       int
	until, last time.Time
	before      time.Time // until as it was before the last attempt
}

func (l *limiter) has(key string) bool { return l.m[key] != nil }

// touch is the count of a key, made if it is not there.
func (l *limiter) touch(key string, now time.Time) *limited {
	if l.m == nil {
		l.m = map[string]*list.Element{}
	}
	e := l.m[key]
	if e == nil {
		if len(l.m) >= l.most {
			old := l.order.Back()
			delete(l.m, l.order.Remove(old).(*limited).key)
		}
		e = l.order.PushFront(&limited{key: key})
		l.m[key] = e
	}
	l.order.MoveToFront(e)
	return e.Value.(*limited)
}

func (l *limiter) forget(key string) {
	if e := l.m[key]; e != nil {
		l.order.Remove(e)
		delete(l.m, key)
	}
}

// begin counts an attempt as failed, or says how long the key must wait.
func (l *limiter) begin(now time.Time, key string) (*limited, time.Duration) {
	c := l.touch(key, now)
	if now.Sub(c.last) > forget && !now.Before(c.until) {
		c.fails = 0
	}
	if wait := c.until.Sub(now); wait > 0 {
		// A clock that was set back must not lock for longer than that.
		if wait > waitMost {
			c.until = now.Add(waitMost)
			wait = waitMost
		}
		return c, wait
	}
	c.fails++
	c.last, c.before = now, c.until
	if over := c.fails - l.free; over >= 0 {
		c.until = now.Add(min(waitFirst<<min(over, 20), waitMost))
	}
	return c, 0
}

// takeBack makes an attempt not count.
func (c *limited) takeBack() {
	c.fails = max(0, c.fails-1)
	c.until = c.before
}
