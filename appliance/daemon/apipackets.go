package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"ringside/appliance/api"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/flow"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
	"ringside/writer/pcap"
	"ringside/writer/spool"
)

// apiPackets is api.Packets.
type apiPackets struct{ s *Service }

// fetch calls emit with the packets of calls, by time, from the spool that is
// written, or from its directories.
func (s *Service) fetch(ctx context.Context, q spool.Query, emit func(*pcap.Packet, pcap.Interface, string) error) (spool.Fetched, error) {
	if p := s.pipeline(); p != nil && p.record != nil && !s.over.Load() {
		return p.record.spool.Fetch(ctx, q, emit)
	}
	if len(s.o.Spool) == 0 {
		return spool.Fetched{}, api.ErrNotStored
	}
	var dirs []string
	for _, d := range s.o.Spool {
		dirs = append(dirs, d.Dir)
	}
	return spool.FetchDirs(ctx, spool.OS, dirs, q, emit)
}

// queryOf asks for packets of calls.
func queryOf(calls []api.CallRef, sip, rtp bool) spool.Query {
	var q spool.Query
	for i, c := range calls {
		q.Keys = append(q.Keys, c.CallID)
		if i == 0 {
			q.From, q.To = c.From, c.To
		}
		q.From, q.To = min(q.From, c.From), max(q.To, c.To)
	}
	switch {
	case sip && !rtp:
		q.Classes = []spool.Class{spool.SIP, spool.Register}
	case rtp && !sip:
		q.Classes = []spool.Class{spool.RTP}
	}
	return q
}

// Export implements api.Packets.
func (a apiPackets) Export(ctx context.Context, q api.PacketQuery, to io.Writer) (api.Exported, error) {
	format := pcap.PcapNG
	if q.Classic {
		format = pcap.Classic
	}
	counted := &limited{to: to, left: q.MaxBytes, bounded: q.MaxBytes > 0}
	w := pcap.NewWriter(counted, format, &pcap.Section{App: "ringside"})
	emit := spool.Export(w)
	if q.HeadersOnly {
		vxlan := []uint16(nil)
		if p := a.s.pipeline(); p != nil {
			vxlan = p.vxlan
		}
		emit = newMuter(vxlan).before(emit)
	}
	found, err := a.s.fetch(ctx, queryOf(q.Calls, q.SIP, q.RTP), emit)
	out := api.Exported{Packets: found.Packets, Missing: found.Missing}
	if found.Damaged > 0 {
		out.Missing = append(out.Missing, fmt.Sprintf("%d damaged pieces of the spool", found.Damaged))
	}
	switch {
	case err != nil:
		return out, fmt.Errorf("export packets: %w", err)
	case found.Packets == 0:
		return out, api.ErrNotStored
	}
	return out, w.Flush()
}

// limited is a writer that takes so many bytes.
type limited struct {
	to      io.Writer
	left    int64
	bounded bool
}

func (l *limited) Write(b []byte) (int, error) {
	if l.bounded && int64(len(b)) > l.left {
		return 0, api.ErrTooLarge
	}
	l.left -= int64(len(b))
	return l.to.Write(b)
}

// What the messages of a call may take while they are read.
const (
	messageFrames = 20_000
	messageBytes  = 64 << 20
)

// Messages implements api.Packets. The stored frames go through decoders and shards
// of their own, as they did when they were captured: fragments and streams are put
// together again.
func (a apiPackets) Messages(ctx context.Context, c api.CallRef, limit int) ([]api.SIPMessage, error) {
	src := new(stored)
	_, err := a.s.fetch(ctx, queryOf([]api.CallRef{c}, true, false), src.add)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("read the messages of a call: %w", err)
	}
	out := []api.SIPMessage{}
	o := flow.Options{Workers: 1, MaxStreams: 16, Limits: call.Limits{MaxCalls: 64}}
	o.Sessions.MaxFlows, o.Sessions.MaxBytes = 1024, messageBytes
	vxlan := []uint16(nil)
	if p := a.s.pipeline(); p != nil {
		o.Sessions.Keys, vxlan = p.keys, p.vxlan
	}
	o.Message = func(m *sip.Message, meta *call.Meta) {
		if len(out) < limit && valid(m.Get(m.CallID)) == c.CallID {
			out = append(out, apiMessage(&SIPMessage{Time: meta.Time, Meta: *meta, Parsed: *m}))
		}
	}
	g := flow.NewGroup(o)
	err = g.Run(ctx, func(ctx context.Context, _ int, s *flow.Shard) error {
		return s.Run(ctx, src, decode.New(decode.Options{VXLANPorts: vxlan}))
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the messages of a call: %w", err)
	case len(out) == 0:
		return nil, api.ErrNotStored
	}
	return out, nil
}

