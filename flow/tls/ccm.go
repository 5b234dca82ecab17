package tls

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

// ccm is counter mode with CBC-MAC over AES (RFC 3610) as TLS has it (RFC 6655):
// a nonce of 12 bytes, and 3 for the length.
type ccm struct {
	block         cipher.Block
	tag           int
	mac, ctr, key [16]byte
}

var errNotAuthentic = errors.New("message authentication failed")

// Open is that of cipher.AEAD.
func (c *ccm) Open(dst, nonce, sealed, header []byte) ([]byte, error) {
	if len(sealed) < c.tag || len(nonce) != 12 {
		return nil, errNotAuthentic
	}
	n := len(sealed) - c.tag
	from := len(dst)
	if cap(dst)-from < n {
		dst = append(make([]byte, 0, from+n), dst...)
	}
	out := dst[from : from+n]

	c.ctr = [16]byte{0: 2} // L-1
	copy(c.ctr[1:], nonce)
	c.block.Encrypt(c.mac[:], c.ctr[:]) // for the tag
	tag := c.mac
	for at := 0; at < n; at += 16 {
		binary.BigEndian.PutUint32(c.ctr[12:], uint32(c.ctr[12])<<24|uint32(at/16+1))
		c.block.Encrypt(c.key[:], c.ctr[:])
		subtle.XORBytes(out[at:], sealed[at:n], c.key[:])
	}

	c.mac = [16]byte{0: byte((c.tag-2)/2<<3 | 2)}
	if len(header) > 0 {
		c.mac[0] |= 1 << 6
	}
	copy(c.mac[1:13], nonce)
	c.mac[13], c.mac[14], c.mac[15] = byte(n>>16), byte(n>>8), byte(n)
	c.block.Encrypt(c.mac[:], c.mac[:])
	if len(header) > 0 { // less than 0xff00 bytes: two for the length
		c.key = [16]byte{byte(len(header) >> 8), byte(len(header))}
		rest := header[copy(c.key[2:], header):]
		c.absorb(c.key[:])
		c.absorb(rest)
	}
	c.absorb(out)
	subtle.XORBytes(tag[:], tag[:], c.mac[:])
	if subtle.ConstantTimeCompare(tag[:c.tag], sealed[n:]) != 1 {
		return nil, errNotAuthentic
	}
	return dst[:from+n], nil
}

// absorb takes b into the MAC, with zeros up to whole blocks.
func (c *ccm) absorb(b []byte) {
	for len(b) > 0 {
		n := subtle.XORBytes(c.mac[:], c.mac[:], b)
		c.block.Encrypt(c.mac[:], c.mac[:])
		b = b[n:]
	}
}
