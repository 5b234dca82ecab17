package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.db")
	if err := os.WriteFile(empty, []byte("this is not a database, however long one looks at it"), 0o600); err != nil {
		t.Fatal(err)
	}
	nothing := filepath.Join(t.TempDir(), "nothing.db")
	if err := os.WriteFile(nothing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args string
		code int
		says string // on standard error
	}{
		{"--version", exitOK, ""},
		{"version --json", exitOK, ""},
		{"help", exitOK, ""},
		{"", exitOK, ""},
		{"nonsense", exitUsage, `unknown command "nonsense"`},
		{"read", exitUsage, "requires at least 1 arg"},
		{"read --nonsense x", exitUsage, "unknown flag: --nonsense"},
		{"read --workers many x", exitUsage, "invalid argument"},
		{"read --json - --csv - x", exitUsage, "name a file for one of them"},
		{"calls", exitUsage, "no store named: give --db PATH"},
		{"calls --db x --json --csv", exitUsage, "choose one of"},
		{"calls --db x --status 99", exitUsage, "write 486, 4xx or 400-499"},
		{"calls --db x --outcome great", exitUsage, `outcome "great": not one of`},
		{"calls --db x --flag fast", exitUsage, `flag "fast": not one of one-way`},
		{"calls --db x --sensor 70000", exitUsage, `sensor "70000"`},
		{"calls --db /nonexistent/x.db", exitUnavailable, "/nonexistent/x.db"},
		{"calls --db " + empty, exitUnavailable, empty},
		{"events --db " + t.TempDir(), exitUnavailable, "it is a folder"},
		{"events --db " + nothing, exitUnavailable, "the file is empty"},
		{"peers --db x --number=", exitUsage, "the value is empty"},
		{"calls --db x --caller=", exitUsage, "the value is empty"},
		{"events --db x --call-id=", exitUsage, "--call-id: the value is empty"},
		{"events --db x --limit 0", exitUsage, "1 to 10000 lines"},
		{"events --db x --limit 10001", exitUsage, "1 to 10000 lines"},
		{"events --db x --count --json", exitUsage, "--count gives one number"},
		{"events --db x --count --limit 5", exitUsage, "--count gives one number"},
		{"calls --db x --keys", exitUsage, "add --json"},
		{"call --db x --keys 1", exitUsage, "add --json"},
		{"events --db x --width -1", exitUsage, "--width -1"},
		{"subscriptions --db /nonexistent/x.db --state unsolicited", exitUnavailable, "there is none yet"},
		{"call", exitUsage, "accepts 1 arg"},
		{"call x", exitUsage, "no store named"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, out, errs := run(t, strings.Fields(tc.args)...)
			if code != tc.code || !strings.Contains(errs, tc.says) {
				t.Errorf("exit %d, want %d; stderr %q, want %q in it", code, tc.code, errs, tc.says)
			}
			if code == exitOK && out == "" {
				t.Error("nothing on standard output")
			}
			if code != exitOK && out != "" {
				t.Errorf("an error, and standard output %q", out)
			}
		})
	}
}

func TestExitCodeOfErrors(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{errors.New("x"), exitFailure},
		{usage("x"), exitUsage},
		{fmt.Errorf("read: %w", coded{exitConfig, errors.New("x")}), exitConfig},
		{fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}), exitNoPerm},
	} {
		if got := exitCode(tc.err); got != tc.want {
			t.Errorf("%v: exit %d, want %d", tc.err, got, tc.want)
		}
	}
}

func TestVersion(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v0.3.1-pre"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123abcd"}, {Key: "vcs.time", Value: "2026-01-05T10:00:00Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	for _, tc := range []struct {
		name    string
		info    *debug.BuildInfo
		tag     string
		version string
		commit  string
	}{
		{"from build info", info, "", "v0.3.1-pre", "0123abcd"},
		{"tag wins", info, "v1.0.0", "v1.0.0", "0123abcd"},
		{"without a checkout", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "", "development", "unknown"},
		{"without build info", nil, "", "development", "unknown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := versionOf(tc.info, tc.tag)
			if v.Version != tc.version || v.Commit != tc.commit || v.Go == "" || v.Platform == "" {
				t.Errorf("got %+v", v)
			}
			var text, asJSON strings.Builder
			if err := errors.Join(writeVersion(&text, v, false), writeVersion(&asJSON, v, true)); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(text.String(), "ringside "+tc.version+"\ncommit    "+tc.commit) {
				t.Errorf("text %q", text.String())
			}
			var back Version
			if err := json.Unmarshal([]byte(asJSON.String()), &back); err != nil || back != v {
				t.Errorf("JSON %s: %v", asJSON.String(), err)
			}
		})
	}
}
