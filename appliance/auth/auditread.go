package auth

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AuditFilter chooses entries: those that meet every condition given.
type AuditFilter struct {
	From, To time.Time // in [From, To)
	User     string    // exact
	Action   string    // exact, or the beginning before a dot: "call" is all of call.pcap, call.audio …
	Object   string    // exact
	Addr     string    // exact
	Outcome  Outcome
	Text     string // contained in any of user, object, detail, from; in any case

	Limit  int    // default 100, at most 1000
	Cursor string // AuditPage.Next of the page before
}

// AuditPage is some entries, the newest first.
type AuditPage struct {
	Entries []Entry `json:"entries"`
	Next    string  `json:"next,omitempty"` // cursor of the next page; empty: there is none
}

const (
	auditLimit    = 100
	maxAuditLimit = 1000
)

// ErrAuditCursor is that a cursor was not made by Query.
var ErrAuditCursor = errors.New("the cursor is not valid: start again without one")

// Query finds entries. Lines that cannot be read are left out: Verify names them.
func (a *Audit) Query(ctx context.Context, f AuditFilter) (AuditPage, error) {
	page := AuditPage{Entries: []Entry{}}
	if f.Limit <= 0 {
		f.Limit = auditLimit
	}
	f.Limit = min(f.Limit, maxAuditLimit)
	f.Text = strings.ToLower(f.Text)
	before := uint64(1) << 62
	if f.Cursor != "" {
		n, err := strconv.ParseUint(f.Cursor, 10, 62)
		if err != nil {
			return page, ErrAuditCursor
		}
		before = n
	}
	files, err := a.files()
	if err != nil {
		return page, fmt.Errorf("read audit: %w", err)
	}
	for _, file := range slices.Backward(files) {
		// A file changes last with its last entry. The clock may have been set since.
		if file.first >= before || !f.From.IsZero() && file.changed.Before(f.From.Add(-time.Hour)) {
			continue
		}
		full, err := a.queryFile(ctx, file, f, before, &page)
		if err != nil {
			return page, fmt.Errorf("read audit: %w", err)
		}
		if full {
			break
		}
	}
	return page, nil
}

// queryFile adds the entries of one file, until the page is full and a further
// one is seen.
func (a *Audit) queryFile(ctx context.Context, file auditFile, f AuditFilter, before uint64, page *AuditPage) (full bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	b, err := os.ReadFile(filepath.Join(a.o.Dir, file.name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // too old since a moment ago
	}
	for err == nil && len(b) > 0 {
		b = bytes.TrimSuffix(b, []byte("\n"))
		at := bytes.LastIndexByte(b, '\n') + 1
		var e Entry
		if json.Unmarshal(b[at:], &e) == nil && e.Seq < before && f.meets(&e) {
			if len(page.Entries) == f.Limit {
				page.Next = strconv.FormatUint(page.Entries[f.Limit-1].Seq, 10)
				return true, nil
			}
			page.Entries = append(page.Entries, e)
		}
		b = b[:at]
	}
	return false, err
}

func (f *AuditFilter) meets(e *Entry) bool {
	switch {
	case !f.From.IsZero() && e.Time.Before(f.From), !f.To.IsZero() && !e.Time.Before(f.To):
	case f.User != "" && e.User != f.User, f.Object != "" && e.Object != f.Object, f.Addr != "" && e.From != f.Addr:
	case f.Outcome != "" && e.Outcome != f.Outcome:
	case f.Action != "" && e.Action != f.Action && !strings.HasPrefix(e.Action, f.Action+"."):
	case f.Text != "" && !slices.ContainsFunc([]string{e.User, e.Object, e.Detail, e.From}, func(s string) bool {
		return strings.Contains(strings.ToLower(s), f.Text)
	}):
	default:
		return true
	}
	return false
}

// Verified is what Verify has found.
type Verified struct {
	Entries uint64      `json:"entries"`
	First   uint64      `json:"first"`
	Last    uint64      `json:"last"`
	Head    string      `json:"head"` // hash of the last entry: to be kept elsewhere, it proves all before
	Breaks  []AuditFlaw `json:"breaks,omitempty"`

	gap bool // the line before could not be read
}

// AuditFlaw is a place where the list was changed, or damaged.
type AuditFlaw struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1
	Why  string `json:"why"`
}

func (f AuditFlaw) String() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Why) }

const maxFlaws = 100

// Verify reads the whole list and checks its chain. That whole files are missing
// at the beginning is no flaw: age removes them. That entries are missing at the
// end shows only to somebody who knows an earlier Head.
func (a *Audit) Verify(ctx context.Context) (Verified, error) {
	var v Verified
	// While nobody writes, files end with a whole line. What comes later is not looked at.
	unlock, err := lockDir(a.o.Dir)
	if err != nil {
		return v, fmt.Errorf("verify audit: %w", err)
	}
	files, err := a.files()
	unlock()
	for _, file := range files {
		if err == nil {
			err = a.verifyFile(ctx, file, &v)
		}
	}
	if err != nil {
		return v, fmt.Errorf("verify audit: %w", err)
	}
	return v, nil
}

func (a *Audit) verifyFile(ctx context.Context, file auditFile, v *Verified) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(a.o.Dir, file.name))
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(io.LimitReader(f, file.size))
	flaw := func(n int, format string, args ...any) {
		if len(v.Breaks) < maxFlaws {
			v.Breaks = append(v.Breaks, AuditFlaw{file.name, n, fmt.Sprintf(format, args...)})
		}
	}
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if err != nil {
			if len(line) > 0 {
				flaw(n, "the line is not finished: a crash has cut it, or somebody else")
			}
			return nil
		}
		e, err := readLine(bytes.TrimSuffix(line, []byte("\n")))
		switch {
		case err != nil:
			flaw(n, "%v", err)
		case n == 1 && e.Seq != file.first:
			flaw(n, "it is entry %d, and the file is named by entry %d", e.Seq, file.first)
		case v.gap:
		case v.Entries > 0 && e.Seq != v.Last+1:
			flaw(n, "it is entry %d, and the one before is %d", e.Seq, v.Last)
		case v.Entries > 0 && e.Prev != v.Head:
			flaw(n, "the entry before it is not the one that it names")
		case v.Entries == 0 && e.Seq == 1 && e.Prev != "":
			flaw(n, "the first entry names one before it")
		}
		if v.Entries++; v.First == 0 {
			v.First = e.Seq
		}
		v.Last, v.Head, v.gap = e.Seq, e.Hash, e.Seq == 0
	}
}
