package cli

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"ringside/flow/record"
	"ringside/writer/store"
)

// sampleStore is a store with some calls, by the command line's own sink.
func sampleStore(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "calls.db")
	s, err := newStoreSink(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	calls := []*record.Call{answeredCall(), busyCall()}
	for i := range 5 {
		c := answeredCall()
		c.ID, c.CallID = int64(100+i), fmt.Sprintf("call-%d@example.com", i)
		c.Start, c.End = c.Start+int64(i)*1e9, c.End+int64(i)*1e9
		c.Caller.Number = fmt.Sprintf("+49%d", i)
		for j := range c.Streams {
			c.Streams[j].CallID, c.Streams[j].SSRC = c.CallID, uint32(10*i+j)
		}
		calls = append(calls, c)
	}
	for _, c := range calls {
		if err := s.take(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.take(&record.Stream{Src: ep("192.0.2.1:1"), Dst: ep("192.0.2.2:2"), First: t0, Last: t0}); err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// run is one command line, as a user gives it.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCallsCommand(t *testing.T) {
	db := sampleStore(t)
	for _, tc := range []struct{ name, args string }{
		{"calls.txt", "calls --utc --width 80"},
		{"calls-wide.txt", "calls --utc --oldest-first"},
		{"calls-none.txt", "calls --caller nobody"},
		{"calls-page.txt", "calls --utc --width 80 --limit 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("LC_ALL", "C.UTF-8")
			code, out, errs := run(t, append(strings.Fields(tc.args), "--db", db)...)
			if code != exitOK || errs != "" {
				t.Fatalf("exit %d, stderr %q", code, errs)
			}
			golden(t, tc.name, out)
		})
	}
}

// Paging through the list shows every call once.
func TestCallsPaging(t *testing.T) {
	db := sampleStore(t)
	var seen []string
	cursor := ""
	for range 10 {
		code, out, errs := run(t, "calls", "--db", db, "--limit", "3", "--json", "--cursor", cursor)
		if code != exitOK {
			t.Fatalf("exit %d: %s", code, errs)
		}
		for dec := json.NewDecoder(strings.NewReader(out)); ; {
			var c record.Call
			if err := dec.Decode(&c); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, c.CallID)
		}
		var more bool
		if cursor, more = strings.CutPrefix(strings.TrimSpace(errs), "more: --cursor "); !more {
			break
		}
	}
	want := []string{"busy\x1b[31m@[2001:db8::1]", "call-4@example.com", "call-3@example.com", "call-2@example.com", "call-1@example.com"}
	if len(seen) != 7 || !reflect.DeepEqual(seen[:5], want) {
		t.Errorf("pages show %q", seen)
	}
}

func TestCallsExports(t *testing.T) {
	db := sampleStore(t)
	_, out, _ := run(t, "calls", "--db", db, "--csv", "--call-id", answeredCall().CallID)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 {
		t.Fatalf("%d rows, want a header and one call", len(rows))
	}
	got := map[string]string{}
	for i, name := range rows[0] {
		got[name] = rows[1][i]
	}
	for name, want := range map[string]string{
		"id": "4611686018427387904", "call_id": "a84b4c76e66710@pc33.example.com", "start": "2026-01-05T10:00:00Z",
		"ring": "2026-01-05T10:00:00.25Z", "pdd_s": "0.250", "duration_s": "62.000", "connected_s": "60.000",
		"outcome": "answered", "status": "200", "caller": "+4930123456", "caller_name": "Alice Ängström",
		"called_addr": "198.51.100.1:5060", "codec": "PCMA", "mos_least": "4.360", "loss_most_percent": "0.400",
		"jitter_most_ms": "7.500", "streams": "2", "messages": "12", "flags": "incomplete early-media nat",
	} {
		if got[name] != want {
			t.Errorf("column %s is %q, want %q", name, got[name], want)
		}
	}
	_, out, _ = run(t, "calls", "--db", db, "--json", "--call-id", answeredCall().CallID)
	var c record.Call
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&c, answeredCall()) {
		t.Errorf("JSON export does not give back the call:\n%+v", c)
	}
	if _, out, _ = run(t, "calls", "--db", db, "--count"); out != "7\n" {
		t.Errorf("--count says %q, want 7", out)
	}
}

func TestCallCommand(t *testing.T) {
	db := sampleStore(t)
	_, byID, _ := run(t, "call", "--db", db, "4611686018427387904")
	_, byCallID, _ := run(t, "call", "--db", db, answeredCall().CallID)
	if byID != byCallID || !strings.Contains(byID, "Alice") {
		t.Errorf("by id:\n%s\nby Call-ID:\n%s", byID, byCallID)
	}
	code, _, errs := run(t, "call", "--db", db, "no-such-call")
	if code != exitFailure || !strings.Contains(errs, "no-such-call") {
		t.Errorf("exit %d, %q, want 1 and the name of the call", code, errs)
	}
}

