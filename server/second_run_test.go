package server_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
)

// again has the App dispatch the workflow with these inputs, as a dispatch does that got no answer and was repeated. It gives the run as
// it ended.
func (y *yard) again(ref string, inputs map[string]string) sandbox.Run {
	y.t.Helper()
	app, err := hub.New(hub.Options{
		AppID: y.Box.AppID(), PrivateKey: y.Box.PrivateKey(), APIURL: y.Box.APIURL(), WebURL: y.Box.URL(), GraphQLURL: y.Box.GraphQLURL(),
	})
	if err != nil {
		y.t.Fatal(err)
	}
	repo := operation.Repository{ID: y.repo.ID(), Installation: y.installation(), Owner: "acme", Name: "shop"}
	made, err := app.Dispatch(y.ctx, repo, hub.Dispatch{Workflow: "switchyard.yml", Ref: ref, Inputs: inputs})
	if err != nil {
		y.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(y.ctx, patience)
	defer cancel()
	run, err := y.repo.AwaitRun(ctx, made.Run, nil)
	if err != nil {
		y.t.Fatal(err)
	}
	return run
}

// knows waits until the server knows that a run is the one that it has dispatched: its webhook may come before the answer to that.
func (y *yard) knows(run sandbox.Run) {
	y.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(y.data, "switchyard.db")+"?_pragma=query_only(1)&_pragma=busy_timeout(5000)")
	if err != nil {
		y.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	limited, cancel := context.WithTimeout(y.ctx, patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond) //nolint:forbidigo // the database gives no signal
	defer ticker.Stop()
	for known := 0; known == 0; {
		if err := db.QueryRowContext(limited, `SELECT COUNT(*) FROM runs WHERE run = $1`, run.ID).Scan(&known); err != nil {
			y.t.Fatalf("the server knows run %d: %v", run.ID, err)
		}
		<-ticker.C
	}
}

func TestOfTwoRunsForOneApplyTheFirstWorksAndTheSecondIsCancelled(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	began, release := make(chan struct{}, 2), make(chan struct{})
	y.jobs(func(ctx context.Context, job *sandbox.Job, task operation.Task) string {
		began <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
			return "cancelled"
		}
		y.leave(job, task, resultFor(task))
		return "success"
	})
	merged := y.merge(pull)
	await(y, "the apply begins", began)
	runs := y.repo.Runs()
	first := runs[len(runs)-1]
	y.knows(first)
	inputs := map[string]string{}
	for name, value := range first.Inputs {
		inputs[name], _ = value.(string)
	}

	// The first one's job is in the environment's concurrency group, so that the second one's has not begun.
	if second := y.again("develop", inputs); second.Conclusion != "cancelled" || second.Title != first.Title {
		t.Errorf("the second run %q ended %s", second.Title, second.Conclusion)
	}
	inputs[operation.InputLaunch] = "forgoten"
	if late := y.again("develop", inputs); late.Conclusion != "cancelled" {
		t.Errorf("a run of a start that was given up, %q, ended %s", late.Title, late.Conclusion)
	}
	close(release)
	y.checkIs(merged, "switchyard / apply (dev)", "success")
	y.said(pull, "Applied to dev")
	applies := 0
	for _, did := range y.ran() {
		if strings.HasPrefix(did, "apply ") {
			applies++
		}
	}
	if applies != 1 {
		t.Errorf("%d jobs applied: %q", applies, y.ran())
	}
	deployedOnce(t, y.repo, merged)
}

func TestARealJobOfASecondRunDoesNothing(t *testing.T) {
	t.Parallel()
	r := newReality(t)
	r.planned(r.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile}), "dev") // the server knows the shop
	task := r.forged()
	inputs, err := executor.Inputs(task)
	if err != nil {
		t.Fatal(err)
	}
	y := &yard{shop: r.shop}
	if first := y.again("develop", inputs); first.Conclusion != "failure" || !strings.Contains(logsOf(first), "Nothing was begun") {
		t.Fatalf("the first, which somebody forged, ended so: %s", logsOf(first))
	}
	second := y.again("develop", inputs)
	if log := logsOf(second); second.Conclusion != "failure" || !strings.Contains(log, "Another run works on this operation") ||
		strings.Contains(log, "Nothing was begun") {
		t.Errorf("the second ended so: %s", log)
	}
	if deployments := r.repo.Deployments("dev"); len(deployments) != 2 || r.state("dev") != "" {
		t.Errorf("deployments %+v, state %q", deployments, r.state("dev"))
	}
}
