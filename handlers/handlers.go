// Package handlers is where GitHub's webhooks come in: one file per event names it, says which of its
// actions matter and why, and turns them into jobs; edge.go is the HTTP side. A handler's only act is
// Inbox.Accept, one transaction. It decides nothing, calls nobody and does no work. Package server serves
// what NewEdge makes.
package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/palantir/go-githubapp/githubapp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// Inbox keeps deliveries and their jobs.
type Inbox interface {
	// Accept commits the delivery and its jobs together. The same GUID again is not fresh and adds nothing.
	Accept(ctx context.Context, delivery store.Delivery, jobs []queue.Job) (fresh bool, err error)
}

// All is one handler for each event that the App receives.
func All(inbox Inbox) []githubapp.EventHandler {
	to := accepter{inbox: inbox}
	return []githubapp.EventHandler{
		&PullRequest{to}, &PullRequestReview{to}, &Push{to}, &IssueComment{to}, &CheckRun{to}, &MergeGroup{to},
		&WorkflowRun{to}, &WorkflowJob{to}, &DeploymentProtectionRule{to},
		&Installation{to}, &InstallationRepositories{to}, &Ping{},
	}
}

// Malformed is a payload that is signed and yet not what GitHub documents. It is answered with 400.
type Malformed struct {
	Event  string
	Reason string
}

func (m *Malformed) Error() string { return fmt.Sprintf("malformed %s: %s", m.Event, m.Reason) }

// envelope is what all payloads have. See
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-object-common-properties.
type envelope struct {
	Action       string `json:"action"`
	Installation struct {
		ID int64 `json:"id"`
	} `json:"installation"`
	Repository named `json:"repository"`
	Sender     struct {
		Login string `json:"login"`
	} `json:"sender"`
}

// named is a repository in a payload.
type named struct {
	ID       int64  `json:"id"`
	FullName string `json:"full_name"`
}

// read decodes a payload.
func read(event string, payload []byte, into any) error {
	if err := json.Unmarshal(payload, into); err != nil {
		return &Malformed{Event: event, Reason: err.Error()}
	}
	return nil
}

// repository is the repository that the event is about.
func (e envelope) repository(event string) (operation.Repository, error) {
	return e.named(event, e.Repository)
}

func (e envelope) named(event string, n named) (operation.Repository, error) {
	repo, err := operation.ParseFullName(n.FullName)
	switch {
	case err != nil:
		return repo, &Malformed{Event: event, Reason: err.Error()}
	case n.ID <= 0:
		return repo, &Malformed{Event: event, Reason: "the repository has no id"}
	case e.Installation.ID <= 0:
		return repo, &Malformed{Event: event, Reason: "it has no installation; send the App's own webhook here, not a repository's"}
	case strings.ContainsFunc(n.FullName, unicode.IsControl):
		return repo, &Malformed{Event: event, Reason: "the repository's name has control characters"}
	}
	repo.ID, repo.Installation = n.ID, e.Installation.ID
	return repo, nil
}

// repositories are those that an installation event lists.
func (e envelope) repositories(event string, list []named) ([]operation.Repository, error) {
	var all []operation.Repository
	for _, n := range list {
		repo, err := e.named(event, n)
		if err != nil {
			return nil, err
		}
		all = append(all, repo)
	}
	return all, nil
}

// hexadecimal reports whether s is the full name of a git object: SHA-1 or SHA-256.
func hexadecimal(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// accepter hands deliveries to the inbox, and tells the edge what became of them.
type accepter struct{ inbox Inbox }

func (a accepter) accept(ctx context.Context, event, deliveryID string, payload []byte, head envelope, jobs ...queue.Job) error {
	note := noteOf(ctx)
	note.action, note.repository = head.Action, head.Repository.FullName
	for i := range jobs {
		jobs[i].Cause = deliveryID
		var about struct {
			Number int `json:"number"`
		}
		if json.Unmarshal(jobs[i].Payload, &about) == nil && about.Number != 0 {
			note.number = about.Number
		}
	}
	fresh, err := a.inbox.Accept(ctx, store.Delivery{
		GUID: deliveryID, Event: event, Action: head.Action,
		Installation: head.Installation.ID, Repository: head.Repository.ID, Payload: payload,
	}, jobs)
	if err != nil {
		return fmt.Errorf("accept %s: %w", event, err)
	}
	note.outcome = duplicate
	if fresh {
		note.outcome = accepted
	}
	return nil
}

// ignore says why nothing is kept of this delivery.
func ignore(ctx context.Context, head envelope, why string) error {
	note := noteOf(ctx)
	note.action, note.repository = head.Action, head.Repository.FullName
	note.outcome, note.why = ignored, why
	return nil
}

// note is what a handler tells the edge about a delivery, for its log line and its counters.
type note struct {
	action, repository string
	number             int // of the pull request or issue; 0 for none
	outcome            outcome
	why                string
}

type noteKey struct{}

// noteOf is the note in the context; outside of the edge it is one that nobody reads.
func noteOf(ctx context.Context) *note {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		return n
	}
	return &note{}
}
