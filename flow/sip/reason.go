package sip

// Reason says why Parse took no message. It is the error that Parse returns, so
// that counting one is an index and making one allocates nothing.
type Reason uint8

// Reasons.
const (
	Empty          Reason = iota + 1 // nothing but line ends: a keep-alive (RFC 5626 section 3.5.1)
	NotSIP                           // the first line names no SIP version
	BadStartLine                     // it names one, but is neither request line nor status line, or has no end
	BadVersion                       // SIP, but not 2.0
	BadStatus                        // status code outside 100 to 699
	HeaderTooLong                    // header section longer than MaxHeaderBytes
	TooManyHeaders                   // more than MaxHeaders header fields
	NoCallID
	NoCSeq
	BadCSeq // number that is none or exceeds 32 bits, or no method
	NoFrom
	NoTo
)

var reasonNames = [...]string{
	Empty:          "empty",
	NotSIP:         "not-sip",
	BadStartLine:   "bad-start-line",
	BadVersion:     "bad-version",
	BadStatus:      "bad-status",
	HeaderTooLong:  "header-too-long",
	TooManyHeaders: "too-many-headers",
	NoCallID:       "no-call-id",
	NoCSeq:         "no-cseq",
	BadCSeq:        "bad-cseq",
	NoFrom:         "no-from",
	NoTo:           "no-to",
}

// NumReasons is one more than the highest Reason, for tables of counters.
const NumReasons = len(reasonNames)

// String names the reason as a counter's label.
func (r Reason) String() string {
	if int(r) < len(reasonNames) && r != 0 {
		return reasonNames[r]
	}
	return "unknown"
}

// Error is the reason as an error text.
func (r Reason) Error() string { return "parse SIP message: " + r.String() }
