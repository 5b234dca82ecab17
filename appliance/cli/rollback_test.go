package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// world is an installation of two releases, of which "2" runs.
func world(t *testing.T) releases {
	t.Helper()
	root := t.TempDir()
	r := releases{filepath.Join(root, "lib/releases"), filepath.Join(root, "bin/ringside"), filepath.Join(root, "lib/previous")}
	for _, version := range []string{"1", "2"} {
		dir := filepath.Join(r.dir, version)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ringside"), []byte("#!/bin/sh\necho \"$0 $*\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Dir(r.link), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{r.link: "../lib/releases/2/ringside", r.previous: "releases/1"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func runs(t *testing.T, r releases) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(r.link)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(filepath.Dir(path))
}

func TestRollback(t *testing.T) {
	r := world(t)
	fine := func(string) error { return nil }
	for _, want := range []string{"1", "2", "1"} { // back, forward, back
		_, to, err := r.rollback(fine)
		if err != nil {
			t.Fatal(err)
		}
		if to != want || runs(t, r) != want {
			t.Fatalf("says %s, runs %s, want %s", to, runs(t, r), want)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(r.link), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the link there is %v (%v)", left, err)
	}
}

// Whatever is wrong, what runs goes on to run.
func TestRollbackRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(t *testing.T, r releases) error
		says string
		code int
	}{
		{"no release before", func(t *testing.T, r releases) error { return os.Remove(r.previous) }, "no release before", exitUnavailable},
		{"its program is gone", func(t *testing.T, r releases) error { return os.RemoveAll(filepath.Join(r.dir, "1")) }, "install the package", exitFailure},
		{"its program is none", func(t *testing.T, r releases) error { return os.Chmod(filepath.Join(r.dir, "1", "ringside"), 0o644) }, "is no program", exitFailure},
		{"it is the one that runs", func(t *testing.T, r releases) error { return point(r.previous, filepath.Join(r.dir, "2")) }, "runs already", exitUnavailable},
		{"it does not work", func(*testing.T, releases) error { return nil }, "made up: 2 stays", exitFailure},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := world(t)
			if err := tc.do(t, r); err != nil {
				t.Fatal(err)
			}
			_, _, err := r.rollback(func(string) error { return errors.New("made up") })
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want one with %q", err, tc.says)
			} else if exitCode(err) != tc.code {
				t.Errorf("exit code %d, want %d", exitCode(err), tc.code)
			}
			if now := runs(t, r); now != "2" {
				t.Errorf("%s runs", now)
			}
		})
	}
	t.Run("not of a package", func(t *testing.T) {
		r := world(t)
		r.link = filepath.Join(r.dir, "2", "ringside")
		if _, _, err := r.rollback(nil); err == nil || !strings.Contains(err.Error(), "not installed by the package") {
			t.Errorf("error %v", err)
		}
	})
}

func TestTryRelease(t *testing.T) {
	for _, tc := range []struct{ name, script, says string }{
		{"fine", "exit 0", ""},
		{"does not start", "echo no such thing >&2; exit 3", "no such thing"},
		{"refuses the configuration", `case "$1" in check-config) echo "bad line"; exit 78;; esac`, "bad line"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "ringside")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+tc.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			err := tryRelease(t.Context(), program, "/nowhere.conf")
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("error %v, want one with %q", err, tc.says)
			}
		})
	}
}

// There is a manual page for every command that people see, and one of the
// configuration; and the default configuration is accepted.
func TestManuals(t *testing.T) {
	dir := t.TempDir()
	root := newRoot(new(bool))
	if err := writeManuals(root, dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range root.Commands() {
		if c.Hidden || !c.IsAvailableCommand() {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "ringside-"+c.Name()+".8")); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{"ringside.8": ".SH", "ringside.conf.5": ".TH RINGSIDE.CONF 5", "ringside-run.8": "interface"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %q", name, want)
		}
	}
	if _, _, err := loadConfig(filepath.Join(dir, "ringside.conf")); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
}
