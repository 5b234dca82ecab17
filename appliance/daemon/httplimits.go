package daemon

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Connections to the web UI's port that may be open. More would take descriptors
// that the capture, the spool and the database need.
const (
	connsInAll   = 1024
	connsOfOne   = 256              // one address, unless it is a proxy
	requestTime  = 15 * time.Second // for the body of a request to come
	responseTime = 30 * time.Second // for an answer to go, or for each piece of a long one
)

// bounded is a listener that closes connections beyond its limits at once.
type bounded struct {
	net.Listener
	proxies []netip.Prefix
	all     int
	one     int

	mu   sync.Mutex
	open map[netip.Addr]int
	sum  int
}

func newBounded(l net.Listener, proxies []netip.Prefix, all, one int) *bounded {
	return &bounded{Listener: l, proxies: proxies, all: all, one: one, open: make(map[netip.Addr]int)}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addrOf(c.RemoteAddr().String())
		if b.enter(from) {
			return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { b.leave(from) })}, nil
		}
		c.Close()
	}
}

func (b *bounded) enter(from netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sum >= b.all || b.open[from] >= b.one && !contains(b.proxies, from) {
		return false
	}
	b.sum++
	b.open[from]++
	return true
}

func (b *bounded) leave(from netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sum--
	if b.open[from]--; b.open[from] == 0 {
		delete(b.open, from)
	}
}

// boundedConn says when it is closed.
type boundedConn struct {
	net.Conn
	leave func()
}

func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// timely gives every request times for its body and its answer. Routes of the API
// have their own, and set them anew.
func timely(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		now := time.Now()
		if r.ContentLength != 0 { // the server reads what a handler has left, and waits for it
			_ = control.SetReadDeadline(now.Add(requestTime))
		}
		_ = control.SetWriteDeadline(now.Add(responseTime))
		next.ServeHTTP(w, r)
	})
}

// ownHost refuses requests to a port of the loopback that name another host: a page
// of another site whose name leads here, too (DNS rebinding). Browsers take it for
// that site's own, and would let its scripts read the answers. An address is no
// name that could be made to lead here. Behind proxies names are theirs to check.
func ownHost(proxies []netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !contains(proxies, addrOf(r.RemoteAddr)) && !loopbackHost(r.Host) {
			http.Error(w, "this port is for this machine: open it as 127.0.0.1 or localhost, or name the proxy before it (trusted_proxies)", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopbackHost reports whether a Host header is an address, or a name that resolvers
// keep on this machine (RFC 6761 section 6.3). HTTP/1.0 needs none.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// addrOf is the address of an endpoint; not valid if it has none.
func addrOf(endpoint string) netip.Addr {
	p, err := netip.ParseAddrPort(endpoint)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap().WithZone("")
}
