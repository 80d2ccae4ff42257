package hub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var (
	_ error = (*Wait)(nil)        // tried again at that time; no attempt is counted
	_ error = (*Gone)(nil)        // not tried again: there is nothing to do it to
	_ error = (*NeedsPerson)(nil) // not tried again: shown with its remedy
)

// Wait says that the call is to be made at Until: GitHub wants none before (a primary or secondary rate limit,
// or Retry-After), or Switchyard itself holds it back so that no limit is met. Nothing was sent, or what was
// sent had no effect.
// See https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api.
type Wait struct {
	Until  time.Time
	Reason string // which limit, in GitHub's words where it gave some
}

func (w *Wait) Error() string {
	return fmt.Sprintf("no call of GitHub until %s: %s", w.Until.UTC().Format(time.RFC3339), w.Reason)
}

// RetryAt is when to try again.
func (w *Wait) RetryAt(now time.Time) time.Time {
	if w.Until.Before(now) {
		return now
	}
	return w.Until
}

// Gone says that GitHub does not have the thing, any more or at all: 404, 410, a suspended or removed
// installation. GitHub also answers 404 where the App may not see a private thing.
type Gone struct {
	What string // the thing: "pull request #41 of acme/network"
}

func (g *Gone) Error() string { return "GitHub does not have " + g.What }

// NeedsPerson says that GitHub refused, and will until a person changes something.
type NeedsPerson struct {
	What   string // what happened and why, one sentence
	Remedy string // what to do, one sentence
}

func (n *NeedsPerson) Error() string { return n.What + " " + n.Remedy }

// answer is a refusal as GitHub gave it.
type answer struct {
	status  int
	header  http.Header
	message string // GitHub's words, made harmless
	docs    string // documentation_url
}

