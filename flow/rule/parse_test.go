package rule

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The set in its canonical form, and that form again.
func TestString(t *testing.T) {
	text := "\ufeff  RULE a : Called  112 | 911* , NOT address 10.1.2.3/8|::ffff:192.0.2.1 OR vlan none|5-9->RTP FULL,lookback 90s # so\r\n" +
		`rule b: header X-A contains "a b"|c\* or header X exists, agent "or"|"#x" -> sip none` + "\n" +
		"rule ö.1: mos<3.50, loss > 5 % or jitter > 30 ms, status 4xx|486|180-199 -> register header\n" +
		"local 10.0.0.0/8 | 2001:db8::1\n" +
		"default->rtp header\n" +
		"zone local\n" +
		`rule c: time Mon-Sun|Mon-Fri 08:00-24:00|Sat|Mon-Sun 22:00-06:00, direction out|in, outcome busy, caller "a,b\"c" -> rtp none`
	want := `zone Local
local 10.0.0.0/8, 2001:db8::1
rule a: called 112|911*, not address 10.0.0.0/8|192.0.2.1 or vlan none|5-9 -> rtp full, lookback 1m30s
rule b: header x-a is "*a b*"|*c\** or header x exists, agent "or"|"#x" -> sip none
rule ö.1: status 4xx|486|180-199, mos < 3.5, loss > 5% or jitter > 30ms -> register header
rule c: time Mon-Sun|Mon-Fri 08:00-24:00|Sat|22:00-06:00, direction in|out, outcome busy, caller "a,b\"c" -> rtp none
default -> sip full, rtp header, register full
`
	got := parse(t, text).String()
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if again := parse(t, got).String(); again != got {
		t.Errorf("read again:\n%s", again)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		text      string
		line, col int
		says      string
	}{
		{"\n  foo: bar", 2, 3, "a line begins with rule"},
		{"-> rtp full", 1, 1, "a line begins with rule"},
		{"rule: called 1 -> rtp full", 1, 5, "a rule has a name"},
		{"rule x called 1 -> rtp full", 1, 7, "a rule has a name"},
		{"rule default: -> rtp full", 1, 6, "no name of a rule"},
		{"rule a: -> rtp full\nrule a: -> rtp none", 2, 6, "line 1 has a rule a already"},
		{"rule a: calls 1 -> rtp full", 1, 9, `no condition "calls": there are address,`},
		{"rule a: called -> rtp full", 1, 16, "write what the number of the called party is here"},
		{"rule a: called 1| -> rtp full", 1, 19, "write what"},
		{"rule a: called 1 caller 2 -> rtp full", 1, 18, "write a comma"},
		{"rule ä: called 1*2 -> rtp full", 1, 16, "'*' stands at the start or the end"},
		{"rule a: called or caller 1 -> rtp full", 1, 16, "write a value before or"},
		{`rule a: called "1 -> rtp full`, 1, 16, "the quote does not end"},
		{"rule a: address 10.0.0.300 -> rtp full", 1, 17, "is no address"},
		{"rule a: header X: exists -> rtp full", 1, 16, "without a colon"},
		{"rule a: header X = 1 -> rtp full", 1, 18, "write exists, is or contains"},
		{"rule a: header X contains a* -> rtp full", 1, 27, "contains needs no '*'"},
		{"rule a: direction out -> rtp full", 1, 9, "such as local 10.0.0.0/8"},
		{"local 10.0.0.0/8\nrule a: direction up -> rtp full", 2, 19, "there are in, out, internal, transit"},
		{"rule a: outcome unknown -> rtp full", 1, 17, "there are answered, busy"},
		{"rule a: sensor 65536 -> rtp full", 1, 16, "from 0 to 65535"},
		{"rule a: vlan 9-1 -> rtp full", 1, 14, "from 0 to 4095"},
		{"rule a: status 7xx -> rtp full", 1, 16, "from 100 to 699"},
		{"rule a: time 8:00-9:00 -> rtp full", 1, 14, "Mon-Fri 08:00-18:00"},
		{"zone UTC\nrule a: time Mon 08:00-08:00 -> rtp full", 2, 18, "is no time"},
		{"rule a: called 1, time Mon -> rtp full", 1, 19, "zone Europe/Berlin"},
		{"rule a: not mos < 3 -> rtp full", 1, 13, "write no not"},
		{"rule a: mos > 3 -> rtp full", 1, 13, "write mos <"},
		{"rule a: loss < 3 -> rtp full", 1, 14, "write loss >"},
		{"rule a: loss > NaN -> rtp full", 1, 16, "from 0 to 100%"},
		{"rule a: mos < 5.1 -> rtp full", 1, 15, "from 0 to 5"},
		{"rule a: called 1, mos < 3 or caller 1 -> rtp full", 1, 19, "write two rules"},
		{"rule a: called 1", 1, 17, "write a comma before a further condition, or"},
		{"rule a: called 1 ->", 1, 20, "such as sip full, rtp none"},
		{"rule a: -> video full", 1, 12, `"video" is nothing to store`},
		{"rule a: -> rtp", 1, 15, "write full, header or none"},
		{"rule a: -> rtp all", 1, 16, `"all" is no way to store`},
		{"rule a: -> rtp full, rtp none", 1, 22, "rtp is said twice"},
		{"rule a: -> rtp full, lookback 1h", 1, 31, "at most 5m"},
		{"rule a: -> rtp full sip full", 1, 21, "the line should end here"},
		{"default rtp full", 1, 9, "write -> here"},
		{"default -> rtp full, lookback 1s", 1, 22, `"lookback" is nothing to store`},
		{"default -> rtp full\ndefault -> rtp none", 2, 1, "there is a default already, in line 1"},
		{"zone Berlin", 1, 6, `no time zone "Berlin"`},
		{`zone ""`, 1, 6, "no time zone"},
		{"zone ../../etc/passwd", 1, 6, "no time zone"},
		{"local 10.0.0.0/33", 1, 7, "is no address"},
		{"rule a: called 1\x00 -> rtp full", 1, 17, "a control character"},
		{many(65, "loss > 1%"), 65, 6, "more than 64 rules ask for quality"},
	} {
		t.Run(tc.says+"/"+tc.text[:min(30, len(tc.text))], func(t *testing.T) {
			_, err := Parse(tc.text)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("no error: %v", err)
			}
			if e.Line != tc.line || e.Col != tc.col || !strings.Contains(e.Text, tc.says) {
				t.Errorf("got %v; want line %d, column %d: …%s…", e, tc.line, tc.col, tc.says)
			}
		})
	}
}

