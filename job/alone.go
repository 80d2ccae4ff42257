package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// Without a server, what a job has to do follows from the event that started its workflow.

// maxEvent bounds the file of the event, in bytes.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap.
const maxEvent = 25 << 20

// The inputs of the action that a job alone reads, beside those of room operation.
const (
	inputRoot    = "root"
	commandAuto  = "auto"
	commandPlan  = string(operation.Plan)
	commandApply = string(operation.Apply)
)

// Event is what started the workflow, with what its file says that the job should do.
type Event struct {
	Name    string
	Payload []byte
	SHA     string // that the run is of
	Actor   string // who started this attempt

	Command     string // auto, plan or apply
	Environment string // that the job is for; empty: whichever the branch belongs to
	Commit      string // to be applied; empty: SHA
	Digest      string // that somebody said yes to
}

// ReadEvent reads the event of a job. The error says what is wrong with an input.
func ReadEvent(env Environ) (Event, error) {
	e := Event{
		Name: env.get("GITHUB_EVENT_NAME"), SHA: env.get("GITHUB_SHA"), Actor: env.get("GITHUB_TRIGGERING_ACTOR"),
		Command: env.input(operation.InputCommand), Environment: env.input(operation.InputEnvironment),
		Commit: env.input(operation.InputSHA), Digest: env.input(operation.InputDigest),
	}
	if e.Command == "" {
		e.Command = commandAuto
	}
	if err := usualConfig(env); err != nil {
		return e, err
	}
	name := env.get("GITHUB_EVENT_PATH")
	file, err := os.Open(name) //nolint:gosec // GitHub's runner names it
	if err != nil {
		return e, fmt.Errorf("GITHUB_EVENT_PATH: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	if e.Payload, err = io.ReadAll(io.LimitReader(file, maxEvent+1)); err != nil {
		return e, fmt.Errorf("read the event: %w", err)
	}
	if len(e.Payload) > maxEvent {
		return e, fmt.Errorf("the event has more than %d bytes", maxEvent)
	}
	return e, nil
}

// Wish is what an event asks of a job: one of its fields is set.
type Wish struct {
	Nothing string // why there is nothing to do, one or two sentences
	Look    bool   // what a server does when it gets this event
	Plan    string // head of open pull requests, which are to be planned once more
	Apply   *Apply
}

// Apply is a commit of a branch that is to be applied.
type Apply struct {
	Branch, Commit string
	Before         string // tip of the branch before; all zeros where it is new or not known
	Forced         bool
	Actor          string
	Digest         string // that somebody said yes to
	Comment        int64  // in which they did; 0: Actor did, by hand
	Environment    string // that was asked for; empty: whichever the branch deploys to
}

const zeroCommit = "0000000000000000000000000000000000000000"

var (
	commitName = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
	digestName = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
)

// payload is what of GitHub's events matters here.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads.
type payload struct {
	Action  string `json:"action"`
	Ref     string `json:"ref"`
	Before  string `json:"before"`
	Forced  bool   `json:"forced"`
	Deleted bool   `json:"deleted"`

	PullRequest struct {
		Head struct {
			Repo *struct {
				ID int64 `json:"id"`
			} `json:"repo"`
		} `json:"head"`
	} `json:"pull_request"`
	Comment struct {
		Body string `json:"body"`
	} `json:"comment"`
	Inputs map[string]any `json:"inputs"`
}

// Wish is what the event asks for. The error is for who wrote the workflow file or started it.
func (e Event) Wish(repo operation.Repository) (Wish, error) {
	switch e.Command {
	case commandAuto, commandPlan, commandApply:
	default:
		return Wish{}, fmt.Errorf("input command is %q; without a server it is auto, plan or apply", e.Command)
	}
	var p payload
	if err := json.Unmarshal(e.Payload, &p); err != nil {
		return Wish{}, fmt.Errorf("read the event: %w", err)
	}
	switch e.Name {
	case "pull_request":
		return e.look(p, repo), nil
	case "merge_group", "issue_comment":
		return e.look(p, repo), nil
	case "push":
		return e.push(p)
	case "workflow_dispatch":
		return e.dispatched(p)
	case "pull_request_target":
		return Wish{}, errors.New("this action does not work on pull_request_target: it would give credentials to code that nobody merged. " +
			"Use pull_request")
	default:
		return Wish{Nothing: "The event " + quote(e.Name) + " asks for nothing here."}, nil
	}
}

// look is what an event asks for that a server would get as a webhook.
func (e Event) look(p payload, repo operation.Repository) Wish {
	nothing := func(why string) Wish { return Wish{Nothing: why} }
	if e.Name == "issue_comment" {
		if p.Action != "created" || !strings.HasPrefix(p.Comment.Body, "/") {
			return nothing("Only a new comment that begins with a slash is a command.")
		}
		return Wish{Look: true}
	}
	switch {
	case e.Command == commandApply:
		return nothing("This job only applies, and " + e.Name + " asks for a plan.")
	case e.Name == "merge_group":
		return Wish{Look: true}
	case p.Action == "closed":
		return nothing("The pull request was closed: a merge is applied by the push that follows it.")
	case p.PullRequest.Head.Repo == nil || p.PullRequest.Head.Repo.ID != repo.ID:
		return nothing("This pull request comes from a fork. It gets no plan: its code would run with this repository's credentials, " +
			"and GitHub gives its runs none. A maintainer who has read it can push it to a branch of this repository.")
	}
	return Wish{Look: true}
}

func (e Event) push(p payload) (Wish, error) {
	branch, isBranch := strings.CutPrefix(p.Ref, "refs/heads/")
	switch {
	case !isBranch || branch == "":
		return Wish{Nothing: "No environment follows a tag."}, nil
	case p.Deleted:
		return Wish{Nothing: "The branch " + quote(branch) + " was deleted: what it applied stays."}, nil
	case strings.HasPrefix(branch, "gh-readonly-queue/"):
		return Wish{Nothing: "A branch of the merge queue deploys nothing."}, nil
	case e.Command == commandPlan:
		return Wish{Nothing: "This job only plans, and a push asks for an apply."}, nil
	case !commitName.MatchString(p.Before):
		return Wish{}, fmt.Errorf("the push says that the branch was at %s before, which is no commit", quote(p.Before))
	}
	commit, err := e.commit()
	return Wish{Apply: &Apply{Branch: branch, Commit: commit, Before: p.Before, Forced: p.Forced, Actor: e.Actor}}, err
}

func (e Event) dispatched(p payload) (Wish, error) {
	branch, isBranch := strings.CutPrefix(p.Ref, "refs/heads/")
	if !isBranch || branch == "" {
		return Wish{}, fmt.Errorf("this run was started on %s; start it on the branch of an environment", quote(p.Ref))
	}
	commit, err := e.commit()
	if err != nil {
		return Wish{}, err
	}
	if e.Command == commandPlan {
		return Wish{Plan: commit}, nil
	}
	apply := &Apply{Branch: branch, Commit: commit, Before: zeroCommit, Actor: e.Actor, Digest: strings.ToLower(e.Digest)}
	if apply.Digest != "" && !digestName.MatchString(apply.Digest) {
		return Wish{}, fmt.Errorf("input digest is %s; the comment that asks for a yes shows it", quote(e.Digest))
	}
	apply.Environment, _ = p.Inputs[operation.InputEnvironment].(string)
	if comment, _ := p.Inputs[InputComment].(string); comment != "" {
		if apply.Comment, err = strconv.ParseInt(comment, 10, 64); err != nil || apply.Comment <= 0 {
			return Wish{}, fmt.Errorf("input %s is %s, not the number of a comment", InputComment, quote(comment))
		}
	}
	return Wish{Apply: apply}, nil
}

// InputComment is the input of the workflow, not of the action, with the number of the comment that led to a dispatch.
const InputComment = "comment"

func (e Event) commit() (string, error) {
	commit := e.SHA
	if e.Commit != "" {
		commit = e.Commit
	}
	if !commitName.MatchString(commit) {
		return "", fmt.Errorf("input sha, or GITHUB_SHA, is %s, not the full name of a commit", quote(commit))
	}
	return commit, nil
}

// WorkflowFile is the file below .github/workflows that a job's workflow is in.
func WorkflowFile(env Environ) (string, error) {
	path, _, _ := strings.Cut(env.get("GITHUB_WORKFLOW_REF"), "@")
	_, file, ok := strings.Cut(path, "/.github/workflows/")
	if !ok || file == "" || strings.Contains(file, "/") {
		return "", fmt.Errorf("GITHUB_WORKFLOW_REF is %q; it names no workflow file", env.get("GITHUB_WORKFLOW_REF"))
	}
	return file, nil
}

// IsOf reports whether GitHub's path of a run's workflow is that of a file below .github/workflows.
func IsOf(path, workflow string) bool { return isOf(path, workflow) }

// FirstRoot is the root that a job should plan before the others.
func FirstRoot(env Environ) string { return env.input(inputRoot) }

// EnvironmentOf is the GitHub Environment that the job works in, where it may ask GitHub for that.
func EnvironmentOf(ctx context.Context, github GitHub, machine Machine) (environment string, known bool, err error) {
	said, known, err := (&gatherer{github: github}).identity(ctx, machine.Identity)
	return said.Environment, known, err
}

// TerraformEnv is what Terraform sees of the job's variables. all lists them as NAME=VALUE.
func TerraformEnv(env Environ, all []string) (map[string]string, error) {
	return terraformEnv(env, all)
}

// Dir is where a job keeps what it makes.
func (p Parts) Dir() string { return p.dir() }

func (p Parts) dir() string {
	if dir := p.Env.input(inputDirectories); dir != "" {
		return filepath.Join(dir, "switchyard")
	}
	return filepath.Join(p.Machine.Temp, "switchyard")
}

// Confirmed reads the comment in which a person is said to have said yes, and gives that person. The error says why it does not count.
func Confirmed(ctx context.Context, github GitHub, repo operation.Repository, config repoconfig.Config, environment string, apply Apply,
) (string, error) {
	g := &gatherer{github: github, repo: repo}
	task := operation.Task{Environment: environment, Job: &operation.Job{Words: []operation.Word{{Comment: apply.Comment}}}}
	words, err := g.words(ctx, task)
	if err != nil {
		return "", err
	}
	said := words[0]
	switch {
	case !said.found:
		return "", errors.New("the comment that is said to ask for this is gone")
	case said.edited:
		return "", errors.New("the comment that is said to ask for this was edited")
	case said.discount(config, commandApply) != "":
		return "", errors.New("the comment that is said to ask for this is no `/apply` of a person who may give it")
	case said.command.Environment != environment, !strings.EqualFold(said.command.Digest, apply.Digest):
		return "", errors.New("the comment that is said to ask for this asks for something else")
	}
	return said.author, nil
}

// TellNothing says that there was nothing to do, in the log, the outputs and the summary.
func (p Parts) TellNothing(why string) error {
	p.note("notice", why)
	if err := p.summarize(why); err != nil {
		return err
	}
	return p.outputs(map[string]string{"result": "skipped", "changed": "false"})
}

// TellFailed says why nothing was begun, and gives ErrNotDone.
func (p Parts) TellFailed(why string) error { return p.tellNotDone(operation.Failed, why) }

// TellStopped is TellFailed of a job that GitHub has cancelled.
func (p Parts) TellStopped(why string) error { return p.tellNotDone(operation.Cancelled, why) }

func (p Parts) tellNotDone(state operation.State, why string) error {
	why = clip(p.withoutToken(why))
	p.note("error", why)
	if err := p.summarize(why); err != nil {
		return err
	}
	if err := p.outputs(map[string]string{"result": string(state), "changed": "false"}); err != nil {
		return err
	}
	return ErrNotDone
}

func (p Parts) summarize(text string) error {
	at := p.Env.get("GITHUB_STEP_SUMMARY")
	if at == "" {
		return nil
	}
	if err := appendTo(at, "### Switchyard\n\n"+text+"\n\n"); err != nil {
		return fmt.Errorf("write the step's summary: %w", err)
	}
	return nil
}

// TellEnd says how an operation ended, in the log, the outputs and the summary. The error is ErrNotDone where it did not end well.
func (p Parts) TellEnd(op operation.Operation, mask []string) error {
	dir, err := p.resultDir()
	if err != nil {
		return err
	}
	result := operation.Result{
		Version: operation.ContractVersion, Operation: op.ID, Commit: op.Head, Error: op.Message, Started: op.Started, Ended: op.Ended,
	}
	if op.Result != nil {
		result = *op.Result
	}
	text := render.StepSummary(render.ApplyView{Operation: op, WebURL: p.Machine.Web, Now: op.Ended, Mask: mask})
	head := fmt.Sprintf("### %s of %s: %s\n\n", op.Kind, op.Environment, op.State)
	if op.Message != "" {
		head += op.Message + "\n\n"
	}
	name := filepath.Join(dir, "summary.md")
	if err := os.WriteFile(name, []byte(head+text), 0o644); err != nil { //nolint:gosec // it holds nothing secret, and others read it
		return fmt.Errorf("write summary: %w", err)
	}
	data, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, operation.ResultFile), data, 0o644); err != nil { //nolint:gosec // as above
		return fmt.Errorf("write result: %w", err)
	}
	if at := p.Env.get("GITHUB_STEP_SUMMARY"); at != "" {
		if err := appendTo(at, head+text+"\n"); err != nil {
			return fmt.Errorf("write the step's summary: %w", err)
		}
	}
	said := outputsOf(operation.Task{Kind: op.Kind, Environment: op.Environment}, result)
	said["result"], said["summary-path"] = string(op.State), name
	if op.Question != "" {
		said["digest"] = op.Question
	}
	said["unsaved-artifact"] = p.moveUnsaved(dir, result)
	if err := p.outputs(said); err != nil {
		return err
	}
	if op.State == operation.Succeeded {
		return nil
	}
	p.note("error", endOf(op))
	return ErrNotDone
}

// endOf says how an operation ended that did not end well, and what to do.
func endOf(op operation.Operation) string {
	text := op.Message
	if text == "" {
		text = fmt.Sprintf("The %s of %s ended as %s.", op.Kind, op.Environment, op.State)
	}
	switch {
	case op.State == operation.Unconfirmed && op.Question != "":
		return fmt.Sprintf("%s Nothing was changed. Read what is asked, then comment `/apply %s %s` on the pull request, "+
			"or start this workflow on %s with this digest.", text, op.Environment, op.Question[:min(len(op.Question), shortDigest)], op.Branch)
	case op.State == operation.Unconfirmed:
		return text + " Nothing was changed."
	default:
		return text
	}
}
