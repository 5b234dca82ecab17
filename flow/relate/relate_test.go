package relate

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

const (
	epoch  = int64(1_700_000_000_000_000_000)
	second = int64(time.Second)
)

// call is an answered call of a minute: alice at .1 calls the number at .2.
func call(id int64, set func(c *record.Call)) *record.Call {
	c := &record.Call{
		ID: id, CallID: fmt.Sprintf("c%d", id), Invites: 1, Outcome: record.Answered,
		Start: epoch, Answer: epoch + 5*second, End: epoch + 60*second,
		Caller:      record.Party{Number: "+4930123456", Addr: netip.MustParseAddrPort("10.0.0.1:5060")},
		Called:      record.Party{Number: "+4989987654", Addr: netip.MustParseAddrPort("10.0.0.2:5060")},
		RequestUser: "+4989987654",
	}
	if set != nil {
		set(c)
	}
	return c
}

// other is a call that has nothing in common with the first.
func other(id int64, set func(c *record.Call)) *record.Call {
	return call(id, func(c *record.Call) {
		c.Start, c.Answer, c.End = epoch+30*second, epoch+31*second, epoch+90*second
		c.Caller.Number, c.Called.Number, c.RequestUser = "200", "300", "300"
		c.Caller.Addr, c.Called.Addr = netip.MustParseAddrPort("10.9.0.1:5060"), netip.MustParseAddrPort("10.9.0.2:5060")
		if set != nil {
			set(c)
		}
	})
}

