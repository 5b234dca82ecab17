package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The control socket is how commands on the same machine ask a running service.
// Who may open it is a matter of its file's rights. It speaks HTTP:
//
//	GET  /status    ServiceStatus
//	GET  /ledger    rows and gaps of the ledger
//	GET  /calls     calls that go on
//	GET  /bundle    the support bundle, a zip archive
//	POST /reload    reads the configuration again: 422 with the reason if it is refused
//	POST /dump      writes a flight recording
//	     /api/      the API, as somebody who may do everything
//	     /live/     what "ringside top" shows (controllive.go)

// errNotSocket is why a file at the path of the control socket is left alone.
var errNotSocket = errors.New("there is a file that is no socket")

// listenControl takes the socket at a path. One that a process left that is gone is
// removed.
func listenControl(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// A file that is none refuses connections, too, and must not be removed.
	if i, err := os.Lstat(path); err == nil && i.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("control socket %s: %w: %w: name another path", path, ErrPort, errNotSocket)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("control socket %s: %w: another ringside serves it: end that, or name another one", path, ErrPort)
	} else if errors.Is(err, unix.ECONNREFUSED) {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w: %w", path, ErrPort, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// ServeHTTP answers the control socket.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		s.serveLocal(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/live/") {
		s.serveLive(w, r)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /status":
		writeJSON(w, s.Status())
	case "GET /ledger":
		rows, gaps := s.Ledger()
		writeJSON(w, ControlLedger{rows, gaps})
	case "GET /calls":
		now := s.calls.get(s)
		writeJSON(w, ControlCalls{now.at, now.calls})
	case "GET /bundle":
		w.Header().Set("Content-Type", "application/zip")
		if err := s.WriteBundle(r.Context(), w); err != nil {
			panic(http.ErrAbortHandler) // the archive has begun
		}
	case "POST /reload":
		changes, err := s.Reload(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		writeJSON(w, changes)
	case "POST /dump":
		s.dump(w)
	default:
		http.Error(w, "there is no "+r.Method+" "+r.URL.Path, http.StatusNotFound)
	}
}

// ControlLedger is the answer to GET /ledger.
type ControlLedger struct {
	Rows []LiveRow `json:"rows"`
	Gaps []Gap     `json:"gaps"`
}

// ControlCalls is the answer to GET /calls.
type ControlCalls struct {
	Time  time.Time  `json:"time"`
	Calls []LiveCall `json:"calls"`
}

// dump writes a flight recording now, however long ago the last one was.
func (s *Service) dump(w http.ResponseWriter) {
	s.flight.again()
	path, err := s.flight.write(time.Now(), []string{"asked for"})
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case path == "":
		http.Error(w, "there is no state directory to write it to", http.StatusConflict)
	default:
		writeJSON(w, map[string]string{"path": path})
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// One that does not read on has gone.
	_ = json.NewEncoder(w).Encode(v)
}

// Control asks the service that serves a control socket.
type Control struct {
	path   string
	client *http.Client
}

// NewControl makes a client. Nothing is opened yet.
func NewControl(path string) *Control {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Control{path, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// ErrNotRunning is why nobody answers at a control socket.
var ErrNotRunning = errors.New("ringside does not run")

// RefusedError is the service's own word for why it does not do something.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

// Do asks, and hands the answer to read.
func (c *Control) Do(ctx context.Context, method, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://ringside"+path, nil)
	if err != nil {
		return err
	}
	res, err := c.client.Do(req)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("ask at %s: %w: start it, or name its control socket", c.path, ErrNotRunning)
	case err != nil:
		return fmt.Errorf("ask at %s: %w", c.path, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		return &RefusedError{strings.TrimSpace(string(b))}
	}
	return read(res.Body)
}

// Get asks for an answer in JSON.
func (c *Control) Get(ctx context.Context, method, path string, to any) error {
	return c.Do(ctx, method, path, func(r io.Reader) error { return json.NewDecoder(r).Decode(to) })
}
