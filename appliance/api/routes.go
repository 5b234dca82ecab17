package api

import "ringside/appliance/auth"

// route is a row of the table: what may be asked, by whom, and what the audit
// log says of it.
type route struct {
	method, path string
	need         auth.Permission
	handle       func(*request) error
	audit        string // action in the audit log; empty: nothing is written, or appliance/auth does it
	kind         kind
	body         int64 // greatest body in bytes; 0: bodyBytes
}

// What a route may need beside the permissions of appliance/auth.
const (
	public  auth.Permission = "public" // nothing
	anybody auth.Permission = "any"    // a login
)

const v1 = "/api/v1"

// routes are all of them. A test compares them with openapi.json, another one
// tries each with every role.
var routes = []route{
	{"GET", v1 + "/session", anybody, (*request).whoAmI, "", quick, 0},
	{"POST", v1 + "/session", public, (*request).login, "", quick, 0},
	{"DELETE", v1 + "/session", anybody, (*request).logout, "", quick, 0},
	{"PUT", v1 + "/session/password", anybody, (*request).changePassword, "", quick, 0},
	{"PUT", v1 + "/session/preferences", anybody, (*request).setPreferences, "", quick, 80 << 10},
	{"GET", v1 + "/setup", public, (*request).setupState, "", quick, 0},
	{"POST", v1 + "/setup", public, (*request).setUp, "", quick, 0},
	{"GET", v1 + "/about", anybody, (*request).about, "", quick, 0},
	{"GET", v1 + "/openapi.json", public, (*request).openapi, "", quick, 0},

	{"GET", v1 + "/calls", auth.CallsRead, (*request).listCalls, "", download, 0},
	{"GET", v1 + "/calls/count", auth.CallsRead, (*request).countCalls, "", quick, 0},
	{"GET", v1 + "/calls/summary", auth.StatsRead, (*request).summarizeCalls, "", quick, 0},
	{"GET", v1 + "/calls/columns", auth.CallsRead, (*request).listColumns, "", quick, 0},
	{"GET", v1 + "/calls/filter", auth.CallsRead, (*request).checkFilter, "", quick, 0},
	{"GET", v1 + "/calls/pcap", auth.PacketsRead, (*request).exportCalls, "calls.pcap", download, 0},
	{"GET", v1 + "/calls/{id}", auth.CallsRead, (*request).getCall, "", quick, 0},
	{"GET", v1 + "/calls/{id}/ladder", auth.SignallingRead, (*request).getLadder, "call.ladder", quick, 0},
	{"GET", v1 + "/calls/{id}/messages", auth.SignallingRead, (*request).getMessages, "call.messages", quick, 0},
	{"GET", v1 + "/calls/{id}/streams", auth.CallsRead, (*request).getStreams, "", quick, 0},
	{"GET", v1 + "/calls/{id}/legs", auth.CallsRead, (*request).getLegs, "", quick, 0},
	{"GET", v1 + "/calls/{id}/pcap", auth.PacketsRead, (*request).getPackets, "call.pcap", download, 0},
	{"GET", v1 + "/calls/{id}/audio", auth.AudioRead, (*request).getAudio, "call.audio", download, 0},
	{"GET", v1 + "/calls/{id}/audio/info", auth.AudioRead, (*request).describeAudio, "", quick, 0},
	{"GET", v1 + "/calls/{id}/waveform", auth.AudioRead, (*request).getWaveform, "", quick, 0},
	{"GET", v1 + "/calls/{id}/notes", auth.CallsRead, (*request).listNotes, "", quick, 0},
	{"POST", v1 + "/calls/{id}/notes", auth.NotesWrite, (*request).addNote, "note.add", quick, 0},
	{"DELETE", v1 + "/calls/{id}/notes/{note}", auth.NotesWrite, (*request).deleteNote, "note.delete", quick, 0},
	{"PUT", v1 + "/calls/{id}/hold", auth.SpoolManage, (*request).holdCall, "call.hold", quick, 0},
	{"DELETE", v1 + "/calls/{id}/hold", auth.SpoolManage, (*request).releaseCall, "call.release", quick, 0},

	{"GET", v1 + "/live/calls", auth.LiveRead, (*request).liveCalls, "", events, 0},
	{"GET", v1 + "/live/sip", auth.SignallingRead, (*request).liveSIP, "live.sip", events, 0},
	{"GET", v1 + "/live/status", auth.StatusRead, (*request).liveStatus, "", events, 0},

	{"GET", v1 + "/registrations", auth.CallsRead, (*request).listRegistrations, "", download, 0},
	{"GET", v1 + "/registrations/summary", auth.StatsRead, (*request).summarizeRegistrations, "", quick, 0},
	{"GET", v1 + "/exchanges", auth.CallsRead, (*request).listExchanges, "", download, 0},
	{"GET", v1 + "/exchanges/summary", auth.StatsRead, (*request).summarizeExchanges, "", quick, 0},
	{"GET", v1 + "/events", auth.CallsRead, (*request).listEvents, "", download, 0},
	{"GET", v1 + "/events/summary", auth.StatsRead, (*request).summarizeEvents, "", quick, 0},
	{"GET", v1 + "/orphans", auth.CallsRead, (*request).listOrphans, "", download, 0},

	{"GET", v1 + "/stats/overview", auth.StatsRead, (*request).overview, "", quick, 0},
	{"GET", v1 + "/stats/series", auth.StatsRead, (*request).series, "", quick, 0},
	{"GET", v1 + "/stats/top", auth.StatsRead, (*request).top, "", quick, 0},

	{"GET", v1 + "/interfaces", auth.StatusRead, (*request).listInterfaces, "", quick, 0},
	{"GET", v1 + "/ledger", auth.StatusRead, (*request).ledger, "", quick, 0},
	{"GET", v1 + "/spool", auth.StatusRead, (*request).spool, "", quick, 0},
	{"GET", v1 + "/spool/segments", auth.StatusRead, (*request).listSegments, "", quick, 0},
	{"GET", v1 + "/rules", auth.StatusRead, (*request).getRules, "", quick, 0},
	{"PUT", v1 + "/rules", auth.RulesManage, (*request).putRules, "rules.put", quick, rulesBytes},
	{"POST", v1 + "/rules/check", auth.StatusRead, (*request).checkRules, "", quick, rulesBytes},
	{"GET", v1 + "/settings", auth.SettingsRead, (*request).listSettings, "", quick, 0},
	{"POST", v1 + "/reload", auth.SettingsManage, (*request).reload, "reload", quick, 0},

	{"GET", v1 + "/users", auth.UsersManage, (*request).listUsers, "", quick, 0},
	{"POST", v1 + "/users", auth.UsersManage, (*request).addUser, "", quick, 0},
	{"GET", v1 + "/users/{name}", auth.UsersManage, (*request).getUser, "", quick, 0},
	{"PATCH", v1 + "/users/{name}", auth.UsersManage, (*request).changeUser, "", quick, 0},
	{"PUT", v1 + "/users/{name}/password", auth.UsersManage, (*request).setUserPassword, "", quick, 0},
	{"DELETE", v1 + "/users/{name}", auth.UsersManage, (*request).deleteUser, "", quick, 0},
	{"GET", v1 + "/tokens", anybody, (*request).listTokens, "", quick, 0},
	{"POST", v1 + "/tokens", anybody, (*request).addToken, "", quick, 0},
	{"DELETE", v1 + "/tokens/{id}", anybody, (*request).deleteToken, "", quick, 0},
	{"GET", v1 + "/sessions", anybody, (*request).listSessions, "", quick, 0},
	{"DELETE", v1 + "/sessions/{id}", anybody, (*request).deleteSession, "", quick, 0},
	{"GET", v1 + "/audit", auth.AuditRead, (*request).listAudit, "", download, 0},
	{"GET", v1 + "/audit/verify", auth.AuditRead, (*request).verifyAudit, "", download, 0},
	{"GET", v1 + "/support-bundle", auth.DebugRead, (*request).supportBundle, "support.bundle", download, 0},
	{"POST", v1 + "/parse", auth.SignallingRead, (*request).parseSIP, "", quick, parseBytes},

	{"GET", "/healthz", public, (*request).alive, "", quick, 0},
	{"GET", "/readyz", public, (*request).ready, "", quick, 0},

	{"GET", "/metrics", anybody, (*request).metrics, "", quick, 0},
	{"GET", "/debug/pprof/", auth.DebugRead, (*request).profile, "profile", download, 0},
}

// Greatest bodies in bytes.
const (
	rulesBytes = 4 << 20
	parseBytes = 1 << 20
)
