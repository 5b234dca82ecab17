package tls

import (
	"bytes"
	"encoding/binary"
)

// What a direction that lost something may cost.
const (
	maxTries  = 64      // numbers that a record may have
	maxFailed = 16      // records that none of them opens
	maxSearch = 1 << 20 // bytes in which the next record is looked for
)

// Conn is a connection that is listened to. One goroutine uses it at a time.
type Conn struct {
	// Peers tells the pair of hosts apart from others, where the caller knows
	// it. A session that is resumed is looked for among those of the same pair
	// only. Before TLS 1.3 that may be the only way to its secret: neither an RSA
	// key nor every key log has that of a connection that resumes a session.
	Peers uint64

	keys       *Keys
	half       [2]half
	client     int // index of the half that sent the ClientHello
	hello      hellos
	transcript []byte // messages of the handshake, while an extended master secret may need them
	noting     bool
	plain      []byte // content of the record that was opened last
	info       Info
}

// half is one direction.
type half struct {
	state State
	final bool   // NoKeys, and no keys can change that
	buf   []byte // a record of which not everything has come; more if held
	skip  int    // bytes to come of a record that is of no use
	held  bool   // buf begins with a record that has to wait for the other direction

	sync     bool // where the next record begins is not known
	lost     bool // nor are its number and, around a handshake, its key
	failed   int  // records that could not be opened since
	searched int  // bytes

	sealed  bool    // records are encrypted
	open    *opener // nil: in clear, or no key
	seq     uint64  // of the next record
	traffic bool    // TLS 1.3: the traffic secret is in use, not that of the handshake
	current secret  // TLS 1.3: traffic secret
	changes uint64  // of the keys when they were last asked
	message []byte  // handshake message of which not everything has come
	pass    int     // bytes to come of a message that is of no use
	astray  bool    // part of a message was lost: where the next begins is not known
}

// NewConn returns a connection of which nothing has been seen. Without keys,
// nil, it only says what the handshake says in clear.
func NewConn(keys *Keys) *Conn { return &Conn{keys: keys} }

// Info is what is known of the connection so far.
func (c *Conn) Info() Info { return c.info }

// Feed takes the next bytes of one direction. Plain gets the application data
// of each record, which is valid during the call. Feed returns the state of
// the direction.
func (c *Conn) Feed(fromClient bool, b []byte, plain func([]byte)) State {
	h, other := c.sides(fromClient)
	if h.over() {
		return h.state
	}
	if plain == nil {
		plain = func([]byte) {}
	}
	if h.state == NoKeys && c.keys.changes.Load() != h.changes {
		c.retry(h)
	}
	c.take(h, b, plain)
	if other.held && !other.over() {
		// Application data of the other direction waits for its own Feed.
		c.take(other, nil, nil)
	}
	if h.held && other.held { // for each other: the beginning was not seen
		h.end(Broken)
		other.end(Broken)
	}
	return h.state
}

func (c *Conn) sides(fromClient bool) (h, other *half) {
	if fromClient {
		return &c.half[0], &c.half[1]
	}
	return &c.half[1], &c.half[0]
}

func (c *Conn) isClient(h *half) bool { return h == &c.half[c.client] }

// over reports whether nothing more can be read of the direction.
func (h *half) over() bool {
	return h.state == Unsupported || h.state == Broken || h.state == NoKeys && h.final
}

// end ends a direction, and lets go of its memory.
func (h *half) end(s State) {
	*h = half{state: s, final: true}
}

// take reads b, after what was kept of the bytes before.
func (c *Conn) take(h *half, b []byte, plain func([]byte)) {
	for len(h.buf) > 0 {
		n := len(b)
		if !h.held {
			n = min(n, h.missing())
		}
		if len(h.buf)+n > maxHeld {
			h.end(Broken)
			return
		}
		h.buf = append(h.buf, b[:n]...)
		b = b[n:]
		used := c.records(h, h.buf, plain)
		if h.over() {
			return
		}
		h.buf = h.buf[:copy(h.buf, h.buf[used:])]
		if len(b) == 0 {
			return
		}
	}
	used := c.records(h, b, plain)
	switch {
	case h.over():
	case len(b)-used > maxHeld:
		h.end(Broken)
	case used < len(b):
		h.buf = append(h.buf[:0], b[used:]...)
	case cap(h.buf) > headerLen+maxRecord:
		h.buf = nil
	}
}

// missing is how much has to come before the record that buf begins with is
// worth looking at.
func (h *half) missing() int {
	if len(h.buf) < headerLen {
		return headerLen - len(h.buf)
	}
	size, _ := recordSize(h.buf)
	return max(1, size-len(h.buf))
}

// recordSize is the length of the record that b begins with, header included.
func recordSize(b []byte) (int, bool) {
	n := int(binary.BigEndian.Uint16(b[3:]))
	return headerLen + n, b[0] >= typeChangeCipherSpec && b[0] <= typeHeartbeat && b[1] == 3 && b[2] <= 4 && n <= maxRecord
}

