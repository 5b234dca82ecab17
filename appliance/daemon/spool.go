package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"ringside/writer/pcap"
	"ringside/writer/spool"
)

// PacketQuery asks a spool for packets of calls.
type PacketQuery struct {
	Dirs     []string // the spool, with its further directories
	CallIDs  []string // whose packets
	From, To int64    // ns, both inclusive; 0 and 0: all
	SIP, RTP bool     // only these; neither: all
	Classic  bool     // write pcap instead of pcapng
}

// Packets is what a query found, and what it cost.
type Packets struct {
	spool.Fetched
	First int64 // time of the first packet, ns; 0: there is none
}

// ExportPackets writes the packets of a query by time as a capture file, while
// calls and segments still grow. Nothing is written where nothing is found.
func ExportPackets(ctx context.Context, q PacketQuery, to io.Writer) (Packets, error) {
	query := spool.Query{Keys: q.CallIDs, From: q.From, To: q.To}
	if q.SIP != q.RTP {
		query.Classes = []spool.Class{spool.RTP}
		if q.SIP {
			query.Classes = []spool.Class{spool.SIP, spool.Register}
		}
	}
	format := pcap.PcapNG
	if q.Classic {
		format = pcap.Classic
	}
	w := pcap.NewWriter(to, format, &pcap.Section{App: "ringside"})
	write := spool.Export(w)
	var found Packets
	var err error
	found.Fetched, err = spool.FetchDirs(ctx, spool.OS, q.Dirs, query, func(p *pcap.Packet, i pcap.Interface, key string) error {
		if found.First == 0 {
			found.First = p.Time
		}
		return write(p, i, key)
	})
	if err != nil {
		return found, fmt.Errorf("export packets of %s: %w", strings.Join(q.Dirs, " and "), err)
	}
	if found.Packets == 0 {
		return found, nil
	}
	return found, w.Flush()
}

// What a spool may take, a directory of it with that, a held call, and what was
// saved of a segment. A quota that is not said is what spool.Limits says.
type (
	SpoolQuota  = spool.Limits
	SpoolDir    = spool.Tier
	SpoolHold   = spool.Hold
	SpoolRepair = spool.Recovered
)

// SpoolClassNames are the classes in their order.
var SpoolClassNames = [spool.Classes]string{spool.SIP.String(), spool.RTP.String(), spool.Register.String()}

// ErrSpoolOnRoot is why a spool on the root file system is refused.
var ErrSpoolOnRoot = spool.ErrRoot

// ParseSize reads a number of bytes, as 200GiB.
func ParseSize(s string) (int64, error) {
	n, err := spool.ParseBytes(s)
	return int64(n), err
}

// SpoolSegment is what a listing says of a segment.
type SpoolSegment struct {
	Dir string
	spool.Info
}

// SpoolVolume is a directory of a spool with the room that it has.
type SpoolVolume struct {
	Dir   string
	Space spool.Space
	Quota SpoolQuota
	Doubt error // why spool.Open would refuse the quota
}

// SpoolListing is what the directories of a spool hold.
type SpoolListing struct {
	Segments []SpoolSegment // by time, then path
	Classes  [spool.Classes]SpoolClass
	Volumes  []SpoolVolume
	Held     []SpoolHold
}

// SpoolClass sums up the segments of a class.
type SpoolClass struct {
	Segments, Open, Damaged int
	Packets                 uint64
	Bytes                   int64
	First, Last             int64 // times of its packets, ns; 0: none
	spool.Forecast                // Lasts for the quotas, at the rate of the last day of the first directory
}

// ListSpool reads the indexes of all segments.
func ListSpool(dirs []SpoolDir) (*SpoolListing, error) {
	l := &SpoolListing{}
	var quotas []SpoolQuota
	var first []spool.Info
	for n, d := range dirs {
		v := SpoolVolume{Dir: d.Dir}
		var err error
		if v.Space, err = spool.OS.Space(d.Dir); err != nil {
			return nil, fmt.Errorf("list spool: %w", err)
		}
		v.Quota, v.Doubt = d.Limits.Fit(v.Space)
		segments, err := spool.List(spool.OS, d.Dir)
		if err != nil {
			return nil, fmt.Errorf("list spool %s: %w", d.Dir, err)
		}
		for _, i := range segments {
			l.Segments = append(l.Segments, SpoolSegment{d.Dir, i})
			l.Classes[i.Class].add(&i)
		}
		if n == 0 {
			first = segments
			if l.Held, err = spool.ReadHolds(spool.OS, d.Dir); err != nil {
				return nil, fmt.Errorf("list spool: %w", err)
			}
		}
		l.Volumes, quotas = append(l.Volumes, v), append(quotas, v.Quota)
	}
	slices.SortStableFunc(l.Segments, func(a, b SpoolSegment) int { return cmp.Compare(a.Minute, b.Minute) })
	for c, f := range spool.Forecasts(quotas, first) {
		l.Classes[c].Forecast = f
	}
	return l, nil
}

