package daemon

import (
	"fmt"

	"ringside/appliance/config"
)

// Setting is a key of the configuration as it holds, without secrets.
type Setting struct {
	config.Pair
	Default string `json:"default"`
	From    string `json:"from"` // default, FILE:LINE, or flag
	Help    string `json:"help"`
	Restart bool   `json:"restart"` // a change of it takes a restart
	Secret  bool   `json:"secret"`
}

// Settings is every key in the order of the manual; nothing where ringside runs by
// flags alone.
func (s *Service) Settings() []Setting {
	now := s.config.now()
	if now == nil {
		return nil
	}
	pairs := make(map[string]config.Pair)
	for _, p := range now.Redacted() {
		pairs[p.Key] = p
	}
	var out []Setting
	for _, k := range config.Keys() {
		set := Setting{Pair: pairs[k.Name], Default: k.Default, From: "default", Help: k.Help, Restart: !k.Live, Secret: k.Secret}
		if set.File != "" {
			set.From = fmt.Sprintf("%s:%d", set.File, set.Line)
		}
		if v, flag := s.config.o.Flags[k.Name]; flag {
			set.Value, set.From = v, "flag"
		}
		out = append(out, set)
	}
	return out
}
