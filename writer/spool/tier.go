package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync/atomic"
)

// Tier is a further directory, for closed segments: those that are beyond the
// limits of one tier move to the next.
type Tier struct {
	Dir    string
	Limits Limits
}

const (
	idFile      = ".spool"
	reserveFile = ".reserve"
)

// tier is a directory of an open spool.
type tier struct {
	dir      string
	limits   Limits
	kind     string // of its file system
	id       string // what its file idFile says
	volume   atomic.Uint64
	reserved atomic.Int64 // bytes of reserveFile
	unlock   func()
}

// openTier locks a directory, which must exist.
func openTier(files FS, dir string, l Limits) (*tier, error) {
	space, err := files.Space(dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	t := &tier{dir: dir, kind: space.Kind}
	if t.limits, err = l.Fit(space); err != nil {
		return nil, fmt.Errorf("open spool %s: %w", dir, err)
	}
	if t.unlock, err = files.Lock(dir); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	t.volume.Store(space.Volume)
	if t.id, err = identify(files, dir); err != nil {
		t.unlock()
		return nil, fmt.Errorf("open spool: %w", err)
	}
	_ = withFile(files, filepath.Join(dir, reserveFile), func(f File) error {
		size, err := f.Size()
		t.reserved.Store(size)
		return err
	})
	return t, nil
}

// identify reads the file by which the directory is known again, and makes one
// if there is none.
func identify(files FS, dir string) (string, error) {
	path := filepath.Join(dir, idFile)
	id, err := readID(files, path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	f, err := files.Create(path)
	if err != nil {
		return "", err
	}
	id = rand.Text()
	_, err = f.WriteAt([]byte(id), 0)
	return id, errors.Join(err, f.Sync(), f.Close())
}

func readID(files FS, path string) (id string, err error) {
	err = withFile(files, path, func(f File) error {
		b := make([]byte, 64)
		n, err := f.ReadAt(b, 0)
		id = string(b[:n])
		if err == io.EOF {
			err = nil
		}
		return err
	})
	return id, err
}

// mounted is the space of the volume, if the directory lies on the one of the
// start. A volume that comes back may have another number.
func (t *tier) mounted(files FS) (Space, error) {
	space, err := files.Space(t.dir)
	if err != nil || space.Volume == t.volume.Load() {
		return space, err
	}
	if id, err := readID(files, filepath.Join(t.dir, idFile)); err != nil || id != t.id {
		return space, fmt.Errorf("spool %s lies on another volume than at the start: mount the one of before, or start again", t.dir)
	}
	t.volume.Store(space.Volume)
	return space, nil
}

// reserve makes the reservation while there is room, and gives it back when the
// volume is full. It returns what is free, the reservation included.
func (t *tier) reserve(files FS, space Space) int64 {
	path, size := filepath.Join(t.dir, reserveFile), t.limits.Reservation
	had := t.reserved.Load()
	switch {
	case had > 0 && (space.Free < had/2 || had != size):
		if files.Remove(path) == nil {
			t.reserved.Store(0)
		}
	case had == 0 && size > 0 && space.Free >= t.limits.Reserve:
		if files.Allocate(path, size) == nil { // not every file system can
			t.reserved.Store(size)
			had = size
			space.Free -= size
		}
	}
	return space.Free + had
}

// move brings a segment into the next tier: it is there, whole and synced,
// before it is removed here.
func (s *Spool) move(k *kept) error {
	from, to := s.tiers[k.tier], s.tiers[k.tier+1]
	space, err := to.mounted(s.fs)
	if err != nil {
		return fmt.Errorf("move segment: %w", err)
	}
	if space.Free-k.Bytes < to.limits.Reserve {
		return fmt.Errorf("move segment %s: there is no room in %s", k.Path(), to.dir)
	}
	n := k.Name
	for ; n.Copy < maxCopies; n.Copy++ {
		f, err := s.fs.Open(filepath.Join(to.dir, n.Path()), false)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return fmt.Errorf("move segment: %w", err)
		}
		same := sameIndex(f, filepath.Join(from.dir, k.Path()), s.fs, k.Name)
		_ = f.Close() // it was only looked at
		if same {     // a crash came between
			return s.moved(k, n)
		}
	}
	if err := copyFile(s.fs, filepath.Join(from.dir, k.Path()), filepath.Join(to.dir, n.Path())); err != nil {
		return fmt.Errorf("move segment: %w", err)
	}
	return s.moved(k, n)
}

// moved notes a segment that is in the next tier, and removes it here.
func (s *Spool) moved(k *kept, to Name) error {
	next := &kept{Name: to, Bytes: k.Bytes, tier: k.tier + 1}
	s.mu.Lock()
	delete(s.catalog, spot{k.tier, k.Name})
	s.catalog[spot{next.tier, to}] = next
	s.pruned.Moved++
	s.mu.Unlock()
	return unlink(s.fs, s.tiers[k.tier].dir, k.Name)
}

// tidy removes what a crash left in two tiers.
func (s *Spool) tidy() error {
	for at, k := range s.catalog {
		next := spot{at.tier + 1, at.name}
		if s.catalog[next] == nil || s.catalog[next].Bytes != k.Bytes {
			continue
		}
		if sameSegment(s.fs, s.tiers[at.tier].dir, s.tiers[next.tier].dir, at.name) {
			if err := unlink(s.fs, s.tiers[at.tier].dir, at.name); err != nil {
				return err
			}
			delete(s.catalog, at)
		}
	}
	return nil
}

// sameSegment says whether a segment is in two directories.
func sameSegment(files FS, one, other string, n Name) bool {
	same := false
	_ = withFile(files, filepath.Join(other, n.Path()), func(f File) error {
		same = sameIndex(f, filepath.Join(one, n.Path()), files, n)
		return nil
	})
	return same
}

// sameIndex says whether two segments have the same footer, which has the sums
// of all sums.
func sameIndex(a File, path string, files FS, n Name) bool {
	same := false
	_ = withFile(files, path, func(b File) error {
		x, err := openIndex(a, n.Format)
		if err != nil {
			return err
		}
		y, err := openIndex(b, n.Format)
		if err == nil {
			same = x.sum == y.sum && x.keySum == y.keySum && x.Summary == y.Summary && x.at == y.at
		}
		return err
	})
	return same
}

// copyFile copies a file under a name that Recover removes, syncs and renames it.
func copyFile(files FS, from, to string) error {
	if err := files.MkdirAll(filepath.Dir(to)); err != nil {
		return err
	}
	return withFile(files, from, func(in File) error {
		out, err := files.Create(to + newExt)
		if errors.Is(err, fs.ErrExist) { // an attempt that failed
			if err = files.Remove(to + newExt); err == nil {
				out, err = files.Create(to + newExt)
			}
		}
		if err != nil {
			return err
		}
		err = errors.Join(copyBytes(out, in), out.Close())
		if err == nil {
			err = files.Rename(to+newExt, to)
		}
		if err != nil {
			return errors.Join(err, files.Remove(to+newExt))
		}
		return files.SyncDir(filepath.Dir(to))
	})
}

func copyBytes(out, in File) error {
	buf := make([]byte, writeSize)
	for at := int64(0); ; {
		n, err := in.ReadAt(buf, at)
		if _, err := out.WriteAt(buf[:n], at); err != nil {
			return err
		}
		at += int64(n)
		if err == io.EOF {
			return out.Sync()
		}
		if err != nil {
			return err
		}
	}
}
