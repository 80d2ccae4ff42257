package commands

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

const (
	longestLine = 1000 // characters of a command; the longest real ones hold a resource address
	longestCode = 80   // characters of a person's own words in an answer

	longestReason = 300 // characters
)

var (
	digestForm = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)
	// lockIDForm is how Terraform writes the id of a lock.
	// https://developer.hashicorp.com/terraform/language/state/locking
	lockIDForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// UsageError says why a line that is meant for us is not a command, in Markdown for the person who wrote it.
type UsageError struct {
	Name             string // the command that was meant; "" if unclear
	Message          string // what and why, and what next unless WantsEnvironment
	WantsEnvironment bool   // an environment is missing; Decide adds those that exist
}

// Error is the message.
func (e *UsageError) Error() string { return e.Message }

// Parse reads the first line of a comment. It reports whether that line is a command of ours: a slash
// as the very first character, then one of our words or nearly so. Indented, quoted and fenced
// lines are none, so that people can talk about commands without giving them. The error is a *UsageError.
func Parse(body string) (Command, bool, error) {
	line, _, _ := strings.Cut(body, "\n")
	line = strings.TrimRightFunc(strings.ToValidUTF8(line, "\uFFFD"), unicode.IsSpace)
	if !strings.HasPrefix(line, "/") {
		return Command{}, false, nil
	}
	fields := strings.Fields(line[1:])
	if len(fields) == 0 || !strings.HasPrefix(line[1:], fields[0]) {
		return Command{}, false, nil // "/" alone, or "/ apply"
	}
	name := strings.ToLower(fields[0])
	if known, ours, err := meant(name, line); known == "" {
		return Command{Line: line}, ours, err
	}
	c := Command{Name: name, Line: line}
	if len([]rune(line)) > longestLine {
		c.Line = string([]rune(line)[:longestLine])
		return c, true, wrongForm(name, fmt.Sprintf("the line has more than %d characters", longestLine))
	}
	err := c.read(fields[1:])
	return c, true, err
}

// meant finds the command that a word names. It gives "" for a word that is none, and an error where
// the word is near to one, or is one that is not in effect yet.
func meant(word, line string) (string, bool, error) {
	for _, known := range operation.CommandWords() {
		if known.Name != word {
			continue
		}
		if known.Later {
			return "", true, &UsageError{Name: word, Message: fmt.Sprintf(
				"**%s is not in effect in this version of Switchyard.** The word is known, because a later version will have it. "+
					"Next: comment `/help` to see what works here.", code("/"+word))}
		}
		return word, true, nil
	}
	nearest := repoconfig.Nearest(word, Names())
	if nearest == "" || strings.ContainsAny(word, "/`") {
		return "", false, nil
	}
	rest := strings.TrimSpace(line[1+len(strings.Fields(line[1:])[0]):])
	return "", true, &UsageError{Name: nearest, Message: fmt.Sprintf(
		"**%s is not a command.** Did you mean %s? Next: comment that, or `/help` to see all commands.",
		code("/"+word), code(strings.TrimSpace("/"+nearest+" "+rest)))}
}

// read fills in what stands behind the command.
func (c *Command) read(arguments []string) error {
	switch c.Name {
	case "help":
		return nil // whatever stands behind it
	case "why":
		return c.readAddress()
	case "approve-replace":
		return c.readApproval(arguments)
	case "plan":
		return c.readPlan(arguments)
	case "apply":
		return c.readApply(arguments)
	case "break-lease":
		return c.readBreakLease()
	case "confirm":
		return c.readConfirm(arguments)
	case "unlock":
		if len(arguments) == 0 {
			return wantsEnvironment(c.Name)
		}
		return c.readEnvironment(arguments)
	default: // status, cancel
		return c.readEnvironment(arguments)
	}
}

func (c *Command) readEnvironment(arguments []string) error {
	if len(arguments) > 1 {
		return wrongForm(c.Name, code(strings.Join(arguments[1:], " "))+tooMuch)
	}
	if len(arguments) == 1 {
		c.Environment = arguments[0]
		return option(c.Name, arguments[0])
	}
	return nil
}

