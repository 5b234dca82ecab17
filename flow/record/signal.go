package record

import "net/netip"

// Transport is what carries SIP.
type Transport uint8

// Transports.
const (
	TransportUnknown Transport = iota
	UDP
	TCP
	TLS
	WS  // WebSocket (RFC 7118)
	WSS // WebSocket in TLS
	SCTP
)

var transportNames = []string{"", "udp", "tcp", "tls", "ws", "wss", "sctp"}

func (t Transport) String() string { return nameOf(transportNames, int(t)) }

// MarshalText is String.
func (t Transport) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (t *Transport) UnmarshalText(b []byte) error {
	return parseName(transportNames, "transport", b, t)
}

// Registration is the life of one binding of an address of record (RFC 3261
// section 10): from the REGISTER that made it, or was first seen, until it was
// removed or ran out. An address of record at which registrations only failed
// has one too, without a contact.
type Registration struct {
	ID     int64  `json:"id"` // deterministic: a 63-bit hash of AOR, Contact, Instance and Start; without a contact, of the source address too
	Sensor uint16 `json:"sensor"`

	AOR      string `json:"aor"`    // user@domain of To
	User     string `json:"user"`   // user part
	Domain   string `json:"domain"` // host part
	Contact  string `json:"contact,omitempty"`
	Instance string `json:"instance,omitempty"` // +sip.instance (RFC 5626), without quotes and angle brackets
	Path     string `json:"path,omitempty"`     // Path (RFC 3327), as of the last success
	CallID   string `json:"call_id"`            // of the last REGISTER
	Agent    string `json:"agent,omitempty"`
	AuthUser string `json:"auth_user,omitempty"`

	Src       netip.AddrPort `json:"src"` // of the last REGISTER
	Dst       netip.AddrPort `json:"dst"`
	Transport Transport      `json:"transport"`
	VLAN      int32          `json:"vlan"` // -1: untagged
	NATed     bool           `json:"nat,omitempty"`

	Start     int64             `json:"start"`                // first REGISTER of the binding
	Last      int64             `json:"last"`                 // last REGISTER that was answered by 2xx; of a failure the last one
	End       int64             `json:"end"`                  // removed, expired, or the end of the capture
	ExpiresAt int64             `json:"expires_at,omitempty"` // as granted last
	Expires   uint32            `json:"expires"`              // s, as granted last
	State     RegistrationState `json:"state"`

	Registers  uint32 `json:"registers"`  // REGISTER requests, retransmissions apart
	Successes  uint32 `json:"successes"`  // answered by 2xx
	Challenges uint32 `json:"challenges"` // answered by 401 or 407
	Failures   uint32 `json:"failures"`   // answered by any other final status above 299, or by 401 or 407 though it had credentials for the last challenge
	Timeouts   uint32 `json:"timeouts"`   // not answered
	Retrans    uint32 `json:"retransmissions"`

	LastStatus uint16  `json:"last_status"`
	LastReason string  `json:"last_reason,omitempty"`
	RTT        float64 `json:"rtt_avg_ms"` // from REGISTER to its final response
	RTTMin     float64 `json:"rtt_min_ms"`
	RTTMax     float64 `json:"rtt_max_ms"`
}

// RegistrationState is how a registration stands.
type RegistrationState uint8

// States of a registration.
const (
	Registered   RegistrationState = iota // at the end of the capture
	Unregistered                          // removed by the user agent (Expires 0)
	Expired                               // not renewed in time
	Rejected                              // no REGISTER of it ever succeeded
	Replaced                              // the binding table was full
)

var registrationStates = []string{"registered", "unregistered", "expired", "rejected", "evicted"}

func (s RegistrationState) String() string { return nameOf(registrationStates, int(s)) }

// MarshalText is String.
func (s RegistrationState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *RegistrationState) UnmarshalText(b []byte) error {
	return parseName(registrationStates, "state", b, s)
}

// Exchange is SIP outside of calls and registrations: a subscription with its
// notifications, a publication, a text message, or how an address answers to
// OPTIONS. What the fields mean goes by Kind.
type Exchange struct {
	ID     int64        `json:"id"` // deterministic: a 63-bit hash of Kind, CallID, From tag (of OPTIONS: the addresses) and Start
	Kind   ExchangeKind `json:"kind"`
	Sensor uint16       `json:"sensor"`
	CallID string       `json:"call_id"` // of the last request

	Caller Party `json:"caller"` // who sent the first request
	Called Party `json:"called"` // whom it was for

	Transport Transport `json:"transport"`
	VLAN      int32     `json:"vlan"` // -1: untagged

	Start int64  `json:"start"`          // first request
	Last  int64  `json:"last"`           // last message
	End   int64  `json:"end"`            // when it was over
	State string `json:"state"`          // subscription: active, terminated, expired, rejected, unsolicited (NOTIFY alone); message and publication: ok, failed, timeout; options: up, down; any: pending (not answered when the capture ended)
	Note  string `json:"note,omitempty"` // subscription: reason of Subscription-State

	Event   string `json:"event,omitempty"`   // Event (RFC 6665) of a subscription or publication
	Expires uint32 `json:"expires,omitempty"` // s, as granted last

	Requests uint32 `json:"requests"` // retransmissions apart
	Answered uint32 `json:"answered"` // by any final response
	Failures uint32 `json:"failures"` // answered above 299, challenges apart
	Timeouts uint32 `json:"timeouts"` // not answered
	Notifies uint32 `json:"notifies"` // NOTIFY requests of a subscription
	Retrans  uint32 `json:"retransmissions"`
	Changes  uint32 `json:"changes,omitempty"` // options: times the state went from up to down or back

	LastStatus uint16  `json:"last_status"`
	LastReason string  `json:"last_reason,omitempty"`
	RTT        float64 `json:"rtt_avg_ms"` // from a request to its final response
	RTTMin     float64 `json:"rtt_min_ms"`
	RTTMax     float64 `json:"rtt_max_ms"`

	ContentType string `json:"content_type,omitempty"` // of a text message
	Text        string `json:"text,omitempty"`         // its body, if that is text: at most 16 KiB, valid UTF-8
	Size        uint32 `json:"size,omitempty"`         // of its body, bytes
}

