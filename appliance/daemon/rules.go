package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ringside/appliance/config"
	"ringside/flow/rule"
)

// errLater is why rules hold after a restart only.
var errLater = errors.New("they hold after a restart")

// Rules is the text of the capture rules, and the file that it is in: empty where
// there is none. RulesPending says whether they hold.
func (s *Service) Rules() (text, path string, err error) {
	p := s.pipeline()
	if p == nil || p.record == nil {
		return everything, "", nil
	}
	p.record.mu.Lock()
	defer p.record.mu.Unlock()
	return p.record.text, p.record.path, nil
}

// RulesPending is why the rules hold after a restart only; empty where they hold.
func (s *Service) RulesPending() string {
	p := s.pipeline()
	if p == nil || p.record == nil {
		return ""
	}
	p.record.mu.Lock()
	defer p.record.mu.Unlock()
	return p.record.pending
}

// CheckRules says what is wrong with a text of rules.
func CheckRules(text string) error {
	_, err := rule.Parse(text)
	return err
}

// PutRules writes a text of rules into the file of the service, and puts it into
// force. What the capture was not set up for holds after a restart, which the
// error says.
func (s *Service) PutRules(text string) error {
	set, err := rule.Parse(text)
	if err != nil {
		return err
	}
	_, path, _ := s.Rules()
	if path == "" {
		return errors.New("the capture rules are in no file: name one in the configuration (rules), and restart")
	}
	if err := replaceFile(path, []byte(text)); err != nil {
		return fmt.Errorf("write capture rules: %w", err)
	}
	return s.putRules(set, text, path)
}

// replaceFile writes a file anew, whole or not at all.
func replaceFile(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".rules-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if info, statErr := os.Stat(path); statErr == nil {
		err = errors.Join(err, tmp.Chmod(info.Mode().Perm()))
	}
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// putRules puts rules into force, as far as the capture is set up for them.
func (s *Service) putRules(set *rule.Set, text, path string) error {
	p := s.pipeline()
	if p == nil || p.record == nil {
		return nil
	}
	var pending string
	var later error
	if _, why := p.group.Beyond(set); why != "" {
		pending = why + ": restart ringside to use these rules; until then those of before hold"
		later = fmt.Errorf("%w: %s", errLater, pending)
	} else if err := p.group.SetRules(set); err != nil {
		return err
	}
	p.record.mu.Lock()
	defer p.record.mu.Unlock()
	p.record.text, p.record.path, p.record.pending = text, path, pending
	return later
}

// rulesText reads the rules that a configuration names.
func rulesText(o *config.Spool) (string, error) {
	if o.Rules == "" {
		return o.DefaultRule(), nil
	}
	b, err := os.ReadFile(o.Rules)
	if err != nil {
		return "", fmt.Errorf("read capture rules: %w", err)
	}
	return string(b), nil
}

// rulesChanged reports whether the file of the rules has another text than that
// which was read last.
func (s *Service) rulesChanged(o *config.Spool) bool {
	last, _, _ := s.Rules()
	text, err := rulesText(o)
	return err != nil || strings.TrimSpace(text) != strings.TrimSpace(last)
}

// setRules puts the rules of a configuration into force.
func (s *Service) setRules(o *config.Spool) error {
	text, err := rulesText(o)
	if err != nil {
		return err
	}
	set, err := rule.Parse(text)
	if err != nil {
		return fmt.Errorf("read capture rules %s: %w", o.Rules, err)
	}
	return s.putRules(set, text, o.Rules)
}
