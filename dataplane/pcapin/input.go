package pcapin

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const stdin = "-"

// quiet is how long a read from a pipe waits before the worker gets its thread back.
const quiet = 20 * time.Millisecond

// maxWindow bounds the memory of a zstd decoder: what `zstd --long` needs.
const maxWindow = 128 << 20

// found is a path to read. Of a directory only the captures are read, and the
// other files passed over.
type found struct {
	path    string
	fromDir bool
}

// expand turns the inputs into files, in order and each once.
func expand(inputs []string) ([]found, error) {
	var all []found
	seen := make(map[string]bool)
	add := func(path string, fromDir bool) {
		if path != stdin {
			path = filepath.Clean(path)
		}
		if !seen[path] {
			seen[path] = true
			all = append(all, found{path, fromDir})
		}
	}
	for _, in := range inputs {
		if in == stdin {
			add(in, false)
			continue
		}
		names := []string{in}
		if _, err := os.Stat(in); err != nil {
			if !errors.Is(err, fs.ErrNotExist) || !strings.ContainsAny(in, "*?[") {
				return nil, fmt.Errorf("open capture: %w", err)
			}
			if names, err = glob(in); err != nil {
				return nil, fmt.Errorf("open capture: pattern %q: %w", in, err)
			}
			if len(names) == 0 {
				return nil, fmt.Errorf("open capture: no file matches %q", in)
			}
		}
		for _, name := range names {
			if err := expandOne(name, add); err != nil {
				return nil, fmt.Errorf("open capture: %w", err)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("open capture: no file in %q", inputs)
	}
	return all, nil
}

// glob is filepath.Glob as a shell does it: what is hidden is not matched by a
// wildcard.
func glob(pattern string) ([]string, error) {
	pattern = filepath.Clean(pattern)
	names, err := filepath.Glob(pattern)
	parts := strings.Split(pattern, "/")
	return slices.DeleteFunc(names, func(name string) bool {
		for i, part := range strings.Split(name, "/") {
			if strings.HasPrefix(part, ".") && !strings.HasPrefix(parts[i], ".") {
				return true
			}
		}
		return false
	}), err
}

// expandOne adds a file, or the files below a directory in the order of their
// names. Hidden files are left out: writers give a file its name when it is done.
func expandOne(name string, add func(path string, fromDir bool)) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		add(name, false)
		return nil
	}
	return filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != name && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			add(path, true)
		}
		return nil
	})
}

// liveInput is an input that cannot be opened twice: a pipe or the like. Its
// reads end after a while when nothing comes, where the system can do that.
type liveInput struct {
	r    io.Reader
	file *os.File // nil if r is no file
	ours bool     // to be closed by us
}

// openStdin opens the standard input anew if it is a pipe, because only a pipe
// opened by the os package can be read with a time limit.
func openStdin(given io.Reader) *liveInput {
	if given != nil {
		file, _ := given.(*os.File)
		return &liveInput{r: given, file: file}
	}
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		if file, err := os.Open("/dev/stdin"); err == nil {
			return &liveInput{r: file, file: file, ours: true}
		}
	}
	return &liveInput{r: os.Stdin, file: os.Stdin}
}

// limit bounds the next read in time; false where that is not possible.
func (l *liveInput) limit() bool {
	return l.file != nil && l.file.SetReadDeadline(time.Now().Add(quiet)) == nil
}

// interrupt ends a read that is going on, where the system can do that.
func (l *liveInput) interrupt() {
	if l.file != nil {
		_ = l.file.SetReadDeadline(time.Unix(1, 0)) // files that cannot do it have no quiet reads to end
	}
}

func (l *liveInput) close() {
	if l.ours {
		_ = l.file.Close() // it was only read
	}
}

// counter counts the bytes of one input as they lie on the disk.
type counter struct {
	r     io.Reader
	own   atomic.Int64  // added to by the decompressor's goroutine
	total *atomic.Int64 // of all inputs
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.own.Add(int64(n))
	c.total.Add(int64(n))
	return n, err
}

// replay is r with the bytes put back that were read from it.
type replay struct {
	head []byte
	r    io.Reader
}

func (p *replay) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.r.Read(b)
}

// Magic numbers of compressed streams, read little endian.
const (
	magicGzip      = 0x8b1f     // RFC 1952 section 2.3.1, two bytes
	magicZstd      = 0xfd2fb528 // RFC 8878 section 3.1.1
	magicSkippable = 0x184d2a50 // RFC 8878 section 3.1.2, and of lz4 too; the low 4 bits vary
	magicLZ4       = 0x184d2204
	magicLZ4Legacy = 0x184c2102
)

// decompress finds out how src is compressed and returns the plain stream,
// whether it differs from src, and what ends the decompressor (may be nil).
// With parallel the decompressor may use goroutines of its own.
func decompress(src io.Reader, parallel bool) (plain io.Reader, packed bool, end func(), err error) {
	var head [8]byte
	for {
		n, err := io.ReadFull(src, head[:4])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, false, nil, err
		}
		magic := binary.LittleEndian.Uint32(head[:])
		plain = &replay{head: append([]byte(nil), head[:n]...), r: src}
		switch {
		case n == 4 && magic&^0xf == magicSkippable:
			if _, err := io.ReadFull(src, head[4:]); err != nil {
				return nil, false, nil, fmt.Errorf("read skippable frame: %w", err)
			}
			if _, err := io.CopyN(io.Discard, src, int64(binary.LittleEndian.Uint32(head[4:]))); err != nil {
				return nil, false, nil, fmt.Errorf("read skippable frame: %w", err)
			}
			continue
		case n == 4 && magic&0xffff == magicGzip:
			z, err := gzip.NewReader(bufio.NewReaderSize(plain, 64<<10))
			if err != nil {
				return nil, true, nil, err
			}
			return z, true, nil, nil
		case n == 4 && magic == magicZstd:
			threads := 1
			if parallel {
				threads = 0
			}
			z, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(threads), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return nil, true, nil, err
			}
			return z, true, z.Close, nil
		case n == 4 && (magic == magicLZ4 || magic == magicLZ4Legacy):
			return lz4.NewReader(bufio.NewReaderSize(plain, 64<<10)), true, nil, nil
		}
		return plain, false, nil, nil
	}
}
