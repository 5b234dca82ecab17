package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/bench/mariadb"
	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/traffic"
)

// survivor is a service that lives through much, with what it was given.
type survivor struct {
	*service
	link   *netns.Link
	calls  []string // Call-IDs that it must know in the end
	rounds uint64   // of traffic
	volume string
	server *mariadb.Server
	base   string // of addresses of the web UI
}

// TestServiceSurvives: what happens to a service in years happens to one in half a
// minute, with people watching. The database goes away and comes back, the volume of
// the spool is full, the configuration is broken, and it is killed. Each time the
// rest goes on, it is said what is wrong, and no call is missing in the end.
func TestServiceSurvives(t *testing.T) {
	withoutRace(t)
	l := wire(t, 2)
	v := &survivor{link: l, volume: smallVolume(t, "96m"), server: startMariaDB(t)}
	dir, m := t.TempDir(), newServiceManager(t)
	if err := os.Mkdir(filepath.Join(v.volume, "spool"), 0o750); err != nil {
		t.Fatal(err)
	}
	v.configure(t, dir, "")
	v.service = start(t, l, dir, m)
	v.base = door(t, l, netns.B, "127.0.0.1:8080")
	p := browse(t, v.base)
	p.setUp(v.setupToken())
	p.open("/live")

	began := time.Now()
	part := func(name string) { // says which one is slow
		t.Logf("%s: %v", name, time.Since(began).Round(time.Millisecond))
		began = time.Now()
	}
	v.someCalls()
	v.until("the first calls are stored", v.allStored)
	part("the first calls")
	v.storeAway(p)
	part("store away")
	v.spoolFull()
	part("spool full")
	v.brokenConfig()
	part("broken configuration")
	v.killed(t, p, m)
	part("killed")
	if err := v.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = v.ending()
	if text := v.err.String(); strings.Contains(text, "LEDGER") || strings.Contains(text, "NOT BALANCE") {
		t.Errorf("the ledger does not balance:\n%s", text)
	}
}

// configure writes its configuration.
func (v *survivor) configure(t *testing.T, dir, more string) {
	t.Helper()
	configure(t, dir, v.link.Side(netns.B).Iface, "sqldriver = mysql\ndb = "+v.server.DSN("ringside")+"\n"+
		"spooldir = "+filepath.Join(v.volume, "spool")+"\nspool_reserve = 32MiB\nmaxpoolsize = 32MiB\nspool_memory = 32MiB\n"+
		"name_sensor = survivor\nlog_redact = yes\ncalls_timeouts = inv_bye_repl=500ms\n"+more)
}

// someCalls sends calls that are over soon.
func (v *survivor) someCalls() {
	v.t.Helper()
	v.rounds++
	path, truth := generate(v.t, traffic.Options{Seed: 400 + v.rounds, Calls: 6, Rate: 6, RTCP: true, Talk: traffic.Length{Mean: time.Second},
		Scenarios: []traffic.Weighted[traffic.Scenario]{{Value: traffic.Answered, Weight: 1}}})
	for i := range truth.Calls {
		v.calls = append(v.calls, truth.Calls[i].CallID)
	}
	frames := framesOf(v.t, path)
	if n := send(v.t, v.link, frames, replay.Options{Speed: 6, Retry: true}); n != uint64(len(frames)) {
		v.t.Fatalf("sent %d frames of %d", n, len(frames))
	}
}

// allStored reports whether the API finds all calls.
func (v *survivor) allStored() bool {
	v.t.Helper()
	var list struct {
		Items []struct {
			CallID string `json:"call_id"`
		}
	}
	if v.control.Get(v.t.Context(), "GET", "/api/v1/calls?limit=1000", &list) != nil {
		return false // the database is on its way
	}
	found := make(map[string]bool)
	for _, c := range list.Items {
		found[c.CallID] = true
	}
	return !slices.ContainsFunc(v.calls, func(id string) bool { return !found[id] })
}

// wrong reports whether the status says something that has a word in it.
func (v *survivor) wrong(word string) bool {
	v.t.Helper()
	st := v.status()
	return st.Health.State == daemon.StateDegraded && slices.ContainsFunc(st.Health.Why, func(c daemon.Condition) bool { return strings.Contains(c.Text, word) })
}

// page is what Prometheus would read.
func (v *survivor) page() string {
	v.t.Helper()
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(v.base + "/metrics")
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return string(b)
}

