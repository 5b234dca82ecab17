package record

// Stored is what was stored of the packets of a call in one class.
type Stored struct {
	Level   StoredLevel `json:"level"`
	Packets uint32      `json:"packets,omitempty"` // given to the spool
	Missed  uint32      `json:"missed,omitempty"`  // wanted, but not stored: memory was short
}

// StoredLevel is the most that a rule wanted of a class.
type StoredLevel uint8

// Levels.
const (
	NotKnown   StoredLevel = iota // there was no spool
	NotWanted                     // by no rule
	HeaderOnly                    // up to the end of the RTP header
	Whole
)

var storedNames = []string{"", "none", "header", "full"}

func (l StoredLevel) String() string { return nameOf(storedNames, int(l)) }

// MarshalText is String.
func (l StoredLevel) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (l *StoredLevel) UnmarshalText(b []byte) error { return parseName(storedNames, "level", b, l) }

// State is what a person wants to know: "none", "header" and "full" of what was
// wanted and stored, "shed" of what was wanted and of which nothing could be
// stored, "part" where some is missing; empty where there was no spool.
func (s Stored) State() string {
	switch {
	case s.Level <= NotWanted || s.Missed == 0:
		return s.Level.String()
	case s.Packets == 0:
		return "shed"
	}
	return "part"
}
