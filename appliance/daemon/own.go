package daemon

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ringside/dataplane/frame"
	"ringside/dataplane/xdp"
)

// What ringside says itself must not come back to it as if it were traffic: each
// record that goes to a database over a captured interface would be packets to
// look at, and so on. So the filters leave out the connections of this process,
// whatever they are for, as the kernel lists them.

// ownTraffic are the connections of this process, in an order of their own.
func ownTraffic() ([]xdp.Tuple, error) {
	mine, err := ownSockets()
	if err != nil {
		return nil, fmt.Errorf("list the sockets of this process: %w", err)
	}
	var out []xdp.Tuple
	for _, of := range []struct {
		file  string
		proto uint8
	}{{"tcp", frame.ProtoTCP}, {"tcp6", frame.ProtoTCP}, {"udp", frame.ProtoUDP}, {"udp6", frame.ProtoUDP}} {
		b, err := os.ReadFile("/proc/thread-self/net/" + of.file)
		if os.IsNotExist(err) { // a kernel without IPv6
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the connections of this host: %w", err)
		}
		out = append(out, connections(string(b), of.proto, mine)...)
	}
	slices.SortFunc(out, compareTuples)
	return slices.Compact(out), nil
}

func compareTuples(a, b xdp.Tuple) int {
	if c := a.A.Compare(b.A); c != 0 {
		return c
	}
	if c := a.B.Compare(b.B); c != 0 {
		return c
	}
	return int(a.Proto) - int(b.Proto)
}

// ownSockets are the inode numbers of the sockets that this process has open.
func ownSockets() (map[string]bool, error) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	mine := make(map[string]bool)
	for _, fd := range fds {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		if inode, ok := strings.CutPrefix(to, "socket:["); ok {
			mine[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return mine, nil
}

// connections reads /proc/net/tcp and the like (Linux,
// Documentation/networking/proc_net_tcp.rst): those of some sockets that have two
// ends, and go beyond this host.
func connections(table string, proto uint8, mine map[string]bool) (out []xdp.Tuple) {
	const local, remote, inode = 1, 2, 9
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) <= inode || !mine[f[inode]] {
			continue
		}
		a, okA := hexEndpoint(f[local])
		b, okB := hexEndpoint(f[remote])
		if okA && okB && b.Port() != 0 && !b.Addr().IsLoopback() {
			out = append(out, xdp.Tuple{Proto: proto, A: a, B: b})
		}
	}
	return out
}

// hexEndpoint reads ADDRESS:PORT in hexadecimal. The address is written in words
// of 32 bits, each in the byte order of this machine: little-endian, like the
// programs in bpf.
func hexEndpoint(s string) (netip.AddrPort, bool) {
	addr, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(addr)
	n, errPort := strconv.ParseUint(port, 16, 16)
	if err != nil || errPort != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}

// leaveOut tells the filter of the traffic of this process, if it has changed.
func (p *port) leaveOut(own []xdp.Tuple) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own == nil || p.frozen || slices.Equal(own, p.owned) {
		return nil
	}
	if err := p.own(own); err != nil {
		return fmt.Errorf("leave the traffic of this process on %s out: %w", p.name, err)
	}
	p.owned = own
	return nil
}
