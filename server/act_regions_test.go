package server_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
)

// inRegions has machines in each of two regions, which see only what is in theirs.
const inRegions = `version: 1
application: shop
environments:
  dev:
    branch: develop
    binding: strict
    regions: [westeurope, uksouth]
    runs_on: { westeurope: [self-hosted, westeurope], uksouth: [self-hosted, uksouth] }
roots:
  - dir: infra
    backend: { path: "STATES/{application}-{environment}.tfstate" }
    region: westeurope
  - dir: uk
    backend: { path: "STATES/uk-{environment}.tfstate" }
    region: uksouth
executor: actions
`

func TestEachRootIsPlannedOnAMachineOfItsRegion(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.Box.SetMachines("self-hosted", "westeurope", "uksouth")
	y.jobs(func(_ context.Context, job *sandbox.Job, task operation.Task) string {
		number := 0
		if text := toText(job.Matrix["shard"]); strings.HasPrefix(text, "1") {
			number = 1
		}
		task.Targets = slices.DeleteFunc(slices.Clone(task.Targets), func(target operation.TargetTask) bool {
			return !slices.Contains(task.Job.Shards[number], target.Target.Root)
		})
		y.leave(job, task, resultFor(task))
		return "success"
	})
	y.push("main", map[string]string{".github/switchyard.yml": inRegions})
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n", "uk/main.tf": rootFile})
	y.planned(pull, "dev")
	if diff := cmp.Diff([]string{"plan dev: self-hosted, uksouth", "plan dev: self-hosted, westeurope"}, y.machines("plan")); diff != "" {
		t.Errorf("where the plan ran, -want +got:\n%s", diff)
	}
	merged := y.merge(pull)
	y.checkIs(merged, "switchyard / apply (dev)", "success")
	if diff := cmp.Diff([]string{"apply dev: self-hosted, westeurope"}, y.machines("apply")); diff != "" {
		t.Errorf("where the apply ran, which has one job for both, -want +got:\n%s", diff)
	}

	alone := y.open("feature/uk", "develop", map[string]string{"uk/main.tf": rootFile + "# more\n"})
	y.planned(alone, "dev")
	y.checkIs(y.merge(alone), "switchyard / apply (dev)", "success")
	if diff := cmp.Diff([]string{"apply dev: self-hosted, uksouth"}, y.machines("apply")); diff != "" {
		t.Errorf("where the apply of a root of the other region ran, -want +got:\n%s", diff)
	}
}

// machines lists the jobs of the newest run of a command that were not skipped, with the labels of their machines.
func (y *yard) machines(command string) []string {
	y.t.Helper()
	for _, run := range slices.Backward(y.repo.Runs()) {
		if !strings.HasPrefix(run.Title, "switchyard "+command+" ") {
			continue
		}
		var jobs []string
		for _, job := range run.Jobs {
			if job.Conclusion != "skipped" {
				jobs = append(jobs, fmt.Sprintf("%s: %s", job.Name, strings.Join(job.Labels, ", ")))
			}
		}
		slices.Sort(jobs)
		return jobs
	}
	y.t.Fatalf("no run of %s", command)
	return nil
}
