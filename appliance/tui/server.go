package tui

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"ringside/flow/record"
)

// server is what the two sources have in common that ask a running ringside.
type server struct {
	client *http.Client
	base   string
	token  string
	tape   tape
}

// most is how much of an answer is read, and listed how many calls are asked for.
const (
	most   = 64 << 20
	listed = 1000
)

// ErrGone is of what a server does not have.
var ErrGone = errors.New("it is not there")

// ErrRefused is of what a server does not give us.
var ErrRefused = errors.New("refused")

// request asks for a path. Whoever gets the answer closes its body.
func (s *server) request(ctx context.Context, path, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask ringside: %w", errors.Unwrap(err))
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	why := strings.TrimSpace(string(text))
	var problem struct{ Title, Detail string }
	if json.Unmarshal(text, &problem) == nil {
		if why = problem.Detail; why == "" {
			why = problem.Title
		}
	}
	switch res.StatusCode {
	case http.StatusNotFound:
		return nil, fmt.Errorf("%w: %s", ErrGone, why)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("%w: %s: use a token that may do this", ErrRefused, why)
	}
	return nil, fmt.Errorf("ringside answers %s: %s", res.Status, why)
}

func (s *server) get(ctx context.Context, path string, to any) error {
	res, err := s.request(ctx, path, "application/json")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, most)).Decode(to); err != nil {
		return fmt.Errorf("read the answer about %s: %w", path, err)
	}
	return nil
}

// listen keeps the SIP that comes, from a stream of lines or of events, until ctx
// ends. A server that goes is asked again; one that refuses is not.
func (s *server) listen(ctx context.Context, path, accept string) {
	const again = 2 * time.Second
	for ctx.Err() == nil {
		err := s.tail(ctx, path, accept)
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrGone) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

func (s *server) tail(ctx context.Context, path, accept string) error {
	res, err := s.request(ctx, path, accept)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 1<<20) // a message has 64 KiB, in JSON perhaps six times that
	for in.Scan() {
		line := bytes.TrimPrefix(in.Bytes(), []byte("data: "))
		var m wire
		if len(line) > 0 && line[0] == '{' && json.Unmarshal(line, &m) == nil && m.CallID != "" {
			s.tape.add(m)
		}
	}
	return in.Err()
}

// ledgerRow is a line of the ledger: packets that met a fate at a stage.
type ledgerRow struct {
	Interface string  `json:"interface"`
	Stage     string  `json:"stage"`
	Reason    string  `json:"reason"`
	Packets   uint64  `json:"packets"`
	Lost      bool    `json:"lost"`
	Rate      float64 `json:"rate"`
}

func (r *ledgerRow) drop() Drop {
	return Drop{strings.TrimSpace(r.Interface + " " + r.Stage + " " + r.Reason), r.Packets, r.Rate}
}

// received is the packets that the interfaces receive in a second.
func received(rows []ledgerRow) (rate float64) {
	for i := range rows {
		if rows[i].Stage == "nic" && rows[i].Reason == "received" {
			rate += rows[i].Rate
		}
	}
	return rate
}

// socket is a service on this machine, at its control socket.
type socket struct {
	server

	mu    sync.Mutex
	texts struct { // of the call that was asked for last
		id       string
		messages uint32 // that it had then
		list     []wire
		why      string
	}
}

// NewSocket asks the service that serves a control socket, and listens to its SIP
// until ctx ends.
func NewSocket(ctx context.Context, path string) Source {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	s := &socket{server: server{client: &http.Client{Transport: &http.Transport{DialContext: dial}}, base: "http://ringside", tape: tape{most: tapeBytes}}}
	go s.listen(ctx, "/live/sip", "application/x-ndjson")
	return s
}

// Calls implements Source.
func (s *socket) Calls(ctx context.Context) (c Calls, err error) {
	return c, s.get(ctx, fmt.Sprintf("/live/calls?limit=%d", listed), &c)
}

// Status implements Source.
func (s *socket) Status(ctx context.Context) (*Status, error) {
	var in struct {
		Time   time.Time
		Health struct {
			State string
			Since time.Time
			Why   []struct{ Text string }
		}
		Capture struct {
			Calls    uint64
			CallRate float64     `json:"calls_per_s"`
			SIP      float64     `json:"sip_per_s"`
			RTP      float64     `json:"rtp_per_s"`
			Bits     float64     `json:"bits_per_s"`
			Lost     []ledgerRow `json:"lost"`
			Rings    float64
			Spool    float64
			CPU      []float64
			Memory   int64 `json:"memory_bytes"`
		}
		Store struct {
			Waiting float64
			Away    bool
		}
		Budget *struct {
			Limit int64 `json:"limit_bytes"`
		} `json:"memory"`
	}
	var ledger struct {
		Rows []ledgerRow
		Gaps []struct {
			Interface, Between string
			Packets            int64
		}
	}
	if err := errors.Join(s.get(ctx, "/status", &in), s.get(ctx, "/ledger", &ledger)); err != nil {
		return nil, err
	}
	c := &in.Capture
	out := &Status{Time: in.Time, State: in.Health.State, Since: in.Health.Since, Calls: c.Calls, CallRate: c.CallRate,
		PacketRate: received(ledger.Rows), SIPRate: c.SIP, RTPRate: c.RTP, BitRate: c.Bits, Rings: c.Rings, Spool: c.Spool,
		Store: in.Store.Waiting, StoreAway: in.Store.Away, CPU: c.CPU, Memory: c.Memory}
	for _, w := range in.Health.Why {
		out.Why = append(out.Why, w.Text)
	}
	for i := range c.Lost {
		out.Drops = append(out.Drops, c.Lost[i].drop())
	}
	for _, g := range ledger.Gaps {
		out.Gaps = append(out.Gaps, fmt.Sprintf("%s: %d packets missing between %s", g.Interface, g.Packets, g.Between))
	}
	if in.Budget != nil {
		out.Budget = in.Budget.Limit
	}
	return out, nil
}

