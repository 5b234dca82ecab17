package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ringside/tuning/plan"
)

const saved = ".plan"

// Save keeps what was planned for, so that it can be applied again when the machine
// has been started anew. It is not the changes that are kept: numbers of interrupts
// are others then.
func Save(dir string, o plan.Options) error {
	if err := directory(dir); err != nil {
		return err
	}
	b, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	at := filepath.Join(dir, o.Interface+saved)
	if err := os.WriteFile(at+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	if err := os.Rename(at+".new", at); err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	return syncDir(dir)
}

// Plans are the interfaces that a plan is kept for.
func Plans(dir string) ([]string, error) {
	return files(dir, saved)
}

// Saved are the plans that are kept.
func Saved(dir string) ([]plan.Options, error) {
	names, err := Plans(dir)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	if err := directory(dir); err != nil {
		return nil, err
	}
	var out []plan.Options
	for _, name := range names {
		at := filepath.Join(dir, name+saved)
		b, err := os.ReadFile(at)
		if err != nil {
			return nil, fmt.Errorf("read a saved plan: %w", err)
		}
		var o plan.Options
		if err := json.Unmarshal(b, &o); err != nil {
			return nil, fmt.Errorf("read the saved plan %s: %w: remove it, and tune anew", at, err)
		}
		if o.Interface != name {
			return nil, fmt.Errorf("read the saved plan %s: it is for %s: remove it, and tune anew", at, o.Interface)
		}
		out = append(out, o)
	}
	return out, nil
}

// Forget removes the plan that is kept for an interface, and reports whether there
// was one.
func Forget(dir, iface string) (bool, error) {
	err := os.Remove(filepath.Join(dir, iface+saved))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("forget the saved plan: %w", err)
	}
	return true, syncDir(dir)
}
