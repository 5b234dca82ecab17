package store

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"ringside/flow/record"
)

// table says how the values of a T become rows: columns that place the row
// (its key), then one column per fact.
type table[T any] struct {
	name   string
	key    []string
	fields []field[T]
}

// field is a column and the place of its value in a T. The same pointer serves
// for writing and reading, so what is stored is what comes back.
type field[T any] struct {
	name string
	ptr  func(*T) any
}

func (t *table[T]) columns() []string {
	return slices.Concat(t.key, names(t.fields))
}

func names[T any](fields []field[T]) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.name
	}
	return out
}

// bind appends the column values of v to args.
func bind[T any](args []any, fields []field[T], v *T) []any {
	for _, f := range fields {
		args = append(args, value(f.ptr(v)))
	}
	return args
}

// cells appends to dest what a row's columns are scanned into.
func cells[T any](dest []any, fields []field[T], v *T) []any {
	for _, f := range fields {
		dest = append(dest, cell{f.ptr(v)})
	}
	return dest
}

// within is the fields of a part of an O, their names prefixed.
func within[O, T any](prefix string, fields []field[T], part func(*O) *T) []field[O] {
	out := make([]field[O], len(fields))
	for i, f := range fields {
		out[i] = field[O]{prefix + f.name, func(v *O) any { return f.ptr(part(v)) }}
	}
	return out
}

// addr is the two columns of an endpoint.
func addr[T any](prefix string, at func(*T) *netip.AddrPort) []field[T] {
	return []field[T]{
		{prefix + "addr", func(v *T) any { return (*addrPart)(at(v)) }},
		{prefix + "port", func(v *T) any { return (*portPart)(at(v)) }},
	}
}

// addrPart and portPart are the halves of an endpoint, each a column.
type (
	addrPart netip.AddrPort
	portPart netip.AddrPort
)

// addrBytes is an address as stored: 4 or 16 bytes, nil if there is none.
func addrBytes(a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}

// value is what p points to, as a database/sql driver takes it. Unsigned
// 64-bit counters are stored by their bits. A column of another type is a
// mistake in this package's tables, found by its first test.
func value(p any) any {
	switch p := p.(type) {
	case *string:
		return *p
	case *int64:
		return *p
	case *uint64:
		return int64(*p)
	case *uint32:
		return int64(*p)
	case *int32:
		return int64(*p)
	case *uint16:
		return int64(*p)
	case *int16:
		return int64(*p)
	case *uint8:
		return int64(*p)
	case *int:
		return int64(*p)
	case *float64:
		if math.IsNaN(*p) { // as SQLite would store it; others take it for a word
			return nil
		}
		return *p
	case *bool:
		if *p {
			return int64(1)
		}
		return int64(0)
	case **string:
		if *p == nil {
			return nil
		}
		return **p
	case **int64:
		if *p == nil {
			return nil
		}
		return **p
	case **float64:
		if *p == nil {
			return nil
		}
		return value(*p)
	case *addrPart:
		return addrBytes((*netip.AddrPort)(p).Addr())
	case *portPart:
		return int64((*netip.AddrPort)(p).Port())
	case *record.Flags:
		return int64(*p)
	case *netip.Addr:
		return addrBytes(*p)
	case fmt.Stringer: // a value with names
		return p.String()
	}
	panic(fmt.Sprintf("store: no column type for %T", p))
}

// cell reads a column into what p points to; the inverse of value.
type cell struct{ p any }

// Scan implements sql.Scanner.
func (c cell) Scan(src any) error {
	switch p := c.p.(type) {
	case *string:
		return scanText(src, func(b []byte) error { *p = string(b); return nil })
	case **string:
		if *p = nil; src == nil {
			return nil
		}
		return scanText(src, func(b []byte) error { *p = new(string(b)); return nil })
	case *netip.Addr:
		b, _ := src.([]byte)
		a, ok := netip.AddrFromSlice(b)
		*p = a
		return want(ok || src == nil, src, "address")
	case encoding.TextUnmarshaler: // a value with names
		return scanText(src, p.UnmarshalText)
	case *float64:
		f, ok := src.(float64)
		*p = f
		return want(ok, src, "number")
	case **float64:
		f, ok := src.(float64)
		if *p = nil; ok {
			*p = &f
		}
		return want(ok || src == nil, src, "number")
	case *addrPart:
		b, _ := src.([]byte)
		a, ok := netip.AddrFromSlice(b)
		*p = addrPart(netip.AddrPortFrom(a, (*netip.AddrPort)(p).Port()))
		return want(ok || src == nil, src, "address")
	case **int64:
		n, ok := src.(int64)
		if *p = nil; ok {
			*p = &n
		}
		return want(ok || src == nil, src, "integer")
	}
	n, ok := src.(int64)
	scanInt(c.p, n)
	return want(ok, src, "integer")
}

func scanInt(p any, n int64) {
	switch p := p.(type) {
	case *int64:
		*p = n
	case *uint64:
		*p = uint64(n)
	case *uint32:
		*p = uint32(n)
	case *int32:
		*p = int32(n)
	case *uint16:
		*p = uint16(n)
	case *int16:
		*p = int16(n)
	case *uint8:
		*p = uint8(n)
	case *int:
		*p = int(n)
	case *bool:
		*p = n != 0
	case *record.Flags:
		*p = record.Flags(n)
	case *portPart:
		*p = portPart(netip.AddrPortFrom((*netip.AddrPort)(p).Addr(), uint16(n)))
	default:
		panic(fmt.Sprintf("store: no column type for %T", p))
	}
}

func scanText(src any, set func([]byte) error) error {
	switch s := src.(type) {
	case string:
		return set([]byte(s))
	case []byte:
		return set(s)
	}
	return want(false, src, "text")
}

func want(ok bool, src any, what string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("read column: found %T instead of %s", src, what)
}

// insertSQL is an INSERT of n rows, beginning with the words of the dialect.
func insertSQL(insertInto, table string, columns []string, n int) string {
	row := "(" + marks(len(columns)) + ")"
	return insertInto + " " + table + " (" + strings.Join(columns, ", ") + ") VALUES " +
		row + strings.Repeat(", "+row, n-1)
}

// marks is a list of n placeholders.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }
