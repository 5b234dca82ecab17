package flow

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"ringside/dataplane/frame"
	"ringside/flow/rule"
)

// shot is a packet that was recorded.
type shot struct {
	key   string
	class rule.Class
	clock int64
	len   int
}

// film keeps what all shards record.
type film struct {
	mu      sync.Mutex
	shots   []shot
	frames  map[int64]frame.Frame // by clock; nil: not compared
	wrong   []string
	refuse  int // each so many-th packet; 0: none
	seen    int
	refused map[string]uint32
}

// reel is the film's recorder for one shard.
type reel struct {
	film  *film
	tapes map[uint32]string // what is on each that has not ended
	tick  int64
}

func (r *reel) Record(packets []Recording) {
	f := r.film
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range packets {
		p := &packets[i]
		on := fmt.Sprint(p.Class, " ", p.Key)
		if was, ok := r.tapes[p.Tape]; ok && was != on {
			f.wrong = append(f.wrong, fmt.Sprintf("tape %d holds %s and %s", p.Tape, was, on))
		}
		r.tapes[p.Tape] = on
		if src, ok := f.frames[p.Clock]; f.frames != nil && (!ok || len(p.Data) > len(src.Data) ||
			!bytes.Equal(p.Data, src.Data[:len(p.Data)]) || p.Time != src.Time || p.Len != src.Len || p.Iface != src.Iface || p.Link != src.Link) {
			f.wrong = append(f.wrong, fmt.Sprintf("at %d: %d bytes that are not the frame's", p.Clock, len(p.Data)))
		}
		if f.seen++; f.refuse > 0 && f.seen%f.refuse == 0 {
			p.Refused = true
			f.refused[on]++
			continue
		}
		f.shots = append(f.shots, shot{p.Key, p.Class, p.Clock, len(p.Data)})
	}
}

func (r *reel) End(tape uint32)  { delete(r.tapes, tape) }
func (r *reel) Tick(clock int64) { r.tick = clock }

// film is a recording of the wire, with the records of it.
func (w *wire) film(t *testing.T, rules string, o Options, size, loops int) (*film, string, Stats) {
	t.Helper()
	f := &film{refused: make(map[string]uint32)}
	if loops == 1 {
		f.frames = make(map[int64]frame.Frame)
		for i := range w.frames {
			f.frames[w.frames[i].Clock] = w.frames[i]
		}
	}
	set, err := rule.Parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	o.Rules = set
	if o.Memory == nil {
		o.Memory = make([]byte, o.Workers*MinKept)
	}
	o.Recorder = func(int) Recorder { return &reel{film: f, tapes: make(map[uint32]string)} }
	records, st := w.read(t, o, size, loops, 1+size%2)
	if len(f.wrong) > 0 {
		t.Fatalf("%d workers, batches of %d: %d wrong: %s", o.Workers, size, len(f.wrong), f.wrong[0])
	}
	if st.Recorded != uint64(len(f.shots)) {
		t.Errorf("%d recorded by its own account, %d by the recorder's", st.Recorded, len(f.shots))
	}
	slices.SortFunc(f.shots, func(a, b shot) int {
		return cmpShot(a, b)
	})
	return f, records, st
}

func cmpShot(a, b shot) int {
	switch {
	case a.clock != b.clock:
		return int(a.clock - b.clock)
	case a.key != b.key:
		return strings.Compare(a.key, b.key)
	}
	return int(a.class) - int(b.class)
}

