package auth

import (
	"bytes"
	"encoding/json"
)

// preferences is preferences.json: by user, whatever the UI keeps there.
type preferences struct {
	Users map[string]json.RawMessage `json:"users"`
}

const maxPreferences = 64 << 10 // bytes of a user

// Preferences are what a user has saved in the UI (filters, columns, theme), an
// object of JSON.
func (a *Auth) Preferences(user string) json.RawMessage {
	f, _ := a.prefs.view()
	if p, ok := f.Users[canonical(user)]; ok {
		return bytes.Clone(p)
	}
	return json.RawMessage("{}")
}

// SetPreferences replaces what a user has saved.
func (a *Auth) SetPreferences(user string, p json.RawMessage) error {
	user = canonical(user)
	var small bytes.Buffer
	if err := json.Compact(&small, p); err != nil || small.Len() == 0 || small.Bytes()[0] != '{' {
		return invalid("preferences", "they must be one object of JSON")
	}
	if small.Len() > maxPreferences {
		return invalid("preferences", "they have %d bytes: at most %d are kept", small.Len(), maxPreferences)
	}
	if _, err := a.User(user); err != nil {
		return err
	}
	return a.prefs.update(false, func(f *preferences) error {
		if f.Users == nil {
			f.Users = map[string]json.RawMessage{}
		}
		f.Users[user] = small.Bytes()
		return nil
	})
}

func (a *Auth) dropPreferences(user string) error {
	f, _ := a.prefs.view()
	if _, ok := f.Users[user]; !ok {
		return nil
	}
	return a.prefs.update(false, func(f *preferences) error {
		delete(f.Users, user)
		return nil
	})
}
