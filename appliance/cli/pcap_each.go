package cli

import (
	"archive/tar"
	"context"
	"crypto/md5" // the reference's hash of names; nothing is secured with it
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"ringside/appliance/daemon"
	"ringside/flow/record"
)

// nameFields are what a template of a name may have in braces.
var nameFields = []string{"call_id", "date", "time", "caller", "called"}

var inBraces = regexp.MustCompile(`\{[^{}]*\}`)

func parseTemplate(s string) (string, error) {
	for _, f := range inBraces.FindAllString(s, -1) {
		if !slices.Contains(nameFields, f[1:len(f)-1]) {
			return "", fmt.Errorf("%s is not known: write {%s}", f, strings.Join(nameFields, "}, {"))
		}
	}
	if rest := inBraces.ReplaceAllString(s, ""); strings.ContainsAny(rest, "{}/") {
		return "", errors.New("write the name of a file, without braces of its own and without /")
	}
	return s, nil
}

// maxName is how many bytes a name has at most, without its extension, as the
// reference has it.
const maxName = 100

// safeName is text as a part of a name: all but letters, digits and a few signs
// becomes "_".
func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._@+=-", r) {
			return r
		}
		return '_'
	}, s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "-") { // hidden, or taken for a flag
		s = "_" + s[1:]
	}
	return s
}

// hashed is the end of names that are too long.
func hashed(s string) string {
	sum := md5.Sum([]byte(s))
	return "_hash_" + hex.EncodeToString(sum[:])
}

// callName is the name of a call's file in the reference: its Call-ID, or, if that
// is too long, a hash of it.
func callName(id string) string {
	if len(id) > maxName {
		return hashed(id)
	}
	return safeName(id)
}

// fileName fills in a template. c is nil if the call has no record.
func fileName(template, id string, begin time.Time, c *record.Call) string {
	var caller, called string
	if c != nil {
		caller, called = c.Caller.Number, c.Called.Number
	}
	name := inBraces.ReplaceAllStringFunc(template, func(f string) string {
		value := ""
		switch f {
		case "{call_id}":
			return callName(id)
		case "{date}":
			value = begin.Format(time.DateOnly)
		case "{time}":
			value = begin.Format("15-04-05")
		case "{caller}":
			value = caller
		case "{called}":
			value = called
		}
		if value == "" {
			return "unknown"
		}
		return safeName(value)
	})
	name = safeName(name)
	if len(name) > maxName {
		end := hashed(name + id)
		name = name[:maxName-len(end)] + end
	}
	return name
}

// bundle takes a file for each call, or several.
type bundle interface {
	// add takes a complete file, which it may move away.
	add(f *os.File, id, folder string, begin time.Time, c *record.Call) error
	// close ends the bundle; err is why it is not complete.
	close(err error) error
}

// part is what of a call goes into a file of its own.
type part struct {
	folder   string
	sip, rtp bool
}

// apart writes files for each call. It returns the calls without packets.
func (e *packetExport) apart(ctx context.Context, w *wantedCalls) (without []string, err error) {
	var to bundle
	var dir string // for files that are not complete
	parts := []part{{"", e.sip, e.rtp}}
	ext := ".pcapng"
	if e.classic || e.tar != "" && !e.ng {
		ext = ".pcap"
	}
	if e.tar == "" {
		if err := os.MkdirAll(e.each, 0o750); err != nil {
			return nil, fmt.Errorf("export packets: %w", err)
		}
		dir = e.each
		to = &folder{dir: dir, template: e.name, ext: ext, taken: map[string]bool{}}
	} else {
		if e.tar != "-" {
			dir = filepath.Dir(e.tar)
		}
		parts = []part{{"SIP", true, false}, {"RTP", false, true}}
		if e.sip != e.rtp {
			parts = slices.DeleteFunc(parts, func(p part) bool { return p.sip != e.sip })
		}
		out := &lateFile{path: e.tar, stdout: e.stdout}
		to = &archive{file: out, tar: tar.NewWriter(out), ext: ext, taken: map[string]bool{}}
	}
	for _, id := range w.ids {
		n, err := e.one(ctx, w, id, parts, dir, ext == ".pcap", to)
		if err != nil {
			return nil, to.close(err)
		}
		if n == 0 {
			without = append(without, id)
		}
	}
	return without, to.close(nil)
}

// one writes the files of one call. It returns how many packets are in them.
func (e *packetExport) one(ctx context.Context, w *wantedCalls, id string, parts []part, dir string, classic bool, to bundle) (n uint64, err error) {
	var c *record.Call
	var begin int64
	if r, ok := w.records[id]; ok {
		c, begin = &r, r.Start
	}
	t := w.of(id)
	for _, p := range parts {
		q := daemon.PacketQuery{CallIDs: []string{id}, From: t.from, To: t.to, SIP: p.sip, RTP: p.rtp, Classic: classic}
		err := withTemp(dir, func(f *os.File) error {
			found, err := e.fetch(ctx, q, f)
			if err != nil || found.Packets == 0 {
				return err
			}
			n += found.Packets
			if begin == 0 {
				begin = found.First
			}
			return to.add(f, id, p.folder, time.Unix(0, begin).In(e.look.zone), c)
		})
		if err != nil {
			return n, fmt.Errorf("export packets of %s: %w", id, err)
		}
	}
	return n, nil
}

// withTemp gives a file that is removed afterwards, unless it was moved away.
func withTemp(dir string, do func(*os.File) error) error {
	f, err := os.CreateTemp(dir, ".ringside-*")
	if err != nil {
		return err
	}
	err = do(f)
	if e := os.Remove(f.Name()); !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return errors.Join(err, f.Close())
}

// unused is a name that is not taken yet: with a number, if it is.
func unused(taken map[string]bool, name, ext string) string {
	out := name + ext
	for i := 2; taken[out]; i++ {
		out = fmt.Sprintf("%s-%d%s", name, i, ext)
	}
	taken[out] = true
	return out
}

// folder is a directory with a file for each call. One of an earlier export is
// replaced.
type folder struct {
	dir, template, ext string
	taken              map[string]bool
}

func (b *folder) add(f *os.File, id, _ string, begin time.Time, c *record.Call) error {
	name := unused(b.taken, fileName(b.template, id, begin, c), b.ext)
	return errors.Join(f.Chmod(0o640), os.Rename(f.Name(), filepath.Join(b.dir, name)))
}

// close leaves the files of an export that failed: each is complete.
func (b *folder) close(err error) error { return err }

// archive is a tar file in the layout that the reference's spool has where it
// keeps files: by the minute of the call's beginning.
type archive struct {
	file  *lateFile
	tar   *tar.Writer
	ext   string
	taken map[string]bool
	begun bool
}

func (b *archive) add(f *os.File, id, folder string, begin time.Time, _ *record.Call) error {
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	name := unused(b.taken, path.Join(begin.Format("2006-01-02/15/04"), folder, callName(id)), b.ext)
	b.begun = true
	err = b.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o640, Size: n, ModTime: begin.Truncate(time.Second)})
	if err != nil {
		return err
	}
	_, err = io.Copy(b.tar, io.NewSectionReader(f, 0, n))
	return err
}

func (b *archive) close(err error) error {
	if err == nil && b.begun {
		err = b.tar.Close()
	}
	return b.file.close(err)
}
