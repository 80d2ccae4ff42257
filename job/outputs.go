package job

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

// defaultResultDir is where the result is left, in the workspace: what a step of the host and a container both see.
const defaultResultDir = "switchyard-result"

// maxReason bounds an error that becomes a result, in bytes.
const maxReason = 4 << 10

func clip(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + " …"
}

// withoutToken takes the job's token out of a text.
func (p Parts) withoutToken(text string) string {
	secrets := []string{p.Machine.Token, p.Machine.Identity.Secret}
	if p.lent != nil {
		secrets = append(secrets, *p.lent)
	}
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// resultDir makes the directory of the result, anew: what an earlier step or an earlier job on this machine has left there would
// be taken for ours.
func (p Parts) resultDir() (string, error) {
	name := p.Env.input(inputResultDir)
	if name == "" {
		name = defaultResultDir
	}
	if !filepath.IsLocal(name) || filepath.Clean(name) == "." {
		return "", fmt.Errorf("input result-dir is %q; it must be a directory below the workspace", name)
	}
	root, err := os.OpenRoot(p.Machine.Workspace) // a link on the way must not lead out of the workspace
	if err != nil {
		return "", fmt.Errorf("open the workspace: %w", err)
	}
	defer func() { _ = root.Close() }() // only directories are made in it
	if err := root.RemoveAll(name); err != nil {
		return "", fmt.Errorf("remove what an earlier step left: %w", err)
	}
	const mode = 0o755 // the next step may run as somebody else
	if err := root.MkdirAll(name, mode); err != nil {
		return "", fmt.Errorf("make directory for the result: %w", err)
	}
	return filepath.Join(p.Machine.Workspace, name), nil
}

// summary writes the whole plan to a file and to the step's summary, and gives the file.
func (p Parts) summary(task operation.Task, result operation.Result, dir string) (string, error) {
	text := render.StepSummary(render.ApplyView{
		Operation: operation.Operation{
			ID: task.Operation, Kind: task.Kind, Repository: p.Machine.Repository, Environment: task.Environment, Attempt: task.Attempt,
			Branch: task.Job.Branch, Head: task.Commit, Started: result.Started, Ended: result.Ended, Result: &result,
			State: stateOf(task, result), Message: result.Error,
		},
		WebURL: p.Machine.Web, Now: result.Ended, Mask: task.Mask,
	})
	if aboutLocks(task.Kind) {
		text = p.lockSummary(task, result)
	}
	if strings.TrimSpace(text) == "" { // one sentence
		text = failureOf(task, result)
	}
	name := filepath.Join(dir, "summary.md")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // as the result
		return "", fmt.Errorf("write summary: %w", err)
	}
	if at := p.Env.get("GITHUB_STEP_SUMMARY"); at != "" {
		if err := appendTo(at, text+"\n"); err != nil {
			return "", fmt.Errorf("write the step's summary: %w", err)
		}
	}
	return name, nil
}

// outputsOf are the outputs of the action for a result.
func outputsOf(task operation.Task, result operation.Result) map[string]string {
	var sum operation.Counts
	var digests []string
	holder, changed := "", false
	for _, target := range result.Targets {
		sum.Add += target.ChangeSet.Counts.Add
		sum.Change += target.ChangeSet.Counts.Change
		sum.Destroy += target.ChangeSet.Counts.Destroy
		digests = append(digests, target.ChangeSet.Digest)
		changed = changed || target.Outcome != operation.Unchanged && len(target.ChangeSet.Changes)+target.ChangeSet.Omitted > 0
		if target.Lock != nil && holder == "" {
			holder = strings.Join(strings.Fields(target.Lock.Who), " ") // a line, whoever wrote it
		}
	}
	digest := result.Question
	if digest == "" && len(digests) == 1 {
		digest = digests[0]
	}
	said := map[string]string{
		"result": string(stateOf(task, result)), "digest": digest, "changed": strconv.FormatBool(changed), "lock-holder": holder,
		"add": strconv.Itoa(sum.Add), "change": strconv.Itoa(sum.Change), "destroy": strconv.Itoa(sum.Destroy),
		"environment": task.Environment,
	}
	if aboutLocks(task.Kind) {
		maps.Copy(said, lockOutputs(result))
	}
	return said
}

// stateOf is how a result ends its operation: what waits for a yes to a question that nobody has said yes to yet is unconfirmed.
func stateOf(task operation.Task, result operation.Result) operation.State {
	has := func(outcome operation.Outcome) bool {
		return slices.ContainsFunc(result.Targets, func(t operation.TargetResult) bool { return t.Outcome == outcome })
	}
	switch {
	case result.Stopped == "cancelled":
		return operation.Cancelled
	case result.Stopped != "", result.Error != "", has(operation.TargetFailed), has(operation.Locked), has(operation.OtherLock):
		return operation.Failed
	case has(operation.Different), has(operation.TargetStopped) && result.Question != "" && result.Question != task.Confirmed:
		return operation.Unconfirmed
	case has(operation.TargetStopped):
		return operation.Failed // the server did not confirm it
	default:
		return operation.Succeeded
	}
}

func endedWell(task operation.Task, result operation.Result) bool {
	return stateOf(task, result) == operation.Succeeded
}

// failureOf says in a sentence or two how an operation ended that did not end well.
func failureOf(task operation.Task, result operation.Result) string {
	switch stateOf(task, result) {
	case operation.Cancelled:
		return "The " + string(task.Kind) + " was stopped."
	case operation.Unconfirmed:
		return "Nothing was applied to " + task.Environment + ": the plan has changes that wait for a person. The pull request shows them."
	case operation.Queued, operation.Running, operation.Succeeded, operation.Failed, operation.Interrupted, operation.Gathered,
		operation.Superseded:
	}
	if result.Error != "" {
		return result.Error
	}
	for _, target := range result.Targets {
		if target.Outcome == operation.TargetFailed || target.Outcome == operation.Locked {
			break // more than a sentence
		}
		if target.Error != "" {
			return clip(target.Error)
		}
	}
	return "The " + string(task.Kind) + " of " + task.Environment + " failed. The summary of this job shows where."
}

// note writes a line that GitHub shows with the run.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
func (p Parts) note(level, text string) {
	text = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(p.withoutToken(text))
	_, _ = fmt.Fprintf(p.Out, "::%s title=Switchyard::%s\n", level, text)
}

// outputs writes the outputs of the step. A value that has the delimiter in it cannot end it: the delimiter is random.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings
func (p Parts) outputs(values map[string]string) error {
	at := p.Env.get("GITHUB_OUTPUT")
	if at == "" {
		return nil
	}
	end := uuid.NewString()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&text, "%s<<%s\n%s\n%s\n", name, end, values[name], end)
	}
	if err := appendTo(at, text.String()); err != nil {
		return fmt.Errorf("write the outputs: %w", err)
	}
	return nil
}

// appendTo adds to a file that GitHub's runner made.
func appendTo(name, text string) (err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) //nolint:gosec // the runner's own file
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteString(text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
