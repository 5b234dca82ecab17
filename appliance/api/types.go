package api

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"ringside/appliance/auth"
	"ringside/flow/record"
	"ringside/writer/store"
)

// ID is the id of a record. It has 63 bits, more than JavaScript's numbers hold,
// and so it is a string in JSON.
type ID int64

// MarshalText writes the digits.
func (i ID) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(i), 10), nil }

// List is a page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // cursor of the next page; empty: this is the last
}

// CallRow is a call as lists show it.
type CallRow struct {
	ID        ID       `json:"id"`
	FlagNames []string `json:"flag_names,omitempty"` // the flags as words
	store.Row
}

// CallPage is a page of calls. With conditions that the database cannot look
// for, a page may hold fewer calls than its limit, even none, and be not the last.
type CallPage struct {
	Items    []CallRow `json:"items"`
	Next     string    `json:"next,omitempty"`
	Searched int64     `json:"searched,omitempty"` // how far back it looked, ns since the epoch, if Next is set
}

// Count is how many there are.
type Count struct {
	Count int64 `json:"count"`
	Exact bool  `json:"exact"` // false: at least so many
}

// Call is the whole record of a call.
type Call struct {
	ID        ID       `json:"id"`
	FlagNames []string `json:"flag_names,omitempty"`
	store.Row
	Links   []Link    `json:"links"`
	Quality []Quality `json:"quality"` // what endpoints reported
}

// Link is a link to another call.
type Link struct {
	Reason record.LinkReason `json:"reason"`
	Key    string            `json:"key,omitempty"` // what they have in common
	Score  uint8             `json:"score"`         // 0 to 100
	Call   *CallRow          `json:"call,omitempty"`
}

// Quality is what an endpoint reported.
type Quality struct {
	ID ID `json:"id"`
	record.QualityReport
}

// Legs are the dialogs of a call, and the calls that belong to it.
type Legs struct {
	Legs  []record.Leg `json:"legs"`
	Links []Link       `json:"links"`
}

// Ladder is the messages of a call as arrows between hosts.
type Ladder struct {
	Entities []Entity `json:"entities"` // from left to right
	Arrows   []Arrow  `json:"arrows"`   // by time
	Media    []Bar    `json:"media"`
	Total    uint32   `json:"total"`         // messages of the call, also those not listed
	Bodies   bool     `json:"bodies"`        // SDP was there to compare
	Why      string   `json:"why,omitempty"` // it was not
}

// Entity is a host that sent or received messages.
type Entity struct {
	Addr  netip.Addr `json:"addr"`
	Ports []uint16   `json:"ports"`
	Side  string     `json:"side,omitempty"`  // caller, called
	Agent string     `json:"agent,omitempty"` // User-Agent or Server, if known
}

// Arrow is a message.
type Arrow struct {
	N       int            `json:"n"`    // as in the list of messages
	Time    int64          `json:"time"` // ns since the epoch
	Offset  float64        `json:"offset_ms"`
	From    int            `json:"from"` // index of the entity
	To      int            `json:"to"`
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	Method  string         `json:"method"`
	Status  uint16         `json:"status,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	CSeq    uint32         `json:"cseq"`
	SDP     bool           `json:"sdp,omitempty"`
	Retrans bool           `json:"retrans,omitempty"`
	Of      int            `json:"of,omitempty"` // the message (N) that a retransmission repeats
	Diff    *SDPDiff       `json:"sdp_diff,omitempty"`
}

// SDPDiff is what the SDP of a message changes against the one before from the
// same host.
type SDPDiff struct {
	Against int       `json:"against"` // N of that message
	Same    bool      `json:"same"`
	Changes []SDPLine `json:"changes"`
}

// SDPLine is a line that came, went, or changed.
type SDPLine struct {
	Where string `json:"where"` // session, or the kind of media: audio, video, audio 2
	What  string `json:"what"`  // in words: address, port, codecs, direction, …
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
}

// Bar is a stream beside the ladder.
type Bar struct {
	From  int         `json:"from"` // index of the entity, -1: none of them
	To    int         `json:"to"`
	Side  record.Side `json:"side"`
	Codec string      `json:"codec"`
	First int64       `json:"first"`
	Last  int64       `json:"last"`
	MOS   float64     `json:"mos"`
	Loss  float64     `json:"loss"` // per cent
}

// Messages are the SIP messages of a call.
type Messages struct {
	Items  []Message `json:"items"`
	Stored bool      `json:"stored"` // the texts are those on the wire; else only what the record has
	Why    string    `json:"why,omitempty"`
	Total  uint32    `json:"total"`
}

// Message is one SIP message.
type Message struct {
	N         int            `json:"n"` // from 1
	Time      int64          `json:"time"`
	Src       netip.AddrPort `json:"src"`
	Dst       netip.AddrPort `json:"dst"`
	Transport string         `json:"transport,omitempty"`
	Method    string         `json:"method"`
	Status    uint16         `json:"status,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	CSeq      uint32         `json:"cseq"`
	SDP       bool           `json:"sdp,omitempty"`
	Retrans   bool           `json:"retrans,omitempty"`
	Text      string         `json:"text,omitempty"` // as on the wire; what is not UTF-8 is replaced
	Parsed    *SIPTree       `json:"parsed,omitempty"`
}

