package daemon

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"ringside/appliance/api"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// What the API asks is answered here, in its words (appliance/api/sources.go).
// Nothing of it waits for the threads of the capture.

// apiLive is api.Live.
type apiLive struct {
	s *Service

	mu    sync.Mutex
	of    time.Time // whose calls these are
	calls []api.LiveCall
}

// Calls implements api.Live.
func (a *apiLive) Calls() ([]api.LiveCall, time.Time) {
	now := a.s.calls.get(a.s)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !now.at.Equal(a.of) {
		a.calls, a.of = make([]api.LiveCall, len(now.calls)), now.at
		for i := range now.calls {
			a.calls[i] = apiCall(&now.calls[i])
		}
	}
	return a.calls, now.at
}

func apiCall(c *LiveCall) api.LiveCall {
	r := &c.Record
	w := worst(r)
	out := api.LiveCall{
		ID: r.ID, CallID: r.CallID, Sensor: r.Sensor, Start: r.Start, Ring: r.Ring, Answer: r.Answer,
		State: c.State, Caller: r.Caller, Called: r.Called, LastStatus: r.LastStatus, Messages: r.MessagesTotal,
		Streams: len(r.Streams), Codec: w.codec, MOS: w.mos, Loss: w.loss, Jitter: w.jitter, Flags: r.Flags,
	}
	for i := range r.Streams {
		out.Flags |= streamFlags(r.Streams[i].Flags)
	}
	return out
}

// streamFlags are the flags of a call that those of a stream of it imply.
func streamFlags(words string) (f record.Flags) {
	for w := range strings.SplitSeq(words, ",") {
		switch w {
		case "nat":
			f |= record.NATed
		case "incomplete":
			f |= record.Incomplete
		}
	}
	return f
}

// SIP implements api.Live.
func (a *apiLive) SIP(ctx context.Context, to chan<- api.SIPMessage) error {
	missed := uint64(0)
	return a.s.tap.listen(ctx, func(m *SIPMessage) error {
		out := apiMessage(m)
		out.Missed += missed
		select {
		case to <- out:
			missed = 0
		default:
			missed = out.Missed + 1
		}
		return nil
	})
}

// apiMessage is a message in the words of the API.
func apiMessage(m *SIPMessage) api.SIPMessage {
	p := &m.Parsed
	text := p.Buf[:min(len(p.Buf), tapMessage)]
	return api.SIPMessage{
		Time: time.Unix(0, m.Time).UTC(), Src: m.Meta.Src.Netip(), Dst: m.Meta.Dst.Netip(),
		Transport: strings.ToUpper(m.Meta.Transport.String()), Sensor: m.Sensor,
		Method: methodOf(p), Status: p.Status, Reason: valid(p.Get(p.Reason)), CallID: valid(p.Get(p.CallID)),
		From: valid(p.Get(p.From.User)), To: valid(p.Get(p.To.User)), Text: valid(text), Missed: m.Missed,
	}
}

func methodOf(m *sip.Message) string {
	name := m.MethodName
	if m.Response {
		name = m.CSeqMethod
	}
	if m.Method != sip.MethodUnknown {
		return m.Method.String()
	}
	return valid(m.Get(name))
}

// valid is text as it may stand in JSON.
func valid(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// Status implements api.Live.
func (a *apiLive) Status() api.LiveStatus {
	st := a.s.Status()
	c := &st.Capture
	out := api.LiveStatus{
		Time: st.Time.UTC(), State: st.Health.State, Since: st.Health.Since.UTC(), Uptime: time.Since(st.Started).Seconds(),
		Calls: c.Active, CallRate: c.Calls, SIPRate: c.SIP, RTPRate: c.RTP, BitRate: c.Bits,
		Rings: c.Rings, SpoolUse: c.Spool, StoreUse: max(0, st.Store.Waiting), StoreAway: st.Store.Away,
		CPU: c.CPU, Memory: c.Memory,
	}
	if out.CPU == nil {
		out.CPU = []float64{}
	}
	for i := range c.Lost {
		out.Lost += c.Lost[i].Packets
	}
	out.Pending = st.Pending
	for _, w := range st.Health.Why {
		out.Why = append(out.Why, w.Text)
	}
	if st.LastRun != "" && time.Since(st.Started) < lastRunShown {
		out.Why = append(out.Why, st.LastRun)
	}
	if st.Budget != nil {
		out.MemoryBudget = st.Budget.Sum()
	}
	return out
}

// lastRunShown is for how long it is shown how the run before ended.
const lastRunShown = 24 * time.Hour
