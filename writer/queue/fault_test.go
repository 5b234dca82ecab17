package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
)

// faulty is the file system of the machine with errors put in.
type faulty struct {
	FS
	mu   sync.Mutex
	fail func(op string) error // nil: all is well
}

type faultyFile struct {
	File
	fs *faulty
}

func (f *faulty) set(fail func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faulty) err(op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		return nil
	}
	return f.fail(op)
}

func (f *faulty) Create(path string) (File, error) {
	if err := f.err("create"); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(path)
	return &faultyFile{file, f}, err
}

func (f *faulty) Open(path string, write bool) (File, error) {
	if err := f.err("open"); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(path, write)
	return &faultyFile{file, f}, err
}

func (f *faulty) Rename(from, to string) error {
	if err := f.err("rename"); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faulty) Remove(path string) error {
	if err := f.err("remove"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.FS.Remove(path)
}

func (f *faulty) SyncDir(path string) error {
	if err := f.err("syncdir"); err != nil {
		return err
	}
	return f.FS.SyncDir(path)
}

// WriteAt writes half before it fails, as a full disk does.
func (f *faultyFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.fs.err("write"); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], at)
		return n, err
	}
	return f.File.WriteAt(b, at)
}

func (f *faultyFile) ReadAt(b []byte, at int64) (int, error) {
	if err := f.fs.err("read"); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, at)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.err("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.fs.err("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// TestFaults has one kind of operation fail for a while, then everything at random,
// with a reader beside: what Append took comes out, once and in order.
func TestFaults(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, op := range []string{"create", "open", "rename", "remove", "syncdir", "write", "sync", "truncate", "read", "any"} {
		t.Run(op, func(t *testing.T) {
			disk := &faulty{FS: hasty{OS}}
			dir := t.TempDir()
			q := open(t, Options{Dir: dir, SegmentBytes: 300, FS: disk})
			var took, got []int
			for i := range 300 {
				disk.set(nil)
				if i%30 >= 20 || op == "any" {
					disk.set(func(o string) error {
						if o == op || op == "any" && r.IntN(6) == 0 {
							return syscall.EIO
						}
						return nil
					})
				}
				if err := q.Append(data(i), items(i)); err == nil {
					took = append(took, i)
				}
				if i%4 != 0 {
					e, err := q.Next()
					if e.Lost != 0 {
						t.Fatalf("%d items lost", e.Lost)
					}
					if err == nil {
						var n int
						fmt.Sscanf(string(e.Data), "entry %d", &n)
						got = append(got, n)
						q.Ack(e)
					}
				}
			}
			disk.set(nil)
			rest, lost := take(t, q, true)
			wants(t, append(got, rest...), took)
			if lost != 0 || q.Stats().Items != 0 || len(took) < 40 {
				t.Errorf("lost %d, took %d, stats %+v", lost, len(took), q.Stats())
			}
			put(t, q, 300, 310)
			closed(t, q)
			q = open(t, Options{Dir: dir, FS: hasty{OS}})
			rest, lost = take(t, q, true)
			wants(t, rest, numbers(300, 310))
			if lost != 0 {
				t.Errorf("lost %d after opening again", lost)
			}
			closed(t, q)
		})
	}
}

// TestFaultsThenCrash crashes while the disk fails: nothing that was taken is
// missing, and nothing is called lost.
func TestFaultsThenCrash(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 40 {
		disk := &faulty{FS: hasty{OS}}
		dir := t.TempDir()
		q := open(t, Options{Dir: dir, SegmentBytes: 300, FS: disk})
		disk.set(func(string) error {
			if r.IntN(5) == 0 {
				return syscall.EIO
			}
			return nil
		})
		took := make(map[int]bool)
		for i := range 60 {
			if err := q.Append(data(i), items(i)); err == nil {
				took[i] = true
			}
		}
		after := open(t, Options{Dir: crashed(t, dir), FS: hasty{OS}})
		got, lost := take(t, after, true)
		for _, i := range got {
			delete(took, i)
		}
		if len(took) > 0 || lost > 0 {
			t.Fatalf("%d items called lost, entries missing: %v", lost, took)
		}
		closed(t, after)
		disk.set(nil)
		closed(t, q)
	}
}