// films records with several numbers of workers and sizes of batches, and wants
// the same of all.
func (w *wire) films(t *testing.T, rules string, o Options) *film {
	t.Helper()
	var first *film
	want := ""
	o.Workers = 1
	plain, _ := w.read(t, o, 1000, 1, 2)
	for _, workers := range []int{1, 2, 3, 4} {
		for _, way := range []struct {
			size  int
			lends bool
		}{{3, false}, {1000, false}, {40, true}} {
			size := way.size
			w.patient, w.apart = way.lends, way.lends && workers == 1
			o.Workers = workers
			if way.lends && workers > 2 {
				continue
			}
			f, records, _ := w.film(t, rules, o, size, 1)
			if got := unstored(records); got != plain {
				t.Fatalf("%d workers, %+v: records with a recorder differ: %s", workers, way, differs(got, plain))
			}
			if first == nil {
				first, want = f, records
				continue
			}
			if records != want {
				t.Fatalf("%d workers, %+v: %s", workers, way, differs(records, want))
			}
			if !slices.Equal(f.shots, first.shots) {
				t.Fatalf("%d workers, %+v: %d packets recorded, not the same %d", workers, way, len(f.shots), len(first.shots))
			}
		}
	}
	w.patient, w.apart = false, false
	return first
}

var storedFields = regexp.MustCompile(`"(rule":"[^"]*"|(sip|rtp)_stored":\{[^}]*\}),`)

// unstored is records without what they say of recording.
func unstored(records string) string { return storedFields.ReplaceAllString(records, "") }

func differs(got, want string) string {
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	return fmt.Sprintf("at %d …%s\nwant …%s", at, got[max(0, at-200):min(len(got), at+200)], want[max(0, at-200):min(len(want), at+200)])
}

// plainWire carries each packet of a script in a frame.
func plainWire(sc *script) *wire {
	slices.SortStableFunc(sc.packets, func(a, b frame.Packet) int { return int(a.Time - b.Time) })
	w := &wire{}
	for i := range sc.packets {
		w.udp(&sc.packets[i], nil)
	}
	return w.done()
}

// done puts the frames in order.
func (w *wire) done() *wire {
	slices.SortStableFunc(w.frames, func(a, b frame.Frame) int { return int(a.Time - b.Time) })
	clock := int64(0)
	for i := range w.frames {
		clock = max(clock+1, w.frames[i].Time)
		w.frames[i].Clock, w.frames[i].Seq = clock, uint64(i)
	}
	return w
}

// count is how many shots are of a key and a class.
func (f *film) count(key string, class rule.Class) (n int) {
	for _, s := range f.shots {
		if s.key == key && s.class == class {
			n++
		}
	}
	return n
}

// all wants each frame of the wire once.
func (f *film) all(t *testing.T, w *wire) {
	t.Helper()
	seen := make(map[int64]int)
	for _, s := range f.shots {
		seen[s.clock]++
	}
	for i := range w.frames {
		if n := seen[w.frames[i].Clock]; n != 1 {
			t.Errorf("frame %d, at %v: recorded %d times: %q", i, time.Duration(w.frames[i].Time-epoch), n, w.frames[i].Data[14+20:min(len(w.frames[i].Data), 100)])
		}
	}
}

const allRules = "default -> sip full, rtp full, register full\n"

func (sc *script) other(at time.Duration, fromAlice bool, first, method, id string) {
	a, b := at2(alice, 5060), at2(bob, 5060)
	if !fromAlice {
		a, b = b, a
	}
	sc.add(at, a, b, []byte(fmt.Sprintf("%s\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK%s\r\nFrom: <sip:u@a>;tag=a1\r\n"+
		"To: <sip:u@a>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\nContent-Length: 4\r\n\r\nbody", first, id, id, method)))
}

// rtcp adds a packet of RTCP: a report of what is sent, or of one that is
// received, or bytes that are neither.
func (sc *script) rtcp(at time.Duration, src, dst frame.Endpoint, kind byte, ssrc uint32) {
	b := make([]byte, 28)
	b[0], b[1] = 0x80, kind
	binary.BigEndian.PutUint16(b[2:], 6)
	binary.BigEndian.PutUint32(b[4:], ssrc)
	binary.BigEndian.PutUint64(b[8:], uint64(at))
	sc.add(at, src, dst, b)
}

