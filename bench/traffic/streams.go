package traffic

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ringside/flow/record"
)

// Streams say how SIP travels over TCP, WebSocket and SCTP: as chances, 0 to 1.
// The first ones are habits of hosts, the others what the network and the
// capture do.
type Streams struct {
	Split     float64 // per write: cut at odd places
	Join      float64 // per message: held back to go out with the next one of its direction
	Shared    float64 // per call: two to four calls go over the same connections
	Midstream float64 // per connection: capture begins after its handshake, on TCP maybe inside a message
	KeepAlive float64 // per pause of 3 s or more: a keep-alive of any kind
	Blank     float64 // per message on TCP: two line ends go before it, in the same segment
	Lost      float64 // per packet: lost before the point of capture, and sent again
	Behind    float64 // per packet: lost behind the point of capture, and sent again: captured twice
	Reorder   float64 // per packet: overtaken by those sent after it
	Rebound   float64 // per packet sent again: with other boundaries
	DupAck    float64 // per write: acknowledged more often than needed
	Capture   float64 // per message of which the truth stays certain: missed by the capture alone
}

// fields names the chances.
func (h *Streams) fields() map[string]*float64 {
	return map[string]*float64{
		"split": &h.Split, "join": &h.Join, "shared": &h.Shared, "midstream": &h.Midstream, "keepalive": &h.KeepAlive, "blank": &h.Blank,
		"lost": &h.Lost, "behind": &h.Behind, "reorder": &h.Reorder, "rebound": &h.Rebound, "dupack": &h.DupAck, "capture": &h.Capture,
	}
}

// ParseStreams reads a comma-separated list, as in "split=0.5,join=0.3,lost=0.05".
func ParseStreams(s string) (Streams, error) {
	var h Streams
	fields := h.fields()
	for _, f := range strings.Split(s, ",") {
		key, value, _ := strings.Cut(f, "=")
		if key == "none" {
			continue
		}
		p := fields[key]
		if p == nil {
			return h, fmt.Errorf("parse streams %q: not one of split, join, shared, midstream, keepalive, blank, lost, behind, reorder, rebound, dupack, capture, none", f)
		}
		var err error
		if *p, err = strconv.ParseFloat(value, 64); err != nil {
			return h, fmt.Errorf("parse streams %q: %w", f, err)
		}
	}
	return h, h.check()
}

func (h *Streams) check() error {
	for name, p := range h.fields() {
		if *p < 0 || *p > 1 {
			return fmt.Errorf("check streams: %s is %v, not a chance of 0 to 1", name, *p)
		}
	}
	return nil
}

// ParseTransport reads udp, tcp, ws or sctp.
func ParseTransport(s string) (record.Transport, error) {
	var t record.Transport
	if err := t.UnmarshalText([]byte(s)); err != nil || !made(t) {
		return 0, fmt.Errorf("parse transport %q: not one of udp, tcp, ws, sctp", s)
	}
	return t, nil
}

// made tells whether SIP over t can be made.
func made(t record.Transport) bool {
	return t == record.UDP || t == record.TCP || t == record.WS || t == record.SCTP
}

func (o *Options) checkTransports() error {
	if err := o.Streams.check(); err != nil {
		return err
	}
	if o.Transports != nil && total(o.Transports) <= 0 {
		return errors.New("check options: transports need a weight above 0")
	}
	for _, t := range o.Transports {
		if !made(t.Value) {
			return fmt.Errorf("check options: SIP over %q is not made; give udp, tcp, ws or sctp", t.Value)
		}
	}
	return nil
}
