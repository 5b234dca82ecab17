package spool

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/writer/pcap"
)

// faulty is the file system of the machine with errors put in.
type faulty struct {
	FS
	mu     sync.Mutex
	fail   func(op string) error // nil: all is well
	volume uint64                // added to the number of the volume
	free   int64                 // if not 0, what Space says
}

func (f *faulty) set(fail func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faulty) err(op string) error {
	f.mu.Lock()
	fail := f.fail
	f.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(op)
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

func (f *faulty) SyncDir(path string) error {
	if err := f.err("syncdir"); err != nil {
		return err
	}
	return f.FS.SyncDir(path)
}

func (f *faulty) Space(path string) (Space, error) {
	if err := f.err("space"); err != nil {
		return Space{}, err
	}
	s, err := f.FS.Space(path)
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Volume += f.volume
	if f.free != 0 {
		s.Free = f.free
	}
	return s, err
}

type faultyFile struct {
	File
	fs *faulty
}

// WriteAt writes half before it fails, as a full disk does.
func (f *faultyFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.fs.err("write"); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], at)
		return n, err
	}
	return f.File.WriteAt(b, at)
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

// until waits for something that goroutines do.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("does not happen: %s", what)
}

// found is the packets in all closed segments, each of which is whole.
func found(t *testing.T, dir string) uint64 {
	t.Helper()
	list, err := List(OS, dir)
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for _, i := range list {
		if i.Hidden || i.Err != nil {
			t.Errorf("%s: %v", i.Path(), i.Err)
			continue
		}
		if err := Check(OS, dir, i.Name); err != nil {
			t.Errorf("check %s: %v", i.Path(), err)
		}
		n += i.Packets
	}
	return n
}

func sum(c [Classes]Counts) (n uint64) {
	for _, c := range c {
		n += c.Packets
	}
	return n
}

// While an operation fails spooling stops; then it goes on by itself. What is
// said to be stored is stored.
func TestFaults(t *testing.T) {
	for _, op := range []string{"create", "write", "sync", "rename", "syncdir", "truncate", "space", "all"} {
		t.Run(op, func(t *testing.T) {
			dir := t.TempDir()
			files := &faulty{FS: OS}
			c := &clock{now: time.Unix(0, t0)}
			s := open(t, Options{Dir: dir, FS: files, Now: c.Now, FlushAge: time.Millisecond, SyncAge: time.Millisecond})
			sh := s.Shard(0)
			r := rand.New(rand.NewPCG(5, 6))
			sent := fill(t, sh, r, 20, 500, time.Second)
			sh.Flush()
			s.Flush()
			files.set(func(o string) error {
				if o == op || op == "all" {
					return &fs.PathError{Op: o, Path: "x", Err: syscall.ENOSPC}
				}
				return nil
			})
			// Another minute, so that segments are closed and created.
			for range 4 {
				c.add(40 * time.Second)
				sent = append(sent, fill(t, sh, r, 20, 500, 100*time.Second)...)
				sh.Flush()
				s.Flush()
				c.add(40 * time.Second)
				until(t, "an error", func() bool { return s.Stats().Errors > 0 })
			}
			if s.Stats().Stopped == nil || !errors.Is(s.Stats().Stopped, syscall.ENOSPC) {
				until(t, "a stop", func() bool { c.add(time.Second); return errors.Is(s.Stats().Stopped, syscall.ENOSPC) })
			}
			files.set(nil)
			until(t, "writing again", func() bool { c.add(longWait); return s.Stats().Stopped == nil })
			before := sum(s.Stats().Stored)
			more := fill(t, sh, r, 20, 500, time.Second)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			st := s.Stats()
			if st.Used != 0 {
				t.Errorf("%d pages leaked", st.Used)
			}
			if sum(st.Stored)-before != uint64(len(more)) {
				t.Errorf("after the fault %d of %d packets are stored", sum(st.Stored)-before, len(more))
			}
			if n := sum(st.Stored) + sum(st.Lost); n != uint64(len(sent)+len(more)) {
				t.Errorf("stored and lost are %d, put were %d", n, len(sent)+len(more))
			}
			if n := found(t, dir); n < sum(st.Stored) || n > uint64(len(sent)+len(more)) {
				t.Errorf("%d packets found, %d stored", n, sum(st.Stored))
			}
		})
	}
}

