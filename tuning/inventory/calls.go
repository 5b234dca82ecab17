package inventory

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ringside/tuning/driver"
)

// System is the Caller of this machine.
type System struct{}

// Ethtool implements Caller.
func (System) Ethtool(name string) Ethtool {
	e := Ethtool{Ring: Unknown, RingMax: Unknown, Channels: Unknown, ChannelsMax: Unknown, GRO: Unknown, LRO: Unknown, Spread: Unknown, Rules: Unknown}
	s, err := driver.Open()
	if err != nil {
		return e
	}
	defer s.Close()
	t := s.All(name)
	e.Driver, e.Firmware, e.Bus = t.Driver, t.Firmware, t.Bus
	e.Settings, e.Limits, e.Rules, e.HardwareTime = t.Settings, t.Limits, t.Rules, t.Hardware
	e.Summarise()
	return e
}

// Summarise takes the few numbers that most ask for from all settings.
func (e *Ethtool) Summarise() {
	number := func(key string) (int, bool) {
		n, err := strconv.Atoi(e.Settings[key])
		return n, err == nil
	}
	if n, ok := number("rings.rx"); ok {
		e.Ring, e.RingMax = n, e.Limits["rings.rx"]
	}
	combined, both := number("channels.combined")
	received, only := number("channels.rx")
	if both || only {
		e.Channels, e.ChannelsMax = combined+received, e.Limits["channels.combined"]+e.Limits["channels.rx"]
	}
	for key, to := range map[string]*int{"feature.rx-gro": &e.GRO, "feature.rx-lro": &e.LRO} {
		switch e.Settings[key] {
		case "on":
			*to = 1
		case "off":
			*to = 0
		}
	}
	if table := e.Settings["rss.table"]; table != "" {
		e.Spread = spread(table)
	}
}

// spread is how many queues a table of receive-side scaling deals out to.
func spread(table string) int {
	if n, ok := strings.CutPrefix(table, "equal "); ok {
		queues, _ := strconv.Atoi(n)
		return queues
	}
	used := make(map[string]bool)
	for q := range strings.SplitSeq(table, ",") {
		used[q] = true
	}
	return len(used)
}

// Addresses implements Caller.
func (System) Addresses(name string) []string {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	addresses, err := i.Addrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range addresses {
		out = append(out, a.String())
	}
	return out
}

// Clock implements Caller.
func (System) Clock() (synced bool, maxError int64, err error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil { // with no modes it only reads
		return false, 0, fmt.Errorf("ask for the state of the clock: %w", err)
	}
	return t.Status&unix.STA_UNSYNC == 0, int64(t.Maxerror), nil
}

// Volume implements Caller. Of a directory that is not there yet it is the one that
// it would be on.
func (System) Volume(dir string) (v Volume, err error) {
	var s, root unix.Statfs_t
	for at := dir; ; at = filepath.Dir(at) {
		if err = unix.Statfs(at, &s); err == nil {
			break
		}
		if at == filepath.Dir(at) {
			return v, fmt.Errorf("ask for the volume of %s: %w", dir, err)
		}
	}
	v.Total, v.Free = int64(s.Blocks)*int64(s.Bsize), int64(s.Bavail)*int64(s.Bsize)
	v.Root = unix.Statfs("/", &root) == nil && root.Fsid == s.Fsid
	v.Type = types[int64(s.Type)]
	return v, nil
}

// types are file systems that matter, by their magic number (statfs(2)).
var types = map[int64]string{
	unix.TMPFS_MAGIC: "tmpfs", unix.NFS_SUPER_MAGIC: "nfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.EXT4_SUPER_MAGIC: "ext4",
	unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.RAMFS_MAGIC: "ramfs", unix.CIFS_SUPER_MAGIC: "cifs", unix.FUSE_SUPER_MAGIC: "fuse",
}
