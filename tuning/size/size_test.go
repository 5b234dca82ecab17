package size_test

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/tuning/size"
)

var update = flag.Bool("update", false, "write the table of docs/sizing.md anew")

const (
	doc   = "../../docs/sizing.md"
	above = "<!-- table: go test ./tuning/size -run TestDoc -update -->\n"
	below = "<!-- end of table -->\n"
)

// TestDoc: the table in the docs is what the code computes.
func TestDoc(t *testing.T) {
	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), above)
	had, tail, ok2 := strings.Cut(rest, below)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", doc, above, below)
	}
	var want bytes.Buffer
	if err := size.Table(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(doc, []byte(head+above+want.String()+below+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if had != want.String() {
		t.Errorf("the table of %s is out of date: go test ./tuning/size -run TestDoc -update", doc)
	}
}

func of(t *testing.T, l size.Load) *size.Need {
	t.Helper()
	n, err := size.Of(l)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.005*want {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}

// TestTraffic checks a load against what can be worked out by hand.
func TestTraffic(t *testing.T) {
	n := of(t, size.Load{Calls: 2000, Duration: 100 * time.Second, CallRate: 30})
	near(t, "answered a second", n.Load.Answered, 20)
	near(t, "streams", n.Load.Streams, 4000)
	near(t, "RTP a second", n.Load.RTP, 200_000)
	near(t, "frame", n.Load.Frame, 214)
	near(t, "SIP a second", n.Load.SIP, 20*8+10*4)
	near(t, "link", n.Load.Bits, 8*(200_000*(214+24)+200*(750+24)))
	if n.RTPDay != 0 {
		t.Errorf("a metered load stores %v bytes of media", n.RTPDay)
	}
	// Headers: 54 bytes, padded to 56, in a block with 32 more, and what chunks add.
	n = of(t, size.Load{Calls: 2000, Recording: size.Header})
	near(t, "headers a day", n.RTPDay, 200_000*88*1.008*86400)
	n = of(t, size.Load{Calls: 2000, Recording: size.Full, Share: 0.1})
	near(t, "a tenth, whole, a day", n.RTPDay, 20_000*248*1.008*86400)
}

// TestRetention: disk follows from days, and days from disk.
func TestRetention(t *testing.T) {
	a := of(t, size.Load{Calls: 500, Recording: size.Full, Retention: 30 * 24 * time.Hour})
	near(t, "disk", a.Disk, 30*(a.SIPDay+a.RTPDay))
	b := of(t, size.Load{Calls: 500, Recording: size.Full, Disk: a.Disk})
	near(t, "days", b.Retention, 30)
}

// TestMore: whatever there is more of takes more.
func TestMore(t *testing.T) {
	base := size.Load{Calls: 1000, Recording: size.Header}
	for _, c := range []struct {
		name string
		more func(*size.Load)
		of   func(*size.Need) float64
	}{
		{"calls take processors", func(l *size.Load) { l.Calls *= 3 }, func(n *size.Need) float64 { return n.Busy }},
		{"calls take memory", func(l *size.Load) { l.Calls *= 3 }, func(n *size.Need) float64 { return n.Memory }},
		{"short packets take processors", func(l *size.Load) { l.Packet = 10 * time.Millisecond }, func(n *size.Need) float64 { return n.Busy }},
		{"short packets take disk", func(l *size.Load) { l.Packet = 10 * time.Millisecond }, func(n *size.Need) float64 { return n.RTPDay }},
		{"payload takes disk", func(l *size.Load) { l.Recording = size.Full }, func(n *size.Need) float64 { return n.RTPDay }},
		{"compression takes processors", func(l *size.Load) { l.Compression = "zstd" }, func(n *size.Need) float64 { return n.Busy }},
		{"looking back takes memory", func(l *size.Load) { l.Lookback = 30 * time.Second }, func(n *size.Need) float64 { return n.Memory }},
		{"failed calls take rows", func(l *size.Load) { l.CallRate = 50 }, func(n *size.Need) float64 { return n.RowsDay }},
		{"many rings take memory", func(l *size.Load) { l.Calls = 90_000 }, func(n *size.Need) float64 { return n.Ring }},
	} {
		more := base
		c.more(&more)
		if a, b := c.of(of(t, base)), c.of(of(t, more)); b <= a {
			t.Errorf("%s: %v, and with more of it %v", c.name, a, b)
		}
	}
	plain, zstd := of(t, size.Load{Calls: 10, Recording: size.Full}), of(t, size.Load{Calls: 10, Recording: size.Full, Compression: "zstd"})
	if zstd.RTPDay >= plain.RTPDay {
		t.Errorf("compressed media take %v a day, plain ones %v", zstd.RTPDay, plain.RTPDay)
	}
}

// TestSlower: what follows from processor times follows from those of the machine that is
// sized for.
func TestSlower(t *testing.T) {
	base := size.Load{Calls: 10_000, Recording: size.Header}
	slow := base
	slow.Slower = 3
	a, b := of(t, base), of(t, slow)
	near(t, "busy", b.Busy, 3*a.Busy)
	near(t, "the first part", b.CPU[0].Value, 3*a.CPU[0].Value)
	if rings := math.Ceil(b.Busy / 0.6); b.Cores != rings+1 || !slices.ContainsFunc(b.Notes, func(n string) bool { return strings.HasPrefix(n, fmt.Sprintf("%.0f rings", rings)) }) {
		t.Errorf("%v cores, %q: want %v rings", b.Cores, b.Notes, rings)
	}
	if len(b.Notes) != len(a.Notes)+1 || !strings.Contains(b.Notes[len(b.Notes)-1], "3.00 times") {
		t.Errorf("%q", b.Notes)
	}
	if a.Memory != b.Memory || a.DiskRate != b.DiskRate {
		t.Error("slow processors take memory, or disk")
	}
}

// TestRefused: what cannot be is refused with the thing and the remedy.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		says string
		load size.Load
	}{
		{"no calls", size.Load{}},
		{"divide them among sensors", size.Load{Calls: 1e8}},
		{"is no number", size.Load{Calls: math.NaN()}},
		{"is no number", size.Load{Calls: -1}},
		{"write one of G.711", size.Load{Calls: 1, Codec: "G.712"}},
		{"multiples of 10ms", size.Load{Calls: 1, Codec: "G.729", Packet: 25 * time.Millisecond}},
		{"at least 5.556", size.Load{Calls: 1000, CallRate: 1}},
		{"write meter, header or full", size.Load{Calls: 1, Recording: "all"}},
		{"write none, lz4 or zstd", size.Load{Calls: 1, Compression: "gzip"}},
		{"give one of them", size.Load{Calls: 1, Disk: 1e9, Retention: time.Hour}},
		{"from 0 to 1", size.Load{Calls: 1, Share: 2}},
		{"1s to 24h", size.Load{Calls: 1, Duration: time.Millisecond}},
	} {
		if _, err := size.Of(c.load); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, and should say %q", c.load, err, c.says)
		}
	}
}
