package api

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringside/flow/record"
	"ringside/writer/store"
)

// Overview is a time beside the one before it, with what happened last.
type Overview struct {
	store.Overview
	Events []Event     `json:"events"` // the latest
	Live   *LiveStatus `json:"live,omitempty"`
}

// notable are the kinds of events that an overview shows: what somebody may have
// to do something about.
var notable = []record.EventKind{record.AuthRefused, record.RegExpired, record.PeerDown, record.PeerUp, record.ParseError, record.MirrorDuplicates, record.MirrorOneWay}

var specGzip = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(Spec)
	z.Close()
	return b.Bytes()
})

// overviewQuery makes of a time, or of none, what the store can be asked: full
// hours up to its end.
func overviewQuery(from, to, now int64) (store.OverviewQuery, error) {
	if to == 0 {
		to = now
	}
	out := store.OverviewQuery{To: to}
	if from == 0 {
		return out, nil
	}
	if from >= to {
		return out, fail(codeParameter, "from: it is not before to")
	}
	out.Span = (time.Duration(to-from) + time.Hour - 1) / time.Hour * time.Hour
	return out, nil
}

// spanOf is the time of a question about statistics: the last day if none is given.
func spanOf(f *store.Filter, now time.Time) (from, to int64) {
	from, to = f.From, f.To
	if to == 0 {
		to = now.UnixNano()
	}
	if from == 0 {
		from = to - int64(24*time.Hour)
	}
	return from, to
}

func readMetric(p *params) (m store.Metric) {
	read(p, "metric", &m, func(s string) (store.Metric, error) {
		if store.Metric(s).Unit() == "" {
			return "", fmt.Errorf("%q is none of %v", cut(s, 40), store.Metrics())
		}
		return store.Metric(s), nil
	})
	return m
}

func readDimension(p *params) (d store.Dimension) {
	read(p, "by", &d, func(s string) (store.Dimension, error) {
		for _, k := range store.Dimensions() {
			if string(k) == s {
				return k, nil
			}
		}
		if s == "none" {
			return store.ByNone, nil
		}
		return "", fmt.Errorf("%q is none of %v", cut(s, 40), store.Dimensions())
	})
	return d
}

func (q *request) series() error {
	p := q.params()
	sq := store.SeriesQuery{Metric: readMetric(p), By: readDimension(p)}
	read(p, "step", &sq.Step, parseSpan)
	sq.Top = int(p.number("top", 1, 100, 10))
	form, err := q.accept("application/json", mediaCSV)
	if err != nil {
		return err
	}
	c, err := q.callFilter(p)
	if err != nil {
		return err
	}
	if err := p.done(); err != nil {
		return err
	}
	if sq.Filter, err = c.figuresOf(); err != nil {
		return err
	}
	s, err := q.store()
	if err != nil {
		return err
	}
	sq.From, sq.To = spanOf(&sq.Filter, p.now)
	out, err := s.Series(q.r.Context(), sq)
	if err != nil {
		return err
	}
	if form == mediaCSV {
		return q.seriesCSV(&out)
	}
	if out.Lines == nil {
		out.Lines = []store.Line{}
	}
	return q.json(out)
}

// seriesCSV has a row for each step, a column for each line.
func (q *request) seriesCSV(s *store.Series) error {
	rows := [][]string{{"time"}}
	for _, l := range s.Lines {
		name := l.Value
		if name == "" {
			name = string(s.Metric)
		}
		rows[0] = append(rows[0], name)
	}
	for i := range int((s.To - s.From) / max(1, s.Step)) {
		row := []string{time.Unix(0, s.From+int64(i)*s.Step).UTC().Format(time.RFC3339)}
		for _, l := range s.Lines {
			text := ""
			if i < len(l.Points) && l.Points[i] != nil {
				text = strconv.FormatFloat(*l.Points[i], 'f', -1, 64)
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return q.csv("series", rows)
}

// csv answers with a small table. Only what is no number is made harmless.
func (q *request) csv(what string, rows [][]string) error {
	var b strings.Builder
	w := csv.NewWriter(&b)
	for _, r := range rows {
		for i, c := range r {
			if _, err := strconv.ParseFloat(c, 64); err != nil || strings.HasPrefix(c, "+") {
				r[i] = harmless(c)
			}
		}
		if err := w.Write(r); err != nil {
			return err
		}
	}
	w.Flush()
	q.attach(mediaCSV+"; charset=utf-8; header=present", fmt.Sprintf("ringside-%s-%s.csv", what, stamp(q.a.o.Now().UnixNano())))
	q.w.Write([]byte(b.String()))
	return nil
}

func (q *request) top() error {
	p := q.params()
	tq := store.TopQuery{By: readDimension(p), Metric: readMetric(p), N: int(p.number("top", 1, 100, 10)),
		Least: p.yes("least"), MinCalls: p.number("min_calls", 0, 1<<40, 0)}
	form, err := q.accept("application/json", mediaCSV)
	if err != nil {
		return err
	}
	c, err := q.callFilter(p)
	if err != nil {
		return err
	}
	if err := p.done(); err != nil {
		return err
	}
	if tq.Filter, err = c.figuresOf(); err != nil {
		return err
	}
	s, err := q.store()
	if err != nil {
		return err
	}
	tq.From, tq.To = spanOf(&tq.Filter, p.now)
	out, err := s.Top(q.r.Context(), tq)
	if err != nil {
		return err
	}
	if form == mediaCSV {
		return q.topCSV(&out)
	}
	if out.Values == nil {
		out.Values = []store.TopValue{}
	}
	return q.json(out)
}

func (q *request) topCSV(t *store.Top) error {
	by := string(t.By)
	if by == "" {
		by = "all"
	}
	rows := [][]string{{by, "calls", "answered", "failed", "asr", "ner", "acd_s", "pdd_s", "mos", "loss_pct", "jitter_ms"}}
	for _, v := range t.Values {
		row := []string{v.Value, strconv.FormatInt(v.Calls, 10), strconv.FormatInt(v.Answered, 10), strconv.FormatInt(v.Failed, 10)}
		for _, f := range []*float64{v.ASR, v.NER, v.ACD, v.PDD, v.MOS, v.Loss, v.Jitter} {
			text := ""
			if f != nil {
				text = strconv.FormatFloat(*f, 'f', -1, 64)
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return q.csv("top-"+by, rows)
}
