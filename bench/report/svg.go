package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// Plot is a picture of lines: Lost over Offered.
type Plot struct {
	Name  string // of the file
	Title string
	Lines []Line
}

// Line is one program's curve.
type Line struct {
	Name   string
	Points []Point
}

// Plots are the pictures that the Markdown links.
func (r *Report) Plots() []Plot {
	var out []Plot
	for i := range r.Scenarios {
		if p := r.Scenarios[i].plot(); p != nil {
			out = append(out, *p)
		}
	}
	return out
}

// plot is the scenario's picture; nil if it has no curve.
func (s *Scenario) plot() *Plot {
	p := &Plot{Name: s.plotName(), Title: s.title() + ": share of packets lost, by packets offered a second"}
	for _, r := range s.Rows {
		if len(r.Curve) > 1 {
			p.Lines = append(p.Lines, Line{r.Program, r.Curve})
		}
	}
	if len(p.Lines) == 0 {
		return nil
	}
	return p
}

func (s *Scenario) plotName() string {
	name := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			return c
		}
		return '-'
	}, strings.ToLower(s.Name))
	return fmt.Sprintf("%s-%dq.svg", name, s.Queues)
}

// Where the plot is in its picture, in pixels. Names of lines stand below it.
const (
	wide, high         = 720, 400
	left, right        = 64, 24
	top, bottom        = 40, 56
	legend             = 18 // a line of names
	leastLost, allLost = 1e-5, 1.0
)

var colours = []string{"#0b5cad", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0e7490", "#be123c", "#475569"}

// WriteSVG draws the lines: the rate from left to right, evenly, and the share
// lost from below upwards, each decade as high as another. What loses nothing
// lies on the ground.
func (p *Plot) WriteSVG(w io.Writer) error {
	var b strings.Builder
	tall := high + legend*len(p.Lines)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", wide, tall, wide, tall)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", wide, tall)
	fmt.Fprintf(&b, `<text x="%d" y="22" font-size="14">%s</text>`+"\n", left, html.EscapeString(p.Title))
	most := p.most()
	for lost := leastLost; lost <= allLost*1.01; lost *= 10 {
		name := fmt.Sprintf("%g %%", 100*math.Round(lost*1e6)/1e6)
		if lost < leastLost*1.01 {
			name = "none"
		}
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, atLost(lost), wide-right, left-6, atLost(lost)+4, name)
	}
	step := niceStep(most)
	for i := 0; float64(i)*step <= most*1.001; i++ {
		x := atRate(float64(i)*step, most)
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#eee"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, top, high-bottom, x, high-bottom+16, rateName(float64(i)*step))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">packets offered a second</text>`+"\n", (left+wide-right)/2, high-bottom+34)
	for i, l := range p.Lines {
		colour := colours[i%len(colours)]
		points := slices.Clone(l.Points)
		slices.SortStableFunc(points, func(a, b Point) int {
			if a.Offered < b.Offered {
				return -1
			}
			return 1
		})
		var path []string
		for _, q := range points {
			x, y := atRate(q.Offered, most), atLost(q.Lost)
			path = append(path, fmt.Sprintf("%.1f,%.1f", x, y))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, colour)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(path, " "), colour)
		y := high + legend*i
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="14" height="4" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			left, y-4, colour, left+20, y+2, html.EscapeString(l.Name))
	}
	b.WriteString("</svg>\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write plot %s: %w", p.Name, err)
	}
	return nil
}

func (p *Plot) most() float64 {
	most := 1.0
	for _, l := range p.Lines {
		for _, q := range l.Points {
			most = max(most, q.Offered)
		}
	}
	return most
}

// atRate and atLost are where a value is in the picture.
func atRate(rate, most float64) float64 { return left + (wide-left-right)*rate/most }

func atLost(lost float64) float64 {
	lost = min(max(lost, leastLost), allLost)
	return top + (high-top-bottom)*math.Log(allLost/lost)/math.Log(allLost/leastLost)
}

// niceStep is 1, 2 or 5 times a power of ten, of which four to ten make the whole.
func niceStep(most float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	switch {
	case most/step < 2:
		return step / 5
	case most/step < 5:
		return step / 2
	}
	return step
}

func rateName(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%g M", math.Round(v/1e4)/100)
	case v >= 1e3:
		return fmt.Sprintf("%g k", math.Round(v/10)/100)
	}
	return fmt.Sprintf("%g", v)
}