// Every condition that the store knows has its flag.
func TestEveryFilterHasItsFlag(t *testing.T) {
	t.Run("calls", func(t *testing.T) {
		var f store.Filter
		setEvery(t, &f, func(fl *pflag.FlagSet) { filterFlags(fl, &f) })
		if f.Flags != record.OneWay|record.NoRTP || f.NotFlags != record.SRTP {
			t.Errorf("flags %v and %v", f.Flags.Names(), f.NotFlags.Names())
		}
	})
	t.Run("registrations", func(t *testing.T) {
		var f store.RegistrationFilter
		setEvery(t, &f, func(fl *pflag.FlagSet) { registrationFlags(fl, &f) })
		if want := []record.RegistrationState{record.Rejected, record.Registered}; !reflect.DeepEqual(f.States, want) {
			t.Errorf("states %v, want %v", f.States, want)
		}
	})
	t.Run("events", func(t *testing.T) {
		var f store.EventFilter
		setEvery(t, &f, func(fl *pflag.FlagSet) { eventFlags(fl, &f) })
		if want := []record.EventKind{record.RegNew, record.AuthRefused}; !reflect.DeepEqual(f.Kinds, want) {
			t.Errorf("kinds %v, want %v", f.Kinds, want)
		}
	})
	t.Run("exchanges", func(t *testing.T) {
		f := store.ExchangeFilter{Kinds: []record.ExchangeKind{record.TextMessage}} // each command has its own
		setEvery(t, &f, func(fl *pflag.FlagSet) {
			exchangeFlags(fl, &f, "", []string{"rejected", "registered"})
			fl.StringVar(&f.Text, "text", "", "")   // of messages
			fl.StringVar(&f.Event, "event", "", "") // of subscriptions
		})
	})
}

// setEvery sets all flags of a filter, and expects that no field of it is zero
// after that.
func setEvery(t *testing.T, filter any, flags func(*pflag.FlagSet)) {
	t.Helper()
	fl := pflag.NewFlagSet("list", pflag.ContinueOnError)
	flags(fl)
	values := map[string]string{
		"from": "2026-01-01", "to": "2026-01-02 10:00", "at": "-2h", "addr": "10.0.0.0/8", "signal-addr": "::1", "caller-addr": "10.1.1.1",
		"called-addr": "10.1.1.2", "media-addr": "10.1.1.3", "source": "10.1.1.4", "status": "4xx", "outcome": "busy,failed", "end": "bye",
		"sensor": "1,2", "flag": "one-way,no-rtp", "no-flag": "srtp", "caller": "+49*", "called": "*7", "number": "*1*",
		"mos-below": "3", "mos-above": "1", "loss-above": "2", "jitter-above": "9", "min-messages": "2", "max-messages": "9",
		"state": "rejected,registered", "kind": "reg-new,auth-failed", "failed": "true",
	}
	fl.VisitAll(func(x *pflag.Flag) {
		v, ok := values[x.Name]
		if !ok {
			v = "5s" // a span, or any text
		}
		if err := fl.Set(x.Name, v); err != nil {
			t.Error(err)
		}
	})
	v := reflect.ValueOf(filter).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Scope" { // which is not a question, but what may be seen
			t.Errorf("no flag sets %s", name)
		}
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, zone)
	for _, tc := range []struct{ in, want string }{
		{"2026-01-05", "2026-01-04T23:00:00Z"},
		{"2026-01-05 10:30", "2026-01-05T09:30:00Z"},
		{"2026-01-05 10:30:15", "2026-01-05T09:30:15Z"},
		{"2026-01-05T10:30:15", "2026-01-05T09:30:15Z"},
		{"2026-01-05T10:30:15.5+05:00", "2026-01-05T05:30:15.5Z"},
		{"-2h", "2026-01-05T09:00:00Z"},
		{"2h", ""}, {"yesterday", ""}, {"", ""}, {"2026-13-01", ""},
	} {
		got, err := parseTime(tc.in, now)
		if err != nil {
			if tc.want != "" {
				t.Errorf("%q: %v", tc.in, err)
			}
			continue
		}
		if s := stamp(got); s != tc.want {
			t.Errorf("%q is %s, want %q", tc.in, s, tc.want)
		}
	}
}

// What a table shows must be what the store's filters compare.
func TestFactsAreThoseOfTheStore(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "x.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	noRing := answeredCall()
	noRing.ID, noRing.Ring = 3, 0
	calls := []*record.Call{answeredCall(), busyCall(), noRing}
	if err := s.Insert(context.Background(), store.Batch{Calls: calls}); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Calls(t.Context(), store.Filter{}, store.Page{Ascending: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows.Calls) != len(calls) {
		t.Fatalf("%d calls stored, want %d", len(rows.Calls), len(calls))
	}
	for _, r := range rows.Calls {
		c, err := s.Call(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		q := qualityOf(c)
		pdd, rang := postDial(c)
		check := func(what string, ours float64, there bool, theirs any) {
			v := reflect.ValueOf(theirs)
			if v.Kind() == reflect.Pointer {
				if v.IsNil() == there {
					t.Errorf("call %d: %s is there: %v, the store says otherwise", r.ID, what, there)
				}
				if v.IsNil() {
					return
				}
				v = v.Elem()
			}
			if got := v.Convert(reflect.TypeFor[float64]()).Float(); math.Abs(got-ours) > 1e-9 {
				t.Errorf("call %d: %s is %v, the store says %v", r.ID, what, ours, got)
			}
		}
		check("duration", float64(duration(c)), true, r.Duration)
		check("connected", float64(connected(c)), c.Answer != 0, r.Connected)
		check("post-dial delay", float64(pdd), rang, r.PDD)
		check("MOS", q.mos, q.mos > 0, r.MOSMin)
		check("loss", q.loss, q.heard, r.LossMax)
		check("jitter", q.jitter, q.heard, r.JitterMax)
	}
}
