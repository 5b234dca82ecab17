package cli

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"ringside/flow/record"
)

// sink takes records, one after the other, from one goroutine.
type sink interface {
	call(*record.Call) error
	orphan(*record.Stream) error
	close() error
}

// create opens an export: a file, or standard output for "-".
func create(path string, stdout io.Writer) (io.WriteCloser, error) {
	if path == "-" {
		return keepOpen{stdout}, nil
	}
	return os.Create(path)
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

// jsonSink writes one JSON document per line: calls as record.Call, and the
// streams that no call claimed as record.Stream with "orphan": true.
type jsonSink struct {
	buf *bufio.Writer
	out io.Closer
	enc *json.Encoder
}

func newJSON(out io.WriteCloser) *jsonSink {
	buf := bufio.NewWriterSize(out, 1<<16)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return &jsonSink{buf, out, enc}
}

func (s *jsonSink) call(c *record.Call) error { return s.enc.Encode(c) }

func (s *jsonSink) orphan(st *record.Stream) error {
	return s.enc.Encode(struct {
		Orphan bool `json:"orphan"`
		*record.Stream
	}{true, st})
}

func (s *jsonSink) close() error { return errors.Join(s.buf.Flush(), s.out.Close()) }

// csvColumns are the columns of a CSV export, one row per call: times in
// RFC 3339 UTC, spans in seconds, empty where the thing did not happen.
var csvColumns = []struct {
	name string
	cell func(*record.Call, quality) string
}{
	{"id", func(c *record.Call, _ quality) string { return strconv.FormatInt(c.ID, 10) }},
	{"call_id", func(c *record.Call, _ quality) string { return c.CallID }},
	{"sensor", func(c *record.Call, _ quality) string { return strconv.Itoa(int(c.Sensor)) }},
	{"start", func(c *record.Call, _ quality) string { return stamp(c.Start) }},
	{"ring", func(c *record.Call, _ quality) string { return stamp(c.Ring) }},
	{"answer", func(c *record.Call, _ quality) string { return stamp(c.Answer) }},
	{"end", func(c *record.Call, _ quality) string { return stamp(c.End) }},
	{"duration_s", func(c *record.Call, _ quality) string { return decimal(float64(duration(c)) / 1e9) }},
	{"connected_s", func(c *record.Call, _ quality) string {
		return only(c.Answer != 0, decimal(float64(connected(c))/1e9))
	}},
	{"pdd_s", func(c *record.Call, _ quality) string {
		d, ok := postDial(c)
		return only(ok, decimal(float64(d)/1e9))
	}},
	{"outcome", func(c *record.Call, _ quality) string { return c.Outcome.String() }},
	{"end_reason", func(c *record.Call, _ quality) string { return c.EndReason.String() }},
	{"hung_up", func(c *record.Call, _ quality) string { return c.HungUp.String() }},
	{"status", func(c *record.Call, _ quality) string {
		return only(c.LastStatus != 0, strconv.Itoa(int(c.LastStatus)))
	}},
	{"reason", func(c *record.Call, _ quality) string { return c.LastReason }},
	{"caller", func(c *record.Call, _ quality) string { return c.Caller.Number }},
	{"caller_domain", func(c *record.Call, _ quality) string { return c.Caller.Domain }},
	{"caller_name", func(c *record.Call, _ quality) string { return c.Caller.Name }},
	{"caller_addr", func(c *record.Call, _ quality) string { return endpoint(c.Caller) }},
	{"caller_agent", func(c *record.Call, _ quality) string { return c.Caller.Agent }},
	{"called", func(c *record.Call, _ quality) string { return c.Called.Number }},
	{"called_domain", func(c *record.Call, _ quality) string { return c.Called.Domain }},
	{"called_addr", func(c *record.Call, _ quality) string { return endpoint(c.Called) }},
	{"called_agent", func(c *record.Call, _ quality) string { return c.Called.Agent }},
	{"request_user", func(c *record.Call, _ quality) string { return c.RequestUser }},
	{"messages", func(c *record.Call, _ quality) string { return fmt.Sprint(c.MessagesTotal) }},
	{"retransmissions", func(c *record.Call, _ quality) string { return fmt.Sprint(c.Retransmissions) }},
	{"streams", func(c *record.Call, _ quality) string { return strconv.Itoa(len(c.Streams)) }},
	{"codec", func(_ *record.Call, q quality) string { return q.codec }},
	{"mos_least", func(_ *record.Call, q quality) string { return only(q.mos > 0, decimal(q.mos)) }},
	{"loss_most_percent", func(_ *record.Call, q quality) string { return only(q.heard, decimal(q.loss)) }},
	{"jitter_most_ms", func(_ *record.Call, q quality) string { return only(q.heard, decimal(q.jitter)) }},
	{"flags", func(c *record.Call, _ quality) string { return strings.Join(c.Flags.Names(), " ") }},
}

func stamp(ns int64) string {
	return only(ns != 0, time.Unix(0, ns).UTC().Format(time.RFC3339Nano))
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) }

func only(there bool, s string) string {
	if !there {
		return ""
	}
	return s
}

func endpoint(p record.Party) string { return only(p.Addr.IsValid(), p.Addr.String()) }

// csvSink writes calls as CSV (RFC 4180, with a header line). Streams are in
// the JSON export only.
type csvSink struct {
	w   *csv.Writer
	out io.Closer
	row []string
}

func newCSV(out io.WriteCloser) (*csvSink, error) {
	s := &csvSink{w: csv.NewWriter(out), out: out, row: make([]string, len(csvColumns))}
	s.w.UseCRLF = true
	for i, c := range csvColumns {
		s.row[i] = c.name
	}
	return s, s.w.Write(s.row)
}

func (s *csvSink) call(c *record.Call) error {
	q := qualityOf(c)
	for i := range csvColumns {
		s.row[i] = csvColumns[i].cell(c, q)
	}
	return s.w.Write(s.row)
}

func (s *csvSink) orphan(*record.Stream) error { return nil }

func (s *csvSink) close() error {
	s.w.Flush()
	return errors.Join(s.w.Error(), s.out.Close())
}
