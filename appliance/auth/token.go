package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Token is an API token as its owner may see it. It can do what its permissions
// say and its owner can at that moment, on rows that are in the scopes of both.
type Token struct {
	ID          string       `json:"id"`
	User        string       `json:"user"`
	Name        string       `json:"name"` // what it is for
	Permissions []Permission `json:"permissions"`
	Scope       Scope        `json:"scope"`
	Created     time.Time    `json:"created"`
	Expires     time.Time    `json:"expires"`
	LastUse     *Use         `json:"last_use,omitempty"`
}

// NewToken is what a new API token needs.
type NewToken struct {
	Name        string       `json:"name"`
	Permissions []Permission `json:"permissions"`
	Scope       Scope        `json:"scope"`
	Expires     time.Time    `json:"expires,omitzero"` // default: in 90 days; at most three years ahead
}

const (
	tokenPrefix  = "rst_"
	tokenDays    = 90
	tokenMaxDays = 3 * 366
	maxTokens    = 50 // of a user
)

// token is a Token as the file has it. The secret has 256 bits: one SHA-256 keeps
// it well enough.
type token struct {
	ID          string       `json:"id"`
	User        string       `json:"user"`
	Name        string       `json:"name"`
	Hash        string       `json:"hash"` // SHA-256 of the secret
	Permissions []Permission `json:"permissions"`
	Scope       Scope        `json:"scope,omitzero"`
	Created     time.Time    `json:"created"`
	Expires     time.Time    `json:"expires"`
}

func (t token) check() error {
	id, errID := hex.DecodeString(t.ID)
	hash, errHash := hex.DecodeString(t.Hash)
	if errors.Join(errID, errHash) != nil || len(id) != 8 || len(hash) != sha256.Size {
		return errors.New("its id or hash is not valid")
	}
	_, errPerm := checkPermissions(t.Permissions)
	_, errScope := checkScope(t.Scope)
	return errors.Join(errPerm, errScope)
}

func (t token) public(act *activity) Token {
	out := Token{t.ID, t.User, t.Name, slices.Clone(t.Permissions), t.Scope, t.Created, t.Expires, nil}
	if u, ok := act.Uses[t.ID]; ok {
		out.LastUse = &u
	}
	return out
}

// parseToken takes "rst_<id>_<secret>" apart: 16 and 64 hexadecimal digits.
func parseToken(s string) (id string, secret []byte, ok bool) {
	rest, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok || len(rest) != 16+1+64 || rest[16] != '_' || strings.ToLower(rest) != rest {
		return "", nil, false
	}
	if _, err := hex.DecodeString(rest[:16]); err != nil {
		return "", nil, false
	}
	secret, err := hex.DecodeString(rest[17:])
	return rest[:16], secret, err == nil
}

func hashOf(secret []byte) string {
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:])
}

// CreateToken makes an API token for a user and returns it whole: nobody can see
// the secret again. It takes no more than the user, and whoever makes it, may do.
func (a *Auth) CreateToken(ctx context.Context, user string, n NewToken) (Token, string, error) {
	user = canonical(user)
	t, secret, err := a.createToken(ctx, user, n)
	detail := ""
	if err == nil {
		detail = fmt.Sprintf("of %s, %s, %s, until %s", user, joined(t.Permissions), t.Scope, t.Expires.Format(time.DateOnly))
	}
	return t, secret, a.note(ctx, "token.create", t.ID, detail, err)
}

func (a *Auth) createToken(ctx context.Context, user string, n NewToken) (Token, string, error) {
	by := From(ctx)
	if by != nil && by.Token != "" {
		return Token{}, "", ErrSession
	}
	now := a.o.Now().UTC()
	t, err := newToken(user, n, now)
	if err != nil {
		return Token{}, "", err
	}
	secret := random(32)
	t.Hash = hashOf(secret)
	err = a.users.update(false, func(f *accounts) error {
		u := f.find(user)
		if u == nil {
			return noUser(user)
		}
		f.Tokens = slices.DeleteFunc(f.Tokens, func(o token) bool { return !o.Expires.After(now) })
		if of := f.tokensOf(user); of >= maxTokens {
			return invalid("name", "%s has %d API tokens: revoke some first", user, of)
		}
		may := permitted(u.Roles)
		for _, p := range t.Permissions {
			if !slices.Contains(may, p) {
				return invalid("permissions", "%s does not have %s", user, p)
			}
			// Another's token must not give its maker what the maker lacks.
			if by != nil && !by.Can(p) {
				return by.Require(p)
			}
		}
		if _, ok := u.Scope.Narrow(t.Scope); !ok {
			return invalid("scope", "it has nothing in common with that of %s", user)
		}
		f.Tokens = append(f.Tokens, t)
		return nil
	})
	if err != nil {
		return Token{}, "", err
	}
	return t.public(&activity{}), tokenPrefix + t.ID + "_" + hex.EncodeToString(secret), nil
}

