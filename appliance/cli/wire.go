package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"ringside/appliance/daemon"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/writer/store"
)

// daemonRead makes the daemon's reading an engine.
type daemonRead struct {
	*daemon.Read
	paths []string
}

// options are what the daemon needs to know of what becomes of packets.
func (f *readFlags) options(to sink) (daemon.ReadOptions, error) {
	timeouts, err := call.ParseTimeouts(f.callsTimeouts)
	if err != nil {
		return daemon.ReadOptions{}, coded{exitUsage, err}
	}
	o := daemon.ReadOptions{
		Sensor: f.sensor,
		Limits: call.Limits{MaxCalls: f.callsMax, Timeouts: timeouts, LinkHeader: f.linkHeader},
		// An error ends the read, see sinks.
		Call:         func(c *record.Call) { _ = to.take(c) },
		Orphan:       func(s *record.Stream) { _ = to.take(s) },
		Registration: func(r *record.Registration) { _ = to.take(r) },
		Exchange:     func(e *record.Exchange) { _ = to.take(e) },
		Event:        func(e *record.Event) { _ = to.take(e) },
		Link:         func(l *record.Link) { _ = to.take(l) },
		Quality:      func(q *record.QualityReport) { _ = to.take(q) },

		KeyLogs: f.keyLogs, RSAKeys: f.rsaKeys,
		Dedup: f.dedup, DedupWindow: f.dedupWindow,
		NATAlias: f.natAliases, BothSides: f.bothSides != "no",
		VXLANPorts: f.vxlanPorts, Filter: f.filter, TCPIdle: f.tcpIdle, TCPReorder: f.tcpReorder,
	}
	o.Spool = f.spool.options(f.patient())
	o.Register.DelDelay, o.Register.ExpDelta = orNone(f.regDelDelay), orNone(f.regExpDelta)
	o.Events.Quiet = f.eventsOff
	return o, nil
}

func openDaemon(f readFlags, to sink) (engine, error) {
	o, err := f.options(to)
	if err != nil {
		return nil, err
	}
	f.input(&o)
	r, err := daemon.NewRead(o)
	if err != nil {
		return nil, withRemedy(err)
	}
	return daemonRead{r, f.paths}, nil
}

// openReadService makes the service that shows what is read.
func openReadService(ctx context.Context, f runFlags, to sink, log *daemon.Log) (capturing, error) {
	o, err := f.options(to)
	if err != nil {
		return nil, err
	}
	f.input(&o)
	so := f.service.options(log)
	so.Read, so.Store, so.Spool = &o, f.storeOptions(), f.spool.dirs()
	s, err := daemon.OpenService(ctx, so)
	if err != nil {
		return nil, serviceError(err)
	}
	return s, nil
}

// input says which files are read, and how.
func (f *readFlags) input(o *daemon.ReadOptions) {
	o.Paths, o.Workers = f.paths, f.workers
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if f.replay.on || f.loop > 1 || f.endForceTimeout > 0 {
		p := made(&o.Replay)
		p.Loops, p.EndTimeout = f.loop, f.endForceTimeout
		if f.replay.on { // else as fast as possible
			p.Scale, p.PPS = f.replay.scale, f.replay.pps
			p.MinDelay, p.MaxDelay = f.replay.minDelay, f.replay.maxDelay
		}
	}
}

// made puts a new value where p points, and gives it to be filled in.
func made[T any](p **T) *T {
	*p = new(T)
	return *p
}

// orNone is a limit for which 0 would stand for its default.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func (d daemonRead) notes() []string { return d.Describe() }

func (d daemonRead) progress() progress {
	p := d.Progress()
	return progress{
		file: p.File, read: p.BytesRead, total: p.BytesTotal,
		frames: p.Frames, calls: p.Calls, activeCalls: p.Active,
	}
}

func (d daemonRead) report() report {
	from := d.Report()
	return reportOf(&from, d.Progress().BytesRead)
}

