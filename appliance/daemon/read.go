// Package daemon is the one place that knows every part of ringside: it builds
// them, wires them, runs them and closes them.
package daemon

import (
	"context"
	"sync/atomic"

	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// ReadOptions say what to read and who takes the records.
type ReadOptions struct {
	Paths   []string // files, directories, globs, or "-" for standard input
	Workers int      // at least 1
	Sensor  uint16   // id that goes into the records

	// Call and Orphan take the records, as flow.Options says: in an order that
	// depends on the packets alone, never two at a time.
	Call   func(*record.Call)
	Orphan func(*record.Stream)

	Message func(*sip.Message, *call.Meta) // see flow.Options; may be nil

	Limits     call.Limits
	MaxStreams int // 0: the default of flow.Options
}

// Read is the reading of capture files: source, decoders and shards, wired.
type Read struct {
	options  ReadOptions
	source   *pcapin.Reader
	decoders []decode.Decoder
	group    *flow.Group
	calls    atomic.Int64
	clock    atomic.Int64
}

// NewRead opens the input. Its errors name the file.
func NewRead(o ReadOptions) (*Read, error) {
	o.Workers = max(o.Workers, 1)
	source, err := pcapin.Open(pcapin.Options{Inputs: o.Paths})
	if err != nil {
		return nil, err
	}
	r := &Read{options: o, source: source, decoders: make([]decode.Decoder, o.Workers)}
	r.group = flow.NewGroup(flow.Options{
		Workers: o.Workers, Sensor: o.Sensor, Limits: o.Limits, MaxStreams: o.MaxStreams,
		Call: func(c *record.Call) {
			r.calls.Add(1)
			r.clock.Store(c.End)
			if o.Call != nil {
				o.Call(c)
			}
		},
		Orphan: o.Orphan, Message: o.Message,
	})
	return r, nil
}

// Run reads everything. It returns when the last record has been taken, or
// with an error when ctx is cancelled or the input cannot be read on.
func (r *Read) Run(ctx context.Context) error {
	defer r.source.Close()
	return r.group.Run(ctx, func(ctx context.Context, i int, s *flow.Shard) error {
		return s.Run(ctx, r.source, r.decoders[i].Batch)
	})
}

// Progress is how far a Read is.
type Progress struct {
	BytesRead, BytesTotal int64 // of the files as they are on disk; BytesTotal is 0 when not known
	Frames                int64
	Calls                 int64  // records built
	Active                int64  // calls that are not over
	Clock                 int64  // time of the capture, ns since the Unix epoch
	File                  string // being read
}

// Progress may be called by any goroutine, at any time.
func (r *Read) Progress() Progress {
	in, fl := r.source.Stats(), r.group.Stats()
	return Progress{
		BytesRead: in.Bytes, BytesTotal: in.TotalBytes, Frames: int64(in.Frames),
		Calls: r.calls.Load(), Active: int64(fl.Calls.Open), Clock: r.clock.Load(), File: in.File,
	}
}

// LedgerRow is one line of the ledger: how many packets met which fate where.
type LedgerRow struct {
	Stage  string `json:"stage"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// Report is what a finished Read says of itself. In the ledger, frames in =
// the sum of the decoder's reasons + packets; packets = the sum of the kinds;
// and RTP packets = the sum of what became of them.
type Report struct {
	Frames        uint64          `json:"frames"`
	Packets       uint64          `json:"packets"`
	RTP           uint64          `json:"rtp"`
	Ledger        []LedgerRow     `json:"ledger"`
	Balanced      bool            `json:"balanced"`
	NotUnderstood []LedgerRow     `json:"not_understood"`
	Notes         []LedgerRow     `json:"notes"` // beside the ledger: cut frames, fragments, …
	Damage        []pcapin.Damage `json:"damage"`
	Flow          flow.Stats      `json:"-"`
}

// Stages of the ledger.
const (
	StageDecode = "decode" // frames without a packet
	StageKind   = "packet" // what packets were
	StageRTP    = "rtp"    // what became of RTP packets
)

// Report is to be called after Run.
func (r *Read) Report() Report {
	var dec decode.Stats
	for i := range r.decoders {
		d := r.decoders[i].Stats()
		dec.Add(&d)
	}
	in, fl := r.source.Stats(), r.group.Stats()
	rep := Report{Frames: uint64(in.Frames), Packets: dec.Packets, RTP: fl.RTP, Damage: in.Damages, Flow: fl}
	left, kinds := uint64(0), uint64(0)
	for i, n := range dec.Reasons {
		if n > 0 {
			left += n
			rep.Ledger = append(rep.Ledger, LedgerRow{StageDecode, decode.Reason(i).String(), n})
		}
	}
	for _, k := range fl.Kinds() {
		kinds += k.Count
		if k.Count > 0 {
			rep.Ledger = append(rep.Ledger, LedgerRow{StageKind, k.Name, k.Count})
		}
	}
	fates := fl.Fates()
	rtp := uint64(0)
	for _, k := range fates {
		rtp += k.Count
		if k.Count > 0 {
			rep.Ledger = append(rep.Ledger, LedgerRow{StageRTP, k.Name, k.Count})
		}
	}
	rep.Balanced = rep.Frames == dec.Frames && dec.Frames == left+dec.Packets &&
		dec.Packets == kinds && fl.RTP == rtp
	rep.NotUnderstood = notUnderstood(&dec, &fl)
	for i, n := range dec.Notes {
		if n > 0 {
			rep.Notes = append(rep.Notes, LedgerRow{StageDecode, decode.Note(i).String(), n})
		}
	}
	return rep
}

// notUnderstood lists what a reader of the summary may want to look into.
func notUnderstood(dec *decode.Stats, fl *flow.Stats) []LedgerRow {
	var out []LedgerRow
	table := func(what string, t *decode.Table, name func(uint16) string) {
		for _, row := range t.Rows {
			if row.Count > 0 {
				out = append(out, LedgerRow{what, name(row.Number), row.Count})
			}
		}
		if t.More > 0 {
			out = append(out, LedgerRow{what, "others", t.More})
		}
	}
	table("link type", &dec.LinkTypes, func(n uint16) string { return decode.LinkTypeName(frame.LinkType(n)) })
	table("ethertype", &dec.EtherTypes, decode.EtherTypeName)
	table("ip protocol", &dec.Protocols, decode.ProtocolName)
	for _, k := range fl.SIPProblems() {
		out = append(out, LedgerRow{"sip", k.Name, k.Count})
	}
	for _, k := range []flow.Kind{{Name: "malformed or encrypted", Count: fl.BadRTCP}} {
		if k.Count > 0 {
			out = append(out, LedgerRow{"rtcp", k.Name, k.Count})
		}
	}
	return out
}
