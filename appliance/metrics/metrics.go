// Package metrics is the page that Prometheus reads.
//
// Counters and gauges are asked of a Source at each scrape; what is a histogram is
// told call by call and request by request. Labels are names of interfaces, rings
// and things that the program itself names: never a number, an address or a
// Call-ID, so that nobody on the network can make the page grow.
//
// docs/metrics.md lists what there is.
package metrics

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ringside/flow/record"
)

// Limits of a scrape.
const (
	scrapes    = 4 // at a time
	scrapeTime = 10 * time.Second
	maxRoutes  = 200 // further ones count as "other"
)

// Metrics is a registry of its own. Its methods may be used concurrently.
type Metrics struct {
	registry *prometheus.Registry

	outcomes                 [record.Partial + 1]prometheus.Counter
	mos, jitter, loss, setup prometheus.Histogram
	requests, writes         *prometheus.HistogramVec
	batches                  prometheus.Histogram
	routes                   routes
}

// New makes the metrics of a source.
func New(src Source) *Metrics {
	m := &Metrics{registry: prometheus.NewPedanticRegistry()}
	m.mos = histogram("ringside_call_mos", "MOS (listening, ITU-T G.107) of the worst stream of a call.",
		1.5, 2, 2.5, 2.8, 3.1, 3.4, 3.6, 3.8, 4, 4.1, 4.2, 4.3, 4.4)
	m.jitter = histogram("ringside_call_jitter_seconds", "Mean jitter (RFC 3550) of the worst stream of a call.",
		.001, .002, .005, .01, .02, .03, .05, .1, .2, .5)
	m.loss = histogram("ringside_call_loss_ratio", "Packets lost of those expected, of the worst stream of a call.",
		0, .001, .0025, .005, .01, .02, .03, .05, .1, .2, .5)
	m.setup = histogram("ringside_call_setup_seconds", "Time from the INVITE to ringing, or to the answer where nothing rang (post-dial delay).",
		.05, .1, .25, .5, 1, 2, 3, 5, 8, 12, 20, 40)
	m.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "ringside_api_request_seconds", Help: "Time to answer a request to the API, by route and status.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route", "code"})
	m.writes = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "ringside_spool_write_seconds", Help: "Time that the disk of the spool takes to write a piece of a segment, or to sync it.", Buckets: diskBuckets,
	}, []string{"op"})
	m.batches = histogram("ringside_cdr_batch_seconds", "Time that the database takes for a batch of records.", diskBuckets...)
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ringside_calls_total", Help: "Calls that are over, by outcome.",
	}, []string{"outcome"})
	for _, o := range record.Outcomes() {
		m.outcomes[o] = calls.WithLabelValues(o.String())
	}
	m.registry.MustRegister(
		&scraper{src}, calls, m.mos, m.jitter, m.loss, m.setup, m.requests, m.writes, m.batches,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// diskBuckets tell a disk that is busy from one that is not, in seconds.
var diskBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func histogram(name, help string, buckets ...float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

// Handler is the page. Who may see it is for the caller to say.
func (m *Metrics) Handler() http.Handler {
	page := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes, Timeout: scrapeTime})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "read metrics with GET", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		page.ServeHTTP(w, r)
	})
}

// ObserveCall counts a call that is over. It keeps nothing of the record.
func (m *Metrics) ObserveCall(c *record.Call) {
	if int(c.Outcome) < len(m.outcomes) {
		m.outcomes[c.Outcome].Inc()
	}
	if after, ok := setup(c); ok {
		m.setup.Observe(after)
	}
	q := worst(c)
	if q.mos > 0 {
		m.mos.Observe(q.mos)
	}
	if q.measured {
		m.jitter.Observe(q.jitter)
		m.loss.Observe(q.loss)
	}
}

// setup is the post-dial delay in seconds, if the call's INVITE was seen.
func setup(c *record.Call) (seconds float64, ok bool) {
	at := c.Ring
	if at == 0 || c.Answer != 0 && c.Answer < at {
		at = c.Answer
	}
	if at == 0 || at < c.Start || c.Flags&record.MidCall != 0 {
		return 0, false
	}
	return time.Duration(at - c.Start).Seconds(), true
}

// quality is that of the worst stream of a call, in each figure.
type quality struct {
	measured          bool
	mos, jitter, loss float64 // mos 0: not known; jitter in s; loss 0 to 1
}

// fewest is how many packets a stream has whose figures mean something: two seconds
// of speech at 20 ms.
const fewest = 100

// worst looks at the streams of a call. What our own capture or the mirror port has
// lost is not the network's loss: such calls have no figures here.
func worst(c *record.Call) (q quality) {
	if c.Flags&(record.Incomplete|record.MirrorLoss) != 0 {
		return q
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		if s.Expected < fewest {
			continue
		}
		q.measured = true
		q.jitter = max(q.jitter, s.JitterAvg/1e3)
		q.loss = max(q.loss, float64(s.Lost)/float64(s.Expected))
		if s.MOS.LQ > 0 && (q.mos == 0 || s.MOS.LQ < q.mos) {
			q.mos = s.MOS.LQ
		}
	}
	return q
}

// ObserveWrite counts something that the disk of the spool did: op is one of few
// words.
func (m *Metrics) ObserveWrite(op string, took time.Duration) {
	m.writes.WithLabelValues(op).Observe(took.Seconds())
}

// ObserveBatch counts a batch of records that the database took.
func (m *Metrics) ObserveBatch(took time.Duration) { m.batches.Observe(took.Seconds()) }

// ObserveRequest counts an answered request. route is a pattern of the API, never a
// path.
func (m *Metrics) ObserveRequest(route string, status int, took time.Duration) {
	if status < 100 || status > 599 {
		status = 0 // it was cut off
	}
	m.requests.WithLabelValues(m.routes.known(route), strconv.Itoa(status)).Observe(took.Seconds())
}

// routes are those that have a label.
type routes struct {
	mu  sync.Mutex
	set map[string]bool
}

// known is the route, or "other" once there are too many: a caller that gives paths
// for routes must not fill the memory.
func (r *routes) known(route string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set[route] {
		return route
	}
	if len(r.set) >= maxRoutes {
		return "other"
	}
	if r.set == nil {
		r.set = make(map[string]bool)
	}
	r.set[route] = true
	return route
}
