package handlers

import (
	"context"
	"strings"
	"unicode"

	"github.com/switchyard-dev/switchyard/deploy"
)

// mergeQueuePrefix begins the branches that GitHub's merge queue makes and deletes for itself; they are
// seen through merge_group. See https://docs.github.com/en/webhooks/webhook-events-and-payloads#merge_group.
const mergeQueuePrefix = "gh-readonly-queue/"

// Push handles the event push. It has no actions: new, moved and deleted branches all matter, because an
// environment follows its branch. Tags do not: no environment follows one.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#push.
type Push struct{ accepter }

type pushEvent struct {
	envelope

	Ref    string `json:"ref"`
	Before string `json:"before"`
	After  string `json:"after"`
	Forced bool   `json:"forced"`
}

// Handles names the event.
func (h *Push) Handles() []string { return []string{"push"} }

// Handle accepts the delivery for the branch.
func (h *Push) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got pushEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	branch, ok := strings.CutPrefix(got.Ref, "refs/heads/")
	if !ok {
		return ignore(ctx, got.envelope, "not a branch")
	}
	if strings.HasPrefix(branch, mergeQueuePrefix) {
		return ignore(ctx, got.envelope, "a branch of the merge queue")
	}
	repo, err := got.repository(event)
	if err != nil {
		return err
	}
	if branch == "" || strings.ContainsFunc(branch, unicode.IsControl) {
		return &Malformed{Event: event, Reason: "the branch has a name that git does not allow"}
	}
	if !hexadecimal(got.Before) {
		return &Malformed{Event: event, Reason: "before is not a commit"}
	}
	if got.After != "" && !hexadecimal(got.After) {
		return &Malformed{Event: event, Reason: "after is not a commit"}
	}
	pushed := deploy.BranchPushed{
		Repository: repo, Branch: branch, Before: got.Before, After: got.After, Forced: got.Forced, Actor: got.Sender.Login,
	}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, pushed.Job())
}
