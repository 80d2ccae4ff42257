package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// unfit says why a run is not the one that was dispatched for an attempt; empty when it is.
func unfit(seen hub.Run, row operation.WorkflowRun, bot string) string {
	job := row.Task.Job
	path, _, _ := strings.Cut(seen.Path, "@")
	switch {
	case row.Run != 0 && seen.ID != row.Run:
		return fmt.Sprintf("GitHub answers with run %d for run %d", seen.ID, row.Run)
	case path != ".github/workflows/"+job.Workflow:
		return fmt.Sprintf("it is of another workflow file, `%s`", clip(path))
	case seen.Event != "workflow_dispatch":
		return fmt.Sprintf("the event `%s` started it", clip(seen.Event))
	case seen.Branch != job.Ref:
		return fmt.Sprintf("it is on the branch `%s`, not on `%s`", clip(seen.Branch), job.Ref)
	case seen.Attempt != 1:
		return "somebody ran it again by hand"
	case !madeBy(seen, bot):
		return fmt.Sprintf("`%s` started it, not Switchyard", clip(seen.Triggering.Login))
	case row.Head != "" && seen.SHA != row.Head:
		return "its commit is another one than before"
	default:
		return ""
	}
}

// madeBy reports whether the App dispatched a run, and nobody else started it again.
func madeBy(seen hub.Run, bot string) bool {
	return seen.Event == "workflow_dispatch" && strings.EqualFold(seen.Actor.Login, bot) && strings.EqualFold(seen.Triggering.Login, bot)
}

// clip bounds a name of somebody else's.
func clip(text string) string {
	const most = 100
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strings.ReplaceAll(text, "`", "'")
}

// collect takes the results of a run that has ended. It reports whether there is nothing more to wait for.
func (r *run) collect(ctx context.Context, seen hub.Run, row operation.WorkflowRun) (operation.Result, bool, error) {
	left, err := r.a.GitHub.Artifacts(ctx, row.Task.Repository, row.Run)
	if err != nil {
		return operation.Result{}, false, fmt.Errorf("list what the run has left: %w", err)
	}
	task := row.Task
	results, problems := make([]*operation.Result, len(task.Job.Shards)), make([]string, len(task.Job.Shards))
	taken := 0
	for i := range task.Job.Shards {
		result, problem, err := r.take(ctx, task, i, seen, left)
		if err != nil {
			return operation.Result{}, false, err
		}
		if results[i], problems[i] = result, problem; result != nil {
			taken++
		}
	}
	if taken == len(results) || taken > 0 && !task.Kind.Exclusive() {
		for _, problem := range slices.DeleteFunc(slices.Clone(problems), func(p string) bool { return p == "" }) {
			zerolog.Ctx(ctx).Warn().Int64("run", row.Run).Str("reason", problem).Msg("a job left no result that can be taken")
		}
		return merge(task, results, problems), true, nil
	}
	for _, problem := range problems {
		if problem != "" && problem != noResult {
			return operation.Result{}, true, &executor.InterruptedError{
				Words: true, Reason: "The result of its workflow run is not taken: " + problem + ".",
			}
		}
	}
	jobs, err := r.a.GitHub.FirstJobs(ctx, task.Repository, row.Run)
	if err != nil {
		return operation.Result{}, false, fmt.Errorf("look which jobs of the run began: %w", err)
	}
	began := anyBegan(jobs)
	return operation.Result{}, true, &executor.InterruptedError{
		Words: true, Untouched: !began, Cancelled: seen.Conclusion == hub.RunCancelled, Reason: withoutResult(seen, task, began),
	}
}

// noResult says that a job has left nothing.
const noResult = "it left none"

