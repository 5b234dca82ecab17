package auth

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// What callers tell apart. Texts of ErrCredentials and of LockedError are the same
// whether there is such an account or not.
var (
	ErrNoLogin     = errors.New("nobody is logged in: log in, or send an API token")
	ErrExpired     = errors.New("the session has ended: log in again")
	ErrToken       = errors.New("the API token is not valid: it was revoked, has expired, or was never made")
	ErrCredentials = errors.New("name or password is wrong")
	ErrBusy        = errors.New("too many logins at once: try again in a few seconds")
	ErrMustChange  = errors.New("the password must be changed first")
	ErrSetup       = errors.New("the setup token is wrong: it is in the log of the daemon, and in the file setup-token of its state directory")
	ErrSetupDone   = errors.New("there are accounts already: log in, or ask an admin")
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("there is one already")
	ErrLastAdmin   = errors.New("it is the last admin who can log in: make another one first")
	ErrSession     = errors.New("an API token cannot do this: log in")
	ErrCrossOrigin = errors.New("the request comes from another site")
)

// LockedError is that nobody may try to log in for a while: too many attempts
// failed, with this name or from this address.
type LockedError struct{ After time.Duration }

func (e *LockedError) Error() string {
	return fmt.Sprintf("too many attempts to log in: try again in %s", e.After.Round(time.Second))
}

// DeniedError is that somebody who is logged in lacks a permission.
type DeniedError struct{ Permission Permission }

func (e *DeniedError) Error() string {
	return fmt.Sprintf("permission %s is missing: ask an admin for a role that has it", e.Permission)
}

// InvalidError is a value that is refused, and why.
type InvalidError struct{ Field, Why string }

func (e *InvalidError) Error() string { return e.Field + ": " + e.Why }

func invalid(field, format string, args ...any) error {
	return &InvalidError{field, fmt.Sprintf(format, args...)}
}

// cut shortens what somebody sent, at a whole character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
