package rtp

import "encoding/binary"

// Types of the blocks of an extended report that are read here (RFC 3611
// section 4).
const (
	XRReferenceTime = 4 // of a receiver that may send nothing itself
	XRLastReference = 5 // DLRR: the answer to it
	XRVoIP          = 7 // VoIP metrics
)

// XR is one block of an extended report (RFC 3611 section 3).
type XR struct {
	Type     uint8
	Specific uint8  // type-specific octet
	Body     []byte // what follows the 4-octet block header
}

// Reports is the run of report blocks of an XR packet, nil for other types.
func (c *Control) Reports() []byte {
	if c.Type != TypeXR {
		return nil
	}
	return c.Body[4:]
}

// WalkXR takes the first block off Reports into x and returns the rest. It
// reports false at the end and where the next block is not wholly there.
func WalkXR(b []byte, x *XR) (rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, false
	}
	n := 4 * (1 + int(binary.BigEndian.Uint16(b[2:])))
	if n > len(b) {
		return nil, false
	}
	x.Type, x.Specific, x.Body = b[0], b[1], b[4:n]
	return b[n:], true
}

// VoIPMetrics is an XR VoIP metrics block (RFC 3611 section 4.7) as it is on
// the wire. 127 says that a level, R factor or MOS is not available.
type VoIPMetrics struct {
	SSRC         uint32 // the stream that is reported on
	Loss         uint8  // 1/256
	Discard      uint8  // 1/256
	BurstDensity uint8  // 1/256, lost or discarded within bursts
	GapDensity   uint8  // 1/256
	Burst        uint16 // mean length, ms
	Gap          uint16 // ms
	RTT          uint16 // ms
	EndDelay     uint16 // end system delay, ms
	Signal       int8   // dBm
	Noise        int8   // dBm
	RERL         uint8  // residual echo return loss, dB
	Gmin         uint8  // packets between two bursts
	R            uint8  // R factor
	ExternalR    uint8  // of the segment behind a gateway
	MOSLQ        uint8  // MOS × 10
	MOSCQ        uint8  // MOS × 10
	Config       uint8  // receiver configuration: concealment, kind and rate of the jitter buffer
	Nominal      uint16 // jitter buffer delay, ms
	Maximum      uint16 // ms
	AbsMaximum   uint16 // ms
}

// VoIP reads a VoIP metrics block.
func (x *XR) VoIP() (m VoIPMetrics, ok bool) {
	if x.Type != XRVoIP || len(x.Body) < 32 {
		return m, false
	}
	b := x.Body
	return VoIPMetrics{
		SSRC:         binary.BigEndian.Uint32(b),
		Loss:         b[4],
		Discard:      b[5],
		BurstDensity: b[6],
		GapDensity:   b[7],
		Burst:        binary.BigEndian.Uint16(b[8:]),
		Gap:          binary.BigEndian.Uint16(b[10:]),
		RTT:          binary.BigEndian.Uint16(b[12:]),
		EndDelay:     binary.BigEndian.Uint16(b[14:]),
		Signal:       int8(b[16]),
		Noise:        int8(b[17]),
		RERL:         b[18],
		Gmin:         b[19],
		R:            b[20],
		ExternalR:    b[21],
		MOSLQ:        b[22],
		MOSCQ:        b[23],
		Config:       b[24],
		Nominal:      binary.BigEndian.Uint16(b[26:]),
		Maximum:      binary.BigEndian.Uint16(b[28:]),
		AbsMaximum:   binary.BigEndian.Uint16(b[30:]),
	}, true
}

// Quality is a VoIP metrics block in the units of a record, -1 where it is not
// available. Its fields are those of record.XR, so that it converts to it.
type Quality struct {
	Reports       uint32  // 1
	Loss, Discard float64 // per cent

	BurstLoss, GapLoss float64 // per cent
	Burst, Gap         float64 // ms
	RTT, EndDelay      float64 // ms

	Signal, Noise, RERL int16 // dB

	R, ExternalR, MOSLQ, MOSCQ float64

	JitterBuffer, JitterMax float64 // ms
}

// Quality converts the units.
func (m *VoIPMetrics) Quality() Quality {
	return Quality{
		Reports: 1,
		Loss:    percent(m.Loss), Discard: percent(m.Discard),
		BurstLoss: percent(m.BurstDensity), GapLoss: percent(m.GapDensity),
		Burst: float64(m.Burst), Gap: float64(m.Gap),
		RTT: float64(m.RTT), EndDelay: float64(m.EndDelay),
		Signal: known(int16(m.Signal)), Noise: known(int16(m.Noise)), RERL: known(int16(m.RERL)),
		R: float64(known(int16(m.R))), ExternalR: float64(known(int16(m.ExternalR))),
		MOSLQ: mosOf(m.MOSLQ), MOSCQ: mosOf(m.MOSCQ),
		JitterBuffer: float64(m.Nominal), JitterMax: float64(m.Maximum),
	}
}

func percent(n uint8) float64 { return float64(n) * 100 / 256 }

// known is n, or -1 where it says that it is not available.
func known(n int16) int16 {
	if n == 127 {
		return -1
	}
	return n
}

func mosOf(n uint8) float64 {
	if n == 127 {
		return -1
	}
	return float64(n) / 10
}

// ReferenceTime is the NTP time of a receiver reference time block (RFC 3611
// section 4.4), 32.32 fixed point since 1900. LastReference.LRR repeats its
// middle 32 bits, as LSR does those of a sender report.
func (x *XR) ReferenceTime() (ntp uint64, ok bool) {
	if x.Type != XRReferenceTime || len(x.Body) < 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(x.Body), true
}

// LastReference is a sub-block of a DLRR block (RFC 3611 section 4.5).
type LastReference struct {
	SSRC uint32 // the receiver whose reference time it answers
	LRR  uint32 // middle of the last reference time, 0: none came
	DLRR uint32 // delay since it came, 1/65536 s
}

// LastReference reads sub-block i; false beyond the last one.
func (x *XR) LastReference(i int) (r LastReference, ok bool) {
	if x.Type != XRLastReference || i < 0 || 12*i+12 > len(x.Body) {
		return r, false
	}
	b := x.Body[12*i:]
	return LastReference{
		SSRC: binary.BigEndian.Uint32(b),
		LRR:  binary.BigEndian.Uint32(b[4:]),
		DLRR: binary.BigEndian.Uint32(b[8:]),
	}, true
}
