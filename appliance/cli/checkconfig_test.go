package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"ringside/appliance/config"
)

// written makes a file that only its owner reads.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckConfig(t *testing.T) {
	rules := written(t, "rules", "default -> sip full, rtp none\n")
	broken := written(t, "rules", "what\n")
	for _, tc := range []struct {
		name, text string
		code       int
		says       string // on standard output
	}{
		{"empty", "", exitOK, "The configuration is accepted"},
		{"fine", "spooldir = none\nqueue = /q\nlog_level = debug\n", exitOK, ":3: log_level: set: debug\nThe configuration is accepted: 3 set."},
		{"unknown", "log_levle = debug\n", exitConfig, ":1: log_levle: refused: there is no such key: did you mean log_level?"},
		{"filter", "filter = port port\n", exitConfig, ":1: filter: refused: "},
		{"timers", "calls_timeouts = inv_what=5s\n", exitConfig, ":1: calls_timeouts: refused: parse timeout: no state"},
		{"events", "event_types_off = other-ok,sub-what\n", exitConfig, `:1: event_types_off: refused: parse event "sub-what"`},
		{"rules", "rules = " + rules + "\n", exitOK, ":1: rules: set: "},
		{"no rules", "rules = /nonexistent/rules\n", exitConfig, ":1: rules: refused: open /nonexistent/rules"},
		{"broken rules", "rules = " + broken + "\n", exitConfig, ":1: rules: refused: "},
		{"voipmonitor", "spooldir = none\nhep = no\ntar = yes\nsqldriver = none\ncleandatabase = 0\n", exitOK, ":2: hep: not needed: it is off"},
		{"escapes", "name_sensor = \x1b[2J\n", exitOK, ":1: name_sensor: set: ?[2J"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := written(t, "ringside.conf", tc.text)
			code, stdout, stderr := run(t, "check-config", path)
			if code != tc.code || !strings.Contains(stdout, tc.says) {
				t.Errorf("exit %d, want %d, with %q:\n%s%s", code, tc.code, tc.says, stdout, stderr)
			}
			if (code == exitConfig) != strings.Contains(stderr, "check configuration "+path+": 1 error") {
				t.Errorf("it ends with %q", stderr)
			}
		})
	}
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"check-config /nonexistent.conf", exitConfig, "1 error"},
		{"check-config a b", exitUsage, "accepts at most 1 arg"},
		{"check-config --keys a", exitUsage, "leave out the file"},
	} {
		if code, _, stderr := run(t, strings.Fields(tc.args)...); code != tc.code || !strings.Contains(stderr, tc.says) {
			t.Errorf("%s: exit %d: %s", tc.args, code, stderr)
		}
	}
}

