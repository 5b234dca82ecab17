package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// book is an audit in a directory of its own, with a clock.
type book struct {
	*Audit
	*clock
	t *testing.T
}

func newBook(t *testing.T, change func(*AuditOptions)) *book {
	t.Helper()
	c := newClock()
	o := AuditOptions{Dir: t.TempDir(), Now: c.now}
	if change != nil {
		change(&o)
	}
	a, err := OpenAudit(o)
	if err != nil {
		t.Fatal(err)
	}
	return &book{a, c, t}
}

func (b *book) write(n int) {
	b.t.Helper()
	for i := range n {
		b.add(time.Second)
		if err := b.Write(Entry{User: fmt.Sprint("user", i%3), Action: []string{"call.pcap", "call.audio", "login"}[i%3], Object: fmt.Sprint(i)}); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *book) verify() Verified {
	b.t.Helper()
	v, err := b.Verify(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *book) path() string { return filepath.Join(b.o.Dir, auditName(1)) }

func TestAuditChain(t *testing.T) {
	b := newBook(t, nil)
	b.write(10)
	if v := b.verify(); v.Entries != 10 || v.First != 1 || v.Last != 10 || len(v.Breaks) > 0 || len(v.Head) != 64 {
		t.Fatalf("verified: %+v", v)
	}
	whole, err := os.ReadFile(b.path())
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	join := func(part ...[]byte) []byte { return bytes.Join(part, nil) }
	for _, tc := range []struct {
		name    string
		content []byte
		line    int // of the first flaw
		why     string
	}{
		{"a word changed", bytes.Replace(whole, []byte(`"object":"4"`), []byte(`"object":"5"`), 1), 5, "hash is not that"},
		{"a hash changed", bytes.Replace(whole, lines[4][len(lines[4])-8:len(lines[4])-3], []byte("00000"), 1), 5, "hash is not that"},
		{"a line taken out", join(join(lines[:3]...), join(lines[4:]...)), 4, "it is entry 5, and the one before is 3"},
		{"lines swapped", join(lines[0], lines[2], lines[1], join(lines[3:]...)), 2, "it is entry 3, and the one before is 1"},
		{"a line twice", join(lines[0], join(lines...)), 2, "it is entry 1"},
		{"the first line taken out", join(lines[1:]...), 1, "named by entry 1"},
		{"something put in", join(lines[0], []byte("{}\n"), join(lines[1:]...)), 2, "hash is missing"},
		{"rubbish", join(lines[0], []byte("rubbish\n"), join(lines[1:]...)), 2, "not JSON"},
		{"a line changed, with its hash", join(lines[0], forge(t, lines[1]), join(lines[2:]...)), 3, "not the one that it names"},
		{"cut off", whole[:len(whole)-20], 10, "not finished"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if bytes.Equal(tc.content, whole) {
				t.Fatal("the case changes nothing")
			}
			if err := os.WriteFile(b.path(), tc.content, 0o600); err != nil {
				t.Fatal(err)
			}
			v := b.verify()
			if len(v.Breaks) == 0 || v.Breaks[0].Line != tc.line || !strings.Contains(v.Breaks[0].Why, tc.why) {
				t.Errorf("flaws %v, want line %d: %s", v.Breaks, tc.line, tc.why)
			}
		})
	}
}

// forge is a line that says something else, with the right hash.
func forge(t *testing.T, line []byte) []byte {
	t.Helper()
	other := newBook(t, nil)
	e, err := readLine(bytes.TrimSuffix(line, []byte("\n")))
	if err != nil {
		t.Fatal(err)
	}
	other.name, other.end = auditName(e.Seq), end{seq: e.Seq - 1, hash: e.Prev}
	e.User = "nobody"
	if err := other.line(&e); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(other.o.Dir, other.name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Entries survive a crash at any byte of the last line, and the list goes on.
func TestAuditCrash(t *testing.T) {
	b := newBook(t, nil)
	b.write(3)
	whole, err := os.ReadFile(b.path())
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for _, at := range []int{0, 1, 20, last - 1, last, last + 1, last + 60, len(whole) - 1} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			if err := os.WriteFile(b.path(), whole[:at], 0o600); err != nil {
				t.Fatal(err)
			}
			again := newBook(t, func(o *AuditOptions) { o.Dir = b.o.Dir })
			again.write(2)
			kept := bytes.Count(whole[:at], []byte("\n"))
			v := again.verify()
			want := uint64(kept + 2)
			if kept > 0 && whole[at-1] != '\n' {
				want++ // says what was cut off
			}
			if len(v.Breaks) > 0 || v.Entries != want || v.Last != want {
				t.Errorf("verified: %+v, want %d entries", v, want)
			}
		})
	}
}

