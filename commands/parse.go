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
)

var (
	digestForm = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)
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