func (c *SpoolClass) add(i *spool.Info) {
	c.Segments++
	c.Bytes += i.Bytes
	switch {
	case i.Hidden:
		c.Open++
	case i.Err != nil:
		c.Damaged++
	}
	if i.Packets == 0 {
		return
	}
	c.Packets += i.Packets
	if c.First == 0 || i.First < c.First {
		c.First = i.First
	}
	c.Last = max(c.Last, i.Last)
}

// CheckSpool reads every closed segment whole and calls found with each, and
// with what is wrong with it.
func CheckSpool(ctx context.Context, dirs []string, found func(SpoolSegment, error) error) error {
	for _, dir := range dirs {
		list, err := spool.List(spool.OS, dir)
		if err != nil {
			return fmt.Errorf("check spool %s: %w", dir, err)
		}
		for _, i := range list {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("check spool %s: %w", dir, err)
			}
			var bad error
			if !i.Hidden {
				bad = spool.Check(spool.OS, dir, i.Name)
			}
			if err := found(SpoolSegment{dir, i}, bad); err != nil {
				return err
			}
		}
	}
	return nil
}

// RepairSpool closes the segments that a crash left, and rewrites the damaged
// ones from their whole frames. Nobody else may write there meanwhile. It calls
// found with each segment that was changed or could not be.
func RepairSpool(ctx context.Context, dir string, found func(SpoolRepair) error) error {
	unlock, err := spool.OS.Lock(dir)
	if err != nil {
		return fmt.Errorf("repair spool: %w", err)
	}
	defer unlock()
	crashed, err := spool.Recover(spool.OS, dir)
	if err != nil {
		return fmt.Errorf("repair spool %s: %w", dir, err)
	}
	for _, r := range crashed {
		if err := found(r); err != nil {
			return err
		}
	}
	list, err := spool.List(spool.OS, dir)
	if err != nil {
		return fmt.Errorf("repair spool %s: %w", dir, err)
	}
	for _, i := range list {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("repair spool %s: %w", dir, err)
		}
		if i.Hidden { // Recover has said why
			continue
		}
		bad := spool.Check(spool.OS, dir, i.Name)
		if bad == nil {
			continue
		}
		r, err := spool.Repair(spool.OS, dir, i.Name)
		r.Err = errors.Join(r.Err, err)
		if r.Name == (spool.Name{}) {
			r.Name = i.Name
		}
		if err := found(r); err != nil {
			return err
		}
	}
	return nil
}

// HoldCalls keeps packets of calls from being removed: of those that are held
// already, for both times. It returns how many calls are held now.
func HoldCalls(dir string, calls []SpoolHold) (int, error) {
	list, err := spool.ChangeHolds(dir, func(held []SpoolHold) []SpoolHold {
		for _, c := range calls {
			i := slices.IndexFunc(held, func(h SpoolHold) bool { return h.Key == c.Key })
			if i < 0 {
				held = append(held, c)
				continue
			}
			h := &held[i]
			endless := h.To == 0 || c.To == 0
			h.From, h.To = min(h.From, c.From), max(h.To, c.To)
			if endless {
				h.To = 0
			}
		}
		return held
	})
	return len(list), err
}

// ReleaseCalls lets packets of held calls be removed when it is their turn. It
// returns how many calls were held, and how many are.
func ReleaseCalls(dir string, callIDs []string) (released, held int, err error) {
	list, err := spool.ChangeHolds(dir, func(old []SpoolHold) []SpoolHold {
		n := len(old)
		left := slices.DeleteFunc(old, func(h SpoolHold) bool { return slices.Contains(callIDs, h.Key) })
		released = n - len(left)
		return left
	})
	return released, len(list), err
}

// saved lists what opening the spool has made of the segments that a crash left.
func (r *pipeline) saved() (out []LedgerRow) {
	if r.record == nil {
		return nil
	}
	var closed, failed, packets, lost uint64
	for _, c := range r.record.spool.Recovered() {
		lost += uint64(c.Lost)
		if c.Err != nil {
			failed++
			continue
		}
		closed++
		packets += c.Packets
	}
	for _, x := range []LedgerRow{
		{StageSpool, "segments that a crash left, closed", closed}, {StageSpool, "packets saved in them", packets},
		{StageSpool, "bytes of them that were no whole frame, lost", lost},
		{StageSpool, "segments that a crash left, not closed", failed},
	} {
		if x.Count > 0 {
			out = append(out, x)
		}
	}
	return out
}

// SpoolProbe is how fast a disk takes segments.
type SpoolProbe = spool.Probed

// ProbeSpool writes so many bytes into a directory, as segments are written, and
// removes them again.
func ProbeSpool(ctx context.Context, dir string, bytes int64) (SpoolProbe, error) {
	return spool.Probe(ctx, spool.OS, dir, bytes)
}
