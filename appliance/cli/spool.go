package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringside/appliance/daemon"
)

func newSpool(st *style) *cobra.Command {
	c := &cobra.Command{
		Use:   "spool",
		Short: "list, check and repair a spool of packets",
		Long: `A spool is the directory in which packets are kept, in segments by class and
minute. Each is a capture file by itself: wireshark SEGMENT`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return usage("say what to do with the spool: ls, check or repair")
		},
	}
	c.AddCommand(newSpoolList(st), newSpoolCheck(), newSpoolRepair())
	return c
}

// needSpool is an error if there is no directory.
func needSpool(dir string) error {
	i, err := os.Stat(dir)
	if err == nil && !i.IsDir() {
		err = errors.New("it is no directory")
	}
	if err != nil && exitCode(err) != exitNoPerm {
		return coded{exitUnavailable, fmt.Errorf("open spool %s: %w", dir, err)}
	}
	return err
}

// segment is what is said of one segment. A segment that is open, or left by a
// crash, says nothing of what it holds before it is closed.
type segment struct {
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
	LastsDays float64 `json:"lasts_days,omitempty"` // for the quota, at this rate
}

// spoolList is the JSON of ringside spool ls.
type spoolList struct {
	Dir      string       `json:"dir"`
	Segments []segment    `json:"segments,omitempty"`
	Classes  []spoolClass `json:"classes"`
	Volume   int64        `json:"volume_bytes"`
	Free     int64        `json:"free_bytes"`
	Quota    int64        `json:"quota_bytes"`
	Reserve  int64        `json:"reserve_bytes"`
}

func newSpoolList(st *style) *cobra.Command {
	var asJSON, totals bool
	var quota daemon.SpoolQuota
	c := &cobra.Command{
		Use:   "ls DIR",
		Short: "list segments, what they hold, and how long the room lasts",
		Long: `List the segments of a spool with their calls, packets, size and times, then the
sums of each class and how long the quota lasts at the rate of the class's last
day. The quota is 80 % of the volume, or what the reserve leaves, unless it is
given. Calls are counted in each segment: one that lasts three minutes is in
three.`,
		Example: "  ringside spool ls /var/spool/ringside\n  ringside spool ls --totals --quota 2TiB /var/spool/ringside",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := needSpool(args[0]); err != nil {
				return err
			}
			l, err := daemon.ListSpool(args[0], quota)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(spoolJSON(args[0], l, !totals))
			}
			return showSpool(c.OutOrStdout(), st.on(c.OutOrStdout()), l, !totals)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&asJSON, "json", false, "as JSON; times in UTC, sizes in bytes")
	fl.BoolVar(&totals, "totals", false, "only the sums")
	parsed(fl, "quota", "all that the spool may take, a `SIZE` such as 500GiB", &quota.Total, parseSize)
	parsed(fl, "reserve", "what stays free on the volume, a `SIZE`", &quota.Reserve, parseSize)
	return c
}

// parseSize reads a number of bytes: 1048576, 512MiB, 2 TB. What is written with
// an i counts in 1024, what is without in 1000.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "kKMGTPEiB ")
	unit := strings.TrimSuffix(strings.TrimSpace(s[len(digits):]), "B")
	v, err := strconv.ParseFloat(digits, 64)
	base := 1000.0
	if letter, binary := strings.CutSuffix(unit, "i"); binary {
		base, unit = 1024, letter
	}
	power := strings.Index(" KMGTPE", strings.ToUpper(unit))
	if unit == "" {
		power = 0
	}
	for range power {
		v *= base
	}
	if err != nil || power < 0 || len(unit) > 1 || base == 1024 && unit == "" || !(v >= 1) || v > 1<<62 {
		return 0, fmt.Errorf("parse size %q: write a number with a unit, such as 500GiB or 2TB", s)
	}
	return int64(v), nil
}

