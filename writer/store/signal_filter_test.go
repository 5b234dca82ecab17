package store

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"ringside/flow/record"
)

func sampleRegistrations(t *testing.T, open opener) *Store {
	t.Helper()
	addr := netip.MustParseAddrPort
	list := []*record.Registration{
		{AOR: "1001@example.com", User: "1001", Domain: "example.com", Contact: "sip:1001@10.0.0.1:5060", Agent: "Yealink T46", CallID: "r1",
			Src: addr("10.0.0.1:5060"), Dst: addr("10.9.9.9:5060"), State: record.Registered, LastStatus: 200, Sensor: 1, Registers: 5, Successes: 4, Challenges: 1},
		{AOR: "+4930123@Example.com", User: "+4930123", Domain: "Example.com", Contact: "sip:a@[2001:db8::1]", Agent: "Linphone",
			Src: addr("[2001:db8::1]:5060"), Dst: addr("[2001:db8::9]:5060"), State: record.Expired, LastStatus: 200, Registers: 2, Successes: 2},
		{AOR: "admin@pbx.local", User: "admin", Domain: "pbx.local", Agent: "friendly-scanner", Src: addr("203.0.113.66:5070"), Dst: addr("10.9.9.9:5060"),
			State: record.Rejected, LastStatus: 403, Sensor: 2, Registers: 90, Failures: 88, Timeouts: 2},
		{AOR: "2001@pbx.local", User: "2001", Domain: "pbx.local", State: record.Unregistered, Timeouts: 1, Registers: 1},
	}
	for _, h := range hostile {
		list = append(list, &record.Registration{AOR: h, User: h, Domain: h, Contact: h, Agent: h, CallID: h})
	}
	for i, r := range list {
		r.ID = int64(i + 1)
		r.Start = r.ID * 1000 * second
		r.End = r.Start + 500*second
	}
	s := open(t)
	put(t, s, Batch{Registrations: list})
	return s
}

func TestRegistrationFilter(t *testing.T) { onBoth(t, testRegistrationFilter) }

