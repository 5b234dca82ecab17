package tui

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"ringside/flow/record"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// scripted is a source that says what a test has written down.
type scripted struct {
	mu      sync.Mutex
	calls   Calls
	status  *Status
	details map[string]*Detail
	err     error
}

func (s *scripted) Calls(context.Context) (Calls, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, s.err
}

func (s *scripted) Status(context.Context) (*Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, s.err
}

func (s *scripted) Call(_ context.Context, c *Call) (*Detail, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.details[c.ID]
	if !ok {
		return nil, ErrGone
	}
	return d, s.err
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// script is a minute of a busy sensor: calls in every state, one with all that can
// be known of a call, one that means harm.
func script() *scripted {
	before := func(d time.Duration) int64 { return noon.Add(-d).UnixNano() }
	party := func(number, addr string) record.Party { return record.Party{Number: number, Addr: at(addr)} }
	invite := "INVITE sip:+4930200@192.0.2.20 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1\r\nFrom: <sip:+4930100@192.0.2.10>;tag=a\r\n" +
		"To: <sip:+4930200@192.0.2.20>\r\nCall-ID: one@192.0.2.10\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.10\r\nm=audio 4000 RTP/AVP 8\r\n"
	message := func(ms int, src, dst, method string, status uint16, reason string) Message {
		return Message{Time: before(90*time.Second) + int64(ms)*1e6, Src: at(src), Dst: at(dst), Method: method, Status: status, Reason: reason}
	}
	const a, proxy, b = "192.0.2.10:5060", "192.0.2.1:5060", "192.0.2.20:5060"
	messages := []Message{
		message(0, a, proxy, "INVITE", 0, ""), message(2, proxy, a, "INVITE", 100, "Trying"), message(3, proxy, b, "INVITE", 0, ""),
		message(503, proxy, b, "INVITE", 0, ""), message(620, b, proxy, "INVITE", 180, "Ringing"), message(622, proxy, a, "INVITE", 180, "Ringing"),
		message(4000, b, proxy, "INVITE", 200, "OK"), message(4002, proxy, a, "INVITE", 200, "OK"), message(4100, a, b, "ACK", 0, ""),
	}
	messages[0].SDP, messages[0].Text, messages[6].SDP, messages[7].SDP = true, invite, true, true
	messages[2].SDP, messages[3].SDP, messages[3].Retrans = true, true, true
	stream := func(src, dst string, from record.Side, mos float64, lost uint64) record.Stream {
		s := record.Stream{Src: at(src), Dst: at(dst), SSRC: 0xfeed, From: from, Codec: "PCMA", Payload: 8, Ptime: 20, First: before(86 * time.Second), Last: before(0)}
		s.Packets, s.Expected, s.Lost, s.JitterMax, s.MOS.LQ = 4300-lost, 4300, lost, 12.5, mos
		return s
	}
	hostile := record.Party{Number: "\x1b[2J\x1b]0;owned\a\u202egnp.exe", Domain: "x", Addr: at("[2001:db8::bad]:5060")}
	return &scripted{
		calls: Calls{AsOf: noon, Total: 7, Items: []Call{
			{ID: "1", CallID: "one@192.0.2.10", State: "talking", Start: before(90 * time.Second), Caller: party("+4930100", a), Called: party("+4930200", b), Status: 200, Messages: 9, Streams: 2, Codec: "PCMA", MOS: 3.21, Loss: 3.26, Jitter: 12.5},
			{ID: "2", CallID: "two@x", State: "ringing", Start: before(8 * time.Second), Caller: party("+4930101", a), Called: party("+4930201", b), Messages: 4},
			{ID: "3", CallID: "three@x", State: "setup", Start: before(time.Second), Caller: party("+4930102", a), Called: party("+4930202", b), Messages: 1},
			{ID: "4", CallID: "four@x", State: "talking", Start: before(3700 * time.Second), Caller: party("+4930103", a), Called: party("+4930203", b), Status: 200, Messages: 12, Streams: 2, Codec: "opus", MOS: 4.46, Jitter: 1},
			{ID: "5", CallID: "five@x", State: "held", Start: before(300 * time.Second), Caller: party("alice", a), Called: party("bob.with.a.very.long.name.indeed", b), Status: 200, Messages: 20, Streams: 2, Codec: "G722", MOS: 4.2, Loss: 0.4, Jitter: 3},
			{ID: "6", CallID: "six@x\x9b31m", State: "ending", Start: before(20 * time.Second), Caller: hostile, Called: party("Ωμέγα", b), Status: 486, Messages: 7},
			{ID: "7", CallID: "seven@x", State: "talking", Start: before(30 * time.Second), Caller: party("東京本社", a), Called: party("e\u0301\u0301\u0301\u0301te\u0301", b), Status: 200, Messages: 7, Streams: 1, Codec: "PCMU", MOS: 4.41},
		}},
		status: &Status{Time: noon, State: "healthy", Since: noon.Add(-time.Hour), Calls: 7, CallRate: 4.5, PacketRate: 152_340, SIPRate: 210, RTPRate: 151_000, BitRate: 260e6,
			Rings: 0.03, Spool: 0.12, Store: 0.01, CPU: []float64{0.31, 0.28}, Memory: 812 << 20, Budget: 4 << 30},
		details: map[string]*Detail{
			"1": {Messages: messages, Streams: []record.Stream{
				stream("192.0.2.10:4000", "192.0.2.20:6000", record.SideCaller, 4.41, 0), stream("192.0.2.20:6000", "192.0.2.10:4000", record.SideCalled, 3.21, 140)}},
			"2": {Why: "its messages are not stored"},
			"6": {Messages: []Message{{Time: before(20 * time.Second), Src: at("[2001:db8::bad]:5060"), Dst: at(b), Method: "INV\x1b[31mITE", Text: "INVITE sip:x SIP/2.0\r\nSubject: \x1b[2J\u202e\x00evil\r\nX: " + strings.Repeat("東京", 60) + "\r\n\r\n"}}},
		},
	}
}

// shown is a model with keys pressed, everything that it asks for answered at once.
type shown struct {
	t *testing.T
	*model
}

func show(t *testing.T, src Source, width, height int, o Options) *shown {
	t.Helper()
	o.Zone = time.UTC
	r := lipgloss.NewRenderer(os.Stderr)
	r.SetColorProfile(termenv.Ascii)
	s := &shown{t, newModel(context.Background(), src, o, r)}
	s.tick = nil // time goes on when the test says so
	s.send(tea.WindowSizeMsg{Width: width, Height: height})
	s.run(s.Init())
	return s
}

// run does what a command asks for, and all that follows from it.
func (s *shown) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			s.run(c)
		}
	default:
		s.send(msg)
	}
}

