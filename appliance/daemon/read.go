// Package daemon is the one place that knows every part of ringside: it builds
// them, wires them, runs them and closes them.
package daemon

import (
	"context"
	"errors"
	"time"

	"ringside/dataplane/replay"
	"ringside/flow"
	"ringside/flow/call"
	"ringside/flow/event"
	"ringside/flow/record"
	"ringside/flow/register"
	"ringside/flow/relate"
	"ringside/flow/sip"
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

	Filter string // packets that do not match are left out, in the syntax of tcpdump; "": none

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
	pipeline
	source source
}

// NewRead opens the input. Its errors name the file.
func NewRead(o ReadOptions) (*Read, error) {
	o.Workers = max(o.Workers, 1)
	options, err := o.flow()
	if err != nil {
		return nil, err
	}
	r := new(Read)
	if err := r.source.open(o); err != nil {
		return nil, err
	}
	if err := r.build(&o, options); err != nil {
		r.source.Close()
		return nil, err
	}
	return r, nil
}

// Run reads everything. It returns when the last record has been taken, or
// with an error when ctx is cancelled or the input cannot be read on.
func (r *Read) Run(ctx context.Context) error {
	defer r.source.Close()
	err := r.group.Run(ctx, func(ctx context.Context, i int, s *flow.Shard) error {
		return s.Run(ctx, r.source.frames, r.decoder(i))
	})
	return errors.Join(err, r.close())
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

// Report is to be called after Run.
func (r *Read) Report() Report {
	in := r.source.Stats()
	rep := r.report(in.Frames)
	rep.Damage = in.Damages
	return rep
}
