package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// check finds what does not go together. Every finding names the line to blame,
// the reason, and what to do.
func (l *loading) check() {
	l.checkCapture()
	l.checkFilter()
	l.checkStore()
	l.checkSpool()
	l.checkWeb()
	l.checkMemory()
	l.checkPaths()
	l.checkTheirs()
}

// given reports whether a line has set a key.
func (l *loading) given(key string) bool { return l.config.origins[key] != origin{} }

// refuse blames the line of a key, or the first of several that a line has set.
func (l *loading) refuse(keys, format string, args ...any) { l.blame(Refused, keys, format, args...) }

func (l *loading) warn(keys, format string, args ...any) { l.blame(Warning, keys, format, args...) }

func (l *loading) blame(v Verdict, keys, format string, args ...any) {
	all := strings.Fields(keys)
	key := all[0]
	for _, k := range all {
		if l.given(k) {
			key = k
			break
		}
	}
	l.say(l.config.origins[key], key, v, fmt.Sprintf(format, args...))
}

func (l *loading) checkCapture() {
	c := &l.config.Capture
	if twice := repeated(c.Interfaces); twice != "" {
		l.refuse("interface", "%s is named twice: name it once", twice)
	}
	inKernel := c.Dedicated && c.XDP != none
	if l.given("meter") && c.Meter == "kernel" && !inKernel {
		l.refuse("meter", "the kernel measures where XDP may drop packets: add dedicated = yes, without xdp = none, or leave it out")
	}
	if l.given("meter") && c.Meter == "kernel" && c.Filter != "" {
		l.refuse("meter", "the kernel does not know filter, and would measure what it leaves out: leave one of them out")
	}
	if c.Steer == "cpu" && !inKernel {
		l.refuse("steer", "XDP steers by cpu: add dedicated = yes, without xdp = none, or write steer = flow")
	}
	if c.Dedup == "off" && l.given("deduplicate_window") {
		l.refuse("deduplicate_window", "deduplicate = off looks for no copies: leave the window out, or write deduplicate = on")
	}
	l.checkAddresses()
}

func repeated(list []string) string {
	sorted := slices.Sorted(slices.Values(list))
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return sorted[i]
		}
	}
	return ""
}

// checkAddresses finds addresses that are to be taken and never are, since what
// is denied goes first.
func (l *loading) checkAddresses() {
	c := &l.config.Capture
	denied := map[netip.Prefix]bool{}
	for _, d := range c.Deny {
		denied[d] = true
	}
	left := len(c.Allow)
	var example, by netip.Prefix
	for _, a := range c.Allow {
		if d, ok := covers(denied, a); ok {
			left--
			example, by = a, d
		}
	}
	switch {
	case len(c.Allow) > 0 && left == 0:
		l.refuse("interface_ip_deny", "it leaves nothing of interface_ip_filter: %s lies in %s, and what is denied goes first", example, by)
	case left < len(c.Allow):
		l.warn("interface_ip_deny", "%s of interface_ip_filter lies in %s, and what is denied goes first: none of it is taken", example, by)
	}
	if denied[netip.MustParsePrefix("0.0.0.0/0")] && denied[netip.MustParsePrefix("::/0")] {
		l.refuse("interface_ip_deny", "it is every address: nothing would be captured")
	}
}

// covers is the shortest of some prefixes that a prefix lies in. One look-up for
// each length, since there may be a hundred thousand of both.
func covers(in map[netip.Prefix]bool, p netip.Prefix) (netip.Prefix, bool) {
	if len(in) == 0 {
		return p, false
	}
	for bits := 0; bits <= p.Bits(); bits++ {
		if q, err := p.Addr().Prefix(bits); err == nil && in[q] {
			return q, true
		}
	}
	return p, false
}