// readAnswer makes an answer of a response's status, header and the beginning of its body.
func readAnswer(status int, header http.Header, body []byte) answer {
	var document struct {
		Message string          `json:"message"`
		Docs    string          `json:"documentation_url"`
		Errors  json.RawMessage `json:"errors"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return answer{status: status, header: header} // a proxy's page; its words help nobody
	}
	words := append([]string{document.Message}, detail(document.Errors)...)
	return answer{status: status, header: header, message: harmless(strings.Join(words, "; ")), docs: document.Docs}
}

// detail reads the member errors of a refusal, which is a list of objects or strings, or something else.
func detail(raw json.RawMessage) []string {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var words []string
	for _, item := range list {
		var text string
		if json.Unmarshal(item, &text) == nil {
			words = append(words, text)
			continue
		}
		var object struct {
			Resource string `json:"resource"`
			Field    string `json:"field"`
			Code     string `json:"code"`
			Message  string `json:"message"`
		}
		if json.Unmarshal(item, &object) != nil {
			continue
		}
		text = strings.TrimSpace(object.Resource + " " + object.Field + " " + object.Code)
		if object.Message != "" {
			text = strings.TrimSpace(object.Field + " " + object.Message)
		}
		words = append(words, text)
	}
	return words
}

// harmless is text from outside as one line of bounded length.
func harmless(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return clip(strings.Join(strings.Fields(s), " "), maxWords)
}

// clip cuts s to at most limit characters; a cut one ends in an ellipsis.
func clip(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

// classify says by the type of its error what happens next. Strikes counts the answers before this one
// that asked to wait without saying how long.
func (a answer) classify(r request, now time.Time, strikes int) error {
	if until, reason, ok := a.wait(now, strikes); ok {
		return &Wait{Until: until, Reason: reason}
	}
	if r.explain != nil {
		if err := r.explain(a); err != nil {
			return err
		}
	}
	switch {
	case a.status == http.StatusNotFound, a.status == http.StatusGone, a.status == http.StatusUnavailableForLegalReasons:
		return &Gone{What: r.thing}
	case a.status == http.StatusForbidden && strings.Contains(a.message, "suspended"):
		return &Gone{What: "the App's installation for " + r.thing + " (it is suspended)"}
	case a.status == http.StatusUnprocessableEntity && strings.Contains(a.message, "No commit found for SHA"):
		return &Gone{What: "the commit of " + r.thing}
	case a.status == http.StatusUnprocessableEntity && strings.Contains(a.message, "No ref found for"):
		return &Gone{What: "the branch or commit of " + r.thing}
	case a.status == http.StatusForbidden:
		return &NeedsPerson{What: r.refused(a.message), Remedy: a.remedy()}
	case a.status == http.StatusUnprocessableEntity:
		return &NeedsPerson{What: r.refused(a.message), Remedy: "Change what GitHub names, then ask again."}
	}
	words := http.StatusText(a.status)
	if a.message != "" {
		words = a.message
	}
	return fmt.Errorf("%s %s: %s %s: %d %s", r.do, r.thing, r.method, r.route, a.status, words)
}

// limitKind is how an answer asks to wait.
type limitKind int

const (
	noLimit        limitKind = iota
	timeGiven                // with Retry-After
	primaryLimit             // until the hour is over
	secondaryLimit           // without saying how long
)

// usedUp is the reason of a Wait for the next hour.
const usedUp = "the rate limit is used up"

// limit finds out whether the answer is a rate limit, in the order that GitHub's documentation gives:
// Retry-After, then X-RateLimit-Reset, then its words.
// See https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit.
func (a answer) limit(now time.Time) limitKind {
	limited := a.status == http.StatusForbidden || a.status == http.StatusTooManyRequests
	if !limited && a.status != http.StatusServiceUnavailable {
		return noLimit
	}
	if _, ok := retryAfter(a.header.Get("Retry-After"), now); ok {
		return timeGiven
	}
	if !limited {
		return noLimit
	}
	if _, ok := a.reset(); ok {
		return primaryLimit
	}
	if a.status == http.StatusTooManyRequests || strings.Contains(strings.ToLower(a.message), "secondary rate limit") ||
		strings.Contains(a.docs, "secondary-rate-limits") || strings.HasSuffix(a.docs, "#abuse-rate-limits") {
		return secondaryLimit
	}
	return noLimit
}

// wait is when and why to try again where the answer is a rate limit. Where GitHub gives no time it is at
// least a minute, longer each time.
func (a answer) wait(now time.Time, strikes int) (time.Time, string, bool) {
	switch a.limit(now) {
	case timeGiven:
		d, _ := retryAfter(a.header.Get("Retry-After"), now)
		return bounded(now, now.Add(d)), a.reason("it sent Retry-After"), true
	case primaryLimit:
		at, _ := a.reset()
		return bounded(now, at.Add(time.Second)), a.reason(usedUp), true
	case secondaryLimit:
		d := min(secondaryWait<<min(strikes, 8), maxSecondaryWait)
		return now.Add(d), a.reason("a secondary rate limit"), true
	case noLimit:
	}
	return time.Time{}, "", false
}

// reset is when calls are allowed again, where none is left.
func (a answer) reset() (time.Time, bool) {
	seconds, err := strconv.ParseInt(a.header.Get("X-Ratelimit-Reset"), 10, 64)
	return time.Unix(seconds, 0), err == nil && a.header.Get("X-Ratelimit-Remaining") == "0"
}

func (a answer) reason(otherwise string) string {
	if a.message != "" {
		return a.message
	}
	return otherwise
}

// retryAfter reads the header of that name: seconds, or from a proxy a date. See
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return at.Sub(now), true
	}
	return 0, false
}

// bounded keeps a time that came from outside within reason.
func bounded(now, until time.Time) time.Time {
	switch {
	case until.Before(now.Add(minWait)):
		return now.Add(minWait)
	case until.After(now.Add(maxWait)):
		return now.Add(maxWait)
	default:
		return until
	}
}

// remedy is what a person can do about a 403 that is no rate limit.
func (a answer) remedy() string {
	lower := strings.ToLower(a.message)
	switch {
	case strings.Contains(lower, "archived"):
		return "Unarchive the repository, or remove it from the App's installation."
	case strings.Contains(lower, "locked"):
		return "Unlock the conversation, then ask again."
	case strings.Contains(lower, "ip allow list"):
		return "Add the server's address to the organisation's IP allow list."
	}
	if needed := permissions(a.header.Get("X-Accepted-Github-Permissions")); needed != "" {
		return "Give the App the permission " + needed + ", and accept it in the installation's settings."
	}
	return "Remove what GitHub names, then ask again."
}

var permission = regexp.MustCompile(`^([a-z][a-z_]{0,60})=([a-z]{1,20})$`)

// permissions puts the header X-Accepted-GitHub-Permissions into words: alternatives are separated by
// semicolons, what is needed together by commas. See
// https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps.
func permissions(header string) string {
	var alternatives []string
	for set := range strings.SplitSeq(header, ";") {
		var together []string
		for item := range strings.SplitSeq(set, ",") {
			match := permission.FindStringSubmatch(strings.TrimSpace(item))
			if match == nil {
				continue
			}
			name := strings.ReplaceAll(match[1], "_", " ")
			together = append(together, fmt.Sprintf("%q", strings.ToUpper(name[:1])+name[1:]+": "+match[2]))
		}
		if len(together) > 0 {
			alternatives = append(alternatives, strings.Join(together, " and "))
		}
	}
	return strings.Join(alternatives, " or ")
}
