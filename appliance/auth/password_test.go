package auth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

const validPHC = "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"

func TestHash(t *testing.T) {
	h := newHasher(cheap, 1, 1)
	a, err := h.hash(context.Background(), good)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := h.hash(context.Background(), good)
	if a == b {
		t.Error("two hashes of one password are the same: the salt is not random")
	}
	p, err := parsePHC(a)
	if err != nil || p.String() != a || p.cost != cheap {
		t.Fatalf("%s is read as %s, %v", a, p, err)
	}
	for password, want := range map[string]bool{good: true, good + " ": false, "": false} {
		if ok, err := h.verify(context.Background(), p, password); ok != want || err != nil {
			t.Errorf("verify %q: %v, %v", password, ok, err)
		}
	}
	if ok, _ := h.verify(context.Background(), h.decoy(), good); ok {
		t.Error("a password fits the decoy")
	}
}

// The hash of another implementation (RFC 9106 has no vector in this format, the
// reference's command line does: password "password", salt "somesalt").
func TestHashOfReference(t *testing.T) {
	p, err := parsePHC("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := newHasher(cheap, 1, 1).verify(context.Background(), p, "password"); !ok || err != nil {
		t.Errorf("verify: %v, %v", ok, err)
	}
}

func TestParsePHC(t *testing.T) {
	for _, tc := range []struct{ name, from, to string }{
		{"empty", validPHC, ""},
		{"other algorithm", "argon2id", "argon2i"},
		{"old version", "v=19", "v=16"},
		{"no passes", "t=1", "t=0"},
		{"too many passes", "t=1", "t=65"},
		{"too little memory", "m=64", "m=7"},
		{"too much memory", "m=64", "m=4194304"},
		{"no lanes", "p=1", "p=0"},
		{"sign", "m=64", "m=+64"},
		{"leading zero", "m=64", "m=064"},
		{"more parameters", "p=1", "p=1,x=1"},
		{"short salt", "MDEyMzQ1Njc4OWFiY2RlZg$", "MDEy$"},
		{"padding", "ZWY", "ZWY="},
		{"trailing bits", "RlZg$", "RlZh$"},
		{"part missing", "$MDEyMzQ1Njc4OWFiY2RlZg$", "$"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := strings.Replace(validPHC, tc.from, tc.to, 1)
			if s == validPHC {
				t.Fatal("the case changes nothing")
			}
			if _, err := parsePHC(s); err == nil {
				t.Errorf("%q is taken", s)
			}
		})
	}
	if _, err := parsePHC(validPHC); err != nil {
		t.Error(err)
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add(validPHC)
	f.Add("$argon2id$v=19$m=1,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parsePHC(s); err == nil && p.String() != s {
			t.Errorf("%q is read as %q", s, p)
		}
	})
}

func TestCostFor(t *testing.T) {
	for _, tc := range []struct {
		memory int64
		want   Cost
	}{
		{0, Cost{64 << 10, 3, 4}},
		{64 << 30, Cost{64 << 10, 3, 4}},
		{2 << 30, Cost{64 << 10, 3, 4}},
		{1 << 30, Cost{32 << 10, 3, 4}},
		{100 << 20, Cost{19 << 10, 4, 4}},
	} {
		if got := CostFor(tc.memory); got != tc.want {
			t.Errorf("cost for %d bytes: %+v, want %+v", tc.memory, got, tc.want)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for _, tc := range []struct {
		password string
		ok       bool
	}{
		{good, true},
		{"Zwölf Boxkämpfer", true},
		{"123456789", false},
		{"1234567890123", false},
		{"aaaaaaaaaaaaaa", false},
		{"Password123!", false},
		{"klausmeier1", false},
		{"klausmeier and his horse", true},
		{"äöüäöüäöü", false},
		{"not valid \xff\xfe text", false},
		{strings.Repeat("abcdefg ", 200), false},
	} {
		if err := checkPassword("klausmeier", tc.password); (err == nil) != tc.ok {
			t.Errorf("%q: %v, want it taken: %v", tc.password, err, tc.ok)
		}
	}
}

// A flood of logins waits in a queue that has an end, and takes few slots.
func TestHasherIsBounded(t *testing.T) {
	h := newHasher(cheap, 2, 3)
	var leaves []func()
	for range 2 {
		leave, err := h.enter(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	for range 3 {
		wg.Go(func() {
			_, err := h.enter(ctx)
			errs <- err
		})
	}
	for len(h.queue) < 5 {
		time.Sleep(time.Millisecond)
	}
	if _, err := h.enter(context.Background()); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v, want ErrBusy", err)
	}
	cancel()
	wg.Wait()
	for range 3 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("one that waited and went: %v", err)
		}
	}
	for _, leave := range leaves {
		leave()
	}
	if len(h.slots) != 0 || len(h.queue) != 0 {
		t.Errorf("%d slots and %d places are taken at the end", len(h.slots), len(h.queue))
	}
}
