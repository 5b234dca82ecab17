package frame

import (
	"encoding/binary"
	"net/netip"
)

const mappedPrefix = 0xffff << 32 // low word of ::ffff:0:0

// AddrFrom4 is the IPv4 address in the first 4 bytes of b.
func AddrFrom4(b []byte) Addr {
	return Addr{0, mappedPrefix | uint64(binary.BigEndian.Uint32(b))}
}

// AddrFrom16 is the IPv6 address in the first 16 bytes of b.
func AddrFrom16(b []byte) Addr {
	_ = b[15]
	return Addr{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// AddrFrom is a; IPv4 becomes IPv4-mapped, a zone is dropped.
func AddrFrom(a netip.Addr) Addr {
	b := a.As16()
	return AddrFrom16(b[:])
}

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool { return a.Hi == 0 && a.Lo>>32 == 0xffff }

// IsZero reports whether a is the zero Addr or an unspecified address (:: or 0.0.0.0).
func (a Addr) IsZero() bool { return a.Hi == 0 && (a.Lo == 0 || a.Lo == mappedPrefix) }

// Netip is a, with IPv4 addresses as IPv4.
func (a Addr) Netip() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return netip.AddrFrom16(b).Unmap()
}

// String is the address in its usual text form.
func (a Addr) String() string { return a.Netip().String() }

// Netip is e as a netip.AddrPort, with IPv4 addresses as IPv4.
func (e Endpoint) Netip() netip.AddrPort { return netip.AddrPortFrom(e.Addr.Netip(), e.Port) }

// String is the endpoint in its usual text form.
func (e Endpoint) String() string { return e.Netip().String() }

// Mixing constants: the fractional digits of the golden ratio and of the
// square root of 3, made odd.
const (
	mixA = 0x9e3779b97f4a7c15
	mixB = 0xbb67ae8584caa73b
)

// Hash mixes the endpoint into 64 well-spread bits.
func (e Endpoint) Hash() uint64 {
	h := (e.Addr.Hi^uint64(e.Port))*mixA ^ (e.Addr.Lo+uint64(e.Port)<<17)*mixB
	h ^= h >> 32
	h *= mixA
	return h ^ h>>29
}

// FlowHash is the same for both directions of a flow. Its upper bits are good.
func FlowHash(a, b Endpoint) uint64 {
	h := (a.Addr.Lo+b.Addr.Lo)*mixA ^ (a.Addr.Hi + b.Addr.Hi)
	h ^= uint64(a.Port+b.Port)<<16 ^ uint64(a.Port^b.Port)
	h ^= h >> 32
	return h * mixB
}
