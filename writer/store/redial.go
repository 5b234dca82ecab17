package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Waits between attempts to connect: doubled with each failure, and each drawn
// at random from its upper half, so that many clients of a server that comes
// back do not come at once.
const (
	redialMin = 50 * time.Millisecond
	redialMax = 10 * time.Second
)

// redial connects to a server, but not again right after it failed: until the
// wait is over, who asks gets the last error at once. The first attempt after
// a connection was lost does not wait.
type redial struct {
	driver.Connector
	now func() time.Time

	mu   sync.Mutex
	last error         // of the last attempt, nil: it connected
	wait time.Duration // since the last failure
	next time.Time     // when to try again
}

func newRedial(c driver.Connector) *redial { return &redial{Connector: c, now: time.Now} }

// Connect implements driver.Connector.
func (r *redial) Connect(ctx context.Context) (driver.Conn, error) {
	r.mu.Lock()
	if left := r.next.Sub(r.now()); r.last != nil && left > 0 {
		defer r.mu.Unlock()
		return nil, fmt.Errorf("not tried again for another %v: %w", left.Round(time.Millisecond), r.last)
	}
	r.mu.Unlock()

	c, err := r.Connector.Connect(ctx)
	if err != nil && (ctx.Err() != nil || isMySQL(err, 1049)) {
		return nil, err // nobody waited, or the database is missing: the server is there
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last = err; err == nil {
		r.wait = 0
		return c, nil
	}
	r.wait = min(max(redialMin, 2*r.wait), redialMax)
	r.next = r.now().Add(r.wait/2 + rand.N(r.wait/2))
	return nil, err
}