// verdict is what became of a record.
type verdict uint8

const (
	taken verdict = iota
	waits         // for the other direction
	refused
)

// records reads the records of b, as far as they are whole, and returns how
// many bytes it is done with.
func (c *Conn) records(h *half, b []byte, plain func([]byte)) (used int) {
	h.held = false
	for !h.over() {
		if h.skip > 0 {
			n := min(h.skip, len(b)-used)
			h.skip -= n
			used += n
		}
		if h.sync {
			used += c.search(h, b[used:])
		}
		r := b[used:]
		if len(r) < headerLen {
			return used
		}
		size, ok := recordSize(r)
		switch {
		case !ok:
			h.end(Broken)
			return len(b)
		case h.state == NoKeys:
			c.passOver(h, r[0])
			h.skip = size
			continue
		case len(r) < size:
			return used
		}
		switch c.record(h, r[:size], plain) {
		case taken:
			used += size
			h.sync = false
		case waits:
			h.held = true
			return used
		case refused:
			used += c.missed(h, size)
		}
	}
	return len(b)
}

// passOver counts a sealed record that is not opened.
func (c *Conn) passOver(h *half, kind byte) {
	if c.hello.version == version13 && kind == typeChangeCipherSpec {
		return
	}
	h.seq++
	c.info.Skipped++
}

// missed decides what to do about a record that no key opens. It returns how
// many bytes to go on.
func (c *Conn) missed(h *half, size int) int {
	h.failed++
	switch {
	case !h.lost || h.failed > maxFailed:
		h.end(Broken)
		return size
	case h.sync:
		return 1
	}
	c.passOver(h, typeApplication)
	return size
}

// search returns the position of the first bytes that may begin a record.
func (c *Conn) search(h *half, b []byte) int {
	at := 0
	for ; at < len(b) && !c.mayBegin(h, b[at:]); at++ {
	}
	if h.searched += at; h.searched > maxSearch {
		h.end(Broken)
		return len(b)
	}
	return at
}

// mayBegin reports whether b may begin a record of the connection.
func (c *Conn) mayBegin(h *half, b []byte) bool {
	if b[0] < typeChangeCipherSpec || b[0] > typeApplication {
		return false
	}
	version := min(c.hello.version, version12) // TLS 1.3 says 1.2 (RFC 8446 section 5.1)
	want := []byte{3, byte(version)}
	switch {
	case h.sealed && c.hello.version == version13 && b[0] != typeApplication:
		return false
	case version == 0 && len(b) > 2 && (b[1] != 3 || b[2] > 3), version == 0 && len(b) == 2 && b[1] != 3:
		return false
	case version > 0 && !bytes.HasPrefix(want, b[1:min(len(b), 3)]):
		return false
	case len(b) < headerLen:
		return true
	}
	size, ok := recordSize(b)
	return ok && size > headerLen
}

// Gap says that so many bytes of one direction are lost, or with -1 that it is
// not known how many.
func (c *Conn) Gap(fromClient bool, n int) {
	h, _ := c.sides(fromClient)
	if h.over() || n == 0 {
		return
	}
	if h.held {
		h.end(Broken)
		return
	}
	if n > 0 && n <= h.skip {
		h.skip -= n
		return
	}
	if h.state == NoKeys {
		h.end(NoKeys)
		return
	}
	c.stray(h)
	if n > 0 && len(h.buf) >= headerLen && !h.sync {
		// Within a record: the next one is where it was to be.
		size, _ := recordSize(h.buf)
		if left := size - len(h.buf); n <= left {
			if h.sealed {
				c.passOver(h, h.buf[0])
			}
			h.skip, h.buf = left-n, h.buf[:0]
			return
		}
	}
	if len(h.buf) >= headerLen && h.sealed && !h.sync {
		c.passOver(h, h.buf[0])
	}
	h.buf, h.skip, h.sync = h.buf[:0], 0, true
}

// stray notes that a part of the direction is lost.
func (c *Conn) stray(h *half) {
	h.lost = true
	h.astray, h.message, h.pass = true, nil, 0
	c.noting, c.transcript = false, nil
}

// Held is the memory that the connection could do without, in bytes.
func (c *Conn) Held() int {
	n := cap(c.plain) + cap(c.transcript)
	for i := range c.half {
		n += cap(c.half[i].buf) + cap(c.half[i].message)
	}
	return n
}

// Release lets go of what is held for one direction, and reports whether that is
// a gap: whether part of a record or of a message is lost.
func (c *Conn) Release(fromClient bool) (lost bool) {
	h, _ := c.sides(fromClient)
	if lost = len(h.buf) > 0 || len(h.message) > 0; lost {
		c.Gap(fromClient, -1)
	}
	h.buf, h.message, c.plain = nil, nil, nil
	c.noting, c.transcript = false, nil
	return lost
}
