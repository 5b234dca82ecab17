package cli

import (
	"context"
	"errors"
	"runtime"

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

func openDaemon(f readFlags, to sink) (engine, error) {
	timeouts, err := call.ParseTimeouts(f.callsTimeouts)
	if err != nil {
		return nil, coded{exitUsage, err}
	}
	workers := f.workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	r, err := daemon.NewRead(daemon.ReadOptions{
		Paths: f.paths, Workers: workers, Sensor: f.sensor,
		Limits: call.Limits{MaxCalls: f.callsMax, Timeouts: timeouts},
		// An error ends the read, see sinks.
		Call:   func(c *record.Call) { _ = to.call(c) },
		Orphan: func(s *record.Stream) { _ = to.orphan(s) },
	})
	if err != nil {
		return nil, err
	}
	return daemonRead{r, f.paths}, nil
}

func (d daemonRead) progress() progress {
	p := d.Progress()
	return progress{
		file: p.File, read: p.BytesRead, total: p.BytesTotal,
		frames: p.Frames, calls: p.Calls, activeCalls: p.Active,
	}
}

func (d daemonRead) report() report {
	from := d.Report()
	r := report{
		bytes: d.Progress().BytesRead, frames: from.Frames, rtp: from.RTP, balanced: from.Balanced,
		unreadable: rowsOf(from.NotUnderstood, ""), notes: rowsOf(from.Notes, ""),
		fates: rowsOf(from.Ledger, daemon.StageRTP),
	}
	r.ledger = append(rowsOf(from.Ledger, daemon.StageDecode), rowsOf(from.Ledger, daemon.StageKind)...)
	for _, x := range from.Damage {
		r.damage = append(r.damage, damage{x.File, x.Offset, x.Reason})
	}
	return r
}

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
	return storeSink{s, store.NewWriter(s, store.WriterOptions{})}, nil
}

func (s storeSink) call(c *record.Call) error     { s.writer.Add(c); return nil }
func (s storeSink) orphan(o *record.Stream) error { s.writer.AddOrphan(o); return nil }

// close stores what waits, also after the read was interrupted.
func (s storeSink) close() error {
	return errors.Join(s.writer.Close(context.Background()), s.store.Close())
}
