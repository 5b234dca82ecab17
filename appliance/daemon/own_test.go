package daemon

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"ringside/dataplane/xdp"
)

func TestConnections(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0A00000A:0CEA 0500000A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 111 1
   1: 0A00000A:0CEA 0600000A:9C41 01 00000000:00000000 00:00000000 00000000     0        0 222 1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1
   3: 0100007F:1234 0100007F:0CEA 01 00000000:00000000 00:00000000 00000000     0        0 444 1
   4: B80D0120000000000000000001000000:1F90 B80D0120000000000000000002000000:01BB 01 0:0 0:0 0 0 0 555 1
   5: 0000000000000000FFFF00000A00000A:1F90 0000000000000000FFFF00000700000A:01BB 01 0:0 0:0 0 0 0 666 1
   6: XX:1 YY:2 01 0:0 0:0 0 0 0 777 1
`
	mine := map[string]bool{"111": true, "333": true, "444": true, "555": true, "666": true, "777": true}
	want := []xdp.Tuple{
		{Proto: 6, A: netip.MustParseAddrPort("10.0.0.10:3306"), B: netip.MustParseAddrPort("10.0.0.5:40000")},
		{Proto: 6, A: netip.MustParseAddrPort("[2001:db8::1]:8080"), B: netip.MustParseAddrPort("[2001:db8::2]:443")},
		{Proto: 6, A: netip.MustParseAddrPort("10.0.0.10:8080"), B: netip.MustParseAddrPort("10.0.0.7:443")},
	}
	if got := connections(table, 6, mine); !slices.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

// TestOwnTraffic: a socket with two ends that this process has is in the list,
// and not after it was closed.
func TestOwnTraffic(t *testing.T) {
	// UDP to an address for documentation: it has two ends, and nothing is sent.
	c, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		t.Skipf("no route: %v", err)
	}
	has := func() bool {
		own, err := ownTraffic()
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(own, func(o xdp.Tuple) bool {
			return o.Proto == 17 && o.B == netip.MustParseAddrPort("192.0.2.1:9") && o.A.String() == c.LocalAddr().String()
		})
	}
	if !has() {
		t.Error("the connection is not in the list")
	}
	c.Close()
	if has() {
		t.Error("the connection is in the list although it was closed")
	}
}

func TestLeaveOut(t *testing.T) {
	var told [][]xdp.Tuple
	p := &port{own: func(o []xdp.Tuple) error { told = append(told, o); return nil }}
	a := []xdp.Tuple{{Proto: 6, A: netip.MustParseAddrPort("10.0.0.10:3306"), B: netip.MustParseAddrPort("10.0.0.5:40000")}}
	for _, own := range [][]xdp.Tuple{nil, a, slices.Clone(a), nil, nil} {
		if err := p.leaveOut(own); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 2 || !slices.Equal(told[0], a) || len(told[1]) != 0 {
		t.Errorf("told %v", told)
	}
}
