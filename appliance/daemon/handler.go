package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"golang.org/x/sys/unix"

	"ringside/appliance/api"
	"ringside/appliance/auth"
	"ringside/appliance/web"
)

// openAccounts opens the accounts, which are kept below the state directory.
func (s *Service) openAccounts() (err error) {
	limit := int64(0)
	if s.budget != nil {
		limit = s.budget.Limit
	}
	s.auth, err = auth.Open(auth.Options{
		Dir: auth.Dir(s.o.StateDir), Memory: limit, Idle: s.o.HTTP.SessionIdle, Absolute: s.o.HTTP.SessionMax,
		TrustedProxies: s.o.HTTP.Proxies, Log: s.logger(slog.LevelInfo), Refuse: api.Refuse,
	})
	return err
}

// handler is what the port of the web UI answers: the API below its paths, the UI
// everywhere else.
func (s *Service) handler(context.Context) (http.Handler, error) {
	mux := http.NewServeMux()
	if s.api != nil {
		answers := s.api.Handler()
		for _, path := range []string{"/api/", "/healthz", "/readyz", "/debug/"} {
			mux.Handle(path, answers)
		}
		mux.Handle("/metrics", s.serveMetrics())
	}
	mux.Handle("/", web.Handler())
	return mux, nil
}

// serveLocal answers requests to the API from the control socket. Who may open the
// socket may do everything.
func (s *Service) serveLocal(w http.ResponseWriter, r *http.Request) {
	if s.api == nil {
		http.Error(w, "the API is off: name an address for it (listen, --http)", http.StatusNotFound)
		return
	}
	s.api.LocalHandler("local").ServeHTTP(w, r)
}

// kernel is the release of the kernel.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// setupLines say how the first account is made, while there is none.
func (s *Service) setupLines() []string {
	if s.auth == nil || s.url() == "" {
		return nil
	}
	token := s.auth.SetupToken()
	if token == "" {
		return nil
	}
	return []string{fmt.Sprintf("there is no account yet: open %s and make the first with the setup token %s", s.url(), token)}
}

// logger is for parts that log: their lines go where those of the service go.
func (s *Service) logger(least slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{s.say}, &slog.HandlerOptions{
		Level: least,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// logWriter says what is written, a line at a time.
type logWriter struct{ say func(string) }

func (w logWriter) Write(b []byte) (int, error) {
	w.say(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}