// reportOf is what the summary shows of the daemon's report.
func reportOf(from *daemon.Report, bytes int64) report {
	r := report{
		bytes: bytes, frames: from.Frames, rtp: from.RTP, balanced: from.Balanced,
		unreadable: rowsOf(from.NotUnderstood, ""),
		fates:      rowsOf(from.Ledger, daemon.StageRTP),
		toStore:    from.ToStore,
		stored:     rowsOf(from.Ledger, daemon.StageSpool),
	}
	r.ledgerOf(from)
	for _, x := range from.Notes {
		if x.Stage == stageDuplicate {
			r.duplicates = append(r.duplicates, row{"", x.Reason, x.Count})
		} else {
			r.notes = append(r.notes, row{x.Stage, x.Reason, x.Count})
		}
	}
	for _, x := range r.ledger {
		if x.stage == daemon.StageKind && x.reason == kindUnread {
			r.unreadTLS = x.count
		}
	}
	for i := range from.Mirrors {
		m := &from.Mirrors[i]
		r.mirrors = append(r.mirrors, mirror{m.Iface, m.Factor(), m.Since})
	}
	for _, x := range from.Damage {
		r.damage = append(r.damage, damage{x.File, x.Offset, x.Reason})
	}
	return r
}

// ledgerOf takes the sums of the daemon's report. How many frames were
// fragments follows from the decoder's sum; that all of them are accounted for is
// a sum of its own.
func (r *report) ledgerOf(from *daemon.Report) {
	left, inDatagrams := uint64(0), uint64(0)
	r.pieces, r.datagrams = rowsOf(from.Ledger, daemon.StageFragment), rowsOf(from.Ledger, daemon.StageDatagram)
	for _, x := range r.datagrams {
		switch x.reason {
		case "packet":
			r.joined = x.count
		case "fragment":
			inDatagrams = x.count
		}
	}
	r.ledger = rowsOf(from.Ledger, daemon.StageDecode)
	for _, x := range r.ledger {
		left += x.count
	}
	inFrames := from.Frames + r.joined - from.Packets - left
	if r.fragments = inFrames + inDatagrams; inFrames > 0 {
		r.ledger = append(r.ledger, row{"", "fragments", inFrames})
	}
	r.ledger = append(r.ledger, rowsOf(from.Ledger, daemon.StageKind)...)
}

// Rows of the daemon's report that the summary has a place of their own for.
const (
	stageDuplicate = "duplicate"     // of the notes: second copies that were removed
	kindUnread     = "tls-encrypted" // of the packets: TLS that no key was there for
)

// rowsOf are the rows of one stage, of all for "".
func rowsOf(from []daemon.LedgerRow, stage string) []row {
	var out []row
	for _, x := range from {
		if stage == "" || x.Stage == stage {
			out = append(out, row{x.Stage, x.Reason, x.Count})
		}
	}
	return out
}

// storeSink keeps records in a store. Its writer works beside the read; what
// goes wrong there comes back when it is closed.
type storeSink struct {
	store  *store.Store
	writer *store.Writer
}

func newStoreSink(ctx context.Context, path string) (sink, error) {
	s, err := store.Open(ctx, store.Options{Path: path})
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return storeSink{s, store.NewWriter(s, store.WriterOptions{})}, nil
}

func (s storeSink) take(rec any) error {
	switch r := rec.(type) {
	case *record.Call:
		s.writer.Add(r)
	case *record.Stream:
		s.writer.AddOrphan(r)
	case *record.Registration:
		s.writer.AddRegistration(r)
	case *record.Exchange:
		s.writer.AddExchange(r)
	case *record.Event:
		s.writer.AddEvent(r)
	case *record.Link:
		s.writer.AddLink(r)
	case *record.QualityReport:
		s.writer.AddQuality(r)
	default:
		return fmt.Errorf("store record: no table for %T", rec)
	}
	return nil
}

// close stores what waits, also after the read was interrupted.
func (s storeSink) close() error {
	return errors.Join(s.writer.Close(context.Background()), s.store.Close())
}
