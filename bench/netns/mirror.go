package netns

import (
	"errors"
	"fmt"
	"strings"
)

// Mirror makes a link between A and B with a third end, M, that receives
// whatever either of them sends, as from the mirror port of a switch: for
// captures that must not come between A and B. M has no addresses.
//
// The switch is a bridge that learns no addresses, so it floods. It is in M's
// namespace, together with the end that a test listens on.
func Mirror(queues int) (*Link, error) {
	l, err := newLink(queues, "a", "b", "m")
	if err != nil {
		return nil, err
	}
	if err = l.bridge(queues); err == nil {
		err = l.ready()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// bridge joins all sides of the link.
func (l *Link) bridge(queues int) error {
	m := l.sides[M].Namespace
	ports := []string{"pa", "pb", "pm"}
	// Ports do not speak, and what they forward is not looked at.
	if err := run("ip", "netns", "exec", m, "sh", "-c",
		"echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null || true"); err != nil {
		return err
	}
	if err := run("ip", "-n", m, "link", "add", "switch", "type", "bridge", "ageing_time", "0", "mcast_snooping", "0"); err != nil {
		return fmt.Errorf("make a switch (the kernel needs bridges): %w", err)
	}
	lines := []string{"link set switch up"}
	for side, port := range ports {
		if err := l.join(side, m, port, queues); err != nil {
			return err
		}
		if err := offload(m, port); err != nil {
			return err
		}
		lines = append(lines, "link set "+port+" multicast off", "link set "+port+" master switch", "link set "+port+" up")
	}
	if err := l.settle(); err != nil {
		return err
	}
	if err := feed(strings.Join(lines, "\n")+"\n", "ip", "-n", m, "-batch", "-"); err != nil {
		return err
	}
	for _, port := range ports {
		if err := l.runs(M, port); err != nil {
			return err
		}
	}
	return nil
}
