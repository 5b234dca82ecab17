package spool

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes prints a number of bytes with its unit, as 1.5 GiB.
type Bytes int64

func (b Bytes) String() string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, u := float64(b), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[u]
}

// units are what ParseBytes understands, in lower case.
var units = map[string]float64{
	"":  1 << 20, // as the reference: maxpoolsize = 204800
	"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "pib": 1 << 50,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15,
}

// ParseBytes reads 200GiB, 1.5 TB (of 1000), 40G (of 1024). A number without a
// unit is one of MiB.
func ParseBytes(s string) (Bytes, error) {
	s = strings.TrimSpace(s)
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit, known := units[strings.ToLower(s[len(digits):])]
	n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if v := n * unit; err == nil && known && v >= 0 && v < 1<<62 {
		return Bytes(v), nil
	}
	return 0, fmt.Errorf("read size %q: write a number with a unit, as in 200GiB; without one it counts MiB", s)
}
