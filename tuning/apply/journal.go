package apply

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// The journal of an interface is a file of JSON lines. The first says how everything
// was. Then each change has two: one before it is made, one after. Each line is on
// disk before anything else is done, so that a change that was made is known, and one
// that may have been made is known to be that.

// gone is the value of a setting that is not there: of a queue that went away.
const gone = "(gone)"

// line is a line of the journal; one of its parts is set.
type line struct {
	Head  *head  `json:"head,omitempty"`
	Begin *begin `json:"begin,omitempty"`
	End   *end   `json:"end,omitempty"`
}

// head is how everything was.
type head struct {
	Version   int               `json:"version"`
	Interface string            `json:"interface"`
	Boot      string            `json:"boot"` // id of the start of the machine
	Found     map[string]string `json:"found"`
}

// begin is a change that is about to be made.
type begin struct {
	Key string `json:"key"`
}

// end is what has come of it: the settings that are other than before, with what they
// are now. A driver that sets up its queues anew changes more than it was asked for.
type end struct {
	Now map[string]string `json:"now"`
}

const version = 1

// journal is one that changes are written to.
type journal struct {
	path string
	file *os.File
	past *past
}

// past is what a journal says.
type past struct {
	head  head
	order []string          // keys that were changed, in order
	found map[string]string // what they were before the first change
	left  map[string]string // what they were after the last one
	open  *begin            // a change that may have been made
}

// path is where the journal of an interface is.
func path(dir, iface string) string { return filepath.Join(dir, iface+".journal") }

// directory makes sure of the directory for journals. It must be ours alone: what is
// in a journal is written with our rights.
func directory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory for journals: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at the directory for journals: %w", err)
	}
	const others = 0o022
	if st, ok := info.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != os.Geteuid() || info.Mode().Perm()&others != 0) {
		return fmt.Errorf("keep a journal in %s: others can write there: chown and chmod 700 it", dir)
	}
	return nil
}

// lock keeps others out of a directory until release is called.
func lock(dir string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: another ringside tune is at work", dir)
	}
	return func() {
		// Not by closing alone: a child that is being started at this moment has the
		// descriptor too, until its program runs.
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		_ = f.Close()
	}, nil
}

// openJournal opens the journal of an interface, or begins one with how everything
// is. One of an earlier start of the machine is begun anew: nothing of it is left.
func openJournal(dir string, h head) (*journal, error) {
	at := path(dir, h.Interface)
	old, err := readJournal(at)
	if err != nil {
		return nil, err
	}
	j := &journal{path: at, past: old}
	if old != nil && old.head.Boot == h.Boot {
		old.refresh(h.Found)
		// What came after a torn last line would not be read.
		if err := j.rewrite(); err != nil {
			return nil, err
		}
		return j, nil
	}
	j.past = newPast(h)
	if err := j.rewrite(); err != nil {
		return nil, err
	}
	return j, nil
}

// rewrite puts a journal in the place of the one before, which says what is known.
func (j *journal) rewrite() error {
	p := j.past
	lines := []line{{Head: &p.head}}
	for _, key := range p.order {
		lines = append(lines, line{Begin: &begin{key}}, line{End: &end{map[string]string{key: p.left[key]}}})
	}
	if p.open != nil {
		lines = append(lines, line{Begin: p.open})
	}
	hidden := j.path + ".new"
	f, err := os.OpenFile(hidden, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("begin a journal: %w", err)
	}
	j.file = f
	err = j.write(lines...)
	if err == nil {
		err = os.Rename(hidden, j.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("begin a journal: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// write puts lines on disk.
func (j *journal) write(lines ...line) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b) // ends each with a newline
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
	}
	if _, err := j.file.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

func (j *journal) begin(b begin) error {
	if err := j.write(line{Begin: &b}); err != nil {
		return err
	}
	j.past.begin(b)
	return nil
}

func (j *journal) end(e end) error {
	if err := j.write(line{End: &e}); err != nil {
		return err
	}
	j.past.end(e)
	return nil
}

func (j *journal) close() error {
	if err := j.file.Close(); err != nil {
		return fmt.Errorf("close the journal: %w", err)
	}
	return nil
}

func newPast(h head) *past {
	return &past{head: h, found: map[string]string{}, left: map[string]string{}}
}

// refresh takes over what others have changed since, of what we have not changed.
func (p *past) refresh(now map[string]string) {
	if p.open != nil {
		return // it may be our doing
	}
	for key, value := range now {
		if _, ours := p.found[key]; !ours {
			p.head.Found[key] = value
		}
	}
	for key := range p.head.Found {
		if _, there := now[key]; !there && p.found[key] == "" {
			delete(p.head.Found, key)
		}
	}
}

func (p *past) begin(b begin) { p.open = &b }

func (p *past) end(e end) {
	// What was asked for comes first: the rest follows from it, and so it does when it
	// is taken back.
	if p.open != nil {
		if now, ok := e.Now[p.open.Key]; ok {
			p.change(p.open.Key, now)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.Now)) {
		p.change(key, e.Now[key])
	}
	p.open = nil
}

// change notes that a setting is other than before.
func (p *past) change(key, now string) {
	if _, ok := p.found[key]; !ok {
		was, known := p.head.Found[key]
		if !known {
			was = gone
		}
		p.found[key] = was
		p.order = append(p.order, key)
	}
	p.left[key] = now
}

// is is what a setting should be now, if only we have changed it.
func (p *past) is(key string) string {
	if now, ok := p.left[key]; ok {
		return now
	}
	if was, ok := p.head.Found[key]; ok {
		return was
	}
	return gone
}

const unreadable = "what it says cannot be taken back: remove it, and start the machine anew to have everything as it was"

// readJournal reads a journal; none if there is none. What a crash has torn off its
// end is as if it had not been written.
func readJournal(at string) (*past, error) {
	f, err := os.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	defer f.Close()
	var p *past
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		text, err := in.ReadString('\n')
		if err != nil { // no end of line: it was not written whole
			break
		}
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return nil, fmt.Errorf("read the journal %s: line %d: %w: %s", at, n, err, unreadable)
		}
		switch {
		case l.Head != nil && p == nil && l.Head.Version == version:
			p = newPast(*l.Head)
		case l.Begin != nil && p != nil:
			p.begin(*l.Begin)
		case l.End != nil && p != nil:
			p.end(*l.End)
		default:
			return nil, fmt.Errorf("read the journal %s: line %d is none of this version: %s", at, n, unreadable)
		}
	}
	return p, nil
}

// Journals are the interfaces that have one.
func Journals(dir string) ([]string, error) {
	return files(dir, ".journal")
}

func files(dir, suffix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for what was tuned: %w", err)
	}
	var out []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && name != "" {
			out = append(out, name)
		}
	}
	return out, nil
}
