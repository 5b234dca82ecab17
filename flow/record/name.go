package record

import (
	"fmt"
	"slices"
	"strings"
)

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("value %d", i)
}

func parseName[T ~uint8](names []string, what string, b []byte, out *T) error {
	i := slices.Index(names, string(b))
	if i < 0 {
		return fmt.Errorf("parse %s %q: not one of %s", what, b, strings.Join(names, ", "))
	}
	*out = T(i)
	return nil
}
