package api

import (
	"fmt"
	"testing"
)

func TestLimits(t *testing.T) {
	l := newLimits(-1)
	var release []func()
	for range perCaller[download] {
		r, err := l.enter("ann", download)
		if err != nil {
			t.Fatal(err)
		}
		release = append(release, r)
	}
	if _, err := l.enter("ann", download); failureOf(err).code != codeBusy {
		t.Errorf("one download too many: %v", err)
	}
	if _, err := l.enter("ann", quick); err != nil {
		t.Errorf("something quick beside downloads: %v", err)
	}
	if _, err := l.enter("bob", download); err != nil {
		t.Errorf("another caller: %v", err)
	}
	release[0]()
	if _, err := l.enter("ann", download); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

// However many callers come, only so many are remembered, and never one less of
// those that have something under way.
func TestLimitsForget(t *testing.T) {
	l := newLimits(-1)
	if _, err := l.enter("busy", events); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxCallers {
		r, err := l.enter(fmt.Sprint(i), quick)
		if err != nil {
			t.Fatal(err)
		}
		r()
	}
	if n := len(l.callers); n > maxCallers {
		t.Errorf("%d callers are remembered", n)
	}
	if c := l.callers["busy"]; c == nil || c.busy[events] != 1 {
		t.Error("who has a stream under way is forgotten")
	}
}

func TestSafeName(t *testing.T) {
	for in, want := range map[string]string{
		"ringside-1.pcap": "ringside-1.pcap", "../../etc/passwd": "_.._etc_passwd", "a\"b\r\nc: d": "a_b__c__d", "ü": "_", "-rf": "rf", "...": "",
	} {
		if got := safeName(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
