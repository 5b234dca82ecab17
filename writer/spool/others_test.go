package spool

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// meddled is the file system of the machine, on which somebody else does
// something just before an operation.
type meddled struct {
	FS
	before func(op, path string) error
}

func (m meddled) ReadDir(path string) ([]fs.DirEntry, error) {
	if err := m.before("readdir", path); err != nil {
		return nil, err
	}
	return m.FS.ReadDir(path)
}

func (m meddled) Open(path string, write bool) (File, error) {
	op := "open"
	if write {
		op = "open for writing"
	}
	if err := m.before(op, path); err != nil {
		return nil, err
	}
	return m.FS.Open(path, write)
}

func (m meddled) Create(path string) (File, error) {
	if err := m.before("create", path); err != nil {
		return nil, err
	}
	return m.FS.Create(path)
}

// What is not the spool's stays in its directory, and need not be readable:
// lost+found, whose name is as long as a day's, is not for everybody.
func TestOthersFiles(t *testing.T) {
	dir := t.TempDir()
	calls(t, open(t, Options{Dir: dir}), "one")
	list, err := List(OS, dir)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	hour := filepath.Dir(list[0].Path())
	others := []string{"lost+found/11/x.new", "my-exports/11/x.pcapng", filepath.Join(hour, "notes.new"), filepath.Join(hour, "a.pcapng")}
	for _, name := range others {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := &clock{now: time.Unix(0, t0).Add(24 * time.Hour)}
	s := open(t, Options{Dir: dir, Now: c.Now, Limits: Limits{Age: [Classes]time.Duration{SIP: time.Hour}}, FS: meddled{OS, func(op, path string) error {
		if strings.Contains(path, "lost+found") {
			return &fs.PathError{Op: op, Path: path, Err: fs.ErrPermission}
		}
		return nil
	}}})
	if st := s.Stats(); st.Segments != 0 || st.Pruned.Segments[SIP] != 1 || st.KeepErr != nil {
		t.Errorf("%d segments, %+v, %v", st.Segments, st.Pruned, st.KeepErr)
	}
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// Whether a segment without a readable index has a held call cannot be known: it
// stays while a call of its time is held.
func TestHeldUnreadable(t *testing.T) {
	dir := t.TempDir()
	c := &clock{now: time.Unix(0, t0)}
	calls(t, open(t, Options{Dir: dir, Now: c.Now}), "one", "two") // ten minutes apart
	list, err := List(OS, dir)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	for _, i := range list {
		if err := os.Truncate(filepath.Join(dir, i.Path()), i.Bytes-1); err != nil {
			t.Fatal(err)
		}
	}
	hold(t, dir, Hold{Key: "one", From: t0, To: t0 + minute})
	c.add(24 * time.Hour)
	s := open(t, Options{Dir: dir, Now: c.Now, Limits: Limits{Age: [Classes]time.Duration{SIP: time.Hour}}})
	if all, err := names(OS, dir); err != nil || len(all) != 1 || all[0] != list[0].Name {
		t.Errorf("there are %v, want %s; %v", all, list[0].Path(), err)
	}
	hold(t, dir)
	s.Keep()
	if all, err := names(OS, dir); err != nil || len(all) != 0 {
		t.Errorf("not held any more, but there are %v; %v", all, err)
	}
}

// The list of held calls is JSON, which would take such a Call-ID for another.
func TestHoldNotUTF8(t *testing.T) {
	dir := t.TempDir()
	if _, err := ChangeHolds(dir, func([]Hold) []Hold { return []Hold{{Key: "a\xff"}} }); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("error %v", err)
	}
}

// Retention removes an empty folder between its making and the first file in it.
func TestFolderRemoved(t *testing.T) {
	dir, removed := t.TempDir(), false
	files := meddled{OS, func(op, path string) error {
		if op == "create" && filepath.Base(path) != idFile && !removed {
			removed = true
			return os.Remove(filepath.Dir(path))
		}
		return nil
	}}
	n := Name{Class: SIP, Minute: t0 / minute * minute}
	s, err := createSegment(files, dir, n, &compress.Encoder{}, time.Unix(0, t0))
	if err != nil || !removed {
		t.Fatal(err, removed)
	}
	s.close()
}

// A file that was given up and cannot be repaired, as where the disk has a bad
// block, does not end spooling: it is repaired once it can be.
func TestRepairFails(t *testing.T) {
	dir := t.TempDir()
	disk := &faulty{FS: OS}
	var bad atomic.Bool
	bad.Store(true)
	c := &clock{now: time.Unix(0, t0)}
	s := open(t, Options{Dir: dir, Now: c.Now, FlushAge: time.Millisecond, SyncAge: time.Millisecond, FS: meddled{disk, func(op, path string) error {
		if n := filepath.Base(path); op == "open for writing" && strings.HasPrefix(n, ".") && bad.Load() {
			return &fs.PathError{Op: op, Path: path, Err: syscall.EIO}
		}
		return nil
	}}})
	r := rand.New(rand.NewPCG(1, 1))
	disk.set(func(op string) error {
		if op == "sync" {
			return syscall.EIO
		}
		return nil
	})
	fill(t, s.Shard(0), r, 5, 100, time.Second)
	s.Shard(0).Flush()
	s.Flush()
	until(t, "a stop", func() bool { c.add(time.Second); return s.Stats().Stopped != nil })
	disk.set(nil)
	until(t, "writing again", func() bool { c.add(longWait); return s.Stats().Stopped == nil })
	before := sum(s.Stats().Stored)
	more := fill(t, s.Shard(0), r, 5, 100, time.Second)
	s.Shard(0).Flush()
	s.Flush()
	if n := sum(s.Stats().Stored) - before; n != uint64(len(more)) {
		t.Errorf("%d of %d packets are stored beside a file that cannot be repaired", n, len(more))
	}
	bad.Store(false)
	until(t, "all files are repaired or closed", func() bool {
		c.add(mendMost)
		all, err := names(OS, dir)
		return err == nil && !slices.ContainsFunc(all, func(n Name) bool { return n.Hidden })
	})
	s.Keep()
	if all, _ := names(OS, dir); s.Stats().Segments != len(all) {
		t.Errorf("%d segments are known, there are %d", s.Stats().Segments, len(all))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n, st := found(t, dir), s.Stats(); n < sum(st.Stored) {
		t.Errorf("%d packets found, %d stored", n, sum(st.Stored))
	}
}

// A segment that moves on, or gets its name, while the directories are read is
// read once all the same.
func TestFetchDirsMeanwhile(t *testing.T) {
	hot, cold := t.TempDir(), t.TempDir()
	calls(t, open(t, Options{Dir: hot}), "one", "two")
	list, err := List(OS, hot)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	moving, naming := list[0].Path(), list[1].Name
	naming.Hidden = true
	if err := os.Rename(filepath.Join(hot, list[1].Path()), filepath.Join(hot, naming.Path())); err != nil {
		t.Fatal(err)
	}
	files := meddled{OS, func(op, path string) error {
		switch {
		case op == "readdir" && path == cold:
			if err := copyFile(OS, filepath.Join(hot, moving), filepath.Join(cold, moving)); err != nil {
				return err
			}
			return os.Remove(filepath.Join(hot, moving))
		case op == "open" && path == filepath.Join(hot, naming.Path()):
			return os.Rename(path, filepath.Join(hot, list[1].Path()))
		}
		return nil
	}}
	var got []string
	_, err = FetchDirs(context.Background(), files, []string{hot, cold}, Query{Keys: []string{"one", "two"}}, func(_ *pcap.Packet, _ pcap.Interface, key string) error {
		got = append(got, key)
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("%q, %v", got, err)
	}
}
