package spool

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Hold keeps the packets of a call from being removed. A segment is kept as a
// whole: what else is in it stays too.
type Hold struct {
	Key      string
	From, To int64 // ns; its segments are looked for in this time. To 0: without end
}

// holdFile lists held calls in a spool directory, a JSON object per line. People
// change it while another process has the spool open.
const (
	holdFile = ".held"
	maxHolds = 64 << 20 // bytes
)

// heldCall is a line of holdFile.
type heldCall struct {
	CallID string     `json:"call_id"`
	From   *time.Time `json:"from,omitempty"`
	To     *time.Time `json:"to,omitempty"`
}

// reaches says whether a segment of a minute may hold packets of the call.
func (h *Hold) reaches(begin int64) bool {
	return begin+minute+int64(slack) >= h.From && (h.To == 0 || begin-int64(slack) <= h.To)
}

// ReadHolds reads the list of held calls of a spool directory. One that is not
// there is empty.
func ReadHolds(files FS, dir string) ([]Hold, error) {
	var text []byte
	err := withFile(files, filepath.Join(dir, holdFile), func(f File) error {
		n, err := f.Size()
		if err == nil && n > maxHolds {
			err = fmt.Errorf("%s are too many: release calls", Bytes(n))
		}
		if err != nil {
			return err
		}
		text, err = io.ReadAll(io.NewSectionReader(f, 0, n))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read held calls: %w", err)
	}
	var out []Hold
	line := 0
	for text := range bytes.Lines(text) {
		line++
		var c heldCall
		if err := json.Unmarshal(text, &c); err != nil || c.CallID == "" {
			return nil, fmt.Errorf("read held calls of %s, line %d: it is no call: mend the line, or remove it", filepath.Join(dir, holdFile), line)
		}
		h := Hold{Key: c.CallID}
		if c.From != nil {
			h.From = c.From.UnixNano()
		}
		if c.To != nil {
			h.To = c.To.UnixNano()
		}
		out = append(out, h)
	}
	return out, nil
}

// ChangeHolds changes the list of held calls of a spool directory, at once: who
// reads meanwhile sees the list of before or the new one. An open Spool reads it
// with its next Keep. The new list is returned, by key.
func ChangeHolds(dir string, change func([]Hold) []Hold) ([]Hold, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("hold calls: %w", err)
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock spool %s to hold calls: %w", dir, err)
	}
	defer unix.Flock(int(d.Fd()), unix.LOCK_UN)
	old, err := ReadHolds(OS, dir)
	if err != nil {
		return nil, err
	}
	list := change(old)
	for _, h := range list {
		if !utf8.ValidString(h.Key) {
			return nil, fmt.Errorf("hold call %q: its Call-ID is not UTF-8, which the list cannot say", h.Key)
		}
	}
	slices.SortFunc(list, func(a, b Hold) int { return cmp.Compare(a.Key, b.Key) })
	if err := writeHolds(dir, list); err != nil {
		return nil, fmt.Errorf("hold calls: %w", err)
	}
	return list, nil
}

func writeHolds(dir string, list []Hold) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	moment := func(ns int64) *time.Time {
		if ns == 0 {
			return nil
		}
		t := time.Unix(0, ns).UTC()
		return &t
	}
	for _, h := range list {
		if err := enc.Encode(heldCall{h.Key, moment(h.From), moment(h.To)}); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, holdFile+newExt), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	err = errors.Join(err, handOver(f, dir), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, holdFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return OS.SyncDir(dir)
}

// handOver gives a file that root made to the owner of the directory, who has to
// read it.
func handOver(f *os.File, dir string) error {
	var st unix.Stat_t
	if os.Geteuid() != 0 {
		return nil
	}
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}

// Hold replaces the list of held calls that the program keeps. Those that the
// list of the directory names are held too, see ChangeHolds.
func (s *Spool) Hold(calls []Hold) {
	held := make([]Hold, len(calls))
	for i, h := range calls {
		held[i] = Hold{keyOf(h.Key), h.From, h.To}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
}

// readHolds reads the list of the directory. While it cannot be read, that of
// before holds.
func (s *Spool) readHolds() error {
	if s.mounted() != nil {
		return nil // what is there instead has no list
	}
	list, err := ReadHolds(s.fs, s.root)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].Key = keyOf(list[i].Key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = list
	return nil
}

// holds says whether a segment has frames of a held call. One that cannot be
// read may have: it is held if a call is whose time it reaches.
func (s *Spool) holds(k *kept, held []Hold) bool {
	held = slices.DeleteFunc(slices.Clone(held), func(h Hold) bool { return !h.reaches(k.Minute) })
	if len(held) == 0 {
		return false
	}
	found := false
	err := withFile(s.fs, filepath.Join(s.tiers[k.tier].dir, k.Path()), func(f File) error {
		x, err := openIndex(f, k.Format)
		for i := 0; err == nil && !found && i < len(held); i++ {
			var from, to int
			from, to, err = x.has(hash(held[i].Key))
			found = from < to
		}
		return err
	})
	return found || err != nil && !errors.Is(err, fs.ErrNotExist)
}
