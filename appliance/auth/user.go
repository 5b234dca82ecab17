package auth

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// User is an account as others may see it.
type User struct {
	Name            string    `json:"name"`
	Roles           []Role    `json:"roles"`
	Scope           Scope     `json:"scope"`
	Disabled        bool      `json:"disabled"`
	MustChange      bool      `json:"must_change_password"`
	Created         time.Time `json:"created"`
	PasswordChanged time.Time `json:"password_changed"`
	LastLogin       *Use      `json:"last_login,omitempty"`
}

// Use is when and from where something was used.
type Use struct {
	Time time.Time `json:"time"`
	From string    `json:"from,omitempty"`
}

// NewUser is what a new account needs.
type NewUser struct {
	Name       string `json:"name"`
	Password   string `json:"password"`
	Roles      []Role `json:"roles"`
	Scope      Scope  `json:"scope"`
	MustChange bool   `json:"must_change_password"`
}

// UserChange is what becomes different of an account; nil stays as it is.
type UserChange struct {
	Roles    *[]Role `json:"roles,omitempty"`
	Scope    *Scope  `json:"scope,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`
}

// account is a User as the file has it.
type account struct {
	Name       string    `json:"name"`
	Hash       string    `json:"hash"`
	Roles      []Role    `json:"roles"`
	Scope      Scope     `json:"scope,omitzero"`
	Disabled   bool      `json:"disabled,omitempty"`
	MustChange bool      `json:"must_change,omitempty"`
	Stamp      string    `json:"stamp"` // sessions hold while it is the same
	Created    time.Time `json:"created"`
	Changed    time.Time `json:"changed"` // the password
}

// accounts is users.json.
type accounts struct {
	Version int       `json:"version"`
	Users   []account `json:"users"`
	Tokens  []token   `json:"tokens"`
}

const (
	fileVersion = 1
	maxUsers    = 10000
)

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)