func TestRecordEverything(t *testing.T) {
	var sc script
	sc.call("c1", 3*time.Second, 5*time.Second, 4000, 6000)
	sc.rtp(2500*time.Millisecond, 8*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160) // before its SDP, too
	sc.rtp(4*time.Second, 8*time.Second, at2(bob, 6000), at2(alice, 4000), 0, 2, 160)
	for at := 4 * time.Second; at < 8*time.Second; at += time.Second {
		sc.rtcp(at+5*time.Millisecond, at2(alice, 4001), at2(bob, 6001), 200, 1)
		sc.rtcp(at+6*time.Millisecond, at2(bob, 6001), at2(alice, 4001), 201, 2)                                     // says nothing
		sc.rtcp(at+7*time.Millisecond, at2(alice, 4000), at2(bob, 6000), 200, 1)                                     // on one port
		sc.add(at+8*time.Millisecond, at2(bob, 6001), at2(alice, 4001), []byte{0x81, 201, 0, 200, 0, 0, 0, 2, 1, 2}) // malformed
	}
	sc.rtcp(8100*time.Millisecond, at2(alice, 4001), at2(bob, 6001), 200, 1) // after the BYE
	calls := len(sc.packets)
	sc.other(time.Second, true, "REGISTER sip:b SIP/2.0", "REGISTER", "r1")
	sc.other(1100*time.Millisecond, false, "SIP/2.0 200 OK", "REGISTER", "r1")
	sc.other(2*time.Second, true, "OPTIONS sip:u@b SIP/2.0", "OPTIONS", "o1")
	sc.other(2100*time.Millisecond, false, "SIP/2.0 200 OK", "OPTIONS", "o1")
	sc.other(2200*time.Millisecond, true, "MESSAGE sip:u@b SIP/2.0", "MESSAGE", "m1")
	sc.sip(50*time.Second, false, "SIP/2.0 200 OK", "c1", "2 BYE", "b1", "") // the call is over
	for i := range 2 * oddLimit {
		sc.add(60*time.Second+time.Duration(i)*time.Millisecond, at2(alice, 5060), at2(bob, 5060), []byte("INVITE sip:x SIP/2.0\r\nbad\r\n\r\n"))
	}
	w := plainWire(&sc)
	f := w.films(t, allRules, Options{})
	if n := f.count(odd, rule.SIP); n != oddLimit {
		t.Errorf("%d malformed messages, want %d", n, oddLimit)
	}
	w.frames = w.frames[:len(w.frames)-2*oddLimit]
	f.shots = slices.DeleteFunc(f.shots, func(s shot) bool { return s.key == odd })
	f.all(t, w)
	for _, tt := range []struct {
		key   string
		class rule.Class
		want  int
	}{{"c1", rule.SIP, 6}, {"c1", rule.RTP, calls - 5}, {"r1", rule.Register, 2}, {"o1", rule.SIP, 2}, {"m1", rule.SIP, 1}} {
		if n := f.count(tt.key, tt.class); n != tt.want {
			t.Errorf("%s, %v: %d, want %d", tt.key, tt.class, n, tt.want)
		}
	}
}

