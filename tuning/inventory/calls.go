package inventory

import (
	"encoding/binary"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// System is the Caller of this machine.
type System struct{}

// Ethtool implements Caller (struct ethtool_ringparam, ethtool_channels,
// ethtool_value and ethtool_rxfh_indir of linux/ethtool.h).
func (System) Ethtool(name string) Ethtool {
	e := Ethtool{Ring: Unknown, RingMax: Unknown, Channels: Unknown, ChannelsMax: Unknown, GRO: Unknown, LRO: Unknown, Spread: Unknown}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return e
	}
	defer unix.Close(fd)
	if w := words(fd, name, unix.ETHTOOL_GRINGPARAM, 9); w != nil && w[1] > 0 {
		e.RingMax, e.Ring = int(w[1]), int(w[5])
	}
	if w := words(fd, name, unix.ETHTOOL_GCHANNELS, 9); w != nil {
		e.ChannelsMax, e.Channels = int(w[1]+w[4]), int(w[5]+w[8]) // for receiving, and for both
	}
	if w := words(fd, name, unix.ETHTOOL_GGRO, 2); w != nil {
		e.GRO = int(w[1])
	}
	const lro = 1 << 15 // ETH_FLAG_LRO
	if w := words(fd, name, unix.ETHTOOL_GFLAGS, 2); w != nil {
		e.LRO = int(w[1] & lro >> 15)
	}
	e.Spread = spread(fd, name)
	return e
}

// spread is how many queues receive-side scaling uses.
func spread(fd int, name string) int {
	w := words(fd, name, unix.ETHTOOL_GRXFHINDIR, 2) // with no room: how long the table is
	const longest = 1 << 16
	if w == nil || w[1] == 0 || w[1] > longest {
		return Unknown
	}
	b := make([]byte, 8+4*w[1])
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GRXFHINDIR)
	binary.NativeEndian.PutUint32(b[4:], w[1])
	if !ask(fd, name, b) {
		return Unknown
	}
	used := make(map[uint32]bool)
	for at := 8; at < len(b); at += 4 {
		used[binary.NativeEndian.Uint32(b[at:])] = true
	}
	return len(used)
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
