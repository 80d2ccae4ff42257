package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v66/github"

	"github.com/switchyard-dev/switchyard/operation"
)

// maxJobPages bounds the jobs that are read of one run: 300, and a run has 256 at most.
const maxJobPages = 3

// Dispatch is what a workflow run is asked for with.
type Dispatch struct {
	Workflow string            // file below .github/workflows
	Ref      string            // branch
	Inputs   map[string]string // at most 25
}

// Dispatched is the run that GitHub has made; zero where it does not say which.
type Dispatched struct {
	Run int64
	URL string // its page
}

// DispatchProblem is why GitHub refuses a dispatch, and will until a person changes something.
type DispatchProblem string

// The problems of a dispatch.
const (
	NoWorkflow  DispatchProblem = "no workflow"   // not on the default branch, or Actions is disabled
	NoRef       DispatchProblem = "no ref"        // the branch does not exist
	NoTrigger   DispatchProblem = "no trigger"    // the workflow file at the ref has no workflow_dispatch
	WrongInputs DispatchProblem = "wrong inputs"  // it has other inputs
	Disabled    DispatchProblem = "disabled"      // the workflow is disabled
	NoPower     DispatchProblem = "no permission" // the App lacks a permission
	Forbidden   DispatchProblem = "forbidden"     // a policy does not let the App start runs
	OtherWise   DispatchProblem = "other"         // see its words
)

// DispatchRefused is a dispatch that GitHub refused. Nothing runs.
type DispatchRefused struct {
	Problem DispatchProblem
	Words   string // GitHub's, one line
	Needs   string // permission that the App lacks, where GitHub says which
}

func (d *DispatchRefused) Error() string {
	return fmt.Sprintf("GitHub refused the dispatch (%s): %s", d.Problem, d.Words)
}

// errOldServer says that GitHub does not know how to tell which run a dispatch has made.
var errOldServer = errors.New("GitHub does not know return_run_details")

// Dispatch asks for a workflow run. On a GitHub that does not know how to say which run that is, it costs a second call.
// The error is *DispatchRefused where GitHub said no; after an error that is neither that nor *Wait, a run may exist.
// See https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event.
func (h *Hub) Dispatch(ctx context.Context, repo operation.Repository, d Dispatch) (Dispatched, error) {
	made, err := h.dispatch(ctx, repo, d, true)
	if errors.Is(err, errOldServer) {
		return h.dispatch(ctx, repo, d, false)
	}
	return made, err
}

func (h *Hub) dispatch(ctx context.Context, repo operation.Repository, d Dispatch, details bool) (Dispatched, error) {
	body := map[string]any{"ref": d.Ref, "inputs": d.Inputs}
	if details {
		body["return_run_details"] = true
	}
	var got struct {
		Run int64  `json:"workflow_run_id"`
		URL string `json:"html_url"`
	}
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodPost, route: "repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches",
		args: []string{repo.Owner, repo.Name, d.Workflow}, body: body, out: &got,
		do: "start", thing: fmt.Sprintf("workflow %s of %s", harmless(d.Workflow), repo.FullName()),
		explain: dispatchRefused,
	})
	return Dispatched{Run: got.Run, URL: got.URL}, err
}

// dispatchRefused reads why GitHub said no. Its words are not documented; what is not recognised is passed on as it is.
func dispatchRefused(a answer) error {
	lower := strings.ToLower(a.message)
	refused := &DispatchRefused{Problem: OtherWise, Words: a.reason(http.StatusText(a.status))}
	switch a.status {
	case http.StatusNotFound:
		refused.Problem = NoWorkflow
	case http.StatusForbidden:
		refused.Problem = Forbidden
		if strings.Contains(lower, "not accessible by integration") {
			refused.Problem, refused.Needs = NoPower, permissions(a.header.Get("X-Accepted-Github-Permissions"))
		}
		if strings.Contains(lower, "suspended") || strings.Contains(lower, "archived") || strings.Contains(lower, "ip allow list") {
			return nil
		}
	case http.StatusUnprocessableEntity:
		switch {
		case strings.Contains(lower, "return_run_details"):
			return errOldServer
		case strings.Contains(lower, "no ref found"):
			refused.Problem = NoRef
		case strings.Contains(lower, "trigger"):
			refused.Problem = NoTrigger
		case strings.Contains(lower, "input"):
			refused.Problem = WrongInputs
		}
		if strings.Contains(lower, "disabled workflow") {
			refused.Problem = Disabled
		}
	default:
		return nil
	}
	return refused
}

