package cli

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringside/flow/record"
)

// sink takes records, one after the other, from one goroutine. A record is a
// pointer to one of the types of flow/record: a Stream is one that no call
// claimed. A sink passes over records that it has no use for.
type sink interface {
	take(rec any) error
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

// jsonSink writes one JSON document per line: calls as record.Call, streams
// that no call claimed as record.Stream with "orphan": true, and every other
// record with the "type" that it is of. Keys of encrypted media are left out,
// unless they are asked for.
type jsonSink struct {
	buf  *bufio.Writer
	out  io.Closer
	enc  *json.Encoder
	keys bool
}

func newJSON(out io.WriteCloser, keys bool) *jsonSink {
	buf := bufio.NewWriterSize(out, 1<<16)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return &jsonSink{buf, out, enc, keys}
}

func (s *jsonSink) take(rec any) error {
	switch r := rec.(type) {
	case *record.Call:
		if !s.keys {
			r = withoutKeys(r)
		}
		return s.enc.Encode(r)
	case *record.Stream:
		return s.enc.Encode(struct {
			Orphan bool `json:"orphan"`
			*record.Stream
		}{true, r})
	case *record.Registration:
		return s.enc.Encode(struct {
			Type string `json:"type"`
			*record.Registration
		}{"registration", r})
	case *record.Exchange:
		return s.enc.Encode(struct {
			Type string `json:"type"`
			*record.Exchange
		}{"exchange", r})
	case *record.Event:
		return s.enc.Encode(struct {
			Type string `json:"type"`
			*record.Event
		}{"event", r})
	case *record.Link:
		return s.enc.Encode(struct {
			Type string `json:"type"`
			*record.Link
		}{"link", r})
	case *record.QualityReport:
		return s.enc.Encode(struct {
			Type string `json:"type"`
			*record.QualityReport
		}{"quality", r})
	}
	return fmt.Errorf("write JSON: no form for %T", rec)
}

// withoutKeys is the call without keys of its media; the call itself is not
// changed, since others have it too.
func withoutKeys(c *record.Call) *record.Call {
	has := func(m record.Media) bool { return m.Crypto != "" }
	if !slices.ContainsFunc(c.Media, has) {
		return c
	}
	bare := *c
	bare.Media = slices.Clone(c.Media)
	for i := range bare.Media {
		bare.Media[i].Crypto = ""
	}
	return &bare
}

func (s *jsonSink) close() error { return errors.Join(s.buf.Flush(), s.out.Close()) }

// csvColumn is a column of a CSV export with what stands in it.
type csvColumn[T any] struct {
	name string
	cell func(*T) string
}

// csvColumns are the columns of a CSV export, one row per call: times in
// RFC 3339 UTC, spans in seconds, empty where the thing did not happen.
var csvColumns = []csvColumn[record.Call]{
	{"id", func(c *record.Call) string { return strconv.FormatInt(c.ID, 10) }},
	{"call_id", func(c *record.Call) string { return c.CallID }},
	{"sensor", func(c *record.Call) string { return strconv.Itoa(int(c.Sensor)) }},
	{"start", func(c *record.Call) string { return stamp(c.Start) }},
	{"ring", func(c *record.Call) string { return stamp(c.Ring) }},
	{"answer", func(c *record.Call) string { return stamp(c.Answer) }},
	{"end", func(c *record.Call) string { return stamp(c.End) }},
	{"duration_s", func(c *record.Call) string { return decimal(float64(duration(c)) / 1e9) }},
	{"connected_s", func(c *record.Call) string {
		return only(c.Answer != 0, decimal(float64(connected(c))/1e9))
	}},
	{"pdd_s", func(c *record.Call) string {
		d, ok := postDial(c)
		return only(ok, decimal(float64(d)/1e9))
	}},
	{"outcome", func(c *record.Call) string { return c.Outcome.String() }},
	{"end_reason", func(c *record.Call) string { return c.EndReason.String() }},
	{"hung_up", func(c *record.Call) string { return c.HungUp.String() }},
	{"status", func(c *record.Call) string { return status(c.LastStatus) }},
	{"reason", func(c *record.Call) string { return c.LastReason }},
	{"caller", func(c *record.Call) string { return c.Caller.Number }},
	{"caller_domain", func(c *record.Call) string { return c.Caller.Domain }},
	{"caller_name", func(c *record.Call) string { return c.Caller.Name }},
	{"caller_addr", func(c *record.Call) string { return endpoint(c.Caller.Addr) }},
	{"caller_agent", func(c *record.Call) string { return c.Caller.Agent }},
	{"called", func(c *record.Call) string { return c.Called.Number }},
	{"called_domain", func(c *record.Call) string { return c.Called.Domain }},
	{"called_addr", func(c *record.Call) string { return endpoint(c.Called.Addr) }},
	{"called_agent", func(c *record.Call) string { return c.Called.Agent }},
	{"request_user", func(c *record.Call) string { return c.RequestUser }},
	{"messages", func(c *record.Call) string { return fmt.Sprint(c.MessagesTotal) }},
	{"retransmissions", func(c *record.Call) string { return fmt.Sprint(c.Retransmissions) }},
	{"streams", func(c *record.Call) string { return strconv.Itoa(len(c.Streams)) }},
	{"codec", func(c *record.Call) string { return qualityOf(c).codec }},
	{"mos_least", func(c *record.Call) string {
		q := qualityOf(c)
		return only(q.mos > 0, decimal(q.mos))
	}},
	{"loss_most_percent", func(c *record.Call) string {
		q := qualityOf(c)
		return only(q.heard, decimal(q.loss))
	}},
	{"jitter_most_ms", func(c *record.Call) string {
		q := qualityOf(c)
		return only(q.heard, decimal(q.jitter))
	}},
	{"flags", func(c *record.Call) string { return strings.Join(c.Flags.Names(), " ") }},
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

func endpoint(a netip.AddrPort) string { return only(a.IsValid(), a.String()) }

// csvSink writes the records of one type as CSV (RFC 4180, with a header
// line). All others are in the JSON export only.
type csvSink[T any] struct {
	w       *csv.Writer
	out     io.Closer
	columns []csvColumn[T]
	row     []string
}

func newCSV[T any](out io.WriteCloser, columns []csvColumn[T]) (*csvSink[T], error) {
	s := &csvSink[T]{w: csv.NewWriter(out), out: out, columns: columns, row: make([]string, len(columns))}
	s.w.UseCRLF = true
	for i, c := range columns {
		s.row[i] = c.name
	}
	return s, s.w.Write(s.row)
}

func (s *csvSink[T]) take(rec any) error {
	v, ok := rec.(*T)
	if !ok {
		return nil
	}
	for i, c := range s.columns {
		s.row[i] = c.cell(v)
	}
	return s.w.Write(s.row)
}

func (s *csvSink[T]) close() error {
	s.w.Flush()
	return errors.Join(s.w.Error(), s.out.Close())
}
