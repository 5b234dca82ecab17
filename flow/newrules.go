package flow

import (
	"errors"

	"ringside/flow/rule"
)

// ErrRulesWantMore is why rules cannot be put into force while packets are read.
var ErrRulesWantMore = errors.New("these rules want more of RTP, or look back further, than those of the start: memory and the filter in the kernel were set up for those: restart to use them")

// SetRules puts other capture rules into force: for calls that begin from now on,
// and messages of none. Calls that go on keep theirs to the end. They must not want
// more of RTP, nor look back further, than those of Options.
func (g *Group) SetRules(to *rule.Set) error {
	start := g.options.Rules
	switch {
	case start == nil:
		return errors.New("nothing is recorded")
	case to.MayWant(rule.RTP) > start.MayWant(rule.RTP), to.LookBack() > start.LookBack():
		return ErrRulesWantMore
	}
	g.rules.Store(to)
	return nil
}
