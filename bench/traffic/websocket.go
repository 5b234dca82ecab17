package traffic

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// upgrade turns the connection into one of WebSocket (RFC 6455 section 4, RFC
// 7118 section 4), and tells when data may go.
func (c *connection) upgrade(at int64) int64 {
	r := &c.by.rnd
	var nonce [16]byte
	binary.BigEndian.PutUint64(nonce[:], r.next())
	binary.BigEndian.PutUint64(nonce[8:], r.next())
	key := base64.StdEncoding.EncodeToString(nonce[:])
	digest := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	ask := fmt.Appendf(nil, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nOrigin: http://www.example.com\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n",
		c.flows[0].dst.Addr(), key)
	give := fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: sip\r\n\r\n", base64.StdEncoding.EncodeToString(digest[:]))
	at = c.put(0, at, ask, missNothing, 0, true) + ms
	at = c.put(1, at, give, missNothing, 0, true) + ms
	return at
}

// Opcodes of a WebSocket frame (RFC 6455 section 5.2).
const (
	wsContinue = 0
	wsText     = 1
	wsBinary   = 2
	wsClose    = 8
	wsPing     = 9
	wsPong     = 10
)

// frames appends a message as one or more WebSocket frames, with a ping between
// them now and then. The first message that an observer sees of a direction, or
// sees after one that it missed, is in one frame that begins with a full
// segment: where frames begin can only be told by what looks like SIP.
func (c *connection) frames(b []byte, from int, data []byte) []byte {
	r := &c.by.rnd
	op := byte(wsText)
	if r.chance(0.2) {
		op = wsBinary
	}
	for c.ends[from].sure && r.chance(c.by.harm.Split) && len(data) > 1 {
		n := 1 + r.below(len(data)-1)
		b = c.wsFrame(b, from, op, false, data[:n])
		op, data = wsContinue, data[n:]
		if r.chance(0.3) {
			b = append(b, c.control(from, wsPing, nil)...)
		}
	}
	return c.wsFrame(b, from, op, true, data)
}

// control is a control frame.
func (c *connection) control(from int, op byte, data []byte) []byte {
	return c.wsFrame(nil, from, op, true, data)
}

// wsFrame appends one frame; those of the client are masked.
func (c *connection) wsFrame(b []byte, from int, op byte, last bool, data []byte) []byte {
	if last {
		op |= 0x80
	}
	masked := byte(0)
	if from == 0 {
		masked = 0x80
	}
	b = append(b, op)
	if len(data) < 126 {
		b = append(b, masked|byte(len(data)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, masked|126), uint16(len(data)))
	}
	if from != 0 {
		return append(b, data...)
	}
	var mask [4]byte
	binary.BigEndian.PutUint32(mask[:], uint32(c.by.rnd.next()))
	b = append(b, mask[:]...)
	for i, x := range data {
		b = append(b, x^mask[i%4])
	}
	return b
}
