package cli

import (
	"bytes"
	"testing"
	"time"
)

func TestFormat(t *testing.T) {
	for _, tc := range []struct{ what, got, want string }{
		{"count 0", count(0), "0"},
		{"count 999", count(999), "999"},
		{"count 1000", count(1000), "1,000"},
		{"count 1234567", count(uint64(1234567)), "1,234,567"},
		{"count -123456", count(-123456), "-123,456"},
		{"plural 1", plural(1, "call"), "1 call"},
		{"plural 0", plural(0, "call"), "0 calls"},
		{"share", share(1, 3), "33.3 %"},
		{"share of nothing", share(0, 0), ""},
		{"size 1023", size(1023), "1,023 bytes"},
		{"size 1 KiB", size(1024), "1.0 KiB"},
		{"size 1.5 GiB", size(3 << 29), "1.5 GiB"},
		{"seconds 0", seconds(0), "0.000 s"},
		{"seconds below a minute", seconds(int64(59_999 * time.Millisecond)), "59.999 s"},
		{"seconds rounding to a minute", seconds(int64(time.Minute) - 1), "1:00"},
		{"seconds negative", seconds(-int64(time.Second)), "-1.000 s"},
		{"clock", clock(int64(3725 * time.Second)), "1:02:05"},
		{"clean", clean("a\x1b[0mb\x00\u202e\xff\u00e4"), "a?[0mb???ä"},
		{"shorten", look{}.shorten("abcdef", 4), "abc…"},
		{"shorten ascii", look{ascii: true}.shorten("abcdef", 4), "abc~"},
		{"shorten to nothing", look{}.shorten("abcdef", 0), ""},
		{"moment", look{zone: time.UTC}.moment(t0 + 5e6), "2026-01-05 10:00:00.005 UTC"},
		{"no moment", look{ascii: true, zone: time.UTC}.moment(0), "-"},
		{"letter", letter(27), "B1"},
		{"wrap", wrap([]string{"one", "two", "three"}, ",", 9, 2), "one, two,\n  three"},
		{"wrap with the separator", wrap([]string{"one", "two", "three"}, ",", 8, 2), "one,\n  two,\n  three"},
		{"wrap of a long part", wrap([]string{"one", "two three four"}, ",", 10, 2), "one, two\n  three\n  four"},
		{"wrap of a long word", wrap([]string{"one", "unbreakable"}, ",", 8, 2), "one,\n  unbreakable"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.what, tc.got, tc.want)
		}
	}
}

func TestAsciiLocale(t *testing.T) {
	for _, tc := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", true},
		{"", "", "C", true},
		{"", "", "de_DE.UTF-8", false},
		{"", "", "C.utf8", false},
		{"C", "", "de_DE.UTF-8", true},
		{"", "en_US.UTF-8", "C", false},
	} {
		t.Setenv("LC_ALL", tc.all)
		t.Setenv("LC_CTYPE", tc.ctype)
		t.Setenv("LANG", tc.lang)
		if got := asciiLocale(); got != tc.want {
			t.Errorf("LC_ALL=%q LC_CTYPE=%q LANG=%q: ascii %v, want %v", tc.all, tc.ctype, tc.lang, got, tc.want)
		}
	}
}

func TestTable(t *testing.T) {
	cols := []column{{head: "Time"}, {head: "Loss", right: true}, {head: "Codec", drop: 1}, {head: "Extra", drop: 2}, {head: "Call-ID", least: 7}}
	rows := [][]string{
		{"10:00:00", "0.5 %", "PCMA", "long text", "abcdefghijklmnop"},
		{"10:00:01", "12.5 %", "G722", "x", "q"},
	}
	for _, tc := range []struct {
		name  string
		width int
		want  string
	}{
		{"unlimited", 0, "Time        Loss  Codec  Extra      Call-ID\n10:00:00   0.5 %  PCMA   long text  abcdefghijklmnop\n10:00:01  12.5 %  G722   x          q\n"},
		{"cut", 45, "Time        Loss  Codec  Extra      Call-ID\n10:00:00   0.5 %  PCMA   long text  abcdefgh…\n10:00:01  12.5 %  G722   x          q\n"},
		{"drop one", 40, "Time        Loss  Codec  Call-ID\n10:00:00   0.5 %  PCMA   abcdefghijklmn…\n10:00:01  12.5 %  G722   q\n"},
		{"drop two", 26, "Time        Loss  Call-ID\n10:00:00   0.5 %  abcdefg…\n10:00:01  12.5 %  q\n"},
		{"no room at all", 3, "Time        Loss  Call-ID\n10:00:00   0.5 %  abcdef…\n10:00:01  12.5 %  q\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := writeTable(&b, look{width: tc.width}, cols, rows); err != nil {
				t.Fatal(err)
			}
			if b.String() != tc.want {
				t.Errorf("got\n%s\nwant\n%s", b.String(), tc.want)
			}
		})
	}
}
