// Package daemon is the one place that knows every part of ringside: it builds
// them, wires them, runs them and closes them.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/dataplane/replay"
	"ringside/flow"
	"ringside/flow/call"
	"ringside/flow/event"
	"ringside/flow/record"
	"ringside/flow/register"
	"ringside/flow/relate"
	"ringside/flow/sip"
	"ringside/flow/stream"
	"ringside/flow/tls"
)

// ReadOptions say what to read and who takes the records.
type ReadOptions struct {
	Paths   []string // files, directories, globs, or "-" for standard input
	Workers int      // at least 1
	Sensor  uint16   // id that goes into the records

	// These take the records, as flow.Options says: in an order that depends on
	// the packets alone, never two at a time. Those that are nil are not called.
	Call         func(*record.Call)
	Orphan       func(*record.Stream)
	Registration func(*record.Registration)
	Exchange     func(*record.Exchange)
	Event        func(*record.Event)
	Link         func(*record.Link)
	Quality      func(*record.QualityReport)

	Message func(*sip.Message, *call.Meta) // see flow.Options; may be nil

	Limits     call.Limits
	MaxStreams int // 0: the default of flow.Options
	Register   register.Limits
	Events     event.Limits
	Links      relate.Options

	VXLANPorts []uint16 // UDP ports of VXLAN; nil: 4789

	TCPIdle    time.Duration // a connection silent for so long is forgotten; 0: 1 h
	TCPReorder time.Duration // a hole in a stream is waited for for so long; 0: 1 min
	KeyLogs    []string      // files with TLS secrets, as SSLKEYLOGFILE writes them
	RSAKeys    []string      // files with private keys of servers, PEM

	Dedup       string // "auto", "on" or "off"; "": auto
	DedupWindow time.Duration

	NATAlias  []string // "A=B": media of an address A in SDP is seen at B
	BothSides bool     // a stream belongs to a call only if its SDP names both ends

	// Spool, if not nil, is where packets are stored.
	Spool *SpoolOptions

	// Replay, if not nil, hands the frames out at a pace, or in a loop.
	Replay *replay.Options
}

// Read is the reading of capture files: source, decoders and shards, wired.
type Read struct {
	options  ReadOptions
	source   source
	decoders []*decode.Decoder
	group    *flow.Group
	record   *recording // nil: nothing is stored
	calls    atomic.Int64
	clock    atomic.Int64
}

// NewRead opens the input. Its errors name the file.
func NewRead(o ReadOptions) (*Read, error) {
	o.Workers = max(o.Workers, 1)
	options, err := o.flow()
	if err != nil {
		return nil, err
	}
	r := &Read{options: o}
	taken := o.Call
	options.Call = func(c *record.Call) {
		r.calls.Add(1)
		r.clock.Store(c.End)
		if taken != nil {
			taken(c)
		}
	}
	if err := r.source.open(o); err != nil {
		return nil, err
	}
	if o.Spool != nil {
		if r.record, err = openRecording(*o.Spool, &options); err != nil {
			r.source.Close()
			return nil, err
		}
	}
	for range o.Workers {
		r.decoders = append(r.decoders, decode.New(decode.Options{VXLANPorts: o.VXLANPorts}))
	}
	r.group = flow.NewGroup(options)
	return r, nil
}

// flow are the options of the shards.
func (o *ReadOptions) flow() (flow.Options, error) {
	out := flow.Options{
		Workers: o.Workers, Sensor: o.Sensor, Limits: o.Limits, MaxStreams: o.MaxStreams,
		Register: o.Register, Events: o.Events, Links: o.Links,
		Orphan: o.Orphan, Registration: o.Registration, Exchange: o.Exchange, Event: o.Event,
		Link: o.Link, Quality: o.Quality, Message: o.Message,
		DedupWindow: o.DedupWindow, BothSides: o.BothSides,
		Sessions: stream.Options{IdleTimeout: o.TCPIdle, ReorderTimeout: o.TCPReorder},
	}
	var err error
	if out.Dedup, err = parseDedup(o.Dedup); err != nil {
		return out, err
	}
	if out.NATAlias, err = parseAliases(o.NATAlias); err != nil {
		return out, err
	}
	out.Sessions.Keys, err = readKeys(o.KeyLogs, o.RSAKeys)
	return out, err
}

