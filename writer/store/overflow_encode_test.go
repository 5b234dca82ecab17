package store

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"ringside/flow/record"
)

// random sets every field of a record to something that a capture may hold.
func random(r *rand.Rand, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *netip.AddrPort:
		var a netip.Addr
		random(r, reflect.ValueOf(&a).Elem())
		*p = netip.AddrPortFrom(a, uint16(r.Uint32()))
		return
	case *netip.Addr:
		b := make([]byte, []int{0, 4, 16}[r.IntN(3)])
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		*p, _ = netip.AddrFromSlice(b)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			random(r, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		random(r, v.Elem())
	case reflect.Slice:
		if n := r.IntN(4); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
		}
		for i := range v.Len() {
			random(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			random(r, v.Index(i))
		}
	case reflect.String:
		b := make([]byte, r.IntN(20))
		for i := range b {
			b[i] = byte(r.Uint32()) // no UTF-8
		}
		v.SetString(string(b))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat([]float64{0, 1 / 3.0, -1, math.MaxFloat64, math.Inf(1), r.NormFloat64()}[r.IntN(6)])
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64() >> (64 - v.Type().Bits())))
	default:
		v.SetUint(r.Uint64() >> (64 - v.Type().Bits()))
	}
}

// TestBatchKept encodes batches of all kinds of records with all kinds of values.
func TestBatchKept(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var b Batch
		random(r, reflect.ValueOf(&b).Elem())
		data, err := encodeBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeBatch(data)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, b)
	}
	nan := &record.Stream{}
	nan.Jitter = math.NaN()
	data, err := encodeBatch(Batch{Orphans: []*record.Stream{nan}})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := decodeBatch(data); err != nil || !math.IsNaN(b.Orphans[0].Jitter) {
		t.Errorf("no number: %v, error %v", b, err)
	}
	for _, tc := range []struct {
		name  string
		data  string
		newer bool
	}{
		{"newer", "ringside records 2\nwhatever", true},
		{"something else", "{}", false},
		{"empty", "", false},
		{"cut", string(data[:len(data)/2]), false},
	} {
		if _, err := decodeBatch([]byte(tc.data)); err == nil || errors.Is(err, errNewer) != tc.newer {
			t.Errorf("%s: error %v", tc.name, err)
		}
	}
}

// TestBatchOfVersion1 reads what version 1 has kept: no change of the records may
// make it something else.
func TestBatchOfVersion1(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "records-1.queue"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeBatch(data)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, version1())
}

// version1 is the batch of testdata/records-1.queue.
func version1() Batch {
	at := netip.MustParseAddrPort
	var b Batch
	for i, o := range record.Outcomes() {
		b.Calls = append(b.Calls, &record.Call{
			ID: int64(i), CallID: "a@b", Outcome: o, EndReason: record.EndReason(i % 8), HungUp: record.Side(i % 3), Transport: record.Transport(i % 7),
			Caller: record.Party{Number: "100", Addr: at("192.0.2.1:5060")}, Called: record.Party{Addr: at("[2001:db8::1]:5060")},
			Flags: record.Fax, Tunnel: record.Tunnel{Kind: "gre", Src: netip.MustParseAddr("192.0.2.3")},
			Legs: []record.Leg{{Tag: "t"}}, Messages: []record.Message{{Time: 5, Method: "INVITE", SDP: true}},
			Streams: []record.Stream{{SSRC: 7, Counters: record.Counters{Received: 9, LossRuns: [10]uint32{9: 4}, Jitter: 0.5}, MOS: record.MOS{LQ: 4.4}}},
			Media:   []record.Media{{Side: record.SideCalled, Kind: "audio"}},
			Digits:  []record.Digit{{Digit: "#", Method: record.DigitINFO}, {Method: record.DigitRTP}},
		})
	}
	b.Orphans = []*record.Stream{{Src: at("192.0.2.9:4000"), First: 8, XR: record.XR{MOSLQ: -1}}}
	for i := range 5 {
		b.Registrations = append(b.Registrations, &record.Registration{ID: int64(i), State: record.RegistrationState(i)})
		b.Exchanges = append(b.Exchanges, &record.Exchange{ID: int64(i), Kind: record.ExchangeKind(i), Text: "\xff"})
	}
	for _, k := range record.EventKinds() {
		b.Events = append(b.Events, &record.Event{Kind: k, Count: 2})
	}
	for i := range 7 {
		b.Links = append(b.Links, &record.Link{Reason: record.LinkReason(i), Score: 60})
	}
	b.Quality = []*record.QualityReport{{Kind: "session", XR: record.XR{Loss: 1.5}}}
	return b
}