func TestCheckConfigJSON(t *testing.T) {
	path := written(t, "voipmonitor.conf", "interface = eth1\nmysqlpassword = hush\npcapcommand = rm\nwhat = 5\n")
	code, stdout, _ := run(t, "check-config", "--json", path)
	var got struct {
		OK       bool
		Files    []string
		Findings []config.Finding
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if code != exitConfig || got.OK || len(got.Files) != 1 || strings.Contains(stdout, "hush") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	verdicts := map[string]config.Verdict{}
	for _, f := range got.Findings {
		if f.Line > 0 {
			verdicts[f.Key] = f.Verdict
		}
	}
	for key, want := range map[string]config.Verdict{"interface": config.Set, "mysqlpassword": config.Set, "pcapcommand": config.NotSupported, "what": config.Refused} {
		if verdicts[key] != want {
			t.Errorf("%s is %q, want %q", key, verdicts[key], want)
		}
	}
	_, brief, _ := run(t, "check-config", "--brief", path)
	if strings.Contains(brief, "interface") || !strings.Contains(brief, "pcapcommand: not supported") {
		t.Errorf("brief is\n%s", brief)
	}
}

func TestCheckConfigKeys(t *testing.T) {
	_, stdout, _ := run(t, "check-config", "--keys")
	for _, want := range []string{"\nSpool\n", "  ringbuffer ", "  64MiB\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	_, stdout, _ = run(t, "check-config", "--keys", "--json")
	var keys []config.Key
	if err := json.Unmarshal([]byte(stdout), &keys); err != nil || len(keys) != len(config.Keys()) || keys[0].Name == "" {
		t.Errorf("%v: %d keys", err, len(keys))
	}
}

// Whatever a flag of run can say, a configuration can.
func TestEveryFlagIsAKey(t *testing.T) {
	not := map[string]string{
		"config": "it names the configuration",
		"quiet":  "a service has no progress and no summary",
		"help":   "it is of the command line",
	}
	newRun(new(style)).Flags().VisitAll(func(f *pflag.Flag) {
		switch k := config.Find(f.Name); {
		case k == nil && not[f.Name] == "" && !f.Hidden:
			t.Errorf("no key says what --%s does", f.Name)
		case k != nil && not[f.Name] != "":
			t.Errorf("--%s is a key after all", f.Name)
		}
	})
}

// Whatever a configuration says, somebody reads: with another value of a key, run
// does something else.
func TestEveryKeyIsRead(t *testing.T) {
	with := map[string]string{ // lines that a key means nothing without
		"mysqlsslcert": "mysqlhost = db\nmysqlsslcert = /cert\nmysqlsslkey = /key\n",
		"mysqlsslkey":  "mysqlhost = db\nmysqlsslcert = /cert\nmysqlsslkey = /key\n",
		"tls_cert":     "tls_cert = /cert\ntls_key = /key\n",
		"tls_key":      "tls_cert = /cert\ntls_key = /key\n",
		"managerip":    "managerport = 5029\n",
		"export_keys":  "export_json = /records\n",
		"steer":        "dedicated = yes\n",
	}
	values := map[string]string{
		"id_sensor": "7", "name_sensor": "fra", "interface": "eth1", "sipport": "5070", "rtpport": "5000-6000",
		"interface_ip_filter": "10.0.0.0/8", "interface_ip_deny": "10.0.0.0/8", "filter": "udp", "steer": "cpu", "xdp": "none",
		"meter": "user", "udp_port_vxlan": "4790", "deduplicate": "on", "calls_timeouts": "inv_neg=1m", "matchheader": "X-Id",
		"natalias": "10.0.0.1=10.0.0.2", "event_types_off": "other-ok", "keylog": "/keys", "rsa_key": "/keys",
		"savesip": "header", "savertp": "header", "save-sip-register": "header", "sqldriver": "none", "mysqltls": "yes",
		"listen": "127.0.0.1:81", "trusted_proxies": "10.0.0.1", "session_max": "2d", "managerip": "::1", "log_level": "debug", "mysqlport": "3307",
	}
	not := map[string]string{
		"max_buffer_mem": "the configuration adds up by itself what it bounds",
		"name_sensor":    "the daemon has no use for it yet",
		"log_level":      "the daemon's log has no levels yet",
		"log_redact":     "the daemon's log has no numbers and Call-IDs",
	}
	read := func(text string) (f runFlags) {
		t.Helper()
		c, _, err := config.Load(written(t, "ringside.conf", text), config.LoadOptions{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if err := f.take(c, func(string) bool { return false }); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return f
	}
	rules := written(t, "rules", "default -> sip none\n")
	for _, k := range config.Keys() {
		value, before := values[k.Name], ""
		switch {
		case value != "":
		case k.Name == "rules":
			value = rules
		case strings.HasPrefix(k.What, "yes"):
			value = map[string]string{"yes": "no", "no": "yes"}[k.Default]
		case strings.Contains(k.What, "size"):
			value = "256MiB"
		case strings.Contains(k.What, "path"):
			value = "/elsewhere"
		case strings.Contains(k.What, "time,"):
			value = "77s"
			if k.Name == "deduplicate_window" {
				value = "7ms"
			}
		case strings.Contains(k.What, "number"):
			value = "17"
		default:
			value = "other"
		}
		switch {
		case with[k.Name] != "":
			before = with[k.Name]
		case strings.HasSuffix(k.Name, "_2") && k.Name != "spooldir_2":
			before = "spooldir_2 = /cold\n"
		case strings.HasPrefix(k.Name, "mysql") && k.Name != "mysqlhost" && k.Name != "mysqlsocket":
			before = "mysqlhost = db\n"
		}
		if reflect.DeepEqual(read(before), read(before+k.Name+" = "+value+"\n")) && not[k.Name] == "" {
			t.Errorf("nobody reads %s = %s", k.Name, value)
		}
	}
}
