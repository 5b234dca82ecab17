package audio

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/srtp/v3"

	"ringside/flow/record"
)

// suite is a way to protect RTP that SDES names (RFC 4568 section 6.2, RFC 6188,
// RFC 7714).
type suite struct {
	profile   srtp.ProtectionProfile
	key, salt int // bytes
	tag       int // bytes that a packet grows by, an MKI apart
}

var suites = map[string]suite{
	"AES_CM_128_HMAC_SHA1_80": {srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14, 10},
	"AES_CM_128_HMAC_SHA1_32": {srtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14, 4},
	"AES_256_CM_HMAC_SHA1_80": {srtp.ProtectionProfileAes256CmHmacSha1_80, 32, 14, 10},
	"AES_256_CM_HMAC_SHA1_32": {srtp.ProtectionProfileAes256CmHmacSha1_32, 32, 14, 4},
	"AES_CM_256_HMAC_SHA1_80": {srtp.ProtectionProfileAes256CmHmacSha1_80, 32, 14, 10}, // an older name of the same
	"AES_CM_256_HMAC_SHA1_32": {srtp.ProtectionProfileAes256CmHmacSha1_32, 32, 14, 4},
	"AEAD_AES_128_GCM":        {srtp.ProtectionProfileAeadAes128Gcm, 16, 12, 16},
	"AEAD_AES_256_GCM":        {srtp.ProtectionProfileAeadAes256Gcm, 32, 12, 16},
}

// masterKey is a key of an a=crypto line.
type masterKey struct {
	suite
	side      record.Side // who encrypts with it; unknown where only a session description named it
	key, salt []byte
	mki       []byte
}

// maxKeys is how many keys a call may have: a stream is tried with each.
const maxKeys = 64

// parseKeys reads the key parameters of a suite (RFC 4568 section 6.1):
// inline:KEY|LIFETIME|MKI:LENGTH, several with semicolons between them.
func parseKeys(name, params string) (out []masterKey, err error) {
	s, ok := suites[strings.ToUpper(name)]
	if !ok {
		return nil, fmt.Errorf("cipher suite %q is not known", name)
	}
	for one := range strings.SplitSeq(params, ";") {
		inline, ok := strings.CutPrefix(strings.TrimSpace(one), "inline:")
		if !ok {
			return nil, errors.New("key is not inline")
		}
		parts := strings.Split(inline, "|")
		// Some leave out the padding of base64.
		b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[0], "="))
		if err != nil || len(b) != s.key+s.salt {
			return nil, fmt.Errorf("key is not %d octets in base64", s.key+s.salt)
		}
		k := masterKey{suite: s, key: b[:s.key], salt: b[s.key:]}
		for _, p := range parts[1:] {
			value, length, ok := strings.Cut(p, ":")
			if !ok {
				continue // a lifetime
			}
			n, e1 := strconv.Atoi(length)
			v, e2 := strconv.ParseUint(value, 10, 64)
			if e1 != nil || e2 != nil || n < 1 || n > 128 {
				return nil, errors.New("master key identifier cannot be read")
			}
			k.mki = make([]byte, n)
			for i := n - 1; i >= 0 && v > 0; i-- {
				k.mki[i] = byte(v)
				v >>= 8
			}
		}
		out = append(out, k)
	}
	return out, nil
}

// opener decrypts the packets of one SSRC. Which key they were encrypted with is
// found by trying: each packet says by its tag whether the key was right. So
// neither the order of offers nor who answered what need be known.
type opener struct {
	keys  []masterKey
	tried []*srtp.Context // one for each key, made when it is tried
	good  int             // key that fitted last, -1: none so far
	roc   int64           // rollover counter when the sequence here has not wrapped yet
	fails int             // packets that no key opened
	out   []byte
}

// tries is how many packets are tried with every key before a stream counts as
// one without: decryption that fails costs as much as one that succeeds.
const tries = 50

func newOpener(keys []masterKey, side record.Side) *opener {
	o := &opener{good: -1}
	for _, own := range []bool{true, false} { // the sender's first
		for _, k := range keys {
			if own == (k.side == side) {
				o.keys = append(o.keys, k)
			}
		}
	}
	o.tried = make([]*srtp.Context, len(o.keys))
	return o
}

// open decrypts a packet, whose extended sequence number counts from that of the
// first packet of the stream: its sequence may have wrapped up to three times
// before, of some 20 minutes each. The result is valid until the next call.
func (o *opener) open(packet []byte, ssrc uint32, ext int64) ([]byte, bool) {
	if o.good >= 0 {
		if b, ok := o.with(o.good, packet, ssrc, ext, o.roc); ok {
			return b, true
		}
	}
	if o.fails++; o.fails > tries && (o.good < 0 || o.fails%tries != 0) {
		return nil, false
	}
	rocs := []int64{0, 1, 2, 3}
	if o.good >= 0 { // with a new key some go on counting, some begin anew
		rocs = []int64{o.roc, -(ext >> 16)}
	}
	for _, roc := range rocs {
		for i := range o.keys {
			if b, ok := o.with(i, packet, ssrc, ext, roc); ok {
				o.good, o.roc, o.fails = i, roc, 0
				return b, true
			}
		}
	}
	return nil, false
}

// with tries one key.
func (o *opener) with(i int, packet []byte, ssrc uint32, ext, roc int64) ([]byte, bool) {
	k := &o.keys[i]
	if o.tried[i] == nil {
		var options []srtp.ContextOption
		if len(k.mki) > 0 {
			options = append(options, srtp.MasterKeyIndicator(k.mki))
		}
		c, err := srtp.CreateContext(k.key, k.salt, k.profile, options...)
		if err != nil {
			return nil, false
		}
		o.tried[i] = c
	}
	index := roc<<16 + ext
	if index < 0 {
		return nil, false
	}
	// The sequence is extended here, over everything that was captured: the
	// library need not guess.
	o.tried[i].SetROC(ssrc, uint32(index>>16))
	b, err := o.tried[i].DecryptRTP(o.out, packet, nil)
	if err != nil {
		return nil, false
	}
	o.out = b
	return b, true
}
