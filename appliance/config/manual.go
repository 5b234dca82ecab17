package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// WriteManual writes the reference of all keys as Markdown (docs/config.md).
func WriteManual(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, manualHead)
	group := ""
	for _, k := range Keys() {
		if k.Group != group {
			group = k.Group
			fmt.Fprintf(out, "\n## %s\n\n| key | default | what |\n|---|---|---|\n", group)
		}
		fmt.Fprintf(out, "| `%s`%s | %s | %s %s%s |\n", k.Name, mark(k), code(k.Default), cell(k.Help), cell(sentence(k)), also(k))
	}
	return flushed(out, "manual")
}

const manualHead = `# Configuration

This page is generated from the table of keys in [appliance/config](../appliance/config/keys.go):
` + "`go test ./appliance/config -update`" + `.

` + "`/etc/ringside/ringside.conf`" + ` has lines of ` + "`key = value`" + `. ` + "`ringside init`" + ` writes a first one with every key in a
comment, and what it found on the machine. ` + "`ringside check-config [FILE]`" + ` says of each line what it comes to, by file and
line; it ends with 0, or with 78 if the file would be refused. Flags of ` + "`ringside run`" + ` go before keys.

- Comments begin with ` + "`#`" + ` or ` + "`;`" + ` and stand on lines of their own. A line ` + "`[general]`" + ` means nothing.
- Letter case of keys does not count, and ` + "`-`" + ` and ` + "`_`" + ` are the same.
- Lists are separated by commas or semicolons, or go on in further lines of the same key. Of other keys the last line holds;
  the report says which one it replaces.
- ` + "`conf.d/*.conf`" + ` beside the file are read after it, by name. ` + "`include = FILE`" + ` (or a pattern) reads files at that place,
  from the folder of the file that includes them.
- Sizes have units: ` + "`200GiB`, `64M`" + ` (of 1024), ` + "`2TB`" + ` (of 1000). A number without one counts MiB, as in VoIPmonitor. Times have
  units, too: ` + "`10ms`, `30s`, `1h30m`, `7d`" + `. ` + "`yes`, `true`, `on` and `1`" + ` are the same, and so are their opposites.
- A secret can be kept in a file: ` + "`mysqlpassword_file = FILE`" + `, from the folder of the configuration, its first line; or in a credential
  of systemd with the name of the key (` + "`LoadCredential=mysqlpassword:FILE`" + `). It is shown nowhere.
- A key that there is not is an error, with the one that may be meant. Keys of VoIPmonitor are told apart:
  [voipmonitor.md](voipmonitor.md).

A reload (` + "`ringside reload`" + `, or HUP) reads everything again and logs the difference key by key. Keys marked **R** hold after a
restart only, which is said by name. A configuration that is refused changes nothing.
`

// mark is what a reader should see at once.
func mark(k Key) string {
	if k.Live {
		return ""
	}
	return " **R**"
}

// sentence says what to write for a key.
func sentence(k Key) string {
	s := strings.ToUpper(k.What[:1]) + k.What[1:] + "."
	if k.List {
		s += " A list."
	}
	if k.Secret {
		s += " A secret."
	}
	return s
}

// also names what else a key is called.
func also(k Key) string {
	if len(k.Also) == 0 {
		return ""
	}
	return " Also: `" + strings.Join(k.Also, "`, `") + "`."
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

// cell is a text as a table may have it.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func flushed(out *bufio.Writer, what string) error {
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	return nil
}

// WriteCompatibility writes what becomes of every key of VoIPmonitor as
// Markdown (docs/voipmonitor.md).
func WriteCompatibility(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, compatibilityHead)
	for _, part := range []struct {
		title string
		is    func(theirs) bool
	}{
		{"Mapped", func(t theirs) bool { return t.verdict == Mapped }},
		{"Refused when on", func(t theirs) bool { return t.strict }},
		{"Not supported", func(t theirs) bool { return t.verdict == NotSupported && !t.strict }},
		{"Not needed", func(t theirs) bool { return t.verdict == NotNeeded }},
	} {
		fmt.Fprintf(out, "\n## %s\n\n| keys | what |\n|---|---|\n", part.title)
		for _, s := range sections() {
			if part.is(s.theirs) {
				fmt.Fprintf(out, "| %s | %s |\n", "`"+strings.Join(s.keys, "` `")+"`", cell(s.explained()))
			}
		}
	}
	return flushed(out, "table of keys")
}

// explained is what a section says, with our key where it has another name.
func (s theirSection) explained() string {
	target := s.to
	if len(s.keys) == 1 && s.verdict == Mapped && target == "" {
		if k := Find(s.keys[0]); k != nil && name(k.Name) != name(s.keys[0]) {
			target = k.Name
		}
	}
	if target == "" {
		return s.text
	}
	return "`" + target + "`: " + s.text
}

const compatibilityHead = `# From VoIPmonitor

This page is generated from [voipmonitor.txt](../appliance/config/voipmonitor.txt): ` + "`go test ./appliance/config -update`" + `.

A ` + "`voipmonitor.conf`" + ` works as it is:

` + "```" + `
ringside check-config voipmonitor.conf
ringside run --config voipmonitor.conf
` + "```" + `

Every key of VoIPmonitor 2026.04 is known. ` + "`check-config`" + ` says of each line, by file and number, whether it is

| verdict | meaning |
|---|---|
| set | the key has the same name and meaning here |
| mapped | it has another name here, or its value another form |
| not needed | ringside does it anyway, does it in another way, or the key is off |
| not supported | it has no effect; the line says what to do instead |
| refused | the value is wrong, contradicts another line, or would store what it was to protect |

Nothing is ignored in silence. What is not supported is also logged at start.

What to look at by hand: write another ` + "`mysqldb`" + ` than VoIPmonitor's own; say ` + "`dedicated = yes`" + ` if the interface is a
mirror port; and choose what is stored: without ` + "`savesip`, `savertp` and `rules`" + ` all packets of calls are. SQL and
dashboards written for VoIPmonitor go on working on [views](store.md).
`
