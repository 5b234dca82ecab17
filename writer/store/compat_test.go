package store

import (
	"database/sql"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

// compatStart is when the calls of the views' tests begin.
var compatStart = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// compatBatch is one good call with all that views show, a bad one a minute
// later, a busy one the day after, a text message and a registration.
func compatBatch() Batch {
	addr := netip.MustParseAddrPort
	start := compatStart.UnixNano()
	stream := func(side record.Side, src, dst string, packets uint64, f2 float64) record.Stream {
		s := record.Stream{From: side, Src: addr(src), Dst: addr(dst), SSRC: 7, Payload: 8, Ptime: 20, TTLMin: 60, TTLMax: 62,
			First: start + 6*second, Last: start + 64*second,
			Compat: record.Compat{MosF1: 4.19, MosF1Min: 4.0, MosF2: f2, MosF2Min: 3.9, MosAdapt: 4.3, MosAdaptMin: 4.2, LossPerc: 1.25},
			RTCP:   record.RTCP{Reports: 3, Lost: 4, FracAvg: 1.24, FracMax: 3.2, JitterAvg: 2.51, JitterMax: 7.2, RTT: 31.42, RTTMax: 40},
			XR:     record.XR{Reports: 1, MOSLQ: 4.12}}
		s.Packets, s.Received, s.Lost, s.Reordered, s.Duplicate = packets, packets, 12, 2, 1
		s.JitterAvg, s.JitterMax = 1.21, 8.01
		s.LossRuns, s.Delay = [10]uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, [8]uint32{1000, 1, 0, 0, 0, 0, 0, 1}
		return s
	}
	good := &record.Call{
		ID: 1<<62 + 5, CallID: "good@example", Sensor: 3, Start: start, Trying: start + second/20, Ring: start + 2*second, Answer: start + 5*second,
		ByeAt: start + 65*second, End: start + 65*second, Last: start + 66*second,
		Outcome: record.Answered, EndReason: record.EndBye, HungUp: record.SideCalled, LastStatus: 200, LastReason: "OK", Q850Cause: 16,
		Caller: record.Party{Number: "00493012345", Domain: "a.example", Name: "Ann", Addr: addr("10.1.0.1:5060"), Agent: "Yealink"},
		Called: record.Party{Number: "0044201234", Domain: "b.example", Addr: addr("[2001:db8::1]:5061"), Agent: "Asterisk"},
		VLAN:   -1, Transport: record.UDP, AuthUser: "ann", XCallID: "other@example", MaxRetransInv: 2,
		Media: []record.Media{{Side: record.SideCaller, Kind: "audio", Codecs: "PCMA telephone-event"}},
		Messages: []record.Message{{Method: "INVITE"}, {Method: "INVITE", Status: 100, Reason: "Trying"}, {Method: "INVITE", Status: 180, Reason: "Ringing"},
			{Method: "INVITE", Status: 180, Reason: "Ringing"}, {Method: "INVITE", Status: 200, Reason: "OK"}, {Method: "BYE", Status: 200, Reason: "OK"}},
		Streams: []record.Stream{stream(record.SideCaller, "10.1.0.9:4000", "10.9.0.9:6000", 10, 2), stream(record.SideCalled, "10.9.0.9:6000", "10.1.0.9:4000", 2900, 4.26),
			stream(record.SideCaller, "10.1.0.9:4002", "10.9.0.9:6000", 3000, 4.12)},
		Digits: []record.Digit{{Time: start + 10*second, From: record.SideCaller, Digit: "5", Method: record.DigitRTP}, {Time: start + 11*second + second/2, From: record.SideCalled, Digit: "#", Method: record.DigitINFO}},
	}
	bad := &record.Call{ID: 20, CallID: "bad@example", Sensor: 4, Start: start + 60*second, Answer: start + 61*second, End: start + 80*second,
		Outcome: record.Answered, EndReason: record.EndByeAlone, LastStatus: 200, VLAN: 100, Transport: record.TLS, Flags: record.SRTP,
		Caller: record.Party{Number: "100", Addr: addr("192.0.2.7:5060")}, Called: record.Party{Number: "00493012399"},
		Streams: []record.Stream{stream(record.SideCaller, "192.0.2.7:4000", "192.0.2.8:4000", 50, 2.2)}}
	bad.Streams[0].Compat.LossPerc, bad.Streams[0].JitterMax = 12.5, 90
	busy := &record.Call{ID: 30, CallID: "busy@example", Sensor: 3, Start: start + 86400*second, End: start + 86403*second,
		Outcome: record.Busy, EndReason: record.EndRejected, LastStatus: 486, VLAN: -1, Caller: record.Party{Number: "200"}, Called: record.Party{Number: "300"}}
	return Batch{
		Calls: []*record.Call{good, bad, busy},
		Exchanges: []*record.Exchange{{ID: 40, Kind: record.TextMessage, Start: start, Sensor: 3, CallID: "text@example", LastStatus: 202, VLAN: -1,
			Caller: record.Party{Number: "100", Addr: addr("10.1.0.1:5060")}, Called: record.Party{Number: "101"}, Text: "hello", ContentType: "text/plain", RTT: 12.4},
			{ID: 41, Kind: record.Options, Start: start}},
		Registrations: []*record.Registration{{ID: 50, Start: start, Sensor: 3, User: "ann", Domain: "a.example", AuthUser: "ann-auth", Contact: "sip:ann@10.1.0.1",
			Src: addr("10.1.0.1:5060"), State: record.Expired, Registers: 9, Expires: 300, VLAN: -1, RTT: 20.2, Agent: "Yealink"}},
	}
}

// oneRow is the first row of a query, by column; text and bytes as strings.
func oneRow(t *testing.T, s *Store, query string, args ...any) map[string]any {
	t.Helper()
	rows, err := s.read.Query(query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	cells, dest := make([]any, len(names)), []any{}
	for i := range cells {
		dest = append(dest, &cells[i])
	}
	if !rows.Next() {
		t.Fatalf("no row of %s: %v", query, rows.Err())
	}
	if err := rows.Scan(dest...); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]any)
	for i, n := range names {
		if b, ok := cells[i].([]byte); ok {
			cells[i] = string(b)
		}
		out[n] = cells[i]
	}
	return out
}

