// Package sip reads SIP messages (RFC 3261) in place.
//
// A Message is a view: it holds the message's bytes and, for each thing that a
// call record needs, a Span that says where in those bytes it stands. Parse
// allocates nothing and keeps no pointer but Buf, so a Message can be copied as
// a struct, and given another Buf with the same bytes when the first one goes
// back to its batch.
//
// Parse takes what real devices send: compact names, folded lines, lone LF,
// several values in one header, odd white space. It never reads beyond the
// message, and says what it could not take with an error of this package.
//
// An observer is not an endpoint: what an endpoint must answer with 400 has been
// on the wire all the same, and so has the 400. So Parse refuses only what cannot
// be put to a call: no SIP, no version that it knows, no Call-ID, CSeq, From or To.
package sip

// Span is a run of bytes in Message.Buf. The zero Span is "not there"; a value
// of no bytes is not there either.
type Span struct{ Off, Len uint32 }

// IsZero reports whether the thing is not there.
func (s Span) IsZero() bool { return s == Span{} }

// Method is a SIP method.
type Method uint8

// Methods.
const (
	MethodUnknown Method = iota
	INVITE
	ACK
	BYE
	CANCEL
	OPTIONS
	REGISTER
	PRACK
	UPDATE
	INFO
	REFER
	SUBSCRIBE
	NOTIFY
	MESSAGE
	PUBLISH
)

// Address is a From, To or Contact value (name-addr or addr-spec with
// parameters), or a Request-URI (only URI, Scheme, User, Host, Port set).
type Address struct {
	Display Span   // display name without its quotes
	URI     Span   // the URI without angle brackets
	Scheme  Span   // sip, sips, tel, …
	User    Span   // user part without password and parameters; the number of a tel URI
	Host    Span   // host without port; IPv6 without its brackets
	Tag     Span   // tag parameter of the header
	Port    uint16 // 0: none
}

// Message is one SIP message. All Spans are into Buf.
type Message struct {
	Buf []byte // the message with its body, borrowed from Parse's argument

	Response bool
	Method   Method // of a request; of the CSeq for a response
	Status   uint16 // of a response, 0 for a request
	CSeq     uint32

	MethodName Span    // of a request
	RequestURI Address // of a request
	Reason     Span    // reason phrase of a response
	CallID     Span
	CSeqMethod Span
	From, To   Address
	Contact    Address // first value; "*" leaves it empty
	Via        Span    // first value of the topmost Via
	Branch     Span    // its branch parameter
	Vias       uint8   // Via values in all
	UserAgent  Span    // User-Agent
	Server     Span    // Server
	Expires    int64   // Expires header, -1: none
	RSeq       uint32  // RSeq or first number of RAck

	ReasonHeader Span    // value of Reason (RFC 3326); more than one are read by EachReason
	AuthUser     Span    // username of Authorization or Proxy-Authorization, unquoted
	ReferTo      Span    // value of Refer-To (RFC 3515); see AddressAt
	PAI          Address // P-Asserted-Identity, first value
	ContentType  Span
	Body         Span  // what Content-Length names, or all that there is
	ContentLen   int64 // Content-Length header, -1: none

	// What names other calls; see SessionIDs, ReplacesCallID and ICID.
	SessionID      Span // value of Session-ID (RFC 7989)
	Replaces       Span // value of Replaces (RFC 3891)
	XCallID        Span // X-CID, X-Call-ID or X-CallID, in which B2BUAs name the Call-ID of the other leg
	ChargingVector Span // value of P-Charging-Vector (RFC 7315)

	Flags   uint8  // Flag bits
	Headers uint16 // header fields in all
	Bad     uint16 // lines among the header fields that are none
}

// Flags of a Message.
const (
	FlagCut      uint8 = 1 << iota // Content-Length says more than there is
	FlagTrailing                   // bytes follow the body (another message, or padding)
	FlagRepeated                   // a header that must stand once stands twice with another value (the first one counts)
	FlagOpen                       // no empty line ends the header section: cut short, or a sloppy sender
	FlagMethod                     // a request whose CSeq names another method
)