// errEnough ends a fetch that has found as much as is wanted.
var errEnough = errors.New("enough")

// stored is a frame.Source of frames that were fetched.
type stored struct {
	frames []frame.Frame
	bytes  int
	given  bool
}

// add takes a frame, whose bytes are borrowed.
func (s *stored) add(p *pcap.Packet, i pcap.Interface, _ string) error {
	if s.bytes += len(p.Data); len(s.frames) >= messageFrames || s.bytes > messageBytes {
		return errEnough
	}
	clock := p.Time
	if n := len(s.frames); n > 0 {
		clock = max(clock, s.frames[n-1].Clock+1)
	}
	s.frames = append(s.frames, frame.Frame{
		Time: p.Time, Clock: clock, Seq: uint64(len(s.frames)), Data: append([]byte(nil), p.Data...), Len: p.Len, Link: i.Link,
	})
	return nil
}

// Next implements frame.Source.
func (s *stored) Next() (*frame.Batch, error) {
	if s.given || len(s.frames) == 0 {
		return nil, io.EOF
	}
	s.given = true
	return &frame.Batch{Frames: s.frames}, nil
}

// Mark implements frame.Source.
func (s *stored) Mark() int64 {
	if n := len(s.frames); s.given && n > 0 {
		return s.frames[n-1].Clock + 1
	}
	return 0
}

// callRef names the packets of a call, with the time about it in which some may be.
func callRef(c *record.Call) api.CallRef {
	from, to := spanOf(c)
	return api.CallRef{CallID: c.CallID, From: from - int64(aroundCall), To: to + int64(aroundCall)}
}

// spanOf is the time of a call. Where the time of day was set back meanwhile, its end
// is before its beginning.
func spanOf(c *record.Call) (from, to int64) {
	from, to = c.Start, max(c.Start, c.End, c.Last)
	for _, at := range []int64{c.End, c.Last} {
		if at != 0 {
			from = min(from, at)
		}
	}
	return from, to
}

// aroundCall is how much before and behind a call packets of it are looked for.
const aroundCall = 30 * time.Second

// datagrams calls emit with the UDP datagrams of a call, by time. What came in
// fragments is put together.
func (s *Service) datagrams(ctx context.Context, q spool.Query, emit func(*frame.Packet) error) error {
	vxlan := []uint16(nil)
	if p := s.pipeline(); p != nil {
		vxlan = p.vxlan
	}
	d := decode.New(decode.Options{VXLANPorts: vxlan})
	var b, whole frame.Batch
	clock := int64(0)
	give := func(list []frame.Packet) error {
		for i := range list {
			if list[i].Proto == frame.ProtoUDP {
				if err := emit(&list[i]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	found, err := s.fetch(ctx, q, func(p *pcap.Packet, i pcap.Interface, _ string) error {
		clock = max(clock+1, p.Time)
		b.Frames = append(b.Frames[:0], frame.Frame{Time: p.Time, Clock: clock, Data: p.Data, Len: p.Len, Link: i.Link})
		d.Decode(&b)
		if err := give(b.Packets); err != nil {
			return err
		}
		for f := range b.Fragments {
			whole.Packets, whole.Tunnels, whole.Kept = whole.Packets[:0], whole.Tunnels[:0], whole.Kept[:0]
			d.Join(&b.Fragments[f], tunnelOf(&b, b.Fragments[f].Tunnel), &whole)
			if err := give(whole.Packets); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && found.Packets == 0 {
		return api.ErrNotStored
	}
	return err
}

func tunnelOf(b *frame.Batch, n uint16) *frame.Tunnel {
	if n == 0 {
		return &frame.Tunnel{}
	}
	return &b.Tunnels[n-1]
}
