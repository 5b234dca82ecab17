package api

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ringside/appliance/auth"
	"ringside/flow/record"
	"ringside/writer/store"
)

// Downloads: packets and audio. Names of files are made of times and ids alone.

const (
	mediaPcapng = "application/x-pcapng"
	mediaPcap   = "application/vnd.tcpdump.pcap"
)

// packetQuery reads how packets are wanted.
func (q *request) packetQuery(p *params) (pq PacketQuery, mediaType, ext string) {
	format, class := p.choice("format", "pcapng", "pcap"), p.choice("class", "all", "sip", "rtp")
	pq = PacketQuery{SIP: class == "sip", RTP: class == "rtp", Classic: format == "pcap", MaxBytes: capsOf(q.id).bytes, HeadersOnly: !q.id.Can(auth.AudioRead)}
	if pq.Classic {
		return pq, mediaPcap, "pcap"
	}
	return pq, mediaPcapng, "pcapng"
}

// sending writes a file whose first bytes decide that it is one: what goes wrong
// before is an answer of its own.
type sending struct {
	q               *request
	mediaType, name string
	begun           bool
}

func (s *sending) Write(b []byte) (int, error) {
	if !s.begun && len(b) > 0 {
		s.begun = true
		s.q.attach(s.mediaType, s.name)
		s.q.w.WriteHeader(http.StatusOK)
	}
	return s.q.w.Write(b)
}

var _ io.Writer = (*sending)(nil)

// stamp is the time of a file's name.
func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("20060102-150405") }

func (q *request) getPackets() error {
	p := q.params()
	pq, mediaType, ext := q.packetQuery(p)
	if err := p.done(); err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	pq.Calls = []CallRef{refOf(c)}
	return q.sendPackets(pq, mediaType, fmt.Sprintf("ringside-%s-%d.%s", stamp(c.Start), c.ID, ext), q.r.PathValue("id"), c.CallID)
}

func (q *request) sendPackets(pq PacketQuery, mediaType, name, object, detail string) error {
	if q.a.o.Packets == nil {
		return fail(codeMissing, "there is no spool: packets are not stored")
	}
	if err := q.audited(object, detail); err != nil {
		return err
	}
	out := &sending{q: q, mediaType: mediaType, name: name}
	if _, err := q.a.o.Packets.Export(q.r.Context(), pq, out); err != nil {
		return err
	}
	if !out.begun {
		return ErrNotStored
	}
	return nil
}

func (q *request) exportCalls() error {
	p := q.params()
	pq, mediaType, ext := q.packetQuery(p)
	most := capsOf(q.id).calls
	limit := int(p.number("limit", 1, int64(most), int64(min(100, most))))
	var ids []int64
	readList(p, "ids", &ids, parseID)
	query := q.r.URL.RawQuery
	c, err := q.callFilter(p)
	if err != nil {
		return err
	}
	if err := p.done(); err != nil {
		return err
	}
	if len(ids) > most {
		return fail(codeParameter, "ids: %d are more than %d", len(ids), most)
	}
	if pq.Calls, err = q.refs(ids, c, limit); err != nil {
		return err
	}
	name := fmt.Sprintf("ringside-%s-%d-calls.%s", stamp(q.a.o.Now().UnixNano()), len(pq.Calls), ext)
	return q.sendPackets(pq, mediaType, name, fmt.Sprintf("%d calls", len(pq.Calls)), cut(query, 1000))
}

// refs are calls by their ids, or those that a filter finds. The caller may see
// all of them, or none is given.
func (q *request) refs(ids []int64, c chosen, limit int) (out []CallRef, err error) {
	for _, id := range ids {
		call, err := q.callOf(id)
		if err != nil {
			return nil, err
		}
		out = append(out, refOf(call))
	}
	page := store.Page{}
	for len(ids) == 0 && len(out) < limit {
		page.Limit = min(maxPage, limit-len(out))
		r, err := q.page(c, page)
		if err != nil {
			return nil, err
		}
		for i := range r.Items {
			out = append(out, refOf(&r.Items[i].Call))
		}
		if page.Cursor = r.Next; r.Next == "" {
			break
		}
	}
	if len(out) == 0 {
		return nil, fail(codeNotFound, "no call meets the filter")
	}
	return out, nil
}