// A last line that cannot be read stops nobody: the list goes on in a new file.
func TestAuditDamaged(t *testing.T) {
	b := newBook(t, nil)
	b.write(3)
	whole, _ := os.ReadFile(b.path())
	if err := os.WriteFile(b.path(), bytes.Replace(whole, []byte(`"object":"2"`), []byte(`"object":"9"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	again := newBook(t, func(o *AuditOptions) { o.Dir = b.o.Dir })
	again.write(2)
	v := again.verify()
	if len(v.Breaks) != 2 || v.Breaks[0].Line != 3 || v.Breaks[1].File != auditName(4) || v.Last != 6 {
		t.Errorf("verified: %+v", v)
	}
	page, err := again.Query(t.Context(), AuditFilter{Action: "audit"})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Action != "audit.damaged" {
		t.Errorf("entries %+v, %v", page.Entries, err)
	}
}

func TestAuditRotation(t *testing.T) {
	b := newBook(t, func(o *AuditOptions) { o.file = 1000 })
	b.write(50)
	files, err := b.files()
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	if v := b.verify(); v.Entries != 50 || len(v.Breaks) > 0 {
		t.Errorf("verified: %+v", v)
	}
	// A month later the next file begins, a year later the first ones go.
	b.add(32 * 24 * time.Hour)
	b.write(1)
	if now, _ := b.files(); now[len(now)-1].first != 51 {
		t.Errorf("last file %+v, want one that begins with entry 51", now[len(now)-1])
	}
	if err := os.Remove(filepath.Join(b.o.Dir, files[2].name)); err != nil {
		t.Fatal(err)
	}
	if v := b.verify(); len(v.Breaks) != 1 || v.Breaks[0].File != files[3].name {
		t.Errorf("a file taken out of the middle: %+v", v)
	}
}

func TestAuditRetention(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*AuditOptions)
		wait   time.Duration
	}{
		{"by age", func(o *AuditOptions) { o.file, o.Keep = 1000, 24*time.Hour }, 48 * time.Hour},
		{"by size", func(o *AuditOptions) { o.file, o.Bytes = 1000, 4000 }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBook(t, tc.change)
			b.t = t
			b.write(30)
			// Files are as old as the system's clock says.
			files, _ := b.files()
			for _, f := range files {
				if err := os.Chtimes(filepath.Join(b.o.Dir, f.name), b.now(), b.now()); err != nil {
					t.Fatal(err)
				}
			}
			b.name = "" // look again
			b.add(tc.wait)
			b.write(10)
			files, _ = b.files()
			if len(files) == 0 || files[0].first == 1 || len(files) > 8 {
				t.Errorf("files left: %+v", files)
			}
			v := b.verify()
			if len(v.Breaks) > 0 || v.First == 1 {
				t.Errorf("verified: %+v", v)
			}
			page, err := b.Query(t.Context(), AuditFilter{Action: "audit.removed"})
			if err != nil || len(page.Entries) == 0 {
				t.Errorf("nothing says that files were removed: %+v, %v", page, err)
			}
		})
	}
}

func TestAuditQuery(t *testing.T) {
	b := newBook(t, func(o *AuditOptions) { o.file = 2000 })
	begin := b.now()
	b.write(60)
	if err := b.Write(Entry{User: "eve", From: "192.0.2.1", Action: "call.pcap", Object: "<script>", Detail: "caller:+4930* \x1b[31m\xff", Outcome: Denied}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		f    AuditFilter
		n    int
	}{
		{"all", AuditFilter{Limit: 1000}, 61},
		{"default limit", AuditFilter{}, 61},
		{"user", AuditFilter{User: "user1"}, 20},
		{"action", AuditFilter{Action: "call.pcap"}, 21},
		{"kind of action", AuditFilter{Action: "call"}, 41},
		{"not the beginning of a word", AuditFilter{Action: "cal"}, 0},
		{"object", AuditFilter{Object: "7"}, 1},
		{"outcome", AuditFilter{Outcome: Denied}, 1},
		{"address", AuditFilter{Addr: "192.0.2.1"}, 1},
		{"text", AuditFilter{Text: "CALLER:+4930"}, 1},
		{"from", AuditFilter{From: begin.Add(51 * time.Second)}, 11},
		{"to", AuditFilter{To: begin.Add(11 * time.Second)}, 10},
		{"all together", AuditFilter{From: begin, To: begin.Add(time.Hour), User: "user0", Action: "call", Text: "user0"}, 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			page, err := b.Query(t.Context(), tc.f)
			if err != nil || len(page.Entries) != tc.n || page.Next != "" {
				t.Errorf("%d entries, next %q, %v; want %d", len(page.Entries), page.Next, err, tc.n)
			}
		})
	}
	var seqs []uint64
	for f := (AuditFilter{Limit: 7}); ; {
		page, err := b.Query(t.Context(), f)
		if err != nil || len(page.Entries) > 7 || len(page.Entries) == 0 {
			t.Fatalf("page of %d, %v", len(page.Entries), err)
		}
		for _, e := range page.Entries {
			seqs = append(seqs, e.Seq)
		}
		if f.Cursor = page.Next; f.Cursor == "" {
			break
		}
		b.write(1) // what comes meanwhile is on no further page
	}
	for i, seq := range seqs {
		if seq != uint64(61-i) {
			t.Fatalf("pages list %v", seqs)
		}
	}
	if len(seqs) != 61 {
		t.Errorf("pages list %d entries", len(seqs))
	}
	if _, err := b.Query(t.Context(), AuditFilter{Cursor: "x"}); !errors.Is(err, ErrAuditCursor) {
		t.Errorf("bad cursor: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Query(ctx, AuditFilter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits for the answer: %v", err)
	}
}

// What comes from the network is cut, and stays one line.
func TestAuditHostile(t *testing.T) {
	b := newBook(t, nil)
	long := strings.Repeat("é\n\",\"hash\":\"", 9999)
	if err := b.Write(Entry{User: long, Action: "x", Object: long, Detail: long + "\xff"}); err != nil {
		t.Fatal(err)
	}
	b.write(1)
	if v := b.verify(); v.Entries != 2 || len(v.Breaks) > 0 {
		t.Errorf("verified: %+v", v)
	}
	if raw, _ := os.ReadFile(b.path()); len(raw) > 8000 || bytes.Count(raw, []byte("\n")) != 2 {
		t.Errorf("%d bytes, %d lines", len(raw), bytes.Count(raw, []byte("\n")))
	}
}

func FuzzAuditLine(f *testing.F) {
	f.Add("user", "call.pcap", "detail \x00 \u2028 <>&")
	f.Add("\xff", "", `","hash":"`)
	dir := f.TempDir()
	a, err := OpenAudit(AuditOptions{Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, user, action, detail string) {
		a.name = auditName(1)
		defer os.Remove(filepath.Join(dir, a.name))
		a.size, a.end = 0, end{}
		if err := a.line(&Entry{User: user, Action: action, Detail: detail}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, a.name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readLine(bytes.TrimSuffix(b, []byte("\n"))); err != nil {
			t.Errorf("%q: %v", b, err)
		}
	})
}
