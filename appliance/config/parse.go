package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// What a file may be. A hundred thousand prefixes, one a line, are 4 MB.
const (
	maxFile  = 16 << 20 // bytes
	maxLine  = 64 << 10 // bytes
	maxDepth = 8        // of files that include each other
	maxFiles = 1000
)

// line is one "key = value", and where it stands.
type line struct {
	origin
	key, value string
}

// reader reads files into lines.
type reader struct {
	lines []line
	files []string
	found func(origin, string, Verdict, error)
}

// readAll reads a file and the folder conf.d beside it, whose files follow in
// the order of their names.
func (r *reader) readAll(path string) {
	r.file(path, origin{file: path}, nil)
	more, err := filepath.Glob(filepath.Join(escape(filepath.Dir(path)), "conf.d", "*.conf"))
	if err != nil {
		r.found(origin{file: path}, "", Refused, fmt.Errorf("look for conf.d: %w", err))
	}
	for _, p := range more { // Glob has sorted them
		r.file(p, origin{file: p}, nil)
	}
}

// escape takes the meaning that a path has as a pattern away from it.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// file reads one file. at is what to blame if it cannot be read, above are the
// files that include it.
func (r *reader) file(path string, at origin, above []string) {
	key := ""
	if len(above) > 0 {
		key = "include"
	}
	switch {
	case slices.Contains(above, path):
		r.found(at, key, Refused, fmt.Errorf("read %s: it includes itself", path))
		return
	case len(r.files) == maxFiles:
		r.found(at, key, Refused, fmt.Errorf("read %s: there are more than %d files: put them together", path, maxFiles))
		return
	}
	text, err := readText(path)
	if err != nil {
		r.found(at, key, Refused, err)
		return
	}
	r.files = append(r.files, path)
	above = append(above, path)
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, maxLine)
	n := 0
	for in.Scan() {
		n++
		r.line(strings.TrimSpace(in.Text()), origin{path, n}, above)
	}
	if err := in.Err(); err != nil {
		r.found(origin{path, n + 1}, "", Refused, fmt.Errorf("the line is longer than %d bytes: split it, lists may go on in further lines of the same key", maxLine))
	}
}

// readText reads a file that is text of a sensible size.
func readText(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read configuration: %w", err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("read configuration %s: it has more than %d bytes: is it the right file?", path, maxFile)
	case !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0:
		return nil, fmt.Errorf("read configuration %s: it is not text in UTF-8", path)
	}
	return text, nil
}

var errNoValue = errors.New(`write "key = value"; a comment begins with # or ;`)

// line takes one line, or the file that it includes.
func (r *reader) line(s string, at origin, above []string) {
	switch {
	case s == "" || s[0] == '#' || s[0] == ';':
		return
	case s[0] == '[':
		if !strings.EqualFold(s, "[general]") {
			r.found(at, s, Refused, errors.New("there are no sections but [general], which means nothing: leave the line out"))
		}
		return
	}
	key, value, ok := strings.Cut(s, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" || strings.ContainsAny(key, " \t") {
		r.found(at, shorten(strings.Fields(s)[0]), Refused, errNoValue) // what follows may be a secret
		return
	}
	if name(key) != "include" {
		r.lines = append(r.lines, line{at, key, value})
		return
	}
	r.include(value, at, above)
}

// include reads the files that a pattern names, from the folder of the file
// that includes them.
func (r *reader) include(pattern string, at origin, above []string) {
	if pattern == "" {
		r.found(at, "include", Refused, errors.New("name a file"))
		return
	}
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(escape(filepath.Dir(at.file)), pattern)
	}
	paths, err := filepath.Glob(pattern)
	switch {
	case err != nil:
		r.found(at, "include", Refused, fmt.Errorf("%q is no pattern of names", pattern))
		return
	case len(paths) == 0 && !strings.ContainsAny(pattern, "*?["):
		paths = []string{pattern} // the error will name it
	case len(above) >= maxDepth:
		r.found(at, "include", Refused, fmt.Errorf("files include each other %d deep: include them from one file", maxDepth))
		return
	}
	for _, p := range paths {
		r.file(p, at, above)
	}
}

// shorten is a text as far as it is shown.
func shorten(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// name is a key as it is looked up: letter case does not count, and a dash is an
// underscore.
func name(key string) string { return strings.ReplaceAll(strings.ToLower(key), "-", "_") }
