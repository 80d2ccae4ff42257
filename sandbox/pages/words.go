package pages

import (
	"errors"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// shortSHA is how many characters of a SHA GitHub shows.
const shortSHA = 7

// avatars is the number of colours that the style sheet has for people.
const avatars = 8

// functions are the words of the templates.
func (p *pages) functions() template.FuncMap {
	return template.FuncMap{
		"md": markdown, "short": short, "path": escapePath, "plural": plural, "emoji": emoji, "colour": colour, "initial": initial,
		"ago":   func(t time.Time) string { return ago(p.now(), t) },
		"exact": func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") },
		"stamp": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"took":  took, "web": web, "reactions": reactions, "dict": dict, "deploymentLook": deploymentLook,
		"reviewLook": reviewLook, "reviewWords": reviewWords,
		"words": func(state string) string { return strings.ReplaceAll(state, "_", " ") },
	}
}

func short(sha string) string { return sha[:min(len(sha), shortSHA)] }

// escapePath escapes a name for one segment of a path, or for several if it has slashes, like a branch.
func escapePath(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// web returns an address only if a browser may follow it: checks and deployments carry whatever a program wrote.
func web(address string) string {
	if strings.Contains(address, "/apps/") { // of the App itself, which has no page here
		return ""
	}
	if strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://") {
		return address
	}
	return ""
}

// ago says how long ago something was, as people say it.
func ago(now, t time.Time) string {
	const day, month, year = 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d < 10*time.Second:
		return "now"
	case d < time.Minute:
		return count(int(d/time.Second), "second") + " ago"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute") + " ago"
	case d < day:
		return count(int(d/time.Hour), "hour") + " ago"
	case d < month:
		return count(int(d/day), "day") + " ago"
	case d < year:
		return count(int(d/month), "month") + " ago"
	default:
		return count(int(d/year), "year") + " ago"
	}
}

func count(n int, what string) string {
	return strconv.Itoa(n) + " " + what + plural(n, "", "s")
}

// took says how long a check ran; nothing while it runs.
func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() || to.Before(from) {
		return ""
	}
	d := to.Sub(from).Round(time.Second)
	if d < time.Minute {
		return fmt.Sprintf("%ds", int(d/time.Second))
	}
	return fmt.Sprintf("%dm %ds", int(d/time.Minute), int(d%time.Minute/time.Second))
}

// emoji is the picture of a reaction. https://docs.github.com/en/rest/reactions/reactions#about-reactions
func emoji(content string) string {
	pictures := map[string]string{
		"+1": "👍", "-1": "👎", "laugh": "😄", "confused": "😕", "heart": "❤️", "hooray": "🎉", "rocket": "🚀", "eyes": "👀",
	}
	if picture, ok := pictures[content]; ok {
		return picture
	}
	return content
}

// reaction is one kind of reaction with its number.
type reaction struct {
	Content string
	Count   int
}

func reactions(comment *sandbox.Comment) []reaction {
	var list []reaction
	for content, n := range comment.Reactions {
		if n > 0 {
			list = append(list, reaction{content, n})
		}
	}
	slices.SortFunc(list, func(a, b reaction) int { return strings.Compare(a.Content, b.Content) })
	return list
}

// deploymentLook is how a state of a deployment looks: one of the looks of checks.
func deploymentLook(state string) string {
	switch state {
	case "success":
		return "success"
	case "failure", "error":
		return "failure"
	case "in_progress":
		return "progress"
	case "inactive":
		return "neutral"
	default:
		return "queued"
	}
}

// reviewLook is how a review looks. One of an older commit says nothing about the newest.
func reviewLook(state string, stale bool) string {
	switch {
	case stale:
		return "neutral"
	case state == sandbox.Approved:
		return "success"
	case state == sandbox.ChangesRequested:
		return "failure"
	default:
		return "neutral"
	}
}

// reviewWords says what somebody did to a commit.
func reviewWords(state string) string {
	switch state {
	case sandbox.Approved:
		return "approved"
	case sandbox.ChangesRequested:
		return "requested changes to"
	case sandbox.Dismissed:
		return "had reviewed, and the review was dismissed, of"
	default:
		return "commented on"
	}
}

func colour(login string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(login)) // never fails
	return "c" + strconv.FormatUint(uint64(h.Sum32()%avatars), 10)
}

func initial(login string) string {
	for _, r := range login {
		return strings.ToUpper(string(r))
	}
	return "?"
}

// dict gives a template several named values.
func dict(pairs ...any) (map[string]any, error) {
	values := make(map[string]any, len(pairs)/2) //nolint:mnd // pairs
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("names of values must be strings")
		}
		values[name] = pairs[i+1]
	}
	return values, nil
}
