// Package config reads the configuration of ringside: lines of "key = value" in
// one file, in those that it includes, and in a folder conf.d beside it.
//
// One table of keys (keys*.go) says what there is. Loading, the differences of
// a reload, the manual, the man page and the file that "ringside init" writes
// all come from it. A second table (voipmonitor.txt) says of every key of
// VoIPmonitor what becomes of it here.
//
// The package knows nobody of ringside. What a value means to others, such as
// an expression of the packet filter, is asked through LoadOptions.Check.
package config

import (
	"net/netip"
	"time"
)

// Config is a configuration that holds together: Load has checked it. It is not
// changed after that, so that many goroutines may read it.
type Config struct {
	Sensor  Sensor
	Capture Capture
	Calls   Calls
	Spool   Spool
	Store   Store
	Web     Web
	Manager Manager
	Process Process
	Log     Log
	Export  Export

	origins map[string]origin // by name of the key; one that is not there has its default
}

// origin is where a key was set last.
type origin struct {
	file string
	line int
}

// Sensor says who captures.
type Sensor struct {
	ID   uint16 // goes into every record
	Name string // empty: the name of the host
}

// Capture says what is captured, and how.
type Capture struct {
	Interfaces []string // none: nothing is captured
	Dedicated  bool     // they carry nothing of the host's own

	XDP     string // auto, native, generic, none
	Meter   string // kernel, user: where RTP that nobody records is measured
	Steer   string // flow, queue, cpu
	Rings   int    // of each interface; 0: one for each CPU there is for them
	Ring    int64  // bytes for the rings of each interface
	Streams int    // that the kernel measures, of each interface; 0: the default
	Media   int    // media addresses that the kernel is told of; 0: the default

	Allow, Deny []netip.Prefix
	SIPPorts    []uint16  // none: 5060, 5061 and 5080 on dedicated interfaces, any on others
	RTPPorts    [2]uint16 // the least and the greatest; 0: 1024-65535
	Filter      string    // in the syntax of tcpdump

	VXLANPorts  []uint16 // none: 4789 and 8472
	Dedup       string   // auto, on, off
	DedupWindow time.Duration
}

// Calls says how calls are put together, and how many of them there may be. A
// number that is 0 stands for the default of the part that has the limit; a
// time that is 0 for none.
type Calls struct {
	Max      int
	Timeouts string // STATE=DURATION,…
	Messages int    // that a record lists
	Streams  int    // measured at one time

	Bindings, Exchanges, Peers int // of registrations, of other SIP

	LinkHeader string   // the legs of a conversation have it in common
	NATAlias   []string // "A=B": media for A in SDP is seen at B
	BothSides  bool     // SDP must name both ends of a stream

	EventsOff                []string // kinds that are held back
	RegDelDelay, RegExpDelta time.Duration

	TCPIdle, TCPReorder time.Duration
	KeyLogs, RSAKeys    []string // files
}

// Spool says which packets are stored, and where.
type Spool struct {
	Dir  string // empty: none are
	Root bool   // on the root file system too

	Rules         string // file of capture rules; empty: as the three below say
	SIP, RTP, Reg string // full, header, none

	Memory int64 // bytes for packets on their way; 0: 128 MiB
	Quota  Quota

	Cold      string // a further directory; empty: none
	ColdQuota Quota
}

// Quota is what a directory of the spool may take. 0 stands for: as the whole,
// or none where nothing is said of that either.
type Quota struct {
	Total, SIP, RTP, Reg        int64 // bytes
	Age, SIPAge, RTPAge, RegAge time.Duration
	Reserve                     int64 // bytes that stay free on the volume; 0: 5 % of it or 10 GiB
}

// Bytes are the limits of the classes SIP, RTP and REGISTER.
func (q Quota) Bytes() [3]int64 { return [3]int64{q.SIP, q.RTP, q.Reg} }

