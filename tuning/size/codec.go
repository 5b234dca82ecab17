package size

import (
	"fmt"
	"strings"
	"time"
)

// codec says how much audio a packet carries.
type codec struct {
	name   string
	names  []string      // others that it is known by, lower case
	bytes  float64       // payload of a second
	packet time.Duration // that most devices send
	step   time.Duration // packets are of a multiple of it
	hardly bool          // its payload does not shrink: it is compressed already
}

// codecs by their static rates (RFC 3551; RFC 7587 for Opus, RFC 4867 for AMR,
// octet-aligned, with its header).
var codecs = []codec{
	{"G.711", []string{"g711", "pcma", "pcmu", "alaw", "ulaw"}, 8000, 20 * time.Millisecond, time.Millisecond, false}, // 64 kbit/s
	{"G.722", []string{"g722"}, 8000, 20 * time.Millisecond, time.Millisecond, true},                                  // 64 kbit/s
	{"G.729", []string{"g729", "g729a"}, 1000, 20 * time.Millisecond, 10 * time.Millisecond, true},                    // 8 kbit/s
	{"G.723.1", []string{"g723", "g7231"}, 800, 30 * time.Millisecond, 30 * time.Millisecond, true},                   // 6.3 kbit/s
	{"GSM", []string{"gsm"}, 1650, 20 * time.Millisecond, 20 * time.Millisecond, true},                                // 13 kbit/s
	{"iLBC", []string{"ilbc"}, 50 / 0.030, 30 * time.Millisecond, 30 * time.Millisecond, true},                        // 13.3 kbit/s
	{"AMR", []string{"amr", "amr-nb"}, 1650, 20 * time.Millisecond, 20 * time.Millisecond, true},                      // 12.2 kbit/s
	{"AMR-WB", []string{"amrwb", "amr-wb"}, 3150, 20 * time.Millisecond, 20 * time.Millisecond, true},                 // 23.85 kbit/s
	{"Opus", []string{"opus"}, 4000, 20 * time.Millisecond, 10 * time.Millisecond, true},                              // 32 kbit/s, variable
}

// CodecNames are the codecs that a load may have.
func CodecNames() []string {
	var out []string
	for _, c := range codecs {
		out = append(out, c.name)
	}
	return out
}

func parseCodec(s string) (codec, error) {
	plain := strings.ToLower(strings.ReplaceAll(s, ".", ""))
	for _, c := range codecs {
		if strings.EqualFold(c.name, s) {
			return c, nil
		}
		for _, n := range c.names {
			if n == plain {
				return c, nil
			}
		}
	}
	return codec{}, fmt.Errorf("codec %q is not known: write one of %s", s, strings.Join(CodecNames(), ", "))
}
