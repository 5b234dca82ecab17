package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"

	"ringside/flow/record"
)

// Sources are what the API asks of the running appliance. One that is nil is
// not there (ringside serve has no capture), and its routes answer 501 with the
// code "not-available". Methods are called by many goroutines at once, and none
// may wait for the capture's threads.
type Sources struct {
	Live     Live     // calls that go on, SIP as it comes, the status
	Capture  Capture  // interfaces and the ledger
	Spool    Spool    // segments, forecast, held calls
	Packets  Packets  // packets and messages of calls, from the spool
	Audio    Audio    // what calls sound like
	Rules    Rules    // capture rules
	Settings Settings // the configuration, and its reload
	Health   Health   // ready or not, and why
	Bundle   Bundle   // what support asks for

	Metrics http.Handler // the page for Prometheus
}

// Errors that sources return, possibly wrapped.
var (
	// ErrNotStored is of a call of which the spool has nothing, or nothing any more.
	ErrNotStored = errors.New("nothing of this call is in the spool")
	// ErrNotPlayable is of a call whose media cannot be heard; the text says why.
	ErrNotPlayable = errors.New("nothing of this call can be played")
	// ErrTooLarge is of an export beyond its limit, once it has begun.
	ErrTooLarge = errors.New("the export is larger than allowed")
	// ErrBusy is of work that has no room now and may have later.
	ErrBusy = errors.New("too much of this is going on already")
)

// Live is what goes on at the moment.
type Live interface {
	// Calls is the calls that go on, in any order, as of a moment at most two
	// seconds ago. The slice is not changed any more, by either side.
	Calls() (calls []LiveCall, asOf time.Time)

	// SIP sends messages as they come to a channel until ctx ends, and then
	// returns nil. It never waits for the channel: what finds it full is counted
	// in Missed of the next one. Nothing is copied while nobody listens.
	SIP(ctx context.Context, to chan<- SIPMessage) error

	// Status is the latest status, renewed about once a second.
	Status() LiveStatus
}

// LiveCall is a call that goes on. Its names are those of record.Call.
type LiveCall struct {
	ID     int64  `json:"-"` // the one that its record will have
	CallID string `json:"call_id"`
	Sensor uint16 `json:"sensor"`

	Start  int64 `json:"start"` // ns since the epoch
	Ring   int64 `json:"ring,omitempty"`
	Answer int64 `json:"answer,omitempty"`

	State      string       `json:"state"` // setup, ringing, talking, held, ending
	Caller     record.Party `json:"caller"`
	Called     record.Party `json:"called"`
	LastStatus uint16       `json:"last_status"`
	Messages   uint32       `json:"messages_total"`

	// Of the streams so far, the worst where there are several. Zero where nothing is known.
	Streams   int     `json:"stream_count"`
	Codec     string  `json:"codec,omitempty"`
	MOS       float64 `json:"mos,omitempty"`
	Loss      float64 `json:"loss,omitempty"`      // per cent
	Jitter    float64 `json:"jitter,omitempty"`    // ms
	Recording string  `json:"recording,omitempty"` // none, sip, header, full

	Flags record.Flags `json:"flags,omitempty"`
}

// SIPMessage is one message as it was captured. Text is what was on the wire, at
// most 64 KiB of it, and is hostile.
type SIPMessage struct {
	Time      time.Time      `json:"time"`
	Src       netip.AddrPort `json:"src"`
	Dst       netip.AddrPort `json:"dst"`
	Transport string         `json:"transport"` // UDP, TCP, TLS, WS, WSS, SCTP
	Sensor    uint16         `json:"sensor"`
	Interface string         `json:"interface,omitempty"`
	Method    string         `json:"method"`           // of a request, or of the CSeq of a response
	Status    uint16         `json:"status,omitempty"` // 0: a request
	Reason    string         `json:"reason,omitempty"`
	CallID    string         `json:"call_id"`
	From      string         `json:"from"` // user part
	To        string         `json:"to"`
	Text      string         `json:"text,omitempty"`
	Missed    uint64         `json:"missed,omitempty"` // messages before this one that there was no room for
}

