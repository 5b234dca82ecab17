package spool

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ringside/writer/compress"
)

// Class is a kind of packets that has its own segments and its own retention.
type Class uint8

// Classes.
const (
	SIP Class = iota
	RTP
	Register
	Classes = 3
)

var classNames = [Classes]string{"sip", "rtp", "register"}

// String is the name of the class in file names and settings.
func (c Class) String() string { return classNames[min(int(c), Classes-1)] }

const (
	minute     = int64(time.Minute)
	dayLayout  = "2006-01-02"
	captureExt = ".pcapng"
)

// Name is what the path of a segment says.
type Name struct {
	Class  Class
	Minute int64 // its beginning, ns since the Unix epoch
	Writer int
	Copy   int // 0 for the first segment of this class, minute and writer
	Format compress.Format
	Hidden bool // still open, or left by a crash
}

// Path is where the segment lies under the spool directory:
// 2026-01-31/23/59-sip-0.pcapng.zst, a further one of the same minute
// 59-sip-0.1.pcapng.zst. While it is open its file name begins with a dot.
func (n Name) Path() string {
	t := time.Unix(0, n.Minute).UTC()
	file := fmt.Sprintf("%02d-%s-%d", t.Minute(), n.Class, n.Writer)
	if n.Copy > 0 {
		file += "." + strconv.Itoa(n.Copy)
	}
	if n.Hidden {
		file = "." + file
	}
	return filepath.Join(t.Format(dayLayout), fmt.Sprintf("%02d", t.Hour()), file+captureExt+n.Format.Ext())
}

// ParseName reads a path under the spool directory.
func ParseName(path string) (Name, bool) {
	var n Name
	parts := strings.Split(filepath.ToSlash(path), "/")
	if len(parts) != 3 {
		return n, false
	}
	hour, err := time.Parse(dayLayout+"/15", parts[0]+"/"+parts[1])
	if err != nil {
		return n, false
	}
	file, hidden := strings.CutPrefix(parts[2], ".")
	stem, ext, ok := strings.Cut(file, captureExt)
	fields := strings.SplitN(stem, "-", 3)
	if !ok || len(fields) != 3 {
		return n, false
	}
	minutes, err1 := strconv.Atoi(fields[0])
	writer, copies, _ := strings.Cut(fields[2], ".")
	var err2, err3 error
	n.Writer, err2 = strconv.Atoi(writer)
	if copies != "" {
		n.Copy, err3 = strconv.Atoi(copies)
	}
	n.Minute, n.Hidden = hour.UnixNano()+int64(minutes)*minute, hidden
	known := false
	for c := range Class(Classes) {
		if c.String() == fields[1] {
			n.Class, known = c, true
		}
	}
	formatKnown := false
	for _, f := range []compress.Format{compress.Plain, compress.LZ4, compress.Zstd, compress.Gzip} {
		if f.Ext() == ext {
			n.Format, formatKnown = f, true
		}
	}
	ok = err1 == nil && err2 == nil && err3 == nil && known && formatKnown
	return n, ok && n.Path() == filepath.FromSlash(path)
}

// maxKey is the most bytes of a key in an index.
const maxKey = 255

// keyOf is a key as it is stored: as it is, or, if it is longer than maxKey,
// its beginning with a hash of all of it.
func keyOf(key string) string {
	if len(key) <= maxKey {
		return key
	}
	return fmt.Sprintf("%s#%016x", key[:maxKey-17], hash(key))
}

// hash is FNV-1a, 64 bits, mixed: an index relies on hashes that lie evenly,
// also those of keys that differ in their last letters only.
func hash[T string | []byte](s T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h = (h ^ h>>32) * 0xD6E8FEB86659FD93
	return h ^ h>>32
}
