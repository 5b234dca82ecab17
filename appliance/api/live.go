package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"ringside/flow/record"
	"ringside/writer/store"
)

// What goes on, as server-sent events (WHATWG HTML, section 9.2) or, for who does
// not ask for events, once as JSON.

const mediaEvents = "text/event-stream"

const (
	liveEvery = time.Second
	sipBuffer = 256      // messages that wait for a reader
	sipText   = 64 << 10 // bytes of a message
	sipRate   = 200      // messages per second that a reader gets; it is told of the others
)

// stream is a stream of events.
type stream struct {
	q   *request
	buf bytes.Buffer
}

func (q *request) stream() (*stream, error) {
	h := q.w.Header()
	h.Set("Content-Type", mediaEvents)
	h.Set("X-Accel-Buffering", "no") // nginx holds answers back otherwise
	q.w.WriteHeader(http.StatusOK)
	s := &stream{q: q}
	s.buf.WriteString("retry: 2000\n\n")
	return s, s.flush()
}

// send sends an event. JSON has no line ends, so nothing in it can end a field.
func (s *stream) send(event string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	s.buf.WriteString("event: " + event + "\ndata: ")
	s.buf.Write(body)
	s.buf.WriteString("\n\n")
	return nil
}

func (s *stream) flush() error {
	if _, err := s.q.w.Write(s.buf.Bytes()); err != nil {
		return errGone
	}
	s.buf.Reset()
	if err := s.q.w.control.Flush(); err != nil {
		return errGone
	}
	return nil
}

// beat keeps the connection alive, and ends the stream of somebody who may not
// read it any more.
func (s *stream) beat() error {
	if !s.q.a.o.Auth.Still(s.q.id) {
		s.send("end", struct {
			Why string `json:"why"`
		}{"the login has ended, or what it may do has changed"})
		s.flush()
		return errGone
	}
	s.buf.WriteString(": \n\n")
	return s.flush()
}

// every calls send at once and then each time that something is new, until the
// reader goes.
func (s *stream) every(send func() error) error {
	tick, beat := time.NewTicker(liveEvery), time.NewTicker(stillEvery)
	defer tick.Stop()
	defer beat.Stop()
	for {
		if err := send(); err != nil {
			return err
		}
		select {
		case <-s.q.r.Context().Done():
			return nil
		case <-tick.C:
		case <-beat.C:
			if err := s.beat(); err != nil {
				return err
			}
		}
	}
}

// live is the source of what goes on.
func (q *request) live() (Live, error) {
	if q.a.o.Live == nil {
		return nil, fail(codeMissing, "nothing is captured here: there is nothing live")
	}
	return q.a.o.Live, nil
}

func (q *request) liveCalls() error {
	p := q.params()
	form, err := q.accept("application/json", mediaEvents)
	if err != nil {
		return err
	}
	limit := int(p.number("limit", 1, 2000, 200))
	e, qerr := q.a.calls.parse(p.text("q"))
	if qerr != nil {
		return qerr
	}
	if err := p.done(); err != nil {
		return err
	}
	src, err := q.live()
	if err != nil {
		return err
	}
	if form != mediaEvents {
		calls, at := src.Calls()
		return q.json(q.liveList(calls, at, e, limit))
	}
	s, err := q.stream()
	if err != nil {
		return err
	}
	var last time.Time
	return s.every(func() error {
		calls, at := src.Calls()
		if at.Equal(last) {
			return nil
		}
		last = at
		if err := s.send("calls", q.liveList(calls, at, e, limit)); err != nil {
			return err
		}
		return s.flush()
	})
}

// liveList is the calls that the caller may see and asks for.
func (q *request) liveList(calls []LiveCall, at time.Time, e *expression[*facts], limit int) LiveCalls {
	out := LiveCalls{AsOf: at.UTC(), Items: []LiveCallRow{}}
	for i := range calls {
		c := &calls[i]
		if !q.visible(c.Sensor, []string{c.Caller.Number, c.Called.Number}, c.Caller.Addr, c.Called.Addr) || !e.all(liveFacts(c, at)) {
			continue
		}
		out.Items = append(out.Items, LiveCallRow{ID(c.ID), c.Flags.Names(), *c})
	}
	out.Total = len(out.Items)
	slices.SortFunc(out.Items, func(a, b LiveCallRow) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
	})
	out.Items = out.Items[:min(limit, len(out.Items))]
	return out
}

