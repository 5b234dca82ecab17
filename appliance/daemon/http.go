package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"
)

// HTTPOptions say where the web UI and the API are.
type HTTPOptions struct {
	Addr      string // address and port; empty: nowhere
	Cert, Key string // files, PEM; empty: without TLS
	Insecure  bool   // other machines may come without TLS

	Proxies                 []netip.Prefix // whose X-Forwarded-For is believed
	SessionIdle, SessionMax time.Duration  // 0: the defaults of appliance/auth
}

// ErrPort is why a service does not start that cannot listen where it should.
var ErrPort = errors.New("cannot listen")

// ErrBadOption is why a service does not start whose options are wrong.
var ErrBadOption = errors.New("refused")

// check refuses what would let passwords cross a network in the clear.
func (o *HTTPOptions) check() error {
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return fmt.Errorf("listen at %q: %w: write an address and a port, as in 127.0.0.1:8080", o.Addr, ErrBadOption)
	}
	if (o.Cert == "") != (o.Key == "") {
		return fmt.Errorf("listen with TLS: %w: a certificate and its key go together: name both (tls_cert, tls_key)", ErrBadOption)
	}
	if o.Cert != "" || o.Insecure {
		return nil
	}
	ip, err := netip.ParseAddr(host)
	if err == nil && ip.IsLoopback() || host == "localhost" {
		return nil
	}
	return fmt.Errorf("listen at %s: %w: other machines would send passwords in the clear: name a certificate (tls_cert, tls_key), listen at 127.0.0.1, or set listen_insecure = yes behind a proxy of your own", o.Addr, ErrBadOption)
}

// certificate is a pair of files that may be replaced while they are used: what
// renews certificates need not tell us.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	pair    *tls.Certificate
	changed time.Time // the newer file
	looked  time.Time
}

// certEvery is how often the files are looked at.
const certEvery = 10 * time.Second

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.pair != nil && now.Sub(c.looked) < certEvery {
		return c.pair, nil
	}
	c.looked = now
	changed := c.modified()
	if c.pair != nil && changed.Equal(c.changed) {
		return c.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		if c.pair != nil { // it is being replaced
			return c.pair, nil
		}
		return nil, fmt.Errorf("read the certificate %s and its key %s: %w", c.cert, c.key, err)
	}
	c.pair, c.changed = &pair, changed
	return c.pair, nil
}

func (c *certificate) modified() (newest time.Time) {
	for _, path := range []string{c.cert, c.key} {
		if i, err := os.Stat(path); err == nil && i.ModTime().After(newest) {
			newest = i.ModTime()
		}
	}
	return newest
}

// Times that a client has: slow ones take up a connection, and nothing else.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 64 << 10
	httpClosing   = 5 * time.Second // for requests that are under way at the end
)

// newServer is a server with limits. Times for a whole request are those of its
// route: a download may take long.
func newServer(h http.Handler, to *Log) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes,
		ErrorLog: slog.NewLogLogger(to.Logger().Handler(), slog.LevelWarn),
	}
}

// listeners are where a service can be asked.
type listeners struct {
	http    net.Listener
	server  *http.Server
	secure  bool
	control net.Listener
	local   *http.Server    // of the control socket
	ended   context.Context // it takes no more requests: those that would last for ever end
	manager *manager
}

// listen takes every port, and answers nobody yet.
func (s *Service) listen(ctx context.Context) error {
	if addr := s.o.HTTP.Addr; addr != "" {
		if err := s.listenHTTP(ctx, addr); err != nil {
			return err
		}
	}
	if path := s.o.Control; path != "" {
		l, err := listenControl(path)
		if err != nil {
			return err
		}
		s.control, s.local = l, newServer(s, s.o.Log)
		ended, end := context.WithCancel(context.WithoutCancel(ctx))
		s.ended = ended
		s.local.RegisterOnShutdown(end)
	}
	if addr := s.o.Manager; addr != "" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("manager port %s: %w: %w", addr, ErrPort, err)
		}
		if !addrOf(l.Addr().String()).IsLoopback() {
			l.Close()
			return fmt.Errorf("manager port %s: %w: other machines could ask, and nobody logs in there: take an address of the loopback, as 127.0.0.1:5029", addr, ErrBadOption)
		}
		s.manager = newManager(l, s)
	}
	return nil
}

func (s *Service) listenHTTP(ctx context.Context, addr string) error {
	if err := s.o.HTTP.check(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("web UI and API at %s: %w: %w: choose another address (listen, --http)", addr, ErrPort, err)
	}
	onLoopback := addrOf(l.Addr().String()).IsLoopback()
	l = newBounded(l, s.o.HTTP.Proxies, connsInAll, connsOfOne)
	s.listeners.http = l
	if s.o.HTTP.Cert != "" {
		c := &certificate{cert: s.o.HTTP.Cert, key: s.o.HTTP.Key}
		if _, err := c.get(nil); err != nil {
			return err
		}
		s.secure = true
		s.listeners.http = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"http/1.1"}})
	}
	h, err := s.handler(ctx)
	if err != nil {
		return err
	}
	if onLoopback && !s.secure { // with TLS the certificate says whose names lead here
		h = ownHost(s.o.HTTP.Proxies, h)
	}
	s.server = newServer(timely(h), s.o.Log)
	if s.api != nil {
		s.server.RegisterOnShutdown(s.api.End)
	}
	return nil
}

// serve answers until the listeners are closed.
func (s *Service) serve(ctx context.Context) {
	run := func(name string, serve func() error) {
		s.wg.Go(func() {
			if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				s.o.Log.Error(fmt.Sprintf("%s ends: %v", name, err))
			}
		})
	}
	if s.server != nil {
		run("the web UI", func() error { return s.server.Serve(s.listeners.http) })
	}
	if s.local != nil {
		run("the control socket", func() error { return s.local.Serve(s.control) })
	}
	if s.manager != nil {
		run("the manager port", func() error { return s.manager.serve(ctx) })
	}
}

// serves reports whether somebody can ask.
func (l *listeners) serves() bool { return l.http != nil || l.control != nil || l.manager != nil }

// close ends requests that are under way, after a moment.
func (l *listeners) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, httpClosing)
	defer cancel()
	var errs []error
	for _, s := range []*http.Server{l.server, l.local} {
		if s == nil {
			continue
		}
		if err := s.Shutdown(ctx); err != nil {
			errs = append(errs, s.Close())
		}
	}
	for _, c := range []net.Listener{l.http, l.control} { // those that were never served
		if c != nil {
			if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	if l.manager != nil {
		l.manager.close()
	}
	return errors.Join(errs...)
}

// url is where the web UI is.
func (l *listeners) url() string {
	if l.http == nil {
		return ""
	}
	scheme := "http"
	if l.secure {
		scheme = "https"
	}
	return scheme + "://" + l.http.Addr().String() + "/"
}

func (l *listeners) describe() (out []string) {
	if l.http != nil {
		out = append(out, "web UI and API: "+l.url())
	}
	if l.control != nil {
		out = append(out, "control socket: "+l.control.Addr().String())
	}
	if l.manager != nil {
		out = append(out, "manager port: "+l.manager.listener.Addr().String())
	}
	return out
}
