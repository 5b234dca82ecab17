package tui

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"
)

// under is the call under the cursor.
func (s *shown) under() string {
	if i := s.list.index(); i >= 0 {
		return s.list.shown[i].ID
	}
	return ""
}

func TestCursor(t *testing.T) {
	for _, tc := range []struct{ keys, want string }{
		{"", "3"}, {"down", "2"}, {"j j k", "2"}, {"up", "3"}, {"end", "4"}, {"G g", "3"}, {"pgdown", "4"}, {"S", "3"}, {"S home", "4"},
		{"s s S home", "2"}, {"/ nobody enter", ""}, {"/ held enter", "5"}, {"/ held enter esc", "5"}, {"/ held esc home", "3"},
	} {
		t.Run(tc.keys, func(t *testing.T) {
			if got := show(t, script(), 80, 24, Options{Live: true}).press(tc.keys).under(); got != tc.want {
				t.Errorf("on %q, want %q", got, tc.want)
			}
		})
	}
}

// The cursor stays on its call while others come, or on the newest if it follows.
func TestFollow(t *testing.T) {
	for _, tc := range []struct{ keys, want string }{{"", "3"}, {"f", "8"}, {"f f", "3"}, {"f down", "2"}} {
		src := script()
		s := show(t, src, 80, 24, Options{Live: true}).press(tc.keys)
		src.calls.Items = append(src.calls.Items, Call{ID: "8", State: "setup", Start: noon.UnixNano()})
		if got := s.press("tock").under(); got != tc.want {
			t.Errorf("%q: on %q, want %q", tc.keys, got, tc.want)
		}
	}
}

// A call that is gone has ended, and stays; where the list is cut nobody knows.
func TestEnded(t *testing.T) {
	src := script()
	s := show(t, src, 80, 24, Options{Live: true})
	src.calls.Items, src.calls.Total, src.calls.AsOf = src.calls.Items[1:], 6, noon.Add(time.Second)
	s.press("tock tock / ended enter")
	if len(s.list.shown) != 1 || s.list.shown[0].ID != "1" || s.list.shown[0].length(0) != int64(91*time.Second) {
		t.Fatalf("%+v", s.list.shown)
	}
	if f := s.frame(); !strings.Contains(f, "1:31") {
		t.Errorf("its length goes on or is gone:\n%s", f)
	}
	src.calls.Items, src.calls.Total = src.calls.Items[1:], 5000
	if s.press("tock"); len(s.list.shown) != 1 {
		t.Errorf("of a list that was cut a call has ended: %+v", s.list.shown)
	}
	for i := range keepEnded + 20 {
		src.calls = Calls{AsOf: noon.Add(time.Duration(i) * time.Second), Items: []Call{{ID: "x" + time.Duration(i).String()}}, Total: 1}
		s.press("tock")
	}
	if n := len(s.list.all); n != keepEnded+1 {
		t.Errorf("%d calls are kept", n)
	}
}

// While paused the list and the call stand still, the health bar goes on.
func TestPause(t *testing.T) {
	src := script()
	s := show(t, src, 80, 24, Options{Live: true}).press("p")
	src.calls.Items, src.calls.Total = nil, 0
	src.status.SIPRate = 777
	f := s.press("tock").frame()
	if !strings.Contains(f, "PAUSED") || !strings.Contains(f, "7 of 7") || !strings.Contains(f, "SIP 777/s") {
		t.Errorf("paused:\n%s", f)
	}
	if f := s.press("p tock").frame(); strings.Contains(f, "PAUSED") || len(s.list.shown) != 7 || s.list.shown[0].State != ended {
		t.Errorf("not paused:\n%s", f)
	}
	if s := show(t, script(), 80, 24, Options{}).press("p"); s.paused {
		t.Error("what does not change can be paused")
	}
}

// What was known of a call stays when the source does not know it any more.
func TestGone(t *testing.T) {
	src := script()
	s := show(t, src, 80, 24, Options{Live: true}).press("/ one@ enter enter")
	delete(src.details, "1")
	if f := s.press("tock").frame(); !strings.Contains(f, "180 Ringing") {
		t.Errorf("the ladder is gone:\n%s", f)
	}
	src.details["1"] = &Detail{}
	if f := s.press("tock").frame(); !strings.Contains(f, "180 Ringing") {
		t.Errorf("the ladder is gone:\n%s", f)
	}
	src.err = errors.New("connection refused")
	if f := s.press("tock").frame(); !strings.Contains(f, "NO ANSWER") {
		t.Errorf("nobody says that there is no answer:\n%s", f)
	}
}

func TestScreens(t *testing.T) {
	for _, tc := range []struct{ keys, want, not string }{
		{"/ one@ enter enter q", "calls  by", ""},
		{"/ one@ enter enter down down enter", "its text is not stored", ""},
		{"/ one@ enter enter enter n n N", "message 2 of 8", ""},
		{"/ one@ enter enter enter N N", "message 1 of 8", ""},
		{"/ one@ enter enter end enter n n", "message 8 of 8", ""},
		{"/ one@ enter enter down down down down down down enter", "SSRC", ""},
		{"/ one@ enter enter t t", "INVITE +SDP", "SSRC"},
		{"/ one@ enter enter enter pgdown pgdown pgdown", "v=0", ""},
		{"/ one@ enter enter enter left left", "calls  by", ""},
		{"/ one@ enter enter ? esc", "INVITE +SDP", "Ctrl-C"},
		{"? ? q", "calls  by", "Ctrl-C"},
		{"/ 4930101 enter enter enter t n N down", "not stored", ""},
		{"/ nobody enter enter", "no call matches", ""},
		{"/ a b backspace c ctrl+u x y z enter", "filter: xyz", ""},
	} {
		t.Run(tc.keys, func(t *testing.T) {
			f := show(t, script(), 90, 14, Options{Live: true}).press(tc.keys).frame()
			if !strings.Contains(f, tc.want) || tc.not != "" && strings.Contains(f, tc.not) {
				t.Errorf("want %q, not %q:\n%s", tc.want, tc.not, f)
			}
		})
	}
}

