package store

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Note is what somebody wrote about a call, or a tag of it.
type Note struct {
	ID     int64  `json:"id"`      // of the note
	CallID int64  `json:"call_id"` // record.Call.ID
	Time   int64  `json:"time"`    // ns: when it was written
	Author string `json:"author"`
	Tag    bool   `json:"tag,omitempty"`
	Text   string `json:"text"`

	start int64 // of the call
}

// Bounds of notes.
const (
	maxNote  = 4096 // bytes
	maxTag   = 64   // bytes
	maxNotes = 200  // of a call
)

// ErrNote is a note that is not taken: the words around it say why.
var ErrNote = errors.New("note not taken")

var noteTable = table[Note]{name: "call_note", fields: []field[Note]{
	{"start_at", func(n *Note) any { return &n.start }},
	{"id", func(n *Note) any { return &n.CallID }},
	{"note_id", func(n *Note) any { return &n.ID }},
	{"created_at", func(n *Note) any { return &n.Time }},
	{"author", func(n *Note) any { return &n.Author }},
	{"tag", func(n *Note) any { return &n.Tag }},
	{"body", func(n *Note) any { return &n.Text }},
}}

// AddNote stores a note about the call n.CallID, and returns it with its id and
// time. A tag that the call has already is not added again. The call must be
// there: else ErrNotFound.
func (s *Store) AddNote(ctx context.Context, n Note) (Note, error) {
	if s.write == nil {
		return n, ErrReadOnly
	}
	if n.Text = strings.TrimSpace(n.Text); n.Tag {
		n.Text = strings.ToLower(n.Text)
	}
	if err := checkNote(&n); err != nil {
		return n, err
	}
	added, err := s.addNote(ctx, n)
	if err != nil {
		return n, fmt.Errorf("add note to call %d: %w", n.CallID, err)
	}
	return added, nil
}

func checkNote(n *Note) error {
	limit := maxNote
	if n.Tag {
		limit = maxTag
	}
	switch {
	case n.Text == "":
		return fmt.Errorf("%w: it is empty", ErrNote)
	case !utf8.ValidString(n.Text) || !utf8.ValidString(n.Author):
		return fmt.Errorf("%w: it is no UTF-8", ErrNote)
	case len(n.Text) > limit:
		return fmt.Errorf("%w: it has %d bytes, more than %d", ErrNote, len(n.Text), limit)
	case len(n.Author) > 255:
		return fmt.Errorf("%w: the author's name has more than 255 bytes", ErrNote)
	case n.Tag && strings.ContainsAny(n.Text, " \t\r\n,"):
		return fmt.Errorf("%w: a tag is one word", ErrNote)
	}
	return nil
}

func (s *Store) addNote(ctx context.Context, n Note) (Note, error) {
	if _, err := s.ready(ctx); err != nil {
		return n, err
	}
	tx, err := s.write.BeginTx(ctx, s.dialect.tx)
	if err != nil {
		return n, err
	}
	defer tx.Rollback()
	starts, err := all(ctx, tx, []field[int64]{{"start_at", func(v *int64) any { return v }}}, "SELECT start_at FROM calls WHERE id = ?", n.CallID)
	if err != nil {
		return n, err
	}
	if len(starts) == 0 {
		return n, ErrNotFound
	}
	n.start = starts[0]
	have, err := notes(ctx, tx, n.start, n.CallID)
	if err != nil {
		return n, err
	}
	for _, h := range have {
		if n.Tag && h.Tag && h.Text == n.Text {
			return h, nil
		}
	}
	if len(have) >= maxNotes {
		return n, fmt.Errorf("%w: the call has %d already", ErrNote, len(have))
	}
	if n.Time == 0 {
		n.Time = time.Now().UnixNano()
	}
	if n.ID, err = randomID(); err != nil {
		return n, err
	}
	query := insertSQL(s.dialect.insertInto, noteTable.name, noteTable.columns(), 1)
	if _, err := tx.ExecContext(ctx, query, bind(nil, noteTable.fields, &n)...); err != nil {
		return n, err
	}
	return n, tx.Commit()
}

func randomID() (int64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b[:]) & math.MaxInt64), nil
}

func notes(ctx context.Context, q querier, start, id int64) ([]Note, error) {
	return all(ctx, q, noteTable.fields, "SELECT "+strings.Join(noteTable.columns(), ", ")+
		" FROM call_note WHERE start_at = ? AND id = ? ORDER BY created_at, note_id", start, id)
}

// Notes is the notes and tags of a call, oldest first; none is no error.
func (s *Store) Notes(ctx context.Context, id int64) ([]Note, error) {
	out, err := all(ctx, s.read, noteTable.fields, "SELECT "+strings.Join(noteTable.columns(), ", ")+
		" FROM call_note WHERE start_at = (SELECT start_at FROM calls WHERE id = ?) AND id = ? ORDER BY created_at, note_id", id, id)
	if err != nil {
		return nil, fmt.Errorf("read notes of call %d: %w", id, err)
	}
	return out, nil
}

// DeleteNote deletes a note of a call: ErrNotFound if it is not there.
func (s *Store) DeleteNote(ctx context.Context, id, note int64) error {
	if s.write == nil {
		return ErrReadOnly
	}
	have, err := s.Notes(ctx, id)
	if err != nil {
		return err
	}
	for _, n := range have {
		if n.ID != note {
			continue
		}
		_, err := s.write.ExecContext(ctx, "DELETE FROM call_note WHERE start_at = ? AND id = ? AND note_id = ?", n.start, id, note)
		if err != nil {
			return fmt.Errorf("delete note %d of call %d: %w", note, id, err)
		}
		return nil
	}
	return fmt.Errorf("delete note %d of call %d: %w", note, id, ErrNotFound)
}