// SIPTree is a SIP message taken apart.
type SIPTree struct {
	Start   string      `json:"start"`
	Headers []SIPHeader `json:"headers"`
	Body    string      `json:"body,omitempty"`
}

// SIPHeader is a header field.
type SIPHeader struct {
	Name  string `json:"name"`           // as it stands
	Long  string `json:"long,omitempty"` // of a compact name
	Value string `json:"value"`          // unfolded
	Line  int    `json:"line"`           // from 1
}

// Parsed is a text of messages taken apart and looked over.
type Parsed struct {
	Messages []ParsedMessage `json:"messages"`
}

// ParsedMessage is one of them.
type ParsedMessage struct {
	SIPTree
	Lint []Lint `json:"lint"`
}

// Lint is what is wrong with a message.
type Lint struct {
	Line     int    `json:"line"`     // of the message, from 1
	Severity string `json:"severity"` // error, warning, note
	Text     string `json:"text"`
	RFC      string `json:"rfc,omitempty"` // where it is said
}

// Streams are the RTP streams of a call.
type Streams struct {
	Items []Stream `json:"items"`
	Why   string   `json:"why,omitempty"` // there are no intervals
}

// Stream is one of them, with its intervals as far as its packets are stored.
type Stream struct {
	N    int     `json:"n"` // from 1
	Loss float64 `json:"loss"`
	record.Stream
	Step      float64    `json:"step_s,omitempty"`
	Intervals []Interval `json:"intervals"`
}

// Orphan is a stream that no call claimed.
type Orphan struct {
	ID   ID      `json:"id"`
	Loss float64 `json:"loss"`
	record.Stream
}

// Registration is a registration.
type Registration struct {
	ID ID `json:"id"`
	record.Registration
}

// Exchange is SIP outside of calls and registrations.
type Exchange struct {
	ID ID `json:"id"`
	record.Exchange
}

// Event is something that happened.
type Event struct {
	ID ID `json:"id"`
	record.Event
}

// EventCount is how often a kind of event happened.
type EventCount struct {
	Kind  record.EventKind `json:"kind"`
	Count int64            `json:"count"`
}

// LiveCallRow is a call that goes on.
type LiveCallRow struct {
	ID        ID       `json:"id"`
	FlagNames []string `json:"flag_names,omitempty"`
	LiveCall
}

// LiveCalls is the calls that go on.
type LiveCalls struct {
	AsOf  time.Time     `json:"as_of"`
	Total int           `json:"total"` // that the filter chooses, also those not listed
	Items []LiveCallRow `json:"items"` // the oldest first
}

// Column is one of the list of calls.
type Column struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Unit    string `json:"unit,omitempty"`
	Default bool   `json:"default"`
}

// FilterCheck is what is to be said of a filter expression.
type FilterCheck struct {
	OK          bool          `json:"ok"`
	Errors      []FilterError `json:"errors"`
	Completions []Completion  `json:"completions"`
	Indexed     bool          `json:"indexed"` // the database can look for all of it
}

