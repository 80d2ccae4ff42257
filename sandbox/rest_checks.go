package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// The limits of check runs. https://docs.github.com/en/rest/checks/runs#create-a-check-run
const (
	maxCheckText         = 65_535
	maxCheckTitle        = 255
	maxCheckActions      = 3
	maxActionLabel       = 20
	maxActionDescription = 40
	maxActionIdentifier  = 20
)

type checkRequest struct {
	Name        *string        `json:"name"`
	HeadSHA     *string        `json:"head_sha"`
	DetailsURL  *string        `json:"details_url"`
	ExternalID  *string        `json:"external_id"`
	Status      *string        `json:"status"`
	Conclusion  *string        `json:"conclusion"`
	StartedAt   *time.Time     `json:"started_at"`
	CompletedAt *time.Time     `json:"completed_at"`
	Output      *checkOutput   `json:"output"`
	Actions     *[]CheckAction `json:"actions"`
}

type checkOutput struct {
	Title   *string `json:"title"`
	Summary *string `json:"summary"`
	Text    *string `json:"text"`
}

// refuse says what GitHub would not take of a check run.
func (q checkRequest) refuse() *reply {
	fail := func(format string, values ...any) *reply {
		p := problem(http.StatusUnprocessableEntity, "Invalid request.\n\n"+fmt.Sprintf(format, values...))
		return &p
	}
	statuses := []string{"queued", "in_progress", "completed"}
	conclusions := []string{"action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"}
	switch {
	case q.Status != nil && !slices.Contains(statuses, *q.Status):
		return fail("%q is not a member of %q.", *q.Status, statuses)
	case q.Conclusion != nil && !slices.Contains(conclusions, *q.Conclusion):
		return fail("%q is not a member of %q.", *q.Conclusion, conclusions)
	case q.Conclusion == nil && (q.CompletedAt != nil || q.Status != nil && *q.Status == "completed"):
		return fail("Missing required parameter 'conclusion': a completed check run needs one.")
	}
	if o := q.Output; o != nil {
		switch {
		case o.Title == nil || o.Summary == nil:
			return fail("\"title\", \"summary\" weren't supplied.")
		case utf8.RuneCountInString(*o.Title) > maxCheckTitle:
			return fail("Title is too long (maximum is %d characters).", maxCheckTitle)
		}
		for _, text := range []*string{o.Summary, o.Text} {
			if text != nil && utf8.RuneCountInString(*text) > maxCheckText {
				return fail("Only %d characters are allowed; %d were supplied.", maxCheckText, utf8.RuneCountInString(*text))
			}
		}
	}
	if q.Actions != nil && len(*q.Actions) > maxCheckActions {
		return fail("No more than %d items are allowed; %d were supplied.", maxCheckActions, len(*q.Actions))
	}
	for _, a := range deref(q.Actions) {
		if utf8.RuneCountInString(a.Label) > maxActionLabel || utf8.RuneCountInString(a.Description) > maxActionDescription ||
			utf8.RuneCountInString(a.Identifier) > maxActionIdentifier || a.Label == "" || a.Description == "" || a.Identifier == "" {
			return fail("An action has a label of 1 to %d, a description of 1 to %d and an identifier of 1 to %d characters.",
				maxActionLabel, maxActionDescription, maxActionIdentifier)
		}
	}
	return nil
}

