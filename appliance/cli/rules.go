package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"ringside/flow/record"
	"ringside/flow/rule"
	"ringside/writer/store"
)

func newRules(st *style) *cobra.Command {
	c := &cobra.Command{
		Use:   "rules",
		Short: "check capture rules, and try them on past calls",
		Long: `Capture rules say which calls are stored and how. They are read from the top, and
the first one whose conditions all hold decides:

  rule emergency: called 112|911* -> sip full, rtp full
  rule bad: mos < 3.5 or loss > 5% -> rtp full, lookback 30s
  default -> sip full, rtp none`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("say what to do with rules: check or try")
		},
	}
	c.AddCommand(newRulesCheck(st), newRulesTry(st))
	return c
}

// readRules reads a file of rules. What is wrong goes to stderr, a line for each
// error.
func readRules(path string, stdin io.Reader, stderr io.Writer) (*rule.Set, error) {
	var text []byte
	var err error
	if path == "-" {
		text, err = io.ReadAll(stdin)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	set, err := rule.Parse(string(text))
	if err == nil {
		return set, nil
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) == 1 {
		return nil, coded{exitConfig, fmt.Errorf("read rules %s: %w", path, err)}
	}
	for _, l := range lines {
		fmt.Fprintf(stderr, "%s: %s\n", path, clean(l))
	}
	return nil, coded{exitConfig, fmt.Errorf("read rules %s: %s", path, plural(len(lines), "error"))}
}

func newRulesCheck(st *style) *cobra.Command {
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "tell errors, and what each rule means",
		Long: `Read a file of capture rules ("-": standard input) and print it in its canonical
form, each rule with what it means in a comment below. Errors name line, column and
what to write instead; the exit code is 78 then. What is allowed but can hardly be
meant is told on standard error.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			set, err := readRules(args[0], c.InOrStdin(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			for _, w := range set.Warnings() {
				fmt.Fprintf(c.ErrOrStderr(), "%s: warning: %s\n", args[0], clean(w))
			}
			return showRules(c.OutOrStdout(), st.on(c.OutOrStdout()), set)
		},
	}
	return c
}

func showRules(w io.Writer, l look, set *rule.Set) error {
	var b strings.Builder
	rules := set.Rules()
	for line := range strings.Lines(set.String()) {
		b.WriteString(line)
		var r *rule.Rule
		switch {
		case strings.HasPrefix(line, "rule ") && len(rules) > 0:
			r, rules = &rules[0], rules[1:]
		case strings.HasPrefix(line, "default "):
			r = set.Default()
		default:
			continue
		}
		text := wrap(strings.Fields(r.Meaning()), "", l.textWidth()-6, 0)
		for s := range strings.Lines(text) {
			b.WriteString("    # " + strings.TrimSpace(s) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// tried is what a rule would have chosen.
type tried struct {
	Rule     string   `json:"rule"`
	Calls    int      `json:"calls"`
	SIP      string   `json:"sip"`
	RTP      string   `json:"rtp"`
	Bytes    int64    `json:"estimated_bytes"`
	Examples []string `json:"examples,omitempty"` // Call-IDs
}

// trial is the result of ringside rules try.
type trial struct {
	Calls   int            `json:"calls"`
	More    bool           `json:"more,omitempty"` // there are older calls
	Bytes   int64          `json:"estimated_bytes"`
	Rules   []tried        `json:"rules"`
	Unknown map[string]int `json:"not_told_by_records,omitempty"` // conditions, with the calls that they might have decided about
}

func newRulesTry(st *style) *cobra.Command {
	var f store.Filter
	var db string
	var asJSON bool
	var examples, limit int
	c := &cobra.Command{
		Use:   "try FILE --db PATH",
		Short: "tell which past calls each rule would have chosen",
		Long: `Read a file of capture rules and ask them about the calls of a store: how many
each rule would have chosen, what storing them takes, before compression, and
examples. Sizes are estimated from the packets of each call's streams and the
number of its messages, and as if a rule that comes true late stored the whole
call. Headers and interfaces are not in records: rules that depend on them are
told apart.

` + filterHelp[:strings.Index(filterHelp, " --json")],
		Example: "  ringside rules try rules.txt --db calls.db --from -24h",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := noneEmpty(c.Flags()); err != nil {
				return err
			}
			if err := inZone(c.Flags(), st.zone()); err != nil {
				return coded{exitUsage, err}
			}
			if limit < 0 || examples < 0 {
				return usage("try rules: --limit and --examples are numbers from 0 on")
			}
			set, err := readRules(args[0], c.InOrStdin(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			s, err := openStore(c.Context(), db)
			if err != nil {
				return err
			}
			defer s.Close()
			t, err := tryRules(c.Context(), set, s, f, limit, examples)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				return enc.Encode(t)
			}
			return showTrial(c.OutOrStdout(), st.on(c.OutOrStdout()), t)
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	filterFlags(fl, &f)
	fl.IntVar(&limit, "limit", 10_000, "the newest calls, so many (0: all)")
	fl.IntVar(&examples, "examples", 3, "Call-IDs of each rule")
	fl.BoolVar(&asJSON, "json", false, "as JSON")
	fl.StringVar(&db, "db", "", "the store, a `PATH`")
	return c
}

// tryRules asks the rules about the calls that a filter chooses, newest first, up
// to a limit.
func tryRules(ctx context.Context, set *rule.Set, s *store.Store, f store.Filter, limit, examples int) (*trial, error) {
	t := &trial{Unknown: map[string]int{}}
	entry := func(r *rule.Rule) tried {
		return tried{Rule: r.Name, SIP: r.Want[rule.SIP].String(), RTP: r.Want[rule.RTP].String()}
	}
	t.Rules = append(t.Rules, entry(set.Default()))
	for i := range set.Rules() {
		t.Rules = append(t.Rules, entry(&set.Rules()[i]))
	}
	for p := (store.Page{Limit: 1000}); ; {
		if limit > 0 {
			p.Limit = min(p.Limit, limit-t.Calls)
		}
		calls, next, err := wholeCalls(ctx, s, f, p)
		if err != nil {
			return nil, err
		}
		for i := range calls {
			t.add(set, &calls[i], examples)
		}
		p.Cursor = next
		if t.More = next != ""; !t.More || limit > 0 && t.Calls >= limit {
			break
		}
	}
	t.Rules = append(t.Rules[1:], t.Rules[0]) // the default stands last
	return t, nil
}

func (t *trial) add(set *rule.Set, c *record.Call, examples int) {
	d := set.Try(c)
	r := &t.Rules[d.Rule]
	n := estimate(c, &d.Policy)
	t.Calls++
	t.Bytes += n
	r.Calls++
	r.Bytes += n
	if len(r.Examples) < examples {
		r.Examples = append(r.Examples, c.CallID)
	}
	for _, u := range d.Unknown {
		t.Unknown[u]++
	}
}

// What a packet takes in a spool before compression, in bytes: the block of
// pcapng around it, and the headers of Ethernet, IP, UDP and RTP. Of SIP messages
// a record has the number alone.
const (
	blockBytes   = 36
	rtpBytes     = blockBytes + 14 + 20 + 8 + 12
	messageBytes = blockBytes + 14 + 20 + 8 + 700
	noBodyBytes  = messageBytes - 200
)

// estimate is what the packets of a call take.
func estimate(c *record.Call, p *rule.Policy) int64 {
	each := [...]int64{rule.None: 0, rule.Header: noBodyBytes, rule.Full: messageBytes}
	n := int64(c.MessagesTotal) * each[p.Want[rule.SIP]]
	for i := range c.Streams {
		s := &c.Streams[i]
		switch p.Want[rule.RTP] {
		case rule.Full:
			n += int64(s.Bytes)
			fallthrough
		case rule.Header:
			n += int64(s.Packets) * rtpBytes
		}
	}
	return n
}

var trialColumns = []column{
	{head: "Rule", least: 8}, {head: "Calls", right: true}, {head: "Share", right: true}, {head: "SIP", drop: 2}, {head: "RTP", drop: 1},
	{head: "About", right: true}, {head: "Examples", least: 10},
}

func showTrial(w io.Writer, l look, t *trial) error {
	var rows [][]string
	for _, r := range t.Rules {
		rows = append(rows, []string{r.Rule, count(r.Calls), share(r.Calls, t.Calls), r.SIP, r.RTP, only(r.Calls > 0, size(r.Bytes)), clean(strings.Join(r.Examples, " "))})
	}
	if err := writeTable(w, l, trialColumns, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s%s, about %s before compression\n", only(t.More, "of more, the newest "), plural(t.Calls, "call"), size(t.Bytes))
	unknown := make([]string, 0, len(t.Unknown))
	for u := range t.Unknown {
		unknown = append(unknown, u)
	}
	slices.SortFunc(unknown, func(a, b string) int { return cmp.Or(cmp.Compare(t.Unknown[b], t.Unknown[a]), cmp.Compare(a, b)) })
	for i, u := range unknown {
		if i == 0 {
			_, err2 := fmt.Fprintln(w, "\nRecords do not tell about these conditions, which might have decided:")
			err = errors.Join(err, err2)
		}
		_, err2 := fmt.Fprintf(w, "  %s: %s\n", clean(u), plural(t.Unknown[u], "call"))
		err = errors.Join(err, err2)
	}
	return err
}
