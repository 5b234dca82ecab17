package driver

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTable(t *testing.T) {
	for _, tc := range []struct {
		text  string
		table []uint32
	}{
		{"equal 1", []uint32{0, 0, 0, 0}}, {"equal 3", []uint32{0, 1, 2, 0}}, {"equal 4", []uint32{0, 1, 2, 3}}, {"1,0,1,0", []uint32{1, 0, 1, 0}}, {"0,0,5,0", []uint32{0, 0, 5, 0}},
	} {
		if got := writeTable(tc.table); got != tc.text {
			t.Errorf("%v is written %q, want %q", tc.table, got, tc.text)
		}
		if got, err := readTable(tc.text, len(tc.table)); err != nil || !reflect.DeepEqual(got, tc.table) {
			t.Errorf("%q is read %v, %v", tc.text, got, err)
		}
	}
	for _, text := range []string{"", "equal", "equal 0", "equal x", "equal -1", "0,1", "0,1,2,x", "0,1,2,70000"} {
		if got, err := readTable(text, 4); err == nil {
			t.Errorf("%q is read %v", text, got)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, tc := range []struct {
		flag bool
		text string
		want uint32
		bad  bool
	}{{false, "4096", 4096, false}, {false, "-1", 0, true}, {false, "on", 0, true}, {true, "on", 1, false}, {true, "off", 0, false}, {true, "1", 0, true}} {
		got, err := number{flag: tc.flag}.parse(tc.text)
		if got != tc.want || (err != nil) != tc.bad {
			t.Errorf("%q: %d, %v", tc.text, got, err)
		}
	}
}

func TestKnown(t *testing.T) {
	for key, want := range map[string]bool{
		"rings.rx": true, "channels.combined": true, "feature.rx-gro": true, "priv.rx_striding_rq": true, "rss.key": true, "hash.udp6": true, "eee": true, "pause.tx": true,
		"": false, "rings": false, "rings.tx": false, "feature.rx-all": false, "feature.": false, "priv.": false, "rss.other": false, "hash.tcp4": false, "flash": false,
	} {
		if got := Known(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}

// What the loopback interface says, and what it refuses.
func TestLoopback(t *testing.T) {
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	told := s.All("lo")
	if _, ok := told.Settings["rings.rx"]; ok || len(told.Limits) != 0 || told.Hardware {
		t.Errorf("%+v", told)
	}
	for _, key := range []string{"rings.rx", "channels.combined", "rss.key", "rss.table", "hash.udp4", "hash.sctp", "priv.x", "pause.rx", "nonsense"} {
		if v, err := s.Get("lo", key); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s is %q, %v", key, v, err)
		}
	}
	for key, value := range map[string]string{"feature.rx-gro": "maybe", "rings.rx": "many", "hash.udp4": "xyz", "nonsense": "1", "priv.x": "on"} {
		if err := s.Set("lo", key, value); err == nil {
			t.Errorf("%s was made %q", key, value)
		}
	}
	for _, name := range []string{"a-name-that-is-too-long", "no-such-if0"} {
		if _, err := s.Get(name, "feature.rx-gro"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Get("no-such-if0", "rings.rx"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("%v", err)
	}
}
