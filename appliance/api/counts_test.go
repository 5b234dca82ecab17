package api_test

import "encoding/json"

// counts reports whether anything was counted: a number that is not 0 and is no
// time, step or border of a histogram.
func counts(body []byte) bool {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return true
	}
	return counted("", v)
}

func counted(name string, v any) bool {
	switch name {
	case "from", "to", "at", "step", "step_s", "low", "high", "live", "sampled":
		return false
	}
	switch v := v.(type) {
	case float64:
		return v != 0
	case []any:
		for _, e := range v {
			if counted(name, e) {
				return true
			}
		}
	case map[string]any:
		for k, e := range v {
			if counted(k, e) {
				return true
			}
		}
	}
	return false
}
