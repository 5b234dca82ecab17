package daemon

import (
	"os"
	"runtime"
	"slices"

	"ringside/appliance/api"
	"ringside/writer/store"
)

// openAPI builds the API over what there is.
func (s *Service) openAPI() (err error) {
	o := api.Options{Auth: s.auth, About: s.about, Log: s.o.Log.Logger()}
	if s.store != nil {
		o.Store = s.store.store
	}
	o.Health, o.Bundle, o.Settings = apiHealth{s}, apiBundle{s}, apiSettings{s}
	if s.input != nil || s.o.Live != nil || s.o.Read != nil {
		o.Live = &apiLive{s: s}
	}
	if s.o.Live != nil {
		o.Capture = &apiCapture{s: s}
	}
	if len(s.o.Spool) > 0 {
		o.Spool, o.Packets, o.Audio = &apiSpool{s: s}, apiPackets{s}, newAudio(s)
		if s.o.Live != nil || s.o.Read != nil {
			o.Rules = apiRules{s}
		}
	}
	o.Metrics, o.Observe = s.metrics.Handler(), s.observe
	s.api, err = api.New(o)
	return err
}

// about says what this is.
func (s *Service) about() api.About {
	v := s.o.About
	out := api.About{
		Name: "ringside", Version: s.o.Version, Commit: v.Commit, Built: v.Built, Go: runtime.Version(),
		Kernel: kernel(), Started: s.began.UTC(), Store: store.Name(s.o.Store.Path), Previous: s.last, Can: []string{"settings", "bundle"},
	}
	out.Host, _ = os.Hostname()
	out.Sensor, out.SensorName = s.sensor()
	if s.input != nil {
		out.Can = append(out.Can, "live")
	}
	if s.live != nil {
		out.Can = append(out.Can, "capture")
	}
	if len(s.o.Spool) > 0 {
		out.Can = append(out.Can, "spool", "packets", "audio")
		if s.input != nil {
			out.Can = append(out.Can, "rules")
		}
	}
	slices.Sort(out.Can)
	return out
}
