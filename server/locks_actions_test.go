package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
)

// The server of these tests has no way to the states: who may look at a lock, and who may break it, are jobs of the repository.

func TestALockIsLookedAtAndBrokenByJobsOfTheRepository(t *testing.T) {
	t.Parallel()
	m := newMachines(t)
	m.repo.SetRole(story.Cleo, sandbox.Maintain)
	states := newStates(t)
	address := states.url + "/{environment}"
	if _, err := m.repo.Push(m.ctx, story.Ana, "main", map[string]string{
		".github/switchyard.yml": strings.ReplaceAll(inWorkflows, `{ path: "STATES/{application}-{environment}.tfstate" }`,
			fmt.Sprintf(`{ address: %q, lock_address: %q, unlock_address: %q }`, address, address, address)),
	}, "states with locks", sandbox.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	const held = "cccccccc-1111-2222-3333-444444444444"
	died := false
	m.jobs(func(ctx context.Context, job *sandbox.Job, task operation.Task) string {
		if task.Kind != operation.Apply || died {
			return m.act(ctx, job, task)
		}
		died = true
		states.laptop("dev", held) // and then its machine is gone, with all that it knew
		return "failure"
	})
	number := m.open("feature/states", "develop", map[string]string{"infra/main.tf": strings.ReplaceAll(rootFile, `"local"`, `"http"`)})
	m.planned(number, "dev")
	sha := m.merge(number)
	m.checkIs(sha, "switchyard / apply (dev)", "failure")
	// The branch goes on, so the runs to come are of another commit than the dead apply.
	moved, err := m.repo.Push(m.ctx, story.Ana, "develop", map[string]string{"README.md": "# It goes on\n"}, "go on", sandbox.PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.checkIs(moved, "switchyard / apply (dev)", "failure")
	m.comment(story.Ana, number, "/break-lease dev")
	code := m.code(number)
	m.said(number, held, "left no word of the lock that it took", "Another person has to confirm", "/confirm "+code)
	if holder := states.holder("dev"); holder != held {
		t.Fatalf("%q holds the lock: it was broken before anybody said yes to that", holder)
	}
	m.comment(story.Cleo, number, "/confirm "+code)
	m.said(number, "in dev is free", "confirmed by cleo")
	if holder := states.holder("dev"); holder != "" {
		t.Errorf("%s still holds the lock", holder)
	}
	m.entry("dev", held, "confirmed by cleo")
	var did []string
	for _, task := range m.tasks {
		if task.Lock != nil || task.Kind == operation.ExplainLock {
			did = append(did, fmt.Sprintf("%s on %s in %q", task.Kind, task.Job.Ref, task.Job.Environment))
		}
	}
	want := `explain-lock on switchyard/plans in "dev-plan"; break-lease on develop in "dev"`
	if got := strings.Join(did, "; "); got != want {
		t.Errorf("jobs did %s, want %s", got, want)
	}
	m.comment(story.Ben, number, "/apply dev")
	m.said(number, "Applied to dev")
}