func newToken(user string, n NewToken, now time.Time) (token, error) {
	t := token{ID: hex.EncodeToString(random(8)), User: user, Name: strings.TrimSpace(n.Name), Created: now, Expires: n.Expires.UTC()}
	if t.Name == "" || len(t.Name) > 100 || strings.ContainsFunc(t.Name, unicode.IsControl) || strings.ToValidUTF8(t.Name, "") != t.Name {
		return t, invalid("name", "say in up to 100 characters what the token is for")
	}
	if n.Expires.IsZero() {
		t.Expires = now.AddDate(0, 0, tokenDays)
	}
	if !t.Expires.After(now) || t.Expires.After(now.AddDate(0, 0, tokenMaxDays)) {
		return t, invalid("expires", "%s: it must be in the future, and at most three years ahead", t.Expires.Format(time.RFC3339))
	}
	var err error
	if t.Permissions, err = checkPermissions(n.Permissions); err != nil {
		return t, err
	}
	t.Scope, err = checkScope(n.Scope)
	return t, err
}

func (f *accounts) tokensOf(user string) (n int) {
	for _, t := range f.Tokens {
		if t.User == user {
			n++
		}
	}
	return n
}

// Tokens are the API tokens of a user, or all with an empty name, newest first.
func (a *Auth) Tokens(user string) []Token {
	user = canonical(user)
	f, _ := a.users.view()
	act, _ := a.activity.view()
	out := []Token{}
	for _, t := range f.Tokens {
		if user == "" || t.User == user {
			out = append(out, t.public(act))
		}
	}
	slices.SortStableFunc(out, func(x, y Token) int { return y.Created.Compare(x.Created) })
	return out
}

// Token is one API token, or ErrNotFound.
func (a *Auth) Token(id string) (Token, error) {
	for _, t := range a.Tokens("") {
		if t.ID == id {
			return t, nil
		}
	}
	return Token{}, fmt.Errorf("API token %q: %w", cut(id, 40), ErrNotFound)
}

// RevokeToken ends an API token at once. A token that may not manage users can end
// itself only.
func (a *Auth) RevokeToken(ctx context.Context, id string) error {
	owner := ""
	if by := From(ctx); by != nil && by.Token != id && by.limited() {
		return a.note(ctx, "token.revoke", cut(id, 40), "", ErrSession)
	}
	err := a.users.update(false, func(f *accounts) error {
		i := slices.IndexFunc(f.Tokens, func(t token) bool { return t.ID == id })
		if i < 0 {
			return fmt.Errorf("API token %q: %w", cut(id, 40), ErrNotFound)
		}
		owner = f.Tokens[i].User
		f.Tokens = slices.Delete(f.Tokens, i, i+1)
		return nil
	})
	if err == nil {
		owner = "of " + owner
	}
	return a.note(ctx, "token.revoke", cut(id, 40), owner, err)
}

// tokenIdentity is who sends an API token, or ErrToken.
func (a *Auth) tokenIdentity(sent string, now time.Time, from netip.Addr) (*Identity, error) {
	id, secret, ok := parseToken(sent)
	if !ok {
		return nil, ErrToken
	}
	who, hash := a.identityOfToken(id, now)
	if subtle.ConstantTimeCompare([]byte(hashOf(secret)), []byte(hash)) != 1 || who == nil {
		return nil, ErrToken
	}
	who.From = from
	a.touched.token(id, Use{now.UTC(), addrString(from)})
	return who, nil
}

// identityOfToken is what an API token may do just now, if anything.
func (a *Auth) identityOfToken(id string, now time.Time) (who *Identity, hash string) {
	f, _ := a.users.view()
	i := slices.IndexFunc(f.Tokens, func(t token) bool { return t.ID == id })
	if i < 0 {
		return nil, ""
	}
	t := f.Tokens[i]
	u := f.find(t.User)
	if u == nil || u.Disabled || u.MustChange || !now.Before(t.Expires) {
		return nil, ""
	}
	scope, ok := u.Scope.Narrow(t.Scope)
	if !ok {
		return nil, ""
	}
	may := permitted(u.Roles)
	may = slices.DeleteFunc(may, func(p Permission) bool { return !slices.Contains(t.Permissions, p) })
	return &Identity{User: u.Name, Roles: slices.Clone(u.Roles), Permissions: may, Scope: scope, Token: id, Expires: t.Expires}, t.Hash
}
