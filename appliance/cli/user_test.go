package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringside/appliance/auth"
)

// typed is one command line with a password on standard input.
func typed(t *testing.T, password string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(password), &out, &errs)
	return code, out.String(), errs.String()
}

// A story of commands, each with what it says.
func TestUserCommands(t *testing.T) {
	state := t.TempDir()
	var token string
	for _, tc := range []struct {
		name, password, args string
		code                 int
		want                 string // on standard output, or on standard error where the code is not 0
	}{
		{"nothing there", "", "user list", exitUnavailable, "user add"},
		{"no role", "x\n", "user add anna", exitUsage, "--role viewer"},
		{"no password", "", "user add anna --role admin", exitUsage, "line of standard input"},
		{"first is no admin", "correct horse battery\n", "user add anna --role viewer", exitFailure, "must be that of an admin"},
		{"weak password", "1234\n", "user add anna --role admin", exitFailure, "at least 10 characters"},
		{"first", "correct horse battery\n", "user add anna --role admin,listener", exitOK, "user anna: listener, admin, sees everything"},
		{"scoped", "", "user add berlin --role analyst --prefix +4930 --net 10.30.0.0/16,192.0.2.1 --sensor 3 --generate", exitOK, "sensors [3] prefixes [+4930] nets [10.30.0.0/16 192.0.2.1/32]\npassword: "},
		{"bad network", "", "user add x --role viewer --net ten --generate", exitUsage, "10.1.0.0/16"},
		{"list", "", "user list", exitOK, "must change password"},
		{"disable", "", "user disable berlin", exitOK, ""},
		{"disable the last admin", "", "user disable anna", exitFailure, "last admin"},
		{"list again", "", "user list --json", exitOK, `"disabled":true`},
		{"enable", "", "user enable berlin", exitOK, ""},
		{"change nothing", "", "user change berlin", exitUsage, "say what to change"},
		{"change both", "", "user change berlin --all --sensor 3", exitUsage, "--all goes with none"},
		{"change", "", "user change berlin --role viewer --all", exitOK, "user berlin: viewer, sees everything"},
		{"password of nobody", "x\n", "user passwd nobody", exitFailure, "not found"},
		{"password", "another horse battery\n", "user passwd berlin", exitOK, ""},
		{"token of too much", "", "user token berlin --for report --can packets:read", exitFailure, "berlin does not have packets:read"},
		{"token", "", "user token berlin --for report --can calls:read,stats:read --sensor 3", exitOK, "rst_"},
		{"tokens", "", "user tokens berlin", exitOK, "report"},
		{"revoke nothing", "", "user revoke 0000", exitFailure, "not found"},
		{"revoke", "", "user revoke TOKEN", exitOK, ""},
		{"delete", "", "user delete berlin", exitOK, ""},
		{"audit", "", "user audit --action user.delete", exitOK, "berlin"},
		{"verify", "", "user audit --verify", exitOK, "are whole"},
	} {
		args := append(strings.Fields(strings.ReplaceAll(tc.args, "TOKEN", token)), "--state", state)
		code, out, errs := typed(t, tc.password, args...)
		said := out
		if tc.code != exitOK {
			said = errs
		}
		if code != tc.code || !strings.Contains(said, tc.want) {
			t.Fatalf("%s: exit %d, stdout %q, stderr %q; want %d and %q", tc.name, code, out, errs, tc.code, tc.want)
		}
		if strings.HasPrefix(out, "rst_") {
			token = strings.Split(out, "_")[1]
		}
	}
	log := filepath.Join(auth.Dir(state), "audit", "audit-000000000001.jsonl")
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var first auth.Entry
	if err := json.Unmarshal(bytes.SplitN(b, []byte("\n"), 2)[0], &first); err != nil || first.Via != "local" || first.User == "" {
		t.Errorf("first entry %+v, %v: it does not say who ran the command", first, err)
	}
	if err := os.WriteFile(log, bytes.Replace(b, []byte("berlin"), []byte("munich"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := typed(t, "", "user", "audit", "--verify", "--state", state); code != exitFailure || !strings.Contains(out, "hash is not that") || !strings.Contains(errs, "1 place") {
		t.Errorf("verify a changed audit: exit %d, %q, %q", code, out, errs)
	}
}