func (l *loading) checkStore() {
	s := &l.config.Store
	server := l.given("mysqlhost") && s.Host != "" || l.given("mysqlsocket") && s.Socket != ""
	switch {
	case isServer(s.Path) && server:
		l.refuse("db mysqlhost mysqlsocket", "db and %s both name a server: leave one of them out", l.first("mysqlhost", "mysqlsocket"))
	case isServer(s.Path) && (s.Driver == "sqlite"):
		l.refuse("db", "it names a server, and sqldriver = sqlite a file: leave one of them out")
	case s.Driver == "sqlite" && server:
		l.refuse("sqldriver", "sqlite is a file, and %s names a server: leave one of them out", l.first("mysqlhost", "mysqlsocket"))
	case s.Driver == "mysql" && !server && !isServer(s.Path):
		l.refuse("sqldriver", "name the server: mysqlhost or mysqlsocket")
	case s.Kind() == "mysql" && l.given("db") && !isServer(s.Path):
		l.refuse("db", "it names a file, and %s a server: leave one of them out", l.first("mysqlhost", "mysqlsocket"))
	case s.Host != "" && s.Socket != "" && !isLocal(s.Host):
		l.refuse("mysqlsocket", "a socket is of this machine, and mysqlhost = %s is another: leave one of them out", s.Host)
	case s.Cert != "" && s.Key == "":
		l.refuse("mysqlsslcert", "name its key, too: mysqlsslkey")
	case s.Key != "" && s.Cert == "":
		l.refuse("mysqlsslkey", "name its certificate, too: mysqlsslcert")
	}
	if s.Kind() == "mysql" && s.Database == "" {
		l.refuse("mysqldb", "name the database")
	}
	if s.Kind() == "mysql" && strings.EqualFold(s.Database, "voipmonitor") && !isServer(s.Path) {
		l.warn("mysqldb", "if VoIPmonitor uses this database, ringside cannot: its tables have the same names. Write mysqldb = ringside; it is made at start")
	}
	if at := l.config.origins["mysqlpassword"]; at.line > 0 && s.Password != "" {
		l.readable(at, "mysqlpassword", at.file)
	}
	if at := l.config.origins["db"]; withoutPassword(s.Path) != s.Path {
		l.readable(at, "db", at.file)
	}
	if s.Kind() != none && s.Queue == "" {
		l.warn("queue", "while the store is away, its records are lost: name a directory")
	}
}

// first is the first of some keys that a line has set.
func (l *loading) first(keys ...string) string {
	for _, k := range keys {
		if l.given(k) {
			return k
		}
	}
	return keys[0]
}

