package auth

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// Identity is who makes a request. It is made new for every request and must not
// be changed.
type Identity struct {
	User        string       `json:"user"`
	Roles       []Role       `json:"roles"`
	Permissions []Permission `json:"permissions"` // of the roles, and of the token if there is one
	Scope       Scope        `json:"scope"`
	MustChange  bool         `json:"must_change_password,omitempty"` // may do nothing but set a new password

	Session string     `json:"session,omitempty"` // id of the session, as lists show it
	Token   string     `json:"token,omitempty"`   // id of the API token
	Expires time.Time  `json:"expires,omitzero"`  // of the session or the token, at the latest
	From    netip.Addr `json:"from,omitzero"`     // who sent the request; a trusted proxy's word for it

	local bool // on this machine, not over HTTP
}

// Local is somebody who works on the machine itself: a command, or the daemon.
func Local(user string) *Identity {
	return &Identity{User: user, Permissions: Permissions(), local: true}
}

// Can reports whether the identity has a permission. Nobody (nil) has none.
func (id *Identity) Can(p Permission) bool {
	return id != nil && !id.MustChange && slices.Contains(id.Permissions, p)
}

// Require is nil if the identity has a permission, else ErrNoLogin, ErrMustChange
// or a DeniedError.
func (id *Identity) Require(p Permission) error {
	switch {
	case id == nil:
		return ErrNoLogin
	case id.MustChange:
		return ErrMustChange
	case !id.Can(p):
		return &DeniedError{p}
	}
	return nil
}

// limited reports whether it is an API token without the right to manage users: it
// must not touch what else its user has.
func (id *Identity) limited() bool { return id != nil && id.Token != "" && !id.Can(UsersManage) }

// Via says how the identity was proved, for the audit.
func (id *Identity) Via() string {
	switch {
	case id == nil:
		return ""
	case id.local:
		return "local"
	case id.Token != "":
		return "token " + id.Token
	case id.Session != "":
		return "session " + id.Session
	}
	return ""
}

type contextKey struct{}

type credentials struct {
	id  *Identity
	why error // why there is none
}

// With returns a context that carries an identity.
func With(ctx context.Context, id *Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, credentials{id: id})
}

// From is the identity in a context, or nil if nobody is logged in.
func From(ctx context.Context) *Identity {
	c, _ := ctx.Value(contextKey{}).(credentials)
	return c.id
}

// Why is the reason for which there is no identity in a context: ErrNoLogin,
// ErrExpired or ErrToken.
func Why(ctx context.Context) error {
	c, _ := ctx.Value(contextKey{}).(credentials)
	switch {
	case c.id != nil:
		return nil
	case c.why != nil:
		return c.why
	}
	return ErrNoLogin
}
