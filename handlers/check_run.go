package handlers

import (
	"context"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/queue"
)

// checkRunActions are the actions on a check run after which its pull requests are planned anew, and why.
// GitHub sends both only to the App that owns the check run; all others report what we wrote ourselves.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#check_run.
var checkRunActions = map[string]string{
	"rerequested":      "a person clicked Re-run",
	"requested_action": "a person clicked one of our buttons",
}

// CheckRun handles the event check_run.
type CheckRun struct{ accepter }

type checkRunEvent struct {
	envelope

	CheckRun struct {
		HeadSHA      string `json:"head_sha"`
		PullRequests []struct {
			Number int `json:"number"`
			Base   struct {
				Repository struct {
					ID int64 `json:"id"`
				} `json:"repo"`
			} `json:"base"`
		} `json:"pull_requests"`
	} `json:"check_run"`
}

// Handles names the event.
func (h *CheckRun) Handles() []string { return []string{"check_run"} }

// Handle accepts the delivery for each pull request of this repository that the check run is shown on; where GitHub names
// none, for the commit.
func (h *CheckRun) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got checkRunEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := checkRunActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "nobody asked for anything")
	}
	repo, err := got.repository(event)
	if err != nil {
		return err
	}
	if got.Sender.Login == "" {
		return &Malformed{Event: event, Reason: "it does not say who clicked"}
	}
	var jobs []queue.Job
	for _, pull := range got.CheckRun.PullRequests {
		if pull.Base.Repository.ID != 0 && pull.Base.Repository.ID != repo.ID {
			continue // the same commit is the head of a pull request elsewhere
		}
		if pull.Number <= 0 {
			return &Malformed{Event: event, Reason: "a pull request has no number"}
		}
		jobs = append(jobs, deploy.PullSeen{Repository: repo, Number: pull.Number, Again: got.Sender.Login}.Job())
	}
	if len(jobs) == 0 {
		// GitHub names no pull request for a head in a fork.
		// See the property pull_requests in https://docs.github.com/en/rest/checks/runs#get-a-check-run.
		if !hexadecimal(got.CheckRun.HeadSHA) {
			return &Malformed{Event: event, Reason: "it names neither a pull request nor a commit"}
		}
		jobs = append(jobs, deploy.PullSeen{Repository: repo, Head: got.CheckRun.HeadSHA, Again: got.Sender.Login}.Job())
	}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, jobs...)
}