// The states of a workflow run and of a job that are of interest; GitHub has more.
// See https://docs.github.com/en/rest/actions/workflow-runs#get-a-workflow-run.
const (
	RunQueued         = "queued"
	RunRequested      = "requested"
	RunPending        = "pending"
	RunWaiting        = "waiting" // for a reviewer or another rule of an environment
	RunInProgress     = "in_progress"
	RunActionRequired = "action_required" // a person has to allow it, as state or as conclusion
	RunCancelled      = "cancelled"
)

// WorkflowJob is one job of a run.
type WorkflowJob struct {
	Name       string
	Status     string
	Conclusion string   // empty until it is completed
	Began      bool     // a runner has taken it
	Labels     []string // that its runner must have
	URL        string   // its page
	Runner     string   // the name of the one that has taken it
	Started    time.Time
}

// WorkflowJobs lists the jobs of the newest attempt of a run.
// See https://docs.github.com/en/rest/actions/workflow-jobs#list-jobs-for-a-workflow-run.
func (h *Hub) WorkflowJobs(ctx context.Context, repo operation.Repository, run int64) ([]WorkflowJob, error) {
	return h.jobs(ctx, repo, request{
		route: "repos/{owner}/{repo}/actions/runs/{run_id}/jobs", args: []string{repo.Owner, repo.Name, strconv.FormatInt(run, 10)},
		thing: fmt.Sprintf("the jobs of workflow run %d of %s", run, repo.FullName()),
	})
}

// FirstJobs lists the jobs that a run had before anybody started it again.
// See https://docs.github.com/en/rest/actions/workflow-jobs#list-jobs-for-a-workflow-run-attempt.
func (h *Hub) FirstJobs(ctx context.Context, repo operation.Repository, run int64) ([]WorkflowJob, error) {
	return h.jobs(ctx, repo, request{
		route: "repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs",
		args:  []string{repo.Owner, repo.Name, strconv.FormatInt(run, 10), "1"},
		thing: fmt.Sprintf("the jobs of the first attempt of workflow run %d of %s", run, repo.FullName()),
	})
}

// jobs lists the jobs that a request names.
func (h *Hub) jobs(ctx context.Context, repo operation.Repository, of request) ([]WorkflowJob, error) {
	var got github.Jobs
	var all []WorkflowJob
	of.method, of.do, of.out = http.MethodGet, "list", &got
	_, err := h.list(ctx, repo.Installation, of, maxJobPages, func() bool {
		for _, job := range got.Jobs {
			began := job.GetRunnerID() != 0 || job.GetRunnerName() != "" || job.GetStatus() == RunInProgress ||
				slices.ContainsFunc(job.Steps, func(s *github.TaskStep) bool { return s.GetStatus() != RunQueued && s.GetStatus() != RunPending })
			all = append(all, WorkflowJob{
				Name: harmless(job.GetName()), Status: job.GetStatus(), Conclusion: job.GetConclusion(), Began: began,
				Labels: job.Labels, URL: job.GetHTMLURL(), Runner: job.GetRunnerName(), Started: job.GetStartedAt().Time,
			})
		}
		got = github.Jobs{}
		return true
	})
	return all, err
}

