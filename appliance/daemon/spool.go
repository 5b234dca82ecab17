package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"ringside/writer/pcap"
	"ringside/writer/spool"
)

// PacketQuery asks a spool for packets of calls.
type PacketQuery struct {
	Dir      string   // the spool
	CallIDs  []string // whose packets
	From, To int64    // ns, both inclusive; 0 and 0: all
	SIP, RTP bool     // only these; neither: all
	Classic  bool     // write pcap instead of pcapng
}

// Packets is what a query found, and what it cost.
type Packets = spool.Fetched

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
	found, err := spool.FetchDir(ctx, spool.OS, q.Dir, query, spool.Export(w))
	if err != nil {
		return found, fmt.Errorf("export packets of %s: %w", q.Dir, err)
	}
	if found.Packets == 0 {
		return found, nil
	}
	return found, w.Flush()
}

// SpoolQuota is the room that a spool may take: of what the volume has, if it is
// not said.
type SpoolQuota struct {
	Total   int64 // 0: 80 % of the volume, or what Reserve leaves
	Reserve int64 // 0: 5 % of the volume or 10 GiB, whichever is more
}

// SpoolSegment is what a listing says of a segment, SpoolRepair what was saved
// of one.
type (
	SpoolSegment = spool.Info
	SpoolRepair  = spool.Recovered
)

// SpoolListing is what a spool directory holds.
type SpoolListing struct {
	Segments []SpoolSegment // by time, then path
	Classes  [spool.Classes]SpoolClass
	Space    spool.Space
	Quota    SpoolQuota
}

// SpoolClass sums up the segments of a class.
type SpoolClass struct {
	Segments, Open, Damaged int
	Packets                 uint64
	Bytes                   int64
	First, Last             int64 // times of its packets, ns; 0: none
	spool.Forecast                // Lasts for the quota, at the rate of the last day
}

// ListSpool reads the indexes of all segments.
func ListSpool(dir string, quota SpoolQuota) (*SpoolListing, error) {
	l := &SpoolListing{Quota: quota}
	var err error
	if l.Space, err = spool.OS.Space(dir); err != nil {
		return nil, fmt.Errorf("list spool: %w", err)
	}
	if l.Segments, err = spool.List(spool.OS, dir); err != nil {
		return nil, fmt.Errorf("list spool %s: %w", dir, err)
	}
	slices.SortStableFunc(l.Segments, func(a, b spool.Info) int {
		return int(min(1, max(-1, a.Minute-b.Minute)))
	})
	l.fit()
	for i := range l.Segments {
		l.Classes[l.Segments[i].Class].add(&l.Segments[i])
	}
	for c := range l.Classes {
		l.forecast(spool.Class(c))
	}
	return l, nil
}

// fit says what the quota is where nobody did, as spool.Open does.
func (l *SpoolListing) fit() {
	q := &l.Quota
	if q.Reserve == 0 {
		q.Reserve = max(l.Space.Total/20, 10<<30)
	}
	if q.Total == 0 {
		q.Total = max(0, min(l.Space.Total/5*4, l.Space.Total-q.Reserve))
	}
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

// forecast is how long the quota lasts for one class alone.
func (l *SpoolListing) forecast(class spool.Class) {
	const minute, day = int64(time.Minute), int64(24 * time.Hour)
	var newest, oldest, sum int64
	for _, i := range slices.Backward(l.Segments) {
		if i.Class != class {
			continue
		}
		if newest == 0 {
			newest = i.Minute + minute
		}
		if newest-i.Minute > day {
			break
		}
		oldest, sum = i.Minute, sum+i.Bytes
	}
	if sum == 0 {
		return
	}
	f := &l.Classes[class].Forecast
	f.Rate = float64(sum) / time.Duration(newest-oldest).Seconds()
	f.Lasts = time.Duration(min(float64(l.Quota.Total)/f.Rate*1e9, float64(1<<62)))
}

// CheckSpool reads every closed segment whole and calls found with each, and
// with what is wrong with it.
func CheckSpool(ctx context.Context, dir string, found func(SpoolSegment, error) error) error {
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
		if err := found(i, bad); err != nil {
			return err
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

// saved lists what opening the spool has made of the segments that a crash left.
func (r *Read) saved() (out []LedgerRow) {
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