func (s *shown) send(msg tea.Msg) {
	_, cmd := s.Update(msg)
	if _, ok := msg.(tea.KeyMsg); ok && cmd != nil && msg.(tea.KeyMsg).String() == "ctrl+c" {
		return
	}
	s.run(cmd)
}

// special are keys that are not characters.
var special = map[string]tea.KeyType{"enter": tea.KeyEnter, "esc": tea.KeyEsc, "up": tea.KeyUp, "down": tea.KeyDown, "tab": tea.KeyTab, "end": tea.KeyEnd,
	"home": tea.KeyHome, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "backspace": tea.KeyBackspace, "ctrl+u": tea.KeyCtrlU, "left": tea.KeyLeft, "right": tea.KeyRight}

// press presses keys, with blanks between them; "tock" is a second that goes by.
func (s *shown) press(keys string) *shown {
	for k := range strings.FieldsSeq(keys) {
		if k == "tock" {
			s.send(tock{})
		} else if kind, ok := special[k]; ok {
			s.send(tea.KeyMsg{Type: kind})
		} else {
			s.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)})
		}
	}
	return s
}

// frame is what is on the screen. It fits, whatever is shown.
func (s *shown) frame() string {
	s.t.Helper()
	text := s.View()
	lines := strings.Split(text, "\n")
	if len(lines) > s.height {
		s.t.Errorf("%d lines on a terminal of %d", len(lines), s.height)
	}
	for i, l := range lines {
		if w := cells(l); w > s.width {
			s.t.Errorf("line %d takes %d columns of %d: %q", i, w, s.width, l)
		}
		lines[i] = strings.TrimRight(l, " ")
		for _, r := range l {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				s.t.Errorf("line %d lets %U through: %q", i, r, l)
			}
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update and look at the diff); got:\n%s", path, got)
	}
}

func TestFrames(t *testing.T) {
	lossy := script()
	lossy.status.State, lossy.status.Why = "degraded", []string{"packets are lost: ens1 ring full, 12 a second"}
	lossy.status.Drops = []Drop{{"ens1 nic missed", 0, 0}, {"ens1 ring full", 1234, 12}, {"spool no memory", 3, 0}}
	lossy.status.StoreAway, lossy.status.Gaps = true, []string{"ens1: 17 packets missing between the filter and the rings"}
	idle := &scripted{calls: Calls{AsOf: noon}, status: &Status{Time: noon, State: "idle", Spool: -1, Store: -1}}
	away := &scripted{err: errors.New("ask ringside: dial unix /run/ringside/ringside.sock: connect: no such file or directory")}
	offline := script()
	offline.status = nil
	for _, f := range []struct {
		name, keys string
		src        *scripted
		o          Options
	}{
		{"list", "", script(), Options{Live: true}},
		{"filter", "/ t a l k i n g enter s s down", script(), Options{Live: true}},
		{"typing", "/ +49 ! 201", script(), Options{Live: true}},
		{"call", "/ one@ enter enter", script(), Options{Live: true}},
		{"raw", "/ one@ enter enter enter", script(), Options{Live: true}},
		{"streams", "/ one@ enter enter t", script(), Options{Live: true}},
		{"unknown", "/ 4930101 enter enter", script(), Options{Live: true}},
		{"hostile", "/ 2001: enter enter enter", script(), Options{Live: true}},
		{"lossy", "", lossy, Options{Live: true}},
		{"idle", "", idle, Options{Live: true}},
		{"away", "", away, Options{Live: true}},
		{"help", "?", script(), Options{Live: true}},
		{"ascii", "/ one@ enter enter", script(), Options{Live: true, ASCII: true}},
		{"offline", "", offline, Options{Name: "calls.db"}},
	} {
		for _, size := range []struct {
			name          string
			width, height int
		}{{"80x24", 80, 24}, {"120x40", 120, 40}, {"60x16", 60, 16}} {
			t.Run(f.name+"-"+size.name, func(t *testing.T) {
				golden(t, f.name+"-"+size.name, show(t, f.src, size.width, size.height, f.o).press(f.keys).frame())
			})
		}
	}
}
