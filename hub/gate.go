package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v66/github"

	"github.com/switchyard-dev/switchyard/operation"
)

// ErrNothingWaits says that GitHub has no job of that run which waits for the App's word on that environment: not yet, although its
// webhook came, or not any more.
var ErrNothingWaits = errors.New("no job waits for an answer")

// ErrReportsUsedUp says that GitHub takes no further report about a waiting deployment.
var ErrReportsUsedUp = errors.New("no further report is taken")

// The states of an answer. Without one it is a report.
const (
	GateApproved = "approved"
	GateRejected = "rejected"
)

// Bounds on what a look for waiting runs reads.
const (
	maxWaitingPages = 3   // of runs: at most 300
	maxPending      = 100 // environments of one run
)

// IsAPI reports whether an address is the root of the REST API that this hub calls, without its trailing slash.
func (h *Hub) IsAPI(address string) bool { return strings.TrimRight(h.api.String(), "/") == address }

// AnswerGate answers the App's own deployment protection rule for an environment of a run: with GateApproved, GateRejected, or, with
// state "", a report. It returns ErrNothingWaits or ErrReportsUsedUp where GitHub says so.
// See https://docs.github.com/en/rest/actions/workflow-runs#review-custom-deployment-protection-rules-for-a-workflow-run.
func (h *Hub) AnswerGate(ctx context.Context, repo operation.Repository, run int64, environment, state, comment string) error {
	body := map[string]string{"environment_name": environment, "comment": comment}
	if state != "" {
		body["state"] = state
	}
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodPost, route: "repos/{owner}/{repo}/actions/runs/{run_id}/deployment_protection_rule",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(run, 10)}, body: body, mustFollow: state != "",
		do: "answer", thing: fmt.Sprintf("the wait of run %d of %s for %s", run, repo.FullName(), harmless(environment)),
		explain: func(a answer) error {
			switch lower := strings.ToLower(a.message); {
			case a.status != http.StatusUnprocessableEntity:
				return nil
			case strings.Contains(lower, "status report") || strings.Contains(lower, "maximum number"):
				return ErrReportsUsedUp
			default: // its words are not documented; a wrong name of an environment is told alike
				return ErrNothingWaits
			}
		},
	})
	return err
}

// WaitingRuns lists the runs of a repository that wait for a rule of an environment.
// See https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-repository.
func (h *Hub) WaitingRuns(ctx context.Context, repo operation.Repository) ([]Run, error) {
	var got struct {
		Runs []Run `json:"workflow_runs"`
	}
	var found []Run
	_, err := h.list(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/actions/runs", args: []string{repo.Owner, repo.Name}, out: &got,
		query: url.Values{"status": {RunWaiting}}, do: "list", thing: "the waiting runs of " + repo.FullName(),
	}, maxWaitingPages, func() bool {
		found = append(found, got.Runs...)
		got.Runs = nil
		return true
	})
	return found, err
}

// PendingEnvironments lists the environments on whose rules a run waits.
// See https://docs.github.com/en/rest/actions/workflow-runs#get-pending-deployments-for-a-workflow-run.
func (h *Hub) PendingEnvironments(ctx context.Context, repo operation.Repository, run int64) ([]string, error) {
	var got []struct {
		Environment struct {
			Name string `json:"name"`
		} `json:"environment"`
	}
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/actions/runs/{run_id}/pending_deployments",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(run, 10)}, out: &got,
		do: "list", thing: fmt.Sprintf("what run %d of %s waits for", run, repo.FullName()),
	})
	var names []string
	for _, pending := range got[:min(len(got), maxPending)] {
		if pending.Environment.Name != "" {
			names = append(names, pending.Environment.Name)
		}
	}
	return names, err
}

// Gated reports whether jobs that name a GitHub Environment wait for the App's word. *Gone says that there is no such environment.
// See https://docs.github.com/en/rest/deployments/protection-rules#get-all-deployment-protection-rules-for-an-environment.
func (h *Hub) Gated(ctx context.Context, repo operation.Repository, environment string) (bool, error) {
	bot, err := h.BotLogin(ctx)
	if err != nil {
		return false, err
	}
	var got struct {
		Rules []struct {
			Enabled bool `json:"enabled"`
			App     struct {
				Slug string `json:"slug"`
			} `json:"app"`
		} `json:"custom_deployment_protection_rules"`
	}
	_, err = h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/environments/{environment_name}/deployment_protection_rules",
		args: []string{repo.Owner, repo.Name, environment}, out: &got,
		do: "read", thing: fmt.Sprintf("the rules of environment %s of %s", harmless(environment), repo.FullName()),
	})
	for _, rule := range got.Rules {
		if rule.Enabled && rule.App.Slug+"[bot]" == bot {
			return true, nil
		}
	}
	return false, err
}

// ReadToken buys a token with which the contents of these repositories of an installation can be read, and nothing else. It is valid
// for an hour, and nobody else has it. *NeedsPerson or *Gone says that the installation does not have all of them.
// See https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app.
func (h *Hub) ReadToken(ctx context.Context, installation int64, names []string) (token string, expires time.Time, err error) {
	if len(names) == 0 || installation == theApp || h.bearer != "" {
		return "", time.Time{}, errors.New("a token to read repositories has to name an installation and some of its repositories")
	}
	client, err := h.client(installation)
	if err != nil {
		return "", time.Time{}, err
	}
	call := request{
		method: http.MethodPost, route: tokenRoute, do: "get a token for", thing: harmless(strings.Join(names, ", ")),
	}
	if err := client.blocked(h.clock.Now(), core); err != nil {
		return "", time.Time{}, err
	}
	ctx, cancel := context.WithTimeout(withLabels(ctx, installation, tokenRoute), h.timeout)
	defer cancel()
	transport := h.installation(h.edge, installation, &github.InstallationTokenOptions{
		Repositories: names, Permissions: &github.InstallationPermissions{Contents: new("read")},
	})
	if token, err = transport.Token(ctx); err != nil {
		return "", time.Time{}, h.fault(client, call, err)
	}
	expires, _, err = transport.Expiry()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("get a token for %s: %w", call.thing, err)
	}
	return token, expires, nil
}