// checkRow compares columns of a row; numbers by what they print as.
func checkRow(t *testing.T, got, want map[string]any) {
	t.Helper()
	for name, w := range want {
		g, ok := got[name]
		switch {
		case !ok:
			t.Errorf("no column %s", name)
		case (g == nil) != (w == nil) || strings.TrimRight(strings.TrimRight(fmt.Sprint(g), "0"), ".") != strings.TrimRight(strings.TrimRight(fmt.Sprint(w), "0"), "."):
			t.Errorf("%s is %v, want %v", name, g, w)
		}
	}
}

func TestViews(t *testing.T) { onBoth(t, testViews) }

func testViews(t *testing.T, open opener) {
	s := open(t)
	put(t, s, compatBatch())
	const good = int64(1<<62 + 5)
	v4 := string([]byte{10, 1, 0, 1})
	want := map[string]any{
		"ID": good, "calldate": "2026-11-21 10:00:00", "callend": "2026-11-21 10:01:05", "duration": 65, "connect_duration": 60, "progress_time": 2,
		"first_rtp_time": 6, "post_bye_delay": nil, "caller": "00493012345", "caller_domain": "a.example", "caller_reverse": "54321039400",
		"callername": "Ann", "called": "0044201234", "called_domain": "b.example", "called_reverse": "4321024400",
		"sipcallerip": v4, "sipcallerport": 5060, "sipcalledip": string(netip.MustParseAddr("2001:db8::1").AsSlice()), "sipcalledport": 5061,
		"whohanged": "callee", "bye": 3, "lastSIPresponseNum": 200, "reason_sip_cause": nil, "reason_q850_cause": 16, "sighup": 0,
		"a_index": 2, "a_payload": 8, "a_saddr": string([]byte{10, 1, 0, 9}), "a_received": 3000, "a_lost": 12, "a_reordered": 2, "b_index": 1, "b_received": 2900,
		"a_avgjitter_mult10": 13, "a_maxjitter": 9, "a_sl1": 1, "a_sl9": 9, "a_sl10": 10, "a_d50": 1, "a_d70": 0, "a_d300": 1,
		"a_mos_f1_mult10": 41, "a_mos_f1_min_mult10": 40, "a_mos_f2_mult10": 41, "b_mos_f2_mult10": 43, "a_mos_adapt_mult10": 43, "a_mos_lqo_mult10": nil,
		"a_mos_xr_mult10": 41, "a_rtcp_loss": 4, "a_rtcp_maxfr": 3, "a_rtcp_avgfr_mult10": 12, "a_rtcp_maxjitter": 7, "a_rtcp_avgjitter_mult10": 25,
		"a_rtcp_avgrtd_mult10": 314, "a_rtcp_maxrtd_mult10": 400, "a_last_rtp_from_end": 1, "a_rtp_ptime": 20, "a_mos_min_mult10": 41,
		"a_packet_loss_perc_mult1000": 1250, "a_delay_sum": 360, "a_delay_cnt": 2, "a_delay_avg_mult100": 18000, "a_ttl_min": 60, "a_ttl_max": 62,
		"payload": 8, "jitter_mult10": 13, "mos_min_mult10": 41, "packet_loss_perc_mult1000": 1250, "lost": 12, "delay_sum": 360, "rtcp_avgfr_mult10": 12,
		"response_time_100": 50, "response_time_xxx": 2000, "max_retransmission_invite": 2, "vlan": nil, "id_sensor": 3,
		"flags": compatDTMFRequest | compatAudio | compatRTCP | compatDuplicate | compatUDP,
	}
	checkRow(t, oneRow(t, s, "SELECT * FROM cdr WHERE ID = ?", good), want)
	checkRow(t, oneRow(t, s, "SELECT * FROM cdr WHERE ID = 20"), map[string]any{
		"bye": 2, "vlan": 100, "whohanged": nil, "b_received": nil, "a_lost": 12, "mos_min_mult10": 22, "payload": 8, "lost": 12, "sipcalledip": nil,
		"flags": compatByeUnconfirmed | compatSRTPNoKey | compatRTCP | compatDuplicate | compatTLS})
	checkRow(t, oneRow(t, s, "SELECT * FROM cdr WHERE ID = 30"), map[string]any{
		"bye": 0, "connect_duration": nil, "a_received": nil, "mos_min_mult10": nil, "lost": nil, "delay_sum": nil, "payload": nil, "first_rtp_time": nil, "flags": 0})
	checkRow(t, oneRow(t, s, "SELECT * FROM cdr_next WHERE cdr_ID = ?", good), map[string]any{
		"calldate": "2026-11-21 10:00:00", "fbasename": "good@example", "digest_username": "ann", "match_header": "other@example", "custom_header1": nil, "hold": nil})
	checkRow(t, oneRow(t, s, "SELECT * FROM cdr_rtp WHERE cdr_ID = ? ORDER BY ID", good), map[string]any{
		"ID": good - 2, "saddr": string([]byte{10, 1, 0, 9}), "sport": 4002, "daddr": string([]byte{10, 9, 0, 9}), "dport": 6000, "ssrc": 7, "received": 3000, "loss": 12,
		"firsttime": "6", "payload": 8, "maxjitter_mult10": 81, "index": 2, "rtp_ptime": 20, "duration": "58"})
	checkRow(t, oneRow(t, s, "SELECT * FROM cdr_dtmf WHERE cdr_ID = ? ORDER BY firsttime DESC", good), map[string]any{
		"firsttime": "11.5", "dtmf": "#", "type": 1, "daddr": v4})
	checkRow(t, oneRow(t, s, "SELECT * FROM message"), map[string]any{
		"ID": 40, "calldate": "2026-11-21 10:00:00", "caller": "100", "called": "101", "message": "hello", "fbasename": "text@example", "lastSIPresponseNum": 202, "response_time": 12, "sipcallerip": v4})
	checkRow(t, oneRow(t, s, "SELECT * FROM register_state"), map[string]any{
		"ID": 50, "created_at": "2026-11-21 10:00:00", "counter": 9, "state": 5, "from_num": "ann", "digestusername": "ann-auth", "expires": 300, "sipcallerip": v4})

	var statuses []int64
	if err := groups(t.Context(), s.read, "SELECT SIPresponseNum FROM cdr_sipresp WHERE cdr_ID = ? ORDER BY ID DESC", []any{good}, func(scan func(...any) error) error {
		var n int64
		err := scan(&n)
		statuses = append(statuses, n)
		return err
	}); err != nil || !reflect.DeepEqual(statuses, []int64{100, 180, 200}) {
		t.Errorf("responses %v, error %v, want 100, 180, 200 once each", statuses, err)
	}
	if s.server != nil { // SQLite reverses no text
		checkRow(t, oneRow(t, s, "SELECT * FROM cdr WHERE ID = ?", good), map[string]any{"callername_reverse": "nnA"})
		checkRow(t, oneRow(t, s, "SELECT * FROM message"), map[string]any{"called_reverse": "101"})
	}
}