const uuidA, uuidB, uuidC = "11111111111111111111111111111111", "22222222222222222222222222222222", "33333333333333333333333333333333"

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second func(c *record.Call)
		want          string // of the link
	}{
		{"nothing", nil, nil, ""},
		{"both UUIDs", func(c *record.Call) { c.SessionID = uuidA + ";" + uuidB }, func(c *record.Call) { c.SessionID = uuidA + ";" + uuidB }, "session-id 100 " + uuidA},
		{"the UUID of the caller", func(c *record.Call) { c.SessionID = uuidA + ";" + uuidB }, func(c *record.Call) { c.SessionID = uuidA + ";" + uuidC }, "session-id 90 " + uuidA},
		{"the UUID of who stayed", func(c *record.Call) { c.SessionID = uuidA + ";" + uuidC }, func(c *record.Call) { c.SessionID = uuidB + ";" + uuidC }, "session-id 90 " + uuidC},
		{"one alone is known", func(c *record.Call) { c.SessionID = uuidA }, func(c *record.Call) { c.SessionID = uuidA }, "session-id 100 " + uuidA},
		{"other UUIDs", func(c *record.Call) { c.SessionID = uuidA + ";" + uuidB }, func(c *record.Call) { c.SessionID = uuidC }, ""},
		{"X-CID of the second", nil, func(c *record.Call) { c.XCallID = "c1" }, "x-cid 100 c1"},
		{"X-CID of the first", func(c *record.Call) { c.XCallID = "c2" }, nil, "x-cid 100 c2"},
		{"the same X-CID", func(c *record.Call) { c.XCallID = "x" }, func(c *record.Call) { c.XCallID = "x" }, "x-cid 100 x"},
		{"X-CID of a third call", func(c *record.Call) { c.XCallID = "x" }, func(c *record.Call) { c.XCallID = "y" }, ""},
		{"ICID", func(c *record.Call) { c.ICID = "i" }, func(c *record.Call) { c.ICID = "i" }, "icid 100 i"},
		{"a header", func(c *record.Call) { c.LinkHeader = "h" }, func(c *record.Call) { c.LinkHeader = "h" }, "header 100 h"},
		{"one value in two headers", func(c *record.Call) { c.LinkHeader, c.ICID = "h", "i" }, func(c *record.Call) { c.LinkHeader, c.ICID = "i", "h" }, ""},
		{"Replaces of the second", nil, func(c *record.Call) { c.Replaces = "c1" }, "replaces 100 c1"},
		{"Replaces of the first", func(c *record.Call) { c.Replaces = "c2" }, nil, "replaces 100 c2"},
		{"both replace a third", func(c *record.Call) { c.Replaces = "x" }, func(c *record.Call) { c.Replaces = "x" }, ""},
		{"the surest counts", func(c *record.Call) { c.SessionID, c.ICID = uuidA, "i" },
			func(c *record.Call) { c.SessionID, c.ICID, c.XCallID, c.Replaces = uuidA, "i", "c1", "c1" }, "session-id 100 " + uuidA},
		{"X-CID names itself", nil, func(c *record.Call) { c.XCallID = "c2" }, ""},
		{"one Call-ID", func(c *record.Call) { c.ICID = "i" }, func(c *record.Call) { c.ICID, c.CallID = "i", "c1" }, ""},
		{"headers before the score", func(c *record.Call) { c.ICID = "i" }, func(c *record.Call) { *c = *call(2, nil); c.ICID = "i" }, "icid 100 i"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := New(Options{})
			if l := f.Call(call(1, c.first)); l != nil {
				t.Fatalf("the first call has links: %+v", l)
			}
			if got := names(f.Call(other(2, c.second))); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func names(links []record.Link) string {
	var out []string
	for _, l := range links {
		out = append(out, fmt.Sprintf("%s %d %s", l.Reason, l.Score, l.Key))
	}
	return strings.Join(out, ", ")
}

// outgoing is the leg that a B2BUA at .2 sends on for call(…), 100 ms later.
func outgoing(id int64, set func(c *record.Call)) *record.Call {
	return call(id, func(c *record.Call) {
		c.Start += second / 10
		c.End -= second / 100
		c.Caller.Addr, c.Called.Addr = netip.MustParseAddrPort("10.0.0.2:5080"), netip.MustParseAddrPort("10.0.0.3:5060")
		if set != nil {
			set(c)
		}
	})
}

func elsewhere(c *record.Call) { c.Caller.Addr = netip.MustParseAddrPort("10.7.0.2:5060") }

func media(c *record.Call, addrs ...string) {
	for _, a := range addrs {
		c.Media = append(c.Media, record.Media{Addr: netip.MustParseAddrPort(a)})
	}
}

func numbers(caller, called string) func(c *record.Call) {
	return func(c *record.Call) { c.Caller.Number, c.Called.Number, c.RequestUser = caller, called, called }
}

func all(sets ...func(c *record.Call)) func(c *record.Call) {
	return func(c *record.Call) {
		for _, f := range sets {
			f(c)
		}
	}
}

func TestScore(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second func(c *record.Call)
		want          string
	}{
		{name: "two legs", want: "74 called caller start end address"},
		{name: "the B2BUA has two addresses", second: elsewhere, want: "64 called caller start end"},
		{name: "a slow B2BUA", second: all(elsewhere, func(c *record.Call) { c.Start += 4 * second }), want: "60 called caller start end"},
		{name: "one leg goes on to voicemail", second: func(c *record.Call) { c.End -= 20 * second }, want: "64 called caller start address"},
		{name: "other forms of the numbers", first: numbers("030123456", "0049 89 987-654"), want: "68 called caller start end address"},
		{name: "a trunk's prefix", second: numbers("99%2B4930123456", "77#4989987654;phone-context=x"), want: "74 called caller start end address"},
		{name: "without area code", second: numbers("123456", "987654"), want: "60 called caller start end address"},
		{name: "extensions of a PBX", first: numbers("100", "101"), second: numbers("100", "101"), want: "60 called caller start end address"},
		{name: "extensions of two PBXs", first: numbers("100", "101"), second: all(numbers("100", "101"), elsewhere)},
		{name: "names", first: numbers("alice", "bob"), second: numbers("Alice", "bob"), want: "74 called caller start end address"},
		{name: "the number that was asked for stands in the Request-URI", first: func(c *record.Call) { c.Called.Number = "ivr" }, want: "74 called caller start end address"},
		{name: "the caller is masked", second: numbers("+4930000000", "+4989987654")},
		{name: "the caller is masked, media is not", first: func(c *record.Call) { media(c, "10.1.0.1:4000") },
			second: all(numbers("anonymous", "+4989987654"), func(c *record.Call) { media(c, "10.1.0.9:4000", "10.1.0.1:4000") }), want: "90 called media start end address"},
		{name: "both numbers rewritten, media goes around", first: func(c *record.Call) { media(c, "10.1.0.1:4000", "10.1.0.3:4000") },
			second: all(numbers("1", "2"), elsewhere, func(c *record.Call) { media(c, "10.1.0.3:4000", "10.1.0.1:4000") }), want: "70 media start end"},
		{name: "both numbers rewritten, the relay keeps the SSRC", first: func(c *record.Call) { c.Streams = []record.Stream{{SSRC: 7}, {SSRC: 8}}; media(c, "10.1.0.1:4000") },
			second: all(numbers("+4930123456", "2"), func(c *record.Call) { c.Streams = []record.Stream{{SSRC: 8}, {SSRC: 9}, {SSRC: 7}} }), want: "99 caller media start end address"},
		{name: "one media server for all", first: func(c *record.Call) { media(c, "10.1.0.1:4000") },
			second: all(numbers("1", "2"), elsewhere, func(c *record.Call) { media(c, "10.1.0.1:4000") })},
		{name: "hotline, the name of a city", first: func(c *record.Call) { c.Caller.Name = "BERLIN" },
			second: all(numbers("+49305555555", "+4989987654"), func(c *record.Call) { c.Caller.Name = "Berlin" })},
		{name: "one caller, another called", second: func(c *record.Call) {
			c.Called.Number, c.RequestUser, c.Caller.Name = "+49405555555", "+49405555555", "A"
		}},
		{name: "from one host to one host", second: func(c *record.Call) { *c = *call(2, nil); c.Start += second / 10 }},
		{name: "back where it came from", second: func(c *record.Call) { c.Called.Addr = netip.MustParseAddrPort("10.0.0.1:5060") }, want: "74 called caller start end address"},
		{name: "after the answer", second: func(c *record.Call) { c.Start = epoch + 6*second }},
		{name: "after the end", first: func(c *record.Call) { c.Answer, c.End = 0, epoch+second }, second: func(c *record.Call) { c.Start = epoch + 2*second }},
		{name: "long after", first: func(c *record.Call) { c.Answer = 0 }, second: func(c *record.Call) { c.Start = epoch + 11*second }},
		{name: "its beginning is not known", first: func(c *record.Call) { c.Outcome = record.Partial; c.Flags = record.MidCall }},
		{name: "two hops before the B2BUA", first: func(c *record.Call) {
			c.Called.Addr = netip.MustParseAddrPort("10.5.0.1:5060")
			c.Messages = []record.Message{{Method: "INVITE", Dst: c.Called.Addr}, {Method: "INVITE", Status: 100}, {Method: "INVITE", Dst: netip.MustParseAddrPort("10.0.0.2:5060")}, {Method: "INVITE", Status: 200}}
		}, want: "74 called caller start end address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := ""
			if c.want != "" {
				want = "score " + c.want
			}
			// The order in which they are given changes nothing.
			a, b := call(1, c.first), outgoing(2, c.second)
			for _, pair := range [][2]*record.Call{{a, b}, {b, a}} {
				f := New(Options{})
				f.Call(pair[0])
				links := f.Call(pair[1])
				if got := names(links); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if len(links) == 1 && (links[0].First != 1 || links[0].Second != 2 || links[0].Start != a.Start || links[0].Other != b.Start) {
					t.Errorf("link %+v", links[0])
				}
			}
		})
	}
}

