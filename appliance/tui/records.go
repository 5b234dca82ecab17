package tui

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"ringside/appliance/api"
	"ringside/flow/record"
	"ringside/writer/store"
)

// Records is a source of calls that are over.
type Records struct {
	calls Calls
	one   func(ctx context.Context, id int64) (*Detail, error)
}

// OfStore shows the latest calls of a store.
func OfStore(ctx context.Context, s *store.Store) (*Records, error) {
	found, err := s.Calls(ctx, store.Filter{}, store.Page{Limit: listed})
	if err != nil {
		return nil, fmt.Errorf("list calls: %w", err)
	}
	total, err := s.CountUpTo(ctx, store.Filter{})
	if err != nil {
		return nil, fmt.Errorf("count calls: %w", err)
	}
	out := &Records{calls: Calls{Total: int(total.Calls)}, one: func(ctx context.Context, id int64) (*Detail, error) {
		c, err := s.Call(ctx, id)
		if err != nil {
			return nil, err
		}
		return &Detail{Messages: merge(c.Messages), Streams: c.Streams, Why: "a store has no texts of messages: they are in the spool"}, nil
	}}
	for i := range found.Calls {
		r := &found.Calls[i]
		c := over(&r.Call)
		c.Streams, c.Codec = r.StreamCount, r.Codec
		if r.MOSMin != nil {
			c.MOS = *r.MOSMin
		}
		if r.LossMax != nil {
			c.Loss = *r.LossMax
		}
		if r.JitterMax != nil {
			c.Jitter = *r.JitterMax
		}
		out.add(c)
	}
	return out, nil
}

// Capture takes the calls of a capture that is read, and the texts of its messages.
// It is filled from one goroutine at a time.
type Capture struct {
	calls []*record.Call
	tape  tape
}

// NewCapture makes an empty one.
func NewCapture() *Capture { return &Capture{tape: tape{most: 8 * tapeBytes}} }

// Call takes a call.
func (c *Capture) Call(r *record.Call) {
	own := *r
	c.calls = append(c.calls, &own)
}

// Message takes a message as it was on the wire. It may be called at the same time
// as itself.
func (c *Capture) Message(m *api.SIPMessage) {
	c.tape.add(wire{m.Time, m.Src, m.Dst, m.Method, m.Status, m.Reason, m.CallID, m.Text})
}

// Source shows what was taken.
func (c *Capture) Source() *Records {
	at := make(map[int64]*record.Call, len(c.calls))
	out := &Records{calls: Calls{Total: len(c.calls)}, one: func(_ context.Context, id int64) (*Detail, error) {
		r, ok := at[id]
		if !ok {
			return nil, store.ErrNotFound
		}
		return &Detail{Messages: merge(r.Messages, c.tape.of(r.CallID)), Streams: r.Streams}, nil
	}}
	for _, r := range c.calls {
		at[r.ID] = r
		row := over(r)
		for i := range r.Streams {
			s := &r.Streams[i]
			if row.Codec == "" {
				row.Codec = s.Codec
			}
			if mos := s.MOS.LQ; mos > 0 && (row.MOS == 0 || mos < row.MOS) {
				row.MOS = mos
			}
			if s.Expected > 0 {
				row.Loss = max(row.Loss, 100*float64(s.Lost)/float64(s.Expected))
			}
			row.Jitter = max(row.Jitter, s.JitterMax)
		}
		out.add(row)
	}
	return out
}

// over is a call that is over, without the figures of its streams.
func over(c *record.Call) Call {
	return Call{
		ID: strconv.FormatInt(c.ID, 10), CallID: c.CallID, State: c.Outcome.String(), Start: c.Start, End: max(c.End, c.Start+1),
		Caller: c.Caller, Called: c.Called, Status: c.LastStatus, Messages: c.MessagesTotal, Streams: len(c.Streams), Flags: c.Flags.Names(),
	}
}

func (r *Records) add(c Call) {
	if t := time.Unix(0, c.End); t.After(r.calls.AsOf) {
		r.calls.AsOf = t
	}
	r.calls.Items = append(r.calls.Items, c)
}

// Calls implements Source.
func (r *Records) Calls(context.Context) (Calls, error) { return r.calls, nil }

// Status implements Source.
func (r *Records) Status(context.Context) (*Status, error) { return nil, nil }

// Call implements Source.
func (r *Records) Call(ctx context.Context, c *Call) (*Detail, error) {
	id, err := strconv.ParseInt(c.ID, 10, 64)
	if err != nil {
		return nil, store.ErrNotFound
	}
	return r.one(ctx, id)
}
