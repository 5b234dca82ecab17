package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// Probed is how fast a disk takes segments.
type Probed struct {
	Bytes   int64
	Took    time.Duration // the last sync included
	Slowest time.Duration // of 64 MiB and their sync: what memory must bridge
}

// Rate is bytes per second.
func (p Probed) Rate() float64 { return float64(p.Bytes) / max(p.Took.Seconds(), 1e-9) }

const (
	probeFile = ".probe"
	probeSync = 64 << 20 // bytes between two syncs
)

// Probe writes bytes in pieces of 1 MiB into a file in dir, as a segment is
// written, syncs it, and removes it. It tells what sequential writing reaches while
// whatever else uses the disk goes on.
func Probe(ctx context.Context, files FS, dir string, bytes int64) (p Probed, err error) {
	path := filepath.Join(dir, probeFile)
	if err := files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, fmt.Errorf("probe %s: remove what an earlier probe left: %w", dir, err)
	}
	f, err := files.Create(path)
	if err != nil {
		return p, fmt.Errorf("probe %s: %w", dir, err)
	}
	defer func() {
		err = errors.Join(err, f.Close(), files.Remove(path))
	}()
	piece := make([]byte, 1<<20)
	for i := range piece { // nothing that a file system could leave out or shrink
		piece[i] = byte(i * i >> 7)
	}
	began := time.Now()
	last := began
	for p.Bytes < bytes {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		n := min(int64(len(piece)), bytes-p.Bytes)
		if _, err := f.WriteAt(piece[:n], p.Bytes); err != nil {
			return p, fmt.Errorf("probe %s: %w", dir, err)
		}
		if p.Bytes += n; p.Bytes%probeSync == 0 || p.Bytes >= bytes {
			if err := f.Sync(); err != nil {
				return p, fmt.Errorf("probe %s: %w", dir, err)
			}
			now := time.Now()
			p.Slowest = max(p.Slowest, now.Sub(last))
			last = now
		}
	}
	p.Took = time.Since(began)
	return p, nil
}
