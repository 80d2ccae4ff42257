package handlers

import (
	"context"

	"github.com/switchyard-dev/switchyard/deploy"
)

// reviewActions are the actions on a review after which its pull request must be looked at again, and why.
// An edited review has another text, and the same state.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request_review.
var reviewActions = map[string]string{
	"submitted": "it may complete the approvals that an operation waits for, or take one back",
	"dismissed": "an approval may be gone",
}

// reviewComment is the state of a review that neither approves nor requests changes.
const reviewComment = "commented"

// PullRequestReview handles the event pull_request_review.
type PullRequestReview struct{ accepter }

type pullRequestReviewEvent struct {
	envelope

	Review struct {
		State string `json:"state"`
	} `json:"review"`
	PullRequest struct {
		Number int `json:"number"`
	} `json:"pull_request"`
}

// Handles names the event.
func (h *PullRequestReview) Handles() []string { return []string{"pull_request_review"} }

// Handle accepts the delivery for the pull request. Who reviewed, and what, is not taken from it: GitHub is asked.
func (h *PullRequestReview) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got pullRequestReviewEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := reviewActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "the action changes no approval")
	}
	if got.Action == "submitted" && got.Review.State == reviewComment {
		return ignore(ctx, got.envelope, "a comment neither gives nor takes back an approval")
	}
	repo, err := got.repository(event)
	if err != nil {
		return err
	}
	if got.PullRequest.Number <= 0 {
		return &Malformed{Event: event, Reason: "the pull request has no number"}
	}
	// Also a closed one is looked at: an apply of what was merged may wait for this approval.
	seen := deploy.PullSeen{Repository: repo, Number: got.PullRequest.Number}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, seen.Job())
}