// LiveStatus is how the appliance does. Rates are per second, of the last
// second or two.
type LiveStatus struct {
	Time   time.Time `json:"time"`
	State  string    `json:"state"` // healthy, degraded, failing, idle
	Since  time.Time `json:"since"`
	Why    []string  `json:"why,omitempty"`
	Uptime float64   `json:"uptime_s"`

	Calls     uint64  `json:"calls"` // that go on
	CallRate  float64 `json:"call_rate"`
	SIPRate   float64 `json:"sip_rate"`
	RTPRate   float64 `json:"rtp_rate"`
	BitRate   float64 `json:"bit_rate"`
	Rings     float64 `json:"rings"`      // share of the fullest ring in use, 0 to 1
	SpoolUse  float64 `json:"spool"`      // share of the spool's memory in use; -1: nothing is stored
	StoreUse  float64 `json:"store"`      // share of the store's queue in use
	StoreAway bool    `json:"store_away"` // the database takes nothing

	Lost   uint64    `json:"lost"` // packets since the start
	CPU    []float64 `json:"cpu"`  // of each worker, as a share of one CPU
	Memory int64     `json:"memory_bytes"`

	MemoryBudget int64 `json:"memory_budget_bytes,omitempty"`

	Pending []string `json:"pending,omitempty"` // changes that hold after a restart only
}

// Capture is where packets come from, and what becomes of them.
type Capture interface {
	Interfaces() []Interface
	Ledger() Ledger
}

// Interface is one that is captured.
type Interface struct {
	Name      string `json:"name"`
	State     string `json:"state"` // up, down, silent
	Why       string `json:"why,omitempty"`
	Driver    string `json:"driver,omitempty"`
	SpeedMbit int64  `json:"speed_mbit,omitempty"`
	MTU       int    `json:"mtu,omitempty"`
	Dedicated bool   `json:"dedicated"`
	Filter    string `json:"filter"` // xdp native, xdp generic, socket, none
	Steer     string `json:"steer,omitempty"`

	Queues []Queue  `json:"queues,omitempty"` // of the card
	Rings  []Ring   `json:"rings"`
	Notes  []string `json:"notes,omitempty"` // as said at the start

	Packets    uint64  `json:"packets"`
	Bytes      uint64  `json:"bytes"`
	Lost       uint64  `json:"lost"`
	PacketRate float64 `json:"packet_rate"`
	BitRate    float64 `json:"bit_rate"`
}

// Queue is one of a card.
type Queue struct {
	Number  int    `json:"number"`
	Packets uint64 `json:"packets"`
	Drops   uint64 `json:"drops"`
}

// Ring is one of an interface, with the thread that reads it.
type Ring struct {
	Number  int     `json:"number"`
	CPU     int     `json:"cpu"` // -1: not pinned
	Packets uint64  `json:"packets"`
	Drops   uint64  `json:"drops"`
	Fill    float64 `json:"fill"` // share of its blocks that wait, 0 to 1
	Busy    float64 `json:"busy"` // share of one CPU that its thread uses
	Bytes   int64   `json:"bytes"`
}

// Ledger says what became of every packet.
type Ledger struct {
	Time     time.Time   `json:"time"`
	Balanced bool        `json:"balanced"`
	Rows     []LedgerRow `json:"rows"`
	Gaps     []string    `json:"gaps,omitempty"` // packets that are missing, as sentences
}

// LedgerRow is how many packets met which fate where.
type LedgerRow struct {
	Interface string  `json:"interface,omitempty"`
	Stage     string  `json:"stage"`
	Reason    string  `json:"reason"`
	Packets   uint64  `json:"packets"`
	Bytes     uint64  `json:"bytes,omitempty"`
	Lost      bool    `json:"lost,omitempty"`
	Rate      float64 `json:"rate,omitempty"`
}

// Spool is where packets are kept.
type Spool interface {
	// Overview is what is there and how long it will last.
	Overview(ctx context.Context) (SpoolOverview, error)
	// Segments is a part of the list, by time, the newest first, from an offset
	// on; total counts all.
	Segments(ctx context.Context, offset, limit int) (segments []SpoolSegment, total int, err error)
	// Hold keeps the packets of a call whatever the quota says; Release lets them go.
	Hold(ctx context.Context, c CallRef) error
	Release(ctx context.Context, callID string) error
}

