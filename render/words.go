package render

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// lasted is a duration as people say it: 40 s, 2 min, 3 h, 5 days.
func lasted(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than 1 s"
	case d < 90*time.Second:
		return strconv.Itoa(int(d.Round(time.Second).Seconds())) + " s"
	case d < 90*time.Minute:
		return strconv.Itoa(int(d.Round(time.Minute).Minutes())) + " min"
	case d < 36*time.Hour:
		return strconv.Itoa(int(d.Round(time.Hour).Hours())) + " h"
	default:
		return strconv.Itoa(int((d+12*time.Hour)/(24*time.Hour))) + " days"
	}
}

// since is how long ago a moment was.
func since(now, then time.Time) string { return lasted(now.Sub(then)) }

// moment is a point in time as people say it.
func moment(t time.Time) string { return t.UTC().Format("2 Jan 2006 at 15:04 UTC") }

// exact is a point in time for machines and minutes of meetings.
func exact(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ordinal is 1st, 2nd, 3rd, 4th, 11th.
func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}

// number writes thousands apart: 5,000.
func number(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// several is "one change" or "3 changes".
func several(n int, one, many string) string {
	if n == 1 {
		return "one " + one
	}
	return number(n) + " " + many
}

// list joins words: a, b and c.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// maxPulls is how many pull requests are named before the others are counted.
const maxPulls = 30

// pulls names pull requests: #41, #42 and #43.
func pulls(numbers []int) string {
	words := make([]string, 0, min(len(numbers), maxPulls+1))
	for i, number := range numbers {
		if i == maxPulls {
			words = append(words, several(len(numbers)-i, "other", "others"))
			break
		}
		words = append(words, "#"+strconv.Itoa(number))
	}
	return list(words)
}

// tense says whether counts are spoken of before or after the apply.
type tense int

const (
	future tense = iota
	past
)

// spoken says counts in words, with replacements apart: "2 to add, 1 to replace".
func spoken(c operation.Counts, when tense) string {
	parts := []struct {
		n             int
		before, after string
	}{
		{c.Add - c.Replace, "to add", "added"},
		{c.Change, "to change", "changed"},
		{c.Replace, "to replace", "replaced"},
		{c.Destroy - c.Replace, "to destroy", "destroyed"},
		{c.Import, "to import", "imported"},
		{c.Move, "to move", "moved"},
		{c.Forget, "to forget", "forgotten"},
	}
	var words []string
	for _, part := range parts {
		if part.n <= 0 {
			continue
		}
		word := part.before
		if when == past {
			word = part.after
		}
		words = append(words, number(part.n)+" "+word)
	}
	if c.Outputs > 0 {
		words = append(words, outputs(c.Outputs, when))
	}
	return strings.Join(words, ", ")
}

func outputs(n int, when tense) string {
	text := number(n) + " outputs"
	if n == 1 {
		text = "1 output"
	}
	if when == past {
		return text + " changed"
	}
	return text + " to change"
}

// plus adds up counts.
func plus(a, b operation.Counts) operation.Counts {
	return operation.Counts{
		Add: a.Add + b.Add, Change: a.Change + b.Change, Destroy: a.Destroy + b.Destroy, Replace: a.Replace + b.Replace,
		Import: a.Import + b.Import, Move: a.Move + b.Move, Forget: a.Forget + b.Forget, Outputs: a.Outputs + b.Outputs,
	}
}

// minus takes counts away, never below nothing.
func minus(a, b operation.Counts) operation.Counts {
	return operation.Counts{
		Add: max(0, a.Add-b.Add), Change: max(0, a.Change-b.Change), Destroy: max(0, a.Destroy-b.Destroy),
		Replace: max(0, a.Replace-b.Replace), Import: max(0, a.Import-b.Import), Move: max(0, a.Move-b.Move),
		Forget: max(0, a.Forget-b.Forget), Outputs: max(0, a.Outputs-b.Outputs),
	}
}

// hexadecimal is what a commit's name looks like.
var hexadecimal = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// shortSHA is as many digits of a commit as GitHub shows.
func shortSHA(sha string) string {
	const digits = 7
	if hexadecimal.MatchString(sha) {
		return sha[:digits]
	}
	return sha
}

// links makes the addresses of pages on GitHub.
type links struct {
	web  string
	repo operation.Repository
}

// commit is a commit as a link.
func (l links) commit(sha string) string {
	if l.web == "" || l.repo.Owner == "" || !hexadecimal.MatchString(sha) {
		return code(shortSHA(sha))
	}
	return "[" + code(shortSHA(sha)) + "](" + l.page("commit", sha) + ")"
}

// checks is the page with the checks of a commit; empty where it has no address.
func (l links) checks(sha string) string {
	if l.web == "" || l.repo.Owner == "" || !hexadecimal.MatchString(sha) {
		return ""
	}
	return l.page("commit", sha, "checks")
}

func (l links) page(parts ...string) string {
	path := []string{strings.TrimSuffix(l.web, "/"), url.PathEscape(l.repo.Owner), url.PathEscape(l.repo.Name)}
	for _, part := range parts {
		path = append(path, url.PathEscape(part))
	}
	return strings.Join(path, "/")
}

// whole is a link to the page with everything, in words.
func whole(address string) string {
	if safe := safeAddress(address); safe != "" {
		return fmt.Sprintf("[the whole list](%s)", safe)
	}
	return ""
}

// safeAddress is the address of a page as it can stand in a link; empty where it is none.
func safeAddress(address string) string {
	parsed, err := url.Parse(address)
	if address == "" || err != nil || parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Host == "" {
		return ""
	}
	return unlinkable.Replace(parsed.String())
}

// unlinkable are characters that would end the address of a link in Markdown.
var unlinkable = strings.NewReplacer("(", "%28", ")", "%29", "<", "%3C", ">", "%3E", " ", "%20", "\\", "%5C")