// Ages are the limits of the classes SIP, RTP and REGISTER: that of the whole
// where a class has none of its own.
func (q Quota) Ages() [3]time.Duration {
	out := [3]time.Duration{q.SIPAge, q.RTPAge, q.RegAge}
	for i := range out {
		if out[i] == 0 {
			out[i] = q.Age
		}
	}
	return out
}

// DefaultRule is the capture rule that stands for the keys savesip, savertp and
// save-sip-register, where no file of rules is named.
func (s Spool) DefaultRule() string {
	return "default -> sip " + s.SIP + ", rtp " + s.RTP + ", register " + s.Reg + "\n"
}

// Store says where records are kept.
type Store struct {
	Driver string // auto, sqlite, mysql, none
	Path   string // of SQLite's file; or the whole name of a server

	Host, Socket   string
	Port           uint16 // 0: 3306
	Database, User string
	Password       string
	TLS            string // no, yes, skip-verify
	CA, Cert, Key  string // files
	Timeout        time.Duration

	Queue      string // directory; empty: none
	QueueBytes int64  // 0: 4 GiB
	Days       int    // full days that records are kept; 0: for ever
}

// Web says where the web UI, the API and the metrics are.
type Web struct {
	Listen    netip.AddrPort // invalid: nowhere
	Insecure  bool           // other machines may come without TLS
	Cert, Key string         // files, PEM
	Proxies   []netip.Prefix // whose X-Forwarded-For is believed

	SessionIdle, SessionMax time.Duration
}

// Manager says where programs of the machine ask for the state.
type Manager struct {
	IP     netip.Addr
	Port   uint16 // 0: none
	Socket string // of ringside's own commands; empty: none
}

// Process says what the process may take.
type Process struct {
	Memory       int64 // bytes of all of it; 0: that of the cgroup, or of the machine
	BufferMemory int64 // bytes of rings and spool memory together; 0: not bounded but by Memory
	StateDir     string
	Shutdown     time.Duration // the longest that the end may take
}

// Log says what is told, and where.
type Log struct {
	Level  string // debug, info, warn, error
	File   string // empty: standard error
	Redact bool   // numbers and Call-IDs
	Status time.Duration
}

// Export says which files get the records as well.
type Export struct {
	JSON, CSV string // "-": standard output
	Keys      bool   // JSON with the keys of media
}

// Default is the configuration of an empty file.
func Default() *Config {
	return &Config{
		Sensor: Sensor{ID: 1},
		Capture: Capture{
			XDP: "auto", Meter: "kernel", Steer: "flow", Ring: 64 << 20,
			Dedup: "auto", DedupWindow: 10 * time.Millisecond,
		},
		Calls: Calls{
			RegDelDelay: 5 * time.Second, RegExpDelta: 30 * time.Second,
			TCPIdle: time.Hour, TCPReorder: time.Minute,
		},
		Spool: Spool{Dir: "/var/spool/ringside", SIP: full, RTP: full, Reg: full},
		Store: Store{
			Driver: "auto", Path: "/var/lib/ringside/ringside.db", Database: "ringside", User: "ringside",
			TLS: "no", Timeout: 10 * time.Second, Queue: "/var/lib/ringside/queue", Days: 90,
		},
		Web: Web{
			Listen:      netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 8080),
			SessionIdle: 30 * time.Minute, SessionMax: 12 * time.Hour,
		},
		Manager: Manager{IP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Socket: "/run/ringside/ringside.sock"},
		Process: Process{StateDir: "/var/lib/ringside", Shutdown: 30 * time.Second},
		Log:     Log{Level: "info", Status: 10 * time.Second},
		origins: map[string]origin{},
	}
}

// Origin is where a key was set: a file and a line of it. The line is 0 where a
// whole file is the value, the file empty where the key has its default.
func (c *Config) Origin(key string) (file string, line int) {
	at := c.origins[key]
	return at.file, at.line
}
