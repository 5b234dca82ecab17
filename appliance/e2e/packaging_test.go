package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// runProgram runs a program and returns what it said.
func runProgram(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// buildDeb makes a package as "make deb" does, of a program that is built here, and
// returns its path.
func buildDeb(t *testing.T, dir, version string) string {
	t.Helper()
	program := filepath.Join(dir, "ringside")
	runProgram(t, []string{"CGO_ENABLED=0"}, "go", "build", "-ldflags", "-s -w", "-o", program, "../cmd/ringside")
	arch := strings.TrimSpace(runProgram(t, nil, "dpkg", "--print-architecture"))
	runProgram(t, []string{"BINARY=" + program, "COMPRESS=none"}, "../packaging/deb.sh", dir, version, arch)
	return filepath.Join(dir, "ringside_"+version+"_"+arch+".deb")
}

// another makes a package of another version out of one, with a change of its own.
func another(t *testing.T, deb, to, version string, change func(root string)) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	runProgram(t, nil, "dpkg-deb", "-R", deb, root)
	if err := os.Rename(filepath.Join(root, "usr/lib/ringside/releases/1.0.0"), filepath.Join(root, "usr/lib/ringside/releases", version)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"control", "postinst", "preinst", "md5sums"} {
		path := filepath.Join(root, "DEBIAN", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		i, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "1.0.0", version)), i.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	change(filepath.Join(root, "usr/lib/ringside/releases", version, "ringside"))
	runProgram(t, nil, "dpkg-deb", "--root-owner-group", "-Znone", "-b", root, to)
}

// The package is installed, upgraded, rolled back, removed and purged on a root of
// its own; what is wrong with a release or a configuration stops neither dpkg nor the
// release that ran; nothing but recordings is left.
func TestPackage(t *testing.T) {
	if testing.Short() {
		t.Skip("builds packages")
	}
	t.Parallel()
	for _, program := range []string{"dpkg-deb", "unshare", "systemd-sysusers", "deb-systemd-helper"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	dir := t.TempDir()
	deb := buildDeb(t, dir, "1.0.0")
	t.Run("contents", func(t *testing.T) { checkContents(t, deb) })
	t.Run("lintian", func(t *testing.T) {
		if _, err := exec.LookPath("lintian"); err != nil {
			t.Skip("lintian is not installed")
		}
		// Without compression it is another package than that which is shipped.
		runProgram(t, nil, "lintian", "--allow-root", "--fail-on", "error,warning",
			"--suppress-tags", "malformed-deb-archive,uses-no-compression-for-data-tarball,uses-no-compression-for-control-tarball", deb)
	})
	t.Run("life", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("mounts a root of its own: run as root")
		}
		debs := t.TempDir()
		if err := os.Rename(deb, filepath.Join(debs, "1.0.0.deb")); err != nil {
			t.Fatal(err)
		}
		deb = filepath.Join(debs, "1.0.0.deb")
		another(t, deb, filepath.Join(debs, "1.1.0.deb"), "1.1.0", func(string) {})
		another(t, deb, filepath.Join(debs, "broken.deb"), "1.2.0", func(program string) {
			if err := os.WriteFile(program, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		})
		out := runProgram(t, nil, "unshare", "-m", "../packaging/lifecycle.sh", debs)
		if strings.Contains(out, "SKIP") {
			t.Skip(out)
		}
		if !strings.Contains(out, "== done") {
			t.Errorf("it did not come to its end:\n%s", out)
		}
	})
}

// checkContents looks for what conventions want in the package.
func checkContents(t *testing.T, deb string) {
	list := runProgram(t, nil, "dpkg-deb", "-c", deb)
	for _, path := range []string{
		"usr/lib/ringside/releases/1.0.0/ringside", "usr/lib/systemd/system/ringside.service",
		"usr/lib/sysusers.d/ringside.conf", "usr/lib/tmpfiles.d/ringside.conf", "etc/ringside/ringside.conf",
		"usr/share/man/man8/ringside.8.gz", "usr/share/man/man8/ringside-run.8.gz", "usr/share/man/man5/ringside.conf.5.gz",
		"usr/share/bash-completion/completions/ringside", "usr/share/zsh/vendor-completions/_ringside",
		"usr/share/fish/vendor_completions.d/ringside.fish", "usr/share/ringside/openapi.json",
		"usr/share/ringside/grafana/ringside-health.json", "usr/share/ringside/prometheus/ringside.rules.yml",
		"usr/share/ringside/schema/0001_calls.sql", "usr/share/doc/ringside/copyright", "usr/share/doc/ringside/NOTICE",
		"usr/share/doc/ringside/changelog.gz",
	} {
		if !strings.Contains(list, " ./"+path+"\n") {
			t.Errorf("the package lacks %s", path)
		}
	}
	if foreign := regexp.MustCompile(`(?m)^\S+ (?:[^r]|r[^o]).*$`).FindString(list); foreign != "" {
		t.Errorf("not of root: %s", foreign)
	}
	root := t.TempDir()
	runProgram(t, nil, "dpkg-deb", "-x", deb, root)
	notice, err := os.ReadFile(filepath.Join(root, "usr/share/doc/ringside/NOTICE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"github.com/spf13/cobra", "modernc.org/sqlite", "github.com/go-sql-driver/mysql", "github.com/prometheus/client_golang", "======== Go go"} {
		if !strings.Contains(string(notice), module) {
			t.Errorf("NOTICE lacks the licence of %s", module)
		}
	}
}
