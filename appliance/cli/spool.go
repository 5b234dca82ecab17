package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringside/appliance/daemon"
)

func newSpool(st *style) *cobra.Command {
	c := &cobra.Command{
		Use:   "spool",
		Short: "list, check and repair a spool of packets, and hold calls in it",
		Long: `A spool is the directory in which packets are kept, in segments by class and
minute. Each is a capture file by itself: wireshark SEGMENT`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return usage("say what to do with the spool: ls, check, repair, hold, release or probe")
		},
	}
	c.AddCommand(newSpoolList(st), newSpoolCheck(), newSpoolRepair(), newSpoolHold(), newSpoolRelease(), newSpoolProbe())
	return c
}

// needSpool is an error if there is no such directory.
func needSpool(dirs ...string) error {
	for _, dir := range dirs {
		i, err := os.Stat(dir)
		if err == nil && !i.IsDir() {
			err = errors.New("it is no directory")
		}
		if err != nil && exitCode(err) != exitNoPerm {
			err = coded{exitUnavailable, fmt.Errorf("open spool %s: %w", dir, err)}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// segment is what is said of one segment. A segment that is open, or left by a
// crash, says nothing of what it holds before it is closed.
type segment struct {
	Dir     string `json:"dir,omitempty"` // unless it is the first one
	Path    string `json:"path"`
	Class   string `json:"class"`
	State   string `json:"state"` // closed, open, damaged; of a repair: repaired, removed, failed
	Calls   int    `json:"calls"`
	Packets uint64 `json:"packets"`
	Bytes   int64  `json:"bytes,omitempty"`
	From    string `json:"from,omitempty"` // of its packets, RFC 3339
	To      string `json:"to,omitempty"`
	Lost    int64  `json:"lost_bytes,omitempty"` // that were no whole frames
	Damage  string `json:"damage,omitempty"`

	from, to int64
}

type spoolClass struct {
	Class     string  `json:"class"`
	Segments  int     `json:"segments"`
	Open      int     `json:"open"`
	Damaged   int     `json:"damaged"`
	Packets   uint64  `json:"packets"`
	Bytes     int64   `json:"bytes"`
	From      string  `json:"from,omitempty"`
	To        string  `json:"to,omitempty"`
	Rate      float64 `json:"bytes_per_second"`
	LastsDays float64 `json:"lasts_days,omitempty"` // for the quotas, at this rate
}

// spoolVolume is a directory with its room.
type spoolVolume struct {
	Dir     string `json:"dir"`
	Volume  int64  `json:"volume_bytes"`
	Free    int64  `json:"free_bytes"`
	Quota   int64  `json:"quota_bytes"`
	Reserve int64  `json:"reserve_bytes"`
	Doubt   string `json:"doubt,omitempty"` // why such a quota is refused
}

// heldCall is a call whose packets stay.
type heldCall struct {
	CallID string `json:"call_id"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"` // RFC 3339; empty: without end

	from, to int64
}

// spoolList is the JSON of ringside spool ls.
type spoolList struct {
	spoolVolume               // the first directory
	Further     []spoolVolume `json:"further,omitempty"`
	Segments    []segment     `json:"segments,omitempty"`
	Classes     []spoolClass  `json:"classes"`
	Held        []heldCall    `json:"held,omitempty"`
}

func newSpoolList(st *style) *cobra.Command {
	var asJSON, totals bool
	var quota, cold quotaFlags
	c := &cobra.Command{
		Use:   "ls DIR…",
		Short: "list segments, what they hold, held calls, and how long the room lasts",
		Long: `List the segments of a spool with their calls, packets, size and times, then the
sums of each class and how long the quota lasts at the rate of the class's last
day, and the calls that are held. The quota is 80 % of the volume, or what the
reserve leaves, unless it is given. Calls are counted in each segment: one that
lasts three minutes is in three.

Name the further directories of the spool behind the first one.`,
		Example: "  ringside spool ls /var/spool/ringside\n  ringside spool ls --totals --quota 2TiB,rtp=1TiB --days sip=90 /var/spool/ringside\n" +
			"  ringside spool ls --totals --cold-quota 20TiB /var/spool/ringside /mnt/cold",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := needSpool(args...); err != nil {
				return err
			}
			l, err := daemon.ListSpool(spoolDirs(args, quota.limits(), cold.limits()))
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(spoolJSON(l, !totals))
			}
			return showSpool(c.OutOrStdout(), st.on(c.OutOrStdout()), l, !totals)
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.BoolVar(&asJSON, "json", false, "as JSON; times in UTC, sizes in bytes")
	fl.BoolVar(&totals, "totals", false, "only the sums")
	fl.Func("quota", "all that the first directory may take, and what its classes may, in `SIZES`: 500GiB,rtp=400GiB", quota.setBytes)
	fl.Func("days", "packets are removed after so many `DAYS`: 30,sip=90", quota.setDays)
	parsed(fl, "reserve", "what stays free on its volume, a `SIZE`", &quota.Reserve, parseSize)
	fl.Func("cold-quota", "all that each further directory may take, as --quota, `SIZES`", cold.setBytes)
	fl.Func("cold-days", "packets are removed from there after so many `DAYS`", cold.setDays)
	parsed(fl, "cold-reserve", "what stays free on its volume, a `SIZE`", &cold.Reserve, parseSize)
	return c
}

// spoolDirs are a directory and further ones, with their quotas.
func spoolDirs(dirs []string, first, further daemon.SpoolQuota) []daemon.SpoolDir {
	var out []daemon.SpoolDir
	for _, d := range dirs {
		out = append(out, daemon.SpoolDir{Dir: d, Limits: first})
		first = further
	}
	return out
}

func spoolJSON(l *daemon.SpoolListing, each bool) spoolList {
	out := spoolList{Held: heldCalls(l)}
	for i := range l.Volumes {
		v := &l.Volumes[i]
		x := spoolVolume{Dir: v.Dir, Volume: v.Space.Total, Free: v.Space.Free, Quota: v.Quota.Total, Reserve: v.Quota.Reserve}
		if v.Doubt != nil {
			x.Doubt = v.Doubt.Error()
		}
		if i == 0 {
			out.spoolVolume = x
		} else {
			out.Further = append(out.Further, x)
		}
	}
	if each {
		out.Segments = segmentsOf(l)
	}
	for i := range l.Classes {
		c := &l.Classes[i]
		out.Classes = append(out.Classes, spoolClass{
			Class: daemon.SpoolClassNames[i], Segments: c.Segments, Open: c.Open, Damaged: c.Damaged, Packets: c.Packets, Bytes: c.Bytes,
			From: stamp(c.First), To: stamp(c.Last), Rate: c.Rate, LastsDays: c.Lasts.Hours() / 24,
		})
	}
	return out
}

func heldCalls(l *daemon.SpoolListing) []heldCall {
	var out []heldCall
	for _, h := range l.Held {
		out = append(out, heldCall{CallID: h.Key, From: stamp(h.From), To: stamp(h.To), from: h.From, to: h.To})
	}
	return out
}

func segmentsOf(l *daemon.SpoolListing) []segment {
	var out []segment
	for i := range l.Segments {
		x := segmentOf(&l.Segments[i], l.Segments[i].Err)
		if x.Dir == l.Volumes[0].Dir {
			x.Dir = ""
		}
		out = append(out, x)
	}
	return out
}

func segmentOf(s *daemon.SpoolSegment, bad error) segment {
	x := segment{
		Dir: s.Dir, Path: s.Path(), Class: s.Class.String(), State: "closed", Calls: s.Keys, Packets: s.Packets, Bytes: s.Bytes,
		From: stamp(s.First), To: stamp(s.Last), from: s.First, to: s.Last,
	}
	switch {
	case s.Hidden:
		x.State = "open"
	case bad != nil:
		x.State, x.Damage = "damaged", bad.Error()
	}
	return x
}

var segmentColumns = []column{
	{head: "Segment", least: 20}, {head: "State"}, {head: "Calls", right: true}, {head: "Packets", right: true}, {head: "Size", right: true},
	{head: "From", drop: 1}, {head: "To", drop: 2},
}

var heldColumns = []column{{head: "Held call", least: 20}, {head: "From"}, {head: "To"}}

var spoolColumns = []column{
	{head: "Class"}, {head: "Segments", right: true, drop: 3}, {head: "Packets", right: true}, {head: "Size", right: true},
	{head: "From", drop: 1}, {head: "To", drop: 2}, {head: "Per day", right: true}, {head: "Lasts", right: true},
}

func showSpool(w io.Writer, l look, list *daemon.SpoolListing, each bool) error {
	when := func(ns int64) string {
		return only(ns != 0, time.Unix(0, ns).In(l.zone).Format(time.DateTime))
	}
	if each && len(list.Segments) > 0 {
		var rows [][]string
		for _, s := range segmentsOf(list) {
			closed := s.State == "closed"
			rows = append(rows, []string{clean(s.at()), s.State, only(closed, count(s.Calls)), only(closed, count(s.Packets)), size(s.Bytes), when(s.from), when(s.to)})
		}
		if err := writeTable(w, l, segmentColumns, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	var rows [][]string
	for i := range list.Classes {
		c := &list.Classes[i]
		rows = append(rows, []string{daemon.SpoolClassNames[i], count(c.Segments), count(c.Packets), size(c.Bytes), when(c.First), when(c.Last),
			only(c.Rate > 0, size(int64(c.Rate*86400))), days(c.Lasts)})
	}
	if err := writeTable(w, l, spoolColumns, rows); err != nil {
		return err
	}
	if held := heldCalls(list); len(held) > 0 {
		fmt.Fprintln(w)
		rows = nil
		for _, h := range held {
			rows = append(rows, []string{clean(h.CallID), when(h.from), when(h.to)})
		}
		if err := writeTable(w, l, heldColumns, rows); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "\n"+spoolNotes(list, each))
	return err
}

// spoolNotes says what room there is, and what is damaged.
func spoolNotes(list *daemon.SpoolListing, each bool) string {
	var b strings.Builder
	for i := range list.Volumes {
		v := &list.Volumes[i]
		if len(list.Volumes) > 1 {
			b.WriteString(clean(v.Dir) + ": ")
		}
		fmt.Fprintf(&b, "volume %s, %s free; the spool may take %s, %s stay free\n", size(v.Space.Total), size(v.Space.Free), size(v.Quota.Total), size(v.Quota.Reserve))
		if v.Doubt != nil {
			fmt.Fprintf(&b, "ringside would not start with that: %s\n", clean(v.Doubt.Error()))
		}
	}
	for _, s := range segmentsOf(list) {
		if s.Damage != "" && each {
			fmt.Fprintln(&b, "damaged:", clean(s.at()+": "+s.Damage))
		}
	}
	return b.String()
}

// at is where the segment lies: its directory is named unless it is the first.
func (s *segment) at() string { return filepath.Join(s.Dir, s.Path) }

// days is a long span of time, nothing for none.
func days(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < 48*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	case d < 10*365*24*time.Hour:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	}
	return "> 10 years"
}

func newSpoolCheck() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check DIR…",
		Short: "read every segment whole and tell damage",
		Long: `Read every closed segment of a spool whole: each frame against the index, and the
index against the frames. Nothing is changed, and ringside may write meanwhile.
Segments that are open are not looked into. The exit code is 1 if there is damage.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := needSpool(args...); err != nil {
				return err
			}
			out := c.OutOrStdout()
			var closed, open, bad int
			var packets uint64
			var bytes int64
			each := func(i daemon.SpoolSegment, damage error) error {
				s := segmentOf(&i, damage)
				if s.Dir == args[0] {
					s.Dir = ""
				}
				switch s.State {
				case "open":
					open++
				case "damaged":
					bad++
				default:
					closed++
					packets += s.Packets
					bytes += s.Bytes
				}
				return writeSegment(out, asJSON, &s, s.State == "damaged")
			}
			if err := daemon.CheckSpool(c.Context(), args, each); err != nil {
				return err
			}
			if !asJSON {
				fmt.Fprintf(out, "%s whole: %s, %s\n", plural(closed, "segment"), plural(packets, "packet"), size(bytes))
				if open > 0 {
					fmt.Fprintf(out, "%s open, or left by a crash: not looked into\n", plural(open, "segment"))
				}
			}
			if bad > 0 {
				return fmt.Errorf("check spool %s: %s damaged: ringside spool repair DIR saves what is whole", strings.Join(args, " and "), plural(bad, "segment"))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "every segment, one per line, as JSON")
	return c
}

func newSpoolRepair() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "repair DIR",
		Short: "close segments that a crash left, and save what is whole of damaged ones",
		Long: `Close the segments that a crash left, and rewrite damaged ones from their whole
frames. A segment without any is removed. Nobody may write to the spool meanwhile:
one that is in use is refused. The exit code is 1 if something could not be
repaired.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := needSpool(args[0]); err != nil {
				return err
			}
			out := c.OutOrStdout()
			changed, failed := 0, 0
			each := func(r daemon.SpoolRepair) error {
				s := repairOf(&r)
				if s.State == "failed" {
					failed++
				} else {
					changed++
				}
				return writeSegment(out, asJSON, &s, true)
			}
			if err := daemon.RepairSpool(c.Context(), args[0], each); err != nil {
				return err
			}
			if changed+failed == 0 && !asJSON {
				fmt.Fprintln(out, "nothing to repair")
			}
			if failed > 0 {
				return fmt.Errorf("repair spool %s: %s could not be repaired", args[0], plural(failed, "segment"))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "every segment that was changed, one per line, as JSON")
	return c
}

func repairOf(r *daemon.SpoolRepair) segment {
	s := segment{
		Path: r.Name.Path(), Class: r.Name.Class.String(), State: "repaired", Calls: r.Keys, Packets: r.Packets,
		From: stamp(r.First), To: stamp(r.Last), Lost: r.Lost,
	}
	switch {
	case r.Err != nil:
		s.State, s.Damage = "failed", r.Err.Error()
	case r.Frames == 0:
		s.State = "removed"
	}
	return s
}

// writeSegment writes a segment as JSON, or, if it is worth a line, as text.
func writeSegment(w io.Writer, asJSON bool, s *segment, worth bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	if !worth {
		return nil
	}
	line := s.State + ": " + s.at()
	if s.Packets > 0 && s.State != "damaged" {
		line += fmt.Sprintf(", %s of %s", plural(s.Packets, "packet"), plural(s.Calls, "call"))
	}
	if s.Lost > 0 {
		line += ", " + size(s.Lost) + " lost"
	}
	if s.Damage != "" {
		line += ": " + s.Damage
	}
	_, err := fmt.Fprintln(w, clean(line))
	return err
}
