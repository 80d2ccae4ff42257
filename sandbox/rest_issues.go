package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxBody is the limit of comments and issue bodies in characters. GitHub's documentation does not
	// give it; its answers do: "body is too long (maximum is 65536 characters)".
	maxBody     = 65_536
	effectWords = 60
)

// bodyProblem says what GitHub would not take of a comment; empty when it is fine.
func bodyProblem(body string) string {
	switch {
	case strings.TrimSpace(body) == "":
		return "body can't be blank"
	case utf8.RuneCountInString(body) > maxBody:
		return fmt.Sprintf("body is too long (maximum is %d characters)", maxBody)
	default:
		return ""
	}
}

// words is the first line of a text, cut for a list of effects.
func words(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if utf8.RuneCountInString(first) <= effectWords {
		return first
	}
	return string([]rune(first)[:effectWords]) + "…"
}

// thread finds the issue or pull request that the path names. The caller holds mu.
func (c *call) thread() *thread { return c.repository.threads[int(c.id("issue_number"))] }

func listIssues(c *call) reply {
	s, r := c.sandbox, c.repository
	query := c.request.URL.Query()
	state := query.Get("state")
	if state == "" {
		state = "open"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*thread
	for _, number := range slices.Sorted(maps.Keys(r.threads)) {
		t := r.threads[number]
		if r.noIssues && t.pull == nil {
			continue
		}
		if state != "all" && threadState(t) != state || query.Get("creator") != "" && !strings.EqualFold(t.author.login, query.Get("creator")) {
			continue
		}
		if t.hasLabels(query.Get("labels")) {
			found = append(found, t)
		}
	}
	if query.Get("direction") != "asc" {
		slices.Reverse(found)
	}
	return list(c, found, func(t *thread) object { return s.issueObject(r, t) })
}

// hasLabels reports whether a thread has all of a comma-separated list of labels.
func (t *thread) hasLabels(wanted string) bool {
	if wanted == "" {
		return true
	}
	for name := range strings.SplitSeq(wanted, ",") {
		if !slices.ContainsFunc(t.labels, func(l *label) bool { return strings.EqualFold(l.name, name) }) {
			return false
		}
	}
	return true
}

type issueRequest struct {
	Title       *string       `json:"title"`
	Body        *string       `json:"body"`
	State       *string       `json:"state"`
	StateReason *string       `json:"state_reason"`
	Labels      *[]labelAsked `json:"labels"`
}

// labelAsked is a label's name, alone or in an object.
type labelAsked string

func (l *labelAsked) UnmarshalJSON(data []byte) error {
	var o struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(data, &o.Name); err != nil {
		if err := json.Unmarshal(data, &o); err != nil {
			return fmt.Errorf("read label: %w", err)
		}
	}
	*l = labelAsked(o.Name)
	return nil
}

// createIssue answers 410 where issues are switched off.
// https://docs.github.com/en/rest/issues/issues#create-an-issue
func createIssue(c *call) reply {
	s, r := c.sandbox, c.repository
	asked, refused := decode[issueRequest](c)
	if refused != nil {
		return *refused
	}
	if strings.TrimSpace(deref(asked.Title)) == "" {
		return invalid("Issue", "title", "missing_field", "title can't be blank")
	}
	if body := deref(asked.Body); body != "" && bodyProblem(body) != "" {
		return invalid("Issue", "body", "custom", bodyProblem(body))
	}
	r.acts.Lock() // numbers are shared with pull requests
	defer r.acts.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.noIssues {
		return problem(http.StatusGone, "Issues has been disabled in this repository.")
	}
	t := s.addIssue(r, c.author(), *asked.Title, deref(asked.Body), true)
	t.labels = s.findLabels(r, deref(asked.Labels))
	header := http.Header{"Location": {r.issueURL(t.number)}}
	return reply{status: http.StatusCreated, body: s.issueObject(r, t), header: header, effect: words(t.title)}
}

func getIssue(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.thread()
	if t == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.issueObject(c.repository, t)}
}