// liveFacts are what conditions can be asked of a call that goes on.
func liveFacts(c *LiveCall, at time.Time) *facts {
	row := &store.Row{}
	row.ID, row.CallID, row.Sensor, row.Start, row.Ring, row.Answer = c.ID, c.CallID, c.Sensor, c.Start, c.Ring, c.Answer
	row.Caller, row.Called, row.LastStatus, row.MessagesTotal, row.Flags = c.Caller, c.Called, c.LastStatus, c.Messages, c.Flags
	row.StreamCount, row.VLAN = c.Streams, -1
	row.Duration = max(0, at.UnixNano()-c.Start)
	if c.Answer != 0 {
		row.Connected = new(max(0, at.UnixNano()-c.Answer))
	}
	if ring := cmp.Or(c.Ring, c.Answer); ring != 0 {
		row.PDD = new(ring - c.Start)
	}
	if c.MOS > 0 {
		row.MOSMin, row.LossMax, row.JitterMax = new(c.MOS), new(c.Loss), new(c.Jitter)
	}
	whole := row.Call
	if c.Codec != "" {
		whole.Streams = []record.Stream{{Codec: c.Codec}}
	}
	return &facts{row: row, call: &whole}
}

func (q *request) liveStatus() error {
	form, err := q.accept("application/json", mediaEvents)
	if err != nil {
		return err
	}
	if err := q.params().done(); err != nil {
		return err
	}
	src, err := q.live()
	if err != nil {
		return err
	}
	status := func() LiveStatus {
		s := src.Status()
		if s.CPU == nil {
			s.CPU = []float64{}
		}
		return s
	}
	if form != mediaEvents {
		return q.json(status())
	}
	s, err := q.stream()
	if err != nil {
		return err
	}
	return s.every(func() error {
		if err := s.send("status", status()); err != nil {
			return err
		}
		return s.flush()
	})
}

func (q *request) liveSIP() error {
	p := q.params()
	e, qerr := sipFields.parse(p.text("q"))
	if qerr != nil {
		return qerr
	}
	if err := p.done(); err != nil {
		return err
	}
	if _, err := q.accept(mediaEvents); err != nil {
		return err
	}
	src, err := q.live()
	if err != nil {
		return err
	}
	if err := q.audited("", cut(q.r.URL.RawQuery, 1000)); err != nil {
		return err
	}
	s, err := q.stream()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(q.r.Context())
	from := make(chan SIPMessage, sipBuffer)
	done := make(chan error, 1)
	go func() { done <- src.SIP(ctx, from) }()
	defer func() { // the source must not outlive its reader
		cancel()
		<-done
	}()
	return s.tail(from, done, e)
}

// tail sends messages as they come, those that were missed counted.
func (s *stream) tail(from <-chan SIPMessage, done chan error, e *expression[*SIPMessage]) error {
	beat, second := time.NewTicker(stillEvery), time.NewTicker(time.Second)
	defer beat.Stop()
	defer second.Stop()
	room, missed := sipRate, uint64(0)
	for {
		select {
		case <-s.q.r.Context().Done():
			return nil
		case err := <-done:
			done <- err // for whoever waits for the source's end
			return err
		case <-second.C:
			room = sipRate
		case <-beat.C:
			if err := s.beat(); err != nil {
				return err
			}
		case m := <-from:
			missed += m.Missed
			if !s.q.visible(m.Sensor, []string{m.From, m.To}, m.Src, m.Dst) {
				continue
			}
			m.Text = s.q.readable(m.Text) // before a condition on the text is asked
			if !e.all(&m) {
				continue
			}
			if room--; room < 0 {
				missed++
				continue
			}
			m.Missed, missed = missed, 0
			m.Text = strings.ToValidUTF8(cut(m.Text, sipText), "\uFFFD")
			if err := s.send("sip", m); err != nil {
				return err
			}
			if len(from) == 0 || s.buf.Len() > 64<<10 {
				if err := s.flush(); err != nil {
					return err
				}
			}
		}
	}
}
