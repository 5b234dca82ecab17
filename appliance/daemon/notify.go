package daemon

import (
	"fmt"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier speaks to the service manager as sd_notify(3) says. Where there is
// none, it says nothing.
type notifier struct {
	watchdog time.Duration // how long it waits for a sign of life; 0: for ever
}

func newNotifier() *notifier {
	n := new(notifier)
	n.watchdog, _ = systemd.SdWatchdogEnabled(false)
	return n
}

func (n *notifier) tell(lines ...string) {
	// Nobody can be told that the service manager does not listen.
	_, _ = systemd.SdNotify(false, strings.Join(lines, "\n"))
}

func (n *notifier) ready(status string) { n.tell(systemd.SdNotifyReady, "STATUS="+status) }

func (n *notifier) status(status string) { n.tell("STATUS=" + status) }

func (n *notifier) alive() { n.tell(systemd.SdNotifyWatchdog) }

// reloading must be followed by ready. systemd before 253 passes over the time.
func (n *notifier) reloading() { n.tell(systemd.SdNotifyReloading, systemd.SdNotifyMonotonicUsec()) }

func (n *notifier) stopping(within time.Duration) {
	n.tell(systemd.SdNotifyStopping, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", within.Microseconds()))
}
