package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Outcome is how something that is audited ended.
type Outcome string

// The outcomes there are.
const (
	OK     Outcome = "ok"
	Denied Outcome = "denied" // a right was missing, or it was locked
	Failed Outcome = "failed"
)

// Entry is one line of the audit: who did what, when, from where. Callers give
// what is known of it; Seq, Prev and Hash are those of Write.
type Entry struct {
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"` // default: now
	User    string    `json:"user,omitempty"`
	From    string    `json:"from,omitempty"` // address
	Via     string    `json:"via,omitempty"`  // session, API token, or "local"
	Action  string    `json:"action"`         // such as "login", "call.pcap"
	Object  string    `json:"object,omitempty"`
	Detail  string    `json:"detail,omitempty"` // a filter, what changed, why it failed
	Bytes   int64     `json:"bytes,omitempty"`  // sent
	Outcome Outcome   `json:"outcome"`          // default: OK
	Prev    string    `json:"prev"`             // hash of the entry before
	Hash    string    `json:"hash,omitempty"`   // SHA-256 of this line without it
}

// NewEntry is an entry of whoever a context is of.
func NewEntry(ctx context.Context, action, object string) Entry {
	e := Entry{Action: action, Object: object, Outcome: OK}
	if id := From(ctx); id != nil {
		e.User, e.From, e.Via = id.User, addrString(id.From), id.Via()
	}
	return e
}

// AuditOptions are where the audit lives, and how long. Only Dir is needed.
type AuditOptions struct {
	Dir   string
	Keep  time.Duration // files whose last entry is older are removed; default 366 days
	Bytes int64         // oldest files go when all take more; default 1 GiB
	Now   func() time.Time
	Log   *slog.Logger // gets every entry, too: what is there cannot be changed with the files

	file     int64         // bytes of a file, when a new one begins; default 4 MiB
	fileSpan time.Duration // age of a file's first entry, the same; default 31 days
}

// Audit is an append-only list of entries, in files of lines of JSON named by
// their first entry. Every entry is synced before Write returns, and holds the
// hash of the one before: a line that is changed or taken out shows.
//
// It is safe for concurrent use, and several processes can write at once.
type Audit struct {
	o  AuditOptions
	mu sync.Mutex

	// Where the list ends, as this process has seen it last.
	name string
	size int64
	end  end
}

// end is the last entry of the list, and when its file began.
type end struct {
	seq   uint64
	hash  string
	began time.Time
}

