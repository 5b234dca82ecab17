package config

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata and docs anew")

// write makes a configuration of files, and gives the path of the first.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "ringside.conf")
}

func load(t *testing.T, text string, o LoadOptions) (*Config, Report, error) {
	t.Helper()
	return Load(write(t, map[string]string{"ringside.conf": text}), o)
}

// mustLoad loads what must be fine.
func mustLoad(t *testing.T, text string) *Config {
	t.Helper()
	c, _, err := load(t, text, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wrong is what is said of a configuration that is refused, a line each.
func wrong(err error) []string {
	bad := (*Error)(nil)
	if !errors.As(err, &bad) {
		return nil
	}
	var out []string
	for _, f := range bad.Findings {
		out = append(out, fmt.Sprintf("%s:%d: %s: %s", filepath.Base(f.File), f.Line, f.Key, f.Text))
	}
	return out
}

func TestEmptyIsDefault(t *testing.T) {
	c, r, err := load(t, "\ufeff# nothing\r\n; but comments\n\n[General]\n", LoadOptions{})
	if err != nil || len(r.Findings) != 0 || len(r.Files) != 1 {
		t.Fatalf("%v, %+v", err, r)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("got  %+v\nwant %+v", c, Default())
	}
}

// Every kind of value, as people write it, and where it ends up.
func TestValues(t *testing.T) {
	for _, tc := range []struct {
		text string
		get  func(*Config) any
		want any
	}{
		{"interface = eth1", func(c *Config) any { return c.Capture.Interfaces }, []string{"eth1"}},
		{"interface = eth1, eth2;eth3\ninterface=eth4", func(c *Config) any { return c.Capture.Interfaces }, []string{"eth1", "eth2", "eth3", "eth4"}},
		{"Interface = eth1\n", func(c *Config) any { return c.Capture.Interfaces }, []string{"eth1"}},
		{"dedicated = 1", func(c *Config) any { return c.Capture.Dedicated }, true},
		{"dedicated = TRUE", func(c *Config) any { return c.Capture.Dedicated }, true},
		{"dedicated=yes\ndedicated=off", func(c *Config) any { return c.Capture.Dedicated }, false},
		{"sipport = 5060, 5070-5072\nsip-ports = 5060", func(c *Config) any { return c.Capture.SIPPorts }, []uint16{5060, 5070, 5071, 5072}},
		{"sipport = auto", func(c *Config) any { return c.Capture.SIPPorts }, []uint16(nil)},
		{"rtpport = 10000-20000", func(c *Config) any { return c.Capture.RTPPorts }, [2]uint16{10000, 20000}},
		{"rtp-ports = 5004", func(c *Config) any { return c.Capture.RTPPorts }, [2]uint16{5004, 5004}},
		{"ringbuffer = 50", func(c *Config) any { return c.Capture.Ring }, int64(50 << 20)},
		{"ringbuffer = 1.5 GiB", func(c *Config) any { return c.Capture.Ring }, int64(3 << 29)},
		{"ringbuffer = 2g", func(c *Config) any { return c.Capture.Ring }, int64(2 << 30)},
		{"ringbuffer = 1GB", func(c *Config) any { return c.Capture.Ring }, int64(1e9)},
		{"rings = auto", func(c *Config) any { return c.Capture.Rings }, 0},
		{"allow = 192.0.2.0/24, 2001:db8::1\ninterface_ip_filter = 10.0.0.1", func(c *Config) any { return c.Capture.Allow },
			[]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128"), netip.MustParsePrefix("10.0.0.1/32")}},
		{"natalias = 10.0.0.5=203.0.113.7\nnatalias = 10.0.0.6 203.0.113.8", func(c *Config) any { return c.Calls.NATAlias },
			[]string{"10.0.0.5=203.0.113.7", "10.0.0.6=203.0.113.8"}},
		{"rtp_check_both_sides_by_sdp = very_strict", func(c *Config) any { return c.Calls.BothSides }, true},
		{"deduplicate = yes", func(c *Config) any { return c.Capture.Dedup }, "on"},
		{"deduplicate = no", func(c *Config) any { return c.Capture.Dedup }, "off"},
		{"deduplicate_window = 500us", func(c *Config) any { return c.Capture.DedupWindow }, 500 * time.Microsecond},
		{"reg_del_delay = 0", func(c *Config) any { return c.Calls.RegDelDelay }, time.Duration(0)},
		{"tcp_idle = 90", func(c *Config) any { return c.Calls.TCPIdle }, 90 * time.Second},
		{"id_sensor = -1", func(c *Config) any { return c.Sensor.ID }, uint16(0)},
		{"savertp = yes", func(c *Config) any { return c.Spool.RTP }, "full"},
		{"savertp = header", func(c *Config) any { return c.Spool.RTP }, "header"},
		{"save_sip_register = no", func(c *Config) any { return c.Spool.DefaultRule() }, "default -> sip full, rtp full, register none\n"},
		{"maxpooldays = 30\nmaxpoolsipdays = 90\nmaxpoolrtpdays = 12h", func(c *Config) any { return c.Spool.Quota.Ages() },
			[3]time.Duration{90 * day, 12 * time.Hour, 30 * day}},
		{"maxpoolsize = 204800\nmaxpoolsipsize = 50GiB", func(c *Config) any { return c.Spool.Quota },
			Quota{Total: 200 << 30, SIP: 50 << 30}},
		{"autocleanmingb = 5", func(c *Config) any { return c.Spool.Quota.Reserve }, int64(5 << 30)},
		{"spooldir = none", func(c *Config) any { return c.Spool.Dir }, ""},
		{"cleandatabase = 0", func(c *Config) any { return c.Store.Days }, 0},
		{"cleandatabase_cdr = 30", func(c *Config) any { return c.Store.Days }, 30},
		{"listen = none", func(c *Config) any { return c.Web.Listen.IsValid() }, false},
		{"listen = localhost:80", func(c *Config) any { return c.Web.Listen.String() }, "127.0.0.1:80"},
		{"listen = :8443\nlisten_insecure = yes", func(c *Config) any { return c.Web.Listen.String() }, "[::]:8443"},
		{"mysqlpassword = a #;= b", func(c *Config) any { return c.Store.Password }, "a #;= b"},
		{"ssl_ipport = 10.0.0.0/24 : 5061 /etc/ssl/a b", func(c *Config) any { return c.Calls.RSAKeys }, []string{"/etc/ssl/a"}},
		{"filter = udp port 5060 or host 192.0.2.1", func(c *Config) any { return c.Capture.Filter }, "udp port 5060 or host 192.0.2.1"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			if got := tc.get(mustLoad(t, tc.text)); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %#v, want %#v", got, tc.want)
			}
		})
	}
}

// Every value that is refused says what is wrong and what to write.
func TestRefusedValues(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"what", `1: what: write "key = value"; a comment begins with # or ;`},
		{"mysqlpassword hunter2", `1: mysqlpassword: write "key = value"`},
		{"= x", `1: =: write "key = value"`},
		{"\n[other]", "2: [other]: there are no sections but [general]"},
		{"interfaces = eth1", "1: interfaces: there is no such key: did you mean interface?"},
		{"maxpoolsise = 5", "1: maxpoolsise: there is no such key: did you mean maxpoolsize?"},
		{"log-levle = info", "1: log-levle: there is no such key: did you mean log_level?"},
		{"quite_unknown = 5", "1: quite_unknown: there is no such key: \"ringside check-config --keys\" lists"},
		{"ringbuffer =", "1: ringbuffer: there is no value: write a size"},
		{"ringbuffer = 50 # MB", `1: ringbuffer: "50 # MB" is no size`},
		{"ringbuffer = 512k", "1: ringbuffer: write a size from 1MiB to 128GiB"},
		{"ringbuffer = nan", `1: ringbuffer: "nan" is no size`},
		{"spooldir = /spool # here", "1: spooldir: a comment stands on a line of its own"},
		{"spooldir = spool", "1: spooldir: write the whole path, from / on"},
		{"dedicated = maybe", "1: dedicated: write yes or no"},
		{"interface = any", "1: interface: name the interfaces"},
		{"interface = eth1 eth2 eth3", "1: interface: the name of an interface has at most 15 characters"},
		{"interface = eth1\ninterface = eth1", "2: interface: eth1 is named twice"},
		{"allow = 192.0.2.1/24", "1: allow: 192.0.2.1/24 has bits beyond its length: write 192.0.2.0/24"},
		{"allow = example.org", `1: allow: "example.org" is no address and no prefix`},
		{"sipport = 70000", "1: sipport: write ports from 1 to 65535"},
		{"rings = 1000", "1: rings: write a number up to 256, or auto"},
		{"natalias = 10.0.0.5", "1: natalias: write two addresses"},
		{"deduplicate_window = 2s", "1: deduplicate_window: write a time from 1µs to 1s"},
		{"tcp_idle = 1ms", "1: tcp_idle: write a time from 1s to 30d"},
		{"maxpooldays = ever", "1: maxpooldays: write a number of days, as in 30, or none"},
		{"xdp = fast", "1: xdp: write auto, native, generic or none"},
		{"sqldriver = odbc", "1: sqldriver: write auto, sqlite, mysql or none"},
		{"listen = 8080", "1: listen: write an address and a port"},
		{"matchheader = X-Id:", "1: matchheader: write the name of a header without the colon"},
		{"pii_enable = yes", "1: pii_enable: numbers and names would be stored unmasked"},
		{"null_rtppayload = yes", "1: null_rtppayload: payload is stored as it is, or not at all: write savertp = header"},
		{"autocleanmingb = x", "1: autocleanmingb: write a number of GiB"},
		{"include = missing.conf", "1: include: read configuration: open"},
		{"include =", "1: include: name a file"},
		{"include = ringside.conf", "ringside.conf: it includes itself"},
		{"mysqlpassword_file = missing", "1: mysqlpassword_file: read the secret: open"},
		{"calls_timeouts = x", "1: calls_timeouts: no such state"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			c, _, err := load(t, tc.text, LoadOptions{Check: map[string]func(string) error{
				"calls_timeouts": func(string) error { return errors.New("no such state") },
			}})
			got := wrong(err)
			if c != nil || len(got) != 1 || !strings.Contains(got[0], tc.want) {
				t.Errorf("got %q, want one with %q", got, tc.want)
			}
			if strings.Contains(strings.Join(got, ""), "hunter2") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

// All that is wrong is said at once, in the order of the lines.
func TestAllErrors(t *testing.T) {
	_, _, err := load(t, "rings = x\ninterface = eth1\nwhat\nxdp = 5\n", LoadOptions{})
	var lines []string
	for _, s := range wrong(err) {
		lines = append(lines, strings.Join(strings.Split(s, ":")[:2], ":"))
	}
	if want := []string{"ringside.conf:1", "ringside.conf:3", "ringside.conf:4"}; !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

// conf.d comes after the file, in the order of names; included files come at
// their place. Each value knows where it stands.
func TestFiles(t *testing.T) {
	path := write(t, map[string]string{
		"ringside.conf":     "interface = eth1\nringbuffer = 50\ninclude = more/*.inc\nlog_level = warn\n",
		"more/a.inc":        "interface = eth2\ninclude = deeper.txt\n",
		"more/deeper.txt":   "rings = 2\n",
		"more/b.inc":        "interface = eth3\nlog_level = debug\n",
		"conf.d/20.conf":    "ringbuffer = 70\n",
		"conf.d/10.conf":    "ringbuffer = 60\ninterface = eth4\n",
		"conf.d/ignored.md": "what\n",
	})
	c, r, err := Load(path, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, f := range r.Files {
		files = append(files, filepath.Base(f))
	}
	if want := []string{"ringside.conf", "a.inc", "deeper.txt", "b.inc", "10.conf", "20.conf"}; !slices.Equal(files, want) {
		t.Errorf("read %q, want %q", files, want)
	}
	if want := []string{"eth1", "eth2", "eth3", "eth4"}; !slices.Equal(c.Capture.Interfaces, want) {
		t.Errorf("interfaces %q, want %q", c.Capture.Interfaces, want)
	}
	for key, want := range map[string]string{"ringbuffer": "70MiB of 20.conf:1", "log_level": "warn of ringside.conf:4", "rings": "2 of deeper.txt:1", "xdp": "auto of .:0"} {
		file, line := c.Origin(key)
		if got := fmt.Sprintf("%s of %s:%d", c.Value(key), filepath.Base(file), line); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	last := r.Findings[len(r.Findings)-1]
	if !strings.Contains(last.Text, "70MiB (instead of that of ") || !strings.Contains(last.Text, "10.conf:1)") {
		t.Errorf("it does not say what is replaced: %+v", last)
	}
}

func TestBadFiles(t *testing.T) {
	deep := map[string]string{}
	for i := range maxDepth + 1 {
		deep[fmt.Sprintf("%d.inc", i)] = fmt.Sprintf("include = %d.inc\n", i+1)
	}
	deep[fmt.Sprintf("%d.inc", maxDepth+1)] = ""
	deep["ringside.conf"] = "include = 0.inc\n"
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"none":            {nil, "no such file"},
		"binary":          {map[string]string{"ringside.conf": "interface = \x00\x01"}, "it is not text in UTF-8"},
		"latin 1":         {map[string]string{"ringside.conf": "name_sensor = M\xfcnchen"}, "it is not text in UTF-8"},
		"endless line":    {map[string]string{"ringside.conf": "interface = eth0\nallow = " + strings.Repeat("10.0.0.1,", 10_000)}, "the line is longer than"},
		"a directory":     {map[string]string{"ringside.conf/x": ""}, "is a directory"},
		"too deep":        {deep, "files include each other 8 deep"},
		"a circle":        {map[string]string{"ringside.conf": "include = a", "a": "include = ringside.conf"}, "it includes itself"},
		"huge":            {map[string]string{"ringside.conf": strings.Repeat("# 4567890123456789\n", maxFile/18)}, "is it the right file?"},
		"wrong in conf.d": {map[string]string{"ringside.conf": "", "conf.d/a.conf": "what = 5"}, "there is no such key"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := Load(write(t, tc.files), LoadOptions{})
			if c != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	const word = "s3cret/@:?"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mysqlpassword"), []byte(word+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		files map[string]string
		o     LoadOptions
		from  string
	}{
		"in the file":         {map[string]string{"ringside.conf": "mysqlhost = db\nmysqlpassword = " + word}, LoadOptions{}, "ringside.conf:2"},
		"in a file":           {map[string]string{"ringside.conf": "mysqlhost = db\nmysqlpassword_file = pw", "pw": word + "\r\nmore"}, LoadOptions{}, "ringside.conf:2"},
		"in a credential":     {map[string]string{"ringside.conf": "mysqlhost = db\n"}, LoadOptions{Credentials: dir}, "mysqlpassword:0"},
		"the file goes first": {map[string]string{"ringside.conf": "mysqlhost = db\nmysqlpassword = " + word}, LoadOptions{Credentials: dir}, "ringside.conf:2"},
	} {
		t.Run(name, func(t *testing.T) {
			c, r, err := Load(write(t, tc.files), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if c.Store.Password != word {
				t.Errorf("password %q", c.Store.Password)
			}
			file, line := c.Origin("mysqlpassword")
			if got := fmt.Sprintf("%s:%d", filepath.Base(file), line); got != tc.from {
				t.Errorf("from %s, want %s", got, tc.from)
			}
			shown := fmt.Sprint(r, c.Redacted(), Diff(Default(), c), c.Value("mysqlpassword"))
			if strings.Contains(shown, "s3cret") {
				t.Errorf("the secret is shown: %s", shown)
			}
			if want := "mysql://ringside:s3cret%2F%40%3A%3F@db:3306/ringside?timeout=10s"; c.Store.Name() != want {
				t.Errorf("store %s, want %s", c.Store.Name(), want)
			}
		})
	}
}

// A file with a secret that everybody can read is warned of.
func TestReadableSecret(t *testing.T) {
	path := write(t, map[string]string{"ringside.conf": "mysqlhost = db\nmysqlpassword = x\n"})
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, r, err := Load(path, LoadOptions{})
	if err != nil || r.Count(Warning) != 1 || !strings.Contains(r.Noteworthy()[0].Text, "chmod 0640") {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestStoreName(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "/var/lib/ringside/ringside.db",
		"sqldriver = none":             "",
		"db = mysql://u:p@h/d?tls=yes": "mysql://u:p@h/d?tls=yes",
		"mysqlsocket = /run/mysqld/mysqld.sock\nmysqldb = a b\nmysqluser = u:x":  "mysql://u%3Ax@unix(/run/mysqld/mysqld.sock)/a%20b?timeout=10s",
		"mysqlhost = ::1\nmysqlport = 3307\nmysqlsslcacert = /ca.pem":            "mysql://ringside@[::1]:3307/ringside?tls=yes&tls-ca=%2Fca.pem&timeout=10s",
		"mysqlhost = h\nmysqltls = skip-verify\nmysqlsslcert=/c\nmysqlsslkey=/k": "mysql://ringside@h:3306/ringside?tls=skip-verify&tls-cert=%2Fc&tls-key=%2Fk&timeout=10s",
		"mysqlhost = localhost\nmysqlsocket = /s\nmysql_connect_timeout = 60":    "mysql://ringside@unix(/s)/ringside?timeout=1m0s",
	} {
		t.Run(text, func(t *testing.T) {
			if got := mustLoad(t, text).Store.Name(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	c := mustLoad(t, "db = mysql://u:hush@h/d?tls=yes")
	if got := c.Value("db"); got != "mysql://u:…@h/d?tls=yes" {
		t.Errorf("shown as %s", got)
	}
}

func TestDiff(t *testing.T) {
	old := mustLoad(t, "interface = eth1\nmysqlhost = db\nmysqlpassword = a\nsipport = 5060\n")
	if d := Diff(mustLoad(t, "db = mysql://u:a@h/d"), mustLoad(t, "db = mysql://u:b@h/d")); len(d) != 1 || d[0].String() != "db: mysql://u:…@h/d -> mysql://u:…@h/d (set anew) (needs a restart)" {
		t.Errorf("another password of db: %v", d)
	}
	for text, want := range map[string][]string{
		"interface = eth1\nmysqlhost = db\nmysqlpassword = a\nsip_ports = 5060": nil,
		"interface = eth1,eth2\nmysqlhost = db\nmysqlpassword = b\nsipport = 5060-5062\nlog_level = debug": {
			"interface: eth1 -> eth1,eth2 (needs a restart)", "sipport: 5060 -> 5060-5062",
			"mysqlpassword: (set) -> (set) (set anew) (needs a restart)", "log_level: info -> debug"},
		"mysqlhost = db": {"interface: eth1 -> nothing (needs a restart)", "sipport: 5060 -> auto", "mysqlpassword: (set) -> nothing (needs a restart)"},
	} {
		var got []string
		for _, c := range Diff(old, mustLoad(t, text)) {
			got = append(got, c.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", text, got, want)
		}
	}
}

// What a key writes, it reads, and nothing changes by that.
func TestValuesReadWhatTheyWrite(t *testing.T) {
	text := "interface = eth1\nsipport = 5060-5063,5080\nallow = 10.0.0.0/8\nmaxpooldays = 30\nmaxpoolsize = 1GB\ntcp_idle = 90m\nlisten = [::1]:80\nnatalias = 10.0.0.1 10.0.0.2\nmanagerport = 5029\nexport_json = -\n"
	for _, c := range []*Config{Default(), mustLoad(t, text)} {
		again := Default()
		for _, k := range Keys() {
			from, to := k.field(c), k.field(again)
			if to.clear != nil {
				to.clear()
			}
			if s := from.text(); s != "" || to.bare {
				if err := to.set(s); err != nil {
					t.Errorf("%s = %q: %v", k.Name, s, err)
				}
			}
		}
		again.origins = c.origins
		if !reflect.DeepEqual(again, c) {
			t.Errorf("got  %+v\nwant %+v", again, c)
		}
	}
}

// The table has no name twice, and says of every key what it is.
func TestKeys(t *testing.T) {
	seen := map[string]string{}
	for _, k := range Keys() {
		if k.Help == "" || k.What == "" || k.Group == "" || !strings.HasSuffix(k.Help, ".") {
			t.Errorf("%s: %+v", k.Name, k)
		}
		for _, n := range append([]string{k.Name}, k.Also...) {
			if other, twice := seen[name(n)]; twice {
				t.Errorf("%s is a name of %s and of %s", n, other, k.Name)
			}
			seen[name(n)] = k.Name
		}
	}
	if len(Default().Redacted()) != len(Keys()) || len(slices.Collect(maps.Keys(seen))) < len(Keys()) {
		t.Error("keys are missing")
	}
	if Find("link-header") == nil || Find("what") != nil || Find("allow").Name != "interface_ip_filter" {
		t.Error("keys are not found by their names")
	}
}

// A long list of prefixes is read about as fast as its lines: what is done for a
// line does not grow with the list.
func TestLongList(t *testing.T) {
	var text strings.Builder
	const n = 20_000
	for i := range n {
		fmt.Fprintf(&text, "allow = 10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	text.WriteString("deny = 10.0.0.0/24\n")
	c, r, err := load(t, text.String(), LoadOptions{})
	if err != nil || len(c.Capture.Allow) != n || r.Count(Warning) != 1 {
		t.Fatalf("%v: %d prefixes, %d warnings", err, len(c.Capture.Allow), r.Count(Warning))
	}
	if last := r.Findings[n-1]; last.Text != "interface_ip_filter = 10.0.78.31/32" {
		t.Errorf("of the last line it says %q", last.Text)
	}
}

// What a line says reaches no terminal as it is, and what is wrong with it is one line.
func TestHarmlessFindings(t *testing.T) {
	_, r, err := load(t, "name_sensor = a\x1b[2J\ncalls_timeouts = x\n\x1b]0;x\a = 5\n", LoadOptions{Check: map[string]func(string) error{
		"calls_timeouts": func(string) error { return errors.New("one\ntwo") },
	}})
	if shown := fmt.Sprint(r.Findings); err == nil || strings.ContainsAny(shown, "\x1b\a\n") || !strings.Contains(shown, "one; two") {
		t.Errorf("%v: %q", err, shown)
	}
}

// Of a file that is something else not every line is told.
func TestWrongFile(t *testing.T) {
	_, r, err := load(t, strings.Repeat("a-word = of another language\n", 5000), LoadOptions{})
	if got := wrong(err); len(got) != maxRefused+1 || !strings.HasSuffix(got[maxRefused], "is it the right file?") {
		t.Errorf("%d errors: %v", len(got), r.Findings[len(r.Findings)-1])
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("interface = eth1\nsipport = 5060-5070\n")
	f.Add("filter = (udp port 5060 or 5080) and not host 10.0.0.1\nsipport = 5061")
	f.Add("ssl_ipport = 10.0.0.0/24 : 5061 /a\nmaxpoolsize = 5TB\nlisten = :80\n[x]\ninclude = x")
	f.Add("mysqlpassword_file = \xff")
	f.Add("db = mysql://u:p@unix(/x)/d?x\nmaxpooldays = 1e300\nringbuffer = 1e400")
	path := filepath.Join(f.TempDir(), "ringside.conf")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "include") || strings.Contains(strings.ToLower(text), "_file") {
			t.Skip("it reads other files")
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, r, err := Load(path, LoadOptions{})
		if (c == nil) != (err != nil) || (err != nil) != (r.Count(Refused) > 0) {
			t.Fatalf("%v with %+v", err, r)
		}
		if c == nil {
			return
		}
		var again strings.Builder
		for _, p := range Keys() {
			if v := p.field(c).text(); v != "" && c.origins[p.Name] != (origin{}) {
				fmt.Fprintf(&again, "%s = %s\n", p.Name, v)
			}
		}
		if err := os.WriteFile(path, []byte(again.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		d, _, err := Load(path, LoadOptions{})
		if err != nil {
			t.Fatalf("what it wrote it does not read: %v\n%s", err, &again)
		}
		if diff := Diff(c, d); len(diff) > 0 {
			t.Fatalf("read again it is another: %v\n%s", diff, &again)
		}
	})
}
