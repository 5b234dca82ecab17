package spool

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Mount is a mounted file system.
type Mount struct {
	Path  string
	Kind  string // ext4, xfs, nfs4
	Total int64  // bytes; 0 where asking could take long, or for what holds no data
}

// kinds are file systems by the number that statfs(2) gives.
var kinds = map[int64]string{
	unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.NFS_SUPER_MAGIC: "nfs", unix.SMB_SUPER_MAGIC: "smb",
	unix.SMB2_SUPER_MAGIC: "smb2", unix.CIFS_SUPER_MAGIC: "cifs", unix.CEPH_SUPER_MAGIC: "ceph", unix.AFS_SUPER_MAGIC: "afs",
	unix.V9FS_MAGIC: "9p", unix.FUSE_SUPER_MAGIC: "fuse", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
}

// warn says what is to be known of a directory on that kind of file system;
// empty if nothing is.
func warn(dir, kind string) string {
	switch kind {
	case "tmpfs", "ramfs":
		return fmt.Sprintf("spool %s lies on %s: all of it is lost when the machine stops, and it takes memory", dir, kind)
	case "nfs", "smb", "smb2", "cifs", "ceph", "afs", "9p", "fuse":
		return fmt.Sprintf("spool %s lies on a network file system (%s): while the network is away packets are lost, and a sync promises what its server promises", dir, kind)
	}
	return ""
}

// onDisk are the file systems that a spool belongs on.
var onDisk = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs"}

// ErrRoot is why Open refuses a directory, unless AllowRoot is set.
var ErrRoot = errors.New("lies on the root file system")

// refuseRoot refuses a directory on the root file system where a larger one is
// mounted: that one was probably meant, and is not there, or was forgotten.
func refuseRoot(dir string, mounts []Mount) error {
	at, root, largest := Mount{}, Mount{}, Mount{}
	for _, m := range mounts {
		if m.Path == "/" {
			root = m
		}
		if inside, err := filepath.Rel(m.Path, dir); err == nil && filepath.IsLocal(inside) && len(m.Path) >= len(at.Path) {
			at = m
		}
		if slices.Contains(onDisk, m.Kind) && m.Total > largest.Total {
			largest = m
		}
	}
	if at.Path != "/" || largest.Total <= root.Total {
		return nil
	}
	return fmt.Errorf("open spool: %s %w of %s, and %s has %s: spool there, mount the volume that is missing, or allow the root file system",
		dir, ErrRoot, Bytes(root.Total), largest.Path, Bytes(largest.Total))
}

// Mounts lists what /proc/self/mountinfo says.
func (osFS) Mounts() ([]Mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close()
	var out []Mount
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m, writable, ok := parseMount(lines.Text())
		if !ok {
			continue
		}
		var st unix.Statfs_t
		info, err := os.Lstat(m.Path)
		if writable && (slices.Contains(onDisk, m.Kind) || m.Path == "/") && err == nil && info.IsDir() && unix.Statfs(m.Path, &st) == nil {
			m.Total = int64(st.Blocks) * st.Frsize
		}
		out = append(out, m)
	}
	return out, lines.Err()
}

// parseMount reads a line of mountinfo (proc_pid_mountinfo(5)).
func parseMount(line string) (m Mount, writable, ok bool) {
	before, after, ok := strings.Cut(line, " - ")
	fields, behind := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 6 || len(behind) < 1 {
		return m, false, false
	}
	m.Path, m.Kind = unescape(fields[4]), behind[0]
	return m, slices.Contains(strings.Split(fields[5], ","), "rw"), true
}

// unescape turns \040 into a space.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
