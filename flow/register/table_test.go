package register

import (
	"reflect"
	"testing"
)

// check reports what does not hold in a table at any time.
func check(t testing.TB, table *Table) {
	t.Helper()
	st := table.Stats()
	if sum := st.Requests + st.Retransmissions + st.Copies + st.Provisional + st.Answers + st.Repeated + st.Stray + st.Ignored; sum != st.Messages {
		t.Errorf("messages do not add up to %d: %+v", sum, st)
	}
	entries, blocks := 0, [numKinds]int{}
	for i := range table.lists {
		n, older := 0, ref(0)
		for r := table.lists[i].oldest; r != 0; r = table.head(r).newer {
			h := table.head(r)
			if h.older != older || int(h.list) != i || h.birth == 0 {
				t.Fatalf("list %d: entry %d is %+v", i, n, h)
			}
			if e := table.timers[h.timer]; e.ref != r || e.birth != h.birth || e.deadline > h.deadline {
				t.Fatalf("list %d: entry %d has the timer %+v for %+v", i, n, e, h)
			}
			blocks[r.kind()] += table.texts[r.kind()].blocks(h.text)
			older = r
			n++
		}
		if n != table.lists[i].n || older != table.lists[i].newest {
			t.Fatalf("list %d holds %d, says %d", i, n, table.lists[i].n)
		}
		entries += n
	}
	if entries != len(table.timers) {
		t.Fatalf("%d entries, %d timers", entries, len(table.timers))
	}
	for i := range table.timers {
		if i > 0 && table.timers.before(i, (i-1)/2) {
			t.Fatalf("the heap of timers is out of order at %d", i)
		}
	}
	for kind, n := range blocks {
		if a := &table.texts[kind]; a.used != n || a.used > a.limit {
			t.Fatalf("kind %d: %d blocks used, %d by entries, at most %d", kind, a.used, n, a.limit)
		}
	}
	bound, attempts := 0, 0
	for _, r := range table.recordOf {
		for child := ref(0); r != 0; r = table.bindings.at(r.slot()).kin {
			b := table.bindings.at(r.slot())
			if b.child != child || b.phase == attempt || table.bindingOf[b.key] != r {
				t.Fatalf("binding %+v does not stand with its kin", b)
			}
			child = r
			bound++
		}
	}
	for _, r := range table.bindingOf {
		if table.bindings.at(r.slot()).phase == attempt {
			attempts++
		}
	}
	if bound != table.lists[listBound].n || attempts != table.lists[listAttempts].n || bound+attempts != len(table.bindingOf) {
		t.Fatalf("%d bindings, %d attempts, %d keys: %+v", bound, attempts, len(table.bindingOf), st)
	}
	if n := table.lists[listTransactions].n; n != len(table.transactionOf) {
		t.Fatalf("%d transactions, %d keys", n, len(table.transactionOf))
	}
	for _, r := range table.exchangeOf {
		if table.exchanges.at(r.slot()).birth == 0 {
			t.Fatal("a key names an exchange that is gone")
		}
	}
}

// blocks is the number of blocks of a text.
func (a *arena) blocks(at text) (n int) {
	for b := uint32(at); b != 0; n++ {
		block := a.block(b)
		b = uint32(block[0]) | uint32(block[1])<<8 | uint32(block[2])<<16 | uint32(block[3])<<24
	}
	return n
}

// empty reports what is left in a table after CloseAll.
func empty(t testing.TB, table *Table) {
	t.Helper()
	check(t, table)
	if len(table.timers)+len(table.transactionOf)+len(table.bindingOf)+len(table.recordOf)+len(table.exchangeOf) != 0 {
		t.Fatalf("something is left in the empty table: %+v", table.Stats())
	}
}

// TestStatsAdd fills every counter, so that none is forgotten in Add.
func TestStatsAdd(t *testing.T) {
	var a, want Stats
	va, vw := reflect.ValueOf(&a).Elem(), reflect.ValueOf(&want).Elem()
	for i := range va.NumField() {
		va.Field(i).SetUint(uint64(i + 1))
		vw.Field(i).SetUint(2 * uint64(i+1))
	}
	b := a
	if a.Add(&b); a != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
}
