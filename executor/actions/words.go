package actions

import (
	"fmt"
	"strings"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// inWords says why GitHub did not start a workflow, and what to do.
func inWords(refused hub.DispatchRefused, task operation.Task) error {
	repo, job := task.Repository.FullName(), task.Job
	again := "comment `" + task.Kind.Again(task.Environment) + "`"
	said := " (GitHub says: " + strings.TrimRight(refused.Words, ".") + ")."
	switch refused.Problem {
	case hub.NoWorkflow:
		return &hub.NeedsPerson{
			What: fmt.Sprintf("GitHub finds no workflow `.github/workflows/%s` on the default branch of %s, or Actions is disabled there.",
				job.Workflow, repo),
			Remedy: "Bring the workflow file of Switchyard to the default branch and allow Actions in the repository's settings, " +
				"then " + again + ".",
		}
	case hub.NoRef:
		if !task.Kind.Exclusive() {
			return &hub.NeedsPerson{
				What: fmt.Sprintf("Plans run on the branch `%s`, which %s does not have.", job.Ref, repo),
				Remedy: fmt.Sprintf("Make it with `git push origin origin/HEAD:refs/heads/%s`, protect it like the default branch, then %s.",
					job.Ref, again),
			}
		}
		return &hub.NeedsPerson{
			What:   fmt.Sprintf("The branch `%s` does not exist in %s any more.", job.Ref, repo),
			Remedy: fmt.Sprintf("Make it again with `git push origin %s:refs/heads/%s`, then %s.", task.Commit, job.Ref, again),
		}
	case hub.NoTrigger:
		return &hub.NeedsPerson{
			What:   fmt.Sprintf("The workflow `%s` cannot be started by Switchyard as it is on `%s`%s", job.Workflow, job.Ref, said),
			Remedy: fmt.Sprintf("Bring the workflow file of Switchyard, with `on: workflow_dispatch`, to `%s`, then %s.", job.Ref, again),
		}
	case hub.WrongInputs:
		return &hub.NeedsPerson{
			What:   fmt.Sprintf("The workflow `%s` on `%s` has other inputs than this server gives%s", job.Workflow, job.Ref, said),
			Remedy: fmt.Sprintf("Bring the workflow file of the server's release to `%s`, then %s.", job.Ref, again),
		}
	case hub.Disabled:
		return &hub.NeedsPerson{
			What:   fmt.Sprintf("The workflow `%s` of %s is disabled.", job.Workflow, repo),
			Remedy: fmt.Sprintf("Enable it with `gh workflow enable %s --repo %s`, then %s.", job.Workflow, repo, again),
		}
	case hub.NoPower:
		needs := refused.Needs
		if needs == "" {
			needs = `"Actions: write"`
		}
		return &hub.NeedsPerson{
			What:   fmt.Sprintf("Switchyard may not start workflows in %s.", repo),
			Remedy: fmt.Sprintf("Give the App the permission %s, accept it in the settings of its installation, then %s.", needs, again),
		}
	case hub.Forbidden:
		return &hub.NeedsPerson{
			What: fmt.Sprintf("A policy of GitHub does not let Switchyard start `%s` in %s%s", job.Workflow, repo, said),
			Remedy: "Allow the App, and the event workflow_dispatch, under Actions in the settings of the repository or organisation, " +
				"then " + again + ".",
		}
	case hub.OtherWise:
	}
	return &hub.NeedsPerson{
		What:   fmt.Sprintf("GitHub refused to start the workflow `%s` on `%s` of %s%s", job.Workflow, job.Ref, repo, said),
		Remedy: "Change what GitHub names, then " + again + ".",
	}
}

// where says what a run that has not ended waits for or does; empty where nothing is worth telling.
func where(seen hub.Run, task operation.Task, jobs []hub.WorkflowJob, long string) string {
	environment := ""
	if task.Job.Environment != "" {
		environment = " of the GitHub Environment `" + task.Job.Environment + "`"
	}
	switch seen.Status {
	case hub.RunActionRequired:
		return "GitHub asks a person to allow the workflow run first."
	case hub.RunWaiting:
		return "The workflow run waits for a reviewer, or for another rule" + environment + "."
	case hub.RunQueued, hub.RunRequested, hub.RunPending:
		if long == "" {
			return "The workflow run is queued."
		}
		if seen.Status == hub.RunPending {
			return "The workflow run has been waiting for " + long + " because another one of its concurrency group is going on."
		}
		return "No runner" + withLabels(task, jobs) + " has taken the workflow run for " + long + "."
	}
	for _, job := range jobs {
		if job.Status == hub.RunWaiting {
			return "The workflow run waits for a reviewer, or for another rule" + environment + "."
		}
	}
	if len(jobs) > 0 && seen.Status == hub.RunInProgress {
		if long != "" && !anyBegan(jobs) {
			return "No runner" + withLabels(task, jobs) + " has taken the workflow run for " + long + "."
		}
		var names []string
		for _, job := range jobs {
			if job.Status == hub.RunInProgress {
				names = append(names, "`"+strings.ReplaceAll(job.Name, "`", "'")+"`")
			}
		}
		switch {
		case len(names) == 1:
			return "It runs in the job " + names[0] + "."
		case len(names) > 1:
			return fmt.Sprintf("It runs in %d jobs of the workflow run.", len(names))
		}
	}
	return ""
}

// withLabels names the labels that a runner must have.
func withLabels(task operation.Task, jobs []hub.WorkflowJob) string {
	var labels []string
	if len(task.Job.Machines) > 0 {
		labels = task.Job.Machines[0]
	}
	for _, job := range jobs {
		if !job.Began && len(job.Labels) > 0 {
			labels = job.Labels
			break
		}
	}
	if len(labels) == 0 {
		return ""
	}
	return " with the labels `" + strings.ReplaceAll(strings.Join(labels, ", "), "`", "'") + "`"
}

func anyBegan(jobs []hub.WorkflowJob) bool {
	for _, job := range jobs {
		if job.Began {
			return true
		}
	}
	return false
}

// withoutResult says how a run ended that left no result.
func withoutResult(seen hub.Run, task operation.Task, began bool) string {
	switch {
	case !began && seen.Conclusion == "skipped":
		return fmt.Sprintf("Its workflow run did nothing: the file `%s` on the branch `%s` has no job for %s. "+
			"Bring the workflow file of the server's release there.", task.Job.Workflow, task.Job.Ref, task.Kind)
	case !began && seen.Conclusion == hub.RunCancelled:
		return "Its workflow run was cancelled before it began."
	case !began && seen.Conclusion == "startup_failure":
		return "Its workflow run could not begin: GitHub does not accept the workflow file."
	case !began && seen.Conclusion == hub.RunActionRequired:
		return "Its workflow run did not begin, because GitHub asks a person to allow it."
	case !began:
		return "Its workflow run ended before a job began: a reviewer or a rule of the environment did not let it, or no runner took it."
	case seen.Conclusion == hub.RunCancelled:
		return "Its workflow run was cancelled and left no result."
	case seen.Conclusion == "timed_out":
		return "Its workflow run took longer than the workflow allows and left no result."
	default:
		return "Its workflow run ended and left no result."
	}
}
