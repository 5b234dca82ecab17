package traffic

import (
	"io"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

func TestNewRejects(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Options)
		want string // part of the error
	}{
		{"share", func(o *Options) { o.IPv6 = 1.5 }, "IPv6"},
		{"negative rate", func(o *Options) { o.Rate = -1 }, "negative"},
		{"short talk", func(o *Options) { o.Talk.Mean = time.Millisecond }, "talk"},
		{"three tags", func(o *Options) { o.VLANs = []uint16{1, 2, 3} }, "two"},
		{"snap length", func(o *Options) { o.SnapLen = 10 }, "snap"},
		{"ports", func(o *Options) { o.Rate, o.Duration = 10000, time.Hour }, "raise gateways"},
		{"phones", func(o *Options) { o.Phones = 1 << 30 }, "phones"},
		{"endless burst", func(o *Options) {
			o.Impairments = []Weighted[Impairment]{{Impairment{BurstIn: 0.1}, 1}}
		}, "never ends"},
		{"transport", func(o *Options) { o.Transports = []Weighted[record.Transport]{{record.TLS, 1}} }, "tls"},
		{"chance", func(o *Options) { o.Streams.Lost = 2 }, "lost"},
		{"MTU", func(o *Options) { o.MTU = 100 }, "MTU"},
		{"mirror and network", func(o *Options) {
			o.Mirror, o.Impairments = MirrorSame, []Weighted[Impairment]{{Impairment{Duplicate: 0.1}, 1}}
		}, "duplicates"},
		{"mirror and tags", func(o *Options) { o.Mirror, o.VLANs = MirrorVLAN, []uint16{1, 2} }, "one tag"},
		{"attacks", func(o *Options) { o.Hostile = -1 }, "negative"},
		{"no weight", func(o *Options) { o.Scenarios = []Weighted[Scenario]{{Busy, 0}} }, "weight"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var o Options
			tt.edit(&o)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %q", err, tt.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	t.Run("impairment", func(t *testing.T) {
		got, err := ParseImpairment("loss=0.01,burst=0.002/0.3,jitter=20ms/normal,reorder=0.01/2,dup=0.001,drift=50,wrap=0.1,reset=0.2")
		want := Impairment{Loss: 0.01, BurstIn: 0.002, BurstOut: 0.3, Jitter: 20 * time.Millisecond, Shape: Normal,
			Reorder: 0.01, ReorderDepth: 2, Duplicate: 0.001, Drift: 50, Wrap: 0.1, Reset: 0.2}
		if err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
		for _, bad := range []string{"loss=2", "burst=0.1", "jitter=20", "jitter=20ms/odd", "reorder=0.1/99", "lag=1", "dup=x"} {
			if _, err := ParseImpairment(bad); err == nil {
				t.Errorf("%s: no error", bad)
			}
		}
	})
	t.Run("streams", func(t *testing.T) {
		got, err := ParseStreams("split=0.1,join=0.2,shared=0.3,midstream=0.4,keepalive=0.5,blank=0.6,lost=0.7,behind=0.8,reorder=0.9,rebound=1,dupack=0.25,capture=0.75")
		want := Streams{Split: 0.1, Join: 0.2, Shared: 0.3, Midstream: 0.4, KeepAlive: 0.5, Blank: 0.6,
			Lost: 0.7, Behind: 0.8, Reorder: 0.9, Rebound: 1, DupAck: 0.25, Capture: 0.75}
		if err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
		for _, bad := range []string{"split", "lost=1.5", "lost=x", "late=0.1"} {
			if _, err := ParseStreams(bad); err == nil {
				t.Errorf("%s: no error", bad)
			}
		}
	})
	t.Run("transport and mirror", func(t *testing.T) {
		for s, want := range map[string]record.Transport{"udp": record.UDP, "tcp": record.TCP, "ws": record.WS, "sctp": record.SCTP} {
			if got, err := ParseTransport(s); err != nil || got != want {
				t.Errorf("%s: got %v, %v", s, got, err)
			}
		}
		for _, bad := range []string{"", "tls", "wss", "quic"} {
			if _, err := ParseTransport(bad); err == nil {
				t.Errorf("%q: no error", bad)
			}
		}
		for _, s := range Mirrors() {
			if got, err := ParseMirror(s); err != nil || got.String() != s {
				t.Errorf("%s: got %v, %v", s, got, err)
			}
		}
		if _, err := ParseMirror("tap"); err == nil {
			t.Error("tap: no error")
		}
	})
	t.Run("codec", func(t *testing.T) {
		c, err := ParseCodec("pcmu@30")
		if err != nil || c.Name != "PCMU" || c.Ptime != 30 || c.Bytes != 240 {
			t.Errorf("got %+v, %v", c, err)
		}
		for _, bad := range []string{"MP3", "PCMU@25", "PCMU@"} {
			if _, err := ParseCodec(bad); err == nil {
				t.Errorf("%s: no error", bad)
			}
		}
	})
	t.Run("length", func(t *testing.T) {
		for s, want := range map[string]Length{
			"30s":            {Mean: 30 * time.Second},
			"uniform:10s-1m": {Kind: Uniform, Min: 10 * time.Second, Max: time.Minute},
			"exp:2m":         {Kind: Exponential, Mean: 2 * time.Minute, Min: time.Second},
		} {
			if got, err := ParseLength(s); err != nil || got != want {
				t.Errorf("%s: got %+v, %v", s, got, err)
			}
		}
		for _, bad := range []string{"", "30", "uniform:10s", "normal:3s"} {
			if _, err := ParseLength(bad); err == nil {
				t.Errorf("%q: no error", bad)
			}
		}
	})
	t.Run("scenario", func(t *testing.T) {
		for _, s := range Scenarios() {
			if got, err := ParseScenario(s.String()); err != nil || got != s {
				t.Errorf("%s: got %v, %v", s, got, err)
			}
		}
		if _, err := ParseScenario("nothing"); err == nil || !strings.Contains(err.Error(), "answered") {
			t.Errorf("got %v, want an error that lists the scenarios", err)
		}
	})
}

