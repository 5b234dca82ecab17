package audio

// Samples of G.711 (ITU-T G.711), for every octet of a payload.
var mulaw, alaw [256]float32

func init() {
	for i := range 256 {
		u := ^byte(i)
		m := (int(u&0x0f)<<3+0x84)<<(u>>4&7) - 0x84
		mulaw[i] = float32(m)
		if u&0x80 != 0 {
			mulaw[i] = float32(-m)
		}
		a := byte(i) ^ 0x55
		n := int(a&0x0f)<<4 + 8
		if e := a >> 4 & 7; e > 0 {
			n = (n + 0x100) << (e - 1)
		}
		alaw[i] = float32(n)
		if a&0x80 == 0 {
			alaw[i] = float32(-n)
		}
	}
}

// companded decodes what has a sample in each octet.
type companded struct{ table *[256]float32 }

func (c companded) decode(payload []byte, out []float32) ([]float32, error) {
	for _, b := range payload {
		out = append(out, c.table[b])
	}
	return out, nil
}

// linear decodes L16 (RFC 3551 section 4.5.11): samples in network order,
// interleaved by channel, which are mixed into one.
type linear struct{ channels int }

func (l linear) decode(payload []byte, out []float32) ([]float32, error) {
	for ; len(payload) >= 2*l.channels; payload = payload[2*l.channels:] {
		sum := 0
		for i := range l.channels {
			sum += int(int16(uint16(payload[2*i])<<8 | uint16(payload[2*i+1])))
		}
		out = append(out, float32(sum)/float32(l.channels))
	}
	return out, nil
}
