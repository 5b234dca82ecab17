package auth

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestRoles(t *testing.T) {
	for _, tc := range []struct {
		roles  []Role
		can    []Permission
		cannot []Permission
	}{
		{[]Role{Viewer}, []Permission{CallsRead, StatsRead, StatusRead, LiveRead}, []Permission{SignallingRead, PacketsRead, AudioRead, NotesWrite, RulesManage, SettingsRead, UsersManage, AuditRead, DebugRead}},
		{[]Role{Analyst}, []Permission{CallsRead, SignallingRead, PacketsRead, NotesWrite}, []Permission{AudioRead, RulesManage, UsersManage}},
		{[]Role{Listener}, []Permission{CallsRead, AudioRead}, []Permission{SignallingRead, PacketsRead, UsersManage}},
		{[]Role{Operator}, []Permission{CallsRead, CaptureManage, SpoolManage, RulesManage, SettingsRead, SettingsManage}, []Permission{AudioRead, PacketsRead, SignallingRead, UsersManage, AuditRead, DebugRead}},
		{[]Role{Admin}, []Permission{CallsRead, PacketsRead, RulesManage, UsersManage, AuditRead, DebugRead}, []Permission{AudioRead}},
		{[]Role{Analyst, Listener}, []Permission{PacketsRead, AudioRead}, []Permission{UsersManage}},
		{[]Role{"god"}, nil, Permissions()},
		{nil, nil, Permissions()},
	} {
		t.Run(joined(tc.roles), func(t *testing.T) {
			id := &Identity{Permissions: permitted(tc.roles)}
			for _, p := range tc.can {
				if !id.Can(p) || id.Require(p) != nil {
					t.Errorf("%s is missing", p)
				}
			}
			var denied *DeniedError
			for _, p := range tc.cannot {
				if id.Can(p) || !errors.As(id.Require(p), &denied) || denied.Permission != p {
					t.Errorf("%s is there", p)
				}
			}
		})
	}
	var nobody *Identity
	for _, p := range Permissions() {
		if nobody.Can(p) || !errors.Is(nobody.Require(p), ErrNoLogin) {
			t.Errorf("nobody has %s", p)
		}
		if id := (&Identity{MustChange: true, Permissions: Permissions()}); id.Can(p) {
			t.Errorf("%s is there before the password is changed", p)
		}
	}
}

func TestCreateUser(t *testing.T) {
	w := newWorld(t)
	nets := []netip.Prefix{netip.MustParsePrefix("10.1.2.3/16")}
	for _, tc := range []struct {
		name string
		n    NewUser
		want string // of the error; empty: none
	}{
		{"good", NewUser{Name: "Anna.B@example", Password: good, Roles: []Role{Listener, Viewer, Viewer}, Scope: Scope{Nets: nets}}, ""},
		{"there is one", NewUser{Name: "VIEWER", Password: good, Roles: []Role{Viewer}}, "there is one already"},
		{"no name", NewUser{Password: good, Roles: []Role{Viewer}}, "name:"},
		{"path", NewUser{Name: "../etc", Password: good, Roles: []Role{Viewer}}, "name:"},
		{"control", NewUser{Name: "a\nb", Password: good, Roles: []Role{Viewer}}, "name:"},
		{"long", NewUser{Name: strings.Repeat("a", 65), Password: good, Roles: []Role{Viewer}}, "name:"},
		{"no role", NewUser{Name: "b", Password: good}, "roles: at least one"},
		{"unknown role", NewUser{Name: "b", Password: good, Roles: []Role{"root"}}, `"root" is none: there are viewer, analyst`},
		{"weak password", NewUser{Name: "b", Password: "1234", Roles: []Role{Viewer}}, "password: it needs at least 10"},
		{"scoped admin", NewUser{Name: "b", Password: good, Roles: []Role{Admin}, Scope: Scope{Nets: nets}}, "scope: admins"},
		{"wildcard", NewUser{Name: "b", Password: good, Roles: []Role{Viewer}, Scope: Scope{Prefixes: []string{"+49*"}}}, "without a wildcard"},
		{"empty prefix", NewUser{Name: "b", Password: good, Roles: []Role{Viewer}, Scope: Scope{Prefixes: []string{""}}}, "number prefix"},
		{"no network", NewUser{Name: "b", Password: good, Roles: []Role{Viewer}, Scope: Scope{Nets: make([]netip.Prefix, 1)}}, "not valid"},
		{"too many", NewUser{Name: "b", Password: good, Roles: []Role{Viewer}, Scope: Scope{Sensors: make([]uint16, 300)}}, "at most 256"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := w.CreateUser(as("root"), tc.n)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %q", err, tc.want)
				}
				return
			}
			if err != nil || u.Name != "anna.b@example" || joined(u.Roles) != "viewer, listener" || u.Scope.Nets[0].String() != "10.1.0.0/16" {
				t.Errorf("user %+v, error %v", u, err)
			}
		})
	}
	var bad *InvalidError
	fresh := open(t, t.TempDir(), nil)
	if _, err := fresh.CreateUser(as("root"), NewUser{Name: "b", Password: good, Roles: []Role{Viewer}}); !errors.As(err, &bad) || bad.Field != "roles" {
		t.Errorf("first account of a viewer: %v", err)
	}
	if fresh.SetupToken() == "" {
		t.Error("the setup token has gone without an account")
	}
}

