package handlers

import (
	"context"

	"github.com/switchyard-dev/switchyard/deploy"
)

// installationRepositoriesActions are the actions that matter, and why: all that GitHub knows. See
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#installation_repositories.
var installationRepositoriesActions = map[string]string{
	"added":   "repositories are new",
	"removed": "repositories are out of reach",
}

// InstallationRepositories handles the event installation_repositories.
type InstallationRepositories struct{ accepter }

type installationRepositoriesEvent struct {
	envelope

	Added   []named `json:"repositories_added"`
	Removed []named `json:"repositories_removed"`
}

// Handles names the event.
func (h *InstallationRepositories) Handles() []string { return []string{"installation_repositories"} }

// Handle accepts the delivery for the installation.
func (h *InstallationRepositories) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got installationRepositoriesEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := installationRepositoriesActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "no repository came or went")
	}
	if got.Installation.ID <= 0 {
		return &Malformed{Event: event, Reason: "it has no installation"}
	}
	added, err := got.repositories(event, got.Added)
	if err != nil {
		return err
	}
	removed, err := got.repositories(event, got.Removed)
	if err != nil {
		return err
	}
	installed := deploy.Installed{Installation: got.Installation.ID, Added: added, Removed: removed}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, installed.Job())
}
