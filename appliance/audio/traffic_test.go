package audio

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringside/bench/traffic"
)

// What the generator sends is a tune, higher for the called, and can be heard.
func TestGeneratedTraffic(t *testing.T) {
	for _, name := range []string{"PCMU", "PCMA", "G722", "opus"} {
		t.Run(name, func(t *testing.T) {
			codec, err := traffic.ParseCodec(name)
			if err != nil {
				t.Fatal(err)
			}
			o, err := traffic.Preset("demo")
			if err != nil {
				t.Fatal(err)
			}
			o.Calls, o.Codecs = 1, []traffic.Weighted[traffic.Codec]{{Value: codec, Weight: 1}}
			o.Scenarios = []traffic.Weighted[traffic.Scenario]{{Value: traffic.Answered, Weight: 1}}
			o.Impairments = []traffic.Weighted[traffic.Impairment]{{Weight: 1}}
			o.Talk = traffic.Length{Kind: traffic.Uniform, Min: 10 * time.Second, Max: 10 * time.Second}
			g, err := traffic.New(o)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "call.pcap")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := g.Run(t.Context(), f, io.Discard); err != nil {
				t.Fatal(err)
			}
			r := open(t, Call{Packets: capture(path)})
			if len(r.Streams) != 2 || !r.Streams[0].Playable || !r.Streams[1].Playable {
				t.Fatalf("described as %+v", r.Streams)
			}
			w := render(t, r, Options{})
			if name == "opus" {
				if e := energy(w.left); e > 1 {
					t.Errorf("its level is %.1f, and should be silence", e)
				}
				return
			}
			for side, x := range map[string][]float32{"caller": w.left, "called": w.right} {
				if e := energy(x); e < 500 || e > 6000 {
					t.Errorf("the level of the %s is %.0f of 32768", side, e)
				}
			}
			// Nothing here says who called, so the channels are a guess.
			low, high := pitch(w.left, w.rate), pitch(w.right, w.rate)
			if low > high {
				low, high = high, low
			}
			if low < 150 || high < 1.3*low || high > 1500 {
				t.Errorf("the tunes are about %.0f and %.0f Hz high", low, high)
			}
			if math.Abs(float64(r.Length)/1e9-10) > 2 {
				t.Errorf("a call of 10 s lasts %.1f s", float64(r.Length)/1e9)
			}
		})
	}
}