// Any operation fails now and then, in any order.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(6) {
		dir := t.TempDir()
		files := &faulty{FS: OS}
		c := &clock{now: time.Unix(0, t0)}
		s := open(t, Options{Dir: dir, FS: files, Now: c.Now, Writers: 2, Shards: 2, FlushAge: time.Millisecond, SyncAge: time.Millisecond})
		r := rand.New(rand.NewPCG(seed, 1))
		faults := rand.New(rand.NewPCG(seed, 2))
		put := 0
		var mu sync.Mutex // of faults
		for range 10 {
			files.set(func(op string) error {
				mu.Lock()
				defer mu.Unlock()
				if faults.IntN(4) == 0 {
					return &fs.PathError{Op: op, Path: "x", Err: syscall.EIO}
				}
				return nil
			})
			for i := range 2 {
				put += len(fill(t, s.Shard(i), r, 10, 200, 70*time.Second))
				s.Shard(i).Flush()
			}
			s.Flush()
			c.add(longWait)
			_, _ = s.Fetch(context.Background(), Query{Keys: []string{"call-1@example.com"}}, func(*pcap.Packet, pcap.Interface, string) error { return nil })
		}
		files.set(nil)
		until(t, "writing again", func() bool { c.add(longWait); return s.Stats().Stopped == nil })
		_ = s.Close()
		st := s.Stats()
		if n := sum(st.Stored) + sum(st.Lost); n != uint64(put) || st.Used != 0 {
			t.Errorf("seed %d: stored and lost are %d, put were %d; %d pages leaked", seed, n, put, st.Used)
		}
		if n := found(t, dir); n < sum(st.Stored) || n > uint64(put) {
			t.Errorf("seed %d: %d packets found, %d stored, %d put", seed, n, sum(st.Stored), put)
		}
	}
}

// A directory that is suddenly on another volume, as when a mount is gone, is
// not written to.
func TestVolumeGone(t *testing.T) {
	dir := t.TempDir()
	files := &faulty{FS: OS}
	c := &clock{now: time.Unix(0, t0)}
	s := open(t, Options{Dir: dir, FS: files, Now: c.Now})
	files.mu.Lock()
	files.volume = 1
	files.mu.Unlock()
	if err := os.Rename(filepath.Join(dir, idFile), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	put := fill(t, s.Shard(0), rand.New(rand.NewPCG(1, 1)), 3, 100, time.Second)
	s.Shard(0).Flush()
	s.Flush()
	if st := s.Stats(); st.Stopped == nil || sum(st.Lost) != uint64(len(put)) {
		t.Errorf("stopped: %v, lost %d of %d", st.Stopped, sum(st.Lost), len(put))
	}
	if all, _ := filepath.Glob(filepath.Join(dir, "*", "*", ".*")); len(all) > 0 {
		t.Errorf("files were written: %v", all)
	}
	s.Keep()
	if st := s.Stats(); !st.Away || st.KeepErr == nil {
		t.Errorf("away: %v, %v", st.Away, st.KeepErr)
	}
	// Back, under another number: it is known by its file.
	if err := os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, idFile)); err != nil {
		t.Fatal(err)
	}
	s.Keep()
	until(t, "writing again", func() bool { c.add(longWait); return s.Stats().Stopped == nil })
	put = fill(t, s.Shard(0), rand.New(rand.NewPCG(1, 1)), 3, 100, time.Second)
	s.Shard(0).Flush()
	s.Flush()
	if st := s.Stats(); st.Away || st.KeepErr != nil || sum(st.Stored) != uint64(len(put)) {
		t.Errorf("back: away %v, %v, %d of %d stored", st.Away, st.KeepErr, sum(st.Stored), len(put))
	}
}

// Where the reserve is touched RTP stops first, and SIP when half of it is gone.
func TestReserve(t *testing.T) {
	dir := t.TempDir()
	files := &faulty{FS: OS}
	s := open(t, Options{Dir: dir, FS: files, Limits: Limits{Reserve: 1 << 30, Reservation: -1}})
	sh := s.Shard(0)
	for _, tc := range []struct {
		free     int64
		sip, rtp bool
	}{{2 << 30, true, true}, {1<<30 - 1, true, false}, {1<<29 - 1, false, false}, {2 << 30, true, true}} {
		files.mu.Lock()
		files.free = tc.free
		files.mu.Unlock()
		s.Keep()
		before := s.Stats()
		for _, c := range []Class{SIP, RTP} {
			var tape Tape
			sh.Put(&tape, c, "key", t0, frame.LinkEthernet, &pcap.Packet{Time: t0, Data: sipFrame("key", 1)})
		}
		sh.Flush()
		s.Flush()
		after := s.Stats()
		if sip, rtp := after.Stored[SIP].Packets > before.Stored[SIP].Packets, after.Stored[RTP].Packets > before.Stored[RTP].Packets; sip != tc.sip || rtp != tc.rtp {
			t.Errorf("with %d free: sip stored %v, rtp stored %v, want %v and %v", tc.free, sip, rtp, tc.sip, tc.rtp)
		}
	}
}