// Call implements Source. The texts of messages are asked for only when there are
// more than before: the service reads them from its spool.
func (s *socket) Call(ctx context.Context, c *Call) (*Detail, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := "/live/call?id=" + url.QueryEscape(c.ID)
	known := s.texts.id == c.ID && s.texts.messages == c.Messages
	if known {
		path += "&texts=no"
	}
	var in struct {
		Call  record.Call
		Texts []wire
		Why   string
	}
	tail := s.tape.of(c.CallID)
	if err := s.get(ctx, path, &in); err != nil {
		if errors.Is(err, ErrGone) && len(tail) > 0 { // it has just ended
			return &Detail{Messages: merge(nil, tail)}, nil
		}
		return nil, err
	}
	if !known {
		s.texts.id, s.texts.messages, s.texts.list, s.texts.why = c.ID, c.Messages, in.Texts, in.Why
	}
	return &Detail{Messages: merge(in.Call.Messages, s.texts.list, tail), Streams: in.Call.Streams, Why: s.texts.why}, nil
}

// remote is a ringside somewhere, by its API.
type remote struct{ server }

// NewRemote asks the API below a URL with a token, and listens to its SIP until
// ctx ends. Without TLS it goes to this machine only: who reads the token may use
// it. With no authorities those of the system vouch for the server.
func NewRemote(ctx context.Context, base, token string, authorities *x509.CertPool) (Source, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("ask %q: not an address of the web UI: write it as https://HOST:PORT", base)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("ask %s: the token would cross the network in the clear: use https", u.Host)
	}
	r := &remote{server{
		client: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base: u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/") + "/api/v1", token: token, tape: tape{most: tapeBytes},
	}}
	go r.listen(ctx, "/live/sip", "text/event-stream")
	return r, nil
}

// Calls implements Source.
func (r *remote) Calls(ctx context.Context) (c Calls, err error) {
	return c, r.get(ctx, fmt.Sprintf("/live/calls?limit=%d", listed), &c)
}

// Status implements Source. Who may not read the ledger does not see where packets
// were lost, but that they were.
func (r *remote) Status(ctx context.Context) (*Status, error) {
	var in struct {
		Time      time.Time
		State     string
		Since     time.Time
		Why       []string
		Calls     uint64
		CallRate  float64 `json:"call_rate"`
		SIPRate   float64 `json:"sip_rate"`
		RTPRate   float64 `json:"rtp_rate"`
		BitRate   float64 `json:"bit_rate"`
		Rings     float64
		Spool     float64
		Store     float64
		StoreAway bool `json:"store_away"`
		Lost      uint64
		CPU       []float64
		Memory    int64 `json:"memory_bytes"`
		Budget    int64 `json:"memory_budget_bytes"`
	}
	if err := r.get(ctx, "/live/status", &in); err != nil {
		return nil, err
	}
	out := &Status{Time: in.Time, State: in.State, Since: in.Since, Why: in.Why, Calls: in.Calls, CallRate: in.CallRate,
		SIPRate: in.SIPRate, RTPRate: in.RTPRate, BitRate: in.BitRate, Rings: in.Rings, Spool: in.Spool, Store: in.Store,
		StoreAway: in.StoreAway, CPU: in.CPU, Memory: in.Memory, Budget: in.Budget}
	var ledger struct {
		Rows []ledgerRow
		Gaps []string
	}
	switch err := r.get(ctx, "/ledger", &ledger); {
	case errors.Is(err, ErrRefused), errors.Is(err, ErrGone):
	case err != nil:
		return nil, err
	}
	out.PacketRate, out.Gaps = received(ledger.Rows), ledger.Gaps
	placed := uint64(0)
	for i := range ledger.Rows {
		if l := &ledger.Rows[i]; l.Lost {
			out.Drops = append(out.Drops, l.drop())
			placed += l.Packets
		}
	}
	if in.Lost > placed {
		out.Drops = append(out.Drops, Drop{Place: "elsewhere", Packets: in.Lost - placed})
	}
	return out, nil
}

// Call implements Source. The API knows messages and streams of calls that are
// over; of one that goes on there is what came while we listened.
func (r *remote) Call(ctx context.Context, c *Call) (*Detail, error) {
	out := &Detail{Why: "it goes on: there is what came since ringside top was started"}
	var messages struct {
		Items []Message
		Why   string
	}
	var streams struct{ Items []record.Stream }
	id := url.PathEscape(c.ID)
	err := r.get(ctx, "/calls/"+id+"/messages", &messages)
	if errors.Is(err, ErrGone) {
		out.Messages = merge(nil, r.tape.of(c.CallID))
		return out, nil
	}
	if err == nil {
		err = r.get(ctx, "/calls/"+id+"/streams", &streams)
	}
	if err != nil {
		return nil, err
	}
	out.Messages, out.Streams, out.Why = messages.Items, streams.Items, messages.Why
	return out, nil
}