// callWithMedia is a call of ten seconds that is ringing for two, and media both
// ways from its first answer on.
func callWithMedia() *script {
	var sc script
	sdp := func(addr string, port int) string { return media(addr, port, "0", "") }
	sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", sdp("10.0.0.1", 4000))
	sc.sip(time.Second, false, "SIP/2.0 183 Early", "c1", "1 INVITE", "b1", sdp("10.0.0.2", 6000))
	sc.sip(5*time.Second, false, "SIP/2.0 486 Busy", "c1", "1 INVITE", "b1", "")
	sc.sip(5100*time.Millisecond, true, "ACK sip:bob@b SIP/2.0", "c1", "1 ACK", "b1", "")
	sc.rtp(time.Second+3*time.Millisecond, 4500*time.Millisecond, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.rtp(time.Second+4*time.Millisecond, 6*time.Second, at2(bob, 6000), at2(alice, 4000), 0, 2, 160)
	return &sc
}

// TestRecordLater: a rule comes true in the middle of a call, and brings what was
// before.
func TestRecordLater(t *testing.T) {
	const busy = 5 * time.Second
	for _, tt := range []struct {
		name, rules string
		sip         []time.Duration // when the messages were that are wanted
		from        time.Duration   // of the media, both ways; 0: none
		rule        string
		len         int // of an RTP packet
	}{
		{"never", "rule r: status 500 -> sip full, rtp full\ndefault -> sip none, rtp none\n", nil, 0, "default", 0},
		{"no look-back", "rule r: status 486 -> sip full, rtp full\ndefault -> sip none, rtp none\n",
			[]time.Duration{busy, busy + 100*time.Millisecond}, busy, "r", 214},
		{"look-back", "rule r: status 486 -> sip full, rtp full, lookback 2s\ndefault -> sip none, rtp none\n",
			[]time.Duration{busy, busy + 100*time.Millisecond}, busy - 2*time.Second, "r", 214},
		{"of all", "rule r: status 486 -> sip full, rtp header, lookback 1m\ndefault -> sip none, rtp none\n",
			[]time.Duration{0, time.Second, busy, busy + 100*time.Millisecond}, time.Second, "r", 14 + 20 + 8 + 12},
		{"outcome", "rule r: outcome busy, status 486, method INVITE -> sip full, rtp full, lookback 1m\ndefault -> sip none, rtp none\n",
			[]time.Duration{0, time.Second, busy, busy + 100*time.Millisecond}, time.Second, "r", 214},
		{"another outcome", "rule r: outcome answered -> sip full, rtp full, lookback 1m\ndefault -> sip none, rtp none\n", nil, 0, "default", 0},
		{"two", "rule r: status 486 -> rtp full, lookback 1s\nrule q: status 183 -> rtp header\ndefault -> sip none, rtp none\n",
			nil, time.Second, "r", 0},
		{"never less", "rule r: status 486 -> sip none, rtp none\ndefault -> sip none, rtp full\n", nil, time.Second, "r", 214},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := plainWire(callWithMedia())
			f := w.films(t, tt.rules, Options{})
			var want []shot
			for i := range w.frames {
				at := time.Duration(w.frames[i].Time - epoch)
				n := len(w.frames[i].Data)
				switch isRTP := w.frames[i].Data[14+20+8] == 0x80; {
				case isRTP && tt.from > 0 && at >= tt.from:
					if n = tt.len; n == 0 { // two levels
						n = 14 + 20 + 8 + 12
						if at >= busy {
							n = 214
						}
					}
					want = append(want, shot{"c1", rule.RTP, w.frames[i].Clock, n})
				case !isRTP && slices.Contains(tt.sip, at):
					want = append(want, shot{"c1", rule.SIP, w.frames[i].Clock, n})
				}
			}
			if !slices.Equal(f.shots, want) {
				t.Errorf("%d packets, want %d\n%v\n%v", len(f.shots), len(want), f.shots[:min(5, len(f.shots))], want[:min(5, len(want))])
			}
			_, records, _ := w.film(t, tt.rules, Options{Workers: 2}, 7, 1)
			if !strings.Contains(records, `"rule":"`+tt.rule+`"`) {
				t.Errorf("rule is not %s: %s", tt.rule, records)
			}
			if strings.Contains(records, `"missed"`) {
				t.Error("something was missed")
			}
		})
	}
}

// TestRecordWithin: what is asked within a call, and its answer, is not that of the
// call.
func TestRecordWithin(t *testing.T) {
	sc := callWithMedia()
	sc.sip(2*time.Second, true, "OPTIONS sip:bob@b SIP/2.0", "c1", "2 OPTIONS", "b1", "")
	sc.sip(3*time.Second, false, "SIP/2.0 500 Error", "c1", "2 OPTIONS", "b1", "")
	w := plainWire(sc)
	f := w.films(t, "rule r: status 5xx -> sip full\nrule m: method OPTIONS -> sip full\ndefault -> sip none, rtp none\n", Options{})
	if len(f.shots) > 0 {
		t.Errorf("%d packets are stored", len(f.shots))
	}
	f = w.films(t, "rule r: status 486 -> sip full, lookback 1m\ndefault -> sip none, rtp none\n", Options{})
	if n := f.count("c1", rule.SIP); n != 6 {
		t.Errorf("%d messages, want 6", n)
	}
}

