package config

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// storeName takes the path of a file, or the name of a server.
func storeName(to *string) value {
	v := path(to, "the path of a file, or mysql://USER@HOST/DATABASE")
	file := v.set
	v.set = func(s string) error {
		if isServer(s) {
			*to = s
			return nil
		}
		if s == "" {
			return errors.New("write the path of a file, or sqldriver = none to keep no records")
		}
		return file(s)
	}
	v.bare = false
	return v
}

func isServer(s string) bool {
	return strings.HasPrefix(s, "mysql://") || strings.HasPrefix(s, "mariadb://")
}

// Kind is sqlite, mysql or none: what Driver comes to.
func (s Store) Kind() string {
	switch {
	case s.Driver != auto:
		return s.Driver
	case s.Host != "" || s.Socket != "" || isServer(s.Path):
		return "mysql"
	}
	return "sqlite"
}

// Name is how the store is opened, as docs/store.md says; empty where there is
// none. It has the password in it, and is not to be shown as it is.
func (s Store) Name() string {
	switch kind := s.Kind(); {
	case kind == none:
		return ""
	case kind == "sqlite" || isServer(s.Path):
		return s.Path
	}
	out := "mysql://" + encoded(s.User)
	if s.Password != "" {
		out += ":" + encoded(s.Password)
	}
	if s.Socket != "" {
		out += "@unix(" + s.Socket + ")/"
	} else {
		port := strconv.Itoa(int(cmp.Or(s.Port, 3306)))
		out += "@" + net.JoinHostPort(cmp.Or(s.Host, "127.0.0.1"), port) + "/"
	}
	return out + encoded(s.Database) + "?" + s.options()
}

// options are what the name of a server says of the connection.
func (s Store) options() string {
	var out []string
	add := func(key, value string) {
		if value != "" {
			out = append(out, key+"="+url.QueryEscape(value))
		}
	}
	encrypted := s.TLS
	if encrypted == "no" && (s.CA != "" || s.Cert != "") {
		encrypted = "yes"
	}
	if encrypted != "no" {
		add("tls", encrypted)
	}
	add("tls-ca", s.CA)
	add("tls-cert", s.Cert)
	add("tls-key", s.Key)
	add("timeout", s.Timeout.String())
	return strings.Join(out, "&")
}

// encoded is a part of a name in which everything that could mean something is
// percent-encoded.
func encoded(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
