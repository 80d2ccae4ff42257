package handlers

import (
	"context"
	"strings"
	"unicode"

	"github.com/switchyard-dev/switchyard/deploy"
)

// mergeGroupActions are the actions on a merge group that need an answer, and why. A destroyed one needs
// none: whatever became of it, the push that follows a merge says so.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#merge_group.
var mergeGroupActions = map[string]string{
	"checks_requested": "the queue waits for our checks",
}

// MergeGroup handles the event merge_group.
type MergeGroup struct{ accepter }

type mergeGroupEvent struct {
	envelope

	MergeGroup struct {
		HeadSHA string `json:"head_sha"`
		BaseRef string `json:"base_ref"`
	} `json:"merge_group"`
}

// Handles names the event.
func (h *MergeGroup) Handles() []string { return []string{"merge_group"} }

// Handle accepts the delivery for the merge group.
func (h *MergeGroup) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got mergeGroupEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := mergeGroupActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "the group needs no answer")
	}
	repo, err := got.repository(event)
	if err != nil {
		return err
	}
	base, ok := strings.CutPrefix(got.MergeGroup.BaseRef, "refs/heads/")
	if !ok || base == "" || strings.ContainsFunc(base, unicode.IsControl) {
		return &Malformed{Event: event, Reason: "base_ref is not a branch"}
	}
	if !hexadecimal(got.MergeGroup.HeadSHA) {
		return &Malformed{Event: event, Reason: "head_sha is not a commit"}
	}
	queued := deploy.GroupQueued{Repository: repo, Base: base, Head: got.MergeGroup.HeadSHA}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, queued.Job())
}
