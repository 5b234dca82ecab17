package daemon

import (
	"context"
	"fmt"
	"net/http"

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
		TrustedProxies: s.o.HTTP.Proxies, Log: s.o.Log.Logger(), Refuse: api.Refuse,
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
		mux.Handle("/metrics", localOr(s.metrics.Handler(), answers))
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

// sayHowToBegin says how the first account is made, while there is none: without
// that line nobody gets in.
func (s *Service) sayHowToBegin() {
	if s.auth == nil || s.url() == "" {
		return
	}
	if token := s.auth.SetupToken(); token != "" {
		s.o.Log.Always(fmt.Sprintf("there is no account yet: open %s and make the first with the setup token %s", s.url(), token))
	}
}
