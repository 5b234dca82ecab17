package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"ringside/appliance/api"
	"ringside/flow/record"
	"ringside/writer/store"
)

// What "ringside top" asks the control socket for, whether the API is on or not:
//
//	GET /live/calls?limit=N          calls that go on, the newest first, as the API has them
//	GET /live/call?id=ID[&texts=no]  ControlCall: one that goes on, or is in the store
//	GET /live/sip                    SIP messages as they come, a line of JSON for each

// ControlCall is the answer to GET /live/call.
type ControlCall struct {
	Call  *record.Call     `json:"call"`
	Texts []api.SIPMessage `json:"texts"`         // its messages as they were on the wire
	Why   string           `json:"why,omitempty"` // there are none
}

// liveMessages is how many messages of a call are shown.
const liveMessages = 2000

// serveLive answers below /live/.
func (s *Service) serveLive(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /live/calls":
		limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
		if err != nil || limit < 1 || limit > liveMost {
			http.Error(w, "say how many: limit=1 to "+strconv.Itoa(liveMost), http.StatusBadRequest)
			return
		}
		writeJSON(w, s.liveList(limit))
	case "GET /live/call":
		s.serveLiveCall(w, r)
	case "GET /live/sip":
		s.serveLiveSIP(w, r)
	default:
		http.Error(w, "there is no "+r.Method+" "+r.URL.Path, http.StatusNotFound)
	}
}

func (s *Service) liveList(limit int) api.LiveCalls {
	now := s.calls.get(s)
	out := api.LiveCalls{AsOf: now.at.UTC(), Total: now.open, Items: []api.LiveCallRow{}}
	for i := range now.calls[:min(limit, len(now.calls))] {
		c := apiCall(&now.calls[i])
		out.Items = append(out.Items, api.LiveCallRow{ID: api.ID(c.ID), FlagNames: c.Flags.Names(), LiveCall: c})
	}
	return out
}

func (s *Service) serveLiveCall(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.URL.Query().Get("id"), 10, 64)
	if err != nil {
		http.Error(w, "id is not a number", http.StatusBadRequest)
		return
	}
	c, err := s.anyCall(r.Context(), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		http.Error(w, "the call does not go on, and is not in the store", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	out := ControlCall{Call: c, Texts: []api.SIPMessage{}}
	if r.URL.Query().Get("texts") != "no" {
		from, to := spanOf(c)
		ref := api.CallRef{CallID: c.CallID, From: from - int64(liveAround), To: to + int64(liveAround)}
		out.Texts, err = apiPackets{s}.Messages(r.Context(), ref, liveMessages)
		if err != nil {
			out.Texts, out.Why = []api.SIPMessage{}, "its messages are not stored"
			if !errors.Is(err, api.ErrNotStored) {
				out.Why = err.Error()
			}
		}
	}
	writeJSON(w, out)
}

// liveAround is how far beyond a call its packets are looked for.
const liveAround = 5 * time.Second

// anyCall is a call that goes on, or that is in the store.
func (s *Service) anyCall(ctx context.Context, id int64) (*record.Call, error) {
	calls := s.calls.get(s).calls
	if i := slices.IndexFunc(calls, func(c LiveCall) bool { return c.Record.ID == id }); i >= 0 {
		return &calls[i].Record, nil
	}
	if s.store == nil || s.store.store == nil {
		return nil, store.ErrNotFound
	}
	return s.store.store.Call(ctx, id)
}

func (s *Service) serveLiveSIP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if flush.Flush() != nil {
		return
	}
	to := json.NewEncoder(w)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)()
	_ = s.tap.listen(ctx, func(m *SIPMessage) error {
		return errors.Join(to.Encode(apiMessage(m)), flush.Flush())
	})
}
