package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FS is the part of a file system that the spool uses. OS is the real one; a
// test gives one that fails.
type FS interface {
	Create(path string) (File, error)            // new, for reading and writing; fs.ErrExist if there is one
	Open(path string, write bool) (File, error)  // an existing file
	Rename(from, to string) error                // replaces what is there, at once
	Remove(path string) error                    // a file, or an empty folder
	MkdirAll(path string) error                  // with what is missing above it
	ReadDir(path string) ([]fs.DirEntry, error)  // sorted by name
	SyncDir(path string) error                   // makes names in it survive a power cut
	Space(path string) (Space, error)            // of the volume that path lies on
	Lock(path string) (unlock func(), err error) // one process at a time
	Allocate(path string, size int64) error      // a new file that has its blocks
	Mounts() ([]Mount, error)
}

// File is an open file. Writes name their place, so that one that failed
// half-way is simply done again.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
}

// Space is the room of a volume in bytes.
type Space struct {
	Volume uint64 // which one it is
	Total  int64
	Free   int64  // for users without privileges
	Kind   string // of the file system, if it is a known one
}

// OS is the file system of the machine.
var OS FS = osFS{}

type osFS struct{}

type osFile struct{ *os.File }

// WriteAt lets the disk begin with large pieces at once: what is left for a
// sync is little then, and dirty pages do not pile up in memory. A file system
// that cannot do that writes when it likes.
func (f osFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	if err == nil && n >= writeSize {
		_ = unix.SyncFileRange(int(f.Fd()), at, int64(n), unix.SYNC_FILE_RANGE_WRITE)
	}
	return n, err
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (osFS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Open(path string, write bool) (File, error) {
	flags := os.O_RDONLY
	if write {
		flags = os.O_RDWR
	}
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error               { return os.Rename(from, to) }
func (osFS) Remove(path string) error                   { return os.Remove(path) }
func (osFS) MkdirAll(path string) error                 { return os.MkdirAll(path, 0o750) }
func (osFS) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

func (osFS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) Space(path string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Space{}, fmt.Errorf("ask for the space of %s: %w", path, err)
	}
	var file unix.Stat_t
	if err := unix.Stat(path, &file); err != nil {
		return Space{}, fmt.Errorf("ask for the volume of %s: %w", path, err)
	}
	return Space{Volume: file.Dev, Total: int64(st.Blocks) * st.Frsize, Free: int64(st.Bavail) * st.Frsize, Kind: kinds[int64(st.Type)]}, nil
}

func (osFS) Lock(path string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(path, ".lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("spool %s is used by another process: stop it, or choose another directory (%w)", path, err)
	}
	return func() {
		// Not by closing alone: a child that is being started at this moment has
		// the descriptor too, until its program runs.
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
		_ = f.Close()
	}, nil
}

func (osFS) Allocate(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, size), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
