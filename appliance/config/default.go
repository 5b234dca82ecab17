package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Probe is what is known of a machine that a first configuration is for. What
// is not known is left at its zero value.
type Probe struct {
	Host       string
	CPUs       int
	Memory     int64 // bytes
	Interfaces []Interface
	Volumes    []Volume
	Chosen     []string // interfaces to capture from; none: left to the reader
}

// Interface is one of the machine.
type Interface struct {
	Name         string
	Driver       string // empty: not a card
	Mbit         int    // 0: not known
	Up           bool   // it has a link
	DefaultRoute bool
	Addresses    int
}

// Volume is where a directory of the default configuration would be.
type Volume struct {
	Key         string // spooldir, db
	Dir         string
	Bytes, Free int64
	Root        bool // it is the root file system
}

// dedicated reports whether an interface carries nothing of its host's own.
func (i Interface) dedicated() bool { return !i.DefaultRoute && i.Addresses == 0 }

func (i Interface) String() string {
	out := []string{i.Name}
	if i.Driver != "" {
		out = append(out, i.Driver)
	}
	switch {
	case !i.Up:
		out = append(out, "no link")
	case i.Mbit > 0:
		out = append(out, fmt.Sprintf("%d Mbit/s", i.Mbit))
	}
	switch {
	case i.DefaultRoute:
		out = append(out, "has the default route: it is how this machine is reached")
	case i.Addresses > 0:
		out = append(out, "has an address of this machine")
	case i.Up:
		out = append(out, "has no address, as a mirror port")
	}
	return strings.Join(out, ", ")
}

// width is how long a line of a comment may be.
const width = 88

// WriteDefault writes a configuration with every key in a comment, at its
// default. Taking the # away from such a line changes nothing. What the machine
// suggests is said in comments; only chosen interfaces are set.
func WriteDefault(w io.Writer, p Probe) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, "# Configuration of ringside")
	if p.Host != "" {
		fmt.Fprintf(out, " for %s", printable(p.Host))
	}
	fmt.Fprint(out, `. Man page: ringside.conf(5).
#
# A line is "key = value". Lists may be split by commas, or go on in further lines of
# the same key. Files conf.d/*.conf are read after this one; "include = FILE" reads
# another one. Keys in comments show their defaults.
#
#   ringside check-config    says what each line comes to
#   ringside reload          applies what does not need a restart (R)
`)
	group := ""
	keys := table()
	for i := range keys {
		k := &keys[i]
		if k.Group != group {
			group = k.Group
			fmt.Fprintf(out, "\n\n# ---- %s ----\n", group)
		}
		fmt.Fprintln(out)
		help := k.Help
		if !k.Live {
			help += " (R)"
		}
		comment(out, help)
		for _, hint := range p.hints(k.Name) {
			comment(out, hint)
		}
		if set := p.chosen(k.Name); set != "" {
			fmt.Fprintf(out, "%s = %s\n", k.Name, set)
			continue
		}
		fmt.Fprintln(out, strings.TrimRight("#"+k.Name+" = "+k.Default, " "))
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// comment writes a text in lines that begin with "# ".
func comment(w io.Writer, s string) {
	line := "#"
	for _, word := range strings.Fields(printable(s)) {
		if len(line)+1+len(word) > width && line != "#" {
			fmt.Fprintln(w, line)
			line = "#"
		}
		line += " " + word
	}
	fmt.Fprintln(w, line)
}

// printable is a text without what could end a line or confuse a terminal:
// names of interfaces and hosts are not ours.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// hints are what the machine says of a key.
func (p Probe) hints(key string) []string {
	var out []string
	switch key {
	case "interface":
		for _, i := range p.Interfaces {
			out = append(out, "Found here: "+i.String()+".")
		}
	case "rings":
		if p.CPUs > 0 {
			out = append(out, fmt.Sprintf("CPUs here: %d.", p.CPUs))
		}
	case "max_memory":
		if p.Memory > 0 {
			out = append(out, fmt.Sprintf("Memory here: %s.", rounded(p.Memory)))
		}
	}
	for _, v := range p.Volumes {
		if v.Key != key || v.Bytes == 0 {
			continue
		}
		s := fmt.Sprintf("The volume of %s has %s, of which %s are free.", v.Dir, rounded(v.Bytes), rounded(v.Free))
		if v.Root {
			s += " It is the root file system: a volume of its own is better."
		}
		out = append(out, s)
	}
	return out
}

// chosen is the value of a key that is set, and not left to the reader.
func (p Probe) chosen(key string) string {
	if len(p.Chosen) == 0 {
		return ""
	}
	switch key {
	case "interface":
		return strings.Join(p.Chosen, ",")
	case "dedicated":
		for _, name := range p.Chosen {
			for _, i := range p.Interfaces {
				if i.Name == name && !i.dedicated() {
					return "no"
				}
			}
		}
		return "yes"
	}
	return ""
}
