package api

import (
	"encoding/json"
	"net/http"
	"time"

	"ringside/appliance/auth"
	"ringside/writer/store"
)

// Who is logged in, and who may be: appliance/auth decides, and writes its own
// audit; here its answers are put into JSON.

func (q *request) me(id *auth.Identity) Me {
	via := "session"
	if id.Token != "" {
		via = "token"
	} else if id.Session == "" {
		via = "local"
	}
	out := Me{Identity: *id, Via: via, Preferences: q.a.o.Auth.Preferences(id.User)}
	if out.Roles == nil {
		out.Roles = []auth.Role{}
	}
	if out.Permissions == nil {
		out.Permissions = []auth.Permission{}
	}
	return out
}

func (q *request) whoAmI() error { return q.json(q.me(q.id)) }

func (q *request) login() error {
	var c Credentials
	if err := q.body(&c); err != nil {
		return err
	}
	id, err := q.a.o.Auth.Login(q.w, q.r, c.User, c.Password)
	if err != nil {
		return err
	}
	return q.json(q.me(id))
}

func (q *request) logout() error {
	if err := q.a.o.Auth.Logout(q.w, q.r); err != nil {
		return err
	}
	return q.nothing()
}

func (q *request) changePassword() error {
	var n NewPassword
	if err := q.body(&n); err != nil {
		return err
	}
	if _, err := q.a.o.Auth.ChangePassword(q.w, q.r, n.Old, n.New); err != nil {
		return err
	}
	return q.nothing()
}

func (q *request) setPreferences() error {
	var p json.RawMessage
	if err := q.body(&p); err != nil {
		return err
	}
	if err := q.a.o.Auth.SetPreferences(q.id.User, p); err != nil {
		return err
	}
	return q.nothing()
}

func (q *request) setupState() error {
	return q.json(SetupState{q.a.o.Auth.NeedsSetup()})
}

func (q *request) setUp() error {
	var s Setup
	if err := q.body(&s); err != nil {
		return err
	}
	id, err := q.a.o.Auth.Setup(q.w, q.r, s.Token, s.User, s.Password)
	if err != nil {
		return err
	}
	return q.jsonAs(http.StatusCreated, q.me(id))
}

func (q *request) listUsers() error {
	return q.json(List[auth.User]{Items: orEmpty(q.a.o.Auth.Users())})
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (q *request) getUser() error {
	u, err := q.a.o.Auth.User(q.r.PathValue("name"))
	if err != nil {
		return err
	}
	return q.json(u)
}

func (q *request) addUser() error {
	var n auth.NewUser
	if err := q.body(&n); err != nil {
		return err
	}
	u, err := q.a.o.Auth.CreateUser(q.r.Context(), n)
	if err != nil {
		return err
	}
	return q.jsonAs(http.StatusCreated, u)
}

func (q *request) changeUser() error {
	var c auth.UserChange
	if err := q.body(&c); err != nil {
		return err
	}
	u, err := q.a.o.Auth.UpdateUser(q.r.Context(), q.r.PathValue("name"), c)
	if err != nil {
		return err
	}
	return q.json(u)
}

func (q *request) setUserPassword() error {
	var n NewSecret
	if err := q.body(&n); err != nil {
		return err
	}
	if err := q.a.o.Auth.SetPassword(q.r.Context(), q.r.PathValue("name"), n.Password, n.MustChange); err != nil {
		return err
	}
	return q.nothing()
}

func (q *request) deleteUser() error {
	if err := q.a.o.Auth.DeleteUser(q.r.Context(), q.r.PathValue("name")); err != nil {
		return err
	}
	return q.nothing()
}

// whose is of whom sessions and tokens are listed: one's own, or all for who
// manages users.
func (q *request) whose() string {
	if q.id.Can(auth.UsersManage) {
		return ""
	}
	return q.id.User
}

// own refuses what belongs to somebody else, as if it were not there.
func (q *request) own(user string) error {
	if user != q.id.User && !q.id.Can(auth.UsersManage) {
		return auth.ErrNotFound
	}
	return nil
}

func (q *request) listTokens() error {
	return q.json(List[auth.Token]{Items: orEmpty(q.a.o.Auth.Tokens(q.whose()))})
}

func (q *request) addToken() error {
	var n auth.NewToken
	if err := q.body(&n); err != nil {
		return err
	}
	t, secret, err := q.a.o.Auth.CreateToken(q.r.Context(), q.id.User, n)
	if err != nil {
		return err
	}
	return q.jsonAs(http.StatusCreated, MadeToken{t, secret})
}

func (q *request) deleteToken() error {
	t, err := q.a.o.Auth.Token(q.r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := q.own(t.User); err != nil {
		return err
	}
	if err := q.a.o.Auth.RevokeToken(q.r.Context(), t.ID); err != nil {
		return err
	}
	return q.nothing()
}

func (q *request) listSessions() error {
	out := List[Session]{Items: []Session{}}
	for _, s := range q.a.o.Auth.Sessions(q.whose()) {
		out.Items = append(out.Items, Session{s, s.ID == q.id.Session})
	}
	return q.json(out)
}

func (q *request) deleteSession() error {
	s, err := q.a.o.Auth.Session(q.r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := q.own(s.User); err != nil {
		return err
	}
	if err := q.a.o.Auth.RevokeSession(q.r.Context(), s.ID); err != nil {
		return err
	}
	return q.nothing()
}

func (q *request) listAudit() error {
	p := q.params()
	var from, to int64
	p.moment("from", &from)
	p.moment("to", &to)
	f := auth.AuditFilter{User: p.text("user"), Action: p.text("action"), Object: p.text("object"), Addr: p.text("addr"), Text: p.text("text"),
		Outcome: auth.Outcome(p.choice("outcome", "", string(auth.OK), string(auth.Denied), string(auth.Failed)))}
	if from != 0 {
		f.From = time.Unix(0, from)
	}
	if to != 0 {
		f.To = time.Unix(0, to)
	}
	return list(q, p, "audit", nil, func(page store.Page) ([]auth.Entry, string, error) {
		if page.Ascending {
			return nil, "", fail(codeParameter, "order: the audit log is newest first")
		}
		f.Limit, f.Cursor = page.Limit, page.Cursor
		r, err := q.a.o.Auth.Audit.Query(q.r.Context(), f)
		return r.Entries, r.Next, err
	})
}

func (q *request) verifyAudit() error {
	v, err := q.a.o.Auth.Audit.Verify(q.r.Context())
	if err != nil {
		return err
	}
	return q.json(AuditCheck{len(v.Breaks) == 0, v})
}
