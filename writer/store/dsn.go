package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// server is a database on a MySQL or MariaDB server, and how to reach it.
//
//	mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?OPTION=VALUE&…]
//	mysql://USER[:PASSWORD]@unix(/PATH/OF/SOCKET)/DATABASE
//
// User, password and database may be percent-encoded. Options:
//
//	password-file  file whose first line is the password
//	tls            no (default), yes, or skip-verify (any certificate)
//	tls-ca         file with the certificates to trust, instead of the system's
//	tls-cert       file with the client's certificate, and tls-key with its key
//	tls-name       name that the server's certificate has, instead of HOST
//	timeout        for connecting (10s)
type server struct {
	user, password string
	network, addr  string // "tcp" or "unix", and what to dial
	database       string
	tls            *tls.Config // nil: none
	timeout        time.Duration
}

// isDSN reports whether a path names a server instead of a file.
func isDSN(path string) bool {
	return strings.HasPrefix(path, "mysql://") || strings.HasPrefix(path, "mariadb://")
}

// Name is the path of a store as it may be shown: that of a server without its
// password.
func Name(path string) string {
	if !isDSN(path) {
		return path
	}
	s, err := parseDSN(path)
	if err != nil {
		return "a server"
	}
	return s.String()
}

const dsnForm = "write mysql://USER@HOST:PORT/DATABASE or mysql://USER@unix(/SOCKET)/DATABASE"

// parseDSN reads the name of a server. Its errors do not tell the password.
func parseDSN(dsn string) (*server, error) {
	_, rest, _ := strings.Cut(dsn, "://")
	rest, query, _ := strings.Cut(rest, "?")
	// The last '@', since a password may have one, but for those of a socket.
	at := strings.LastIndex(rest, "@unix(")
	if at < 0 {
		at = strings.LastIndexByte(rest, '@')
	}
	if at <= 0 {
		return nil, errors.New("no user in the name of the store: " + dsnForm)
	}
	login, place := rest[:at], rest[at+1:]
	s := &server{network: "tcp", timeout: 10 * time.Second}
	user, password, _ := strings.Cut(login, ":")
	var database string
	if path, ok := strings.CutPrefix(place, "unix("); ok {
		s.network = "unix"
		if s.addr, database, ok = strings.Cut(path, ")/"); !ok || s.addr == "" {
			return nil, errors.New("no path of a socket in the name of the store: " + dsnForm)
		}
	} else {
		host := ""
		host, database, _ = strings.Cut(place, "/")
		if s.addr = withPort(host); s.addr == "" {
			return nil, errors.New("no host in the name of the store: " + dsnForm)
		}
	}
	for _, part := range []struct {
		what, text string
		to         *string
	}{{"user", user, &s.user}, {"password", password, &s.password}, {"database", database, &s.database}} {
		text, err := url.PathUnescape(part.text)
		if err != nil {
			return nil, fmt.Errorf("the %s in the name of the store is not well percent-encoded (a '%%' is written %%25)", part.what)
		}
		*part.to = text
	}
	if s.database == "" {
		return nil, errors.New("no database in the name of the store: " + dsnForm)
	}
	return s, s.options(query)
}

// withPort is the address of a host, on MySQL's port if it names none.
func withPort(host string) string {
	if h, port, err := net.SplitHostPort(host); err == nil {
		if h == "" || port == "" {
			return ""
		}
		return host
	}
	if host = strings.Trim(host, "[]"); host == "" {
		return ""
	}
	return net.JoinHostPort(host, "3306")
}

// options reads what stands after the '?'.
func (s *server) options(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("read options in the name of the store: %w", err)
	}
	var files tlsFiles
	mode := "no"
	for name := range values {
		v := values.Get(name)
		switch name {
		case "password-file":
			if s.password != "" {
				return errors.New("the name of the store has a password and a password-file: give one of them")
			}
			text, err := os.ReadFile(v)
			if err != nil {
				return fmt.Errorf("read password: %w", err)
			}
			s.password, _, _ = strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
		case "tls":
			mode = v
		case "tls-ca":
			files.ca = v
		case "tls-cert":
			files.cert = v
		case "tls-key":
			files.key = v
		case "tls-name":
			files.name = v
		case "timeout":
			if s.timeout, err = time.ParseDuration(v); err != nil || s.timeout <= 0 {
				return fmt.Errorf("read timeout %q in the name of the store: write 10s", v)
			}
		default:
			return fmt.Errorf("unknown option %q in the name of the store: there are password-file, tls, tls-ca, tls-cert, tls-key, tls-name, timeout", name)
		}
	}
	if s.tls, err = files.config(mode, s.addr); err != nil {
		return fmt.Errorf("set up TLS to the store: %w", err)
	}
	return nil
}

type tlsFiles struct{ ca, cert, key, name string }

func (f *tlsFiles) config(mode, addr string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.name}
	switch mode {
	case "no":
		if *f != (tlsFiles{}) {
			return nil, errors.New("there are files or a name for it, but it is off: add tls=yes")
		}
		return nil, nil
	case "yes":
	case "skip-verify":
		c.InsecureSkipVerify = true
	default:
		return nil, fmt.Errorf("tls=%s is not known: write no, yes or skip-verify", mode)
	}
	if host, _, err := net.SplitHostPort(addr); err == nil && c.ServerName == "" {
		c.ServerName = host
	}
	if c.ServerName == "" && !c.InsecureSkipVerify {
		return nil, errors.New("a socket has no name to look for in the certificate: add tls-name=NAME")
	}
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("no certificate in %s: name a PEM file", f.ca)
		}
	}
	if f.cert != "" || f.key != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("load the client's certificate and key (tls-cert, tls-key): %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// String is the name without the password.
func (s *server) String() string {
	addr := s.addr
	if s.network == "unix" {
		addr = "unix(" + addr + ")"
	}
	return "mysql://" + url.PathEscape(s.user) + "@" + addr + "/" + url.PathEscape(s.database)
}

// config is how the driver connects, to the database or to none.
func (s *server) config(database string, o Options) *mysql.Config {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = s.user, s.password, s.network, s.addr, database
	c.TLS = s.tls
	c.Timeout = s.timeout
	c.Collation = "utf8mb4_bin"
	c.Loc = time.UTC
	c.Logger = &mysql.NopLogger{} // its errors say as much
	c.InterpolateParams = true    // one round trip for a query; prepared statements are not concerned
	c.Params = map[string]string{
		// Rows are taken as they are or not at all.
		"sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
		// Times that the database makes of ours are UTC.
		"time_zone": "'+00:00'",
		// s; the same as another process may keep us waiting on SQLite.
		"innodb_lock_wait_timeout": fmt.Sprint(max(1, int(o.BusyTimeout/time.Second))),
	}
	return c
}
