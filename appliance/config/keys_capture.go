package config

import "time"

// Groups in the order of the manual.
const (
	groupCapture = "Capture"
	groupCopies  = "Tunnels and copies"
	groupCalls   = "Calls"
	groupTLS     = "Connections and TLS"
	groupSpool   = "Spool"
	groupCold    = "Second directory of the spool"
	groupStore   = "Store"
	groupWeb     = "Web and API"
	groupProcess = "Process"
	groupLog     = "Log"
	groupExport  = "Exports"
)

// Limits of rings: what they work with at all, and what the kernel has room for.
const (
	leastRing = 1 << 20
	mostRing  = 128 << 30
	mostRings = 256 // sockets that share packets (PACKET_FANOUT_MAX)
)

var captureKeys = []Key{
	{Name: "id_sensor", Group: groupCapture, Also: []string{"sensor"},
		Help:  "Number of this sensor, which goes into every record. Each sensor of a site needs its own.",
		field: func(c *Config) value { return sensorID(&c.Sensor.ID) }},
	{Name: "name_sensor", Group: groupCapture, Live: true,
		Help:  "Name of this sensor, as people call it: in the web UI, in ringside status, and in the metrics. Empty: the name of the host.",
		field: func(c *Config) value { return text(&c.Sensor.Name, "a name") }},
	{Name: "interface", Group: groupCapture,
		Help: "Interfaces to capture from. Without one nothing is captured; the web UI shows what is stored.",
		field: func(c *Config) value {
			return list(&c.Capture.Interfaces, "names of interfaces", interfaceName, itself)
		}},
	{Name: "dedicated", Group: groupCapture,
		Help:  "The interfaces carry nothing of this host's own, as a mirror port does: what is not wanted is dropped in the kernel, and RTP that nobody records is measured there.",
		field: func(c *Config) value { return yesNo(&c.Capture.Dedicated) }},
	{Name: "sipport", Group: groupCapture, Live: true, Also: []string{"sip_ports", "sip_port"},
		Help:  "Ports of SIP by which the kernel filters. auto: 5060, 5061 and 5080 on dedicated interfaces, any on others. Name those of WebSocket, too.",
		field: func(c *Config) value { return ports(&c.Capture.SIPPorts) }},
	{Name: "rtpport", Group: groupCapture, Live: true, Also: []string{"rtp_ports", "rtp_port"},
		Help:  "Ports of media by which the kernel filters; addresses that SDP names pass as well. auto: 1024-65535.",
		field: func(c *Config) value { return portRange(&c.Capture.RTPPorts) }},
	{Name: "interface_ip_filter", Group: groupCapture, Live: true, Also: []string{"allow"},
		Help:  "Take only packets from or to these addresses. Empty: all.",
		field: func(c *Config) value { return prefixes(&c.Capture.Allow) }},
	{Name: "interface_ip_deny", Group: groupCapture, Live: true, Also: []string{"deny"},
		Help:  "Take no packets from or to these addresses. It goes before interface_ip_filter.",
		field: func(c *Config) value { return prefixes(&c.Capture.Deny) }},
	{Name: "filter", Group: groupCapture,
		Help:  "Take only packets that match this expression of tcpdump, in tunnels and fragments, too. All RTP is then measured in user space: prefer interface_ip_filter, sipport and rtpport.",
		field: func(c *Config) value { return text(&c.Capture.Filter, "an expression of tcpdump") }},
	{Name: "ringbuffer", Group: groupCapture,
		Help:  "Memory for the rings of each interface; on dedicated ones as much again for RTP that is recorded.",
		field: func(c *Config) value { return size(&c.Capture.Ring, leastRing, mostRing, "") }},
	{Name: "rings", Group: groupCapture,
		Help:  "Rings of each interface, with a thread each. auto: as many as there are CPUs for them.",
		field: func(c *Config) value { return count(&c.Capture.Rings, 0, mostRings, auto) }},
	{Name: "steer", Group: groupCapture,
		Help:  "How several rings share packets: by addresses and ports (flow), by the queue of the card (queue), or by flow also of what is in tunnels (cpu, which needs dedicated and XDP).",
		field: func(c *Config) value { return word(&c.Capture.Steer, nil, "flow", "queue", "cpu") }},
	{Name: "xdp", Group: groupCapture,
		Help:  "Where the kernel filters: the fastest place that works (auto), in the driver (native), in front of the stack (generic), at the sockets only (none).",
		field: func(c *Config) value { return word(&c.Capture.XDP, nil, "auto", "native", "generic", none) }},
	{Name: "meter", Group: groupCapture,
		Help:  "Where RTP that nobody records is measured. kernel: on dedicated interfaces with XDP, and in user space elsewhere.",
		field: func(c *Config) value { return word(&c.Capture.Meter, nil, "kernel", "user") }},
	{Name: "meter_streams", Group: groupCapture,
		Help:  "Streams that the kernel measures at one time, of each interface.",
		field: func(c *Config) value { return count(&c.Capture.Streams, 0, 16_000_000, auto) }},
	{Name: "meter_endpoints", Group: groupCapture,
		Help:  "Media addresses that the kernel knows at one time, of each interface.",
		field: func(c *Config) value { return count(&c.Capture.Media, 0, 16_000_000, auto) }},

	{Name: "udp_port_vxlan", Group: groupCopies, Also: []string{"vxlan_ports"},
		Help:  "UDP ports of VXLAN. auto: 4789 and 8472.",
		field: func(c *Config) value { return ports(&c.Capture.VXLANPorts) }},
	{Name: "deduplicate", Group: groupCopies, Also: []string{"dedup"},
		Help: "Remove second copies of packets, as mirror ports deliver them: always (on), never (off), or of interfaces that are seen to do so (auto).",
		field: func(c *Config) value {
			return word(&c.Capture.Dedup, onOff("on", "off"), auto, "on", "off")
		}},
	{Name: "deduplicate_window", Group: groupCopies, Also: []string{"dedup_window"},
		Help:  "Copies come within this time.",
		field: func(c *Config) value { return span(&c.Capture.DedupWindow, 0, time.Microsecond, second) }},
}

// sensorID takes a number; VoIPmonitor's -1 is none.
func sensorID(to *uint16) value {
	v := count(to, 0, 65535, "")
	number := v.set
	v.set = func(s string) error {
		if s == "-1" {
			s = "0"
		}
		return number(s)
	}
	return v
}