func TestQuit(t *testing.T) {
	for _, keys := range [][]tea.KeyMsg{
		{{Type: tea.KeyRunes, Runes: []rune("q")}}, {{Type: tea.KeyCtrlC}},
		{{Type: tea.KeyRunes, Runes: []rune("/")}, {Type: tea.KeyCtrlC}}, {{Type: tea.KeyEnter}, {Type: tea.KeyCtrlC}},
	} {
		s := show(t, script(), 80, 24, Options{Live: true})
		var cmd tea.Cmd
		for _, k := range keys {
			_, cmd = s.Update(k)
		}
		if cmd == nil || cmd() != tea.Quit() {
			t.Errorf("%v: it goes on", keys)
		}
	}
}

// However small the terminal, nothing is drawn beside it.
func TestSmall(t *testing.T) {
	for _, keys := range []string{"", "/ one@ enter enter", "/ one@ enter enter enter", "/ one@ enter enter t", "?", "/ 2001: enter enter enter"} {
		for w := range 40 {
			for _, h := range []int{1, 2, 5, 9} {
				show(t, script(), w, h, Options{Live: true}).press(keys).frame()
			}
		}
	}
}

func TestClean(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""}, {"plain +49 <sip:x>", "plain +49 <sip:x>"}, {"Ωμέγα 東京", "Ωμέγα 東京"},
		{"\x1b[31mred\x1b[0m", "?[31mred?[0m"}, {"a\r\nb\tc\x00\x7f", "a??b?c??"}, {"\u009b31m\u0085", "?31m?"},
		{"a\u202eb\u2066c\u200fd\u200be\ufefff", "a?b?c?d?e?f"}, {"bad \xff\xc3", "bad ??"},
		{"e\u0301\u0301\u0301\u0301", "e\u0301\u0301"}, {"x\ufe0f", "x"}, {"\U000E0041tag", "?tag"}, {"a\u2028b\u00adc", "a?b?c"},
	} {
		if got := clean(tc.in); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestFit(t *testing.T) {
	for _, tc := range []struct {
		in    string
		n     int
		want  string
		right string
	}{
		{"abc", 5, "abc  ", "  abc"}, {"abcdef", 4, "abc…", "abc…"}, {"東京本社", 5, "東京…", "東京…"}, {"東京本社", 4, "東… ", " 東…"}, {"abc", 0, "", ""}, {"abc", 1, "…", "…"},
	} {
		if got, right := fancy.fit(tc.in, tc.n), fancy.fitRight(tc.in, tc.n); got != tc.want || right != tc.right {
			t.Errorf("%q in %d: %q and %q, want %q and %q", tc.in, tc.n, got, right, tc.want, tc.right)
		}
	}
}

// FuzzHostile puts anything into every text that comes from the network.
func FuzzHostile(f *testing.F) {
	f.Add("\x1b[2J\x1b]0;x\a", 80, 24)
	f.Add("\u202e東京\u0301\u0301\xff\x9b", 61, 16)
	f.Add("INVITE a\r\n\r\n\t\x00", 1, 3)
	f.Fuzz(func(t *testing.T, text string, width, height int) {
		if len(text) > 4096 || width < 1 || width > 200 || height < 1 || height > 60 {
			return
		}
		src := script()
		c := &src.calls.Items[0]
		c.CallID, c.State, c.Codec, c.Caller.Number, c.Called.Number = text, text, text, text, text
		d := src.details["1"]
		for i := range d.Messages {
			m := &d.Messages[i]
			m.Method, m.Reason, m.Text = text, text, text
		}
		d.Streams[0].Codec, d.Streams[1].Flags = text, text
		src.status.State, src.status.Why = text, []string{text}
		src.status.Drops, src.status.Gaps = []Drop{{Place: text, Packets: 1}}, []string{text}
		src.details["2"].Why, src.err = text, nil
		for _, keys := range []string{"", "enter", "enter enter", "enter t"} {
			s := show(t, src, width, height, Options{Live: true})
			s.list.at = "1"
			s.press(keys).frame()
		}
		src.err = errors.New(text)
		show(t, src, width, height, Options{Live: true}).frame()
		if c := clean(text); !utf8.ValidString(c) || strings.ContainsAny(c, "\x1b\n\r\t") {
			t.Errorf("%q became %q", text, c)
		}
	})
}

// Run draws on what it is given, and ends with its context.
func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	in, out := newPipe(), &screenText{drawn: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- Run(ctx, script(), Options{Live: true, Zone: time.UTC}, in, out) }()
	select {
	case <-out.drawn:
	case <-time.After(time.Minute):
		t.Error("nothing is drawn")
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}