// guiQueries are questions as interfaces to the reference ask them: the time
// first, then one thing more.
var guiQueries = map[string]struct {
	and  string
	args []any
	want []string // Call-IDs of the day of compatStart
}{
	"time":           {"", nil, []string{"good", "bad"}},
	"caller prefix":  {"AND caller LIKE '0049%'", nil, []string{"good"}},
	"caller suffix":  {"AND caller_reverse LIKE '543%'", nil, []string{"good"}},
	"called prefix":  {"AND called LIKE '0049%'", nil, []string{"bad"}},
	"called suffix":  {"AND called_reverse LIKE '99%'", nil, []string{"bad"}},
	"either":         {"AND (caller LIKE '004930%' OR called LIKE '004930%')", nil, []string{"good", "bad"}},
	"address":        {"AND (sipcallerip = ? OR sipcalledip = ?)", []any{[]byte{10, 1, 0, 1}, []byte{10, 1, 0, 1}}, []string{"good"}},
	"media address":  {"AND a_saddr = ?", []any{[]byte{192, 0, 2, 7}}, []string{"bad"}},
	"response":       {"AND lastSIPresponseNum = 200", nil, []string{"good", "bad"}},
	"no response":    {"AND lastSIPresponseNum >= 400", nil, nil},
	"sensor":         {"AND id_sensor = 4", nil, []string{"bad"}},
	"MOS":            {"AND (a_mos_f2_mult10 < 30 OR b_mos_f2_mult10 < 30)", nil, []string{"bad"}},
	"worst MOS":      {"AND mos_min_mult10 <= 35", nil, []string{"bad"}},
	"loss":           {"AND packet_loss_perc_mult1000 >= 5000", nil, []string{"bad"}},
	"jitter":         {"AND (a_maxjitter > 50 OR b_maxjitter > 50)", nil, []string{"bad"}},
	"duration":       {"AND duration BETWEEN 60 AND 70", nil, []string{"good"}},
	"connected":      {"AND connect_duration < 30", nil, []string{"bad"}},
	"not hung up":    {"AND bye <> 3", nil, []string{"bad"}},
	"Call-ID":        {"AND fbasename = 'good@example'", nil, []string{"good"}},
	"a flag":         {"AND flags & 16 <> 0", nil, []string{"bad"}},
	"codec":          {"AND payload = 8", nil, []string{"good", "bad"}},
	"round trip":     {"AND a_rtcp_maxrtd_mult10 >= 300", nil, []string{"good", "bad"}},
	"VLAN":           {"AND vlan = 100", nil, []string{"bad"}},
	"loss of stream": {"AND EXISTS (SELECT 1 FROM cdr_rtp r WHERE r.cdr_ID = cdr.ID AND r.calldate = cdr.calldate AND r.loss > 10 AND r.received < 60)", nil, []string{"good", "bad"}},
	"a digit":        {"AND EXISTS (SELECT 1 FROM cdr_dtmf d WHERE d.cdr_ID = cdr.ID AND d.dtmf = '5')", nil, []string{"good"}},
	"a response":     {"AND EXISTS (SELECT 1 FROM cdr_sipresp p WHERE p.cdr_ID = cdr.ID AND p.SIPresponseNum = 180)", nil, []string{"good"}},
}