func spoolJSON(dir string, l *daemon.SpoolListing, each bool) spoolList {
	out := spoolList{Dir: dir, Volume: l.Space.Total, Free: l.Space.Free, Quota: l.Quota.Total, Reserve: l.Quota.Reserve}
	if each {
		out.Segments = segmentsOf(l)
	}
	for name, c := range classesOf(l) {
		x := spoolClass{
			Class: name, Segments: c.Segments, Open: c.Open, Damaged: c.Damaged, Packets: c.Packets, Bytes: c.Bytes,
			From: stamp(c.First), To: stamp(c.Last), Rate: c.Rate, LastsDays: c.Lasts.Hours() / 24,
		}
		out.Classes = append(out.Classes, x)
	}
	return out
}

func segmentsOf(l *daemon.SpoolListing) []segment {
	var out []segment
	for i := range l.Segments {
		out = append(out, segmentOf(&l.Segments[i], l.Segments[i].Err))
	}
	return out
}

func segmentOf(s *daemon.SpoolSegment, bad error) segment {
	x := segment{
		Path: s.Path(), Class: s.Class.String(), State: "closed", Calls: s.Keys, Packets: s.Packets, Bytes: s.Bytes,
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

var spoolColumns = []column{
	{head: "Class"}, {head: "Segments", right: true, drop: 3}, {head: "Packets", right: true}, {head: "Size", right: true},
	{head: "From", drop: 1}, {head: "To", drop: 2}, {head: "Per day", right: true}, {head: "Lasts", right: true},
}

func showSpool(w io.Writer, l look, list *daemon.SpoolListing, each bool) error {
	when := func(ns int64) string {
		return only(ns != 0, time.Unix(0, ns).In(l.zone).Format(time.DateTime))
	}
	var damage []string
	if each && len(list.Segments) > 0 {
		var rows [][]string
		for _, s := range segmentsOf(list) {
			closed := s.State == "closed"
			rows = append(rows, []string{s.Path, s.State, only(closed, count(s.Calls)), only(closed, count(s.Packets)), size(s.Bytes), when(s.from), when(s.to)})
			if s.Damage != "" {
				damage = append(damage, s.Path+": "+s.Damage)
			}
		}
		if err := writeTable(w, l, segmentColumns, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	var rows [][]string
	for name, c := range classesOf(list) {
		rows = append(rows, []string{name, count(c.Segments), count(c.Packets), size(c.Bytes), when(c.First), when(c.Last),
			only(c.Rate > 0, size(int64(c.Rate*86400))), days(c.Lasts)})
	}
	if err := writeTable(w, l, spoolColumns, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nvolume %s, %s free; the spool may take %s, %s stay free\n",
		size(list.Space.Total), size(list.Space.Free), size(list.Quota.Total), size(list.Quota.Reserve))
	for _, d := range damage {
		_, err2 := fmt.Fprintln(w, "damaged:", clean(d))
		err = errors.Join(err, err2)
	}
	return err
}

// classesOf are the classes of a listing in order, by their names.
func classesOf(l *daemon.SpoolListing) func(func(string, *daemon.SpoolClass) bool) {
	return func(yield func(string, *daemon.SpoolClass) bool) {
		for i, name := range []string{"sip", "rtp", "register"} {
			if !yield(name, &l.Classes[i]) {
				return
			}
		}
	}
}

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
		Use:   "check DIR",
		Short: "read every segment whole and tell damage",
		Long: `Read every closed segment of a spool whole: each frame against the index, and the
index against the frames. Nothing is changed, and ringside may write meanwhile.
Segments that are open are not looked into. The exit code is 1 if there is damage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := needSpool(args[0]); err != nil {
				return err
			}
			out := c.OutOrStdout()
			var closed, open, bad int
			var packets uint64
			var bytes int64
			each := func(i daemon.SpoolSegment, damage error) error {
				s := segmentOf(&i, damage)
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
			if err := daemon.CheckSpool(c.Context(), args[0], each); err != nil {
				return err
			}
			if !asJSON {
				fmt.Fprintf(out, "%s whole: %s, %s\n", plural(closed, "segment"), plural(packets, "packet"), size(bytes))
				if open > 0 {
					fmt.Fprintf(out, "%s open, or left by a crash: not looked into\n", plural(open, "segment"))
				}
			}
			if bad > 0 {
				return fmt.Errorf("check spool %s: %s damaged: ringside spool repair %s saves what is whole", args[0], plural(bad, "segment"), args[0])
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
	line := s.State + ": " + s.Path
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
