// Package record holds what a shard reports: the call detail record with its
// messages and media streams, and streams that no call claimed.
//
// It is a leaf: plain data, no behaviour beyond naming its values. Records are
// built by flow, and belong to whoever receives them; nothing in them is
// borrowed. Times are nanoseconds since the Unix epoch, 0 where the thing did
// not happen. Addresses are netip.AddrPort, invalid where unknown.
package record

import "net/netip"

// Call is one call detail record: everything seen under one Call-ID from its
// first message until the call was over. An INVITE that comes under the same
// Call-ID after that begins another call.
//
// A proxy path may be captured on several hops. A message seen again on the
// same hop (same addresses, equal in branch, tags, CSeq, RSeq and body) is a
// retransmission; the same message on another hop is a copy. Times are those of
// the first copy, and what is counted by request counts copies once.
type Call struct {
	// ID is deterministic: a 63-bit hash of Call-ID, From tag and Start. The
	// same packets give the same ID.
	ID     int64  `json:"id"`
	CallID string `json:"call_id"`
	Sensor uint16 `json:"sensor"`

	Start  int64 `json:"start"`            // first message of the call
	Trying int64 `json:"trying,omitempty"` // first 100 to the INVITE
	Ring   int64 `json:"ring,omitempty"`   // first 180, or first 183 if there is no 180 (post-dial delay ends here)
	Answer int64 `json:"answer,omitempty"` // first 2xx to an INVITE that is no re-INVITE; 0 if it came after the BYE
	ByeAt  int64 `json:"bye_at,omitempty"` // first BYE that ended the call (a BYE to one dialog of several does not)

	// End is when the call was over: the BYE (ByeAt), the final failure that
	// settled the INVITE (after a CANCEL its 487), or else the last sign of
	// life: last SIP message or RTP packet. What a proxy gets on one branch of
	// a fork settles nothing while another branch, or a hop nearer to the
	// caller, is open.
	End  int64 `json:"end"`
	Last int64 `json:"last"` // last SIP message of the call, retransmissions included

	Outcome   Outcome   `json:"outcome"`
	EndReason EndReason `json:"end_reason"`
	HungUp    Side      `json:"hung_up"` // who sent the BYE that ended the call, or the CANCEL, by the tags

	// Caller is the From of the first INVITE, Called its To; what the
	// Request-URI says is in RequestUser. Where the INVITE was not seen, From
	// and To of the first message: who called whom is a guess then, and HungUp
	// goes by the same guess.
	Caller Party `json:"caller"`
	Called Party `json:"called"`

	RequestUser   string `json:"request_user,omitempty"`   // user part of the first INVITE's Request-URI
	RequestDomain string `json:"request_domain,omitempty"` // host part of it

	// LastStatus is the last final status of an INVITE, re-INVITEs included (0:
	// none seen), with its reason phrase. A failure of the first INVITE does not
	// count after its 2xx (a branch of a fork that lost). LastProvisional is
	// the last 1xx above 100.
	LastStatus      uint16 `json:"last_status"`
	LastReason      string `json:"last_reason,omitempty"`
	LastProvisional uint16 `json:"last_provisional,omitempty"`

	// Reason header fields (RFC 3326) of BYE, CANCEL or a final response above
	// 299; the last ones seen.
	SIPCause  uint16 `json:"sip_cause,omitempty"`
	SIPText   string `json:"sip_text,omitempty"`
	Q850Cause uint16 `json:"q850_cause,omitempty"`
	Q850Text  string `json:"q850_text,omitempty"`

	Invites         uint32 `json:"invites"`                   // INVITE requests, re-INVITEs included
	Reinvites       uint32 `json:"reinvites,omitempty"`       // INVITE requests with a To tag
	Retransmissions uint32 `json:"retransmissions"`           // SIP messages seen again on the same hop, requests and responses
	MaxRetransInv   uint32 `json:"max_retrans_inv,omitempty"` // most retransmissions of one INVITE on one hop
	Challenges      uint32 `json:"challenges,omitempty"`      // INVITE requests that got 401 or 407
	Holds           uint32 `json:"holds,omitempty"`           // times that an offer after the answer put the call on hold; declined ones do not count
	Forks           uint32 `json:"forks,omitempty"`           // early or confirmed dialogs (To tags of responses 101 to 299) beyond the first
	Redirects       uint32 `json:"redirects,omitempty"`       // INVITE requests that got 3xx
	Refers          uint32 `json:"refers,omitempty"`
	Infos           uint32 `json:"infos,omitempty"`
	Pracks          uint32 `json:"pracks,omitempty"`
	Updates         uint32 `json:"updates,omitempty"`
	AuthUser        string `json:"auth_user,omitempty"` // username of the caller's first Authorization or Proxy-Authorization

	VLAN      int32     `json:"vlan"` // VLAN id of the first message, -1 if untagged
	DSCP      uint8     `json:"dscp,omitempty"`
	Transport Transport `json:"transport"` // of the first message
	Tunnel    Tunnel    `json:"tunnel"`    // of the first message

	// What links the call to others (Link): the first value seen of each.
	SessionID  string `json:"session_id,omitempty"`  // both UUIDs of Session-ID (RFC 7989), the lesser first, 32 hexadecimal digits each, with a semicolon between them; one alone where that of the peer is not known
	XCallID    string `json:"x_call_id,omitempty"`   // X-CID, X-Call-ID or the like: Call-ID of the other leg
	ICID       string `json:"icid,omitempty"`        // icid-value of P-Charging-Vector (RFC 7315)
	LinkHeader string `json:"link_header,omitempty"` // value of the header that the user configured
	Replaces   string `json:"replaces,omitempty"`    // Call-ID in Replaces (RFC 3891)

	Flags Flags `json:"flags,omitempty"`

	// What became of its packets; not known where there was no spool.
	Rule      string `json:"rule,omitempty"` // capture rule that decided
	SIPStored Stored `json:"sip_stored,omitzero"`
	RTPStored Stored `json:"rtp_stored,omitzero"`

	Legs          []Leg     `json:"legs,omitempty"`     // in order of appearance
	Messages      []Message `json:"messages,omitempty"` // in order; the first and last ones when there were very many
	MessagesTotal uint32    `json:"messages_total"`     // all SIP messages of the call on all hops, also those not listed
	Streams       []Stream  `json:"streams,omitempty"`  // RTP streams, by direction, then first packet
	Media         []Media   `json:"media,omitempty"`    // in order of appearance, the first 32
	Digits        []Digit   `json:"digits,omitempty"`   // DTMF in order, the first 256
}

