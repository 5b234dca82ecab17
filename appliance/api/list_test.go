package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ringside/appliance/api"
	"ringside/appliance/auth"
)

// What the database looks for and what is asked of each call are the same: each
// condition finds the same calls both ways.
func TestConditionsBothWays(t *testing.T) {
	w := newWorld(t)
	token := w.token("ana", auth.Scope{}, auth.Analyst)
	c := w.answered()
	find := func(q string) []string {
		t.Helper()
		var out []string
		for cursor := ""; ; {
			r := get[rows](w, token, "/api/v1/calls?"+url.Values{"q": {q}, "limit": {"1000"}, "cursor": {cursor}}.Encode())
			out = append(out, ids(r)...)
			if cursor = r.Next; cursor == "" {
				return out
			}
		}
	}
	all := len(find(""))
	for _, q := range []string{
		"caller:" + c.Caller.Number, "caller:00*", "caller:*0", "called:*3*", "number:+*", "domain:" + c.Caller.Domain, "agent:grandstream", "codec:pcma",
		"callid:" + c.CallID, "ip:10.100.0.0/24", "ip:" + c.Caller.Addr.Addr().String(), "signal_ip:198.18.0.0/28", "caller_ip:10.100.0.0/27", "called_ip:2001:db8::/16",
		"media_ip:10.100.0.0/16", "status:4xx", "status:486", "outcome:busy,answered", "end:bye", "flag:nat", "not flag:port-reuse,nat", "sensor:1", "sensor:2",
		"duration>5s", "duration>=4s duration<5s", "connected>1s", "connected<=4s", "pdd>100ms", "pdd<100ms", "mos<4", "mos>4", "loss>1", "jitter>5", "messages>10", "messages<=7",
		"start>=2026-01-05T09:00:10Z", "start<2026-01-05T09:00:10Z", "start>2026-01-05T09:00:05Z start<=2026-01-05T09:00:10Z",
	} {
		pushed, asked := find(q), find("("+q+") or ("+q+")")
		if !slices.Equal(pushed, asked) {
			t.Errorf("%s: the database finds %d, asking each call %d", q, len(pushed), len(asked))
		}
		if rest := find("not (" + q + ")"); len(rest)+len(pushed) != all {
			t.Errorf("%s: %d, and not so %d, of %d", q, len(pushed), len(rest), all)
		}
	}
}

// Pages hold every call once, whatever they are cut by.
func TestPages(t *testing.T) {
	w := newWorld(t)
	token := w.token("ana", auth.Scope{}, auth.Analyst)
	for _, query := range []string{"", "order=asc", "q=" + url.QueryEscape("status:2xx or status:4xx"), "q=" + url.QueryEscape("not codec:pcma") + "&order=asc"} {
		whole := ids(get[rows](w, token, "/api/v1/calls?limit=1000&"+query))
		if len(whole) < 20 {
			t.Fatalf("%s: %d calls", query, len(whole))
		}
		var out []string
		for cursor := ""; ; {
			r := get[rows](w, token, "/api/v1/calls?limit=7&cursor="+cursor+"&"+query)
			if len(r.Items) > 7 {
				t.Fatalf("%s: a page of %d", query, len(r.Items))
			}
			out = append(out, ids(r)...)
			if cursor = r.Next; cursor == "" {
				break
			}
		}
		if !slices.Equal(out, whole) {
			t.Errorf("%s: pages hold %d calls, one page %d", query, len(out), len(whole))
		}
		if order := strings.Contains(query, "asc"); !order && query != "" {
			count := get[api.Count](w, token, "/api/v1/calls/count?"+query)
			if count.Count != int64(len(whole)) || !count.Exact {
				t.Errorf("%s: counted %+v of %d", query, count, len(whole))
			}
		}
	}
}

// Parameters and an expression are both conditions.
func TestParameters(t *testing.T) {
	w := newWorld(t)
	token := w.token("ana", auth.Scope{}, auth.Analyst)
	for _, tc := range []struct{ params, q string }{
		{"status=4xx&q=outcome:busy", "status:4xx outcome:busy"},
		{"outcome=busy,failed", "outcome:busy,failed"},
		{"min_duration=5s&max_duration=10", "duration>=5s duration<=10s"},
		{"mos_below=4&codec=PCMU", "mos<4 codec:pcmu"},
		{"caller=00*&from=2026-01-05&to=2026-01-06T00:00:00Z", "caller:00*"},
		{"flag=nat&no_flag=port-reuse", "flag:nat not flag:port-reuse"},
		{"addr=10.100.0.0/24&min_messages=7&max_messages=7", "ip:10.100.0.0/24 messages:7"},
	} {
		a, b := get[rows](w, token, "/api/v1/calls?"+tc.params), get[rows](w, token, "/api/v1/calls?q="+url.QueryEscape(tc.q))
		if !slices.Equal(ids(a), ids(b)) || len(a.Items) == 0 {
			t.Errorf("%s finds %d, %s finds %d", tc.params, len(a.Items), tc.q, len(b.Items))
		}
	}
}

