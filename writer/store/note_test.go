package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

func TestNotes(t *testing.T) { onBoth(t, testNotes) }

func testNotes(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	now := dayStart(time.Now()).UnixNano()
	calls := []*record.Call{{ID: 1, Start: now, CallID: "a"}, {ID: 2, Start: now, CallID: "b"}, {ID: 3, Start: now - 100*24*hourNs, CallID: "c"}}
	insert(t, s, calls...)
	add := func(n Note) Note {
		t.Helper()
		got, err := s.AddNote(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := add(Note{CallID: 1, Author: "eve", Text: " customer heard '; DROP TABLE calls; -- ü\n"})
	second := add(Note{CallID: 1, Author: "bob", Text: "Echo", Tag: true})
	if again := add(Note{CallID: 1, Author: "eve", Text: "ECHO", Tag: true}); again != second {
		t.Errorf("the same tag again is %+v, want %+v", again, second)
	}
	add(Note{CallID: 3, Author: "bob", Text: "old"})
	want := []Note{first, second}
	if got, err := s.Notes(ctx, 1); err != nil || !slices.Equal(got, want) || first.Text != "customer heard '; DROP TABLE calls; -- ü" || first.Time == 0 || first.ID == second.ID {
		t.Errorf("notes %+v, error %v, want %+v", got, err, want)
	}
	insert(t, s, calls[0]) // stored again, it keeps them
	if got, err := s.Notes(ctx, 1); err != nil || !slices.Equal(got, want) {
		t.Errorf("notes %+v, error %v, want %+v", got, err, want)
	}
	if got := found(t, s, Filter{Tag: "Echo"}); !slices.Equal(got, []int64{1}) {
		t.Errorf("calls of the tag %v, want 1", got)
	}
	if err := s.DeleteNote(ctx, 2, first.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete a note of another call: %v", err)
	}
	if err := s.DeleteNote(ctx, 1, first.ID); err != nil {
		t.Error(err)
	}
	if got, err := s.Notes(ctx, 1); err != nil || !slices.Equal(got, want[1:]) {
		t.Errorf("notes %+v, error %v, want %+v", got, err, want[1:])
	}
	if _, err := s.Maintain(ctx, time.Now(), 7); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := s.read.QueryRow("SELECT COUNT(*) FROM call_note").Scan(&left); err != nil || left != 1 {
		t.Errorf("%d notes left, error %v, want that of the call that is left", left, err)
	}
}

func TestNotesRefused(t *testing.T) {
	s := open(t, Memory)
	insert(t, s, &record.Call{ID: 1, Start: 1})
	for name, n := range map[string]Note{
		"empty": {CallID: 1, Text: " \n"}, "long": {CallID: 1, Text: strings.Repeat("x", maxNote+1)}, "long tag": {CallID: 1, Tag: true, Text: strings.Repeat("x", maxTag+1)},
		"two words": {CallID: 1, Tag: true, Text: "a b"}, "no UTF-8": {CallID: 1, Text: "\xff"}, "author": {CallID: 1, Text: "x", Author: strings.Repeat("x", 256)},
	} {
		if _, err := s.AddNote(t.Context(), n); !errors.Is(err, ErrNote) {
			t.Errorf("%s: error %v, want ErrNote", name, err)
		}
	}
	if _, err := s.AddNote(t.Context(), Note{CallID: 2, Text: "x"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such call: error %v, want ErrNotFound", err)
	}
	for i := range maxNotes {
		if _, err := s.AddNote(t.Context(), Note{CallID: 1, Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddNote(t.Context(), Note{CallID: 1, Text: "one more"}); !errors.Is(err, ErrNote) {
		t.Errorf("too many: error %v, want ErrNote", err)
	}
}
