package store

import (
	"net/netip"
	"strings"
)

// where is the condition of a query in the making.
type where struct {
	conds []string
	args  []any
}

func (w *where) add(cond string, args ...any) {
	w.conds = append(w.conds, cond)
	w.args = append(w.args, args...)
}

// String is the WHERE clause with a leading space, or nothing.
func (w *where) String() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

// unindexed is a column or, if a query had better not search by it, an
// expression that no index is of.
func unindexed(column string, yes bool) string {
	if yes {
		return "+" + column
	}
	return column
}

// times is the condition that a time lies in [from, to); 0 is no bound.
func (w *where) times(column string, from, to int64) {
	if from != 0 {
		w.add(column+" >= ?", from)
	}
	if to != 0 {
		w.add(column+" < ?", to)
	}
}

// is is the condition that a column is the value, if one is given.
func (w *where) is(column, value string) {
	if value != "" {
		w.add(column+" = ?", value)
	}
}

// fold is the condition that one of the columns is the value, in any case.
func (w *where) fold(value string, columns ...string) {
	w.anyOf(value, "LOWER(", ") = LOWER(?)", columns)
}

// contains is the condition that one of the columns has text in it, in any
// case.
func (w *where) contains(text string, columns ...string) {
	w.anyOf(text, "INSTR(LOWER(", "), LOWER(?)) > 0", columns)
}

func (w *where) anyOf(value, before, after string, columns []string) {
	if value == "" {
		return
	}
	var conds []string
	var args []any
	for _, c := range columns {
		conds, args = append(conds, before+c+after), append(args, value)
	}
	w.add("("+strings.Join(conds, " OR ")+")", args...)
}

// status is the condition on a SIP status; 0 is no bound.
func (w *where) status(column string, low, high uint16) {
	if low != 0 {
		w.add(column+" >= ?", int64(low))
	}
	if high != 0 {
		w.add(column+" <= ?", int64(high))
	}
}

func (w *where) sensors(ids []uint16) {
	oneOf(w, "sensor", ids, func(s uint16) int64 { return int64(s) })
}

// oneOf is the condition that a column has one of the values, if any are given.
func oneOf[T, V any](w *where, column string, values []T, value func(T) V) {
	if len(values) == 0 {
		return
	}
	var args []any
	for _, v := range values {
		args = append(args, value(v))
	}
	w.add(column+" IN ("+marks(len(args))+")", args...)
}

// numberColumn is a column that a Match looks at, and the column that holds
// the same backwards, if there is one.
type numberColumn struct{ name, reverse string }

// number is the condition that one of the columns is as m says. byTime: the
// query has better go by its time than by these columns.
func (w *where) number(m Match, byTime bool, columns ...numberColumn) {
	if m.Value == "" {
		return
	}
	var conds []string
	var args []any
	for _, c := range columns {
		cond, more := m.cond(c, byTime)
		conds, args = append(conds, "("+cond+")"), append(args, more...)
	}
	w.add("("+strings.Join(conds, " OR ")+")", args...)
}

// pastAll is in no number, and sorts after all that is.
const pastAll = "\U0010FFFF"

// narrow reports whether an index finds what m is about.
func (m Match) narrow() bool { return m.Value != "" && (m.Kind == Exact || m.Kind == Prefix) }

// cond is m on one column. Suffixes are prefixes of the number reversed; both
// are ranges of an index.
func (m Match) cond(c numberColumn, byTime bool) (string, []any) {
	column, v := c.name, m.Value
	switch m.Kind {
	case Exact:
		return column + " = ?", []any{v}
	case Contains:
		return "INSTR(" + column + ", ?) > 0", []any{v}
	case Suffix:
		if c.reverse == "" {
			return "INSTR(CONCAT(" + column + ", ?), ?) > 0", []any{pastAll, v + pastAll}
		}
		column, v = c.reverse, reverse(v)
	}
	column = unindexed(column, byTime)
	return column + " >= ? AND " + column + " < ?", []any{v, v + pastAll}
}

// inside is the condition that one of the address columns lies in p.
func (w *where) inside(p netip.Prefix, columns ...string) {
	if p.IsValid() {
		c, args := anyInside(p, columns...)
		w.add(c, args...)
	}
}

// anyInside is inside as text: the bytes of one address, or a range of bytes,
// and the length that tells IPv4 from IPv6.
func anyInside(p netip.Prefix, columns ...string) (string, []any) {
	low := p.Masked().Addr().AsSlice()
	high := make([]byte, len(low))
	copy(high, low)
	for bit := p.Bits(); bit < len(high)*8; bit++ {
		high[bit/8] |= 0x80 >> (bit % 8)
	}
	var conds []string
	var args []any
	for _, c := range columns {
		if p.IsSingleIP() {
			conds, args = append(conds, c+" = ?"), append(args, low)
			continue
		}
		conds = append(conds, "("+c+" >= ? AND "+c+" <= ? AND LENGTH("+c+") = ?)")
		args = append(args, low, high, len(low))
	}
	return "(" + strings.Join(conds, " OR ") + ")", args
}
