package store

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"ringside/flow/record"
)

// filler sets every field of a record to a value of its own.
type filler struct{ n int64 }

func (f *filler) next() int64 { f.n++; return f.n }

// addr is an address, IPv4 and IPv6 by turns.
func (f *filler) addr() netip.Addr {
	n := f.next()
	if n%2 == 0 {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(n >> 8), 15: byte(n)})
	}
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func (f *filler) fill(t testing.TB, v reflect.Value) {
	t.Helper()
	switch p := v.Addr().Interface().(type) {
	case *netip.AddrPort:
		*p = netip.AddrPortFrom(f.addr(), uint16(f.n))
		return
	case *netip.Addr:
		*p = f.addr()
		return
	case *record.Outcome:
		*p = record.Outcomes()[1+f.next()%int64(len(record.Outcomes())-1)]
		return
	case *record.StoredLevel:
		*p = record.NotWanted + record.StoredLevel(f.next()%3)
		return
	case *record.EndReason:
		*p = record.EndBye + record.EndReason(f.next()%7)
		return
	case *record.Side:
		*p = record.SideCaller + record.Side(f.next()%2)
		return
	case *record.Transport:
		*p = record.UDP + record.Transport(f.next()%6)
		return
	case *record.RegistrationState:
		*p = record.Unregistered + record.RegistrationState(f.next()%4)
		return
	case *record.ExchangeKind:
		*p = record.Subscription + record.ExchangeKind(f.next()%4)
		return
	case *record.EventKind:
		*p = record.EventKinds()[f.next()%int64(len(record.EventKinds()))]
		return
	case *record.LinkReason:
		*p = record.LinkSessionID + record.LinkReason(f.next()%6)
		return
	case *record.DigitMethod:
		*p = record.DigitRTP + record.DigitMethod(f.next()%2)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			f.fill(t, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(t, v.Index(i))
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d-é", f.next()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(f.next()) + 0.1)
	case reflect.Int64:
		v.SetInt(1_700_000_000_000_000_000 + f.next())
	case reflect.Int32:
		v.SetInt(-f.next())
	case reflect.Int16:
		v.SetInt(-f.next() % 32768)
	case reflect.Uint8:
		v.SetUint(uint64(1 + f.next()%255))
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(1 + f.next()%65535))
	case reflect.Uint64:
		v.SetUint(1<<63 + uint64(f.next()))
	default:
		t.Fatalf("fill: a record has a field of type %s, which this test and the store do not know", v.Type())
	}
}

// fullCall is a call in which no field is zero.
func fullCall(t testing.TB, seed int64) *record.Call {
	t.Helper()
	return full[record.Call](t, seed)
}

// full is a record in which no field is zero.
func full[T any](t testing.TB, seed int64) *T {
	t.Helper()
	f := filler{seed * 10000}
	v := new(T)
	f.fill(t, reflect.ValueOf(v).Elem())
	return v
}

// leaves calls visit with the pointer and path of every field that holds a
// value.
func leaves(path string, v reflect.Value, visit func(path string, p any)) {
	switch v.Addr().Interface().(type) {
	case *netip.AddrPort, *netip.Addr:
		visit(path, v.Addr().Interface())
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			leaves(path+"."+v.Type().Field(i).Name, v.Field(i), visit)
		}
	case reflect.Array:
		for i := range v.Len() {
			leaves(fmt.Sprintf("%s[%d]", path, i), v.Index(i), visit)
		}
	default:
		visit(path, v.Addr().Interface())
	}
}

// same reports the fields in which two records differ.
func same(t testing.TB, got, want any) {
	t.Helper()
	if diff := differ("", reflect.ValueOf(got), reflect.ValueOf(want)); diff != "" {
		t.Errorf("read back, want:%s", diff)
	}
}

func differ(path string, got, want reflect.Value) string {
	if reflect.DeepEqual(got.Interface(), want.Interface()) {
		return ""
	}
	var out string
	_, address := got.Interface().(netip.AddrPort)
	if _, bare := got.Interface().(netip.Addr); bare {
		address = true
	}
	switch {
	case address:
	case got.Kind() == reflect.Pointer && !got.IsNil() && !want.IsNil():
		return differ(path, got.Elem(), want.Elem())
	case got.Kind() == reflect.Struct:
		for i := range got.NumField() {
			out += differ(path+"."+got.Type().Field(i).Name, got.Field(i), want.Field(i))
		}
		return out
	case (got.Kind() == reflect.Slice || got.Kind() == reflect.Array) && got.Len() == want.Len():
		for i := range got.Len() {
			out += differ(fmt.Sprintf("%s[%d]", path, i), got.Index(i), want.Index(i))
		}
		return out
	}
	return fmt.Sprintf("\n%s: %v, want %v", path, got, want)
}