// ExchangeKind is a kind of Exchange.
type ExchangeKind uint8

// Kinds of exchanges.
const (
	ExchangeUnknown ExchangeKind = iota
	Subscription
	Publication
	TextMessage
	Options
)

var exchangeNames = []string{"", "subscription", "publication", "message", "options"}

func (k ExchangeKind) String() string { return nameOf(exchangeNames, int(k)) }

// MarshalText is String.
func (k ExchangeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (k *ExchangeKind) UnmarshalText(b []byte) error {
	return parseName(exchangeNames, "kind", b, k)
}

// Event is something that happened at one time.
type Event struct {
	ID     int64     `json:"id"` // deterministic: a 63-bit hash of all but Count
	Time   int64     `json:"time"`
	Kind   EventKind `json:"kind"`
	Sensor uint16    `json:"sensor"`

	Src netip.AddrPort `json:"src"` // of the request that it is about, whoever answered it; else of the message that told it
	Dst netip.AddrPort `json:"dst"`

	AOR    string `json:"aor,omitempty"`    // of a registration; From of anything else
	Target string `json:"target,omitempty"` // Contact of a registration; To of anything else
	CallID string `json:"call_id,omitempty"`
	Method string `json:"method,omitempty"`
	Status uint16 `json:"status,omitempty"`
	Text   string `json:"text,omitempty"` // reason phrase, or what was wrong with a message
	Agent  string `json:"agent,omitempty"`

	// Count is how many events of this kind and source the record stands for:
	// 1, or more where a rate limit had held some back before it.
	Count uint64 `json:"count"`
}

// EventKind is a kind of event.
type EventKind uint8

// Kinds of events.
const (
	EventUnknown     EventKind = iota
	CallStart                  // a call was answered
	CallEnd                    // an answered call was over
	CallAttempt                // a call was over without an answer
	AuthRefused                // 401, 403 or 407 to a request with credentials for the last challenge
	RegNew                     // a binding was made
	RegDel                     // a binding was removed, and not made again within the flap delay
	RegExpired                 // a binding was not renewed
	SubNew                     // a subscription was accepted
	SubDel                     // a subscription was ended
	OtherOK                    // a request outside of calls, but not REGISTER or SUBSCRIBE, was answered by 2xx
	OtherFailed                // a request outside of calls, REGISTER and SUBSCRIBE too, was answered above 299, and it was no challenge
	OtherTimeout               // … not at all
	ParseError                 // a message could not be understood
	PeerUp                     // an address that had not answered OPTIONS does again
	PeerDown                   // an address does not answer OPTIONS any more
	MirrorDuplicates           // an interface delivers packets twice; they are removed from now on
	MirrorOneWay               // of a pair of hosts only one direction is seen
)

var eventNames = []string{
	"", "call-start", "call-end", "call-attempt", "auth-failed", "reg-new", "reg-del", "reg-expired",
	"sub-new", "sub-del", "other-ok", "other-failed", "other-timeout", "parse-error", "peer-up", "peer-down",
	"mirror-duplicates", "one-direction",
}

func (k EventKind) String() string { return nameOf(eventNames, int(k)) }

// MarshalText is String.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (k *EventKind) UnmarshalText(b []byte) error { return parseName(eventNames, "event", b, k) }

// EventKinds lists every kind of event in order.
func EventKinds() []EventKind {
	var out []EventKind
	for k := CallStart; int(k) < len(eventNames); k++ {
		out = append(out, k)
	}
	return out
}

// Link says that two calls belong together: legs of one conversation on both
// sides of a B2BUA. The calls stay what they are.
type Link struct {
	ID     int64      `json:"id"`    // deterministic: a 63-bit hash of First, Second and Reason
	First  int64      `json:"first"` // ID of the call that began first
	Second int64      `json:"second"`
	Start  int64      `json:"start"` // of the first call; with First it finds the call
	Other  int64      `json:"other"` // start of the second call
	Reason LinkReason `json:"reason"`
	Key    string     `json:"key,omitempty"` // what they have in common: the value of the header
	Score  uint8      `json:"score"`         // 0 to 100, how sure that is; 100 for what a header says
}

// LinkReason is why two calls are taken to belong together, the surest first.
type LinkReason uint8

// Reasons of a link.
const (
	LinkUnknown   LinkReason = iota
	LinkSessionID            // Session-ID (RFC 7989)
	LinkXCallID              // X-CID or X-Call-ID of one names the Call-ID of the other, or both the same
	LinkICID                 // icid-value of P-Charging-Vector (RFC 7315)
	LinkHeader               // a header that the user configured
	LinkReplaces             // Replaces (RFC 3891) names the dialog of the other
	LinkScore                // numbers, times and media ports
)

var linkNames = []string{"", "session-id", "x-cid", "icid", "header", "replaces", "score"}

func (r LinkReason) String() string { return nameOf(linkNames, int(r)) }

// MarshalText is String.
func (r LinkReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (r *LinkReason) UnmarshalText(b []byte) error { return parseName(linkNames, "reason", b, r) }

// QualityReport is what an endpoint reported of a call (RFC 6035), kept beside
// our own measurement. Numbers that the report does not give are 0, but for
// MOS and delays, which are -1.
type QualityReport struct {
	ID       int64          `json:"id"` // deterministic: a 63-bit hash of all
	Time     int64          `json:"time"`
	Sensor   uint16         `json:"sensor"`
	CallID   string         `json:"call_id"` // of the call that is reported on
	Kind     string         `json:"kind"`    // session, interval, alert
	Src      netip.AddrPort `json:"src"`     // of the message
	LocalID  string         `json:"local_id"`
	RemoteID string         `json:"remote_id"`
	Local    netip.AddrPort `json:"local"`  // media address that reports
	Remote   netip.AddrPort `json:"remote"` // that it hears
	SSRC     uint32         `json:"ssrc"`   // of the stream it hears (RemoteAddr)
	Codec    string         `json:"codec,omitempty"`
	Start    int64          `json:"start,omitempty"` // as the reporter's clock says
	Stop     int64          `json:"stop,omitempty"`
	XR       XR             `json:"xr"`
}

// XR is what an endpoint reported of the stream it received: the VoIP metrics
// block of RTCP-XR (RFC 3611 section 4.7), or RFC 6035. 127 and "unavailable"
// are -1.
type XR struct {
	Reports      uint32  `json:"reports"`
	Loss         float64 `json:"loss"`    // per cent, network
	Discard      float64 `json:"discard"` // per cent, late or early at the jitter buffer
	BurstLoss    float64 `json:"burst_density"`
	GapLoss      float64 `json:"gap_density"`
	Burst        float64 `json:"burst_ms"`
	Gap          float64 `json:"gap_ms"`
	RTT          float64 `json:"rtt_ms"`
	EndDelay     float64 `json:"end_delay_ms"`
	Signal       int16   `json:"signal_db"`
	Noise        int16   `json:"noise_db"`
	RERL         int16   `json:"rerl_db"`
	R            float64 `json:"r"`
	ExternalR    float64 `json:"external_r"`
	MOSLQ        float64 `json:"mos_lq"`
	MOSCQ        float64 `json:"mos_cq"`
	JitterBuffer float64 `json:"jitter_buffer_ms"` // nominal
	JitterMax    float64 `json:"jitter_buffer_max_ms"`
}

// Digit is a DTMF digit, or another event of RFC 4733.
type Digit struct {
	Time     int64       `json:"time"`  // its first packet, or the INFO
	From     Side        `json:"from"`  // who sent it
	Digit    string      `json:"digit"` // 0 to 9, *, #, A to D, flash; else the number of the event
	Method   DigitMethod `json:"method"`
	Duration uint32      `json:"duration_ms"`
	Volume   uint8       `json:"volume,omitempty"` // -dBm0
	SSRC     uint32      `json:"ssrc,omitempty"`
}

// DigitMethod is how a digit was sent.
type DigitMethod uint8

// Ways to send a digit.
const (
	DigitUnknown DigitMethod = iota
	DigitRTP                 // telephone-event (RFC 4733)
	DigitINFO                // SIP INFO: application/dtmf-relay or application/dtmf
)

var digitNames = []string{"", "rtp", "info"}

func (m DigitMethod) String() string { return nameOf(digitNames, int(m)) }

// MarshalText is String.
func (m DigitMethod) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (m *DigitMethod) UnmarshalText(b []byte) error { return parseName(digitNames, "method", b, m) }

// Tunnel is the innermost encapsulation that something came in.
type Tunnel struct {
	Kind string     `json:"kind,omitempty"` // gre, vxlan, gtp-u, …; empty: none
	Src  netip.Addr `json:"src"`            // of the IP header around; invalid if there is none
	Dst  netip.Addr `json:"dst"`
	ID   uint32     `json:"id,omitempty"` // VNI, TEID, GRE key, session, label or SPI
}