// take reads the result of one job. problem is why there is none; err is for what may go well another time.
func (r *run) take(ctx context.Context, task operation.Task, shard int, seen hub.Run, left []hub.Artifact) (
	result *operation.Result, problem string, err error,
) {
	name := operation.ArtifactName(task, shard)
	var found []hub.Artifact
	for _, artifact := range left {
		if artifact.Name == name {
			found = append(found, artifact)
		}
	}
	switch {
	case len(found) == 0:
		return nil, noResult, nil
	case len(found) > 1:
		return nil, fmt.Sprintf("there are %d of the name `%s`", len(found), name), nil
	case found[0].Size > maxArchive:
		return nil, fmt.Sprintf("`%s` has %d bytes, and at most %d are taken", name, found[0].Size, maxArchive), nil
	case found[0].Expired:
		return nil, fmt.Sprintf("`%s` has expired", name), nil
	}
	archive, err := r.a.GitHub.DownloadArtifact(ctx, task.Repository, found[0].ID, maxArchive)
	person, gone := (*hub.NeedsPerson)(nil), (*hub.Gone)(nil)
	switch {
	case errors.As(err, &person):
		return nil, strings.TrimRight(person.What, "."), nil
	case errors.As(err, &gone):
		return nil, fmt.Sprintf("somebody deleted `%s`", name), nil
	case err != nil:
		return nil, "", fmt.Errorf("download the result: %w", err)
	}
	data, err := unpack(archive)
	if err != nil {
		return nil, fmt.Sprintf("`%s`: %s", name, err), nil
	}
	got, err := read(data, task, shard)
	if err != nil {
		return nil, fmt.Sprintf("`%s`: %s", name, err), nil
	}
	if task.Kind.Exclusive() && seen.SHA != task.Commit && changed(got) {
		return nil, fmt.Sprintf("the branch had moved to %.7s, and yet %.7s was worked with", seen.SHA, task.Commit), nil
	}
	return &got, "", nil
}

// changed reports whether an exclusive operation says that it changed anything.
func changed(result operation.Result) bool {
	return slices.ContainsFunc(result.Targets, func(t operation.TargetResult) bool {
		broke := t.Broken != nil && (t.Broken.Taken || t.Broken.How != operation.ReleasedNot)
		return t.Outcome == operation.Applied || t.Timings.Apply > 0 || broke
	})
}

// merge puts the results of jobs together, with the targets in configuration order. Where a plan's job left none, its targets failed.
func merge(task operation.Task, results []*operation.Result, problems []string) operation.Result {
	whole := operation.Result{
		Version: task.Version, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch, Commit: task.Commit,
	}
	of := map[operation.Target]operation.TargetResult{}
	for i, result := range results {
		if result == nil {
			for _, target := range shardTargets(task, i) {
				of[target] = operation.TargetResult{
					Target: target, Outcome: operation.TargetFailed, Error: "The job that looked at it has no result that is taken: " + problems[i] + ".",
				}
			}
			continue
		}
		for _, target := range result.Targets {
			of[target.Target] = target
		}
		add(&whole, *result)
	}
	for _, target := range task.Targets {
		if result, ok := of[target.Target]; ok {
			whole.Targets = append(whole.Targets, result)
		}
	}
	return whole
}

// add puts what a job says of itself to what the others say.
func add(whole *operation.Result, result operation.Result) {
	for _, tool := range result.Tools {
		if !slices.Contains(whole.Tools, tool) {
			whole.Tools = append(whole.Tools, tool)
		}
	}
	whole.Question = cmp.Or(result.Question, whole.Question)
	whole.Error = cmp.Or(whole.Error, result.Error)
	whole.Stopped = cmp.Or(whole.Stopped, result.Stopped)
	if whole.Started.IsZero() || result.Started.Before(whole.Started) {
		whole.Started = result.Started
	}
	if result.Ended.After(whole.Ended) {
		whole.Ended = result.Ended
	}
}

// shardTargets are the targets of one job, in configuration order.
func shardTargets(task operation.Task, shard int) []operation.Target {
	var targets []operation.Target
	for _, target := range task.Targets {
		if slices.Contains(task.Job.Shards[shard], target.Target.Root) {
			targets = append(targets, target.Target)
		}
	}
	return targets
}