func parseDedup(s string) (flow.Dedup, error) {
	switch s {
	case "", "auto":
		return flow.DedupAuto, nil
	case "on":
		return flow.DedupOn, nil
	case "off":
		return flow.DedupOff, nil
	}
	return 0, fmt.Errorf("remove duplicates %q: write auto, on or off", s)
}

// parseAliases reads "A=B" pairs of addresses.
func parseAliases(pairs []string) (map[frame.Addr]frame.Addr, error) {
	out := make(map[frame.Addr]frame.Addr)
	for _, pair := range pairs {
		from, to, ok := strings.Cut(pair, "=")
		a, errA := netip.ParseAddr(strings.TrimSpace(from))
		b, errB := netip.ParseAddr(strings.TrimSpace(to))
		if !ok || errA != nil || errB != nil {
			return nil, fmt.Errorf("NAT alias %q: write two addresses, as in 10.0.0.5=203.0.113.7", pair)
		}
		if old, ok := out[frame.AddrFrom(a)]; ok && old != frame.AddrFrom(b) {
			return nil, fmt.Errorf("NAT alias %q: %s has the alias %s already", pair, a, old)
		}
		out[frame.AddrFrom(a)] = frame.AddrFrom(b)
	}
	return out, nil
}

// readKeys reads the files with the keys of TLS; nil if there are none.
func readKeys(logs, rsa []string) (*tls.Keys, error) {
	if len(logs)+len(rsa) == 0 {
		return nil, nil
	}
	keys := tls.NewKeys()
	for _, path := range logs {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read TLS key log: %w", err)
		}
		err = errors.Join(keys.ReadLog(f), f.Close())
		if err != nil {
			return nil, fmt.Errorf("read TLS key log %s: %w", path, err)
		}
	}
	for _, path := range rsa {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read RSA key: %w", err)
		}
		if err := keys.AddRSA(pem); err != nil {
			return nil, fmt.Errorf("read RSA key %s: %w", path, err)
		}
	}
	return keys, nil
}

