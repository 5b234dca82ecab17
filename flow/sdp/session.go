// Package sdp reads session descriptions (RFC 8866) in place.
//
// A Session is a view that is meant to be used again and again: Parse allocates
// nothing, and all byte slices in a Session are sub-slices of Parse's argument,
// valid as long as that is. What a record needs is copied from there. A Session
// is large (some 20 KiB), so there is one per reader, not one per call.
//
// Parse takes what real devices send: lone LF, lines out of order or missing,
// blanks where none belong. A line that it cannot read is counted and skipped.
package sdp

import "ringside/dataplane/frame"

// Capacities of a Session. What is beyond is counted, not kept.
const (
	MaxMedia      = 8
	MaxFormats    = 24
	MaxCrypto     = 8
	MaxCandidates = 16
)

// Session is one session description.
type Session struct {
	Origin    Origin
	Conn      Conn      // c= of the session
	Direction Direction // a= of the session, which its media inherit
	Total     int       // media descriptions in all, of which Media holds the first MaxMedia
	Bad       int       // lines that could not be read

	media    [MaxMedia]Media
	n        int
	defaults Media // what a media description inherits from the session
}

// Media are the media descriptions, in order. They belong to s.
func (s *Session) Media() []Media { return s.media[:s.n] }

// Origin is the o= line: who described which session in which version.
type Origin struct {
	Username, ID, Version []byte
	Host                  []byte // address as written
}

// Conn is the address of a c= line (or of an attribute), to which media go.
type Conn struct {
	Addr frame.Addr // unspecified (IsZero) puts media on hold, RFC 3264 section 8.4
	OK   bool       // Addr holds an address
	Host []byte     // as written; a host name where Addr does not hold an address
}

// Media is one media description (m=).
type Media struct {
	Kind  Kind
	Port  uint16 // 0: not wanted, no longer wanted, or not to be read
	Ports uint16 // how many ports, 1 unless the line says more
	Proto []byte // RTP/AVP, UDP/TLS/RTP/SAVPF, udptl, …
	Conn  Conn   // of the media, or else of the session

	Direction Direction
	Ptime     uint16 // packet time in ms, 0: not said
	MaxPtime  uint16 // ms, 0: not said

	RTCPPort uint16 // a=rtcp (RFC 3605), 0: Port + 1, or RTCPMux
	RTCPConn Conn   // its address, if it has one
	RTCPMux  bool   // RFC 5761

	Setup       bool // a=setup: DTLS or another connection (RFC 4145)
	Fingerprint bool // a=fingerprint: DTLS-SRTP (RFC 5763)
	ICE         bool // a=ice-ufrag (RFC 8839)
	T38         bool // T.38 attributes

	FormatsTotal    int // formats in all, of which Formats holds the first MaxFormats
	CandidatesTotal int
	CryptoTotal     int

	ownConn    bool // Conn is not the session's
	formats    [MaxFormats]Format
	candidates [MaxCandidates]Candidate
	crypto     [MaxCrypto]Crypto
}

// Formats are the formats of the m= line, in order of preference.
func (m *Media) Formats() []Format { return m.formats[:min(m.FormatsTotal, MaxFormats)] }

// Candidates are the ICE candidates.
func (m *Media) Candidates() []Candidate {
	return m.candidates[:min(m.CandidatesTotal, MaxCandidates)]
}

// Crypto are the SDES keys on offer (RFC 4568).
func (m *Media) Crypto() []Crypto { return m.crypto[:min(m.CryptoTotal, MaxCrypto)] }

// NoPT is the payload type of a format that is no number (as "t38").
const NoPT = 255

// Format is one format of a media description with what rtpmap and fmtp say of it.
type Format struct {
	PT       uint8  // RTP payload type, or NoPT
	Channels uint8  // 1 unless rtpmap says more
	Rate     uint32 // clock rate in Hz, 0 without rtpmap
	Name     []byte // encoding name of rtpmap; the format itself if NoPT
	Fmtp     []byte // parameters of fmtp
}

// Crypto is one a=crypto line.
type Crypto struct {
	Tag       uint32
	Suite     []byte // AES_CM_128_HMAC_SHA1_80, …
	KeyParams []byte // inline:key|lifetime|MKI:length
}

// Candidate is one a=candidate line (RFC 8839 section 5.1).
type Candidate struct {
	Component uint8 // 1 RTP, 2 RTCP
	Type      CandidateType
	TCP       bool
	Port      uint16
	Conn      Conn // a name where the browser hides its address (mDNS)
}

// Kind is the kind of a media description.
type Kind uint8

// Kinds.
const (
	Other Kind = iota
	Audio
	Video
	Image
	Application
	Message
	Text
)

var kindNames = [...]string{"other", "audio", "video", "image", "application", "message", "text"}

// String is the kind as an m= line names it.
func (k Kind) String() string { return kindNames[min(int(k), len(kindNames)-1)] }

// Direction is the direction of media, as the describing side sees it.
type Direction uint8

// Directions.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

var directionNames = [...]string{"sendrecv", "sendonly", "recvonly", "inactive"}

// String is the direction's attribute.
func (d Direction) String() string { return directionNames[min(int(d), len(directionNames)-1)] }

// CandidateType is the type of an ICE candidate.
type CandidateType uint8

// Types of candidates.
const (
	UnknownCandidate CandidateType = iota
	HostCandidate
	ServerReflexive
	PeerReflexive
	Relayed
)

var candidateTypeNames = [...]string{"unknown", "host", "srflx", "prflx", "relay"}

// String is the type as a candidate line names it.
func (t CandidateType) String() string {
	return candidateTypeNames[min(int(t), len(candidateTypeNames)-1)]
}
