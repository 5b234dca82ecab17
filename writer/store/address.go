package store

import (
	"context"
	"database/sql"
	"net/netip"

	"ringside/flow/record"
)

// The addresses of a call are in a table of their own, which is what calls are
// found by: a call has them in several places.

// addrRow is one address of a call.
type addrRow struct {
	start, id, hour int64
	addr            netip.Addr
	roles           int64
}

// What an address is to its call; roles add up.
const (
	roleCaller = 1 // signalling address of the caller
	roleCalled = 2
	roleMedia  = 4 // of RTP, or named by SDP

	roleSignal = roleCaller | roleCalled
	roleAny    = roleSignal | roleMedia
)

func addrFields() []field[addrRow] {
	return []field[addrRow]{
		{"start_at", func(a *addrRow) any { return &a.start }},
		{"id", func(a *addrRow) any { return &a.id }},
		{"hour", func(a *addrRow) any { return &a.hour }},
		{"addr", func(a *addrRow) any { return &a.addr }},
		{"roles", func(a *addrRow) any { return &a.roles }},
	}
}

// addresses writes the addresses of a call, each once.
func (w *batchWriter) addresses(c *record.Call) error {
	list := w.addrRows[:0]
	add := func(a netip.Addr, role int64) {
		if !a.IsValid() {
			return
		}
		a = a.WithZone("") // as it is stored
		for i := range list {
			if list[i].addr == a {
				list[i].roles |= role
				return
			}
		}
		list = append(list, addrRow{c.Start, c.ID, c.Start / hourNs, a, role})
	}
	add(c.Caller.Addr.Addr(), roleCaller)
	add(c.Called.Addr.Addr(), roleCalled)
	for i := range c.Media {
		add(c.Media[i].Addr.Addr(), roleMedia)
	}
	for i := range c.Streams {
		add(c.Streams[i].Src.Addr(), roleMedia)
		add(c.Streams[i].Dst.Addr(), roleMedia)
	}
	w.addrRows = list
	for i := range list {
		w.addrs.args = bind(w.addrs.args, addrTable.fields, &list[i])
		if err := w.addrs.flushFull(); err != nil {
			return err
		}
	}
	return nil
}

// forgetAddrs deletes the addresses of a call. Its other rows say which they are:
// the table is ordered by the address.
const forgetAddrs = "DELETE FROM call_addr WHERE hour = ? AND start_at = ? AND id = ? AND addr IN (" +
	"SELECT caller_addr FROM calls WHERE start_at = ? AND id = ? AND caller_addr IS NOT NULL" +
	" UNION SELECT called_addr FROM calls WHERE start_at = ? AND id = ? AND called_addr IS NOT NULL" +
	" UNION SELECT src_addr FROM stream WHERE orphan = 0 AND start_at = ? AND id = ? AND src_addr IS NOT NULL" +
	" UNION SELECT dst_addr FROM stream WHERE orphan = 0 AND start_at = ? AND id = ? AND dst_addr IS NOT NULL" +
	" UNION SELECT addr FROM call_media WHERE start_at = ? AND id = ? AND addr IS NOT NULL)"

func (in *inserter) forgetAddrs(ctx context.Context, tx *sql.Tx, k rowKey) error {
	args := []any{k.start / hourNs}
	for range 6 {
		args = append(args, k.start, k.id)
	}
	_, err := tx.StmtContext(ctx, in.forget).ExecContext(ctx, args...)
	return err
}