func isLocal(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func (l *loading) checkSpool() {
	s := &l.config.Spool
	keys := table()
	for i := range keys {
		k := keys[i].Name
		switch {
		case !l.given(k):
		case s.Dir == "" && keys[i].Group == groupSpool && k != "spooldir" && strings.HasPrefix(k, "spool_"),
			s.Dir == "" && (k == "rules" || k == "spooldir_2"):
			l.refuse(k, "it is about the spool, and spooldir = none: name a directory, or leave it out")
		case s.Cold == "" && keys[i].Group == groupCold && k != "spooldir_2":
			l.refuse(k, "it is about the second directory: name one as spooldir_2, or leave it out")
		case s.Rules != "" && (k == "savesip" || k == "savertp" || k == "save-sip-register"):
			l.refuse(k, "the file of rules says what is stored: write it into its default line, as in %q, and leave this out", strings.TrimSpace(s.DefaultRule()))
		}
	}
	if s.Dir == "" {
		return
	}
	if s.Cold != "" && filepath.Clean(s.Cold) == filepath.Clean(s.Dir) {
		l.refuse("spooldir_2", "it is the directory of spooldir: name another one")
	}
	l.checkQuota(s.Dir, s.Quota, "")
	if s.Cold != "" {
		l.checkQuota(s.Cold, s.ColdQuota, "_2")
	}
	if s.Rules == "" && s.SIP == none && s.RTP == none && s.Reg == none {
		l.warn("savesip", "nothing is stored: savesip, savertp and save-sip-register are all none")
	}
}

// checkQuota compares a quota with itself, and with the volume that it is of.
func (l *loading) checkQuota(dir string, q Quota, suffix string) {
	classes := []struct {
		key   string
		bytes int64
	}{{"maxpoolsipsize", q.SIP}, {"maxpoolrtpsize", q.RTP}, {"maxpoolregistersize", q.Reg}}
	for _, c := range classes {
		if q.Total > 0 && c.bytes > q.Total {
			l.refuse(c.key+suffix, "%s is more than the whole may take, %s (maxpoolsize%s): make it less", showSize(c.bytes), showSize(q.Total), suffix)
		}
	}
	if l.options.Volume == nil {
		return
	}
	volume, err := l.options.Volume(dir)
	if errors.Is(err, fs.ErrNotExist) {
		l.warn("spooldir"+suffix, "there is no %s on this machine: make it, or name another directory", dir)
		return
	}
	if err != nil {
		l.warn("spooldir"+suffix, "%v: name another directory", err)
		return
	}
	reserve, which := q.Reserve, "spool_reserve"+suffix
	if reserve == 0 {
		reserve, which = max(volume/20, 10<<30), "5 % of it or 10 GiB"
	}
	most := max(q.Total, q.SIP, q.RTP, q.Reg)
	key := "maxpoolsize"
	for _, c := range classes {
		if c.bytes == most && q.Total != most {
			key = c.key
		}
	}
	switch {
	case q.Reserve >= volume:
		l.refuse("spool_reserve"+suffix, "%s is all of the volume of %s, which has %s: make it less", showSize(q.Reserve), dir, rounded(volume))
	case most > volume-reserve && most > 0:
		l.refuse(key+suffix, "%s does not fit: the volume of %s has %s, of which %s stay free (%s): write at most %s",
			showSize(most), dir, rounded(volume), rounded(reserve), which, rounded(max(0, volume-reserve)))
	}
}

// rounded is a size for people.
func rounded(n int64) string {
	if n >= 10<<30 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func (l *loading) checkWeb() {
	w, m := &l.config.Web, &l.config.Manager
	loopback := !w.Listen.IsValid() || w.Listen.Addr().Unmap().IsLoopback()
	switch {
	case w.Cert != "" && w.Key == "":
		l.refuse("tls_cert", "name its key, too: tls_key")
	case w.Key != "" && w.Cert == "":
		l.refuse("tls_key", "name its certificate, too: tls_cert")
	case !loopback && w.Cert == "" && !w.Insecure:
		l.refuse("listen", "%s lets other machines in, and passwords would be readable on the way: name tls_cert and tls_key, or write listen_insecure = yes", w.Listen)
	case !loopback && w.Cert == "":
		l.warn("listen_insecure", "passwords and recordings are readable on the way")
	}
	if w.SessionIdle > w.SessionMax {
		l.refuse("session_idle session_max", "session_idle = %s is more than session_max = %s: make it less", showSpan(w.SessionIdle), showSpan(w.SessionMax))
	}
	if m.Port == 0 {
		return
	}
	if !m.IP.Unmap().IsLoopback() {
		l.refuse("managerip", "%s lets other machines in, and nobody logs in there: write managerip = 127.0.0.1; other machines take the API", m.IP)
	}
	if w.Listen.IsValid() && w.Listen.Port() == m.Port && (w.Listen.Addr() == m.IP || w.Listen.Addr().IsUnspecified()) {
		l.refuse("managerport listen", "listen has port %d already: take another one", m.Port)
	}
}

// checkMemory adds up the memory of packets.
func (l *loading) checkMemory() {
	c, s, p := &l.config.Capture, &l.config.Spool, &l.config.Process
	if p.BufferMemory > 0 && p.Memory > 0 && p.BufferMemory > p.Memory {
		l.refuse("max_buffer_mem", "%s is more than the whole process may take, %s (max_memory): make it less", showSize(p.BufferMemory), showSize(p.Memory))
	}
	rings := c.Ring * int64(len(c.Interfaces))
	if c.Dedicated {
		rings *= 2 // as much again for feeds
	}
	var spool int64
	if s.Dir != "" {
		spool = cmp.Or(s.Memory, 128<<20)
	}
	most, key := p.BufferMemory, "max_buffer_mem"
	if most == 0 {
		most, key = p.Memory, "max_memory"
	}
	if most > 0 && rings+spool > most {
		l.refuse(key, "%s are not enough: the rings of %d interfaces take %s (ringbuffer), the spool %s (spool_memory): make it more, or them less",
			showSize(most), len(c.Interfaces), showSize(rings), showSize(spool))
	}
}

// checkPaths finds files and directories that would be in each other's way.
func (l *loading) checkPaths() {
	c := l.config
	taken := map[string]string{}
	for _, p := range []struct{ key, path string }{
		{"spooldir", c.Spool.Dir}, {"queue", c.Store.Queue}, {"db", c.Store.Path}, {"control_socket", c.Manager.Socket},
		{"log_file", c.Log.File}, {"export_json", c.Export.JSON}, {"export_csv", c.Export.CSV},
	} {
		if p.path == "" || isServer(p.path) {
			continue
		}
		at := filepath.Clean(p.path)
		if other := taken[at]; other != "" {
			l.refuse(p.key+" "+other, "%s is that of %s as well: name another one", p.path, other)
		}
		taken[at] = p.key
	}
	if c.Process.StateDir == "" {
		l.refuse("state_dir", "name a directory: users and the audit are kept there")
	}
}