// SpoolOverview sums up a spool.
type SpoolOverview struct {
	State   string        `json:"state"` // ok, full, failing, away
	Why     string        `json:"why,omitempty"`
	Volumes []SpoolVolume `json:"volumes"`
	Classes []SpoolClass  `json:"classes"`
	Held    []string      `json:"held"` // Call-IDs
}

// SpoolVolume is a directory of a spool with the room that it has.
type SpoolVolume struct {
	Dir     string `json:"dir"`
	Total   int64  `json:"total_bytes"`
	Free    int64  `json:"free_bytes"`
	Quota   int64  `json:"quota_bytes"`
	Reserve int64  `json:"reserve_bytes"`
}

// SpoolClass is the segments of a class.
type SpoolClass struct {
	Class    string    `json:"class"` // sip, rtp, register
	Segments int       `json:"segments"`
	Damaged  int       `json:"damaged"`
	Packets  uint64    `json:"packets"`
	Bytes    int64     `json:"bytes"`
	Quota    int64     `json:"quota_bytes"` // 0: that of all classes together
	MaxDays  float64   `json:"max_days"`    // 0: none
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	Rate     float64   `json:"rate"`      // bytes per second, of the last day
	LastsFor float64   `json:"lasts_s"`   // how far back it will reach at that rate; 0: not known
	FullIn   float64   `json:"full_in_s"` // until its quota is used up; 0: it is, or not known
}

// SpoolSegment is one file of a spool.
type SpoolSegment struct {
	Path    string    `json:"path"` // below the spool directory
	Class   string    `json:"class"`
	Minute  time.Time `json:"minute"`
	Open    bool      `json:"open"`
	Packets uint64    `json:"packets"`
	Calls   int       `json:"calls"`
	Bytes   int64     `json:"bytes"`
	Damage  string    `json:"damage,omitempty"`
}

// CallRef names the packets of a call: those of its Call-ID in its time.
type CallRef struct {
	CallID   string
	From, To int64 // ns since the epoch, both inclusive; some seconds are left on either side
}

// Packets are those of calls.
type Packets interface {
	// Export writes the packets of calls, by time, as one capture file. It
	// writes nothing where there is nothing, and returns ErrNotStored; beyond
	// MaxBytes it returns ErrTooLarge.
	Export(ctx context.Context, q PacketQuery, to io.Writer) (Exported, error)
	// Messages is the SIP messages of a call, as they were on the wire, by time;
	// ErrNotStored where there are none. At most limit.
	Messages(ctx context.Context, c CallRef, limit int) ([]SIPMessage, error)
	// Intervals is how each stream of a call did in the course of time, from its
	// stored packets; ErrNotStored where there are none.
	Intervals(ctx context.Context, c *record.Call, step time.Duration) ([]StreamIntervals, error)
}

// PacketQuery says which packets.
type PacketQuery struct {
	Calls    []CallRef
	SIP, RTP bool  // only these; neither: all
	Classic  bool  // pcap instead of pcapng
	MaxBytes int64 // 0: no limit

	// HeadersOnly is for who has no right to hear: RTP ends with its header, its
	// length on the wire stays, and keys of media are crossed out (HideKeys).
	HeadersOnly bool
}

// Exported is what an export found.
type Exported struct {
	Packets uint64
	Missing []string // what of the spool did not answer, or is damaged
}

// StreamIntervals is a stream in the course of time. SSRC, Src and Dst are those
// of a record.Stream of the call.
type StreamIntervals struct {
	SSRC      uint32         `json:"ssrc"`
	Src       netip.AddrPort `json:"src"`
	Dst       netip.AddrPort `json:"dst"`
	Step      float64        `json:"step_s"`
	Intervals []Interval     `json:"intervals"`
}

// Interval is one piece of a stream. Figures that do not exist are zero, and
// Packets says whether there can be any.
type Interval struct {
	Time    int64   `json:"time"` // its beginning, ns since the epoch
	Packets uint32  `json:"packets"`
	Lost    uint32  `json:"lost"`
	Late    uint32  `json:"late"`      // for a fixed buffer of 200 ms
	Jitter  float64 `json:"jitter_ms"` // RFC 3550, at its end
	Delay   float64 `json:"delay_ms"`  // greatest deviation from the steady delay
	MOS     float64 `json:"mos"`
}

