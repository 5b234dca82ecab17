package e2e

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tshark finds no message behind an empty line, nor what of a segment is of which
// message. So where a test makes TCP without gaps, it puts the bytes of each
// direction together by itself and looks where the messages lie.

// byteRun is one direction of a connection.
type byteRun struct {
	segments []byteSegment
	bytes    []byte
	web      bool // port 80
}

type byteSegment struct {
	at    uint32 // sequence number
	frame int
	data  []byte
	begin int // in bytes
	fresh int // from here on its bytes had not come before
}

// walkTCP replaces what tshark said of signalling over TCP and WebSocket.
func (c *cut) walkTCP(t *testing.T, path string) {
	t.Helper()
	for id, frames := range c.calls {
		c.calls[id] = slices.DeleteFunc(frames, func(f int) bool { return c.tcp[f] })
	}
	runs := map[string]*byteRun{}
	out := tool(t, "tshark", "-n", "-r", path, "-Y", "tcp.len > 0", "-T", "fields", "-E", "occurrence=f",
		"-e", "frame.number", "-e", "tcp.stream", "-e", "tcp.srcport", "-e", "tcp.seq_raw", "-e", "tcp.payload", "-e", "tcp.dstport")
	for line := range strings.Lines(out) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		frame, err := strconv.Atoi(cells[0])
		if err != nil {
			t.Fatal(err)
		}
		seq, err := strconv.ParseUint(cells[3], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(cells[4])
		if err != nil {
			t.Fatal(err)
		}
		key := cells[1] + " " + cells[2]
		if runs[key] == nil {
			runs[key] = &byteRun{web: cells[2] == "80" || cells[5] == "80"}
		}
		runs[key].segments = append(runs[key].segments, byteSegment{at: uint32(seq), frame: frame - 1, data: data})
	}
	for key, r := range runs {
		if !r.join() {
			t.Errorf("stream %s has gaps", key)
		}
		r.messages(func(text []byte, from, to int) {
			if id := callIDOf(text); id != "" {
				c.calls[id] = withParts(append(c.calls[id], r.frames(from, to)...), c.parts)
			}
		})
	}
}

// join puts the segments in order; false if some are missing.
func (r *byteRun) join() bool {
	base := r.segments[0].at
	slices.SortStableFunc(r.segments, func(a, b byteSegment) int { return cmp.Compare(int32(a.at-base), int32(b.at-base)) })
	for i := range r.segments {
		s := &r.segments[i]
		s.begin = int(int32(s.at - r.segments[0].at))
		if s.begin > len(r.bytes) {
			return false
		}
		s.fresh = len(r.bytes)
		if known := s.fresh - s.begin; known < len(s.data) {
			r.bytes = append(r.bytes, s.data[known:]...)
		}
	}
	return true
}

// frames are those that bytes first came in: what comes again is no part of a
// message.
func (r *byteRun) frames(from, to int) (out []int) {
	for i := range r.segments {
		if s := &r.segments[i]; s.fresh < to && s.begin+len(s.data) > max(from, s.fresh) {
			out = append(out, s.frame)
		}
	}
	return out
}

// messages calls f with each message, and where it begins and ends.
func (r *byteRun) messages(f func(text []byte, from, to int)) {
	switch {
	case bytes.HasPrefix(r.bytes, []byte("GET ")) || bytes.HasPrefix(r.bytes, []byte("HTTP/")):
		r.webSocket(bytes.Index(r.bytes, []byte("\r\n\r\n"))+4, f)
		return
	case r.web: // the capture began behind the handshake
		r.webSocket(0, f)
		return
	}
	for at := 0; at < len(r.bytes); {
		rest := r.bytes[at:]
		if skip := len(rest) - len(bytes.TrimLeft(rest, "\r\n")); skip > 0 {
			at += skip
			continue
		}
		head := bytes.Index(rest, []byte("\r\n\r\n"))
		if head < 0 {
			return
		}
		n := head + 4
		for line := range strings.Lines(string(rest[:head])) {
			name, value, _ := strings.Cut(line, ":")
			if name = strings.ToLower(strings.TrimSpace(name)); name == "content-length" || name == "l" {
				length, _ := strconv.Atoi(strings.TrimSpace(value))
				n += length
			}
		}
		n = min(n, len(rest))
		f(rest[:n], at, at+n)
		at += n
	}
}

// webSocket reads the frames of RFC 6455 section 5.2.
func (r *byteRun) webSocket(at int, f func(text []byte, from, to int)) {
	var text []byte
	begin := 0
	for at+2 <= len(r.bytes) {
		b := r.bytes[at:]
		final, code, masked, n, head := b[0]&128 != 0, b[0]&15, b[1]&128 != 0, int(b[1]&127), 2
		switch n {
		case 126:
			n, head = int(binary.BigEndian.Uint16(b[2:])), 4
		case 127:
			n, head = int(binary.BigEndian.Uint64(b[2:])), 10
		}
		var mask [4]byte
		if masked {
			copy(mask[:], b[head:])
			head += 4
		}
		if n < 0 || head+n > len(b) {
			return
		}
		if code < 8 {
			if code != 0 {
				text, begin = nil, at
			}
			for i, v := range b[head : head+n] {
				text = append(text, v^mask[i%4])
			}
			if final {
				f(text, begin, at+head+n)
			}
		}
		at += head + n
	}
}

// callIDOf is the Call-ID of a message, empty if there is none.
func callIDOf(text []byte) string {
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name = strings.ToLower(strings.TrimSpace(name)); name == "call-id" || name == "i" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
