package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"ringside/appliance/config"
)

// ConfigOptions are the configuration that a service was made from.
type ConfigOptions struct {
	Config *config.Config // nil: there is none, but flags

	// Load reads the configuration again; nil: there is nothing to read.
	Load func() (*config.Config, config.Report, error)

	// Flags are the keys that the command line has set, with their values. They
	// stay whatever the files say.
	Flags map[string]string
}

// configuration is what holds at the moment.
type configuration struct {
	mu sync.Mutex // one reload at a time
	o  ConfigOptions
}

func (c *configuration) open(o ConfigOptions) { c.o = o }

func (c *configuration) now() *config.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.Config
}

// days says for how many days records are kept, at the moment.
func (c *configuration) days(given int) func() int {
	return func() int {
		if now := c.now(); now != nil {
			if _, flag := c.o.Flags["cleandatabase"]; !flag {
				return now.Store.Days
			}
		}
		return given
	}
}

// ErrNoConfig is why there is nothing to load again.
var ErrNoConfig = errors.New("there is no configuration file: ringside runs by flags alone")

// Reload reads the configuration again and puts into force what can be while
// packets are captured. What takes a restart is named. One that is not valid, or
// that does not work, changes nothing and is an error.
func (s *Service) Reload(context.Context) ([]config.Change, error) {
	c := &s.config
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.Load == nil {
		return nil, ErrNoConfig
	}
	s.notify.reloading()
	defer func() { s.notify.ready("") }()
	now, report, err := c.o.Load()
	if err != nil {
		err = fmt.Errorf("the configuration is refused, the old one holds: %w", err)
		s.say(strings.ReplaceAll(err.Error(), "\n", "; "))
		return nil, err
	}
	for _, f := range report.Noteworthy() {
		s.say("configuration: " + f.String())
	}
	var changes []config.Change
	for _, change := range config.Diff(c.o.Config, now) {
		if _, flag := c.o.Flags[change.Key]; !flag {
			changes = append(changes, change)
		}
	}
	if err := s.apply(now, changes); err != nil {
		err = fmt.Errorf("the configuration is not put into force, the old one holds: %w", err)
		s.say(err.Error())
		return nil, err
	}
	for _, change := range changes {
		s.say("configuration: " + change.String())
	}
	if len(changes) == 0 {
		s.say("configuration: nothing has changed")
	}
	c.o.Config = now
	return changes, nil
}

// apply puts the changes into force that need no restart. Of several parts the one
// that can fail goes first, and what was done is taken back if a later one does.
// A change that only a restart can make is marked so.
func (s *Service) apply(now *config.Config, changes []config.Change) error {
	has := func(keys ...string) (at []int) {
		for i := range changes {
			for _, k := range keys {
				if changes[i].Key == k && !changes[i].Restart {
					at = append(at, i)
				}
			}
		}
		return at
	}
	if s.live != nil && len(has("sipport", "rtpport", "interface_ip_filter", "interface_ip_deny")) > 0 {
		c := &now.Capture
		if err := s.live.SetFilter(c.Allow, c.Deny, c.SIPPorts, c.RTPPorts); err != nil {
			return err
		}
	}
	if at := has("rules", "savesip", "savertp", "save-sip-register"); len(at) > 0 || s.rulesChanged(&now.Spool) {
		if err := s.setRules(&now.Spool); errors.Is(err, errLater) {
			s.say("capture rules: " + err.Error())
			for _, i := range at {
				changes[i].Restart = true
			}
		} else if err != nil {
			return err
		}
	}
	for i := range changes {
		if isQuota(changes[i].Key) {
			if err := s.setQuotas(&now.Spool); err != nil {
				return err
			}
			break
		}
	}
	s.shutdown.Store(int64(now.Process.Shutdown))
	for _, i := range has("name_sensor", "log_level", "log_redact", "status_interval") {
		changes[i].Restart = true // those who look at them do so once
	}
	return nil
}

// isQuota reports whether a key is a limit of the spool.
func isQuota(key string) bool {
	return strings.HasPrefix(key, "maxpool") || strings.HasPrefix(key, "spool_reserve")
}

// setQuotas gives the spool other limits.
func (s *Service) setQuotas(o *config.Spool) error {
	p := s.pipeline()
	if p == nil || p.record == nil {
		return nil
	}
	limits := []SpoolQuota{QuotaOf(o.Quota)}
	if o.Cold != "" {
		limits = append(limits, QuotaOf(o.ColdQuota))
	}
	return p.record.spool.SetLimits(limits)
}

// QuotaOf is the quota of a directory as it is configured.
func QuotaOf(q config.Quota) SpoolQuota {
	return SpoolQuota{Bytes: q.Bytes(), Age: q.Ages(), Total: q.Total, Reserve: q.Reserve}
}

// pipeline is that of the capture, nil if there is none.
func (s *Service) pipeline() *pipeline {
	switch {
	case s.live != nil:
		return &s.live.pipeline
	case s.read != nil:
		return &s.read.pipeline
	}
	return nil
}