func (c *Command) readAddress() error {
	word := strings.Fields(c.Line[1:])[0]
	address := strings.Trim(strings.TrimSpace(c.Line[1+len(word):]), "`")
	if strings.ContainsFunc(address, unseen) {
		return wrongForm(c.Name, "the address has a character that cannot be seen")
	}
	c.Address = address
	return nil
}

// readApproval reads exactly one address, and perhaps its root. A yes to no address in particular would be a yes to anything.
func (c *Command) readApproval(arguments []string) error {
	if len(arguments) > 0 {
		if err := option(c.Name, arguments[0]); err != nil {
			return err
		}
	}
	if err := c.readAddress(); err != nil {
		return err
	}
	words := unquoted(strings.ReplaceAll(c.Address, "`", " "))
	c.Address = ""
	if len(words) == 0 {
		return wrongForm(c.Name, "it names no address")
	}
	c.Address, c.Root = words[0], strings.Join(words[1:], " ") // a directory may have blanks
	return nil
}

// unquoted splits a text at the blanks that are not between quotes, as the keys of addresses have them.
func unquoted(text string) []string {
	quoted, escaped := false, false
	return strings.FieldsFunc(text, func(r rune) bool {
		switch {
		case escaped:
			escaped = false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		}
		return !quoted && unicode.IsSpace(r)
	})
}

func (c *Command) readPlan(arguments []string) error {
	var places []string
	for i := 0; i < len(arguments); i++ {
		name, value, given := strings.Cut(arguments[i], "=")
		if name != "--fork" {
			if err := option(c.Name, arguments[i]); err != nil {
				return err
			}
			places = append(places, arguments[i])
			continue
		}
		if !given && i+1 < len(arguments) {
			i++
			value = arguments[i]
		}
		if c.Fork = strings.ToLower(value); !commitForm.MatchString(c.Fork) {
			return wrongForm(c.Name, "`--fork` needs the whole commit, 40 characters")
		}
	}
	if len(places) > 2 {
		return wrongForm(c.Name, code(strings.Join(places[2:], " "))+tooMuch)
	}
	if len(places) > 0 {
		c.Environment = places[0]
	}
	if len(places) > 1 {
		c.Root = places[1]
	}
	return nil
}

func (c *Command) readApply(arguments []string) error {
	if len(arguments) == 0 {
		return wantsEnvironment(c.Name)
	}
	if len(arguments) > 2 {
		return wrongForm(c.Name, code(strings.Join(arguments[2:], " "))+tooMuch)
	}
	if err := option(c.Name, arguments[0]); err != nil {
		return err
	}
	c.Environment = arguments[0]
	if len(arguments) == 2 {
		c.Digest = strings.ToLower(strings.Trim(arguments[1], "`"))
		if !digestForm.MatchString(c.Digest) {
			c.Digest = ""
			return wrongForm(c.Name, fmt.Sprintf("%s is not a digest: those are at least 4 of the characters 0-9 and a-f, "+
				"as the question shows them",
				code(arguments[1])))
		}
	}
	return nil
}

// readBreakLease reads an environment, perhaps a root and a lock id, and at the end perhaps a reason.
func (c *Command) readBreakLease() error {
	_, rest := nextWord(c.Line)
	var places []string
	for {
		var word string
		word, rest = nextWord(rest)
		name, value, given := strings.Cut(dashed(word), "=")
		switch {
		case word == "":
			if len(places) == 0 {
				return wantsEnvironment(c.Name)
			}
			c.Environment, c.Root = places[0], strings.Join(places[1:], " ") // a directory may have blanks
			return nil
		case name == "--reason":
			if err := c.readReason(value + rest); err != nil {
				return err
			}
			rest = ""
		case name == "--lock-id":
			if !given {
				value, rest = nextWord(rest)
			}
			if err := c.readLockID(value); err != nil {
				return err
			}
		case strings.HasPrefix(name, "-"):
			return wrongForm(c.Name, "there is no option "+code(word))
		default:
			places = append(places, word)
		}
	}
}

