package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// walk calls f with the path under root of every file of the spool's layout.
// Other folders are not looked into: lost+found may be read by root alone.
func walk(files FS, root string, f func(path string) error) error {
	days, err := files.ReadDir(root)
	if err != nil {
		return fmt.Errorf("list spool: %w", err)
	}
	for _, day := range days {
		if _, err := time.Parse(dayLayout, day.Name()); err != nil || !day.IsDir() {
			continue
		}
		hours, err := files.ReadDir(filepath.Join(root, day.Name()))
		if err != nil {
			return fmt.Errorf("list spool: %w", err)
		}
		for _, hour := range hours {
			if !hour.IsDir() {
				continue
			}
			entries, err := files.ReadDir(filepath.Join(root, day.Name(), hour.Name()))
			if err != nil {
				return fmt.Errorf("list spool: %w", err)
			}
			for _, e := range entries {
				if err := f(filepath.Join(day.Name(), hour.Name(), e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// names lists the segments of a spool by path, hidden ones included.
func names(files FS, root string) ([]Name, error) {
	var out []Name
	err := walk(files, root, func(path string) error {
		if n, ok := ParseName(path); ok {
			out = append(out, n)
		}
		return nil
	})
	return out, err
}

// Recover closes all hidden segments of a spool that nobody writes to.
func Recover(files FS, root string) ([]Recovered, error) {
	err := walk(files, root, func(path string) error {
		of, isNew := strings.CutSuffix(path, newExt)
		if _, ours := ParseName(of); isNew && ours { // never complete
			return files.Remove(filepath.Join(root, path))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all, err := names(files, root)
	if err != nil {
		return nil, err
	}
	var out []Recovered
	for _, n := range all {
		if !n.Hidden {
			continue
		}
		r, err := recoverSegment(files, root, n, false)
		// One that cannot be closed now, as on a full disk, stays hidden.
		r.Err = err
		out = append(out, r)
	}
	return out, nil
}

// Info is what a listing says of a segment.
type Info struct {
	Name
	Summary
	Bytes int64
	Err   error // why there is no Summary
}

// List reads the indexes of all segments. A hidden one has no Summary.
func List(files FS, root string) ([]Info, error) {
	all, err := names(files, root)
	if err != nil {
		return nil, err
	}
	var out []Info
	for _, n := range all {
		i := Info{Name: n}
		i.Err = withFile(files, filepath.Join(root, n.Path()), func(f File) error {
			var err error
			if i.Bytes, err = f.Size(); err != nil || n.Hidden {
				return err
			}
			x, err := openIndex(f, n.Format)
			if err == nil {
				i.Summary = x.Summary
			}
			return err
		})
		if !errors.Is(i.Err, fs.ErrNotExist) { // retention may have taken it
			out = append(out, i)
		}
	}
	return out, nil
}

func withFile(files FS, path string, do func(File) error) error {
	f, err := files.Open(path, false)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}

// Check reads a closed segment whole: every frame against its entry in the
// index, and the index against the frames.
func Check(files FS, root string, n Name) error {
	return withFile(files, filepath.Join(root, n.Path()), func(f File) error {
		x, err := openIndex(f, n.Format)
		if err != nil {
			return err
		}
		want, err := x.all()
		if err != nil {
			return err
		}
		s, err := scanSegment(f, n.Format, func(sections []keyed, _ []byte) error {
			for _, k := range sections {
				w, ok := want[place{k.Offset, k.At}]
				if !ok {
					return fmt.Errorf("frame at byte %d is not in the index: repair the segment", k.Offset)
				}
				if w != k {
					return fmt.Errorf("frame at byte %d is not the one of the index: repair the segment", k.Offset)
				}
				delete(want, place{k.Offset, k.At})
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case s.Holes > 0 || s.Lost > 0 || len(want) > 0:
			return fmt.Errorf("%d sections of the index are not there, %d bytes are no frames: repair the segment", len(want), s.Lost)
		}
		return nil
	})
}

// Repair rewrites a closed segment from its whole frames, if Check finds
// damage. One without any is removed.
func Repair(files FS, root string, n Name) (Recovered, error) {
	if err := Check(files, root, n); err == nil {
		return Recovered{Name: n}, nil
	}
	return recoverSegment(files, root, n, true)
}