func TestLastAdmin(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		name string
		do   func(w *world) error
	}{
		{"delete", func(w *world) error { return w.DeleteUser(as("root"), "root") }},
		{"disable", func(w *world) error {
			_, err := w.UpdateUser(as("root"), "root", UserChange{Disabled: &yes})
			return err
		}},
		{"take the role", func(w *world) error {
			_, err := w.UpdateUser(as("root"), "root", UserChange{Roles: &[]Role{Viewer}})
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			if err := tc.do(w); !errors.Is(err, ErrLastAdmin) {
				t.Errorf("error %v, want ErrLastAdmin", err)
			}
			if u, err := w.User("root"); err != nil || u.Disabled || u.Roles[0] != Admin {
				t.Errorf("user %+v, %v", u, err)
			}
			w.user("second", Admin)
			if err := tc.do(w); err != nil {
				t.Errorf("beside another admin: %v", err)
			}
		})
	}
}

func TestPreferences(t *testing.T) {
	w := newWorld(t)
	if got := string(w.Preferences("viewer")); got != "{}" {
		t.Errorf("at first %s", got)
	}
	for _, tc := range []struct {
		name, user, value string
		ok                bool
	}{
		{"object", "viewer", ` {"theme": "dark"} `, true},
		{"no JSON", "viewer", `{"theme":`, false},
		{"empty", "viewer", ``, false},
		{"array", "viewer", `[]`, false},
		{"two values", "viewer", `{} {}`, false},
		{"too long", "viewer", `{"x":"` + strings.Repeat("x", maxPreferences) + `"}`, false},
		{"unknown user", "nobody", `{}`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := w.SetPreferences(tc.user, []byte(tc.value)); (err == nil) != tc.ok {
				t.Errorf("error %v, want it taken: %v", err, tc.ok)
			}
		})
	}
	if got := string(open(t, w.o.Dir, nil).Preferences("viewer")); strings.Join(strings.Fields(got), "") != `{"theme":"dark"}` {
		t.Errorf("after a restart %s", got)
	}
	if err := w.DeleteUser(as("root"), "viewer"); err != nil {
		t.Fatal(err)
	}
	w.user("viewer", Viewer)
	if got := string(w.Preferences("viewer")); got != "{}" {
		t.Errorf("another user of the name has %s", got)
	}
}

func nets(s ...string) (out []netip.Prefix) {
	for _, n := range s {
		out = append(out, netip.MustParsePrefix(n))
	}
	return out
}

func TestScopeCovers(t *testing.T) {
	full := Scope{Sensors: []uint16{1, 2}, Prefixes: []string{"+4930", "0049"}, Nets: nets("10.1.0.0/16", "2001:db8::/32")}
	addrs := func(s ...string) (out []netip.Addr) {
		for _, a := range s {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	for _, tc := range []struct {
		name    string
		scope   Scope
		sensor  uint16
		numbers []string
		addrs   []netip.Addr
		want    bool
	}{
		{"everything", Scope{}, 9, nil, nil, true},
		{"all dimensions", full, 2, []string{"100", "+49301"}, addrs("192.0.2.1", "10.1.9.9"), true},
		{"IPv6", full, 1, []string{"00491"}, addrs("2001:db8::1"), true},
		{"IPv4 in IPv6", full, 1, []string{"00491"}, addrs("::ffff:10.1.0.1"), true},
		{"other sensor", full, 3, []string{"+49301"}, addrs("10.1.9.9"), false},
		{"other number", full, 1, []string{"+4989", "4930"}, addrs("10.1.9.9"), false},
		{"other address", full, 1, []string{"+49301"}, addrs("10.2.0.1"), false},
		{"no number", full, 1, nil, addrs("10.1.9.9"), false},
		{"no address", full, 1, []string{"+49301"}, nil, false},
		{"no valid address", full, 1, []string{"+49301"}, make([]netip.Addr, 1), false},
		{"sensor 0", Scope{Sensors: []uint16{1}}, 0, nil, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.scope.Covers(tc.sensor, tc.numbers, tc.addrs); got != tc.want {
				t.Errorf("covers: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestScopeNarrow(t *testing.T) {
	for _, tc := range []struct {
		name    string
		a, b    Scope
		want    Scope
		nothing bool
	}{
		{"everything", Scope{}, Scope{}, Scope{}, false},
		{"one has none", Scope{}, Scope{Sensors: []uint16{1}}, Scope{Sensors: []uint16{1}}, false},
		{"sensors", Scope{Sensors: []uint16{1, 2}}, Scope{Sensors: []uint16{2, 3}}, Scope{Sensors: []uint16{2}}, false},
		{"no sensor in common", Scope{Sensors: []uint16{1}}, Scope{Sensors: []uint16{2}}, Scope{}, true},
		{"prefixes", Scope{Prefixes: []string{"+49", "+43"}}, Scope{Prefixes: []string{"+4930", "+41"}}, Scope{Prefixes: []string{"+4930"}}, false},
		{"no prefix in common", Scope{Prefixes: []string{"+49"}}, Scope{Prefixes: []string{"+41"}}, Scope{}, true},
		{"networks", Scope{Nets: nets("10.0.0.0/8")}, Scope{Nets: nets("10.1.0.0/16", "192.0.2.0/24")}, Scope{Nets: nets("10.1.0.0/16")}, false},
		{"no network in common", Scope{Nets: nets("10.0.0.0/8")}, Scope{Nets: nets("2001:db8::/32")}, Scope{}, true},
		{"dimensions", Scope{Sensors: []uint16{1}}, Scope{Prefixes: []string{"1"}}, Scope{Sensors: []uint16{1}, Prefixes: []string{"1"}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, pair := range [][2]Scope{{tc.a, tc.b}, {tc.b, tc.a}} {
				got, ok := pair[0].Narrow(pair[1])
				if ok == tc.nothing || ok && !got.equal(tc.want) {
					t.Errorf("%s narrowed by %s: %s, %v; want %s", pair[0], pair[1], got, ok, tc.want)
				}
			}
		})
	}
}