// Party is one end of a call.
type Party struct {
	Number  string         `json:"number"`            // user part of the URI
	Domain  string         `json:"domain,omitempty"`  // host part of the URI
	Name    string         `json:"name,omitempty"`    // display name, unquoted
	Tag     string         `json:"tag,omitempty"`     // From tag of the caller; To tag of the dialog that was answered, else of the first one
	Addr    netip.AddrPort `json:"addr"`              // signalling address: source (caller) or destination (called) of the first INVITE
	Agent   string         `json:"agent,omitempty"`   // Server or User-Agent; of the called, of its 2xx rather than of an earlier response
	Contact string         `json:"contact,omitempty"` // Contact URI, likewise
}

// Leg is one dialog of a call (RFC 3261 section 12): a To tag of the responses
// to its INVITE. A tag that comes with a failure alone is listed too, but not
// that of a challenge or a redirection.
type Leg struct {
	Tag    string `json:"tag"`              // To tag
	First  int64  `json:"first"`            // first response with the tag
	Answer int64  `json:"answer,omitempty"` // its 2xx
	Status uint16 `json:"status"`           // 2xx, else the last final status, else the last provisional one; 0: no response seen
}

// Message is one SIP message of a call, for its ladder.
type Message struct {
	Time    int64          `json:"time"`
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	Method  string         `json:"method"`           // request method, or that of the CSeq of a response
	Status  uint16         `json:"status,omitempty"` // 0 for a request
	Reason  string         `json:"reason,omitempty"` // reason phrase of a response
	CSeq    uint32         `json:"cseq"`
	SDP     bool           `json:"sdp,omitempty"`
	Retrans bool           `json:"retrans,omitempty"` // seen before on this hop
}

// Media is a media endpoint named by SDP, listed once for each set of codecs
// and mode that it was named with. Media lines that are not wanted (port 0) and
// the address of a call on hold (0.0.0.0) name none.
type Media struct {
	Side   Side           `json:"side"` // who receives here
	Kind   string         `json:"kind"` // audio, video, image, …
	Addr   netip.AddrPort `json:"addr"`
	Codecs string         `json:"codecs"`          // payload types as in the m= line, by name: "PCMU PCMA telephone-event"
	Ptime  uint16         `json:"ptime,omitempty"` // ms
	Mode   string         `json:"mode"`            // sendrecv, sendonly, recvonly, inactive
	SRTP   bool           `json:"srtp,omitempty"`
	From   int64          `json:"from"`             // when SDP first named it
	Epoch  uint16         `json:"epoch"`            // which offer named it first: 0 of the call's first INVITE, then counting re-INVITEs and UPDATEs with SDP
	Crypto string         `json:"crypto,omitempty"` // a=crypto lines (RFC 4568): "TAG SUITE KEYPARAMS", one per line
}

// Side says which end of a call something belongs to.
type Side uint8

