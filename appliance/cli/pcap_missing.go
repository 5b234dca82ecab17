package cli

import (
	"fmt"
	"io"
	"time"

	"ringside/appliance/daemon"
	"ringside/flow/record"
)

// tellMissing is for how many calls it is told why there are no packets of them.
const tellMissing = 10

// missing says why there are no packets of calls, as far as records and the spool
// tell.
func (f *pcapFlags) missing(w *wantedCalls, ids []string, l look, stderr io.Writer) error {
	if len(ids) == 0 {
		return nil
	}
	list, err := daemon.ListSpool(spoolDirs(f.spool, daemon.SpoolQuota{}, daemon.SpoolQuota{}))
	if err != nil {
		return err
	}
	for i, id := range ids {
		if i == tellMissing {
			fmt.Fprintf(stderr, "… and %s more\n", count(len(ids)-i))
			break
		}
		c, ok := w.records[id]
		if !ok {
			fmt.Fprintf(stderr, "%s: %s\n", clean(id), f.unknownCall(list, l))
			continue
		}
		if !f.rtp || f.sip {
			fmt.Fprintf(stderr, "%s: signalling: %s\n", clean(id), why(c.SIPStored, &c, &list.Classes[0], l))
		}
		if !f.sip || f.rtp {
			fmt.Fprintf(stderr, "%s: media: %s\n", clean(id), why(c.RTPStored, &c, &list.Classes[1], l))
		}
	}
	return nil
}

// unknownCall is what there is to say of a call without a record.
func (f *pcapFlags) unknownCall(list *daemon.SpoolListing, l look) string {
	var from, to int64
	for _, c := range list.Classes {
		if c.Packets > 0 && (from == 0 || c.First < from) {
			from = c.First
		}
		to = max(to, c.Last)
	}
	what := "nothing"
	switch {
	case f.sip && !f.rtp:
		what = "no signalling"
	case f.rtp && !f.sip:
		what = "no media"
	}
	s := "the spool is empty"
	if from != 0 {
		s = fmt.Sprintf("%s of it in the spool, which holds packets from %s to %s", what, l.moment(from), l.moment(to))
	}
	if f.db != "" {
		return s + ", and not in the store; is the Call-ID whole?"
	}
	return s + "; is the Call-ID whole? With --db the call's record tells more"
}

// why is why the packets of a call are not there in one class.
func why(s record.Stored, c *record.Call, class *daemon.SpoolClass, l look) string {
	switch s.State() {
	case "":
		return "the record tells of no spool: none was in use when the call was captured"
	case "none":
		return "not wanted by " + decidedBy(c)
	case "shed":
		return fmt.Sprintf("%s wanted by %s, but memory was short", plural(s.Missed, "packet"), decidedBy(c))
	}
	switch end := max(c.End, c.Last); {
	case s.Packets == 0:
		return "wanted by " + decidedBy(c) + ", but there was none"
	case class.Packets == 0:
		return fmt.Sprintf("%s were stored, but the spool holds none of this class any more: expired, or it is another spool", plural(s.Packets, "packet"))
	case end < class.First-class.First%int64(time.Minute):
		return fmt.Sprintf("expired: %s were stored, and the oldest that the spool holds are of %s", plural(s.Packets, "packet"), l.moment(class.First))
	}
	return fmt.Sprintf("%s were stored, but are not here: removed, lost with a failing disk, damaged (ringside spool check), or in another spool", plural(s.Packets, "packet"))
}

func decidedBy(c *record.Call) string {
	if c.Rule == "" {
		return "any rule"
	}
	return "the capture rule " + clean(c.Rule)
}