// canonical is how a name is written in the file.
func canonical(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// check finds what no update would have written.
func (f *accounts) check() error {
	if f.Version != fileVersion {
		return fmt.Errorf("it has version %d, and this program knows version %d: use the one that wrote it", f.Version, fileVersion)
	}
	seen := map[string]bool{}
	for _, u := range f.Users {
		if !validName.MatchString(u.Name) || seen[u.Name] {
			return fmt.Errorf("user %q: the name is not valid, or there twice", cut(u.Name, 80))
		}
		seen[u.Name] = true
		_, errHash := parsePHC(u.Hash)
		_, errRoles := checkRoles(u.Roles)
		_, errScope := checkScope(u.Scope)
		if err := errors.Join(errHash, errRoles, errScope); err != nil {
			return fmt.Errorf("user %s: %w", u.Name, err)
		}
		if u.Stamp == "" {
			return fmt.Errorf("user %s: the stamp is missing", u.Name)
		}
	}
	for _, t := range f.Tokens {
		if err := t.check(); err != nil {
			return fmt.Errorf("token %q: %w", cut(t.ID, 40), err)
		}
	}
	return nil
}

// find is a user in the file, or nil. It may be changed in an update only.
func (f *accounts) find(name string) *account {
	if i := slices.IndexFunc(f.Users, func(u account) bool { return u.Name == name }); i >= 0 {
		return &f.Users[i]
	}
	return nil
}

// admins counts who can manage accounts.
func (f *accounts) admins() (n int) {
	for _, u := range f.Users {
		if !u.Disabled && slices.Contains(u.Roles, Admin) {
			n++
		}
	}
	return n
}

func newStamp() string { return hex.EncodeToString(random(8)) }

func (u *account) public(act *activity) User {
	out := User{u.Name, slices.Clone(u.Roles), u.Scope, u.Disabled, u.MustChange, u.Created, u.Changed, nil}
	if l, ok := act.Logins[u.Name]; ok {
		out.LastLogin = &l
	}
	return out
}

// Users are all accounts, by name.
func (a *Auth) Users() []User {
	f, _ := a.users.view()
	act, _ := a.activity.view()
	out := make([]User, len(f.Users))
	for i := range f.Users {
		out[i] = f.Users[i].public(act)
	}
	slices.SortFunc(out, func(x, y User) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// User is one account, or ErrNotFound.
func (a *Auth) User(name string) (User, error) {
	f, _ := a.users.view()
	u := f.find(canonical(name))
	if u == nil {
		return User{}, noUser(name)
	}
	act, _ := a.activity.view()
	return u.public(act), nil
}

func noUser(name string) error { return fmt.Errorf("user %q: %w", cut(name, 80), ErrNotFound) }

// CreateUser makes an account. The first must be that of an admin.
func (a *Auth) CreateUser(ctx context.Context, n NewUser) (User, error) {
	u, err := a.createUser(ctx, n, false)
	detail := ""
	if err == nil {
		detail = u.describe()
	}
	return u, a.note(ctx, "user.create", cut(canonical(n.Name), 80), detail, err)
}

// createUser makes an account; with first only if there is none.
func (a *Auth) createUser(ctx context.Context, n NewUser, first bool) (User, error) {
	acc, err := newAccount(n)
	if err != nil {
		return User{}, err
	}
	if acc.Hash, err = a.hasher.hash(ctx, n.Password); err != nil {
		return User{}, err
	}
	acc.Created = a.o.Now().UTC()
	acc.Changed = acc.Created
	err = a.users.update(false, func(f *accounts) error {
		switch {
		case first && len(f.Users) > 0:
			return ErrSetupDone
		case f.find(acc.Name) != nil:
			return fmt.Errorf("user %s: %w", acc.Name, ErrExists)
		case len(f.Users) == 0 && !slices.Contains(acc.Roles, Admin):
			return invalid("roles", "the first account must be that of an admin")
		case len(f.Users) >= maxUsers:
			return invalid("name", "there are %d accounts, and no more are possible", len(f.Users))
		}
		f.Version = fileVersion
		f.Users = append(f.Users, acc)
		return nil
	})
	if err != nil {
		return User{}, err
	}
	return acc.public(&activity{}), a.finishSetup()
}

func newAccount(n NewUser) (account, error) {
	acc := account{Name: canonical(n.Name), MustChange: n.MustChange, Stamp: newStamp()}
	if !validName.MatchString(acc.Name) {
		return acc, invalid("name", "%q: write up to 64 of a-z, 0-9 and . _ @ -, beginning with a letter or digit", cut(n.Name, 80))
	}
	var err error
	if acc.Roles, err = checkRoles(n.Roles); err != nil {
		return acc, err
	}
	if acc.Scope, err = checkScope(n.Scope); err != nil {
		return acc, err
	}
	if err := scopeFits(acc.Roles, acc.Scope); err != nil {
		return acc, err
	}
	return acc, checkPassword(acc.Name, n.Password)
}

// scopeFits refuses a scope that its owner could take off, or that holds for a
// part of what the role shows only.
func scopeFits(roles []Role, s Scope) error {
	if !s.All() && (slices.Contains(roles, Admin) || slices.Contains(roles, Operator)) {
		return invalid("scope", "admins and operators see the whole appliance: leave the scope empty, or give another role")
	}
	return nil
}

func (u User) describe() string {
	s := "roles " + strings.ReplaceAll(joined(u.Roles), " ", "")
	if !u.Scope.All() {
		s += " " + u.Scope.String()
	}
	return s
}

// String is a scope in words, for the audit.
func (s Scope) String() string {
	if s.All() {
		return "everything"
	}
	var part []string
	for _, d := range []struct {
		name string
		of   string
		n    int
	}{{"sensors", fmt.Sprint(s.Sensors), len(s.Sensors)}, {"prefixes", fmt.Sprint(s.Prefixes), len(s.Prefixes)}, {"nets", fmt.Sprint(s.Nets), len(s.Nets)}} {
		if d.n > 0 {
			part = append(part, d.name+" "+d.of)
		}
	}
	return strings.Join(part, " ")
}

// UpdateUser changes an account. Where its rights change, its sessions end.
func (a *Auth) UpdateUser(ctx context.Context, name string, c UserChange) (User, error) {
	name = canonical(name)
	var said []string
	var out User
	err := a.changeAccount(name, func(u *account) error {
		before := *u
		if c.Roles != nil {
			roles, err := checkRoles(*c.Roles)
			if err != nil {
				return err
			}
			u.Roles = roles
		}
		if c.Scope != nil {
			scope, err := checkScope(*c.Scope)
			if err != nil {
				return err
			}
			u.Scope = scope
		}
		if c.Disabled != nil {
			u.Disabled = *c.Disabled
		}
		said = differences(&before, u)
		if len(said) > 0 {
			u.Stamp = newStamp()
		}
		out = u.public(&activity{})
		return scopeFits(u.Roles, u.Scope)
	})
	if err != nil {
		return User{}, a.note(ctx, "user.change", cut(name, 80), "", err)
	}
	if len(said) > 0 {
		_ = a.note(ctx, "user.change", name, strings.Join(said, "; "), nil)
	}
	return out, nil
}

func differences(before, after *account) (said []string) {
	if !slices.Equal(before.Roles, after.Roles) {
		said = append(said, fmt.Sprintf("roles %s → %s", joined(before.Roles), joined(after.Roles)))
	}
	if !before.Scope.equal(after.Scope) {
		said = append(said, fmt.Sprintf("scope %s → %s", before.Scope, after.Scope))
	}
	if before.Disabled != after.Disabled {
		said = append(said, map[bool]string{true: "disabled", false: "enabled"}[after.Disabled])
	}
	return said
}

// changeAccount changes one account, unless no admin would be left.
func (a *Auth) changeAccount(name string, change func(*account) error) error {
	return a.users.update(false, func(f *accounts) error {
		u := f.find(name)
		if u == nil {
			return noUser(name)
		}
		admins := f.admins()
		if err := change(u); err != nil {
			return err
		}
		if admins > 0 && f.admins() == 0 {
			return ErrLastAdmin
		}
		return nil
	})
}

// DeleteUser removes an account with its sessions, tokens and preferences.
func (a *Auth) DeleteUser(ctx context.Context, name string) error {
	name = canonical(name)
	err := a.users.update(false, func(f *accounts) error {
		if f.find(name) == nil {
			return noUser(name)
		}
		f.Users = slices.DeleteFunc(f.Users, func(u account) bool { return u.Name == name })
		f.Tokens = slices.DeleteFunc(f.Tokens, func(t token) bool { return t.User == name })
		if f.admins() == 0 {
			return ErrLastAdmin
		}
		return nil
	})
	if err == nil {
		err = a.activity.update(true, func(f *activity) error { f.forgetUser(name); return nil })
		err = errors.Join(err, a.dropPreferences(name))
	}
	return a.note(ctx, "user.delete", cut(name, 80), "", err)
}

// SetPassword gives an account a new password, as an admin does for somebody who
// has forgotten it. All its sessions end, and it is not locked any more.
func (a *Auth) SetPassword(ctx context.Context, name, password string, mustChange bool) error {
	name = canonical(name)
	err := a.setPassword(ctx, name, password, mustChange)
	detail := "set by another"
	if mustChange {
		detail += ", to be changed at the next login"
	}
	return a.note(ctx, "user.password", cut(name, 80), detail, err)
}

func (a *Auth) setPassword(ctx context.Context, name, password string, mustChange bool) error {
	if _, err := a.User(name); err != nil {
		return err
	}
	if err := checkPassword(name, password); err != nil {
		return err
	}
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	err = a.changeAccount(name, func(u *account) error {
		u.Hash, u.MustChange, u.Stamp, u.Changed = hash, mustChange, newStamp(), a.o.Now().UTC()
		return nil
	})
	if err == nil {
		a.guard.pardon(name)
	}
	return err
}