// Presets make what they say, and the mean of the random things is as asked.
func TestPresetsAndRates(t *testing.T) {
	for _, p := range presets {
		if o, err := Preset(p.name); err != nil {
			t.Error(err)
		} else if _, err := New(o); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
	_, truth := run(t, Options{Seed: 5, Rate: 20, Duration: 10 * time.Second, Talk: Length{Mean: 3 * time.Second},
		Impairments: []Weighted[Impairment]{{Impairment{Loss: 0.05, Duplicate: 0.02}, 1}}})
	var sent, dropped, doubled float64
	for _, c := range truth.Calls {
		for _, s := range c.Streams {
			sent += float64(s.Sent)
			dropped += float64(s.Dropped)
			doubled += float64(s.Duplicate)
		}
	}
	if n := len(truth.Calls); n < 150 || n > 250 {
		t.Errorf("%d calls, want about 200", n)
	}
	if loss := dropped / sent; loss < 0.045 || loss > 0.055 {
		t.Errorf("share lost %v, want 0.05", loss)
	}
	if share := doubled / sent; share < 0.016 || share > 0.022 {
		t.Errorf("share doubled %v, want 0.02 of what was not lost", share)
	}
}

// A full disk is an error of Run, at once.
func TestWriteErrors(t *testing.T) {
	full := &limited{n: 100000}
	g, err := New(Options{Calls: 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Run(t.Context(), full, nil); err == nil || !strings.Contains(err.Error(), "write capture") {
		t.Errorf("capture: got %v", err)
	}
	if g, err = New(Options{Calls: 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Run(t.Context(), io.Discard, &limited{n: 1000}); err == nil || !strings.Contains(err.Error(), "write truth") {
		t.Errorf("truth: got %v", err)
	}
}

// limited takes n bytes and then no more.
type limited struct{ n int }

func (l *limited) Write(b []byte) (int, error) {
	if l.n -= len(b); l.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}
