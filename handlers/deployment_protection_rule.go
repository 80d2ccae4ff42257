package handlers

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/deploy"
)

// deploymentRuleActions are the actions on a deployment protection rule that somebody waits for, and why.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#deployment_protection_rule.
var deploymentRuleActions = map[string]string{
	"requested": "a job waits for Switchyard's word, for 30 days if it must",
}

// Bounds on what is read of the event, in bytes.
const (
	maxCallback    = 1_000
	maxEnvironment = 255 // https://docs.github.com/en/actions/how-tos/deploy/configure-and-manage-deployments/manage-environments
)

// callback has the API's address, the repository and the run of a callback address. It is never called: the run is asked for at the
// GitHub that the settings name.
var callback = regexp.MustCompile(
	`^(https?://[^/?#\s]+(?:/api/v3)?)/repos/([^/?#\s]+/[^/?#\s]+)/actions/runs/(\d{1,18})/deployment_protection_rule$`)

const callbackParts = 4 // the whole, and the three

// DeploymentProtectionRule handles the event deployment_protection_rule.
type DeploymentProtectionRule struct{ accepter }

type deploymentProtectionRuleEvent struct {
	envelope

	Environment string `json:"environment"`
	Callback    string `json:"deployment_callback_url"`
}

// Handles names the event.
func (h *DeploymentProtectionRule) Handles() []string { return []string{"deployment_protection_rule"} }

// Handle accepts the delivery for the run that the callback address names. The event has no other place for its id.
func (h *DeploymentProtectionRule) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got deploymentProtectionRuleEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := deploymentRuleActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "nobody waits for an answer to the action")
	}
	repo, err := got.repository(event)
	if err != nil {
		return err
	}
	if got.Environment == "" || len(got.Environment) > maxEnvironment {
		return &Malformed{Event: event, Reason: "the environment has no name, or one that is too long"}
	}
	if len(got.Callback) > maxCallback {
		return &Malformed{Event: event, Reason: "the callback address is too long"}
	}
	parts := callback.FindStringSubmatch(got.Callback)
	if len(parts) != callbackParts || !strings.EqualFold(parts[2], repo.FullName()) {
		return &Malformed{Event: event, Reason: "the callback address is not that of a run of the repository"}
	}
	run, _ := strconv.ParseInt(parts[3], 10, 64) // 18 digits always fit
	if run == 0 {
		return &Malformed{Event: event, Reason: "the callback address has no run"}
	}
	return h.accept(ctx, event, deliveryID, payload, got.envelope,
		deploy.GateAsked{Repository: repo, Run: run, Environment: got.Environment, API: parts[1]}.Job())
}