func updateIssue(c *call) reply {
	s, r := c.sandbox, c.repository
	asked, refused := decode[issueRequest](c)
	if refused != nil {
		return *refused
	}
	if asked.Body != nil && *asked.Body != "" && bodyProblem(*asked.Body) != "" {
		return invalid("Issue", "body", "custom", bodyProblem(*asked.Body))
	}
	if state := deref(asked.State); state != "" && state != "open" && state != "closed" {
		return invalid("Issue", "state", "invalid", "state must be open or closed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.thread()
	if t == nil {
		return notFound()
	}
	if t.pull != nil && asked.State != nil {
		return problem(http.StatusUnprocessableEntity, "The sandbox closes and opens pull requests only for people.")
	}
	set(&t.title, asked.Title)
	set(&t.body, asked.Body)
	if asked.Labels != nil {
		t.labels = s.findLabels(r, *asked.Labels)
	}
	t.updated = s.now()
	switch closed := t.closed; {
	case deref(asked.State) == "closed" && !closed:
		t.closed, t.closedAt, t.reason = true, t.updated, "completed"
		set(&t.reason, asked.StateReason)
	case deref(asked.State) == "open" && closed:
		t.closed, t.closedAt, t.reason = false, time.Time{}, "reopened"
	}
	return reply{status: http.StatusOK, body: s.issueObject(r, t), effect: words(t.title) + ": " + threadState(t)}
}

func listComments(c *call) reply {
	s := c.sandbox
	since, err := time.Parse(time.RFC3339, c.request.URL.Query().Get("since"))
	if err != nil {
		since = time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.thread()
	if t == nil {
		return notFound()
	}
	comments := slices.DeleteFunc(slices.Clone(t.comments), func(m *comment) bool { return m.updated.Before(since) })
	return list(c, comments, func(m *comment) object { return s.commentObject(c.repository, t, m) })
}

type commentRequest struct {
	Body *string `json:"body"`
}

func createComment(c *call) reply {
	s, r := c.sandbox, c.repository
	asked, refused := decode[commentRequest](c)
	if refused != nil {
		return *refused
	}
	if problem := bodyProblem(deref(asked.Body)); problem != "" {
		return invalid("IssueComment", "body", "unprocessable", problem)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.thread()
	if t == nil {
		return notFound()
	}
	m := s.addComment(r, t, c.author(), *asked.Body, true)
	header := http.Header{"Location": {r.commentURL(m)}}
	return reply{status: http.StatusCreated, body: s.commentObject(r, t, m), header: header, effect: words(m.body)}
}

func getComment(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t, m := c.repository.comment(c.id("comment_id"))
	if m == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.commentObject(c.repository, t, m)}
}

func updateComment(c *call) reply {
	s := c.sandbox
	asked, refused := decode[commentRequest](c)
	if refused != nil {
		return *refused
	}
	if problem := bodyProblem(deref(asked.Body)); problem != "" {
		return invalid("IssueComment", "body", "unprocessable", problem)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, m := c.repository.comment(c.id("comment_id"))
	if m == nil {
		return notFound()
	}
	s.editComment(c.repository, t, m, c.author(), *asked.Body)
	return reply{status: http.StatusOK, body: s.commentObject(c.repository, t, m), effect: words(m.body)}
}

func listReactions(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	_, m := c.repository.comment(c.id("comment_id"))
	if m == nil {
		return notFound()
	}
	return list(c, m.reactions, s.reactionObject)
}

func createReaction(c *call) reply {
	s := c.sandbox
	asked, refused := decode[struct {
		Content string `json:"content"`
	}](c)
	if refused != nil {
		return *refused
	}
	if !slices.Contains([]string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}, asked.Content) {
		return invalid("Reaction", "content", "invalid", "content is not one of GitHub's reactions")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, m := c.repository.comment(c.id("comment_id"))
	if m == nil {
		return notFound()
	}
	for _, old := range m.reactions {
		if old.user == c.author() && old.content == asked.Content {
			return reply{status: http.StatusOK, body: s.reactionObject(old)}
		}
	}
	given := &reaction{id: s.nextID(), user: c.author(), content: asked.Content, created: s.now()}
	m.reactions = append(m.reactions, given)
	return reply{status: http.StatusCreated, body: s.reactionObject(given), effect: asked.Content}
}

// findLabels finds labels by name and makes those that do not exist, as GitHub does. The caller holds mu.
func (s *Sandbox) findLabels(r *Repository, asked []labelAsked) []*label {
	var found []*label
	for _, name := range asked {
		i := slices.IndexFunc(r.labels, func(l *label) bool { return strings.EqualFold(l.name, string(name)) })
		if i < 0 {
			i = len(r.labels)
			r.labels = append(r.labels, &label{id: s.nextID(), name: string(name), color: "ededed"})
		}
		if !slices.Contains(found, r.labels[i]) {
			found = append(found, r.labels[i])
		}
	}
	return found
}

func (c *call) labels(labels []*label) reply {
	s := c.sandbox
	return list(c, labels, func(l *label) object { return s.labelObjects(c.repository, []*label{l})[0] })
}

func listLabels(c *call) reply {
	c.sandbox.mu.Lock()
	defer c.sandbox.mu.Unlock()
	return c.labels(c.repository.labels)
}

func createLabel(c *call) reply {
	s, r := c.sandbox, c.repository
	asked, refused := decode[struct {
		Name        string `json:"name"`
		Color       string `json:"color"`
		Description string `json:"description"`
	}](c)
	if refused != nil {
		return *refused
	}
	if asked.Name == "" {
		return invalid("Label", "name", "missing_field", "name can't be blank")
	}
	if asked.Color == "" {
		asked.Color = "ededed"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(r.labels, func(l *label) bool { return strings.EqualFold(l.name, asked.Name) }) {
		return invalid("Label", "name", "already_exists", "name is taken")
	}
	l := &label{id: s.nextID(), name: asked.Name, color: asked.Color, description: asked.Description}
	r.labels = append(r.labels, l)
	return reply{status: http.StatusCreated, body: s.labelObjects(r, []*label{l})[0], effect: words(l.name)}
}

func listIssueLabels(c *call) reply {
	c.sandbox.mu.Lock()
	defer c.sandbox.mu.Unlock()
	t := c.thread()
	if t == nil {
		return notFound()
	}
	return c.labels(t.labels)
}

// addIssueLabels takes a list of names, alone or in an object.
func addIssueLabels(c *call) reply {
	s, r := c.sandbox, c.repository
	var names []labelAsked
	if json.Unmarshal(c.body, &names) != nil {
		asked, refused := decode[issueRequest](c)
		if refused != nil {
			return *refused
		}
		names = deref(asked.Labels)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.thread()
	if t == nil {
		return notFound()
	}
	for _, l := range s.findLabels(r, names) {
		if !slices.Contains(t.labels, l) {
			t.labels = append(t.labels, l)
		}
	}
	answer := c.labels(t.labels)
	answer.effect = fmt.Sprintf("%q", names)
	return answer
}

func removeIssueLabel(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.thread()
	if t == nil {
		return notFound()
	}
	i := slices.IndexFunc(t.labels, func(l *label) bool { return strings.EqualFold(l.name, c.params["name"]) })
	if i < 0 {
		return problem(http.StatusNotFound, "Label does not exist")
	}
	t.labels = slices.Delete(t.labels, i, i+1)
	answer := c.labels(t.labels)
	answer.effect = "#" + strconv.Itoa(t.number)
	return answer
}
