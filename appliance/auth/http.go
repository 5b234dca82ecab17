package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Middleware finds out who makes a request: who sends the cookie of a session, or
// an API token ("Authorization: Bearer rst_…"). Handlers get it by From. A request
// of nobody passes, too: whether it may is for the handler to say.
//
// Refused are API tokens that are not valid (401), and requests of browsers that
// would change something and come from another site (403).
func (a *Auth) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := a.o.Now()
		from := a.ClientAddr(r)
		var c credentials
		if sent, ok := bearer(r); ok {
			if c.id, c.why = a.tokenIdentity(sent, now, from); c.why != nil {
				a.noteFailed("token", tokenID(sent), from, c.why)
				a.o.Refuse(w, r, http.StatusUnauthorized, c.why)
				return
			}
		} else {
			// Without a cookie as well: nobody is logged in as somebody else unawares.
			if err := a.cross.Check(r); err != nil {
				a.o.Refuse(w, r, http.StatusForbidden, ErrCrossOrigin)
				return
			}
			if cookie, err := r.Cookie(a.cookieName(r)); err == nil {
				if c.id, c.why = a.cookieIdentity(cookie.Value, now, from); c.why != nil {
					a.clearCookie(w, r)
				}
			}
		}
		if err := a.flushTouches(now, false); err != nil {
			a.o.Log.Error("last use of sessions not written", "err", err)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, c)))
	})
}

// bearer is the API token that a request sends, if any.
func bearer(r *http.Request) (string, bool) {
	kind, sent, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(sent), ok && strings.EqualFold(kind, "Bearer")
}

// tokenID is what the audit may say of a token that somebody sent.
func tokenID(sent string) string {
	if id, _, ok := parseToken(sent); ok {
		return id
	}
	return ""
}

// refuse answers with problem details (RFC 9457).
func refuse(w http.ResponseWriter, _ *http.Request, status int, err error) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="ringside"`)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": err.Error()})
}

// secure reports whether the browser speaks TLS, with us or with a trusted proxy.
func (a *Auth) secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	return a.trusted(peer(r)) && strings.EqualFold(lastOf(r.Header.Values("X-Forwarded-Proto")), "https")
}

// cookieName is that of the session. With __Host- browsers take it over TLS only,
// and from this host only.
func (a *Auth) cookieName(r *http.Request) string {
	if a.secure(r) {
		return "__Host-ringside"
	}
	return "ringside"
}

func (a *Auth) setCookie(w http.ResponseWriter, r *http.Request, value string) {
	http.SetCookie(w, &http.Cookie{Name: a.cookieName(r), Value: value, Path: "/",
		HttpOnly: true, Secure: a.secure(r), SameSite: http.SameSiteStrictMode})
}

func (a *Auth) clearCookie(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: a.cookieName(r), Path: "/", MaxAge: -1,
		HttpOnly: true, Secure: a.secure(r), SameSite: http.SameSiteStrictMode})
}

// peer is the address at the other end of the connection; not valid for sockets
// that have none.
func peer(r *http.Request) netip.Addr {
	p, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap().WithZone("")
}

func (a *Auth) trusted(addr netip.Addr) bool {
	return slices.ContainsFunc(a.o.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// maxHops is how many addresses of X-Forwarded-For are looked at, from the last.
const maxHops = 20

// ClientAddr is who sends a request. Behind trusted proxies it is the last address
// of X-Forwarded-For that is not one of theirs: what stands before it anybody can
// have written.
func (a *Auth) ClientAddr(r *http.Request) netip.Addr {
	addr := peer(r)
	if !a.trusted(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	hops = hops[max(0, len(hops)-maxHops):]
	for _, hop := range slices.Backward(hops) {
		next, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			return addr
		}
		if addr = next; !a.trusted(addr) {
			return addr
		}
	}
	return addr
}

// parseHop reads an address, with or without a port.
func parseHop(s string) (netip.Addr, bool) {
	if p, err := netip.ParseAddrPort(s); err == nil {
		return p.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return addr.Unmap().WithZone(""), err == nil
}

func lastOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	last := values[len(values)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}

// addrString is an address, or nothing where there is none.
func addrString(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