func TestMinScore(t *testing.T) {
	for _, c := range []struct {
		min   uint8
		links int
	}{{0, 1}, {74, 1}, {75, 0}, {101, 0}} {
		f := New(Options{MinScore: c.min})
		f.Call(call(1, nil))
		if l := f.Call(outgoing(2, nil)); len(l) != c.links {
			t.Errorf("at least %d: %d links, want %d", c.min, len(l), c.links)
		}
	}
}

// TestLinkID fixes the value: it names a link in stores that are written
// already.
func TestLinkID(t *testing.T) {
	f := New(Options{})
	f.Call(call(1, nil))
	l := f.Call(outgoing(2, nil))
	const want = 1884231870318124077
	if len(l) != 1 || l[0].ID != want {
		t.Errorf("got %+v, want ID %d", l, want)
	}
}

// TestChain: legs over three B2BUAs are all linked, and so are the branches of a
// fork; each pair once.
func TestChain(t *testing.T) {
	f := New(Options{})
	pairs := make(map[[2]int64]bool)
	for i := range int64(4) {
		links := f.Call(call(i+1, func(c *record.Call) {
			c.Start += i * second / 10
			c.Caller.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 5060)
			c.Called.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 2)}), 5060)
		}))
		for _, l := range links {
			if pairs[[2]int64{l.First, l.Second}] {
				t.Errorf("linked twice: %+v", l)
			}
			pairs[[2]int64{l.First, l.Second}] = true
		}
	}
	if len(pairs) != 6 || f.Stats().Links[record.LinkScore] != 6 {
		t.Errorf("%d pairs, want 6", len(pairs))
	}
}

// TestCrowd: what very many calls share tells nothing.
func TestCrowd(t *testing.T) {
	t.Run("one ICID for all", func(t *testing.T) {
		f := New(Options{})
		links := 0
		for i := range int64(1000) {
			links += len(f.Call(other(i, func(c *record.Call) { c.ICID = "always" })))
		}
		if want := maxShared * (maxShared - 1) / 2; links != want {
			t.Errorf("%d links, want %d", links, want)
		}
		if s := f.Stats(); s.Crowded != 1000-maxShared {
			t.Errorf("%+v", s)
		}
	})
	t.Run("load test with one pair of numbers", func(t *testing.T) {
		f := New(Options{})
		links := 0
		for i := range int64(1000) {
			links += len(f.Call(call(i, func(c *record.Call) {
				c.Start += i * second / 20
				c.Answer, c.End = c.Start+second, c.Start+10*second
				c.Caller.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 5060)
			})))
		}
		if s := f.Stats(); links > 2*maxScored*maxScored || s.Ambiguous < 900 {
			t.Errorf("%d links, %+v", links, s)
		}
	})
}