func deref[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

func set[T any](into, value *T) {
	if value != nil {
		*into = *value
	}
}

// apply changes a check run as asked.
func (q checkRequest) apply(c *check, now time.Time) {
	set(&c.Name, q.Name)
	set(&c.DetailsURL, q.DetailsURL)
	set(&c.ExternalID, q.ExternalID)
	set(&c.StartedAt, q.StartedAt)
	set(&c.Status, q.Status)
	if q.Conclusion != nil {
		c.Status, c.Conclusion = "completed", *q.Conclusion
	}
	if c.Status == "completed" {
		set(&c.CompletedAt, q.CompletedAt)
		if c.CompletedAt.IsZero() {
			c.CompletedAt = now
		}
	} else {
		c.Conclusion, c.CompletedAt = "", time.Time{}
	}
	if o := q.Output; o != nil {
		c.Title, c.Summary, c.Text = deref(o.Title), deref(o.Summary), deref(o.Text)
	}
	if q.Actions != nil {
		c.Actions = slices.Clone(*q.Actions)
	}
	c.updated = now
}

// effect is the state of a check in a few words.
func (c *check) effect() string {
	if c.Conclusion != "" {
		return c.Name + ": " + c.Conclusion
	}
	return c.Name + ": " + c.Status
}

func createCheck(c *call) reply {
	s, r := c.sandbox, c.repository
	asked, refused := decode[checkRequest](c)
	if refused != nil {
		return *refused
	}
	if deref(asked.Name) == "" || asked.HeadSHA == nil {
		return problem(http.StatusUnprocessableEntity, "Invalid request.\n\n\"name\", \"head_sha\" weren't supplied.")
	}
	if refused := asked.refuse(); refused != nil {
		return *refused
	}
	sha := *asked.HeadSHA
	if _, err := s.git.resolve(c.request.Context(), r.dir, sha); err != nil || !isSHA(sha) {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	run := &check{
		Check: Check{
			ID: s.nextID(), HeadSHA: sha, Status: "queued", StartedAt: now, DetailsURL: s.url + "/apps/" + appSlug, App: appSlug,
		},
		created: now, actions: c.byJob(),
	}
	if run.actions {
		run.App = actionsSlug
	}
	for _, other := range r.checks {
		if other.HeadSHA == sha && other.actions == run.actions {
			run.suite = other.suite
		}
	}
	if run.suite == 0 {
		run.suite = s.nextID()
	}
	asked.apply(run, now)
	r.checks = append(r.checks, run)
	s.emit(r, c.author(), "check_run", "created", object{"check_run": s.checkEventObject(r, run)})
	s.emitCompleted(r, c.author(), run, "")
	return reply{status: http.StatusCreated, body: s.checkObject(r, run), effect: run.effect()}
}

// emitCompleted sends check_run.completed when a check became completed. The caller holds mu.
func (s *Sandbox) emitCompleted(r *Repository, by *account, run *check, before string) {
	if run.Status == "completed" && before != "completed" {
		s.emit(r, by, "check_run", "completed", object{"check_run": s.checkEventObject(r, run)})
	}
}

func getCheck(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	run := c.repository.checkRun(c.id("check_run_id"))
	if run == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.checkObject(c.repository, run)}
}

func updateCheck(c *call) reply {
	s, r := c.sandbox, c.repository
	asked, refused := decode[checkRequest](c)
	if refused != nil {
		return *refused
	}
	if refused := asked.refuse(); refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	run := r.checkRun(c.id("check_run_id"))
	if run == nil {
		return notFound()
	}
	if run.actions != c.byJob() {
		return problem(http.StatusForbidden, "Invalid app_id - check run can only be modified by the GitHub App that created it.")
	}
	before := run.Status
	asked.apply(run, s.now())
	run.Updates++
	s.emitCompleted(r, c.author(), run, before)
	return reply{status: http.StatusOK, body: s.checkObject(r, run), effect: run.effect()}
}

// appID is the App that the check is of, as a query names it.
func (c *check) appID() string {
	if c.actions {
		return strconv.Itoa(actionsAppID)
	}
	return strconv.Itoa(appID)
}

func listChecks(c *call) reply {
	s, r := c.sandbox, c.repository
	sha, err := s.git.resolve(c.request.Context(), r.dir, c.params["ref"])
	if err != nil {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.params["ref"])
	}
	query := c.request.URL.Query()
	name, status, app := query.Get("check_name"), query.Get("status"), query.Get("app_id")
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*check
	seen := map[string]bool{}
	for _, run := range slices.Backward(r.checks) {
		if run.HeadSHA != sha || name != "" && run.Name != name || app != "" && app != run.appID() {
			continue
		}
		key := run.appID() + " " + run.Name
		if query.Get("filter") != "all" && seen[key] {
			continue // "latest" is the default: the newest of each name and App
		}
		seen[key] = true
		if status == "" || run.Status == status {
			found = append(found, run)
		}
	}
	answer := list(c, found, func(run *check) object { return s.checkObject(r, run) })
	answer.body = object{"total_count": len(found), "check_runs": answer.body}
	return answer
}
