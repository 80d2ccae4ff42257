package handlers

import (
	"context"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/operation"
)

// workflowRunActions are the actions on a workflow run after which whoever waits for it looks at it, and why.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#workflow_run.
var workflowRunActions = map[string]string{
	"requested":   "it may be the run whose dispatch got no answer",
	"in_progress": "a runner has taken it",
	"completed":   "its result is there",
}

// byDispatch is the event of the runs that Switchyard starts.
const byDispatch = "workflow_dispatch"

// WorkflowRun handles the event workflow_run.
type WorkflowRun struct{ accepter }

type workflowRunEvent struct {
	envelope

	Run struct {
		ID    int64  `json:"id"`
		Event string `json:"event"`
		Title string `json:"display_title"` // what `run-name` of the workflow gives
	} `json:"workflow_run"`
}

// Handles names the event.
func (h *WorkflowRun) Handles() []string { return []string{"workflow_run"} }

// Handle accepts the delivery for the run. What became of it is not taken from it: GitHub is asked.
func (h *WorkflowRun) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got workflowRunEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := workflowRunActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "the action changes nothing that is waited for")
	}
	if got.Run.Event != byDispatch {
		return ignore(ctx, got.envelope, "Switchyard did not start it") // the repository's own tests run far more often
	}
	repo, err := got.repository(event)
	if err != nil {
		return err
	}
	if got.Run.ID <= 0 {
		return &Malformed{Event: event, Reason: "the run has no id"}
	}
	seen := deploy.RunSeen{Repository: repo, Run: got.Run.ID}
	if _, ours := operation.ParseRunName(got.Run.Title); ours {
		seen.Name = got.Run.Title
	}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, seen.Job())
}