func (c *Command) readLockID(value string) error {
	if c.LockID != "" {
		return wrongForm(c.Name, "`--lock-id` is given twice")
	}
	id := strings.ToLower(strings.Trim(value, "`"))
	if !lockIDForm.MatchString(id) {
		return wrongForm(c.Name, "`--lock-id` needs the whole id of the lock, 36 characters such as `9db590f1-b6fe-c5f2-2678-8804f089deba`")
	}
	c.LockID = id
	return nil
}

// readReason reads everything up to the end of the line. An option in it would look as if it had been heeded.
func (c *Command) readReason(text string) error {
	reason := strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unseen(r):
			return -1
		}
		return r
	}, text))
	if inner, quoted := strings.CutPrefix(reason, `"`); quoted && strings.HasSuffix(inner, `"`) {
		reason = strings.TrimSpace(strings.TrimSuffix(inner, `"`))
	}
	for word := range strings.FieldsSeq(reason) {
		if name, _, _ := strings.Cut(dashed(word), "="); name == "--lock-id" || name == "--reason" {
			return wrongForm(c.Name, "everything behind `--reason` is the reason, so `"+name+"` cannot stand there")
		}
	}
	switch {
	case reason == "":
		return wrongForm(c.Name, "`--reason` is empty")
	case len([]rune(reason)) > longestReason:
		return wrongForm(c.Name, fmt.Sprintf("the reason has more than %d characters", longestReason))
	}
	c.Reason = reason
	return nil
}

// nextWord takes the first word off a text.
func nextWord(text string) (word, rest string) {
	text = strings.TrimLeftFunc(text, unicode.IsSpace)
	if end := strings.IndexFunc(text, unicode.IsSpace); end >= 0 {
		return text[:end], text[end:]
	}
	return text, ""
}

// dashed is a word whose first long dash is the two that telephones make one of.
func dashed(word string) string {
	if rest, long := strings.CutPrefix(word, "—"); long {
		return "--" + rest
	}
	return word
}

// readConfirm reads one code as people type it: in any case, with hyphens, and with letters for the figures that they look like.
func (c *Command) readConfirm(arguments []string) error {
	if len(arguments) == 0 {
		return wrongForm(c.Name, "it names no code")
	}
	if len(arguments) > 1 {
		return wrongForm(c.Name, code(strings.Join(arguments[1:], " "))+tooMuch)
	}
	typed := strings.ToUpper(strings.Trim(arguments[0], "`"))
	typed = strings.NewReplacer("-", "", "O", "0", "I", "1", "L", "1").Replace(typed)
	if len(typed) != codeLength || strings.Trim(typed, codeAlphabet) != "" {
		return wrongForm(c.Name, fmt.Sprintf("%s is not a code: those are %d letters and figures, as the answer that asks shows them",
			code(arguments[0]), codeLength))
	}
	c.Code = typed
	return nil
}

const tooMuch = " is too much"

func option(name, argument string) error {
	if strings.HasPrefix(argument, "-") {
		return wrongForm(name, "there is no option "+code(argument))
	}
	return nil
}

func wantsEnvironment(name string) error {
	return &UsageError{
		Name: name, WantsEnvironment: true,
		Message: fmt.Sprintf("**%s was not understood,** because it names no environment.", code("/"+name)),
	}
}

func wrongForm(name, why string) error {
	return &UsageError{
		Name:    name,
		Message: fmt.Sprintf("**%s was not understood:** %s. Next: write `%s`, alone or with text below it.", code("/"+name), why, usage(name)),
	}
}

// unseen tells characters that people do not see, or that change how others are shown.
func unseen(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// code shows a person's own words so that nothing in them takes effect: no mention, link, HTML or
// Markdown works inside a code span, and nothing in them can end it.
func code(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '`' || unseen(r) {
			return '\uFFFD'
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > longestCode {
		text = string(runes[:longestCode-1]) + "…"
	}
	return "`" + text + "`"
}
