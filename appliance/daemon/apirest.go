package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"ringside/appliance/api"
	"ringside/flow/rule"
)

// apiRules is api.Rules.
type apiRules struct{ s *Service }

// Rules implements api.Rules.
func (a apiRules) Rules() (text, path string, err error) { return a.s.Rules() }

// Pending implements api.Rules.
func (a apiRules) Pending() string { return a.s.RulesPending() }

// Check implements api.Rules.
func (a apiRules) Check(text string) []api.RuleProblem {
	set, err := rule.Parse(text)
	if err == nil {
		return a.later(set)
	}
	var out []api.RuleProblem
	for _, bad := range ruleErrors(err) {
		out = append(out, api.RuleProblem{Line: max(1, bad.Line), Col: max(1, bad.Col), Text: bad.Text})
	}
	if out == nil {
		out = []api.RuleProblem{{Line: 1, Col: 1, Text: err.Error()}}
	}
	return out
}

// later warns of rules that would hold after a restart only.
func (a apiRules) later(set *rule.Set) []api.RuleProblem {
	p := a.s.pipeline()
	if p == nil || p.record == nil {
		return nil
	}
	x, why := p.group.Beyond(set)
	if x == nil {
		return nil
	}
	return []api.RuleProblem{{Line: max(1, x.Line), Col: 1, Text: why + ": these rules hold after a restart", Warning: true}}
}

// ruleErrors are all errors of rules that are joined in one.
func ruleErrors(err error) (out []*rule.Error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			out = append(out, ruleErrors(e)...)
		}
		return out
	}
	if bad := (*rule.Error)(nil); errors.As(err, &bad) {
		out = append(out, bad)
	}
	return out
}

// Put implements api.Rules.
func (a apiRules) Put(_ context.Context, text string) error {
	err := a.s.PutRules(text)
	if errors.Is(err, errLater) { // they are written, and hold from the next start on
		a.s.o.Log.Warn("capture rules: " + err.Error())
		return nil
	}
	return err
}

// apiSettings is api.Settings.
type apiSettings struct{ s *Service }

// Settings implements api.Settings.
func (a apiSettings) Settings() []api.Setting {
	out := []api.Setting{}
	for _, k := range a.s.Settings() {
		out = append(out, api.Setting{
			Key: k.Key, Section: k.Group, Value: k.Value, Default: k.Default, From: k.From, Help: k.Help,
			Restart: k.Restart, Secret: k.Secret,
		})
	}
	return out
}

// Reload implements api.Settings.
func (a apiSettings) Reload(ctx context.Context) (api.Reloaded, error) {
	out := api.Reloaded{Changed: []api.Change{}, Restart: []string{}}
	changes, err := a.s.Reload(ctx)
	for _, c := range changes {
		out.Changed = append(out.Changed, api.Change{Key: c.Key, Old: c.Old, New: c.New})
		if c.Restart {
			out.Restart = append(out.Restart, c.Key)
		}
	}
	return out, err
}

// apiHealth is api.Health.
type apiHealth struct{ s *Service }

// Alive implements api.Health.
func (a apiHealth) Alive() error {
	if now := time.Now(); !a.s.movesAt(now) {
		return fmt.Errorf("worker threads have not moved for %v", standstill)
	}
	if st := a.s.Status(); !st.Time.IsZero() && time.Since(st.Time) > standstill {
		return fmt.Errorf("the service has not looked at itself for %v", standstill)
	}
	return nil
}

// Ready implements api.Health.
func (a apiHealth) Ready() []api.Check {
	out := []api.Check{}
	for _, c := range a.s.checks(context.Background()) {
		out = append(out, api.Check{Name: c.name, OK: c.ok, Why: c.why})
	}
	return out
}

// apiBundle is api.Bundle.
type apiBundle struct{ s *Service }

// Write implements api.Bundle.
func (a apiBundle) Write(ctx context.Context, to io.Writer) error { return a.s.WriteBundle(ctx, to) }
