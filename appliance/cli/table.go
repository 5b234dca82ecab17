package cli

import (
	"io"
	"slices"
	"strings"
)

// column is one column of a table.
type column struct {
	head  string
	right bool // numbers stand to the right
	least int  // it may be cut down to so many columns; 0: never cut
	drop  int  // when the line is too long, columns with the highest drop go first; 0: never
}

// writeTable writes rows under their heads, fitted to the width of l: long
// cells are cut where the column allows it, then whole columns are left out.
func writeTable(w io.Writer, l look, cols []column, rows [][]string) error {
	width := make([]int, len(cols))
	for i, c := range cols {
		width[i] = cells(c.head)
		for _, r := range rows {
			width[i] = max(width[i], cells(r[i]))
		}
	}
	fit(l.width, cols, width)
	var b strings.Builder
	line := func(cell func(i int) string) {
		var parts []string
		for i, c := range cols {
			switch s := l.shorten(cell(i), width[i]); {
			case width[i] == 0:
			case c.right:
				parts = append(parts, padLeft(s, width[i]))
			default:
				parts = append(parts, padRight(s, width[i]))
			}
		}
		b.WriteString(strings.TrimRight(strings.Join(parts, "  "), " ") + "\n")
	}
	line(func(i int) string { return cols[i].head })
	for _, r := range rows {
		line(func(i int) string { return r[i] })
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fit reduces the widths until the line fits into total columns: first it
// leaves out columns (width 0) as long as the others could not be cut enough,
// then it cuts the widest, one by one.
func fit(total int, cols []column, width []int) {
	if total <= 0 {
		return
	}
	least := slices.Clone(width)
	for i, c := range cols {
		if c.least > 0 {
			least[i] = min(width[i], c.least)
		}
	}
	for over(total, least) > 0 {
		out := -1
		for i, c := range cols {
			if least[i] > 0 && c.drop > 0 && (out < 0 || c.drop > cols[out].drop) {
				out = i
			}
		}
		if out < 0 {
			break
		}
		least[out], width[out] = 0, 0
	}
	for over(total, width) > 0 {
		widest := -1
		for i := range cols {
			if width[i] > least[i] && (widest < 0 || width[i] > width[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		width[widest]--
	}
}

// over is by how many columns the line is too long.
func over(total int, width []int) int {
	sum, n := 0, 0
	for _, w := range width {
		if w > 0 {
			sum, n = sum+w, n+1
		}
	}
	return sum + 2*max(0, n-1) - total
}
