package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"ringside/appliance/api"
)

// apiSpool is api.Spool. Listing a spool reads the index of every segment, so it is
// done at most every few seconds, for all who ask.
type apiSpool struct {
	s *Service

	mu   sync.Mutex
	at   time.Time
	list *SpoolListing
}

// spoolAge is how old a listing may be.
const spoolAge = 15 * time.Second

func (a *apiSpool) listing() (*SpoolListing, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list != nil && time.Since(a.at) < spoolAge {
		return a.list, nil
	}
	l, err := ListSpool(a.s.o.Spool)
	if err != nil {
		return nil, err
	}
	a.list, a.at = l, time.Now()
	return l, nil
}

// Overview implements api.Spool.
func (a *apiSpool) Overview(context.Context) (api.SpoolOverview, error) {
	out := api.SpoolOverview{State: "ok", Held: []string{}}
	l, err := a.listing()
	if err != nil {
		return out, err
	}
	if trouble := a.s.Status().Capture.SpoolTrouble; trouble != "" {
		out.State, out.Why = a.state(), trouble
	}
	for i := range l.Volumes {
		v := &l.Volumes[i]
		out.Volumes = append(out.Volumes, api.SpoolVolume{
			Dir: v.Dir, Total: v.Space.Total, Free: v.Space.Free, Quota: v.Quota.Total, Reserve: v.Quota.Reserve,
		})
		if v.Doubt != nil {
			out.Why = v.Doubt.Error()
		}
	}
	for c := range l.Classes {
		out.Classes = append(out.Classes, a.class(l, c))
	}
	for _, h := range l.Held {
		out.Held = append(out.Held, h.Key)
	}
	return out, nil
}

// state is what is wrong with the spool, in a word.
func (a *apiSpool) state() string {
	p := a.s.pipeline()
	if p == nil || p.record == nil {
		return "ok"
	}
	switch st := p.record.spool.Stats(); {
	case st.Away:
		return "away"
	case st.Short:
		return "full"
	}
	return "failing"
}

func (a *apiSpool) class(l *SpoolListing, c int) api.SpoolClass {
	k := &l.Classes[c]
	out := api.SpoolClass{
		Class: SpoolClassNames[c], Segments: k.Segments, Damaged: k.Damaged, Packets: k.Packets, Bytes: k.Bytes,
		Rate: k.Rate, LastsFor: k.Lasts.Seconds(),
	}
	if k.First != 0 {
		out.First, out.Last = time.Unix(0, k.First).UTC(), time.Unix(0, k.Last).UTC()
	}
	if len(l.Volumes) == 0 {
		return out
	}
	q := &l.Volumes[0].Quota
	out.Quota, out.MaxDays = q.Bytes[c], q.Age[c].Hours()/24
	room := q.Bytes[c] - k.Bytes
	if q.Bytes[c] == 0 {
		room = q.Total
		for i := range l.Classes {
			room -= l.Classes[i].Bytes
		}
	}
	if k.Rate > 0 {
		out.FullIn = max(0, float64(room)/k.Rate)
	}
	return out
}

// Segments implements api.Spool.
func (a *apiSpool) Segments(_ context.Context, offset, limit int) ([]api.SpoolSegment, int, error) {
	l, err := a.listing()
	if err != nil {
		return nil, 0, err
	}
	total := len(l.Segments)
	out := []api.SpoolSegment{}
	for i := total - 1 - offset; i >= 0 && len(out) < limit; i-- {
		g := &l.Segments[i]
		s := api.SpoolSegment{
			Path: g.Path(), Class: g.Class.String(), Minute: time.Unix(0, g.Minute).UTC(), Open: g.Hidden,
			Packets: g.Packets, Calls: g.Keys, Bytes: g.Bytes,
		}
		if g.Err != nil && !g.Hidden {
			s.Damage = g.Err.Error()
		}
		out = append(out, s)
	}
	return out, total, nil
}

// holdAround is how much beside a call is looked at for its packets.
const holdAround = int64(time.Minute)

// Hold implements api.Spool.
func (a *apiSpool) Hold(_ context.Context, c api.CallRef) error {
	_, err := HoldCalls(a.s.o.Spool[0].Dir, []SpoolHold{{Key: c.CallID, From: c.From - holdAround, To: c.To + holdAround}})
	a.forget()
	return err
}

// Release implements api.Spool.
func (a *apiSpool) Release(_ context.Context, callID string) error {
	_, _, err := ReleaseCalls(a.s.o.Spool[0].Dir, []string{callID})
	a.forget()
	return err
}

func (a *apiSpool) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.list != nil {
		a.list = &SpoolListing{Segments: a.list.Segments, Classes: a.list.Classes, Volumes: a.list.Volumes, Held: slices.Clone(a.list.Held)}
	}
	a.at = time.Time{}
}