// many is a set of so many rules.
func many(n int, cond string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "rule r%d: %s -> rtp full\n", i, cond)
	}
	return b.String()
}

// Each wrong line is told, in order, and not too many.
func TestManyErrors(t *testing.T) {
	_, err := Parse("rule a: x\nrule b: -> rtp full\nrule c: y\n")
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.HasPrefix(err.Error(), "line 1,") {
		t.Errorf("got %v", err)
	}
	_, err = Parse(strings.Repeat("?\n", 100))
	if n := strings.Count(err.Error(), "\n") + 1; n != maxErrors {
		t.Errorf("%d errors are told", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("zone UTC\nlocal 10.0.0.0/8|::1\nrule a: not header X-T is \"a \\\" b\"|*x, direction in, time Sat-Mon 23:00-01:00 -> sip none\n")
	f.Add("rule b: vlan none|1-9, agent \\* or caller *1*, method INVITE, interface 1, outcome busy->rtp full,lookback 1ms\ndefault -> rtp header")
	x := invite(f, "User-Agent: Phone 1.2", "X-T: b")
	y := response(f, "486", "Server: S")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		canonical := s.String()
		again, err := Parse(canonical)
		if err != nil {
			t.Fatalf("the canonical form is not accepted: %v\n%q\n%q", err, text, canonical)
		}
		if got := again.String(); got != canonical {
			t.Fatalf("canonical forms differ:\n%s\n%s", canonical, got)
		}
		decide := func(s *Set) Policy {
			p := s.Decide(&x)
			before := p
			p = s.Again(p, &y)
			p, _ = s.Fires(p, Quality{MOS: 3, Loss: 3, Jitter: 30})
			for c := range p.Want {
				if p.Want[c] < before.Want[c] || p.Want[c] > s.MayWant(Class(c)) {
					t.Fatalf("%s went from %s to %s", Class(c), before.Want[c], p.Want[c])
				}
			}
			return p
		}
		if a, b := decide(s), decide(again); a != b {
			t.Fatalf("the canonical form decides %+v instead of %+v:\n%s", b, a, canonical)
		}
		for i := range s.Rules() {
			_ = s.Rules()[i].Meaning()
		}
	})
}