// audio is the source of what calls sound like, with the call of the path.
func (q *request) audio() (Audio, *record.Call, error) {
	if q.a.o.Audio == nil {
		return nil, nil, fail(codeMissing, "there is no spool: nothing can be heard")
	}
	c, err := q.call()
	return q.a.o.Audio, c, err
}

func (q *request) getAudio() error {
	p := q.params()
	aq := AudioQuery{Side: p.choice("side", "both", "a", "b")}
	var start, length, heard float64
	read(p, "start", &start, parseFloat)
	read(p, "length", &length, parseFloat)
	read(p, "as_heard", &heard, parseFloat)
	for name, v := range map[string]float64{"start": start, "length": length, "as_heard": heard} {
		if v < 0 || v > 1e6 {
			p.fail(name, "%v is not from 0 to 1000000", v)
		}
	}
	if err := p.done(); err != nil {
		return err
	}
	aq.Start, aq.Length = seconds(start), seconds(length)
	aq.AsHeard = time.Duration(heard * float64(time.Millisecond))
	src, c, err := q.audio()
	if err != nil {
		return err
	}
	if err := q.audited(q.r.PathValue("id"), c.CallID); err != nil {
		return err
	}
	side := ""
	if aq.Side != "both" {
		side = "-" + aq.Side
	}
	out := &sending{q: q, mediaType: "audio/wav", name: fmt.Sprintf("ringside-%s-%d%s.wav", stamp(c.Start), c.ID, side)}
	if err := src.WAV(q.r.Context(), c, aq, out); err != nil {
		return err
	}
	if !out.begun {
		return ErrNotPlayable
	}
	return nil
}

func seconds(v float64) time.Duration { return time.Duration(v * float64(time.Second)) }

func (q *request) describeAudio() error {
	if err := q.params().done(); err != nil {
		return err
	}
	src, c, err := q.audio()
	if err != nil {
		return err
	}
	info, err := src.Describe(q.r.Context(), c)
	if err != nil {
		return err
	}
	if info.Streams == nil {
		info.Streams = []AudioStream{}
	}
	return q.json(info)
}

func (q *request) getWaveform() error {
	p := q.params()
	points := int(p.number("points", 10, 20_000, 1000))
	if err := p.done(); err != nil {
		return err
	}
	src, c, err := q.audio()
	if err != nil {
		return err
	}
	w, err := src.Waveform(q.r.Context(), c, points)
	if err != nil {
		return err
	}
	if w.Channels == nil {
		w.Channels = []WaveformChannel{}
	}
	for i := range w.Channels {
		if w.Channels[i].Peaks == nil {
			w.Channels[i].Peaks = []float64{}
		}
		if w.Channels[i].Lost == nil {
			w.Channels[i].Lost = []uint64{}
		}
	}
	return q.json(w)
}

func (q *request) listNotes() error {
	if err := q.params().done(); err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	found, err := q.a.o.Store.Notes(q.r.Context(), c.ID)
	if err != nil {
		return err
	}
	out := List[Note]{Items: []Note{}}
	for _, n := range found {
		out.Items = append(out.Items, noteOf(n))
	}
	return q.json(out)
}

func noteOf(n store.Note) Note { return Note{ID(n.ID), ID(n.CallID), n} }

func (q *request) addNote() error {
	var n NewNote
	if err := q.body(&n); err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	if err := q.audited(q.r.PathValue("id"), cut(strings.TrimSpace(n.Text), 200)); err != nil {
		return err
	}
	added, err := q.a.o.Store.AddNote(q.r.Context(), store.Note{CallID: c.ID, Author: q.id.User, Text: n.Text, Tag: n.Tag})
	if err != nil {
		return err
	}
	return q.jsonAs(http.StatusCreated, noteOf(added))
}

func (q *request) deleteNote() error {
	note, err := parseID(q.r.PathValue("note"))
	if err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	if err := q.audited(q.r.PathValue("id"), "note "+q.r.PathValue("note")); err != nil {
		return err
	}
	if err := q.a.o.Store.DeleteNote(q.r.Context(), c.ID, note); err != nil {
		return err
	}
	return q.nothing()
}
