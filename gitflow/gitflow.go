// Package gitflow decides what GitFlow says to a pull request, a push or a merge group: whether it
// is allowed, which environment it is for, and why, in words that people read in checks and comments.
// deploy asks it with facts that it has observed. It never touches git, GitHub, a clock or a file.
package gitflow

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/repoconfig"
)

// PullRequest is what GitFlow looks at in a pull request.
type PullRequest struct {
	From string `yaml:"from"` // head branch
	To   string `yaml:"to"`   // base branch
	Fork bool   `yaml:"fork"` // the head is in another repository
	Lent bool   `yaml:"lent"` // a person asked for a plan of just this head of a fork
}

// Push is what GitFlow looks at in a push. Branch has no refs/heads/ before it.
type Push struct {
	Branch  string `yaml:"branch"`
	Created bool   `yaml:"created"`
	Deleted bool   `yaml:"deleted"`
	Forced  bool   `yaml:"forced"`
	Tag     bool   `yaml:"tag"` // a tag was pushed, not a branch
}

// MergeGroup is a group of pull requests in the merge queue of a branch.
type MergeGroup struct {
	Base string `yaml:"base"` // with or without refs/heads/
}

// Facts is what was observed about the repository.
type Facts struct {
	OpenReleases []string `yaml:"open_releases"` // branches release/* that exist and are not merged to main
}

// Verdict is the answer in one word.
type Verdict string

// The verdicts.
const (
	Allowed Verdict = "allowed"
	Refused Verdict = "refused"
	Neutral Verdict = "neutral" // nothing to allow or refuse: advice, or a branch that maps to nothing
	Silent  Verdict = "silent"  // nothing is shown and nothing is done
)

// Decision is the answer with its reasons. All texts are plain text, not Markdown, and hold names of
// branches as people gave them (without control characters, long ones shortened): escape them where they are shown.
type Decision struct {
	Verdict     Verdict
	Environment string   // whose plan is shown, or which is applied; "" if none is
	Deploys     string   // the environment that the base branch or the pushed branch deploys to, whatever the verdict; "" if none
	Title       string   // at most 255 characters: the pair of branches and the main reason
	Reasons     []string // whole sentences, the main one first; the second names Environment where it is set
	Later       []string // what must happen afterwards
	Remedy      string   // the one next step when refused
	Bases       []string // base branches that would be allowed for this head, when refused
	Applies     bool     // Environment is applied; otherwise only its plan is shown
	Hotfix      bool     // goes before the rest
	Confirm     string   // why a person must say yes whatever the plan says; "" if nobody must
	Advice      bool     // the repository has no configuration: shown, not enforced
}

// maxTitle is how long the title of a check may be.
// https://docs.github.com/en/rest/checks/runs#create-a-check-run
const maxTitle = 255

// begin makes a decision with its headline: a sentence without its capital and its full stop, so
// that the title and the main reason are one text.
func begin(verdict Verdict, subject, headline string) Decision {
	title := []rune(subject + ": " + headline)
	if len(title) > maxTitle {
		title = append(title[:maxTitle-1], '…')
	}
	return Decision{Verdict: verdict, Title: string(title), Reasons: []string{sentence(headline)}}
}

// sentence gives a headline its capital, unless it begins with a name, and its full stop.
func sentence(headline string) string {
	first, _, _ := strings.Cut(headline, " ")
	if strings.ContainsAny(first, "/.") || kindOf(first) != other {
		return headline + "."
	}
	r, size := utf8.DecodeRuneInString(headline)
	return string(unicode.ToUpper(r)) + headline[size:] + "."
}

// String is the decision as golden files show it: everything that a person will read.
func (d Decision) String() string {
	var text strings.Builder
	line := func(word, words string) {
		if words != "" {
			fmt.Fprintf(&text, "%-9s %s\n", word, words)
		}
	}
	line(string(d.Verdict), d.Title)
	more := d.Reasons[min(1, len(d.Reasons)):]
	if d.Environment != "" && len(more) > 0 {
		word := "plan"
		if d.Applies {
			word = "apply"
		}
		line(word, d.Environment+": "+strings.TrimSuffix(more[0], "."))
		more = more[1:]
	}
	for _, reason := range more {
		line("because", reason)
	}
	line("confirm", d.Confirm)
	for _, later := range d.Later {
		line("later", later)
	}
	line("next", d.Remedy)
	return text.String()
}

// forEnvironment says whose plan is shown or applied. It must come right after begin.
func (d Decision) forEnvironment(environment, branch string) Decision {
	d.Environment = environment
	d.Reasons = append(d.Reasons, show(branch)+" deploys to "+environment+".")
	return d
}

// advise makes a decision one that is only shown, where the repository has no configuration.
func advise(config repoconfig.Config, d Decision) Decision {
	if !config.Default {
		return d
	}
	d.Advice = true
	d.Verdict = Neutral
	d.Reasons = append(d.Reasons, "This is advice: the repository has no "+repoconfig.Path+", so nothing is enforced and nothing is applied.")
	return d
}