// Exports have all pages, in both forms, and every list has them.
func TestExports(t *testing.T) {
	w := newWorld(t)
	token := w.everything()
	for _, list := range []string{"calls", "registrations", "exchanges", "events", "orphans", "audit"} {
		items := len(get[rows](w, token, "/api/v1/"+list+"?limit=1000").Items)
		r := newRequest(token, "GET", "/api/v1/"+list)
		r.Header.Set("Accept", "text/csv")
		rec := w.send(r)
		lines, err := csv.NewReader(rec.Body).ReadAll()
		if err != nil || list != "audit" && len(lines) != items+1 {
			t.Errorf("%s as CSV: %d lines of %d: %v", list, len(lines), items, err)
		}
		r.Header.Set("Accept", "application/x-ndjson")
		rec = w.send(r)
		n, d := 0, json.NewDecoder(rec.Body)
		for d.More() {
			var v map[string]any
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%s line %d: %v", list, n, err)
			}
			n++
		}
		if list != "audit" && n != items {
			t.Errorf("%s as NDJSON: %d lines of %d", list, n, items)
		}
	}
	for _, col := range get[api.List[api.Column]](w, token, "/api/v1/calls/columns").Items {
		r := newRequest(token, "GET", "/api/v1/calls?columns="+col.Name)
		r.Header.Set("Accept", "text/csv")
		if rec := w.send(r); rec.Code != 200 || !strings.HasPrefix(rec.Body.String(), col.Name+"\n") {
			t.Errorf("column %s: %d %.100s", col.Name, rec.Code, rec.Body)
		}
	}
}

// Answers are compressed for who wants it, and whole then.
func TestGzip(t *testing.T) {
	w := newWorld(t)
	token := w.token("viv", auth.Scope{}, auth.Viewer)
	for _, path := range []string{"/api/v1/calls", "/api/v1/openapi.json"} {
		plain := w.ask(token, "GET", path).Body.Bytes()
		r := newRequest(token, "GET", path)
		r.Header.Set("Accept-Encoding", "br, gzip;q=0.5")
		rec := w.send(r)
		z, err := gzip.NewReader(rec.Body)
		if err != nil || rec.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("GET %s: %v %v", path, rec.Header(), err)
		}
		got, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("GET %s: %d bytes, plain %d: %v", path, len(got), len(plain), err)
		}
		r.Header.Set("Accept-Encoding", "gzip;q=0")
		if rec := w.send(r); rec.Header().Get("Content-Encoding") != "" {
			t.Errorf("GET %s is compressed though nobody wants it", path)
		}
	}
}

// The ladder shows what the messages say, and what each SDP changes.
func TestLadder(t *testing.T) {
	w := newWorld(t)
	token := w.token("ana", auth.Scope{}, auth.Analyst)
	again := 0
	for _, c := range get[rows](w, token, "/api/v1/calls?limit=1000").Items {
		l := get[api.Ladder](w, token, "/api/v1/calls/"+c.ID+"/ladder")
		m := get[struct {
			Items []struct {
				N    int
				Text string
			}
		}](w, token, "/api/v1/calls/"+c.ID+"/messages")
		if len(l.Arrows) != len(m.Items) {
			t.Fatalf("call %s: %d arrows, %d messages", c.ID, len(l.Arrows), len(m.Items))
		}
		seen := map[string]bool{}
		for i, a := range l.Arrows {
			if a.N != m.Items[i].N || a.Offset < 0 || a.From >= len(l.Entities) || a.To >= len(l.Entities) || l.Entities[a.From].Addr != a.Src.Addr() || m.Items[i].Text == "" {
				t.Errorf("call %s, arrow %d: %+v", c.ID, i, a)
			}
			if a.Retrans {
				again++
				if a.Of == 0 || a.Of >= a.N {
					t.Errorf("call %s: retransmission %d repeats %d", c.ID, a.N, a.Of)
				}
			}
			if from := a.Src.Addr().String(); a.SDP && !a.Retrans {
				if (a.Diff != nil) != seen[from] {
					t.Errorf("call %s, message %d: difference %+v, an earlier SDP of %s: %v", c.ID, a.N, a.Diff, from, seen[from])
				}
				seen[from] = true
			}
		}
	}
	if again == 0 {
		t.Error("no call has a retransmission: the test shows nothing")
	}
}

// Digits may be a PIN: only who may read signalling sees them.
func TestConcealed(t *testing.T) {
	w := newWorld(t)
	viewer, analyst := w.token("viv", auth.Scope{}, auth.Viewer), w.token("ana", auth.Scope{}, auth.Analyst)
	found := false
	for _, c := range get[rows](w, analyst, "/api/v1/calls?limit=1000").Items {
		a, v := w.ask(analyst, "GET", "/api/v1/calls/"+c.ID), w.ask(viewer, "GET", "/api/v1/calls/"+c.ID)
		found = found || strings.Contains(a.Body.String(), `"digits":`)
		if strings.Contains(v.Body.String(), `"digits":`) || strings.Contains(a.Body.String(), "inline:") {
			t.Fatalf("call %s: %s", c.ID, v.Body)
		}
	}
	if !found {
		t.Error("no call has digits: the test shows nothing")
	}
	if rec := w.ask(viewer, "GET", "/api/v1/exchanges?text=secret"); rec.Code != 400 {
		t.Errorf("a viewer searches texts: %d", rec.Code)
	}
}
