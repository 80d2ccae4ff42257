package handlers

import (
	"context"

	"github.com/switchyard-dev/switchyard/deploy"
)

// workflowJobActions are the actions on a job after which whoever waits for its run looks at it, and why. That a job is queued,
// begins and ends is told of its run too, and every job of every workflow sends these.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#workflow_job.
var workflowJobActions = map[string]string{
	"waiting": "it waits for a reviewer, or for another rule of its environment",
}

// WorkflowJob handles the event workflow_job.
type WorkflowJob struct{ accepter }

type workflowJobEvent struct {
	envelope

	Job struct {
		Run int64 `json:"run_id"`
	} `json:"workflow_job"`
}

// Handles names the event.
func (h *WorkflowJob) Handles() []string { return []string{"workflow_job"} }

// Handle accepts the delivery for the job's run.
func (h *WorkflowJob) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got workflowJobEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := workflowJobActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "its run tells that, too")
	}
	repo, err := got.repository(event)
	if err != nil {
		return err
	}
	if got.Job.Run <= 0 {
		return &Malformed{Event: event, Reason: "the job has no run"}
	}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, deploy.RunSeen{Repository: repo, Run: got.Job.Run}.Job())
}
