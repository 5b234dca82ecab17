package xdp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"ringside/bpf"
	"ringside/dataplane/frame"
)

// Settings are the rules of a filter. They are applied in the order of the
// fields, after the tunnel, if there is one, was opened: addresses and ports are
// those of the innermost header that the filter has read.
type Settings struct {
	Own   []Tuple        // the appliance's own traffic: dropped, or it would capture itself
	Deny  []netip.Prefix // source or destination: dropped
	Allow []netip.Prefix // if there is any: source or destination must match one, or it is dropped
	SIP   Ports          // passed, but for Limits
	RTP   RTP            // metered, or passed
	Limit Limits

	PassOther bool // pass what no rule names; else it is dropped

	VXLAN []uint16 // UDP ports of VXLAN; none: 4789 and 8472

	// CPUs share what is passed: each flow goes to one of them, and its fragments
	// together. None: what is passed stays on the CPU that received it.
	CPUs []int
}

// Tuple is traffic between two ends, in either direction. Zero addresses, ports
// and protocol match any.
type Tuple struct {
	Proto uint8 // as in frame.Packet
	A, B  netip.AddrPort
}

// Ports are source or destination ports of SIP, by what carries it.
type Ports struct {
	UDP, TCP, SCTP, TLS, WS []uint16
}

// RTPRule says which UDP with an RTP header counts as RTP.
type RTPRule uint8

// Rules for RTP, in the order of enum rs_rtp_rule. Ports below 1024 never carry it.
const (
	NoRTP             RTPRule = iota
	InRange                   // the source or destination port is in a range
	Learned                   // the source or destination was published
	InRangeOrLearned          // either
	InRangeAndLearned         // both
)

// PortRange is ports from first to last.
type PortRange struct{ First, Last uint16 }

// RTP says which datagrams are media. RTCP and STUN on the same ports pass, and so does
// anything else to or from an endpoint that was published.
type RTP struct {
	Rule   RTPRule
	Ranges []PortRange
}

// Limits are limits of SIP requests over UDP that belong to no call. INVITE, ACK,
// BYE, CANCEL, PRACK, UPDATE and every response always pass.
type Limits struct {
	Register, Options, Other Limit
}

// Limit is a token bucket for each source address, and one for all of them
// together: a flood comes from many. Zero is no limit.
type Limit struct {
	PerSecond, Burst           uint32 // of a source; no burst: that of one second
	TotalPerSecond, TotalBurst uint32 // of all sources
	Sample                     uint32 // of what is beyond, 1 in so many passes; 0: none
}

// DefaultSettings take SIP on its registered ports and RTP on all ports that may carry it.
func DefaultSettings() Settings {
	return Settings{
		SIP: Ports{UDP: []uint16{5060}, TCP: []uint16{5060}, SCTP: []uint16{5060}, TLS: []uint16{5061}},
		RTP: RTP{Rule: InRangeOrLearned, Ranges: []PortRange{{firstMediaPort, 65535}}},
	}
}

// firstMediaPort is the lowest port of RTP; below are the well-known services.
const firstMediaPort = 1024

// Flags of ports, rs_settings.ports in bpf/include/settings.h.
const (
	portUDP uint8 = 1 << iota
	portTCP
	portSCTP
	portRTP
	portOpen
	portOther
	portEither
	portOwn
)

// Flags of settings.
const (
	passOther uint32 = 1 << iota
	metering
	deny
	allow
	sharedHits
	ownAnyPort
)

// What of its ports a plain datagram is judged by first, rs_settings.brief.
const (
	briefOther uint8 = 1 << iota
	briefRTP
)

// UDP ports of tunnels, as in dataplane/decode.
var (
	openPorts   = []uint16{2152, 4790, 6081}                    // GTP-U, VXLAN-GPE, Geneve: the filter opens them
	otherPorts  = []uint16{1701, 4500, 4754, 6635, 7932, 37008} // L2TP, ESP, GRE, MPLS, HP-ERM, TZSP: user space can
	eitherPorts = []uint16{1701, 2152, 4500}                    // the source port alone tells
	vxlanPorts  = []uint16{4789, 8472}
)

// check says what is wrong with settings.
func (s *Settings) check() error {
	for _, list := range [][]netip.Prefix{s.Deny, s.Allow} {
		for _, p := range list {
			if !p.IsValid() || p.Addr().Is4In6() && p.Bits() < 96 {
				return fmt.Errorf("read prefix %v: give an address and the length of its network, as in 192.0.2.0/24", p)
			}
		}
	}
	for _, r := range s.RTP.Ranges {
		if r.First > r.Last {
			return fmt.Errorf("read RTP ports %d-%d: the first is above the last", r.First, r.Last)
		}
	}
	if s.RTP.Rule > InRangeAndLearned {
		return fmt.Errorf("no rule %d for RTP", s.RTP.Rule)
	}
	if s.RTP.Rule == InRange && len(s.RTP.Ranges) == 0 {
		return errors.New("read the rule for RTP: it asks for port ranges, and there are none")
	}
	if len(s.Own) > maxOwn {
		return fmt.Errorf("exclude own traffic by %d rules: at most %d", len(s.Own), maxOwn)
	}
	var masks []uint8
	for i := range s.Own {
		mask := s.Own[i].mask()
		if mask == 0 {
			return errors.New("exclude own traffic: a rule that matches everything")
		}
		if !slices.Contains(masks, mask) {
			masks = append(masks, mask)
		}
	}
	if most := len(bpf.PrefilterRsSettings{}.Masks); len(masks) > most {
		return fmt.Errorf("exclude own traffic: rules leave out %d different sets of fields, at most %d", len(masks), most)
	}
	if most := len(bpf.PrefilterRsSettings{}.Cpus); len(s.CPUs) > most {
		return fmt.Errorf("steer to %d CPUs: at most %d", len(s.CPUs), most)
	}
	return nil
}

