package daemon

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringside/appliance/metrics"
	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
	"ringside/dataplane/nic"
	"ringside/flow"
	"ringside/flow/record"
	"ringside/flow/sip"
	"ringside/writer/spool"
)

// openMetrics makes the page for Prometheus, before there is anything to measure.
func (s *Service) openMetrics() {
	if s.o.HTTP.Addr != "" {
		s.metrics = metrics.New(figuresOf{s})
	}
}

// timeDisk and timeStore tell the metrics how long writing takes.
func (s *Service) timeDisk(op spool.Op, took time.Duration) {
	if s.metrics != nil {
		s.metrics.ObserveWrite([...]string{spool.Write: "write", spool.Sync: "sync"}[op], took)
	}
}

func (s *Service) timeStore(took time.Duration) {
	if s.metrics != nil {
		s.metrics.ObserveBatch(took)
	}
}

// observe counts an answered request, and says it to who looks for a fault.
func (s *Service) observe(route string, status int, took time.Duration) {
	s.metrics.ObserveRequest(route, status, took)
	s.o.Log.Debug(fmt.Sprintf("api: %s: %d after %v", route, status, took.Round(time.Microsecond)))
}

// measure counts a call that is over, before anybody else gets its record.
func (s *Service) measure(c *record.Call) {
	if s.metrics != nil {
		s.metrics.ObserveCall(c)
	}
}

// localOr lets programs of this machine read the page as they are: it names nobody.
// Others need an account or, as Prometheus has it, an API token; and so does whatever
// comes through a proxy, which cannot be told from this machine. That is the API's.
func localOr(page, known http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local(r) {
			page.ServeHTTP(w, r)
			return
		}
		known.ServeHTTP(w, r)
	})
}

