package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func rulesFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const someRules = `# ours
rule optout: header X-Privacy exists -> sip none
rule bad: mos < 4 or loss > 5% -> rtp full, lookback 30s
rule busy: status 486 -> rtp header
rule never: called 999 -> rtp full
default -> sip full
`

func TestRulesCheck(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	code, out, errs := run(t, "rules", "check", "--width", "80", rulesFile(t, someRules))
	if code != exitOK || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	golden(t, "rules-check.txt", out)
	fits(t, 80, out)
	// What it prints is a file of the same rules.
	if _, again, _ := run(t, "rules", "check", "--width", "80", rulesFile(t, out)); again != out {
		t.Errorf("read again:\n%s", again)
	}
	code, _, errs = run(t, "rules", "check", rulesFile(t, "rule a: -> rtp full\nrule b: -> rtp none\n"))
	if code != exitOK || !strings.Contains(errs, "warning: line 2: rule b is never asked") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestRulesErrors(t *testing.T) {
	one, two := rulesFile(t, "rule a: called 1*2 -> rtp full\n"), rulesFile(t, "x\nrule a: -> rtp all\n")
	db := storeOf(t, answeredCall())
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"rules", exitUsage, "check or try"},
		{"rules check " + one, exitConfig, one + ": line 1, column 16: '*' stands"},
		{"rules check " + two, exitConfig, two + ": line 2, column 16"},
		{"rules check " + two, exitConfig, two + ": 2 errors"},
		{"rules check nowhere.txt", exitFailure, "nowhere.txt"},
		{"rules try " + one + " --db " + db, exitConfig, "column 16"},
		{"rules try " + rulesFile(t, "") + " --db " + db + " --domain=", exitUsage, "empty"},
		{"rules try " + rulesFile(t, ""), exitUsage, "give --db PATH"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			if code, out, errs := run(t, strings.Fields(tc.args)...); code != tc.code || out != "" || !strings.Contains(errs, tc.says) {
				t.Errorf("exit %d, want %d: %s%s", code, tc.code, out, errs)
			}
		})
	}
}

func TestRulesTry(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	path, db := rulesFile(t, someRules), sampleStore(t)
	code, out, errs := run(t, "rules", "try", "--width", "80", path, "--db", db)
	if code != exitOK || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	golden(t, "rules-try.txt", out)
	if _, out, _ = run(t, "rules", "try", path, "--db", db, "--limit", "2"); !strings.Contains(out, "of more, the newest 2 calls") {
		t.Errorf("with a limit:\n%s", out)
	}
	if _, out, _ = run(t, "rules", "try", path, "--db", db, "--limit", "7"); strings.Contains(out, "of more") {
		t.Errorf("with a limit that is not reached:\n%s", out)
	}
	_, out, _ = run(t, "rules", "try", path, "--db", db, "--json", "--examples", "1", "--caller", "1001")
	var got trial
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	busy := got.Rules[2]
	if got.Calls != 1 || len(got.Rules) != 5 || busy.Rule != "busy" || busy.Calls != 1 || len(busy.Examples) != 1 || busy.Bytes != 340*messageBytes ||
		got.Rules[4].Rule != "default" || got.Unknown["rule optout: header x-privacy exists"] != 1 {
		t.Errorf("%+v", got)
	}
}
