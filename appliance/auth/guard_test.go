package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func addr(n int) string { return fmt.Sprintf("198.51.%d.%d", n/250, 1+n%250) }

// fail logs in with a wrong password and returns how long to wait, if locked.
func (w *world) fail(name, from string) time.Duration {
	w.t.Helper()
	_, err := w.login(name, "a wrong password", from)
	var locked *LockedError
	if errors.As(err, &locked) {
		return locked.After
	}
	if !errors.Is(err, ErrCredentials) {
		w.t.Fatal(err)
	}
	return 0
}

// Names that there are and names that there are not wait alike, twice as long each time.
func TestLockOut(t *testing.T) {
	for _, name := range []string{"viewer", "nobody"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i := range nameFree {
				if wait := w.fail(name, addr(i)); wait != 0 {
					t.Fatalf("attempt %d: wait for %s", i, wait)
				}
			}
			want := time.Second
			for i := range 14 {
				hashes := w.hasher.hashed.Load()
				if wait := w.fail(name, addr(20+i)); wait != want {
					t.Fatalf("lock %d: wait for %s, want %s", i, wait, want)
				}
				if w.hasher.hashed.Load() != hashes {
					t.Error("a locked attempt is hashed")
				}
				w.add(want)
				if wait := w.fail(name, addr(40+i)); wait != 0 {
					t.Fatalf("after lock %d: wait for %s", i, wait)
				}
				want = min(2*want, waitMost)
			}
			// The right password waits as well.
			if _, err := w.login(name, good, addr(60)); err == nil || errors.Is(err, ErrCredentials) {
				t.Errorf("right password while locked: %v", err)
			}
			w.add(2 * forget)
			for i := range nameFree {
				if wait := w.fail(name, addr(80+i)); wait != 0 {
					t.Errorf("attempt %d after long: wait for %s", i, wait)
				}
			}
		})
	}
}

func TestLockOutEnds(t *testing.T) {
	w := newWorld(t)
	for i := range nameFree {
		w.fail("viewer", addr(i))
	}
	if err := w.SetPassword(as("root"), "viewer", good, false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.login("viewer", good, addr(10)); err != nil {
		t.Errorf("after an admin has set a new password: %v", err)
	}
	for i := range nameFree - 1 {
		w.fail("viewer", addr(20+i))
	}
	if _, err := w.login("viewer", good, addr(30)); err != nil {
		t.Fatal(err)
	}
	for i := range nameFree - 1 {
		if wait := w.fail("viewer", addr(40+i)); wait != 0 {
			t.Errorf("the login has not cleared the count: attempt %d waits for %s", i, wait)
		}
	}
}

// One source that tries many names waits, and IPv6 hosts of one network are one.
func TestSourceLockOut(t *testing.T) {
	for _, tc := range []struct {
		name string
		from func(i int) string
		lock bool
	}{
		{"one address", func(int) string { return "203.0.113.5" }, true},
		{"one network of IPv6", func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }, true},
		{"IPv4 in IPv6", func(i int) string { return []string{"203.0.113.5", "::ffff:203.0.113.5"}[i%2] }, true},
		{"many addresses", addr, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			var locked time.Duration
			for i := range sourceFree + 1 {
				locked = w.fail(fmt.Sprintf("name%d", i), tc.from(i))
			}
			if (locked > 0) != tc.lock {
				t.Errorf("locked for %s, want locked: %v", locked, tc.lock)
			}
			if _, err := w.login("viewer", good, "203.0.113.99"); err != nil {
				t.Errorf("somebody else: %v", err)
			}
		})
	}
}

// Good logins to an account of one's own do not clear the source.
func TestSourceIsNotWashed(t *testing.T) {
	w := newWorld(t)
	wait := time.Duration(0)
	for i := 0; i < 2*sourceFree && wait == 0; i++ {
		wait = w.fail(fmt.Sprintf("victim%d", i), "203.0.113.5")
		_, _ = w.login("viewer", good, "203.0.113.5")
	}
	if wait == 0 {
		t.Error("a source that logs in between may guess for ever")
	}
}

// An attacker from elsewhere does not lock out who has logged in from home before.
func TestFriendIsNotLockedOut(t *testing.T) {
	w := newWorld(t)
	if _, err := w.login("root", good, "192.0.2.50"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * nameFree {
		w.fail("root", addr(i))
	}
	if wait := w.fail("root", addr(100)); wait == 0 {
		t.Error("the account is not locked for others")
	}
	if _, err := w.login("root", good, "192.0.2.50"); err != nil {
		t.Errorf("from home: %v", err)
	}
	wait := time.Duration(0)
	for i := 0; i <= nameFree && wait == 0; i++ {
		wait = w.fail("root", "192.0.2.50")
	}
	if wait == 0 {
		t.Error("at home one may guess for ever")
	}
}

// Attempts at once gain nothing.
func TestGuessesAtOnce(t *testing.T) {
	w := newWorld(t)
	before := w.hasher.hashed.Load()
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() { w.fail("viewer", addr(i)) })
	}
	wg.Wait()
	if n := w.hasher.hashed.Load() - before; n != nameFree {
		t.Errorf("%d of 30 attempts were hashed, want %d", n, nameFree)
	}
	if s := w.Stats(); s.Failed != nameFree || s.Locked != 30-nameFree {
		t.Errorf("stats: %+v", s)
	}
}

func TestGuardMemory(t *testing.T) {
	g := newGuard()
	now := time.Now()
	for i := range 20000 {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if try, wait := g.begin(now, fmt.Sprint("name", i), from, false); wait == 0 {
			try.failed()
		}
	}
	for name, l := range map[string]*limiter{"sources": &g.sources, "unknown names": &g.unknown} {
		if n := len(l.m); n != l.most || l.order.Len() != n {
			t.Errorf("%s: %d in the map, %d in order, want %d", name, n, l.order.Len(), l.most)
		}
	}
}

// A clock that is set back does not lock for longer.
func TestClockSetBack(t *testing.T) {
	w := newWorld(t)
	for i := range nameFree {
		w.fail("viewer", addr(i))
	}
	w.add(-48 * time.Hour)
	if wait := w.fail("viewer", addr(10)); wait > waitMost {
		t.Errorf("locked for %s", wait)
	}
	w.add(waitMost)
	if _, err := w.login("viewer", good, addr(11)); err != nil {
		t.Errorf("after the longest wait: %v", err)
	}
}

// Each failed attempt is in the audit, but a flood does not fill it.
func TestFailedLoginsInAudit(t *testing.T) {
	w := newWorld(t)
	w.fail("viewer", "192.0.2.66")
	w.mustLogin("viewer")
	got := w.actions(AuditFilter{Action: "login"})
	if want := []string{"login failed", "login ok"}; !slices.Equal(got, want) {
		t.Errorf("audit %q, want %q", got, want)
	}
	for i := range 200 {
		w.fail(fmt.Sprintf("name%d", i), "192.0.2.66")
	}
	if n := len(w.actions(AuditFilter{Action: "login", Limit: 1000})); n > 2+sieveMost {
		t.Errorf("%d entries of one minute", n)
	}
	w.add(time.Hour)
	w.fail("viewer", "192.0.2.67")
	page, err := w.Audit.Query(t.Context(), AuditFilter{Action: "login", Limit: 1})
	if err != nil || len(page.Entries) != 1 || !strings.Contains(page.Entries[0].Detail, "181 more like it are not listed") || page.Entries[0].From != "192.0.2.67" {
		t.Errorf("last entry %+v, %v", page.Entries, err)
	}
}
