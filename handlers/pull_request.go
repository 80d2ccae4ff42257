package handlers

import (
	"context"

	"github.com/switchyard-dev/switchyard/deploy"
)

// pullRequestActions are the actions on a pull request after which it must be looked at again, and why.
// All others (labels, assignees, reviewers, drafts) change neither what it deploys nor whether it may.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request.
var pullRequestActions = map[string]string{
	"opened":      "a new head",
	"synchronize": "a new head",
	"reopened":    "its old plan may be stale",
	"edited":      "its base, and so its environment, may have changed",
	"closed":      "merged or given up: its waiting operations end",
}

// PullRequest handles the event pull_request.
type PullRequest struct{ accepter }

type pullRequestEvent struct {
	envelope

	Number  int `json:"number"`
	Changes struct {
		Base *struct{} `json:"base"` // only on edited: the base branch changed
	} `json:"changes"`
	PullRequest struct {
		User struct {
			Type string `json:"type"`
		} `json:"user"`
	} `json:"pull_request"`
}

// Handles names the event.
func (h *PullRequest) Handles() []string { return []string{"pull_request"} }

// Handle accepts the delivery for the pull request.
func (h *PullRequest) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got pullRequestEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := pullRequestActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "the action changes nothing that is deployed")
	}
	if got.Action == "edited" && got.Changes.Base == nil {
		return ignore(ctx, got.envelope, "the base stayed the same")
	}
	repo, err := got.repository(event)
	if err != nil {
		return err
	}
	if got.Number <= 0 {
		return &Malformed{Event: event, Reason: "it has no number"}
	}
	seen := deploy.PullSeen{
		Repository: repo, Number: got.Number, Closed: got.Action == "closed", Bot: got.PullRequest.User.Type == "Bot",
	}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, seen.Job())
}
