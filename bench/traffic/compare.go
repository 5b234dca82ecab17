package traffic

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"ringside/flow/record"
)

// Truth is a truth file.
type Truth struct {
	Calls   []Call
	Orphans []Stream     // that no SDP named
	Doubled []Duplicates // frames that a mirror delivered twice
	Totals  Totals
}

// ReadTruth reads what Run wrote.
func ReadTruth(r io.Reader) (*Truth, error) {
	t := new(Truth)
	d := json.NewDecoder(bufio.NewReaderSize(r, 1<<18))
	for n := 1; ; n++ {
		var line json.RawMessage
		err := d.Decode(&line)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = t.add(line)
		}
		if err != nil {
			return nil, fmt.Errorf("read truth, line %d: %w", n, err)
		}
	}
	if t.Totals.Type == "" {
		return nil, fmt.Errorf("read truth: no line of totals; the generator did not finish")
	}
	return t, nil
}

func (t *Truth) add(line []byte) error {
	var kind struct{ Type string }
	if err := json.Unmarshal(line, &kind); err != nil {
		return err
	}
	switch kind.Type {
	case "call":
		t.Calls = append(t.Calls, Call{})
		return json.Unmarshal(line, &t.Calls[len(t.Calls)-1])
	case "stream":
		t.Orphans = append(t.Orphans, Stream{})
		return json.Unmarshal(line, &t.Orphans[len(t.Orphans)-1])
	case "duplicates":
		t.Doubled = append(t.Doubled, Duplicates{})
		return json.Unmarshal(line, &t.Doubled[len(t.Doubled)-1])
	case "totals":
		return json.Unmarshal(line, &t.Totals)
	}
	return fmt.Errorf("no type %q", kind.Type)
}

// Difference is one thing that was reported otherwise than the truth has it.
type Difference struct {
	CallID   string
	Scenario string
	What     string // JSON name, for a stream after its addresses and SSRC
	Want     string // of the truth
	Got      string
}

func (d Difference) String() string {
	return fmt.Sprintf("%s %s: %s: want %s, got %s", d.Scenario, d.CallID, d.What, d.Want, d.Got)
}

// tolerance is the relative difference that floating-point figures may have.
const tolerance = 1e-6

// Compare lists how the records of a reader differ from the truth. Integers,
// names and times must be equal, floats within 1e-6 of each other. The order
// of calls and streams does not matter. RTCP of orphans is not compared: the
// truth does not state it.
func Compare(truth *Truth, calls []*record.Call, orphans []*record.Stream) []Difference {
	var out []Difference
	got := map[string][]*record.Call{}
	for _, c := range calls {
		got[c.CallID] = append(got[c.CallID], c)
	}
	for i := range truth.Calls {
		want := &truth.Calls[i]
		d := differ{callID: want.CallID, scenario: want.Scenario}
		found := got[want.CallID]
		delete(got, want.CallID)
		if len(found) != 1 {
			d.note("records", 1, len(found))
		} else {
			d.call(want, found[0])
		}
		out = append(out, d.found...)
	}
	for _, c := range calls {
		if _, left := got[c.CallID]; left {
			delete(got, c.CallID)
			out = append(out, Difference{CallID: c.CallID, What: "records", Want: "0", Got: "1"})
		}
	}
	d := differ{scenario: "orphans"}
	d.streams(truth.Orphans, orphans)
	return append(out, d.found...)
}

type differ struct {
	callID, scenario string
	found            []Difference
}

func (d *differ) note(what string, want, got any) {
	d.found = append(d.found, Difference{d.callID, d.scenario, what, fmt.Sprint(want), fmt.Sprint(got)})
}

func (d *differ) call(want *Call, got *record.Call) {
	d.fields("", reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem())
	names := got.Flags.Names()
	slices.Sort(names)
	flags := slices.Sorted(slices.Values(want.Flags))
	if !slices.Equal(flags, names) {
		d.note("flags", strings.Join(flags, " "), strings.Join(names, " "))
	}
	streams := make([]*record.Stream, len(got.Streams))
	for i := range got.Streams {
		streams[i] = &got.Streams[i]
	}
	d.streams(want.Streams, streams)
}

type streamKey struct {
	src, dst netip.AddrPort
	ssrc     uint32
}

func (k streamKey) String() string { return fmt.Sprintf("%s>%s %08x", k.src, k.dst, k.ssrc) }

func (d *differ) streams(want []Stream, got []*record.Stream) {
	byKey := map[streamKey][]*record.Stream{}
	for _, s := range got {
		k := streamKey{s.Src, s.Dst, s.SSRC}
		byKey[k] = append(byKey[k], s)
	}
	for i := range want {
		w := &want[i]
		k := streamKey{w.Src, w.Dst, w.SSRC}
		found := byKey[k]
		delete(byKey, k)
		if len(found) != 1 {
			d.note(k.String()+" streams", 1, len(found))
			continue
		}
		d.fields(k.String()+" ", reflect.ValueOf(w).Elem(), reflect.ValueOf(found[0]).Elem())
	}
	for _, s := range got {
		k := streamKey{s.Src, s.Dst, s.SSRC}
		if _, left := byKey[k]; left {
			delete(byKey, k)
			d.note(k.String()+" streams", 0, 1)
		}
	}
}

// own are the fields of the truth that no record has, or that are compared
// otherwise: call and streams look for a record by its Call-ID.
var own = map[string]bool{"Type": true, "CallID": true, "Scenario": true, "Flags": true, "Streams": true, "Sent": true, "Dropped": true}

// fields compares every field of the truth with the field of the same name of
// the record.
func (d *differ) fields(where string, want, got reflect.Value) {
	t := want.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if own[f.Name] || f.Name == "RTCP" && d.callID == "" {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		w, g := want.Field(i), got.FieldByName(f.Name)
		switch {
		case f.Anonymous:
			d.fields(where, w, g)
		case w.Kind() == reflect.Struct && w.Type() != reflect.TypeFor[netip.AddrPort]():
			d.fields(where+name+".", w, g)
		case w.Kind() == reflect.Float64:
			if !near(w.Float(), g.Float()) {
				d.note(where+name, w, g)
			}
		case f.Name == "Tag" && w.String() == "":
			// The truth does not say whose tag the called's is when several rang.
		case w.Interface() != g.Interface():
			d.note(where+name, w, g)
		}
	}
}

// near tells whether two figures are equal but for rounding.
func near(a, b float64) bool {
	return math.Abs(a-b) <= tolerance*math.Max(math.Abs(a), math.Abs(b)) || math.Abs(a-b) < 1e-9
}
