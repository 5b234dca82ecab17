package config

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// What does not go together is refused: at the line to blame, with the reason
// and the remedy.
func TestContradictions(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"meter = kernel", "1: meter: the kernel measures where XDP may drop packets: add dedicated = yes"},
		{"dedicated = yes\nxdp = none\nmeter = kernel", "3: meter: the kernel measures where"},
		{"dedicated = yes\nmeter = kernel\nfilter = udp", "2: meter: the kernel does not know filter"},
		{"steer = cpu", "1: steer: XDP steers by cpu: add dedicated = yes"},
		{"deduplicate = no\ndeduplicate_window = 5ms", "2: deduplicate_window: deduplicate = off looks for no copies"},
		{"interface_ip_filter = 10.1.0.0/16\ninterface_ip_deny = 10.0.0.0/8", "2: interface_ip_deny: it leaves nothing of interface_ip_filter: 10.1.0.0/16 lies in 10.0.0.0/8"},
		{"deny = 0.0.0.0/0,::/0", "1: interface_ip_deny: it is every address"},
		{"filter = udp port 5060\nsipport = 5060,5080", "2: sipport: SIP on 5080 is to be captured, and filter leaves it out (udp port 5060)"},
		{"filter = not portrange 5070-5079\nsipport = 5060-5071", "2: sipport: SIP on 5070,5071 is to be captured"},
		{"filter = tcp\nsipport = 5060\nfilter = udp and not (port 5060 or 5061)", "2: sipport: SIP on 5060"},
		{"db = mysql://u@h/d\nmysqlhost = h", "1: db: db and mysqlhost both name a server"},
		{"db = mysql://u@h/d\nsqldriver = sqlite", "1: db: it names a server, and sqldriver = sqlite a file"},
		{"sqldriver = sqlite\nmysqlsocket = /s", "1: sqldriver: sqlite is a file, and mysqlsocket names a server"},
		{"sqldriver = mysql", "1: sqldriver: name the server: mysqlhost or mysqlsocket"},
		{"mysqlhost = h\ndb = /var/calls.db", "2: db: it names a file, and mysqlhost a server"},
		{"mysqlhost = h\nmysqlsocket = /s", "2: mysqlsocket: a socket is of this machine, and mysqlhost = h is another"},
		{"mysqlhost = h\nmysqlsslcert = /c", "2: mysqlsslcert: name its key, too"},
		{"mysqlhost = h\nmysqlsslkey = /c", "2: mysqlsslkey: name its certificate, too"},
		{"mysqlhost = h\nmysqldb =", "2: mysqldb: name the database"},
		{"spooldir = none\nspooldir_2 = /b", "2: spooldir_2: it is about the spool, and spooldir = none"},
		{"spooldir = none\nrules = /etc/rules", "2: rules: it is about the spool"},
		{"maxpooldays_2 = 5", "1: maxpooldays_2: it is about the second directory: name one as spooldir_2"},
		{"spooldir = /a\nspooldir_2 = /a/", "2: spooldir_2: it is the directory of spooldir"},
		{"savertp = header\nrules = /etc/rules", `1: savertp: the file of rules says what is stored: write it into its default line, as in "default -> sip full, rtp header, register full"`},
		{"maxpoolsize = 10GiB\nmaxpoolrtpsize = 20GiB", "2: maxpoolrtpsize: 20GiB is more than the whole may take, 10GiB (maxpoolsize)"},
		{"maxpoolsize = 90GiB", "1: maxpoolsize: 90GiB does not fit: the volume of /var/spool/ringside has 93 GiB, of which 10 GiB stay free (5 % of it or 10 GiB): write at most 83 GiB"},
		{"maxpoolrtpsize = 50GiB\nspool_reserve = 50GiB", "1: maxpoolrtpsize: 50GiB does not fit"},
		{"spool_reserve = 200GiB", "1: spool_reserve: 200GiB is all of the volume"},
		{"spooldir_2 = /cold\nmaxpoolsize_2 = 100000", "2: maxpoolsize_2: 100000MiB does not fit"},
		{"tls_cert = /c", "1: tls_cert: name its key, too"},
		{"tls_key = /c", "1: tls_key: name its certificate, too"},
		{"listen = 0.0.0.0:8080", "1: listen: 0.0.0.0:8080 lets other machines in, and passwords would be readable on the way: name tls_cert and tls_key, or write listen_insecure = yes"},
		{"session_idle = 2h\nsession_max = 1h", "1: session_idle: session_idle = 2h is more than session_max = 1h"},
		{"managerport = 5029\nmanagerip = 0.0.0.0", "2: managerip: 0.0.0.0 lets other machines in"},
		{"managerport = 8080", "1: managerport: listen has port 8080 already"},
		{"max_buffer_mem = 100", "1: max_buffer_mem: 100MiB are not enough: the rings of 0 interfaces take 0B (ringbuffer), the spool 128MiB (spool_memory)"},
		{"interface = eth1,eth2\ndedicated = yes\nringbuffer = 500\nmax_memory = 2GiB", "4: max_memory: 2GiB are not enough: the rings of 2 interfaces take 2000MiB"},
		{"max_memory = 1GiB\nmax_buffer_mem = 2000", "2: max_buffer_mem: 2000MiB is more than the whole process may take"},
		{"queue = /var/spool/ringside/", "1: queue: /var/spool/ringside/ is that of spooldir as well"},
		{"export_json = /a\nexport_csv = /a", "2: export_csv: /a is that of export_json as well"},
		{"state_dir = none", "1: state_dir: name a directory"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			c, _, err := load(t, tc.text, LoadOptions{Volume: func(string) (int64, error) { return 100e9, nil }})
			got := wrong(err)
			if c != nil || len(got) != 1 || !strings.HasPrefix(got[0], "ringside.conf:"+tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

// What goes together, and comes close to what does not.
func TestNoContradictions(t *testing.T) {
	for _, text := range []string{
		"dedicated = yes\nmeter = kernel\nsteer = cpu",
		"filter = udp",
		"filter = port 5060 or port 5080\nsipport = 5060,5080",
		"filter = udp port 4789\nsipport = 5060",   // SIP in tunnels
		"filter = host 10.0.0.1\nsipport = 5060",   // who knows
		"filter = udp[8:4] = 5060\nsipport = 5060", // not understood
		"filter = port sip\nsipport = 5060",        // a name
		"filter = tcp\nsipport = 5060",             // SIP of TCP passes
		"filter = src portrange 5000-6000\nsipport = 5060",
		"interface_ip_filter = 10.0.0.0/8\ninterface_ip_deny = 10.1.0.0/16",
		"maxpoolsize = 80GiB\nmaxpoolrtpsize = 60GiB\nmaxpoolsipsize = 30GiB",
		"mysqlhost = localhost\nmysqlsocket = /s",
		"listen = 0.0.0.0:8080\ntls_cert = /c\ntls_key = /k",
		"listen = [::1]:8080\nmanagerport = 8080",
		"spooldir = none\nsavertp = no\nmaxpoolsize = 100", // a voipmonitor.conf may have both
		"rules = /etc/rules\nsavesip = full\nsavesip = full\nrules = none",
		"max_buffer_mem = 128\nringbuffer = 50",
	} {
		t.Run(text, func(t *testing.T) {
			if _, _, err := load(t, text, LoadOptions{Volume: func(string) (int64, error) { return 100e9, nil }}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"interface_ip_filter = 10.1.0.0/16,192.0.2.0/24\ninterface_ip_deny = 10.0.0.0/8", "10.1.0.0/16 of interface_ip_filter lies in 10.0.0.0/8"},
		{"filter = udp port 5060", "it leaves out RTP on the ports 10000-60000"},
		{"filter = port 5070 or portrange 10000-36000", "it leaves out SIP on 5060"},
		{"mysqlhost = db\nmysqldb = voipmonitor", "if VoIPmonitor uses this database"},
		{"queue = none", "while the store is away, its records are lost"},
		{"savesip = no\nsavertp = no\nsave-sip-register = no", "nothing is stored"},
		{"listen = :80\nlisten_insecure = yes", "passwords and recordings are readable on the way"},
		{"spooldir = /not/there", "there is no /not/there on this machine: make it"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			_, r, err := load(t, tc.text, LoadOptions{Volume: func(dir string) (int64, error) {
				if dir == "/not/there" {
					return 0, fmt.Errorf("ask: %w", fs.ErrNotExist)
				}
				return 100e9, nil
			}})
			if err != nil || r.Count(Warning) != 1 || !strings.Contains(r.Noteworthy()[0].Text, tc.want) {
				t.Errorf("%v: %+v", err, r.Noteworthy())
			}
		})
	}
}

func TestJudge(t *testing.T) {
	sip, media := probe{"udp", 5060}, probe{"udp", 20_000}
	for expression, want := range map[string][2]chance{
		"":                                   {maybe, maybe},
		"udp":                                {always, always},
		"tcp":                                {never, never},
		"ip":                                 {maybe, maybe},
		"port 5060":                          {always, never},
		"not port 5060":                      {never, always},
		"!(port 5060)":                       {never, always},
		"udp and port 5060":                  {always, never},
		"tcp port 5060":                      {never, never},
		"ip6 port 5060":                      {maybe, never},
		"src port 5060 or dst port 5060":     {always, never},
		"src or dst port 5060":               {always, never},
		"port 5080 or 5060":                  {always, never},
		"host 10.0.0.1 and port 5060":        {maybe, never},
		"host 10.0.0.1 or 10.0.0.2":          {maybe, maybe},
		"src 10.0.0.1 and not tcp":           {maybe, maybe},
		"net 10.0.0.0 mask 255.0.0.0":        {maybe, maybe},
		"portrange 5060-5061 && udp":         {always, never},
		"udp port 5060 or tcp port 5060":     {always, never},
		"port 4789":                          {maybe, maybe},
		"vlan 5 and port 5080":               {maybe, maybe},
		"(port 5060":                         {maybe, maybe},
		"port":                               {maybe, maybe},
		"port 5060 port 5080":                {maybe, maybe},
		strings.Repeat("not ", 1000) + "udp": {maybe, maybe},
	} {
		if got := [2]chance{judge(expression, sip), judge(expression, media)}; got != want {
			t.Errorf("%.40s: %v, want %v", expression, got, want)
		}
	}
}
