package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"

	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow"
	"ringside/flow/record"
	"ringside/flow/stream"
	"ringside/flow/tls"
)

// pipeline is what frames go through, wherever they come from: a decoder and a
// shard for each worker, and the spool.
type pipeline struct {
	decoders []*decode.Decoder
	filters  filters // behind the decoders
	group    *flow.Group
	record   *recording // nil: nothing is stored
	calls    atomic.Int64
	clock    atomic.Int64
	keys     *tls.Keys // nil: there are none
	vxlan    []uint16
}

// build makes the parts. options are those of o.flow, and what the source of the
// frames adds to them.
func (p *pipeline) build(o *ReadOptions, options flow.Options) (err error) {
	p.keys, p.vxlan = options.Sessions.Keys, o.VXLANPorts
	for range options.Workers {
		p.decoders = append(p.decoders, decode.New(decode.Options{VXLANPorts: o.VXLANPorts}))
	}
	if err = p.filters.put(o.Filter, p.decoders); err != nil {
		return err
	}
	taken := o.Call
	options.Call = func(c *record.Call) {
		p.calls.Add(1)
		p.clock.Store(c.End)
		if taken != nil {
			taken(c)
		}
	}
	if o.Spool != nil {
		if p.record, err = openRecording(*o.Spool, &options); err != nil {
			return err
		}
	}
	p.group = flow.NewGroup(options)
	return nil
}

// close writes what is open in the spool. No shard must be at work any more.
func (p *pipeline) close() error {
	if p.record == nil {
		return nil
	}
	return p.record.close()
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
//	RTP packets         = the sum of what became of them; those that only the kernel saw, its meter, among them
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
	StageKind     = "packet"   // what packets were, or that the filter left them out
	StageRTP      = "rtp"      // what became of RTP packets
	StageSpool    = "spool"    // what became of packets that were to be stored, of each call
)

// report sums up what became of the frames of an input. No worker must be at
// work any more.
func (p *pipeline) report(frames uint64) Report {
	var dec decode.Stats
	for _, d := range p.decoders {
		s := d.Stats()
		dec.Add(&s)
	}
	fl := p.group.Stats()
	rep := Report{
		Frames: frames, Packets: dec.Packets + dec.JoinedPackets, RTP: fl.RTP + fl.Metered, ToStore: fl.Recorded + fl.NotRecorded,
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
	kinds, fates := p.filters.leftOut(), uint64(0)
	rep.row(StageKind, kindFiltered, kinds)
	for _, k := range fl.Kinds() {
		kinds += k.Count
		rep.row(StageKind, k.Name, k.Count)
	}
	for _, k := range fl.Fates() {
		fates += k.Count
		rep.row(StageRTP, k.Name, k.Count)
	}
	stored := uint64(0)
	for _, k := range p.stored(&fl) {
		stored += k.Count
		rep.row(StageSpool, k.Name, k.Count)
	}
	rep.Balanced = stored == rep.ToStore && rep.Frames == dec.Frames && dec.Balanced() && fragments == dec.Fragments+dec.JoinedFragments &&
		rep.Packets == kinds && rep.RTP == fates
	rep.NotUnderstood = notUnderstood(&dec, &fl)
	rep.Notes = append(notes(&dec, &fl), p.saved()...)
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
	add("mirror port", "seconds in which unrelated streams lost packets at once", fl.MirrorLoss)
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
