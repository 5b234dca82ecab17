package rtp

// Codec is a codec by its encoding name (RFC 3551, RFC 4856 and the media
// types of RTP payload formats).
type Codec uint8

// Codecs. Unknown is a name that is not listed here.
const (
	Unknown Codec = iota
	PCMU
	PCMA
	G722
	G723
	G728
	G729
	G729D
	G729E
	G7291
	G726x16
	G726x24
	G726x32
	G726x40
	G7221
	GSM
	GSMEFR
	GSMHR
	AMR
	AMRWB
	AMRWBPlus
	EVS
	ILBC
	Opus
	Speex
	SILK
	ISAC
	L8
	L16
	DVI4
	LPC
	QCELP
	EVRC
	VDVI
	MPA
	AAC
	LATM
	BV16
	BV32
	CLEARMODE
	RED
	CN
	TelephoneEvent
	Tone
	H261
	H263
	H263x1998
	H264
	H265
	VP8
	VP9
	AV1
	JPEG
	MPV
	MP2T
	RTX
	ULPFEC
	FlexFEC
	T140
	UDPTL
	codecCount
)

// names are in the order of the constants.
var names = [codecCount]string{
	"", "PCMU", "PCMA", "G722", "G723", "G728", "G729", "G729D", "G729E", "G7291",
	"G726-16", "G726-24", "G726-32", "G726-40", "G7221", "GSM", "GSM-EFR", "GSM-HR-08",
	"AMR", "AMR-WB", "AMR-WB+", "EVS", "iLBC", "opus", "speex", "SILK", "iSAC", "L8", "L16",
	"DVI4", "LPC", "QCELP", "EVRC", "VDVI", "MPA", "MPEG4-GENERIC", "MP4A-LATM", "BV16", "BV32",
	"CLEARMODE", "red", "CN", "telephone-event", "tone",
	"H261", "H263", "H263-1998", "H264", "H265", "VP8", "VP9", "AV1", "JPEG", "MPV", "MP2T",
	"rtx", "ulpfec", "flexfec", "t140", "t38",
}

// aliases are other spellings that devices use.
var aliases = []struct {
	name  string
	codec Codec
}{
	{"G711U", PCMU},
	{"G711A", PCMA},
	{"G729A", G729},
	{"G729B", G729},
	{"G729AB", G729},
	{"G723.1", G723},
	{"G7231", G723},
	{"G729.1", G7291},
	{"G722.1", G7221},
	{"AAL2-G726-16", G726x16},
	{"AAL2-G726-24", G726x24},
	{"AAL2-G726-32", G726x32},
	{"AAL2-G726-40", G726x40},
	{"G721", G726x32},
	{"GSM-HR", GSMHR},
	{"SPEEX-NB", Speex},
	{"flexfec-03", FlexFEC},
	{"H263-2000", H263x1998},
}

// byHash finds a codec by a hash of its lower-case name: 256 chains of at most
// a few names, filled once at start.
var byHash [256][]entry

type entry struct {
	name  string // lower case
	codec Codec
}

func init() {
	add := func(name string, c Codec) {
		lower := []byte(name)
		for i, b := range lower {
			lower[i] = toLower(b)
		}
		h := nameHash(lower)
		byHash[h] = append(byHash[h], entry{string(lower), c})
	}
	for c := Unknown + 1; c < codecCount; c++ {
		add(names[c], c)
	}
	for _, a := range aliases {
		add(a.name, a.codec)
	}
}

func toLower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// nameHash is FNV-1a over the lower-case name, folded to 8 bits.
func nameHash(name []byte) uint8 {
	h := uint32(2166136261)
	for _, b := range name {
		h = (h ^ uint32(toLower(b))) * 16777619
	}
	return uint8(h>>24 ^ h>>16 ^ h>>8 ^ h)
}

// CodecByName is the codec with an encoding name as in an rtpmap attribute,
// in any case; Unknown if there is none.
func CodecByName(name []byte) Codec {
next:
	for _, e := range byHash[nameHash(name)] {
		if len(e.name) != len(name) {
			continue
		}
		for i := range name {
			if toLower(name[i]) != e.name[i] {
				continue next
			}
		}
		return e.codec
	}
	return Unknown
}

// String is the usual encoding name, empty for Unknown.
func (c Codec) String() string {
	if c < codecCount {
		return names[c]
	}
	return ""
}

// Video reports whether c is a video codec.
func (c Codec) Video() bool { return c >= H261 && c <= MP2T }

// Payload is what a payload type stands for on a stream.
type Payload struct {
	Type  uint8
	Codec Codec
	Rate  uint32 // RTP clock, Hz; 0: not known
}

// static is the table of RFC 3551 section 6.
var static = [35]struct {
	codec Codec
	rate  uint32
}{
	0:  {PCMU, 8000},
	3:  {GSM, 8000},
	4:  {G723, 8000},
	5:  {DVI4, 8000},
	6:  {DVI4, 16000},
	7:  {LPC, 8000},
	8:  {PCMA, 8000},
	9:  {G722, 8000}, // 16 kHz audio, but an 8 kHz clock by an old mistake
	10: {L16, 44100},
	11: {L16, 44100},
	12: {QCELP, 8000},
	13: {CN, 8000},
	14: {MPA, 90000},
	15: {G728, 8000},
	16: {DVI4, 11025},
	17: {DVI4, 22050},
	18: {G729, 8000},
	19: {CN, 8000},       // reserved; older devices send comfort noise with it
	25: {Unknown, 90000}, // CelB
	26: {JPEG, 90000},
	28: {Unknown, 90000}, // nv
	31: {H261, 90000},
	32: {MPV, 90000},
	33: {MP2T, 90000},
	34: {H263, 90000},
}

// StaticPayload is the codec and the clock rate in Hz of a static payload type
// (RFC 3551 section 6); Unknown and 0 for a dynamic or unassigned one.
func StaticPayload(pt uint8) (Codec, uint32) {
	if int(pt) >= len(static) {
		return Unknown, 0
	}
	return static[pt].codec, static[pt].rate
}
