package server_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

func TestARunThatAServerDispatchedEndsOnAnother(t *testing.T) {
	t.Parallel()
	for name, workDone := range map[string]bool{
		"while its job still works":                     false,
		"although its job ended while nobody was there": true,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y, p := newReplicasInWorkflows(t)
			pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
			y.planned(pull, "dev")
			began, proceed := make(chan struct{}), make(chan struct{})
			y.jobs(func(_ context.Context, job *sandbox.Job, task operation.Task) string {
				close(began)
				<-proceed
				y.leave(job, task, resultFor(task))
				return "success"
			})
			merged := y.merge(pull)
			await(y, "a job begins", began)
			p.column("a knows which run it is", `SELECT CAST(run AS TEXT) FROM runs JOIN operations ON operations.id = runs.operation
				WHERE kind = 'apply' AND run <> 0`)
			p.a.kill()
			if workDone {
				close(proceed)
				ctx, cancel := context.WithTimeout(y.ctx, patience)
				defer cancel()
				runs := y.repo.Runs()
				if _, err := y.repo.AwaitRun(ctx, runs[len(runs)-1].ID, nil); err != nil {
					t.Fatal(err)
				}
			}
			p.longAgo()
			p.b.start()
			p.b.hears()
			if !workDone {
				close(proceed)
			}
			y.checkIs(merged, "switchyard / apply (dev)", "success")
			y.said(pull, "Applied to dev")
			applies := 0
			for _, did := range y.ran() {
				if strings.HasPrefix(did, "apply ") {
					applies++
				}
			}
			if applies != 1 {
				t.Errorf("jobs did %q", y.ran())
			}
			deployedOnce(t, y.repo, merged)
		})
	}
}

func TestACancelThatGitHubHasNotTakenOutlivesTheServerThatTookIt(t *testing.T) {
	t.Parallel()
	y, p := newReplicasInWorkflows(t)
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	began := make(chan struct{})
	y.jobs(func(ctx context.Context, works *sandbox.Job, task operation.Task) string {
		close(began)
		select {
		case <-works.Cancelled:
		case <-ctx.Done():
		}
		full := resultFor(task)
		y.leave(works, task, job.StoppedBefore(task, full.Started, full.Ended))
		return "cancelled"
	})
	merged := y.merge(pull)
	await(y, "a job begins", began)
	p.column("a knows which run it is", `SELECT CAST(run AS TEXT) FROM runs JOIN operations ON operations.id = runs.operation
		WHERE kind = 'apply' AND run <> 0`)
	y.Box.Next(1, "POST /actions/runs/{run_id}/cancel").BadGateway()
	y.comment(story.Ana, pull, "/cancel dev")
	y.said(pull, "Stopping")
	p.a.kill() // which would try again in five seconds
	p.longAgo()
	p.b.start()
	p.b.hears()
	y.checkIs(merged, "switchyard / apply (dev)", "cancelled")
	y.said(pull, "The apply to dev was cancelled")
}

// newReplicasInWorkflows is a yard of two servers on one PostgreSQL. Only a runs, and hears of what happens.
func newReplicasInWorkflows(t *testing.T) (*yard, *replicas) {
	t.Helper()
	database := pgtest.New(t)
	y := &yard{}
	y.work = func(_ context.Context, job *sandbox.Job, task operation.Task) string {
		y.leave(job, task, resultFor(task))
		return "success"
	}
	w := newBareWorld(t, func(o *sandbox.Options) {
		o.Actions = &sandbox.ActionsOptions{Runner: sandbox.JobFunc(y.runJob)}
	})
	p := &replicas{
		a: w.replica("a", database, "SWITCHYARD_EXECUTORS=actions"), b: w.replica("b", database, "SWITCHYARD_EXECUTORS=actions"),
	}
	var err error
	if p.db, err = sql.Open("pgx", database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.db.Close() })
	p.a.start()
	p.a.hears()
	p.shop = newShopOn(t, w, map[string]string{
		".github/switchyard.yml": inWorkflows, ".github/workflows/switchyard.yml": template(t, "switchyard.yml"),
	})
	y.shop = p.shop
	y.Box.SetMachines("ubuntu-latest", "self-hosted", "westeurope")
	y.environment(sandbox.Environment{Name: "dev"})
	y.plansBranch()
	return y, p
}