func TestViewQueries(t *testing.T) { onBoth(t, testViewQueries) }

func testViewQueries(t *testing.T, open opener) {
	s := open(t)
	put(t, s, compatBatch())
	for name, c := range guiQueries {
		t.Run(name, func(t *testing.T) {
			var got []string
			query := "SELECT cdr.ID, cdr_next.fbasename FROM cdr JOIN cdr_next ON cdr_next.cdr_ID = cdr.ID AND cdr_next.calldate = cdr.calldate" +
				" WHERE cdr.calldate >= '2026-11-21 00:00:00' AND cdr.calldate < '2026-11-22 00:00:00' " + c.and + " ORDER BY cdr.calldate LIMIT 100"
			err := groups(t.Context(), s.read, query, c.args, func(scan func(...any) error) error {
				var id int64
				var callID string
				err := scan(&id, &callID)
				got = append(got, strings.TrimSuffix(callID, "@example"))
				return err
			})
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("found %v, error %v, want %v", got, err, c.want)
			}
		})
	}
}

// TestViewPlan looks up how the databases search by calldate and by ID: by an
// index, not by looking at every call.
func TestViewPlan(t *testing.T) { onBoth(t, testViewPlan) }

func testViewPlan(t *testing.T, open opener) {
	s := open(t)
	var b Batch
	for i := range 2000 {
		b.Calls = append(b.Calls, &record.Call{ID: int64(i + 1), CallID: fmt.Sprint(i), Start: compatStart.UnixNano() + int64(i)*3600*second})
	}
	put(t, s, b)
	if s.server != nil {
		execOn(t, s.write, "ANALYZE TABLE calls")
	}
	for _, c := range []struct{ where, index string }{
		{"calldate >= '2026-11-25 00:00:00' AND calldate < '2026-11-25 02:00:00'", "calls_calldate"},
		{"ID = 77", "calls_id"},
		{"caller = '123'", "calls_caller"},
	} {
		if s.server == nil && c.index == "calls_caller" {
			continue // SQLite's index of it begins with the hour: docs/store.md
		}
		query := "SELECT ID, duration, a_saddr FROM cdr WHERE " + c.where
		if s.server != nil {
			row := oneRow(t, s, "EXPLAIN "+query)
			if row["key"] != c.index {
				t.Errorf("%s: plan %v, want by %s", c.where, row, c.index)
			}
			continue
		}
		if row := oneRow(t, s, "EXPLAIN QUERY PLAN "+query); !strings.Contains(fmt.Sprint(row["detail"]), c.index+" ") {
			t.Errorf("%s: plan %v, want by %s", c.where, row["detail"], c.index)
		}
	}
}

