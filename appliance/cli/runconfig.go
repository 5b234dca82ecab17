package cli

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"ringside/appliance/config"
	"ringside/appliance/daemon"
	"ringside/flow/call"
	"ringside/flow/record"
)

// loadConfig reads the configuration as a service does.
func loadConfig(path string) (*config.Config, config.Report, error) {
	return config.Load(path, config.LoadOptions{
		Check: map[string]func(string) error{
			"filter":          daemon.CheckFilter,
			"calls_timeouts":  func(s string) error { _, err := call.ParseTimeouts(s); return err },
			"event_types_off": checkEvents,
			"rules":           checkRulesFile,
		},
		Credentials: os.Getenv("CREDENTIALS_DIRECTORY"),
		Volume:      config.VolumeSize,
	})
}

func checkEvents(s string) error {
	for name := range strings.SplitSeq(s, ",") {
		if _, err := parseEventKind(strings.TrimSpace(name)); err != nil {
			return err
		}
	}
	return nil
}

func checkRulesFile(path string) error {
	b, err := os.ReadFile(path)
	if err == nil {
		err = daemon.CheckRules(string(b))
	}
	return err
}

// configure takes what the command line has not said from the configuration file,
// if there is one.
func (f *runFlags) configure(fl *pflag.FlagSet) error {
	if f.service.config == "" {
		return nil
	}
	c, report, err := loadConfig(f.service.config)
	if bad := (*config.Error)(nil); errors.As(err, &bad) {
		return coded{exitConfig, fmt.Errorf("the configuration is refused: %s", strings.ReplaceAll(err.Error(), "\n", "; "))}
	} else if err != nil {
		return coded{exitConfig, err}
	}
	f.service.loaded = c
	for _, found := range report.Noteworthy() {
		f.service.notes = append(f.service.notes, found.String())
	}
	f.service.flags = make(map[string]string)
	fl.Visit(func(g *pflag.Flag) {
		if k := config.Find(g.Name); k != nil {
			f.service.flags[k.Name] = g.Value.String()
		}
	})
	return f.take(c, fl.Changed)
}

// take makes flags of a configuration, but for those that were given.
func (f *runFlags) take(c *config.Config, given func(string) bool) error {
	set := func(flag string, do func()) {
		if !given(flag) {
			do()
		}
	}
	set("interface", func() { f.interfaces = c.Capture.Interfaces })
	set("sensor", func() { f.sensor = c.Sensor.ID })
	f.takeCapture(&c.Capture, set)
	if err := f.takeCalls(&c.Calls, set); err != nil {
		return err
	}
	f.takeSpool(&c.Spool, set)
	set("db", func() { f.db = c.Store.Name() })
	set("queue", func() {
		if f.db != "" {
			f.queue = c.Store.Queue
		}
	})
	f.service.queueBytes, f.service.days = c.Store.QueueBytes, c.Store.Days
	set("json", func() { f.json = c.Export.JSON })
	set("csv", func() { f.csv = c.Export.CSV })
	set("keys", func() { f.keys = c.Export.Keys && f.json != "" })
	set("status-interval", func() { f.statusEvery = c.Log.Status })
	f.takeService(c, set)
	return nil
}

func (f *runFlags) takeCapture(c *config.Capture, set func(string, func())) {
	o := &f.capture
	set("dedicated", func() { o.Dedicated = c.Dedicated })
	set("xdp", func() { o.XDP = c.XDP })
	set("meter", func() { f.meter = c.Meter })
	set("ringbuffer", func() { o.RingMemory = c.Ring })
	set("rings", func() { o.Rings = c.Rings })
	set("steer", func() { o.Steer = c.Steer })
	set("allow", func() { o.Allow = c.Allow })
	set("deny", func() { o.Deny = c.Deny })
	set("sip-ports", func() { o.SIPPorts = c.SIPPorts })
	set("rtp-ports", func() { o.RTPPorts = c.RTPPorts })
	set("filter", func() { f.filter = c.Filter })
	set("vxlan-ports", func() { f.vxlanPorts = c.VXLANPorts })
	set("dedup", func() { f.dedup = c.Dedup })
	set("dedup-window", func() { f.dedupWindow = c.DedupWindow })
	o.MeterSlots, o.Endpoints = c.Streams, c.Media
}

func (f *runFlags) takeCalls(c *config.Calls, set func(string, func())) error {
	set("calls-max", func() { f.callsMax = c.Max })
	set("calls-timeouts", func() { f.callsTimeouts = c.Timeouts })
	set("natalias", func() { f.natAliases = c.NATAlias })
	set("check-both-sides", func() {
		f.bothSides = "no"
		if c.BothSides {
			f.bothSides = "yes"
		}
	})
	set("link-header", func() { f.linkHeader = c.LinkHeader })
	set("reg-del-delay", func() { f.regDelDelay = c.RegDelDelay })
	set("reg-exp-delta", func() { f.regExpDelta = c.RegExpDelta })
	set("tcp-idle", func() { f.tcpIdle = c.TCPIdle })
	set("tcp-reorder", func() { f.tcpReorder = c.TCPReorder })
	set("keylog", func() { f.keyLogs = c.KeyLogs })
	set("rsa-key", func() { f.rsaKeys = c.RSAKeys })
	var kinds []record.EventKind
	for _, name := range c.EventsOff {
		k, err := parseEventKind(name)
		if err != nil {
			return coded{exitConfig, fmt.Errorf("event_types_off: %w", err)}
		}
		kinds = append(kinds, k)
	}
	set("event-types-off", func() { f.eventsOff = kinds })
	f.more = moreLimits{messages: c.Messages, streams: c.Streams, bindings: c.Bindings, exchanges: c.Exchanges, peers: c.Peers}
	return nil
}

func (f *runFlags) takeSpool(c *config.Spool, set func(string, func())) {
	o := &f.spool
	set("spool", func() { o.dir = c.Dir })
	set("spool-root", func() { o.root = c.Root })
	set("rules", func() {
		if o.rules = c.Rules; o.rules == "" {
			o.text = c.DefaultRule()
		}
	})
	set("spool-memory", func() { o.memory = c.Memory })
	set("spool-quota", func() { o.quota.SpoolQuota = daemon.QuotaOf(c.Quota) })
	set("spool-cold", func() { o.cold = c.Cold })
	set("spool-cold-quota", func() { o.coldQuota.SpoolQuota = daemon.QuotaOf(c.ColdQuota) })
}

func (f *runFlags) takeService(c *config.Config, set func(string, func())) {
	s := &f.service
	set("http", func() {
		if c.Web.Listen.IsValid() {
			s.http = c.Web.Listen.String()
		}
	})
	set("tls-cert", func() { s.cert = c.Web.Cert })
	set("tls-key", func() { s.key = c.Web.Key })
	s.insecure, s.proxies = c.Web.Insecure, c.Web.Proxies
	s.sessionIdle, s.sessionMax = c.Web.SessionIdle, c.Web.SessionMax
	set("state", func() { s.state = c.Process.StateDir })
	set("control", func() { s.control = c.Manager.Socket })
	set("manager", func() {
		if c.Manager.Port != 0 {
			s.manager = net.JoinHostPort(c.Manager.IP.String(), strconv.Itoa(int(c.Manager.Port)))
		}
	})
	set("shutdown-timeout", func() { s.shutdown = c.Process.Shutdown })
	s.memory, s.logFile = c.Process.Memory, c.Log.File
}