// storeAway stops the database while calls come, and starts it again.
func (v *survivor) storeAway(p *page) {
	v.t.Helper()
	if err := v.server.Stop(); err != nil {
		v.t.Fatal(err)
	}
	v.someCalls()
	v.until("records wait", func() bool { st := v.status(); return st.Store.Away && st.Store.Queued > 0 })
	v.until("it is said", func() bool { return v.wrong("the store takes nothing") })
	if !strings.Contains(v.page(), "\nringside_store_up 0") || !strings.Contains(v.page(), "\nringside_ready 1") {
		v.t.Error("the metrics do not say that the store is away, and the service ready")
	}
	p.turn("/calls")
	p.wait("the page says that the database does not answer", `/database|store/i.test(document.querySelector('.note.poor, .failure, [role=alert]')?.textContent ?? '')`)
	p.turn("/live")
	if err := v.server.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.until("what waited is stored", func() bool { return v.status().Store.Queued == 0 && v.allStored() })
	v.until("writes are timed", func() bool {
		page := v.page()
		return !strings.Contains(page, "\nringside_cdr_batch_seconds_count 0\n") &&
			strings.Contains(page, `ringside_spool_write_seconds_count{op="sync"}`) && strings.Contains(page, `ringside_sensor_info{name="survivor"`)
	})
}

// spoolFull takes the room of the spool away, and gives it back.
func (v *survivor) spoolFull() {
	v.t.Helper()
	filler := filepath.Join(v.volume, "filler")
	fill(v.t, filler, 96<<20)
	v.until("it is said that the volume is full", func() bool { return v.wrong("spool") })
	v.someCalls()
	v.until("calls are recorded without the spool", v.allStored)
	if err := os.Remove(filler); err != nil {
		v.t.Fatal(err)
	}
	v.until("the spool takes packets again", func() bool { return v.status().Capture.SpoolTrouble == "" })
	v.someCalls()
	v.until("their records", v.allStored)
	last := v.calls[len(v.calls)-1]
	v.until("their packets", func() bool {
		var list struct{ Items []struct{ ID string } }
		v.ask("GET", "/api/v1/calls?limit=1&call_id="+last, &list)
		var messages struct {
			Stored bool
			Items  []json.RawMessage
		}
		v.ask("GET", "/api/v1/calls/"+list.Items[0].ID+"/messages", &messages)
		return messages.Stored && len(messages.Items) > 3
	})
}

// brokenConfig has it read a configuration that is none.
func (v *survivor) brokenConfig() {
	v.t.Helper()
	v.configure(v.t, v.dir, "interfaze = eth9\n")
	if out, err := process("reload", "--control", filepath.Join(v.dir, "ringside.sock")).CombinedOutput(); exitCodeOf(err) != 78 {
		v.t.Errorf("exit %d: %s", exitCodeOf(err), out)
	}
	v.until("the status says what is wrong", func() bool { return v.wrong("did you mean interface") })
	if text := v.err.String(); !strings.Contains(text, "the old one holds") {
		v.t.Errorf("the log does not say it:\n%s", text)
	}
	v.configure(v.t, v.dir, "log_level = error\n")
	if out, err := process("reload", "--control", filepath.Join(v.dir, "ringside.sock")).CombinedOutput(); err != nil {
		v.t.Errorf("%v: %s", err, out)
	}
	said := len(v.err.String())
	time.Sleep(3 * time.Second / 2) // some lines of status
	if text := v.err.String(); strings.Contains(text[said:], "calls open") {
		v.t.Errorf("with log_level = error it goes on to tell:\n%s", text[said:])
	}
}

// killed kills it while somebody looks, and starts it again.
func (v *survivor) killed(t *testing.T, p *page, m *manager) {
	t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-v.ended
	v.configure(t, v.dir, "")
	v.service = start(t, v.link, v.dir, m)
	if text := v.err.String(); !strings.Contains(text, "was killed or crashed") {
		t.Errorf("the end of the run before is not explained:\n%s", text)
	}
	if st := v.status(); !strings.Contains(st.LastRun, "was killed or crashed") || st.Name != "survivor" {
		t.Errorf("status: %q of %q", st.LastRun, st.Name)
	}
	if !v.allStored() {
		t.Error("calls that were stored are gone")
	}
	path, _ := generate(t, traffic.Options{Seed: 499, Calls: 40, Rate: 2, Talk: traffic.Length{Mean: 5 * time.Second}})
	frames, sent := framesOf(t, path), make(chan struct{})
	ctx, enough := context.WithCancel(t.Context())
	go func() {
		defer close(sent)
		_ = v.link.Do(netns.A, func() error {
			_, err := replay.Send(ctx, replay.Options{Iface: v.link.Side(netns.A).Iface, Frames: frames, Speed: 1, Retry: true})
			return err
		})
	}()
	defer func() { enough(); <-sent }()
	v.until("the age of blocks is told while they come", func() bool { return strings.Contains(v.page(), "\nringside_ring_block_age_seconds{") })
	// The page was not loaded anew: its stream of events has found the service again.
	p.wait("a call of now on the page of before", `location.pathname === '/live' && [...document.querySelectorAll('.vrow')].some(r => /talking/.test(r.innerText))`)
}
