// Package tui is ringside in a terminal: the calls that go on, the ladder of one,
// its messages as they were on the wire, and always how the capture does.
//
// A Source says what there is: a running service at its control socket or its API,
// or records that are at hand. The model polls it, and draws; it knows nothing
// else. Whatever comes from the network is made harmless before it is drawn
// (clean), and its columns are counted as a terminal counts them (cells).
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"ringside/flow/record"
)

// Source is what is shown. Its methods may be called at the same time.
type Source interface {
	// Calls is the calls that there are.
	Calls(ctx context.Context) (Calls, error)
	// Status is how the capture does; nil where nothing is captured.
	Status(ctx context.Context) (*Status, error)
	// Call is what is known of one of the calls.
	Call(ctx context.Context, c *Call) (*Detail, error)
}

// Calls is the calls as of a moment.
type Calls struct {
	AsOf  time.Time `json:"as_of"`
	Total int       `json:"total"` // also those that are not listed
	Items []Call    `json:"items"`
}

// Call is a call as the list shows it. The names are those of the API.
type Call struct {
	ID     string `json:"id"`
	CallID string `json:"call_id"`
	State  string `json:"state"` // setup, ringing, talking, held, ending; ended; or an outcome
	Start  int64  `json:"start"` // ns since the epoch
	End    int64  `json:"end"`   // 0: it goes on

	Caller   record.Party `json:"caller"`
	Called   record.Party `json:"called"`
	Status   uint16       `json:"last_status"`
	Messages uint32       `json:"messages_total"`

	// Of the streams, the worst; zero where nothing is known.
	Streams int     `json:"stream_count"`
	Codec   string  `json:"codec"`
	MOS     float64 `json:"mos"`
	Loss    float64 `json:"loss"`   // per cent
	Jitter  float64 `json:"jitter"` // ms

	Flags []string `json:"flag_names"`
}

// Status is how the capture does. Rates are per second.
type Status struct {
	Time  time.Time
	State string // healthy, degraded, failing, idle
	Since time.Time
	Why   []string

	Calls                                           uint64
	CallRate, PacketRate, SIPRate, RTPRate, BitRate float64

	Rings, Spool, Store float64 // share in use, 0 to 1; -1: there is none
	StoreAway           bool
	CPU                 []float64 // of each worker, as a share of one CPU
	Memory, Budget      int64     // bytes; Budget 0: not known

	Drops []Drop   // packets that were lost here, by place
	Gaps  []string // packets that nobody can account for
}

// Drop is packets that were lost at a place since the start.
type Drop struct {
	Place   string
	Packets uint64
	Rate    float64
}

// Detail is what is known of a call.
type Detail struct {
	Messages []Message // by time
	Streams  []record.Stream
	Why      string // not more than this
}

// Message is a SIP message of a call.
type Message struct {
	Time    int64          `json:"time"`
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	Method  string         `json:"method"`
	Status  uint16         `json:"status"`
	Reason  string         `json:"reason"`
	SDP     bool           `json:"sdp"`
	Retrans bool           `json:"retrans"`
	Text    string         `json:"text"` // as on the wire; empty: it is not stored
}

// Options say how to draw.
type Options struct {
	ASCII bool           // with ASCII only
	Zone  *time.Location // of times; nil: local
	Live  bool           // the source changes: it is polled
	Name  string         // of the source
}

// Run shows a source until the user leaves or ctx ends.
func Run(ctx context.Context, src Source, o Options, in io.Reader, out io.Writer) error {
	m := newModel(ctx, src, o, lipgloss.NewRenderer(out))
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithAltScreen(), tea.WithoutSignalHandler())
	_, err := p.Run()
	switch {
	case ctx.Err() != nil, errors.Is(err, tea.ErrInterrupted):
		return nil // whoever ends it from outside knows
	case err != nil:
		return fmt.Errorf("draw on the terminal: %w", err)
	}
	return nil
}
