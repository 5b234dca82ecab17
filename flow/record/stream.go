package record

import "net/netip"

// Stream is one RTP stream: the packets of one SSRC on one flow.
type Stream struct {
	CallID  string         `json:"call_id,omitempty"` // empty: no call claimed it
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	SSRC    uint32         `json:"ssrc"`
	From    Side           `json:"from"` // which side of the call sends it
	Codec   string         `json:"codec"`
	Payload uint8          `json:"payload"` // most used payload type that is not event or comfort noise
	Rate    uint32         `json:"rate"`    // RTP clock, Hz; 0: not known
	Ptime   uint16         `json:"ptime"`   // ms between packets, as observed (0: not known)

	First int64 `json:"first"` // first packet
	Last  int64 `json:"last"`  // last packet

	Counters
	Compat Compat `json:"compat"` // the reference's figures
	MOS    MOS    `json:"mos"`    // ITU-T G.107
	RTCP   RTCP   `json:"rtcp"`
	XR     XR     `json:"xr"` // of the last RTCP-XR block about the stream; Reports 0: none

	TTLMin uint8  `json:"ttl_min"`
	TTLMax uint8  `json:"ttl_max"`
	DSCP   uint8  `json:"dscp,omitempty"`
	VLAN   int32  `json:"vlan"` // -1: untagged
	SRTP   bool   `json:"srtp,omitempty"`
	Epoch  uint16 `json:"epoch"`           // of the offer that named its address (Media.Epoch)
	Flags  string `json:"flags,omitempty"` // comma-separated: early, nat, incomplete, mirror-loss, shared, split (metered in part in the kernel), unconfirmed
}

// Counters are the counters of the meter (docs/design/meter.md), as they stand
// at the end of a stream.
type Counters struct {
	Packets   uint64 `json:"packets"`          // all RTP packets: Received + Duplicate + Stray
	Received  uint64 `json:"received"`         // sequence numbers that arrived
	Bytes     uint64 `json:"bytes"`            // RTP payload bytes
	Expected  uint64 `json:"expected"`         // RFC 3550 A.3, over all resets: Received + Lost
	Lost      uint64 `json:"lost"`             // sequence numbers never seen
	Duplicate uint64 `json:"duplicate"`        // sequence numbers seen again
	Reordered uint64 `json:"reordered"`        // arrived after a later one
	Stray     uint64 `json:"stray,omitempty"`  // far out of sequence, and its successor did not confirm it
	Resets    uint32 `json:"resets,omitempty"` // sequence restarted
	Markers   uint32 `json:"markers,omitempty"`
	Events    uint32 `json:"events,omitempty"`  // telephone-event packets
	Comfort   uint32 `json:"comfort,omitempty"` // comfort noise packets

	LossRuns   [10]uint32 `json:"loss_runs"`    // runs of 1, 2, … 9, 10 or more lost in a row
	LossRunMax uint32     `json:"loss_run_max"` // longest run

	Jitter    float64   `json:"jitter_ms"`     // RFC 3550 A.8 at the end
	JitterAvg float64   `json:"jitter_avg_ms"` // mean over media packets
	JitterMax float64   `json:"jitter_max_ms"`
	Delay     [8]uint32 `json:"delay_hist"`   // |delay deviation| in ms: <50, 50-70, 70-90, 90-120, 120-150, 150-200, 200-300, 300 and more
	DeltaMax  float64   `json:"delta_max_ms"` // longest time between two packets
	DeltaMin  float64   `json:"delta_min_ms"` // shortest
	SkewPPM   float64   `json:"skew_ppm"`     // drift of the sender's clock against ours, positive when it is fast; 0: under 20 s

	LateF1    uint64 `json:"late_f1"` // lost or late for a fixed 50 ms buffer
	LateF2    uint64 `json:"late_f2"` // … fixed 200 ms
	LateAdapt uint64 `json:"late_ad"` // … adaptive, at most 500 ms
}

// Compat are the figures that the reference system would show
// (MOS with its curve; see docs/quality.md).
type Compat struct {
	MosF1       float64 `json:"mos_f1"`
	MosF1Min    float64 `json:"mos_f1_min"`
	MosF2       float64 `json:"mos_f2"`
	MosF2Min    float64 `json:"mos_f2_min"`
	MosAdapt    float64 `json:"mos_adapt"`
	MosAdaptMin float64 `json:"mos_adapt_min"`
	LossPerc    float64 `json:"loss_perc"` // lost / (received + lost) * 100; the reference's "received + 2" is our received
}

// MOS is the E-model's estimate with what it rests on.
type MOS struct {
	CQ         float64 `json:"cq"`  // conversational, with delay where RTCP gave it; 0: not computed
	LQ         float64 `json:"lq"`  // listening
	Min        float64 `json:"min"` // worst 10-second interval (LQ)
	R          float64 `json:"r"`
	Ppl        float64 `json:"ppl"` // packet loss used, per cent, network and late (200 ms buffer)
	BurstR     float64 `json:"burst_r"`
	Ie         float64 `json:"ie"`
	Bpl        float64 `json:"bpl"`
	Method     string  `json:"method"`     // G.107, G.107.1, G.107.2
	Confidence string  `json:"confidence"` // published, literature, estimated, none
	Delay      float64 `json:"delay_ms"`   // one-way delay used, 0: none known
	N          uint64  `json:"n"`          // packets it rests on
}

// RTCP is what RTCP receiver reports said of a stream.
type RTCP struct {
	Reports     uint32  `json:"reports"`
	Lost        int32   `json:"lost"`     // cumulative, last report
	FracAvg     float64 `json:"frac_avg"` // fraction lost, per cent
	FracMax     float64 `json:"frac_max"` // per cent
	JitterAvg   float64 `json:"jitter_avg_ms"`
	JitterMax   float64 `json:"jitter_max_ms"`
	RTT         float64 `json:"rtt_avg_ms"` // from LSR and DLSR; 0: none
	RTTMax      float64 `json:"rtt_max_ms"`
	SenderCount uint32  `json:"sender_packets,omitempty"` // of the last sender report
}
