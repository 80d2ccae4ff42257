package handlers

import (
	"context"

	"github.com/switchyard-dev/switchyard/deploy"
)

// installationActions are the actions on an installation that matter, and why. A suspended one needs
// nothing done: each call that is tried meanwhile says so by itself, and what is known must be kept.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#installation.
var installationActions = map[string]string{
	"created":                  "its repositories are new",
	"unsuspend":                "what happened meanwhile was not told",
	"new_permissions_accepted": "what was refused may be allowed now",
	"deleted":                  "its repositories are out of reach",
}

// Installation handles the event installation.
type Installation struct{ accepter }

type installationEvent struct {
	envelope

	Repositories []named `json:"repositories"`
}

// Handles names the event.
func (h *Installation) Handles() []string { return []string{"installation"} }

// Handle accepts the delivery for the installation.
func (h *Installation) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got installationEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := installationActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "what is known of its repositories stays true")
	}
	if got.Installation.ID <= 0 {
		return &Malformed{Event: event, Reason: "it has no installation"}
	}
	listed, err := got.repositories(event, got.Repositories)
	if err != nil {
		return err
	}
	installed := deploy.Installed{Installation: got.Installation.ID, Added: listed}
	if got.Action == "deleted" {
		installed.Added, installed.Removed = nil, listed
	}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, installed.Job())
}