// Sides of a call.
const (
	SideUnknown Side = iota
	SideCaller
	SideCalled
)

var sideNames = []string{"", "caller", "called"}

func (s Side) String() string { return nameOf(sideNames, int(s)) }

// MarshalText is String.
func (s Side) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *Side) UnmarshalText(b []byte) error { return parseName(sideNames, "side", b, s) }

// Outcome is what became of a call.
type Outcome uint8

// Outcomes, in the order in which they are tried. Partial is a call whose
// capture began after its INVITE. Answered got a 2xx to its INVITE. Cancelled
// was cancelled, or hung up by the caller, before an answer. The others go by
// the last final status: Busy is 486 and 600; NoAnswer is 408, 480, 487 or none
// at all; AuthFailed is 401, 403 and 407; Redirected is 3xx; Failed is any other
// 4xx to 6xx.
const (
	OutcomeUnknown Outcome = iota
	Answered
	Busy
	NoAnswer
	Cancelled
	Redirected
	AuthFailed
	Failed
	Partial
)

var outcomeNames = []string{
	"unknown", "answered", "busy", "no-answer", "cancelled",
	"redirected", "auth-failed", "failed", "partial",
}

func (o Outcome) String() string { return nameOf(outcomeNames, int(o)) }

// MarshalText is String.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (o *Outcome) UnmarshalText(b []byte) error { return parseName(outcomeNames, "outcome", b, o) }

// Outcomes lists every outcome in order.
func Outcomes() []Outcome {
	return []Outcome{OutcomeUnknown, Answered, Busy, NoAnswer, Cancelled, Redirected, AuthFailed, Failed, Partial}
}

// EndReason is why a record was closed.
type EndReason uint8

// End reasons. The last three are of calls that nothing had ended yet.
const (
	EndUnknown   EndReason = iota
	EndBye                 // BYE that was answered by 2xx (or 481: the other side had gone already)
	EndByeAlone            // BYE without such an answer, also if a timer or the capture ended first
	EndCancel              // CANCEL, then a final failure (487)
	EndRejected            // final response of 300 or above, and no other try
	EndTimeout             // a timer of the call's state ran out
	EndOfCapture           // the capture ended first
	EndEvicted             // the call table was full
)

var endNames = []string{
	"unknown", "bye", "bye-unconfirmed", "cancel", "rejected",
	"timeout", "capture-end", "evicted",
}

func (e EndReason) String() string { return nameOf(endNames, int(e)) }

// MarshalText is String.
func (e EndReason) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (e *EndReason) UnmarshalText(b []byte) error { return parseName(endNames, "end reason", b, e) }

// Flags are facts about a call that are true or not.
type Flags uint32

// Flags of a call. OneWay, NoRTP and Silence are given for answered calls only,
// and only of directions that the SDP of both sides allowed.
const (
	OneWay       Flags = 1 << iota // RTP of one side only since the answer, though both directions were allowed
	NoRTP                          // no RTP since the answer, though a direction was allowed
	Silence                        // a side that had sent RTP stopped more than 10 s before the end; not if on hold at the end
	SRTP                           // SDP offered SRTP
	Incomplete                     // our capture lost packets while the call lasted
	MidCall                        // capture began after the INVITE
	EarlyMedia                     // before the answer, or without one: RTP, or SDP in a 1xx, PRACK or UPDATE
	LateSDP                        // RTP came before the SDP that named its destination (or its source, where none named that)
	OnHoldAtEnd                    // the last offer of a side left the call on hold (sendonly, inactive, 0.0.0.0)
	PortReuse                      // a media endpoint had belonged to another call shortly before
	NATed                          // RTP came from or went to another address than SDP said
	MessagesCut                    // Messages does not list all
	SIPCut                         // a SIP message was cut by the snap length, or shorter than its Content-Length
	SharedMedia                    // a stream belongs to another call as well (two legs, media not anchored)
	Fax                            // T.38: both sides named image/t38 media
	Encrypted                      // (part of) the signalling was encrypted and read with keys
	OneDirection                   // SIP of one direction only was captured: no verdict on one-way media
	Hairpin                        // both sides' media went to one address of a relay, which sent it back
	MirrorLoss                     // packets that we miss were lost by the port that mirrors them, not by the network: many unrelated streams lost at once
)

var flagNames = []string{
	"one-way", "no-rtp", "silence", "srtp", "incomplete", "mid-call", "early-media",
	"late-sdp", "on-hold-at-end", "port-reuse", "nat", "messages-cut", "sip-cut", "shared-media",
	"fax", "encrypted-signalling", "one-direction", "hairpin", "mirror-loss",
}

// Names lists the set flags in order.
func (f Flags) Names() []string {
	var out []string
	for i, n := range flagNames {
		if f&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}
