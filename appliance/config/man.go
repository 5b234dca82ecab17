package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// WriteMan writes the manual page ringside.conf(5), in the language of man(7).
func WriteMan(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, manHead)
	group := ""
	for _, k := range Keys() {
		if k.Group != group {
			group = k.Group
			fmt.Fprintf(out, ".SS %s\n", roff(group))
		}
		fmt.Fprintf(out, ".TP\n.B %s\n", roff(k.Name))
		fmt.Fprintln(out, roff(k.Help))
		fmt.Fprintln(out, roff(sentence(k)))
		if k.Default != "" {
			fmt.Fprintf(out, "Default: %s.\n", roff(k.Default))
		}
		if len(k.Also) > 0 {
			fmt.Fprintf(out, "Also: %s.\n", roff(strings.Join(k.Also, ", ")))
		}
		if !k.Live {
			fmt.Fprintln(out, "A change needs a restart.")
		}
	}
	fmt.Fprint(out, manTail)
	return flushed(out, "manual page")
}

// roff is a text that means nothing to roff.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	var out strings.Builder
	for _, r := range s {
		if r > '~' {
			fmt.Fprintf(&out, `\[u%04X]`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

const manHead = `.TH RINGSIDE.CONF 5 "" ringside "File formats"
.SH NAME
ringside.conf \- configuration of ringside
.SH DESCRIPTION
.I /etc/ringside/ringside.conf
has lines of
.RI \(dq key " = " value \(dq.
.B ringside init
writes a first one,
.B ringside check\-config
says of each line what it comes to.
.PP
Comments begin with # or ; and stand on lines of their own. A line [general] means nothing. Letter case of
keys does not count, and \- and _ are the same. Lists are separated by commas or semicolons, or go on in
further lines of the same key; of other keys the last line holds. The files
.I conf.d/*.conf
beside the file are read after it, by name. A line
.RI \(dqinclude " = " FILE \(dq
reads another file at its place, or those that a pattern names.
.PP
Sizes have units: 200GiB, 64M (of 1024), 2TB (of 1000); a number without one counts MiB. Times have units:
10ms, 30s, 1h30m, 7d. yes, true, on and 1 are the same, and so are their opposites.
.PP
A secret can be kept in a file that a key with _file at its end names (mysqlpassword_file), or in a credential
of systemd with the name of the key.
.PP
The keys of VoIPmonitor are known:
.B ringside check\-config
says which are the same here, which are not needed, and which are not supported.
.SH KEYS
`

const manTail = `.SH FILES
.TP
.I /etc/ringside/ringside.conf
the configuration
.TP
.I /etc/ringside/conf.d/*.conf
what is read after it
.SH EXIT STATUS
.B ringside check\-config
ends with 0, or with 78 where the configuration would be refused.
.SH SEE ALSO
.BR ringside (8)
`
