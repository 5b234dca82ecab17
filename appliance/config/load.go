package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Verdict is what is said of a line.
type Verdict string

// Verdicts.
const (
	Set          Verdict = "set"           // a key of ringside's own, or one that both have
	Mapped       Verdict = "mapped"        // VoIPmonitor's, taken for one of ringside's
	NotNeeded    Verdict = "not needed"    // VoIPmonitor's; ringside does it anyway, or in another way
	NotSupported Verdict = "not supported" // VoIPmonitor's; it has no effect here
	Warning      Verdict = "warning"       // it works, and can hardly be meant
	Refused      Verdict = "refused"       // the configuration is wrong
)

// Finding is what is said of one line, or of what several lines come to.
type Finding struct {
	File    string  `json:"file,omitempty"` // empty: of no line
	Line    int     `json:"line,omitempty"` // 0: of the whole file
	Key     string  `json:"key,omitempty"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// Place is where a finding belongs: FILE:LINE, or as much of it as there is.
func (f Finding) Place() string {
	if f.Line == 0 {
		return cmp.Or(f.File, "configuration")
	}
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}

// String is the finding in one line, as the log has it.
func (f Finding) String() string {
	s := f.Place() + ": "
	if f.Key != "" {
		s += f.Key + ": "
	}
	switch f.Verdict {
	case Refused, Set, Mapped:
	default:
		s += string(f.Verdict) + ": "
	}
	return s + f.Text
}

// Report is what Load has found: something for each line that says anything, in
// the order of the lines.
type Report struct {
	Files    []string  `json:"files"` // that were read, in their order
	Findings []Finding `json:"findings"`
}

// Count is how many findings have a verdict.
func (r *Report) Count(v Verdict) int {
	n := 0
	for _, f := range r.Findings {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// Noteworthy are the findings that a log should have: what is refused, not
// supported, or can hardly be meant.
func (r *Report) Noteworthy() []Finding {
	var out []Finding
	for _, f := range r.Findings {
		if f.Verdict == Refused || f.Verdict == NotSupported || f.Verdict == Warning {
			out = append(out, f)
		}
	}
	return out
}

// Error is why a configuration is refused: everything that is wrong with it.
type Error struct{ Findings []Finding }

// Error has a line for each thing that is wrong.
func (e *Error) Error() string {
	out := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		out[i] = f.String()
	}
	return strings.Join(out, "\n")
}

// LoadOptions are what Load asks of others.
type LoadOptions struct {
	// Check says what is wrong with the value of a key that only others
	// understand, by the name of the key: filter, calls_timeouts, event_types_off,
	// rules. It is not called for a value that is empty.
	Check map[string]func(value string) error

	// Credentials is a directory with secrets in files that are named like their
	// keys, as systemd makes one ($CREDENTIALS_DIRECTORY). Empty: there is none.
	Credentials string

	// Volume is how many bytes the volume of a directory has. nil: quotas are not
	// compared with their volumes.
	Volume func(dir string) (int64, error)
}

// VolumeSize is the size of the volume that a directory is on.
func VolumeSize(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("ask for the volume of %s: %w", dir, err)
	}
	return int64(s.Blocks) * s.Bsize, nil
}

// maxRefused is after how many errors nobody wants to read more of them.
const maxRefused = 100

// loading is one Load.
type loading struct {
	config  *Config
	options LoadOptions
	report  Report
	begun   map[string]bool // lists that this configuration has begun anew
	theirs  bool            // it has keys that only VoIPmonitor has
	refused int             // findings
}

// Load reads a configuration, checks that it holds together, and says of every
// line what it comes to. If anything is wrong with it there is no Config, and
// the error is an *Error.
func Load(path string, o LoadOptions) (*Config, Report, error) {
	l := &loading{config: Default(), options: o, begun: map[string]bool{}}
	r := reader{found: func(at origin, key string, v Verdict, err error) { l.say(at, key, v, err.Error()) }}
	r.readAll(path)
	l.report.Files = r.files
	for _, n := range r.lines {
		if l.refused >= maxRefused {
			l.say(n.origin, "", Refused, "too much is wrong to read on: is it the right file?")
			break
		}
		l.line(n)
	}
	l.credentials()
	l.check()
	l.sort()
	var wrong []Finding
	for _, f := range l.report.Findings {
		if f.Verdict == Refused {
			wrong = append(wrong, f)
		}
	}
	if wrong != nil {
		return nil, l.report, &Error{wrong}
	}
	return l.config, l.report, nil
}

func (l *loading) say(at origin, key string, v Verdict, text string) {
	if v == Refused {
		l.refused++
	}
	text = printable(strings.ReplaceAll(text, "\n", "; ")) // values are shown, and end up in logs
	l.report.Findings = append(l.report.Findings, Finding{at.file, at.line, printable(key), v, text})
}

// sort puts the findings into the order of the lines; what is said of a whole
// file comes after its lines, what is said of none goes last.
func (l *loading) sort() {
	order := map[string]int{}
	for i, f := range l.report.Files {
		order[f] = i + 1
	}
	rank := func(f Finding) int {
		if n := order[f.File]; n > 0 {
			return n
		}
		return len(order) + 1
	}
	slices.SortStableFunc(l.report.Findings, func(a, b Finding) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(uint(a.Line-1), uint(b.Line-1))) // 0 is beyond all lines
	})
}

// line takes one line for a key of ours, a file with a secret, or a key of
// VoIPmonitor.
func (l *loading) line(n line) {
	if k := names()[name(n.key)]; k != nil {
		l.own(n, k)
		return
	}
	if base, ok := strings.CutSuffix(name(n.key), "_file"); ok {
		if k := names()[base]; k != nil && k.Secret {
			l.secretFile(n, k)
			return
		}
	}
	if f, ok := foreign()[name(n.key)]; ok {
		l.foreign(n, f)
		return
	}
	text := "there is no such key"
	if near := nearest(n.key); near != "" {
		text += fmt.Sprintf(": did you mean %s?", near)
	} else {
		text += `: "ringside check-config --keys" lists those that there are`
	}
	l.say(n.origin, n.key, Refused, text)
}

// own sets a key of ours.
func (l *loading) own(n line, k *Key) {
	text, err := l.set(n.origin, k, n.value)
	if err != nil {
		l.say(n.origin, n.key, Refused, err.Error())
		return
	}
	verdict := Set
	f, theirs := foreign()[name(n.key)]
	if name(n.key) != name(k.Name) {
		text = k.Name + " = " + text
		if theirs {
			verdict = Mapped
		}
	}
	text += f.remark()
	l.say(n.origin, n.key, verdict, text)
}

// set puts a value into the field of a key, and says how it was understood. Of
// a list, which may be long, it looks at the value of this line only.
func (l *loading) set(at origin, k *Key, text string) (string, error) {
	v := k.field(l.config)
	if text == "" && !v.bare {
		return "", fmt.Errorf("there is no value: write %s, or leave the line out", v.what)
	}
	said := v
	if v.clear != nil {
		said = k.field(new(Config))
		if err := said.set(text); err != nil {
			return "", err
		}
		if !l.begun[k.Name] {
			v.clear()
			l.begun[k.Name] = true
		}
	}
	if err := v.set(text); err != nil {
		return "", err
	}
	if check := l.options.Check[k.Name]; check != nil && said.text() != "" {
		if err := check(said.text()); err != nil {
			return "", err
		}
	}
	before, known := l.config.origins[k.Name]
	l.config.origins[k.Name] = at
	out := k.shown(said)
	if out == "" {
		out = "nothing"
	}
	if known && v.clear == nil {
		place := Finding{File: before.file, Line: before.line}.Place()
		if before.file == at.file {
			place = fmt.Sprintf("line %d", before.line)
		}
		out += fmt.Sprintf(" (instead of that of %s)", place)
	}
	return out, nil
}

// maxSecret is how long a secret may be.
const maxSecret = 4 << 10

// secretFile takes a secret from the file that a line names.
func (l *loading) secretFile(n line, k *Key) {
	path := n.value
	if path == "" {
		l.say(n.origin, n.key, Refused, "name a file")
		return
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(n.file), path)
	}
	text, err := readSecret(path)
	if err == nil {
		_, err = l.set(n.origin, k, text)
	}
	if err != nil {
		l.say(n.origin, n.key, Refused, err.Error())
		return
	}
	l.say(n.origin, n.key, Set, k.Name+" = (set)")
	l.readable(n.origin, n.key, path)
}

// readSecret is the first line of a file.
func readSecret(path string) (string, error) {
	text, err := readText(path)
	if err != nil {
		return "", errors.New(strings.Replace(err.Error(), "read configuration", "read the secret", 1))
	}
	s, _, _ := strings.Cut(string(text), "\n")
	s = strings.TrimSuffix(s, "\r")
	switch {
	case s == "":
		return "", fmt.Errorf("read the secret %s: its first line is empty", path)
	case len(s) > maxSecret:
		return "", fmt.Errorf("read the secret %s: its first line is longer than %d bytes: is it the right file?", path, maxSecret)
	}
	return s, nil
}

// credentials takes the secrets that nobody has set from the files that systemd
// made of them.
func (l *loading) credentials() {
	if l.options.Credentials == "" {
		return
	}
	keys := table()
	for i := range keys {
		k := &keys[i]
		if _, set := l.config.origins[k.Name]; !k.Secret || set {
			continue
		}
		path := filepath.Join(l.options.Credentials, k.Name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		at := origin{file: path}
		text, err := readSecret(path)
		if err == nil {
			_, err = l.set(at, k, text)
		}
		if err != nil {
			l.say(at, k.Name, Refused, err.Error())
			continue
		}
		l.say(at, k.Name, Set, "(set)")
	}
}

// readable warns of a file with a secret that everybody can read.
func (l *loading) readable(at origin, key, path string) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
		l.say(at, key, Warning, fmt.Sprintf("everybody on this machine can read %s: chmod 0640 %s", path, path))
	}
}
