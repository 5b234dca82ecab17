package tls

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"hash"
)

// prf is the pseudorandom function of TLS 1.0 to 1.2 (RFC 5246 section 5,
// RFC 4346 section 5): n bytes.
func prf(version uint16, h func() hash.Hash, key []byte, label string, seed []byte, n int) []byte {
	seed = append([]byte(label), seed...)
	out := make([]byte, n)
	if version >= version12 {
		pHash(out, h, key, seed)
		return out
	}
	half := (len(key) + 1) / 2
	pHash(out, md5.New, key[:half], seed)
	other := make([]byte, n)
	pHash(other, sha1.New, key[len(key)-half:], seed)
	for i := range out {
		out[i] ^= other[i]
	}
	return out
}

func pHash(out []byte, h func() hash.Hash, key, seed []byte) {
	mac := hmac.New(h, key)
	mac.Write(seed)
	a := mac.Sum(nil)
	for len(out) > 0 {
		mac.Reset()
		mac.Write(a)
		mac.Write(seed)
		out = out[copy(out, mac.Sum(nil)):]
		mac.Reset()
		mac.Write(a)
		a = mac.Sum(nil)
	}
}

// masterSecret is the master secret of a premaster secret: from the randoms, or
// with the extended master secret of RFC 7627 from the handshake's messages.
func (s *hellos) masterSecret(pre []byte, transcript []byte) secret {
	master := secret{n: 48}
	what, seed := "master secret", append(s.client[:len(s.client):len(s.client)], s.server[:]...)
	if s.extended {
		what = "extended master secret"
		if seed = oldHash(transcript); s.version >= version12 {
			h := s.suite.prf()
			h.Write(transcript)
			seed = h.Sum(nil)
		}
	}
	copy(master.b[:], prf(s.version, s.suite.prf, pre, what, seed, 48))
	return master
}

// keyBlock makes the opener of one direction from a master secret (RFC 5246
// section 6.3).
func (s *hellos) keyBlock(master []byte, client bool) *opener {
	iv, mac := 0, 0
	switch s.suite.mode {
	case modeGCM, modeCCM:
		iv = 4
	case modeChaCha:
		iv = 12
	case modeCBC:
		mac = s.suite.mac().Size()
		if s.version < version11 {
			iv = 16
			if s.suite.des {
				iv = 8
			}
		}
	}
	seed := append(s.server[:len(s.server):len(s.server)], s.client[:]...)
	b := prf(s.version, s.suite.prf, master, "key expansion", seed, 2*(mac+s.suite.key+iv))
	// take gives the client's or the server's of two values that follow each other.
	take := func(n int) []byte {
		v := b[:2*n]
		b = b[2*n:]
		if client {
			return v[:n]
		}
		return v[n:]
	}
	macKey, key, fixed := take(mac), take(s.suite.key), take(iv)
	return newOpener(s.suite, s.version, s.encryptThenMAC, key, fixed, macKey)
}

// trafficKeys makes an opener from a traffic secret (RFC 8446 section 7.3).
func trafficKeys(s *suite, traffic []byte) *opener {
	key := expandLabel(s.prf, traffic, "key", s.key)
	iv := expandLabel(s.prf, traffic, "iv", 12)
	if key == nil || iv == nil {
		return nil
	}
	return newOpener(s, version13, false, key, iv, nil)
}

// nextTraffic is the traffic secret after a KeyUpdate (RFC 8446 section 7.2).
func nextTraffic(s *suite, traffic *secret) (next secret) {
	next.n = uint8(copy(next.b[:], expandLabel(s.prf, traffic.bytes(), "traffic upd", int(traffic.n))))
	return next
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1);
// nil if the standard library refuses the key.
func expandLabel(h func() hash.Hash, key []byte, label string, n int) []byte {
	info := append([]byte{byte(n >> 8), byte(n), byte(6 + len(label))}, "tls13 "...)
	info = append(info, label...)
	info = append(info, 0)
	out, err := hkdf.Expand(h, key, string(info), n)
	if err != nil {
		return nil
	}
	return out
}