// TestCompatBackfill migrates a store of version 2 that has calls: the views
// must show their streams.
func TestCompatBackfill(t *testing.T) {
	path := t.TempDir() + "/old.db"
	old := rawOpen(t, path)
	if err := migrate(t.Context(), old, &sqliteDialect, migrations()[:2]); err != nil {
		t.Fatal(err)
	}
	calls, streams := map[string]string{"start_at": "1000000000", "id": "9"}, map[string]string{"start_at": "1000000000", "id": "9"}
	execScript(t, old, zeroInsert(t, old, "calls", calls))
	for seq, side := range []string{"caller", "called", "caller"} {
		streams["seq"], streams["side"], streams["packets"] = fmt.Sprint(seq), "'"+side+"'", fmt.Sprint(10*(seq+1))
		execScript(t, old, zeroInsert(t, old, "stream", streams))
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	checkRow(t, oneRow(t, s, "SELECT * FROM cdr"), map[string]any{"ID": 9, "calldate": "1970-01-01 00:00:01", "a_index": 2, "b_index": 1})
	var none sql.NullInt64
	if err := s.read.QueryRow("SELECT MAX(sdp_ptime) FROM cdr_rtp").Scan(&none); err != nil || none.Valid {
		t.Errorf("sdp_ptime %v, error %v, want none", none, err)
	}
}