// compile is struct rs_settings of settings.
func (s *Settings) compile() *bpf.PrefilterRsSettings {
	out := &bpf.PrefilterRsSettings{Rtp: uint32(s.RTP.Rule), N_cpus: uint32(len(s.CPUs))}
	for i, cpu := range s.CPUs {
		out.Cpus[i] = uint32(cpu)
	}
	for flag, on := range map[uint32]bool{passOther: s.PassOther, deny: len(s.Deny) > 0, allow: len(s.Allow) > 0} {
		if on {
			out.Flags |= flag
		}
	}
	mark := func(flag uint8, lists ...[]uint16) {
		for _, ports := range lists {
			for _, port := range ports {
				out.Ports[port] |= flag
			}
		}
	}
	mark(portUDP, s.SIP.UDP)
	mark(portTCP, s.SIP.TCP, s.SIP.TLS, s.SIP.WS)
	mark(portSCTP, s.SIP.SCTP)
	for _, r := range s.RTP.Ranges {
		for port := int(r.First); port <= int(r.Last); port++ {
			out.Ports[port] |= portRTP
		}
	}
	vxlan := s.VXLAN
	if len(vxlan) == 0 {
		vxlan = vxlanPorts
	}
	mark(portOpen, openPorts, vxlan)
	mark(portOther, otherPorts)
	mark(portEither, eitherPorts)
	for i, l := range []Limit{s.Limit.Register, s.Limit.Options, s.Limit.Other} {
		to := &out.Limits[i]
		to.Interval, to.Burst = bucket(l.PerSecond, l.Burst)
		to.TotalInterval, to.TotalBurst = bucket(l.TotalPerSecond, l.TotalBurst)
		to.Sample = uint64(l.Sample)
	}
	for i := range s.Own {
		if mask := s.Own[i].mask(); !slices.Contains(out.Masks[:out.N_masks], mask) {
			out.Masks[out.N_masks] = mask
			out.N_masks++
		}
		if a, b := s.Own[i].A.Port(), s.Own[i].B.Port(); a != 0 || b != 0 {
			out.Ports[cmp.Or(a, b)] |= portOwn
		} else {
			out.Flags |= ownAnyPort
		}
	}
	summarize(s, out)
	return out
}

// summarize fills what plain datagrams are judged by first (bpf/include/quick.h).
func summarize(s *Settings, out *bpf.PrefilterRsSettings) {
	for port, flags := range out.Ports {
		brief := uint8(0)
		if flags&(portUDP|portOpen|portOther|portEither|portOwn) != 0 {
			brief |= briefOther
		}
		if flags&portRTP != 0 {
			brief |= briefRTP
		}
		out.Brief[port/4] |= brief << (port % 4 * 2)
	}
	for list, prefixes := range [][]netip.Prefix{listDeny: s.Deny, listAllow: s.Allow} {
		for _, p := range prefixes {
			if p = canonical(p); !p.Addr().Is4() {
				continue
			}
			a := p.Addr().As4()
			first := binary.BigEndian.Uint16(a[:])
			for n := range 1 << max(0, 16-p.Bits()) {
				half := bits.ReverseBytes16(first + uint16(n)) // as the program reads it
				out.Halves[list][half/8] |= 1 << (half % 8)
			}
		}
	}
}

// bucket is a token bucket as times: what one token takes, and how far a source
// may be ahead, in ns.
func bucket(perSecond, burst uint32) (interval, ahead uint64) {
	if perSecond == 0 {
		return 0, 0
	}
	if burst == 0 {
		burst = perSecond
	}
	interval = uint64(1e9) / uint64(perSecond)
	return interval, uint64(burst-1) * interval
}

// Fields of a tuple that are compared, RS_OWN_… in bpf/include/settings.h.
const (
	ownProto uint8 = 1 << iota
	ownA
	ownB
	ownAPort
	ownBPort
)

// mask is which fields a tuple compares.
func (t *Tuple) mask() (m uint8) {
	if t.Proto != 0 {
		m |= ownProto
	}
	if t.A.Addr().IsValid() && !t.A.Addr().IsUnspecified() {
		m |= ownA
	}
	if t.B.Addr().IsValid() && !t.B.Addr().IsUnspecified() {
		m |= ownB
	}
	if t.A.Port() != 0 {
		m |= ownAPort
	}
	if t.B.Port() != 0 {
		m |= ownBPort
	}
	return m
}

// key is struct rs_tuple.
func (t *Tuple) key(active uint32) []byte {
	k := make([]byte, 0, 40)
	mask := t.mask()
	for _, end := range []struct {
		at  netip.AddrPort
		has uint8
	}{{t.A, ownA}, {t.B, ownB}} {
		var a frame.Addr
		if mask&end.has != 0 {
			a = frame.AddrFrom(end.at.Addr())
		}
		k = appendAddr(k, a)
	}
	k = appendPort(appendPort(k, t.A.Port()), t.B.Port())
	return append(k, t.Proto, mask, uint8(active), 0)
}
