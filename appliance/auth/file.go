package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// lockWait is how long one waits for another process that changes files. It takes
// milliseconds.
const lockWait = 5 * time.Second

// file is one value of JSON in a file that is replaced as a whole, and that other
// processes may replace, too. Snapshots are shared and must not be changed.
type file[T any] struct {
	path   string
	remedy string // if it cannot be read
	strict bool   // a key that is not known is an error: it may be a right with a slip in it

	mu   sync.Mutex
	have stamp
	cur  *T
	bad  error // it cannot be read; cur is what it was before
}

// stamp tells one version of a file from the next: each is a file of its own.
type stamp struct {
	inode uint64
	size  int64
	mtime time.Time
}

func stampOf(i fs.FileInfo) stamp {
	s := stamp{size: i.Size(), mtime: i.ModTime()}
	if st, ok := i.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
	}
	return s
}

// view is the value as the file has it now. While the file cannot be read it is
// the last one that could, with an error.
func (f *file[T]) view() (*T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	return f.cur, f.bad
}

func (f *file[T]) refresh() {
	if f.cur == nil {
		f.cur = new(T)
	}
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if f.have != (stamp{}) {
			f.cur, f.have = new(T), stamp{}
		}
		f.bad = nil
		return
	case err != nil:
		f.bad = fmt.Errorf("read %s: %w", f.path, err)
		return
	}
	if s := stampOf(info); s != f.have || f.bad != nil {
		v, err := f.read()
		if f.bad = err; err == nil {
			f.cur, f.have = v, s
		}
	}
}

func (f *file[T]) read() (*T, error) {
	b, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	v := new(T)
	d := json.NewDecoder(bytes.NewReader(b))
	if f.strict {
		d.DisallowUnknownFields()
	}
	if err = d.Decode(v); err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else {
			err = errors.New("something follows the end")
		}
	}
	if c, ok := any(v).(interface{ check() error }); ok && err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: %s", f.path, err, f.remedy)
	}
	return v, nil
}

// update changes the value and writes it, in one step for all processes. If
// change fails nothing happens. With keep, a change that cannot be written holds
// in this process until the file changes; the error says that it was not written.
func (f *file[T]) update(keep bool, change func(*T) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	unlock, err := lockDir(filepath.Dir(f.path))
	if err != nil && !keep {
		return err
	}
	if unlock != nil {
		defer unlock()
	}
	if f.refresh(); f.bad != nil {
		return f.bad
	}
	old, encErr := json.Marshal(f.cur)
	next := new(T)
	if encErr = errors.Join(encErr, json.Unmarshal(old, next)); encErr != nil {
		return fmt.Errorf("copy %s: %w", f.path, encErr)
	}
	if refused := change(next); refused != nil {
		return refused
	}
	if err == nil {
		var s stamp
		if s, err = replace(f.path, next); err == nil {
			f.have = s
		}
	}
	if err == nil || keep {
		f.cur = next
	}
	return err
}

// replace writes a value beside the file, syncs it, and renames it. What was
// there before is kept with the ending .bak.
func replace(path string, v any) (stamp, error) {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return stamp{}, fmt.Errorf("write %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return stamp{}, fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) // nothing is left of it where the rename has worked
	_, err = tmp.Write(append(b, '\n'))
	adopt(tmp, dir)
	err = errors.Join(err, tmp.Sync())
	info, statErr := tmp.Stat()
	if err = errors.Join(err, statErr, tmp.Close()); err != nil {
		return stamp{}, fmt.Errorf("write %s: %w", path, err)
	}
	_ = os.Remove(path + ".bak")
	_ = os.Link(path, path+".bak") // there is none the first time
	if err := os.Rename(tmp.Name(), path); err != nil {
		return stamp{}, fmt.Errorf("write %s: %w", path, err)
	}
	return stampOf(info), syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// adopt gives a file to the owner of its directory, so that root can change
// accounts for a daemon that has a user of its own.
func adopt(f *os.File, dir string) {
	if info, err := os.Stat(dir); err == nil && os.Geteuid() == 0 {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			_ = f.Chown(int(st.Uid), int(st.Gid))
		}
	}
}

// ownDir makes a directory, if it is not there, for the owner of the one above.
func ownDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	adopt(d, filepath.Dir(dir))
	return d.Close()
}

// lockDir keeps other processes, and other instances in this one, from changing
// files of a directory.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	adopt(f, dir)
	for end := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() {
				// Not by closing alone: a child that is being started at this moment has
				// the descriptor too, until its program runs.
				_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
				_ = f.Close()
			}, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) || time.Now().After(end) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: another process has held it for %s: end that, it stands still: %w", dir, lockWait, err)
		}
	}
}
