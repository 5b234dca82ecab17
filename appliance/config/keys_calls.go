package config

import (
	"errors"
	"net/netip"
	"strings"
	"time"
)

const (
	second = time.Second
	year   = 365 * day
)

var callKeys = []Key{
	{Name: "callslimit", Group: groupCalls, Also: []string{"calls_max", "calls_max_entries"},
		Help:  "Calls followed at one time; beyond, the one that was silent for longest is closed early, and says so. auto: 100,000.",
		field: func(c *Config) value { return count(&c.Calls.Max, 0, 100_000_000, auto) }},
	{Name: "calls_timeouts", Group: groupCalls,
		Help:  "How long a call waits in each state for its next message: inv_1st=2m, inv_early_dlg=3m, inv_neg=30s, inv_established=1h, inv_bye_seen=30s, inv_bye_repl=5s, inv_canceled=5s. Those that are not named keep these times.",
		field: func(c *Config) value { return text(&c.Calls.Timeouts, "STATE=TIME,…") }},
	{Name: "call_messages", Group: groupCalls,
		Help:  "Messages of a call that its record lists: the first and the last ones. auto: 200.",
		field: func(c *Config) value { return count(&c.Calls.Messages, 0, 10_000, auto) }},
	{Name: "streams_max", Group: groupCalls,
		Help:  "RTP streams measured at one time. auto: 1,000,000.",
		field: func(c *Config) value { return count(&c.Calls.Streams, 0, 100_000_000, auto) }},
	{Name: "registrations_max", Group: groupCalls,
		Help:  "Registrations followed at one time. auto: 100,000.",
		field: func(c *Config) value { return count(&c.Calls.Bindings, 0, 100_000_000, auto) }},
	{Name: "exchanges_max", Group: groupCalls,
		Help:  "Subscriptions, publications and text messages followed at one time. auto: 50,000.",
		field: func(c *Config) value { return count(&c.Calls.Exchanges, 0, 100_000_000, auto) }},
	{Name: "peers_max", Group: groupCalls,
		Help:  "Pairs of addresses followed by OPTIONS at one time. auto: 20,000.",
		field: func(c *Config) value { return count(&c.Calls.Peers, 0, 10_000_000, auto) }},
	{Name: "matchheader", Group: groupCalls, Also: []string{"link_header", "match_header"},
		Help: "Name of a SIP header that the calls of one conversation have in common.",
		field: func(c *Config) value {
			v := text(&c.Calls.LinkHeader, "the name of a header")
			v.set = headerName(&c.Calls.LinkHeader)
			return v
		}},
	{Name: "natalias", Group: groupCalls,
		Help: "A=B: media for address A in SDP is seen at address B.",
		field: func(c *Config) value {
			return list(&c.Calls.NATAlias, "two addresses, as in 10.0.0.5=203.0.113.7", alias, itself)
		}},
	{Name: "rtp_check_both_sides_by_sdp", Group: groupCalls, Also: []string{"check_both_sides"},
		Help:  "Must SDP name both ends of a stream for it to belong to a call. VoIPmonitor's strict, very_strict and keep_rtp_packets are taken for yes.",
		field: func(c *Config) value { return bothSides(&c.Calls.BothSides) }},
	{Name: "reg_del_delay", Group: groupCalls,
		Help:  "A binding that is made again within this time had not been away.",
		field: func(c *Config) value { return span(&c.Calls.RegDelDelay, second, 0, day) }},
	{Name: "reg_exp_delta", Group: groupCalls,
		Help:  "A binding is taken for expired this long after its time.",
		field: func(c *Config) value { return span(&c.Calls.RegExpDelta, second, 0, day) }},
	{Name: "event_types_off", Group: groupCalls, Also: []string{"event_types_blst"},
		Help: "Kinds of events that are held back; of each source every 100th, 1,000th and 10,000th is kept, and says for how many it stands.",
		field: func(c *Config) value {
			return list(&c.Calls.EventsOff, "kinds, as in other-ok,sub-new", oneWord, itself)
		}},

	{Name: "tcp_idle", Group: groupTLS, Also: []string{"tcp_connection_timeout"},
		Help:  "A connection that is silent for this time is forgotten.",
		field: func(c *Config) value { return span(&c.Calls.TCPIdle, second, second, 30*day) }},
	{Name: "tcp_reorder", Group: groupTLS, Also: []string{"tcp_reorder_timeout"},
		Help:  "A hole in a connection is waited for for this time.",
		field: func(c *Config) value { return span(&c.Calls.TCPReorder, second, second, day) }},
	{Name: "keylog", Group: groupTLS,
		Help:  "Files with TLS secrets, as SSLKEYLOGFILE writes them.",
		field: func(c *Config) value { return list(&c.Calls.KeyLogs, "whole paths of files", filePath, itself) }},
	{Name: "rsa_key", Group: groupTLS,
		Help:  "Files with private RSA keys of TLS servers, PEM. They open only connections without forward secrecy.",
		field: func(c *Config) value { return list(&c.Calls.RSAKeys, "whole paths of files", filePath, itself) }},
}

func interfaceName(s string) (string, error) {
	switch {
	case s == "any":
		return "", errors.New("name the interfaces: what any delivers has lost its link layer")
	case len(s) > 15 || strings.ContainsAny(s, "/ \t:"):
		return "", errors.New("the name of an interface has at most 15 characters, without blanks, slashes and colons; several are separated by commas")
	}
	return s, nil
}

// headerName takes a token (RFC 3261 section 25.1), as header names are.
func headerName(to *string) func(string) error {
	return func(s string) error {
		if strings.IndexFunc(s, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-.!%*_+`'~", r))
		}) >= 0 {
			return errors.New("write the name of a header without the colon, such as X-Conversation")
		}
		*to = s
		return nil
	}
}

// alias reads A=B, or as VoIPmonitor has it two addresses with a blank.
func alias(s string) (string, error) {
	from, to, ok := strings.Cut(s, "=")
	if !ok {
		from, to, _ = strings.Cut(s, " ")
	}
	a, errA := netip.ParseAddr(strings.TrimSpace(from))
	b, errB := netip.ParseAddr(strings.TrimSpace(to))
	if errA != nil || errB != nil || a == b {
		return "", errors.New("write two addresses, as in 10.0.0.5=203.0.113.7")
	}
	return a.String() + "=" + b.String(), nil
}

func bothSides(to *bool) value {
	v := yesNo(to)
	plain := v.set
	v.set = func(s string) error {
		switch strings.ToLower(s) {
		case "strict", "very_strict", "keep_rtp_packets":
			s = "yes"
		}
		return plain(s)
	}
	return v
}

// oneWord takes one word.
func oneWord(s string) (string, error) {
	if strings.ContainsAny(s, " \t") {
		return "", errors.New("separate words by commas")
	}
	return s, nil
}

func filePath(s string) (string, error) {
	var out string
	err := path(&out, "").set(s)
	return out, err
}
