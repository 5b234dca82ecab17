package stream

import (
	"bytes"
	"encoding/binary"

	"ringside/flow/sip"
)

// WebSocket frames (RFC 6455 section 5). A message is one SIP message (RFC 7118
// section 5), in one frame or several, with control frames in between.

// wsState is how far the frames of one direction are read. The buffer of the
// half holds the payload of the message, unmasked.
type wsState struct {
	phase   wsPhase
	head    [maxFrameHead]byte
	headLen int

	inside bool  // a frame's payload follows
	left   int64 // bytes of it
	key    [4]byte
	at     int // place in the key
	masked bool
	opcode byte
	fin    bool

	open bool // a message has begun
	skip bool // it is passed over
}

// whole reports whether no frame and no message has begun.
func (w *wsState) whole() bool { return w.headLen == 0 && !w.inside && !w.open }

type wsPhase uint8

const (
	wsHTTP  wsPhase = iota // the handshake may come first
	wsFrame                // frames, one after the other
	wsSeek                 // looking for a frame that holds SIP
)

// Frame opcodes.
const (
	opContinue = 0
	opText     = 1
	opBinary   = 2
	opClose    = 8
	opPing     = 9
	opPong     = 10
)

const (
	maxFrameHead = 14
	maxFrameSkip = 16 << 20 // bytes of a frame that are passed over; a longer one is no frame
)

// frameHead is a frame's header.
type frameHead struct {
	size   int   // of the header
	length int64 // of the payload
	key    [4]byte
	opcode byte
	masked bool
	fin    bool
	packed bool // by an extension: RSV1 of permessage-deflate (RFC 7692)
}

// readFrame reads a frame's header. It reports false for what is none; size is 0
// if b ends within it.
func readFrame(b []byte) (f frameHead, ok bool) {
	if len(b) == 0 {
		return f, true
	}
	f.fin, f.packed, f.opcode = b[0]&0x80 != 0, b[0]&0x40 != 0, b[0]&15
	control := f.opcode >= opClose
	if b[0]&0x30 != 0 || f.opcode > opBinary && !control || f.opcode > opPong || control && (!f.fin || f.packed) {
		return f, false
	}
	if len(b) < 2 {
		return f, true
	}
	f.masked = b[1]&0x80 != 0
	f.length = int64(b[1] & 0x7f)
	if control && f.length > 125 {
		return f, false
	}
	size := 2
	switch f.length {
	case 126:
		if size = 4; len(b) < size {
			return f, true
		}
		f.length = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if size = 10; len(b) < size {
			return f, true
		}
		n := binary.BigEndian.Uint64(b[2:])
		if n > maxFrameSkip {
			return f, false
		}
		f.length = int64(n)
	}
	if f.masked {
		if len(b) < size+4 {
			return f, true
		}
		copy(f.key[:], b[size:])
		size += 4
	}
	f.size = size
	return f, true
}

// judgeFrame says whether b begins with a frame that holds SIP.
func judgeFrame(b []byte) verdict {
	if op := b[0] & 0x7f; op != opText && op != opBinary {
		return isOther
	}
	f, ok := readFrame(b)
	if !ok {
		return isOther
	}
	const least = 100 // bytes of a SIP message with all that it must have, less some
	switch {
	case len(b) > 1 && b[1]&0x7f < least && (f.size == 0 || len(b)-f.size < int(f.length)):
		return isOther
	case f.size == 0:
		return isOpen
	}
	var line [512]byte
	n := copy(line[:], b[f.size:min(len(b), f.size+int(f.length))])
	if f.masked {
		unmask(line[:n], f.key, 0)
	}
	switch eol := bytes.IndexByte(line[:n], '\n'); {
	case sip.Looks(line[:n]):
		return isFrame
	case eol >= 0 || f.length < least || n > 0 && !sip.Might(line[:n]):
		return isOther
	case n == len(line):
		return isFrame // a long start line
	}
	return isOpen
}

// unmask applies the masking key from its place at on, and returns the place
// behind.
func unmask(b []byte, key [4]byte, at int) int {
	for len(b) > 0 && at&3 != 0 {
		b[0] ^= key[at&3]
		b = b[1:]
		at++
	}
	word := uint64(binary.LittleEndian.Uint32(key[:]))
	for word |= word << 32; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
	return (at + len(b)) & 3
}

// frames reads the next bytes of a direction of WebSocket.
func (t *Table) frames(h *half, b []byte) {
	w := &h.ws
	if w.phase == wsHTTP {
		if b = t.handshake(h, b); w.phase == wsHTTP {
			return
		}
	}
	if w.phase == wsSeek {
		t.seekFrame(h, b)
		return
	}
	for len(b) > 0 || w.inside && w.left == 0 {
		if !w.inside {
			if b = t.frameHead(h, b); w.phase == wsSeek {
				return
			}
			continue
		}
		n := int(min(w.left, int64(len(b))))
		t.payload(h, b[:n])
		b = b[n:]
	}
}

// findFrame looks for a frame that holds SIP: where b begins, or behind others
// that are whole. It returns where that is, or how far it came.
func findFrame(b []byte) (at int, v verdict) {
	for at < len(b) {
		if v := judgeFrame(b[at:]); v != isOther {
			return at, v
		}
		f, ok := readFrame(b[at:])
		if !ok || f.size == 0 || f.length > int64(len(b)-at-f.size) {
			break
		}
		at += f.size + int(f.length)
	}
	return at, isOther
}