// Run reads everything. It returns when the last record has been taken, or
// with an error when ctx is cancelled or the input cannot be read on.
func (r *Read) Run(ctx context.Context) error {
	defer r.source.Close()
	err := r.group.Run(ctx, func(ctx context.Context, i int, s *flow.Shard) error {
		return s.Run(ctx, r.source.frames, r.decoders[i])
	})
	if r.record != nil {
		err = errors.Join(err, r.record.close())
	}
	return err
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

// Report is what a finished Read says of itself. In the ledger,
//
//	frames              = packets + fragments + the decoder's reasons
//	fragments           = what became of them
//	datagrams joined    = packets + fragments + reasons
//	packets of both     = the sum of the kinds
//	RTP packets         = the sum of what became of them
//	packets to store    = the sum of what became of them
type Report struct {
	Frames        uint64          `json:"frames"`
	Packets       uint64          `json:"packets"` // those of joined datagrams included
	RTP           uint64          `json:"rtp"`
	ToStore       uint64          `json:"to_store"` // packets for the spool, of each call that wants them
	Ledger        []LedgerRow     `json:"ledger"`
	Balanced      bool            `json:"balanced"`
	NotUnderstood []LedgerRow     `json:"not_understood"`
	Notes         []LedgerRow     `json:"notes"` // beside the ledger: cut frames, tunnels, retransmissions, …
	Damage        []pcapin.Damage `json:"damage"`
	Mirrors       []flow.Mirror   `json:"mirrors"` // interfaces, with how often each packet came
	Flow          flow.Stats      `json:"-"`
}

// Stages of the ledger.
const (
	StageDecode   = "decode"   // frames without a packet
	StageFragment = "fragment" // what became of fragments
	StageDatagram = "datagram" // what became of datagrams put together of them
	StageKind     = "packet"   // what packets were
	StageRTP      = "rtp"      // what became of RTP packets
	StageSpool    = "spool"    // what became of packets that were to be stored, of each call
)

// Report is to be called after Run.
func (r *Read) Report() Report {
	var dec decode.Stats
	for _, d := range r.decoders {
		s := d.Stats()
		dec.Add(&s)
	}
	in, fl := r.source.Stats(), r.group.Stats()
	rep := Report{
		Frames: in.Frames, Packets: dec.Packets + dec.JoinedPackets, RTP: fl.RTP, ToStore: fl.Recorded + fl.NotRecorded, Damage: in.Damages,
		Mirrors: fl.Mirrors, Flow: fl,
	}
	for i, n := range dec.Reasons {
		rep.row(StageDecode, decode.Reason(i).String(), n)
	}
	fragments := uint64(0)
	for _, c := range dec.Fates() {
		fragments += c.Count
		rep.row(StageFragment, c.Name, c.Count)
	}
	for _, c := range dec.Datagrams() {
		rep.row(StageDatagram, c.Name, c.Count)
	}
	kinds, fates := uint64(0), uint64(0)
	for _, k := range fl.Kinds() {
		kinds += k.Count
		rep.row(StageKind, k.Name, k.Count)
	}
	for _, k := range fl.Fates() {
		fates += k.Count
		rep.row(StageRTP, k.Name, k.Count)
	}
	stored := uint64(0)
	for _, k := range r.stored(&fl) {
		stored += k.Count
		rep.row(StageSpool, k.Name, k.Count)
	}
	rep.Balanced = stored == rep.ToStore && rep.Frames == dec.Frames && dec.Balanced() && fragments == dec.Fragments+dec.JoinedFragments &&
		rep.Packets == kinds && fl.RTP == fates
	rep.NotUnderstood = notUnderstood(&dec, &fl)
	rep.Notes = append(notes(&dec, &fl), r.saved()...)
	return rep
}

func (r *Report) row(stage, reason string, n uint64) {
	if n > 0 {
		r.Ledger = append(r.Ledger, LedgerRow{stage, reason, n})
	}
}

// notes lists what is worth knowing beside the ledger.
func notes(dec *decode.Stats, fl *flow.Stats) []LedgerRow {
	var out []LedgerRow
	add := func(what, name string, n uint64) {
		if n > 0 {
			out = append(out, LedgerRow{what, name, n})
		}
	}
	for i, n := range dec.Notes {
		add(StageDecode, decode.Note(i).String(), n)
	}
	for _, c := range dec.Opened() {
		add("tunnel", c.Name, c.Count)
	}
	for _, k := range fl.Sessions.Notes() {
		add("stream", k.Name, k.Count)
	}
	for _, k := range []flow.Kind{
		{Name: "sip", Count: fl.SIPDuplicates}, {Name: "segment", Count: fl.SegmentDuplicates},
		{Name: "rtp", Count: fl.RTPDuplicates}, {Name: "rtcp", Count: fl.RTCPDuplicates},
	} {
		add("duplicate", k.Name, k.Count)
	}
	add("spool", "frames not kept, memory was short", fl.NotKept)
	add("spool", "look-back cut short", fl.LookBackShort)
	add("duplicate", "not looked for, tables full", fl.DedupFull)
	for _, p := range fl.Duplicates.Rows {
		add("copies", p.First.String()+", then "+p.Second.String(), p.Count)
	}
	add("copies", "on other paths", fl.Duplicates.More)
	return out
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
	table("ppp protocol", &dec.PPP, decode.PPPName)
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
