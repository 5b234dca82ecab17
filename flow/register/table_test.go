package register

import (
	"reflect"
	"strings"
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

// A capture with coarse times has many packets of one moment, and long texts
// differ where they are cut: no record may take the ID of another.
func TestIDs(t *testing.T) {
	long := "<sip:alice@192.0.2.1;x=" + strings.Repeat("y", maxField)
	for _, tc := range []struct {
		name, script string
		records      int // and events
	}{
		{"messages of one dialog", `
			0@0 A>B MESSAGE 1 call=m branch=1 body=one type=text/plain
			1@0 B>A 200 MESSAGE 1 call=m branch=1
			2@0 A>B MESSAGE 2 call=m branch=2 body=two type=text/plain
			3@0 B>A 200 MESSAGE 2 call=m branch=2`, 4},
		{"flows of one instance", `
			0@0 A>B REGISTER 1 contact=<sip:alice@192.0.2.1>;+sip.instance='<i>';reg-id=1,<sip:alice@192.0.2.1>;+sip.instance='<i>';reg-id=2
			1@0 B>A 200 REGISTER 1`, 4},
		{"long contacts", `
			0@0 A>B REGISTER 1 contact=` + long + `1>,` + long + `2>
			1@0 B>A 200 REGISTER 1`, 4},
		{"packages of one dialog", `
			0@0 A>B SUBSCRIBE 1 call=s branch=1 "Event: dialog"
			1@0 B>A 200 SUBSCRIBE 1 call=s branch=1
			2@0 A>B SUBSCRIBE 2 call=s branch=2 "Event: presence"
			3@0 B>A 200 SUBSCRIBE 2 call=s branch=2`, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScript(t, Limits{})
			for line := range strings.Lines(tc.script + "\ncloseall 9") {
				if line = strings.TrimSpace(line); line != "" {
					s.line(line)
				}
			}
			if len(s.ids) != tc.records {
				t.Errorf("%d ids, want %d of\n%s", len(s.ids), tc.records, s.out.String())
			}
		})
	}
}