// seekFrame reads the next bytes of a direction whose frames are looked for. The
// buffer holds what may become one.
func (t *Table) seekFrame(h *half, b []byte) {
	own, come := h.buf, b
	h.buf = nil
	if len(own) > 0 {
		own = t.buffers.add(own, b)
		b = own
	}
	at, v := findFrame(b)
	if v == isOther && len(b) > len(come) { // what was held was none
		t.garbage(h, len(b)-len(come))
		b = come
		at, v = findFrame(b)
	}
	switch v {
	case isFrame:
		t.stats.Garbage += uint64(at)
		h.ws = wsState{phase: wsFrame}
		t.frames(h, b[at:])
	case isOpen:
		t.garbage(h, at)
		h.buf = t.buffers.add(nil, b[at:])
	default:
		t.garbage(h, len(b))
	}
	t.buffers.put(own)
}

// handshake passes over the HTTP at the begin of a direction, and returns what
// follows it.
func (t *Table) handshake(h *half, b []byte) []byte {
	before := len(h.buf)
	if before == 0 && (len(b) == 0 || b[0] != 'G' && b[0] != 'H') {
		h.ws.phase = wsFrame
		if h.joined {
			h.ws.phase = wsSeek
		}
		return b
	}
	h.buf = t.buffers.add(h.buf, b)
	n := sip.HeadEnd(h.buf, before)
	switch {
	case n > 0:
		h.ws.phase = wsFrame
		b = b[n-before:]
	case len(h.buf) > maxUndecided:
		h.ws.phase = wsSeek
		b = nil
	default:
		return nil
	}
	t.drop(h)
	return b
}

// frameHead reads the next bytes of a frame's header, and returns what follows.
func (t *Table) frameHead(h *half, b []byte) []byte {
	w := &h.ws
	n := copy(w.head[w.headLen:], b)
	f, ok := readFrame(w.head[:w.headLen+n])
	if !ok {
		t.breakFrames(h)
		t.garbage(h, len(b))
		return nil
	}
	if f.size == 0 {
		w.headLen += n
		return b[n:]
	}
	b = b[f.size-w.headLen:]
	w.headLen = 0
	w.inside, w.left, w.key, w.at = true, f.length, f.key, 0
	w.masked, w.opcode, w.fin = f.masked, f.opcode, f.fin
	switch {
	case f.opcode == opPing || f.opcode == opPong:
		t.stats.KeepAlives++
	case f.opcode == opClose:
	case f.opcode == opContinue:
		w.skip = w.skip || !w.open
	default:
		if len(h.buf) > 0 { // the one before has no end
			t.stats.Dropped++
			t.drop(h)
		}
		w.skip = false
		if f.packed {
			t.stats.Unreadable++
			w.skip = true
		}
	}
	if w.opcode < opClose {
		w.open = true
		if !w.skip && int64(len(h.buf))+w.left > int64(t.options.MaxMessage) {
			t.stats.TooLong++
			t.stats.Dropped++
			t.drop(h)
			w.skip = true
		}
	}
	return b
}

// payload takes the next bytes of a frame's payload.
func (t *Table) payload(h *half, b []byte) {
	w := &h.ws
	w.left -= int64(len(b))
	data := w.opcode < opClose
	ends := data && w.fin && w.left == 0
	if data && !w.skip {
		switch {
		case ends && len(h.buf) == 0 && !w.masked:
			t.webMessage(h, b)
		case ends && len(h.buf) == 0 && w.at == 0:
			t.unmask = append(t.unmask[:0], b...)
			unmask(t.unmask, w.key, 0)
			t.webMessage(h, t.unmask)
		default:
			from := len(h.buf)
			h.buf = t.buffers.add(h.buf, b)
			if w.masked {
				unmask(h.buf[from:], w.key, w.at)
			}
			if ends {
				t.webMessage(h, h.buf)
			}
		}
	}
	w.at = (w.at + len(b)) & 3
	if w.left > 0 {
		return
	}
	w.inside = false
	if ends {
		t.drop(h)
		w.open, w.skip = false, false
	}
}

// webMessage emits a whole message.
func (t *Table) webMessage(h *half, b []byte) {
	b = b[padding(b):]
	switch {
	case len(b) == 0:
		t.stats.KeepAlives++
	case sip.Looks(b):
		t.emit(h, b, false)
	default:
		t.stats.NotSIP++
	}
}

// frameCut emits the message in the buffer as far as it came, if its header
// section did.
func (t *Table) frameCut(h *half) {
	if h.ws.phase != wsFrame {
		return
	}
	if b := h.buf[padding(h.buf):]; sip.Looks(b) && sip.HeadEnd(b, 0) > 0 {
		t.emit(h, b, true)
		return
	}
	t.stats.Dropped++
}

// framesLost notes that n bytes are missing.
func (t *Table) framesLost(h *half, n int) {
	w := &h.ws
	if n < 0 || !w.inside || int64(n) > w.left {
		t.breakFrames(h)
		return
	}
	w.left -= int64(n)
	w.at = (w.at + n) & 3
	if w.opcode < opClose {
		if len(h.buf) > 0 {
			t.frameCut(h)
			t.drop(h)
		} else if !w.skip {
			t.stats.Dropped++
		}
		w.skip = true
	}
	if w.left == 0 {
		w.inside = false
		if w.opcode < opClose && w.fin {
			w.open, w.skip = false, false
		}
	}
}

// breakFrames leaves the frames of a direction: the next one that holds SIP is
// looked for.
func (t *Table) breakFrames(h *half) {
	t.stats.Resyncs++
	if len(h.buf) > 0 {
		t.frameCut(h)
	}
	t.drop(h)
	h.ws = wsState{phase: wsSeek}
}