// FilterError is what is wrong with it, and where.
type FilterError struct {
	Pos  int    `json:"pos"` // in characters, from 0
	Len  int    `json:"len"`
	Text string `json:"text"`
}

// Completion is what may stand at the cursor.
type Completion struct {
	Text string `json:"text"`
	Help string `json:"help"`
	From int    `json:"from"` // the characters that it replaces
	To   int    `json:"to"`
}

// Me is who asks.
type Me struct {
	auth.Identity
	Via         string          `json:"via"` // session, token
	Preferences json.RawMessage `json:"preferences,omitempty"`
}

// Credentials log somebody in.
type Credentials struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// Setup makes the first administrator.
type Setup struct {
	Token    string `json:"token"`
	User     string `json:"user"`
	Password string `json:"password"`
}

// SetupState says whether there is an administrator yet.
type SetupState struct {
	Needed bool `json:"needed"`
}

// NewPassword changes one's own password.
type NewPassword struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// NewSecret gives an account a new password.
type NewSecret struct {
	Password   string `json:"password"`
	MustChange bool   `json:"must_change_password"` // at the next login
}

// MadeToken is an API token as it is shown once.
type MadeToken struct {
	auth.Token
	Secret string `json:"secret"` // the whole token, as it is sent
}

// Session is somebody's login.
type Session struct {
	auth.Session
	Current bool `json:"current"` // that of this request
}

// AuditCheck is whether the audit log is as it was written.
type AuditCheck struct {
	OK bool `json:"ok"`
	auth.Verified
}

// Note is a note on a call, or a tag of it.
type Note struct {
	ID     ID `json:"id"`
	CallID ID `json:"call_id"` // id of the call
	store.Note
}

// NewNote is a note to add. A tag is one word.
type NewNote struct {
	Text string `json:"text"`
	Tag  bool   `json:"tag,omitempty"`
}

// RulesText is the capture rules.
type RulesText struct {
	Text     string        `json:"text"`
	Path     string        `json:"path,omitempty"` // where they are kept
	Writable bool          `json:"writable"`
	Pending  string        `json:"pending,omitempty"` // why they hold after a restart only; empty: they hold
	Problems []RuleProblem `json:"problems"`
}

// NewRules is the text of rules.
type NewRules struct {
	Text string `json:"text"`
}

// RulesCheck is what is wrong with rules.
type RulesCheck struct {
	OK       bool          `json:"ok"`
	Problems []RuleProblem `json:"problems"`
}

// SettingsList is the configuration.
type SettingsList struct {
	Items []Setting `json:"items"`
}

// Interfaces is what is captured.
type Interfaces struct {
	Items []Interface `json:"items"`
}

// Segments is a page of the segments of a spool.
type Segments struct {
	Items []SpoolSegment `json:"items"`
	Total int            `json:"total"`
	Next  string         `json:"next,omitempty"`
}

// About says what this is.
type About struct {
	Name       string    `json:"name"`
	Version    string    `json:"version"`
	Commit     string    `json:"commit,omitempty"`
	Built      string    `json:"built,omitempty"`
	Go         string    `json:"go"`
	Kernel     string    `json:"kernel,omitempty"`
	Host       string    `json:"host,omitempty"`
	Started    time.Time `json:"started"`
	Sensor     uint16    `json:"sensor"`                // its number, as in the records
	SensorName string    `json:"sensor_name,omitempty"` // what people call it
	Store      string    `json:"store"`                 // without its password
	Previous   string    `json:"previous,omitempty"`    // how the run before ended
	Can        []string  `json:"can"`                   // live, capture, spool, packets, audio, rules, settings, bundle
}

// Readiness says whether the appliance does its job.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// Alive says that the process works.
type Alive struct {
	OK  bool   `json:"ok"`
	Why string `json:"why,omitempty"`
}

// Problem is an error (RFC 9457).
type Problem struct {
	Type   string        `json:"type"` // about:blank#CODE
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Code   string        `json:"code"` // stable
	Detail string        `json:"detail,omitempty"`
	ID     string        `json:"request_id,omitempty"`
	Errors []FilterError `json:"errors,omitempty"` // where a filter is wrong
}
