package tls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// opener opens the records of one direction under one key. It allocates
// nothing per record.
type opener struct {
	mode    mode
	version uint16

	// AEAD. In TLS 1.3 and with ChaCha20 the nonce is iv xor the number of the
	// record; else 4 bytes of iv, and 8 that the record begins with.
	aead   sealed
	tag    int
	iv     [12]byte
	nonce  [12]byte
	header [13]byte // what is authenticated beside the content
	noted  bool     // a record was opened, and
	ahead  uint64   // what it brought of its nonce was its number and this

	// CBC.
	cbc     cbcMode
	block   int
	chained bool // TLS 1.0: the IV is the last block of the record before
	last    [16]byte
	mac     hash.Hash
	sum     [64]byte
	etm     bool // encrypt, then MAC (RFC 7366)
}

// sealed is the part of cipher.AEAD that opens.
type sealed interface {
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

// cbcMode is a cipher.BlockMode of the standard library that can be used again.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

// newOpener returns nil if the lengths do not fit the suite.
func newOpener(s *suite, version uint16, etm bool, key, iv, macKey []byte) *opener {
	o := &opener{mode: s.mode, version: version, tag: s.tag, etm: etm}
	copy(o.iv[:], iv)
	if s.mode == modeChaCha {
		aead, err := chacha20poly1305.New(key)
		if err != nil {
			return nil
		}
		o.aead = aead
		return o
	}
	newCipher := aes.NewCipher
	if s.des {
		newCipher = des.NewTripleDESCipher
	}
	block, err := newCipher(key)
	if err != nil {
		return nil
	}
	switch s.mode {
	case modeGCM:
		if o.aead, err = cipher.NewGCM(block); err != nil {
			return nil
		}
	case modeCCM:
		o.aead = &ccm{block: block, tag: s.tag}
	case modeCBC:
		o.block = block.BlockSize()
		copy(o.last[:], iv)
		mode, ok := cipher.NewCBCDecrypter(block, o.last[:o.block]).(cbcMode)
		if !ok {
			return nil
		}
		o.cbc, o.chained = mode, version < version11
		o.mac = hmac.New(s.mac, macKey)
	}
	return o
}

// open opens a record, header included, as number seq of its key. It returns
// the content, in dst if there is room, and its type; or false if the record
// is not authentic.
func (o *opener) open(dst []byte, seq uint64, record []byte) ([]byte, byte, bool) {
	if o.mode == modeCBC {
		return o.openCBC(dst, seq, record)
	}
	body, explicit := record[headerLen:], 0
	if o.version != version13 && o.mode != modeChaCha {
		explicit = 8
	}
	if len(body) < explicit+o.tag {
		return nil, 0, false
	}
	if explicit > 0 {
		copy(o.nonce[:4], o.iv[:4])
		copy(o.nonce[4:], body[:8])
	} else {
		binary.BigEndian.PutUint64(o.nonce[4:], seq)
		copy(o.nonce[:4], o.iv[:4])
		for i := 4; i < 12; i++ {
			o.nonce[i] ^= o.iv[i]
		}
	}
	body = body[explicit:]
	if o.version == version13 {
		b, err := o.aead.Open(dst[:0], o.nonce[:], body, record[:headerLen])
		if err != nil {
			return nil, 0, false
		}
		return unpad(b)
	}
	o.setHeader(seq, record, len(body)-o.tag)
	b, err := o.aead.Open(dst[:0], o.nonce[:], body, o.header[:])
	return b, record[0], err == nil
}

// unpad takes the type and the padding off the content of a TLS 1.3 record
// (RFC 8446 section 5.4).
func unpad(b []byte) ([]byte, byte, bool) {
	b = bytes.TrimRight(b, "\x00")
	if len(b) == 0 {
		return nil, 0, false
	}
	return b[:len(b)-1], b[len(b)-1], true
}

// setHeader makes what TLS 1.2 authenticates before n bytes of content.
func (o *opener) setHeader(seq uint64, record []byte, n int) {
	binary.BigEndian.PutUint64(o.header[:], seq)
	copy(o.header[8:11], record)
	binary.BigEndian.PutUint16(o.header[11:], uint16(n))
}

func (o *opener) openCBC(dst []byte, seq uint64, record []byte) ([]byte, byte, bool) {
	body, size := record[headerLen:], o.mac.Size()
	if o.etm {
		if len(body) < size {
			return nil, 0, false
		}
		sealed, sum := body[:len(body)-size], body[len(body)-size:]
		if !o.authentic(seq, record, sealed, sum) {
			return nil, 0, false
		}
		body = sealed
	}
	iv := o.last[:o.block]
	if !o.chained {
		if len(body) < o.block {
			return nil, 0, false
		}
		iv, body = body[:o.block], body[o.block:]
	}
	if len(body) == 0 || len(body)%o.block != 0 {
		return nil, 0, false
	}
	o.cbc.SetIV(iv)
	if cap(dst) < len(body) {
		dst = make([]byte, len(body))
	}
	b := dst[:len(body)]
	o.cbc.CryptBlocks(b, body)
	pad := int(b[len(b)-1]) + 1
	if o.etm {
		size = 0
	}
	n := len(b) - pad - size
	if n < 0 {
		return nil, 0, false
	}
	for _, c := range b[n+size:] { // RFC 5246 section 6.2.3.2
		if int(c) != pad-1 {
			return nil, 0, false
		}
	}
	if !o.etm && !o.authentic(seq, record, b[:n], b[n:n+size]) {
		return nil, 0, false
	}
	return b[:n], record[0], true
}

// authentic checks the MAC of a record in CBC mode.
func (o *opener) authentic(seq uint64, record, content, sum []byte) bool {
	o.setHeader(seq, record, len(content))
	o.mac.Reset()
	o.mac.Write(o.header[:])
	o.mac.Write(content)
	return hmac.Equal(o.mac.Sum(o.sum[:0]), sum)
}

// passed says that a record went by, opened or not: the next one in TLS 1.0
// begins with its last block.
func (o *opener) passed(record []byte) {
	if !o.chained {
		return
	}
	if o.etm {
		record = record[:max(0, len(record)-o.mac.Size())]
	}
	if len(record) >= headerLen+o.block {
		copy(o.last[:o.block], record[len(record)-o.block:])
	}
}

// note keeps what guess needs of a record that was opened.
func (o *opener) note(seq uint64, record []byte) {
	if n, ok := o.explicit(record); ok {
		o.noted, o.ahead = true, n-seq
	}
}

// guess is the number that the record has if the nonces it brings are counted,
// as most implementations do.
func (o *opener) guess(seq uint64, record []byte) (uint64, bool) {
	n, ok := o.explicit(record)
	return n - o.ahead, ok && o.noted && n-o.ahead > seq
}

// explicit is the part of the nonce that a record begins with.
func (o *opener) explicit(record []byte) (uint64, bool) {
	if o.version == version13 || o.mode != modeGCM && o.mode != modeCCM || len(record) < headerLen+8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(record[headerLen:]), true
}
