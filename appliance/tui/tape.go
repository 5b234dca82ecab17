package tui

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"ringside/flow/record"
)

// wire is a message as the live tail and the spool have it.
type wire struct {
	Time   time.Time      `json:"time"`
	Src    netip.AddrPort `json:"src"`
	Dst    netip.AddrPort `json:"dst"`
	Method string         `json:"method"`
	Status uint16         `json:"status"`
	Reason string         `json:"reason"`
	CallID string         `json:"call_id"`
	Text   string         `json:"text"`
}

// tape keeps the messages that came while we listened, by call, up to a number of
// bytes: the oldest go first. A live call has no record yet, so this is what its
// ladder is made of where nothing is stored.
type tape struct {
	most int // bytes

	mu    sync.Mutex
	calls map[string][]wire
	order []string // Call-ID of each message, the oldest first
	bytes int
}

// tapeBytes is how much of the texts of messages is kept.
const tapeBytes = 32 << 20

func (t *tape) add(m wire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls == nil {
		t.calls = make(map[string][]wire)
	}
	t.calls[m.CallID] = append(t.calls[m.CallID], m)
	t.order = append(t.order, m.CallID)
	t.bytes += weight(&m)
	for t.bytes > t.most && len(t.order) > 1 {
		id := t.order[0]
		t.order = t.order[1:]
		t.bytes -= weight(&t.calls[id][0])
		if t.calls[id] = t.calls[id][1:]; len(t.calls[id]) == 0 {
			delete(t.calls, id)
		}
	}
}

// weight is what a message takes, about.
func weight(m *wire) int {
	const overhead = 256
	return overhead + len(m.Text) + 2*len(m.CallID)
}

func (t *tape) of(callID string) []wire {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.calls[callID])
}

// sighting is by what a message is known that two places tell of. Times of files
// are to the microsecond.
type sighting struct {
	micros   int64
	src, dst netip.AddrPort
	status   uint16
}

// merge makes one list of what the record of a call lists, and the texts of its
// messages, each perhaps in several places.
func merge(listed []record.Message, texts ...[]wire) []Message {
	var out []Message
	at := make(map[sighting]int)
	for _, m := range listed {
		at[sighting{m.Time / 1000, m.Src, m.Dst, m.Status}] = len(out)
		out = append(out, Message{Time: m.Time, Src: m.Src, Dst: m.Dst, Method: m.Method, Status: m.Status, Reason: m.Reason, SDP: m.SDP, Retrans: m.Retrans})
	}
	for _, list := range texts {
		for _, w := range list {
			ns := w.Time.UnixNano()
			k := sighting{ns / 1000, w.Src, w.Dst, w.Status}
			if i, ok := at[k]; ok {
				out[i].Text = cmp.Or(out[i].Text, w.Text)
				continue
			}
			at[k] = len(out)
			out = append(out, Message{Time: ns, Src: w.Src, Dst: w.Dst, Method: w.Method, Status: w.Status, Reason: w.Reason, SDP: hasSDP(w.Text), Text: w.Text})
		}
	}
	slices.SortStableFunc(out, func(a, b Message) int { return cmp.Compare(a.Time, b.Time) })
	markRepeated(out)
	return out
}

// markRepeated marks messages whose text was seen before on the same hop.
func markRepeated(msgs []Message) {
	type hop struct {
		src, dst netip.AddrPort
		text     string
	}
	seen := make(map[hop]bool)
	for i := range msgs {
		if m := &msgs[i]; m.Text != "" {
			k := hop{m.Src, m.Dst, m.Text}
			m.Retrans = m.Retrans || seen[k]
			seen[k] = true
		}
	}
}

// hasSDP reports whether a message has a session description.
func hasSDP(text string) bool {
	_, body, ok := strings.Cut(text, "\r\n\r\n")
	return ok && strings.HasPrefix(body, "v=0")
}