// local reports whether a request comes straight from this machine, and not from a
// page of some other site that a browser here shows.
func local(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via", "Origin", "Sec-Fetch-Site"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// watched is a decoder whose counters can be asked for. They are copied by the one
// goroutine that may read them, and only when somebody has asked.
type watched struct {
	frame.Decoder
	of    *decode.Decoder
	asked atomic.Bool
	last  atomic.Pointer[decode.Stats]
	age   atomic.Int64 // of the block that came when it was asked, ns
	at    atomic.Int64 // when that was, ns since it began; 0: never
	began time.Time
}

func (d *watched) Decode(b *frame.Batch) {
	d.Decoder.Decode(b)
	if d.asked.Load() {
		d.asked.Store(false)
		st := d.of.Stats()
		d.last.Store(&st)
		if len(b.Frames) > 0 {
			now := time.Now()
			d.age.Store(max(0, now.UnixNano()-b.Frames[0].Time))
			d.at.Store(max(1, int64(now.Sub(d.began))))
		}
	}
}

// watchDecoders lets the counters of decoders be asked for. It is called before any
// of them is at work.
func (l *Live) watchDecoders() {
	for i, w := range l.workers {
		w.decoder.Decoder = &watched{Decoder: w.decoder.Decoder, of: l.decoders[i], began: time.Now()}
	}
}

// askDecoders has the decoders say once more what they have counted: with the next
// block that comes.
func (l *Live) askDecoders() {
	for _, w := range l.workers {
		if d, ok := w.decoder.Decoder.(*watched); ok {
			d.asked.Store(true)
		}
	}
}

// aged is for how long what a decoder has said of its last block counts.
const aged = 3 * watchEvery

// blockAge is how old the last block of a worker was when it came, -1 if none came
// lately.
func (w *worker) blockAge(now time.Time) time.Duration {
	d, ok := w.decoder.Decoder.(*watched)
	if !ok {
		return -1
	}
	if at := d.at.Load(); at == 0 || now.Sub(d.began)-time.Duration(at) > aged {
		return -1
	}
	return time.Duration(d.age.Load())
}

// figuresOf is metrics.Source.
type figuresOf struct{ s *Service }

// Snapshot implements metrics.Source.
func (f figuresOf) Snapshot() metrics.Snapshot {
	s := f.s
	st := s.Status()
	out := metrics.Snapshot{
		Build: metrics.Build{Version: s.o.Version, Commit: s.o.About.Commit, Go: runtime.Version()},
		Now:   time.Now(), Ready: s.ready.Load(), Workers: st.Capture.CPU, Gaps: len(st.Capture.Gaps),
	}
	for i := range st.Capture.Lost {
		r := &st.Capture.Lost[i]
		out.Lost = append(out.Lost, metrics.Count{Name: r.Stage, N: r.Packets})
	}
	out.Sensor, out.Name = s.sensor()
	if s.live != nil {
		out.Interfaces, out.Decode = s.live.interfaceFigures(), s.live.decodeErrors()
	}
	if s.input != nil {
		fl := s.input.flows().Stats()
		out.Flow = flowFigures(&fl)
	}
	if p := s.pipeline(); p != nil && p.record != nil {
		out.Spool = s.spoolFigures(p.record)
	}
	out.Store = s.store.figures()
	return out
}

// interfaceFigures are the counters of interfaces, from the ledger's last look and
// from the rings.
func (l *Live) interfaceFigures() []metrics.Interface {
	rows, _ := l.ledger.snapshot()
	now := time.Now()
	out := make([]metrics.Interface, 0, len(l.ports))
	for _, p := range l.ports {
		text, _ := p.rings.State()
		i := metrics.Interface{Name: p.name, Up: text == "", Speed: p.speed()}
		for k := range rows {
			r := &rows[k]
			switch {
			case r.Interface != p.name:
			case r.Stage == StageNIC && (r.Reason == "received" || r.Reason == "sent"):
				i.Packets += r.Packets
				i.Bytes += r.Bytes
			case r.Stage == StageFilter:
				verdict, _, _ := strings.Cut(r.Reason, " ")
				i.Verdicts = append(i.Verdicts, metrics.Count{Name: verdict, N: r.Packets})
			case r.Lost && r.Stage == StageNIC && !strings.HasPrefix(r.Reason, "outages"):
				i.Dropped += r.Packets
			}
		}
		readers := l.readers(p)
		set, real := p.rings.(ringSet)
		for n, r := range ringsOf(l, p, nil) {
			ring := metrics.Ring{Packets: r.Packets, Drops: r.Drops, Fill: r.Fill, Age: readers[n].blockAge(now)}
			if real {
				ring.Freezes = set.Ring(r.Number).Stats().Freezes
			}
			i.Rings = append(i.Rings, ring)
		}
		out = append(out, i)
	}
	return out
}

// readers are the workers of an interface, by ring.
func (l *Live) readers(p *port) (out []*worker) {
	for _, w := range l.workers {
		if w.port == p {
			out = append(out, w)
		}
	}
	return out
}

// speed is that of the link in bytes a second; 0 where it is not known.
func (p *port) speed() (v float64) {
	p.ask(func(card *nic.NIC) {
		if st, err := card.State(); err == nil {
			v = float64(max(0, st.Speed)) * 1e6 / 8
		}
	})
	return v
}

// decodeErrors are frames without a packet, as far as the decoders have said.
func (l *Live) decodeErrors() (out []metrics.Count) {
	for _, w := range l.workers {
		d, ok := w.decoder.Decoder.(*watched)
		if !ok {
			continue
		}
		st := d.last.Load()
		if st == nil {
			continue
		}
		for i, n := range st.Reasons {
			if n > 0 {
				out = append(out, metrics.Count{Name: decode.Reason(i).String(), N: n})
			}
		}
	}
	return out
}

func flowFigures(fl *flow.Stats) *metrics.Flow {
	out := &metrics.Flow{
		Calls: fl.Calls.Open, Registrations: fl.Registers.Bound, Streams: fl.ActiveStreams,
		RTP: fl.RTP + fl.Metered, Orphan: fl.Orphan, Responses: fl.Responses,
		Messages: []metrics.Count{{Name: record.UDP.String(), N: fl.SIPPackets}},
	}
	for t, n := range fl.Sessions.Messages {
		if t := record.Transport(t); t > record.UDP {
			out.Messages = append(out.Messages, metrics.Count{Name: t.String(), N: n})
		}
	}
	for m, n := range fl.Requests {
		out.Requests = append(out.Requests, metrics.Count{Name: sip.Method(m).String(), N: n})
	}
	for _, k := range fl.SIPProblems() {
		out.ParseErrors = append(out.ParseErrors, metrics.Count{Name: k.Name, N: k.Count})
	}
	return out
}

// pageBytes is the unit in which a spool counts its memory.
const pageBytes = 4 << 10

func (s *Service) spoolFigures(r *recording) *metrics.Spool {
	st := r.spool.Stats()
	out := &metrics.Spool{
		Bytes: st.Bytes, Used: int64(st.Used) * pageBytes, Memory: int64(st.Pages) * pageBytes,
		Stopped: st.Away || st.Short || st.Stopped != nil, Reach: make([]metrics.Reach, spool.Classes),
	}
	for c := range spool.Class(spool.Classes) {
		out.Refused += st.Refused[c].Packets
		out.Failed += st.Lost[c].Packets
		out.Discarded += st.Dropped[c].Packets
		out.Reach[c] = metrics.Reach{Class: c.String(), Lasts: st.Forecast[c].Lasts}
		out.Packed = append(out.Packed, metrics.Packing{Class: c.String(), Plain: st.Plain[c], Packed: st.Packed[c]})
	}
	if len(s.o.Spool) == 0 {
		return out
	}
	var fs unix.Statfs_t
	if unix.Statfs(s.o.Spool[0].Dir, &fs) == nil {
		out.Free = int64(fs.Bavail) * fs.Bsize
	}
	for _, d := range s.o.Spool {
		if at := oldestSegment(d.Dir); !at.IsZero() && (out.Oldest.IsZero() || at.Before(out.Oldest)) {
			out.Oldest = at
		}
	}
	for c, age := range s.quotaAges() {
		out.Reach[c].Policy = age
	}
	return out
}

// quotaAges say how far back each class of the spool is to go: the age at which the
// last directory gives it up.
func (s *Service) quotaAges() [spool.Classes]time.Duration {
	if c := s.config.now(); c != nil {
		if c.Spool.Cold != "" {
			return c.Spool.ColdQuota.Ages()
		}
		return c.Spool.Quota.Ages()
	}
	return s.o.Spool[len(s.o.Spool)-1].Limits.Age
}

// oldestSegment is the minute of the oldest segment below a directory. Names sort by
// time, so that it reads a few directories, however large the spool is.
func oldestSegment(dir string) time.Time {
	for _, day := range names(dir) {
		for _, hour := range names(filepath.Join(dir, day)) {
			for _, file := range names(filepath.Join(dir, day, hour)) {
				if n, ok := spool.ParseName(filepath.Join(day, hour, file)); ok && !n.Hidden {
					return time.Unix(0, n.Minute)
				}
			}
		}
	}
	return time.Time{}
}

// names are those in a directory, sorted; none if it cannot be read.
func names(dir string) (out []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// figures are those of the store; nil where nothing is written.
func (k *keeping) figures() *metrics.Store {
	if k == nil || k.writer == nil {
		return nil
	}
	st := k.writer.Stats()
	out := &metrics.Store{QueuedBytes: int64(st.QueuedBytes), Errors: st.Rejected + st.Failed, Parked: st.Parked, Lost: st.Lost(), Away: st.Away}
	if all, done := st.Added+st.Recovered, st.Stored()+st.Parked+st.Lost(); all > done {
		out.Pending = all - done
	}
	return out
}
