package queue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FS is the part of a file system that a queue uses. OS is the real one; a test
// gives one that fails.
type FS interface {
	Create(path string) (File, error)            // new, for writing; fs.ErrExist if there is one
	Open(path string, write bool) (File, error)  // an existing file
	Rename(from, to string) error                // replaces what is there, at once
	Remove(path string) error                    // a file
	MkdirAll(path string) error                  // with what is missing above it
	ReadDir(path string) ([]fs.DirEntry, error)  // sorted by name
	SyncDir(path string) error                   // makes names in it survive a power cut
	Lock(path string) (unlock func(), err error) // one process at a time
}

// File is an open file. Writes name their place, so that one that failed half-way
// is simply done again.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
}

// OS is the file system of the machine.
var OS FS = osFS{}

type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func openFile(path string, flags int) (File, error) {
	f, err := os.OpenFile(path, flags, 0o640)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Create(path string) (File, error) {
	return openFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (osFS) Open(path string, write bool) (File, error) {
	if write {
		return openFile(path, os.O_RDWR)
	}
	return openFile(path, os.O_RDONLY)
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

func (osFS) Lock(path string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(path, ".lock"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("it is used by another process: stop that one, or choose another directory (%w)", err)
	}
	return func() {
		// Not by closing alone: a child that is being started at this moment has
		// the descriptor too, until its program runs.
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
		_ = f.Close()
	}, nil
}
