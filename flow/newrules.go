package flow

import (
	"errors"
	"fmt"

	"ringside/flow/rule"
)

// SetRules puts other capture rules into force: for calls that begin from now on,
// and messages of none. Calls that go on keep theirs to the end. None may be Beyond.
func (g *Group) SetRules(to *rule.Set) error {
	if g.options.Rules == nil {
		return errors.New("nothing is recorded")
	}
	if _, why := g.Beyond(to); why != "" {
		return fmt.Errorf("%s: restart to use these rules", why)
	}
	g.rules.Store(to)
	return nil
}

// Beyond is a rule that wants more of RTP, or looks back further, than those of
// Options, with how it does; nil if none does. Memory and the filter in the kernel
// were set up for those. Only a group that records can be asked.
func (g *Group) Beyond(set *rule.Set) (*rule.Rule, string) {
	return set.Beyond(g.options.Rules)
}