// Audio is what calls sound like.
type Audio interface {
	// Describe says what can be heard of a call, and why not of the rest.
	Describe(ctx context.Context, c *record.Call) (AudioInfo, error)
	// WAV writes a RIFF file. ErrNotStored and ErrNotPlayable come before the
	// first byte.
	WAV(ctx context.Context, c *record.Call, q AudioQuery, to io.Writer) error
	// Waveform is the peaks of each channel, 0 to 1, evenly over the call.
	Waveform(ctx context.Context, c *record.Call, points int) (Waveform, error)
}

// AudioQuery says what to hear.
type AudioQuery struct {
	Side    string        // both (left the caller, right the called party), a, b
	Start   time.Duration // from the first packet of the call
	Length  time.Duration // 0: to the end
	AsHeard time.Duration // length of the jitter buffer to hear it through; 0: as sent
}

// AudioInfo is what can be heard of a call.
type AudioInfo struct {
	Playable bool          `json:"playable"`
	Seconds  float64       `json:"seconds"`
	Start    time.Time     `json:"start,omitzero"` // of the first packet
	Rate     int           `json:"rate_hz,omitempty"`
	Why      string        `json:"why,omitempty"`   // it cannot be heard
	Notes    []string      `json:"notes,omitempty"` // what else is to be known of it
	Streams  []AudioStream `json:"streams"`
}

// AudioStream is one stream of it.
type AudioStream struct {
	SSRC     uint32 `json:"ssrc"`
	Side     string `json:"side"` // a, b
	Codec    string `json:"codec"`
	Playable bool   `json:"playable"`
	Why      string `json:"why,omitempty"` // it is not heard, or not all of it
	Packets  uint64 `json:"packets"`       // that are stored
	Lost     uint64 `json:"lost"`          // packets between them that are missing
}

// Waveform is a call as peaks.
type Waveform struct {
	Seconds  float64           `json:"seconds"`
	Channels []WaveformChannel `json:"channels"`
}

// WaveformChannel is one side of it.
type WaveformChannel struct {
	Side  string    `json:"side"` // a, b
	Peaks []float64 `json:"peaks"`
	Lost  []uint64  `json:"lost"` // packets that are missing, as many values as peaks: of each part, and before it
}

// Rules are the capture rules.
type Rules interface {
	// Rules is the text, and where it is kept (empty: nowhere, and it cannot be
	// changed).
	Rules() (text, path string, err error)
	// Pending is why that text holds after a restart only; empty: it holds.
	Pending() string
	// Check says what is wrong with a text; nothing: it is fine.
	Check(text string) []RuleProblem
	// Put writes a text that Check finds fine, and puts it into force, if it can
	// be: Pending says so otherwise.
	Put(ctx context.Context, text string) error
}

// RuleProblem is what is wrong with rules, and where.
type RuleProblem struct {
	Line    int    `json:"line"` // from 1
	Col     int    `json:"col"`  // from 1, in characters
	Text    string `json:"text"`
	Warning bool   `json:"warning,omitempty"` // the rules work
}

// Settings are the configuration.
type Settings interface {
	// Settings is every key in the order of the manual. Secrets have no value.
	Settings() []Setting
	// Reload reads the configuration again. An invalid one changes nothing, and
	// is an error.
	Reload(ctx context.Context) (Reloaded, error)
}

// Setting is a key of the configuration.
type Setting struct {
	Key     string `json:"key"`
	Section string `json:"section"`
	Value   string `json:"value"`
	Default string `json:"default"`
	From    string `json:"from"` // default, file:line, flag
	Help    string `json:"help"`
	Restart bool   `json:"restart"` // a change needs a restart
	Secret  bool   `json:"secret"`
}

// Reloaded is what a reload changed.
type Reloaded struct {
	Changed []Change `json:"changed"`
	Restart []string `json:"restart"` // keys among them that hold after a restart only
}

// Change is one key that has another value now. Secrets have no values.
type Change struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Health says how the appliance is.
type Health interface {
	// Alive fails when the process should be started anew.
	Alive() error
	// Ready lists what must work for the appliance to do its job.
	Ready() []Check
}

// Check is one thing that must work.
type Check struct {
	Name string `json:"name"` // rings, store, spool, link
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}

// Bundle is what support asks for.
type Bundle interface {
	// Write writes a zip archive without secrets.
	Write(ctx context.Context, to io.Writer) error
}
