package auth

import (
	"slices"
	"strings"
)

// Permission is one thing that somebody may do.
type Permission string

// The permissions there are. What only looks at the appliance itself is
// StatusRead; whoever may look at a list may look at its figures, too.
const (
	CallsRead      Permission = "calls:read"      // call records, registrations, other SIP, events
	StatsRead      Permission = "stats:read"      // charts, overview, top lists
	StatusRead     Permission = "status:read"     // interfaces, ledger, spool, capture rules
	LiveRead       Permission = "live:read"       // calls that go on; with SignallingRead their SIP as it comes
	SignallingRead Permission = "signalling:read" // SIP messages, ladder
	PacketsRead    Permission = "packets:read"    // pcap
	AudioRead      Permission = "audio:read"      // what was said
	NotesWrite     Permission = "notes:write"     // notes on calls
	CaptureManage  Permission = "capture:manage"
	SpoolManage    Permission = "spool:manage"
	RulesManage    Permission = "rules:manage"
	SettingsRead   Permission = "settings:read"
	SettingsManage Permission = "settings:manage" // reload
	UsersManage    Permission = "users:manage"    // accounts, everybody's sessions and tokens
	AuditRead      Permission = "audit:read"
	DebugRead      Permission = "debug:read" // support bundle, profiles
)

// Permissions are all of them, in the order in which they are shown.
func Permissions() []Permission {
	return []Permission{CallsRead, StatsRead, StatusRead, LiveRead, SignallingRead, PacketsRead, AudioRead, NotesWrite,
		CaptureManage, SpoolManage, RulesManage, SettingsRead, SettingsManage, UsersManage, AuditRead, DebugRead}
}

// Role is a set of permissions with a name. A user has one or more.
type Role string

// The roles there are.
const (
	Viewer   Role = "viewer"   // call records and charts
	Analyst  Role = "analyst"  // and signalling, pcap
	Listener Role = "listener" // and audio: no other role has it
	Operator Role = "operator" // and capture, spool, rules
	Admin    Role = "admin"    // everything but audio
)

// Roles are all of them, in the order in which they are shown.
func Roles() []Role { return []Role{Viewer, Analyst, Listener, Operator, Admin} }

// Permissions are what a role allows; none for a role that there is not. An
// admin hears nothing: one who shall is made a listener, which the audit shows.
func (r Role) Permissions() []Permission {
	viewer := []Permission{CallsRead, StatsRead, StatusRead, LiveRead}
	switch r {
	case Viewer:
		return viewer
	case Analyst:
		return append(viewer, SignallingRead, PacketsRead, NotesWrite)
	case Listener:
		return append(viewer, AudioRead)
	case Operator:
		return append(viewer, CaptureManage, SpoolManage, RulesManage, SettingsRead, SettingsManage)
	case Admin:
		return slices.DeleteFunc(Permissions(), func(p Permission) bool { return p == AudioRead })
	}
	return nil
}

// permitted are the permissions of several roles together, in the order of
// Permissions.
func permitted(roles []Role) []Permission {
	var all []Permission
	for _, r := range roles {
		all = append(all, r.Permissions()...)
	}
	return slices.DeleteFunc(Permissions(), func(p Permission) bool { return !slices.Contains(all, p) })
}

// checkRoles returns roles in order and once each.
func checkRoles(roles []Role) ([]Role, error) {
	if len(roles) == 0 {
		return nil, invalid("roles", "at least one is needed, of %s", joined(Roles()))
	}
	for _, r := range roles {
		if !slices.Contains(Roles(), r) {
			return nil, invalid("roles", "%q is none: there are %s", cut(string(r), 40), joined(Roles()))
		}
	}
	return slices.DeleteFunc(Roles(), func(r Role) bool { return !slices.Contains(roles, r) }), nil
}

// checkPermissions returns permissions in order and once each.
func checkPermissions(perms []Permission) ([]Permission, error) {
	if len(perms) == 0 {
		return nil, invalid("permissions", "at least one is needed, of %s", joined(Permissions()))
	}
	for _, p := range perms {
		if !slices.Contains(Permissions(), p) {
			return nil, invalid("permissions", "%q is none: there are %s", cut(string(p), 40), joined(Permissions()))
		}
	}
	return slices.DeleteFunc(Permissions(), func(p Permission) bool { return !slices.Contains(perms, p) }), nil
}

func joined[T ~string](of []T) string {
	s := make([]string, len(of))
	for i, v := range of {
		s[i] = string(v)
	}
	return strings.Join(s, ", ")
}