func TestWindow(t *testing.T) {
	link := func(o Options, gap time.Duration, between int) int {
		f := New(o)
		f.Call(other(1, func(c *record.Call) { c.ICID = "i" }))
		for i := range between {
			f.Call(other(int64(10+i), nil))
		}
		return len(f.Call(other(2, func(c *record.Call) { c.ICID = "i"; c.End += int64(gap) })))
	}
	for _, c := range []struct {
		name    string
		o       Options
		gap     time.Duration
		between int
		links   int
	}{
		{"within an hour", Options{}, time.Hour, 0, 1},
		{"after an hour", Options{}, time.Hour + 1, 0, 0},
		{"within a minute", Options{Window: time.Minute}, time.Minute, 0, 1},
		{"after a minute", Options{Window: time.Minute}, time.Minute + 1, 0, 0},
		{"while there is room", Options{MaxCalls: 10}, 0, 9, 1},
		{"when there is none", Options{MaxCalls: 10}, 0, 10, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := link(c.o, c.gap, c.between); got != c.links {
				t.Errorf("%d links, want %d", got, c.links)
			}
		})
	}
}

// TestEmpties: nothing is left of calls that have gone.
func TestEmpties(t *testing.T) {
	f := New(Options{MaxCalls: 50})
	for i := range int64(1000) {
		f.Call(call(i, func(c *record.Call) {
			c.SessionID, c.XCallID, c.ICID = fmt.Sprintf("%032x;%s", i%7, uuidA), fmt.Sprint("c", i-1), fmt.Sprint(i%90)
			c.Start += i * second
		}))
	}
	s := f.Stats()
	if s.Waiting != 50 || s.Evicted != 950 || len(f.named.heads) > 50*6 || f.named.posts.len() > 50*6 || cap(f.named.calls.items) > 200 {
		t.Errorf("%+v, %d keys, %d posts, room for %d calls", s, len(f.named.heads), f.named.posts.len(), cap(f.named.calls.items))
	}
	f.Call(call(5000, func(c *record.Call) { c.Start += int64(48 * time.Hour); c.End += int64(48 * time.Hour) }))
	if len(f.named.heads) != 1 || f.named.posts.len() != 1 || f.legs.calls.len() != 1 || len(f.legs.heads) != f.legs.posts.len() {
		t.Errorf("%d keys, %d posts, %d legs, %d keys of legs are left", len(f.named.heads), f.named.posts.len(), f.legs.calls.len(), len(f.legs.heads))
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"+4930123456", "004930123456", inFull},
		{"+4930123456", "4930123456", inFull},
		{"+49 (30) 123-456", "+4930123456", inFull},
		{"030123456", "+4930123456", inPart}, // 8 digits
		{"0301234567", "+49301234567", inFull},
		{"%2B4930123456;isub=1", "+4930123456", inFull},
		{"1234567890123456789", "4567890123456789", inFull},
		{"123456", "99123456", inPart},
		{"12345", "9912345", different},
		{"90301234567", "+49301234567", inPart},
		{"9030123456", "+4930123456", different}, // 8 digits
		{"123456", "123457", different},
		{"100", "100", inPart},
		{"100", "1000", different},
		{"0", "0", different},
		{"", "", different},
		{"alice", "Alice", inFull},
		{"alice", "alice2", different},
		{"anonymous", "anonymous", different},
		{"alice", "100", different},
	} {
		a, b := numberOf(c.a), numberOf(c.b)
		if got := a.agrees(b); got != c.want || b.agrees(a) != got {
			t.Errorf("%q and %q: %d and %d, want %d", c.a, c.b, got, b.agrees(a), c.want)
		}
		if c.want != different && a.bucket() != b.bucket() && min(a.n, b.n) >= minSuffix {
			t.Errorf("%q and %q are not found together", c.a, c.b)
		}
	}
}

// TestPointers: what waits is nothing that the collector has to look through.
func TestPointers(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(x reflect.Type) {
		switch x.Kind() {
		case reflect.Struct:
			for i := range x.NumField() {
				walk(x.Field(i).Type)
			}
		case reflect.Array:
			walk(x.Elem())
		case reflect.Pointer, reflect.String, reflect.Slice, reflect.Map, reflect.Interface:
			t.Errorf("%v has pointers", x)
		}
	}
	walk(reflect.TypeFor[named]())
	walk(reflect.TypeFor[leg]())
	walk(reflect.TypeFor[post]())
}
