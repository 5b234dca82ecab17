package quality

import "ringside/flow/rtp"

// Words for how far constants can be trusted.
const (
	Published  = "published"  // ITU-T G.113 has them for the codec as it is used
	Literature = "literature" // from papers
	Estimated  = "estimated"  // assumed, or published for a mode that is assumed
)

// Constants are what the E-model knows of a codec.
type Constants struct {
	Model      Model
	Ie         float64 // equipment impairment, on the scale of Model
	Bpl        float64 // packet-loss robustness
	Confidence string
	Source     string
}

// constants: a codec that is not here has no score. Modes of a codec differ; the
// source says which is assumed.
var constants = map[rtp.Codec]Constants{
	rtp.PCMU:    {Narrow, 0, 25.1, Published, "G.113: G.711 with PLC of Appendix I"},
	rtp.PCMA:    {Narrow, 0, 25.1, Published, "G.113: G.711 with PLC of Appendix I"},
	rtp.G729:    {Narrow, 11, 19, Published, "G.113: G.729A with VAD"},
	rtp.G723:    {Narrow, 15, 16.1, Published, "G.113: G.723.1 at 6.3 kbit/s with VAD"},
	rtp.GSMEFR:  {Narrow, 5, 10, Published, "G.113: GSM-EFR"},
	rtp.GSM:     {Narrow, 20, 10, Estimated, "G.113: Ie of GSM-FR; Bpl assumed as for GSM-EFR"},
	rtp.GSMHR:   {Narrow, 23, 10, Estimated, "G.113: Ie of GSM-HR; Bpl assumed as for GSM-EFR"},
	rtp.G726x40: {Narrow, 2, 10, Estimated, "G.113: Ie; Bpl assumed"},
	rtp.G726x32: {Narrow, 7, 10, Estimated, "G.113: Ie; Bpl assumed"},
	rtp.G726x24: {Narrow, 25, 10, Estimated, "G.113: Ie; Bpl assumed"},
	rtp.G726x16: {Narrow, 50, 10, Estimated, "G.113: Ie; Bpl assumed"},
	rtp.G728:    {Narrow, 7, 10, Estimated, "G.113: Ie at 16 kbit/s; Bpl assumed"},
	rtp.ILBC:    {Narrow, 11, 32, Literature, "15.2 kbit/s; not in G.113"},
	rtp.AMR:     {Narrow, 5, 10, Estimated, "12.2 kbit/s assumed, taken as GSM-EFR"},
	rtp.Speex:   {Narrow, 11, 10, Estimated, "assumed; not in G.113"},
	rtp.G722:    {Wide, 13, 4.3, Estimated, "G.113: Ie,WB at 64 kbit/s; Bpl assumed as for AMR-WB 12.65"},
	rtp.G7221:   {Wide, 13, 4.3, Estimated, "G.113: Ie,WB at 32 kbit/s, assumed; Bpl assumed"},
	rtp.AMRWB:   {Wide, 13, 4.3, Estimated, "G.113: AMR-WB at 12.65 kbit/s, assumed"},
	rtp.Opus:    {Wide, 5, 10, Estimated, "assumed: better than AMR-WB 12.65, with its own concealment; not in G.113"},
	rtp.EVS:     {FullBand, 7.2, 11.4, Estimated, "G.113: EVS SWB at 24.4 kbit/s, assumed"},
}

// ConstantsOf are the constants of codec; Model is None if there are none.
func ConstantsOf(codec rtp.Codec) Constants { return constants[codec] }