// TestRecordKey: packets are stored under the Call-ID that the record has, whatever
// bytes came.
func TestRecordKey(t *testing.T) {
	for name, id := range map[string]string{"bytes": "a\xff\xfeb", "long": strings.Repeat("x", 1500)} {
		t.Run(name, func(t *testing.T) {
			var sc script
			sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", id, "1 INVITE", "", "")
			sc.sip(time.Second, false, "SIP/2.0 486 Busy", id, "1 INVITE", "b1", "")
			sc.other(2*time.Second, true, "OPTIONS sip:u@b SIP/2.0", "OPTIONS", "o"+id)
			f, records, _ := plainWire(&sc).film(t, allRules, Options{Workers: 2}, 7, 1)
			if len(f.shots) != 3 {
				t.Fatalf("%d packets, want 3", len(f.shots))
			}
			for _, s := range f.shots {
				if key := `"call_id":"` + s.key + `"`; s.key[0] != 'o' && !strings.Contains(records, key) || !utf8.ValidString(s.key) || len(s.key) > 1024 {
					t.Errorf("stored as %q; records: %s", s.key, records)
				}
			}
		})
	}
}

// TestRecordBadQuality: the quality turns bad, and both directions are wanted,
// from a while before on.
func TestRecordBadQuality(t *testing.T) {
	var sc script
	sc.call("c1", 0, 40*time.Second, 4000, 6000)
	sc.rtp(2*time.Second, 39*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.rtp(2*time.Second+time.Millisecond, 39*time.Second, at2(bob, 6000), at2(alice, 4000), 0, 2, 160)
	n := 0
	lossy := slices.DeleteFunc(slices.Clone(sc.packets), func(p frame.Packet) bool {
		if p.Src.Port != 4000 || p.Time < epoch+int64(20*time.Second) {
			return false
		}
		n++
		return n%4 == 0
	})
	sc.packets = lossy
	w := plainWire(&sc)
	f := w.films(t, "rule bad: loss > 10% -> rtp full, lookback 5s\ndefault -> sip none, rtp none\n", Options{})
	_, records, _ := w.film(t, "rule bad: loss > 10% -> rtp full, lookback 5s\ndefault -> sip none, rtp none\n", Options{Workers: 2}, 7, 1)
	if !strings.Contains(records, `"rule":"bad"`) || len(f.shots) == 0 {
		t.Fatalf("it did not fire: %d packets", len(f.shots))
	}
	first := f.shots[0].clock
	if at := time.Duration(first - epoch); at < 15*time.Second || at > 25*time.Second {
		t.Errorf("begins at %v", at)
	}
	// From there on it is all of both directions.
	var want []shot
	for i := range w.frames {
		if fr := &w.frames[i]; len(fr.Data) == 214 && fr.Clock >= first {
			want = append(want, shot{"c1", rule.RTP, fr.Clock, 214})
		}
	}
	if !slices.Equal(f.shots, want) {
		t.Errorf("%d packets, want %d", len(f.shots), len(want))
	}
}

// TestRecordShared: one stream, two calls, of which a rule wants one at once and
// the other one later.
func TestRecordShared(t *testing.T) {
	var sc script
	sc.call("leg1", 0, 8*time.Second, 4000, 6000)
	sc.call("leg2", 100*time.Millisecond, 7800*time.Millisecond, 4000, 6000)
	sc.sip(5*time.Second, false, "SIP/2.0 180 Late", "leg2", "1 INVITE", "b1", "")
	sc.rtp(1500*time.Millisecond, 7*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 7, 160)
	w := plainWire(&sc)
	rules := "rule one: header Call-ID is leg1 -> rtp full\nrule two: status 180 -> rtp full, lookback 2s\ndefault -> sip none, rtp none\n"
	f := w.films(t, rules, Options{})
	if a, b := f.count("leg1", rule.RTP), f.count("leg2", rule.RTP); a != 275 || b != 200 {
		t.Errorf("%d and %d packets, want 275 and 200", a, b)
	}
}

// TestRecordHeaders: no level header lets a body through.
func TestRecordHeaders(t *testing.T) {
	const rules = "default -> sip header, rtp header\n"
	sc := callWithMedia()
	slices.SortStableFunc(sc.packets, func(a, b frame.Packet) int { return int(a.Time - b.Time) })
	w := &wire{}
	for i := range sc.packets {
		p := &sc.packets[i]
		switch {
		case p.Src.Port == 5060 && i == 0:
			w.udp(p, []int{300})
		case i%10 == 0:
			w.udp(p, []int{64})
		default:
			w.udp(p, nil)
		}
	}
	w.done()
	f := w.films(t, rules, Options{})
	f.all(t, w)
	for _, s := range f.shots {
		data := f.frames[s.clock].Data[:s.len]
		if s.class == rule.RTP && s.len > 14+20+8+12 || s.class == rule.SIP && bytes.Contains(data, []byte("\r\n\r\nv=0")) ||
			bytes.Contains(data, []byte("m=audio")) {
			t.Errorf("%v: %d bytes: %q", s.class, s.len, data)
		}
	}
}

// TestRecordSegments: messages of two calls over TCP, several in a segment, in
// several segments, and segments out of order. Each frame is on each tape that has
// a message of it, once.
func TestRecordSegments(t *testing.T) {
	var sc script
	sc.call("c1", 0, 5*time.Second, 4000, 6000)
	sc.call("c2", 0, 5*time.Second, 4100, 6100)
	slices.SortStableFunc(sc.packets, func(a, b frame.Packet) int { return int(a.Time - b.Time) })
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := &wire{}
		want := make(map[shot]bool)
		for d, from := range []frame.Addr{alice, bob} {
			var text []byte
			var of []string // call of each byte
			var at []int64
			var last *frame.Packet
			for i := range sc.packets {
				if p := &sc.packets[i]; p.Src.Addr == from {
					id := "c1"
					if bytes.Contains(p.Payload, []byte("Call-ID: c2")) {
						id = "c2"
					}
					for range p.Payload {
						of, at = append(of, id), append(at, epoch+(p.Time-epoch)/4)
					}
					text, last = append(text, p.Payload...), p
				}
			}
			type piece struct {
				from, to int
				time     int64
			}
			var pieces []piece
			for n := 0; n < len(text); {
				to := min(len(text), n+1+r.IntN(900))
				pieces = append(pieces, piece{n, to, at[to-1] + int64(len(pieces))*1e6 + int64(d)*5e5})
				n = to
			}
			for i := range pieces[1:] {
				if a, b := &pieces[i], &pieces[i+1]; i > 0 && r.IntN(4) == 0 && b.time-a.time < 50e6 {
					a.time, b.time = b.time, a.time
				}
			}
			for _, p := range pieces {
				w.tcp(p.time, last, uint32(1000+p.from), text[p.from:p.to])
				for _, id := range of[p.from:p.to] {
					want[shot{id, rule.SIP, p.time, 14 + 20 + 20 + p.to - p.from}] = true
				}
			}
		}
		w.done()
		f := w.films(t, allRules, Options{})
		got := make(map[shot]bool)
		for _, s := range f.shots {
			s.clock = f.frames[s.clock].Time
			if got[s] {
				t.Errorf("seed %d: twice: %v", seed, s)
			}
			if got[s] = true; !want[s] {
				t.Errorf("seed %d: not of the call: %v", seed, s)
			}
		}
		for s := range want {
			if !got[s] {
				t.Errorf("seed %d: missing %v", seed, s)
			}
		}
		if len(got) != len(want) {
			t.Errorf("seed %d: %d frames, want %d", seed, len(got), len(want))
		}
	}
}