func testRegistrationFilter(t *testing.T, open opener) {
	s := sampleRegistrations(t, open)
	prefix := func(p string) netip.Prefix { return mustAddr(t, p) }
	four := func(f RegistrationFilter) RegistrationFilter { f.To = 5000 * second; return f }
	find := func(t *testing.T, f RegistrationFilter) []int64 {
		t.Helper()
		l, err := s.Registrations(context.Background(), f, Page{Ascending: true})
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.CountRegistrations(context.Background(), f)
		if err != nil || int(n) != len(l.Records) {
			t.Errorf("count %d, listed %d, error %v", n, len(l.Records), err)
		}
		var ids []int64
		for _, r := range l.Records {
			ids = append(ids, r.ID)
		}
		return ids
	}
	for name, c := range map[string]struct {
		filter RegistrationFilter
		want   []int64
	}{
		"no condition":      {four(RegistrationFilter{}), []int64{1, 2, 3, 4}},
		"from":              {four(RegistrationFilter{From: 3000 * second}), []int64{3, 4}},
		"at":                {RegistrationFilter{At: 2400 * second}, []int64{2}},
		"at its start":      {RegistrationFilter{At: 2000 * second}, []int64{2}},
		"at its end":        {RegistrationFilter{At: 2500 * second}, nil},
		"AOR":               {RegistrationFilter{AOR: Match{"1001@example.com", Exact}}, []int64{1}},
		"AOR prefix":        {RegistrationFilter{AOR: Match{"1001@", Prefix}}, []int64{1}},
		"AOR prefix, time":  {four(RegistrationFilter{AOR: Match{"+49", Prefix}}), []int64{2}},
		"AOR suffix":        {RegistrationFilter{AOR: Match{"@pbx.local", Suffix}}, []int64{3, 4}},
		"AOR contains":      {RegistrationFilter{AOR: Match{"01@", Contains}}, []int64{1, 4}},
		"user":              {RegistrationFilter{User: Match{"1001", Exact}}, []int64{1}},
		"user suffix":       {RegistrationFilter{User: Match{"001", Suffix}}, []int64{1, 4}},
		"domain":            {RegistrationFilter{Domain: "EXAMPLE.COM"}, []int64{1, 2}},
		"contact":           {RegistrationFilter{Contact: "10.0.0.1"}, []int64{1}},
		"agent":             {RegistrationFilter{Agent: "yealink"}, []int64{1}},
		"Call-ID":           {RegistrationFilter{CallID: "r1"}, []int64{1}},
		"user agent's":      {RegistrationFilter{Addr: prefix("203.0.113.0/24")}, []int64{3}},
		"registrar's":       {RegistrationFilter{Addr: prefix("10.9.9.9")}, []int64{1, 3}},
		"IPv6":              {RegistrationFilter{Addr: prefix("2001:db8::1")}, []int64{2}},
		"state":             {four(RegistrationFilter{States: []record.RegistrationState{record.Rejected}}), []int64{3}},
		"state, the zero":   {four(RegistrationFilter{States: []record.RegistrationState{record.Registered}}), []int64{1}},
		"states":            {RegistrationFilter{States: []record.RegistrationState{record.Expired, record.Unregistered}}, []int64{2, 4}},
		"status":            {RegistrationFilter{StatusMin: 400, StatusMax: 499}, []int64{3}},
		"failed":            {RegistrationFilter{Failed: true}, []int64{3, 4}},
		"sensor":            {RegistrationFilter{Sensors: []uint16{1, 2}}, []int64{1, 3}},
		"several":           {RegistrationFilter{Domain: "pbx.local", Failed: true, Agent: "scanner"}, []int64{3}},
		"several, not both": {RegistrationFilter{Domain: "example.com", Failed: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := find(t, c.filter); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
	for i, h := range hostile {
		t.Run(h, func(t *testing.T) {
			for name, f := range map[string]RegistrationFilter{
				"AOR": {AOR: Match{Value: h}}, "user": {User: Match{Value: h}}, "domain": {Domain: h}, "Call-ID": {CallID: h},
			} {
				if got := find(t, f); !slices.Equal(got, []int64{int64(i + 5)}) {
					t.Errorf("%s: found %v, want %d", name, got, i+5)
				}
			}
			if got := find(t, RegistrationFilter{AOR: Match{h, Suffix}}); !slices.Contains(got, int64(i+5)) {
				t.Errorf("suffix: found %v, want %d among them", got, i+5)
			}
		})
	}
}

func TestExchangeFilter(t *testing.T) { onBoth(t, testExchangeFilter) }

func testExchangeFilter(t *testing.T, open opener) {
	addr := netip.MustParseAddrPort
	party := func(number, domain, at, agent string) record.Party {
		return record.Party{Number: number, Domain: domain, Addr: addr(at), Agent: agent}
	}
	list := []*record.Exchange{
		{Kind: record.TextMessage, CallID: "m1", State: "ok", LastStatus: 200, Text: "Are you there? 100%", Sensor: 1,
			Caller: party("1001", "example.com", "10.0.0.1:5060", "Linphone"), Called: party("1002", "example.com", "10.0.0.2:5060", "")},
		{Kind: record.TextMessage, CallID: "m2", State: "failed", LastStatus: 404, Failures: 1, Text: "hello",
			Caller: party("1002", "example.com", "10.0.0.2:5060", ""), Called: party("4930999", "carrier.net", "192.0.2.1:5060", "")},
		{Kind: record.Subscription, CallID: "s1", State: "active", Event: "dialog", Caller: party("1001", "example.com", "10.0.0.1:5060", ""), Called: party("1003", "example.com", "10.9.9.9:5060", "")},
		{Kind: record.Publication, CallID: "p1", State: "ok", Event: "presence", Caller: party("1003", "example.com", "10.0.0.3:5060", ""), Called: party("1003", "example.com", "10.9.9.9:5060", "Kamailio")},
		{Kind: record.Options, CallID: "o1", State: "down", Timeouts: 7, Sensor: 2, Caller: party("", "10.9.9.9", "10.9.9.9:5060", "Kamailio"), Called: party("", "gw", "[2001:db8::1]:5060", "")},
	}
	for i, e := range list {
		e.ID = int64(i + 1)
		e.Start = e.ID * 1000 * second
	}
	s := open(t)
	put(t, s, Batch{Exchanges: list})
	for name, c := range map[string]struct {
		filter ExchangeFilter
		want   []int64
	}{
		"no condition":   {ExchangeFilter{}, []int64{1, 2, 3, 4, 5}},
		"time":           {ExchangeFilter{From: 2000 * second, To: 4000 * second}, []int64{2, 3}},
		"kind":           {ExchangeFilter{Kinds: []record.ExchangeKind{record.TextMessage}}, []int64{1, 2}},
		"kinds":          {ExchangeFilter{Kinds: []record.ExchangeKind{record.Subscription, record.Publication}}, []int64{3, 4}},
		"state":          {ExchangeFilter{States: []string{"down"}}, []int64{5}},
		"caller":         {ExchangeFilter{Caller: Match{"1001", Exact}}, []int64{1, 3}},
		"called prefix":  {ExchangeFilter{Called: Match{"4930", Prefix}}, []int64{2}},
		"either":         {ExchangeFilter{Number: Match{"1002", Exact}}, []int64{1, 2}},
		"either suffix":  {ExchangeFilter{Number: Match{"999", Suffix}}, []int64{2}},
		"domain":         {ExchangeFilter{Domain: "Carrier.net"}, []int64{2}},
		"Call-ID":        {ExchangeFilter{CallID: "s1"}, []int64{3}},
		"event":          {ExchangeFilter{Event: "Presence"}, []int64{4}},
		"agent":          {ExchangeFilter{Agent: "kamailio"}, []int64{4, 5}},
		"text":           {ExchangeFilter{Text: "YOU THERE"}, []int64{1}},
		"text, wildcard": {ExchangeFilter{Text: "%"}, []int64{1}},
		"address":        {ExchangeFilter{Addr: mustAddr(t, "10.9.9.9")}, []int64{3, 4, 5}},
		"caller address": {ExchangeFilter{CallerAddr: mustAddr(t, "10.9.0.0/16")}, []int64{5}},
		"called address": {ExchangeFilter{CalledAddr: mustAddr(t, "::/0")}, []int64{5}},
		"status":         {ExchangeFilter{StatusMin: 404, StatusMax: 404}, []int64{2}},
		"failed":         {ExchangeFilter{Failed: true}, []int64{2, 5}},
		"sensor":         {ExchangeFilter{Sensors: []uint16{2}}, []int64{5}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := s.Exchanges(context.Background(), c.filter, Page{Ascending: true})
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, e := range l.Records {
				got = append(got, e.ID)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
			if n, err := s.CountExchanges(context.Background(), c.filter); err != nil || int(n) != len(c.want) {
				t.Errorf("count %d, error %v", n, err)
			}
		})
	}
}

func TestEventFilter(t *testing.T) { onBoth(t, testEventFilter) }

func testEventFilter(t *testing.T, open opener) {
	addr := netip.MustParseAddrPort
	list := []*record.Event{
		{Kind: record.RegNew, AOR: "1001@example.com", Target: "sip:1001@10.0.0.1", CallID: "r1", Method: "REGISTER", Status: 200, Agent: "Yealink",
			Src: addr("10.0.0.1:5060"), Dst: addr("10.9.9.9:5060"), Sensor: 1, Count: 1},
		{Kind: record.AuthRefused, AOR: "admin@pbx.local", Method: "REGISTER", Status: 403, Src: addr("203.0.113.66:5060"), Dst: addr("10.9.9.9:5060"), Count: 41},
		{Kind: record.PeerDown, Method: "OPTIONS", Src: addr("10.9.9.9:5060"), Dst: addr("[2001:db8::1]:5060"), Count: 1},
		{Kind: record.AuthRefused, AOR: "root@pbx.local", Method: "INVITE", Status: 401, Src: addr("203.0.113.66:5060"), Dst: addr("10.9.9.9:5060"), Count: 2},
	}
	for i, e := range list {
		e.ID = int64(i + 1)
		e.Time = e.ID * 1000 * second
	}
	s := open(t)
	put(t, s, Batch{Events: list})
	for name, c := range map[string]struct {
		filter EventFilter
		want   []int64
	}{
		"no condition": {EventFilter{}, []int64{1, 2, 3, 4}},
		"time":         {EventFilter{From: 2000 * second, To: 4000 * second}, []int64{2, 3}},
		"kind":         {EventFilter{Kinds: []record.EventKind{record.AuthRefused}}, []int64{2, 4}},
		"kinds":        {EventFilter{Kinds: []record.EventKind{record.RegNew, record.PeerDown}}, []int64{1, 3}},
		"AOR":          {EventFilter{AOR: Match{"admin@pbx.local", Exact}}, []int64{2}},
		"AOR suffix":   {EventFilter{AOR: Match{"@pbx.local", Suffix}}, []int64{2, 4}},
		"target":       {EventFilter{Target: "10.0.0.1"}, []int64{1}},
		"Call-ID":      {EventFilter{CallID: "r1"}, []int64{1}},
		"method":       {EventFilter{Method: "register"}, []int64{1, 2}},
		"agent":        {EventFilter{Agent: "yea"}, []int64{1}},
		"address":      {EventFilter{Addr: mustAddr(t, "10.9.9.9")}, []int64{1, 2, 3, 4}},
		"source":       {EventFilter{Source: mustAddr(t, "10.9.9.9")}, []int64{3}},
		"status":       {EventFilter{StatusMin: 400, StatusMax: 499}, []int64{2, 4}},
		"sensor":       {EventFilter{Sensors: []uint16{1}}, []int64{1}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := s.Events(context.Background(), c.filter, Page{Ascending: true})
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, e := range l.Records {
				got = append(got, e.ID)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", got, c.want)
			}
			if n, err := s.CountEvents(context.Background(), c.filter); err != nil || int(n) != len(c.want) {
				t.Errorf("count %d, error %v", n, err)
			}
		})
	}
	sum, err := s.SummarizeEvents(context.Background(), EventFilter{From: 1})
	if want := map[record.EventKind]int64{record.RegNew: 1, record.AuthRefused: 43, record.PeerDown: 1}; err != nil || !reflect.DeepEqual(sum, want) {
		t.Errorf("summary %v, error %v, want %v", sum, err, want)
	}
}
