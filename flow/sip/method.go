package sip

var methodNames = [...]string{
	MethodUnknown: "unknown",
	INVITE:        "INVITE",
	ACK:           "ACK",
	BYE:           "BYE",
	CANCEL:        "CANCEL",
	OPTIONS:       "OPTIONS",
	REGISTER:      "REGISTER",
	PRACK:         "PRACK",
	UPDATE:        "UPDATE",
	INFO:          "INFO",
	REFER:         "REFER",
	SUBSCRIBE:     "SUBSCRIBE",
	NOTIFY:        "NOTIFY",
	MESSAGE:       "MESSAGE",
	PUBLISH:       "PUBLISH",
}

// NumMethods is one more than the highest Method, for tables of counters.
const NumMethods = len(methodNames)

// String is the method's name as it stands on the wire.
func (m Method) String() string {
	if int(m) < len(methodNames) {
		return methodNames[m]
	}
	return methodNames[MethodUnknown]
}

// ParseMethod is the method called b. Names of methods are case-sensitive
// (RFC 3261 section 7.1); an extension method is MethodUnknown.
func ParseMethod(b []byte) Method {
	switch string(b) {
	case "INVITE":
		return INVITE
	case "ACK":
		return ACK
	case "BYE":
		return BYE
	case "CANCEL":
		return CANCEL
	case "OPTIONS":
		return OPTIONS
	case "REGISTER":
		return REGISTER
	case "PRACK":
		return PRACK
	case "UPDATE":
		return UPDATE
	case "INFO":
		return INFO
	case "REFER":
		return REFER
	case "SUBSCRIBE":
		return SUBSCRIBE
	case "NOTIFY":
		return NOTIFY
	case "MESSAGE":
		return MESSAGE
	case "PUBLISH":
		return PUBLISH
	}
	return MethodUnknown
}