// OpenAudit opens the list in a directory, or makes it.
func OpenAudit(o AuditOptions) (*Audit, error) {
	o.Keep = cmp.Or(o.Keep, 366*24*time.Hour)
	o.Bytes = cmp.Or(o.Bytes, 1<<30)
	o.file = cmp.Or(o.file, 4<<20)
	o.fileSpan = cmp.Or(o.fileSpan, 31*24*time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := ownDir(o.Dir); err != nil {
		return nil, fmt.Errorf("open audit: %w", err)
	}
	a := &Audit{o: o}
	if _, err := a.files(); err != nil {
		return nil, fmt.Errorf("open audit: %w", err)
	}
	return a, nil
}

// Close ends nothing that is not on disk already.
func (a *Audit) Close() error { return nil }

const (
	maxObject = 512  // bytes
	maxDetail = 2048 // bytes
)

// Write appends an entry. When it returns nil the entry is on disk; whoever hands
// out packets or audio should not do so on an error.
func (a *Audit) Write(e Entry) error {
	e.Time = e.Time.UTC()
	if e.Time.IsZero() {
		e.Time = a.o.Now().UTC()
	}
	e.Outcome = cmp.Or(e.Outcome, OK)
	for _, f := range []struct {
		s    *string
		most int
	}{{&e.User, 80}, {&e.From, 80}, {&e.Via, 80}, {&e.Action, 80}, {&e.Object, maxObject}, {&e.Detail, maxDetail}} {
		*f.s = cut(strings.ToValidUTF8(*f.s, "�"), f.most)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	unlock, err := lockDir(a.o.Dir)
	if err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	defer unlock()
	if err := a.append(&e); err != nil {
		return fmt.Errorf("write audit: %w", err)
	}
	a.o.Log.Info("audit", "seq", e.Seq, "user", e.User, "from", e.From, "via", e.Via, "action", e.Action, "object", e.Object,
		"detail", e.Detail, "bytes", e.Bytes, "outcome", string(e.Outcome), "hash", e.Hash)
	return nil
}

// append writes an entry at the end of the list, wherever another process has
// moved that meanwhile.
func (a *Audit) append(e *Entry) error {
	files, err := a.files()
	if err != nil {
		return err
	}
	if n := len(files); n == 0 || files[n-1].name != a.name || files[n-1].size != a.size {
		if err := a.findEnd(files); err != nil {
			return err
		}
	}
	if a.name == "" || a.size >= a.o.file || a.o.Now().Sub(a.end.began) > a.o.fileSpan {
		if err := a.begin(files); err != nil {
			return err
		}
	}
	return a.line(e)
}

// line writes an entry into the last file.
func (a *Audit) line(e *Entry) error {
	e.Seq, e.Prev, e.Hash = a.end.seq+1, a.end.hash, ""
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	e.Hash = hex.EncodeToString(sum[:])
	b = append(append(b[:len(b)-1], `,"hash":"`+e.Hash...), "\"}\n"...)

	path := filepath.Join(a.o.Dir, a.name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	adopt(f, a.o.Dir)
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync()); err != nil {
		_ = f.Truncate(a.size) // half a line is no entry
		return errors.Join(err, f.Close())
	}
	if a.size == 0 {
		a.end.began = e.Time
		err = syncDir(a.o.Dir)
	}
	a.size += int64(len(b))
	a.end.seq, a.end.hash = e.Seq, e.Hash
	return errors.Join(err, f.Close())
}

// findEnd reads the last file for the entry to go on from. What a crash has left
// of a line is cut off: nobody was told that it was written.
func (a *Audit) findEnd(files []auditFile) error {
	a.name, a.size, a.end = "", 0, end{}
	if len(files) == 0 {
		return nil
	}
	last := files[len(files)-1]
	path := filepath.Join(a.o.Dir, last.name)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	lost := len(b) - whole
	if whole == 0 { // it was just begun
		if err := os.Remove(path); err != nil {
			return err
		}
		return a.findEnd(files[:len(files)-1])
	}
	if lost > 0 {
		if err := os.Truncate(path, int64(whole)); err != nil {
			return err
		}
	}
	a.name, a.size = last.name, int64(whole)
	damaged := false
	a.end, damaged = readEnd(b[:whole], last.first)
	if damaged {
		// The list goes on in a new file; Verify shows where it is broken.
		if err := a.begin(nil); err != nil {
			return err
		}
		return a.line(&Entry{Time: a.o.Now().UTC(), Action: "audit.damaged", Object: last.name, Detail: "its last line cannot be read", Outcome: Failed})
	}
	if lost > 0 {
		return a.line(&Entry{Time: a.o.Now().UTC(), Action: "audit.repaired", Object: last.name, Outcome: OK,
			Detail: fmt.Sprintf("%d bytes of a line that a crash had left unfinished were cut off", lost)})
	}
	return nil
}

// readEnd is the last entry of a file's lines. If it cannot be read its number is
// counted, and there is no hash to go on from.
func readEnd(b []byte, first uint64) (e end, damaged bool) {
	lines := bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
	begin, errBegin := readLine(lines[0])
	last, errLast := readLine(lines[len(lines)-1])
	if errBegin != nil || errLast != nil {
		return end{seq: first + uint64(len(lines)) - 1}, true
	}
	return end{last.Seq, last.Hash, begin.Time}, false
}

// begin makes the next file the last one, and removes those that are too old.
func (a *Audit) begin(files []auditFile) error {
	a.name, a.size = auditName(a.end.seq+1), 0
	gone, err := a.expire(files)
	if err != nil || gone == "" {
		return err
	}
	return a.line(&Entry{Time: a.o.Now().UTC(), Action: "audit.removed", Object: gone, Detail: "past the age or the room that audit files may have"})
}

// expire removes files whose last entry is too old, and the oldest while all take
// too much room. It returns the last one's name.
func (a *Audit) expire(files []auditFile) (gone string, err error) {
	var all int64
	for _, f := range files {
		all += f.size
	}
	for _, f := range files {
		if all <= a.o.Bytes && a.o.Now().Sub(f.changed) <= a.o.Keep {
			break
		}
		if err := os.Remove(filepath.Join(a.o.Dir, f.name)); err != nil {
			return gone, err
		}
		all -= f.size
		gone = f.name
	}
	return gone, nil
}

// auditFile is one file of the list.
type auditFile struct {
	name    string
	first   uint64 // its first entry
	size    int64
	changed time.Time
}

func auditName(first uint64) string { return fmt.Sprintf("audit-%012d.jsonl", first) }

// files are those of the list, in order.
func (a *Audit) files() ([]auditFile, error) {
	entries, err := os.ReadDir(a.o.Dir)
	if err != nil {
		return nil, err
	}
	var out []auditFile
	for _, e := range entries {
		n, isOurs := strings.CutPrefix(e.Name(), "audit-")
		n, ends := strings.CutSuffix(n, ".jsonl")
		first, err := strconv.ParseUint(n, 10, 62)
		if !isOurs || !ends || err != nil || first == 0 || auditName(first) != e.Name() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		out = append(out, auditFile{e.Name(), first, info.Size(), info.ModTime()})
	}
	slices.SortFunc(out, func(x, y auditFile) int { return cmp.Compare(x.first, y.first) })
	return out, nil
}

var hashKey = []byte(`,"hash":"`)

// readLine reads an entry and checks its hash.
func readLine(line []byte) (Entry, error) {
	var e Entry
	d := json.NewDecoder(bytes.NewReader(line))
	if err := d.Decode(&e); err != nil {
		return e, fmt.Errorf("it is not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return e, errors.New("something follows the entry")
	}
	at := bytes.LastIndex(line, hashKey)
	if at < 0 || len(line) != at+len(hashKey)+2*sha256.Size+2 {
		return e, errors.New("its hash is missing")
	}
	sum := sha256.New()
	sum.Write(line[:at])
	sum.Write([]byte("}"))
	if got := string(line[at+len(hashKey) : len(line)-2]); got != hex.EncodeToString(sum.Sum(nil)) || string(line[len(line)-2:]) != `"}` {
		return e, errors.New("its hash is not that of what it says")
	}
	return e, nil
}
