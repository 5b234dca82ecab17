package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
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
	reload sync.Mutex // one at a time

	mu      sync.Mutex
	o       ConfigOptions
	first   *config.Config  // of the start
	waiting []config.Change // since then, that hold after a restart only
	refused string          // why the last one that was read does not hold; empty: it does
}

func (c *configuration) open(o ConfigOptions) { c.o, c.first = o, o.Config }

func (c *configuration) now() *config.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.Config
}

// take makes another configuration the one that holds.
func (c *configuration) take(now *config.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.Config, c.waiting, c.refused = now, nil, ""
	for _, change := range config.Diff(c.first, now) {
		if _, flag := c.o.Flags[change.Key]; change.Restart && !flag {
			c.waiting = append(c.waiting, change)
		}
	}
}

// refuse keeps why another configuration does not hold.
func (c *configuration) refuse(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = strings.ReplaceAll(why.Error(), "\n", "; ")
}

// trouble is why the configuration on disk does not hold; empty if it does.
func (c *configuration) trouble() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// later lists the changes that hold after a restart only.
func (c *configuration) later() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range c.waiting {
		out = append(out, fmt.Sprintf("%s: %s", change.Key, cmp.Or(change.New, "nothing")))
	}
	return out
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
	c.reload.Lock()
	defer c.reload.Unlock()
	if c.o.Load == nil {
		return nil, ErrNoConfig
	}
	s.notify.reloading()
	defer func() { s.notify.ready("") }()
	now, report, err := c.o.Load()
	if err != nil {
		err = fmt.Errorf("the configuration is refused, the old one holds: %w", err)
		s.o.Log.Error(strings.ReplaceAll(err.Error(), "\n", "; "))
		c.refuse(err)
		return nil, err
	}
	for _, f := range report.Noteworthy() {
		s.o.Log.Warn("configuration: " + f.String())
	}
	var changes []config.Change
	for _, change := range config.Diff(c.o.Config, now) {
		if _, flag := c.o.Flags[change.Key]; !flag {
			changes = append(changes, change)
		}
	}
	if err := s.apply(now, changes); err != nil {
		err = fmt.Errorf("the configuration is not put into force, the old one holds: %w", err)
		s.o.Log.Error(err.Error())
		c.refuse(err)
		return nil, err
	}
	for _, change := range changes {
		s.o.Log.Info("configuration: " + change.String())
	}
	if len(changes) == 0 {
		s.o.Log.Info("configuration: nothing has changed")
	}
	c.take(now)
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
			s.o.Log.Warn("capture rules: " + err.Error())
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
	s.o.Log.Set(now.Log.Level, now.Log.Redact)
	s.nameSensor(now)
	return nil
}

// nameSensor gives the sensor its name: that of the configuration, or else of the host.
func (s *Service) nameSensor(c *config.Config) {
	name, _ := os.Hostname()
	if c != nil && c.Sensor.Name != "" {
		name = c.Sensor.Name
	}
	s.name.Store(&name)
}

// sensor is the number that is in the records, and the name that people know.
func (s *Service) sensor() (id uint16, name string) {
	switch {
	case s.o.Live != nil:
		id = s.o.Live.Sensor
	case s.o.Read != nil:
		id = s.o.Read.Sensor
	}
	return id, *s.name.Load()
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
