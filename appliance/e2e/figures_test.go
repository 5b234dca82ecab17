package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/traffic"
)

var figures = flag.Bool("figures", false, "measure what people wait for: the start, the API beside a saturated capture, the first paint")

// TestApplianceFigures measures what people wait for, and says it in lines of a
// table. It fails by no time: bench/results has what it said where nothing else ran.
func TestApplianceFigures(t *testing.T) {
	if !*figures {
		t.Skip("measures only with -figures")
	}
	l := wire(t, 2)
	dir, m := t.TempDir(), newServiceManager(t)
	configure(t, dir, l.Side(netns.B).Iface, "log_level = warn\n")
	s := readyTimes(t, l, dir, m)
	base := door(t, l, netns.B, "127.0.0.1:8080")
	cookie := firstLogin(t, base, s.setupToken())
	s.latencies(l, cookie)
	firstPaint(t, base)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = s.ending()
}

// readyTimes starts the service several times; the last one stays.
func readyTimes(t *testing.T, l *netns.Link, dir string, m *manager) (s *service) {
	t.Helper()
	var took []float64
	for range 7 {
		if s != nil {
			if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = s.ending()
		}
		began := time.Now()
		s = start(t, l, dir, m)
		took = append(took, time.Since(began).Seconds())
	}
	t.Logf("FIGURE ready | %d starts, the first makes the store | first %.2f s | median %.2f s | worst %.2f s", len(took), took[0], percentile(took, 50), slices.Max(took))
	return s
}

// firstLogin makes the first account and returns its cookie.
func firstLogin(t *testing.T, base, token string) string {
	t.Helper()
	body := fmt.Sprintf(`{"token":%q,"user":"admin","password":%q}`, token, adminPassword)
	res, err := http.Post(base+"/api/v1/setup", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("setup: %d %s", res.StatusCode, b)
	}
	cookie, _, _ := strings.Cut(res.Header.Get("Set-Cookie"), ";")
	return cookie
}

// latencies measures the API while nothing is captured, and while as much comes as
// can be sent.
func (s *service) latencies(l *netns.Link, cookie string) {
	t := s.t
	t.Helper()
	path, _ := generate(t, traffic.Options{Seed: 900, Calls: 300, Rate: 30, RTCP: true, Talk: traffic.Length{Mean: 2 * time.Second}})
	frames := framesOf(t, path)
	send(t, l, frames, replay.Options{Speed: 4, Retry: true})
	s.until("calls are stored", func() bool { return s.stored() >= 250 })

	dial := func(_ context.Context, network, _ string) (c net.Conn, err error) {
		err = l.Do(netns.B, func() error {
			c, err = net.Dial(network, "127.0.0.1:8080")
			return err
		})
		return c, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: time.Minute}
	ask := func(path string) (took float64, body []byte) {
		t.Helper()
		req, err := http.NewRequest("GET", "http://127.0.0.1:8080"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", cookie)
		began := time.Now()
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err = io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v %.200s", path, res.StatusCode, err, body)
		}
		return time.Since(began).Seconds() * 1e3, body
	}
	var list struct{ Items []struct{ ID string } }
	if _, b := ask("/api/v1/calls?limit=1"); json.Unmarshal(b, &list) != nil || len(list.Items) == 0 {
		t.Fatalf("no calls: %s", b)
	}
	paths := []string{"/api/v1/calls?limit=100", "/api/v1/calls?limit=100&q=mos%3C4.2", "/api/v1/calls/" + list.Items[0].ID,
		"/api/v1/stats/overview", "/api/v1/live/status", "/api/v1/live/calls", "/api/v1/interfaces", "/api/v1/ledger"}
	measure := func() map[string][]float64 {
		took := make(map[string][]float64)
		for range 40 {
			for _, p := range paths {
				ms, _ := ask(p)
				took[p], took["all"] = append(took[p], ms), append(took["all"], ms)
				time.Sleep(25 * time.Millisecond) // fewer than one caller may send
			}
		}
		return took
	}
	measure() // caches are warm from here on
	idle := measure()

	// A sender beside it takes the same CPU when nobody captures what it sends.
	stop := saturate(t, wire(t, 2), frames)
	beside := measure()
	stop()
	stop = saturate(t, l, frames)
	loaded := measure()
	st := s.status()
	stop()
	lost := uint64(0)
	for _, r := range st.Capture.Lost {
		lost += r.Packets
	}
	t.Logf("FIGURE load | SIP %.0f/s, RTP %.0f/s, worker CPU %.0f %%, rings %.0f %%, %d packets lost", st.Capture.SIP, st.Capture.RTP, 100*slices.Max(st.Capture.CPU), 100*st.Capture.Rings, lost)
	for _, p := range append(paths, "all") {
		name := strings.Replace(p, list.Items[0].ID, "{id}", 1)
		t.Logf("FIGURE api | %s | idle %.1f, %.1f ms | a sender beside it %.1f, %.1f ms | saturated %.1f, %.1f ms | (median, 95 %%)", name,
			percentile(idle[p], 50), percentile(idle[p], 95), percentile(beside[p], 50), percentile(beside[p], 95),
			percentile(loaded[p], 50), percentile(loaded[p], 95))
	}
}

// saturate sends calls into a link, as fast as one CPU can, until stop is called.
func saturate(t *testing.T, l *netns.Link, frames []replay.Frame) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o := replay.Options{Iface: l.Side(netns.A).Iface, Frames: frames, Loops: -1, Rewrite: true, CPUs: []int{0}}
		if err := l.Do(netns.A, func() error { _, err := replay.Send(ctx, o); return err }); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}()
	time.Sleep(3 * time.Second) // until queues and caches are as they will be
	return func() { cancel(); <-done }
}

// percentile is by the nearest rank.
func percentile(of []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}

// firstPaint opens the login, which is what comes first, in a browser that has
// nothing of it yet.
func firstPaint(t *testing.T, base string) {
	t.Helper()
	p := browse(t, base)
	if _, err := chromedp.Call(p.ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	urls, bytesOf := make(map[network.RequestID]string), make(map[string]float64)
	if err := chromedp.Listen(p.ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *network.EventResponseReceived:
			urls[e.RequestID] = strings.TrimPrefix(e.Response.URL, base)
		case *network.EventLoadingFinished:
			bytesOf[urls[e.RequestID]] += e.EncodedDataLength
		}
	}); err != nil {
		t.Fatal(err)
	}
	p.open("/")
	p.wait("the first paint", `performance.getEntriesByName('first-contentful-paint').length > 0`)
	at := eval[float64](p, `performance.getEntriesByName('first-contentful-paint')[0].startTime`)
	mu.Lock()
	defer mu.Unlock()
	sum := 0.0
	var b bytes.Buffer
	for path, n := range bytesOf {
		sum += n
		fmt.Fprintf(&b, " %s %.1f KB,", path, n/1000)
	}
	if sum == 0 {
		t.Error("the browser tells of no bytes")
	}
	t.Logf("FIGURE first paint | %.1f KB on the wire, headers included | after %.0f ms |%s", sum/1000, at, strings.TrimSuffix(b.String(), ","))
}
