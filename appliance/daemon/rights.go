package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Rights that capturing can do without, and does worse.
var rights = []struct {
	number uint
	name   string
}{{unix.CAP_NET_ADMIN, "cap_net_admin"}, {unix.CAP_BPF, "cap_bpf"}, {unix.CAP_PERFMON, "cap_perfmon"}}

// lacking names the rights that this process does not have: what the kernel
// answers without them ("operation not permitted", a page of the verifier's) does
// not say which. Empty if it has them all.
func lacking() string {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return ""
	}
	return lackingIn(string(b))
}

// lackingIn is lacking for a text as in proc_pid_status(5).
func lackingIn(status string) string {
	_, line, ok := strings.Cut(status, "\nCapEff:")
	line, _, _ = strings.Cut(line, "\n")
	has, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if !ok || err != nil {
		return ""
	}
	if has&(1<<unix.CAP_SYS_ADMIN) != 0 { // it stands for these two
		has |= 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
	}
	var out []string
	for _, r := range rights {
		if has&(1<<r.number) == 0 {
			out = append(out, r.name)
		}
	}
	return strings.Join(out, ", ")
}

// withoutBPF says why no program could be loaded, where that is a right or the
// system call; else it is the error itself.
func withoutBPF(err error) error {
	lack := lacking()
	// A command without arguments: an answer, if only that these make no sense.
	_, _, no := unix.Syscall(unix.SYS_BPF, 0, 0, 0)
	switch {
	case errors.Is(err, fs.ErrPermission) && lack != "":
		return fmt.Errorf("%w: run as root, or give %s", fs.ErrPermission, lack)
	case no == unix.ENOSYS, no == unix.EPERM:
		return fmt.Errorf("call bpf(2): %w: the kernel has no eBPF, or the container forbids it", no)
	}
	return err
}
