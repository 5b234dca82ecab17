package sip

import (
	"bytes"
	"strings"
	"testing"
)

func TestHead(t *testing.T) {
	const start = "BYE sip:a@b SIP/2.0\r\n"
	for _, tt := range []struct {
		name, text string
		end        int // 0: none
		body       int64
		next       string // what the other start line begins with
	}{
		{"usual", start + "Via: x\r\nContent-Length: 12\r\n\r\nbody", len(start) + 30, 12, ""},
		{"compact", start + "l : 12\r\nVia: x\r\n\r\n", len(start) + 18, 12, ""},
		{"any case", start + "CONTENT-LENGTH:7\r\n\r\n", len(start) + 20, 7, ""},
		{"folded", start + "Content-Length:\r\n 7\r\n\r\n", len(start) + 23, 7, ""},
		{"line feeds", strings.ReplaceAll(start+"l: 1\r\n\r\nx", "\r", ""), len(start) + 5, 1, ""},
		{"no header field", start + "\r\n", len(start) + 2, -1, ""},
		{"no length", start + "Via: x\r\nC: 5\r\nContact: 7\r\n\r\n", len(start) + 28, -1, ""},
		{"not a number", start + "l: x\r\nl: 5\r\n\r\n", len(start) + 14, 5, ""},
		{"beyond 32 bits", start + "l: 99999999999999999999\r\n\r\n", len(start) + 27, 1 << 60, ""},
		{"no end", start + "Via: x\r\n", 0, 0, ""},
		{"no end, CR", start + "Via: x\r\n\r", 0, 0, ""},
		{"request within", start + "Via: x\r\nBYE sip:c@d SIP/2.0\r\nl: 5\r\n\r\n", len(start) + 37, -1, "BYE sip:c"},
		{"status within", start + "Via: SIP/2.0\r\nSIP/2.0 200 OK\r\n\r\n", len(start) + 32, -1, "SIP/2.0 200"},
		{"folded version", start + "X: y\r\n sip: SIP/2.0\r\n\r\n", len(start) + 23, -1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := []byte(tt.text)
			end := HeadEnd(b, 0)
			if end != tt.end {
				t.Fatalf("the end is at %d, want %d", end, tt.end)
			}
			if end == 0 {
				return
			}
			h := ReadHead(b[:end])
			next := h.Next
			if h.Len != end || h.Body != tt.body || (next > 0) != (tt.next != "") || !bytes.HasPrefix(b[next:], []byte(tt.next)) {
				t.Errorf("%+v, want a body of %d, then %q", h, tt.body, tt.next)
			}
		})
	}
}

func TestNextStart(t *testing.T) {
	const text = "m=audio\r\n\r\nSIP/2.0 200 OK\r\nVia: INVITE sip:a SIP/2.0\r\nINVITE sip:a SIP/2.0\r\n"
	b := []byte(text)
	status, invite := strings.Index(text, "SIP/2.0 200"), strings.LastIndex(text, "INVITE")
	for _, tt := range []struct{ from, want int }{
		{0, status}, {status, status}, {status + 1, invite}, {invite, invite}, {invite + 7, -1}, {len(b), -1},
	} {
		if got := NextStart(b, tt.from); got != tt.want {
			t.Errorf("from %d: %d, want %d", tt.from, got, tt.want)
		}
	}
}

func TestMight(t *testing.T) {
	for _, line := range []string{"INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK", "X-NEW <sips:a>  SIP/2.0", "BYE\ttel:1 SIP/2.0"} {
		for i := range line {
			if !Might([]byte(line[:i])) {
				t.Errorf("%q cannot become a start line", line[:i])
			}
		}
	}
	for _, line := range []string{"v=0", " x", "GET /", "Via: x", "SIP/3", "SIP/2.0200", "\x16\x03", "INVITE sip bob", strings.Repeat("x", 40)} {
		if Might([]byte(line)) {
			t.Errorf("%q may become a start line", line)
		}
	}
}

// FuzzHead: the end is found wherever the search goes on from, and the length is
// the one that Parse reads.
func FuzzHead(f *testing.F) {
	f.Add([]byte("BYE sip:a@b SIP/2.0\r\nVia: x\r\nContent-Length: 12\r\n\r\nbody"))
	f.Add([]byte("BYE sip:a SIP/2.0\nl:\n 3\n\nbody"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := HeadEnd(b, 0)
		for k := 1; k < min(len(b), 300); k++ {
			if HeadEnd(b[:k], 0) == 0 && HeadEnd(b, k) != end {
				t.Fatalf("from %d the end is %d, from 0 %d", k, HeadEnd(b, k), end)
			}
		}
		if at := NextStart(b, 0); at >= 0 && (!Looks(b[at:]) || at > 0 && b[at-1] != '\n') {
			t.Fatalf("no start line at %d", at)
		}
		if end == 0 || len(b) == 0 || b[0] <= ' ' {
			return
		}
		h := ReadHead(b[:end])
		if h.Next >= end || h.Next > 0 && !Looks(b[h.Next:]) {
			t.Fatalf("%+v", h)
		}
		var m Message
		if _, err := m.Parse(b[:end]); err == nil && m.Flags&(FlagRepeated|FlagOpen) == 0 && h.Next == 0 && m.ContentLen >= 0 && h.Body != m.ContentLen {
			t.Fatalf("Content-Length %d, Parse reads %d", h.Body, m.ContentLen)
		}
	})
}