// DownloadArtifact gives the zip archive of an artifact of at most limit bytes. GitHub answers with an address elsewhere that
// needs no token, is valid for a minute, and is asked without one.
// See https://docs.github.com/en/rest/actions/artifacts#download-an-artifact.
func (h *Hub) DownloadArtifact(ctx context.Context, repo operation.Repository, id, limit int64) ([]byte, error) {
	thing := fmt.Sprintf("artifact %d of %s", id, repo.FullName())
	var location string
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/actions/artifacts/{artifact_id}/zip",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10)}, location: &location,
		do: "download", thing: thing,
	})
	if err != nil {
		return nil, err
	}
	address, err := url.Parse(location)
	if err != nil || address.Host == "" || address.User != nil || (address.Scheme != "https" && address.Scheme != h.api.Scheme) {
		return nil, fmt.Errorf("download %s: GitHub gives no address that can be asked", thing)
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("download %s: make the request: %w", thing, withoutAddress(err))
	}
	req.Header.Set("User-Agent", h.agent)
	response, err := (&http.Client{Transport: h.edge.next, CheckRedirect: stay}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("download %s: %w", thing, withoutAddress(err))
	}
	defer discard(response)
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("download %s: the storage answers %d", thing, response.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("download %s: %w", thing, withoutAddress(err))
	}
	if int64(len(data)) > limit {
		return nil, &NeedsPerson{
			What:   fmt.Sprintf("The %s is larger than %d bytes.", thing, limit),
			Remedy: "Look at who wrote it: Switchyard writes none of that size.",
		}
	}
	return data, nil
}

// withoutAddress takes the address out of an error, because whoever has it can download.
func withoutAddress(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// stay keeps a client from following where an answer leads.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// send makes a request, and follows where its answer leads within GitHub's API, unless it is to be told.
func (c *client) send(req *http.Request, tell bool) (*http.Response, error) {
	if !tell {
		return c.http.Do(req) //nolint:wrapcheck // call says what was asked
	}
	return (&http.Client{Transport: c.http.Transport, CheckRedirect: stay}).Do(req) //nolint:wrapcheck // as above
}

// CancelRun asks GitHub to end a run: gently, so that its jobs are told to stop and have some seconds for it, or by force. A run
// that has ended already is no error.
// See https://docs.github.com/en/rest/actions/workflow-runs#cancel-a-workflow-run.
func (h *Hub) CancelRun(ctx context.Context, repo operation.Repository, id int64, force bool) error {
	route, do := "repos/{owner}/{repo}/actions/runs/{run_id}/cancel", "cancel"
	if force {
		route, do = "repos/{owner}/{repo}/actions/runs/{run_id}/force-cancel", "force the end of"
	}
	ended := errors.New("ended")
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodPost, route: route, args: []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10)}, mustFollow: true,
		do: do, thing: fmt.Sprintf("workflow run %d of %s", id, repo.FullName()),
		explain: func(a answer) error {
			if a.status == http.StatusConflict {
				return ended
			}
			return nil
		},
	})
	if errors.Is(err, ended) {
		return nil
	}
	return err
}

// Environment is a GitHub Environment.
type Environment struct {
	Made    time.Time // when it was made
	Limited bool      // only some branches may use it
}

// HasEnvironment reports whether a repository has a GitHub Environment of that name. One that a workflow names and that is
// not there would be made without any protection.
func (h *Hub) HasEnvironment(ctx context.Context, repo operation.Repository, name string) (bool, error) {
	_, there, err := h.Environment(ctx, repo, name)
	return there, err
}

// Environment reads a GitHub Environment; false where there is none of that name.
// See https://docs.github.com/en/rest/deployments/environments#get-an-environment.
func (h *Hub) Environment(ctx context.Context, repo operation.Repository, name string) (Environment, bool, error) {
	var got struct {
		Created time.Time `json:"created_at"`
		Policy  *struct{} `json:"deployment_branch_policy"`
	}
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/environments/{environment_name}",
		args: []string{repo.Owner, repo.Name, name}, out: &got,
		do: "look for", thing: fmt.Sprintf("environment %s of %s", harmless(name), repo.FullName()),
	})
	if _, gone := errors.AsType[*Gone](err); gone {
		return Environment{}, false, nil
	}
	return Environment{Made: got.Created, Limited: got.Policy != nil}, err == nil, err
}

// BotLogin is the login under which the App acts. GitHub is asked once.
func (h *Hub) BotLogin(ctx context.Context) (string, error) {
	h.mu.Lock()
	known := h.bot
	h.mu.Unlock()
	if known != "" {
		return known, nil
	}
	app, err := h.App(ctx)
	if err != nil {
		return "", err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bot = app.Slug + "[bot]"
	return h.bot, nil
}
