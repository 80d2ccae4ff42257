package server_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
)

// Ben pushes to develop, where approvals are asked for, what nobody could approve: everything in it is asked about, and it is applied once
// somebody else says yes to exactly that. The job proves that for itself.
func TestTheActionAsksSomebodyElseAboutAPushWithoutAPullRequest(t *testing.T) {
	t.Parallel()
	clock := &aheadClock{Clock: clockwork.NewRealClock()}
	m := newMachinesAt(t, clock)
	m.repo.SetRole(story.Cleo, sandbox.Write)
	m.push("main", map[string]string{".github/switchyard.yml": strings.ReplaceAll(strings.ReplaceAll(
		inWorkflows, "branch: develop, ", "branch: develop, approvals: 1, "), "STATES", m.States)})
	pull := m.open("feature/a", "develop", map[string]string{"infra/a.tf": "resource \"terraform_data\" \"a\" {}\n"})
	m.planned(pull, "dev")
	if _, err := m.repo.Review(m.ctx, story.Ana, pull, sandbox.Approved); err != nil {
		t.Fatal(err)
	}
	m.checkIs(m.merge(pull), "switchyard / apply (dev)", "success")
	clock.advance(2 * time.Second) // GitHub gives times in whole seconds, and a yes counts that is newer than the last apply

	unapplied := func() {
		t.Helper()
		if strings.Contains(m.state("dev"), `"loose"`) {
			t.Fatal("it was applied")
		}
	}
	pushed := m.push("develop", map[string]string{"infra/loose.tf": "resource \"terraform_data\" \"loose\" {}\n"})
	m.checkIs(pushed, "switchyard / apply (dev)", "action_required")
	m.comment(story.Ben, pull, "/status")
	_, digest, _ := strings.Cut(m.said(pull, "/apply dev ").Body, "/apply dev ")
	digest, _, _ = strings.Cut(digest, "`")
	m.comment(story.Ben, pull, "/apply dev "+digest)
	m.said(pull, "ask somebody else")
	unapplied()

	t.Run("who has stolen the key is not believed that it was reviewed, or that who pushed may say yes", func(t *testing.T) {
		view, _ := m.repo.PullView(pull)
		own := view.Comments[slices.IndexFunc(view.Comments, func(c sandbox.Comment) bool { return c.Body == "/apply dev "+digest })]
		forged, asked := m.applyOf(pushed)
		placed := *forged.Job
		forged.Job, forged.Operation, forged.Launch = &placed, 999, "stolen-key"
		forged.Targets = slices.Clone(forged.Targets)
		forged.Targets[0].Expected = &asked.Targets[0].ChangeSet
		if run, log := m.dispatch(forged); run.Conclusion != "failure" || !strings.Contains(log, "Not reviewed in `infra`") {
			t.Errorf("what is said to be reviewed ended with %s: %s", run.Conclusion, log)
		}
		unapplied()
		forged.Operation, forged.Confirmed = 998, asked.Question
		forged.Job.Words = []operation.Word{{Comment: own.ID, Login: story.Ben}}
		if run, log := m.dispatch(forged); run.Conclusion != "failure" || !strings.Contains(log, "of somebody who pushed to the branch") {
			t.Errorf("the yes of who pushed ended with %s: %s", run.Conclusion, log)
		}
		unapplied()
	})

	m.comment(story.Cleo, pull, "/apply dev "+digest)
	m.checkIs(pushed, "switchyard / apply (dev)", "success")
	if !strings.Contains(m.state("dev"), `"name": "loose"`) {
		t.Errorf("the state is %s", m.state("dev"))
	}
	m.verified()

	// What was approved is asked about with what was pushed beside it, by the job that asks and by the one that heeds the yes.
	clock.advance(2 * time.Second)
	beside := m.open("feature/b", "develop", map[string]string{"infra/b.tf": "resource \"terraform_data\" \"b\" {}\n"})
	m.planned(beside, "dev")
	if _, err := m.repo.Review(m.ctx, story.Ana, beside, sandbox.Approved); err != nil {
		t.Fatal(err)
	}
	pushed = m.push("develop", map[string]string{"infra/second.tf": secondFile})
	m.checkIs(pushed, "switchyard / apply (dev)", "action_required")
	merged := m.merge(beside)
	m.checkIs(merged, "switchyard / apply (dev)", "action_required")
	if _, asked := m.applyOf(merged); len(asked.Targets[0].Unexpected) != 2 {
		t.Errorf("it asks about %+v", asked.Targets[0].Unexpected)
	}
	m.comment(story.Cleo, beside, "/apply dev "+m.digest(beside, "dev"))
	m.checkIs(merged, "switchyard / apply (dev)", "success")
	m.verified()
}

// applyOf is the task of the newest apply of a commit that a job was given, and the result that it left.
func (m *machines) applyOf(commit string) (operation.Task, operation.Result) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, task := range slices.Backward(m.tasks) {
		if task.Kind != operation.Apply || task.Commit != commit {
			continue
		}
		runs := m.repo.Runs()
		run := runs[slices.IndexFunc(runs, func(run sandbox.Run) bool { return run.Title == operation.RunName(task) })]
		left := m.repo.Artifacts(run.ID)[0].Archive
		archive, err := zip.NewReader(bytes.NewReader(left), int64(len(left)))
		if err != nil {
			m.t.Fatal(err)
		}
		file, err := archive.Open(operation.ResultFile)
		if err != nil {
			m.t.Fatal(err)
		}
		var result operation.Result
		if err := json.NewDecoder(file).Decode(&result); err != nil {
			m.t.Fatal(err)
		}
		return task, result
	}
	m.t.Fatalf("no apply of %s was given to a job", commit)
	return operation.Task{}, operation.Result{}
}

// Ben takes develop back to where it was before something was applied. The job, which is given nothing but a dispatch, asks somebody else
// about all that this takes back; neither an answer to another question nor the one of who took it back counts.
func TestTheActionAsksSomebodyElseAboutABranchThatLacksWhatWasApplied(t *testing.T) {
	t.Parallel()
	clock := &aheadClock{Clock: clockwork.NewRealClock()}
	m := newMachinesAt(t, clock)
	m.repo.SetRole(story.Cleo, sandbox.Write)
	m.push("main", map[string]string{".github/switchyard.yml": strings.ReplaceAll(strings.ReplaceAll(
		inWorkflows, "branch: develop, ", "branch: develop, approvals: 1, "), "STATES", m.States)})
	applied := func(branch string) int {
		t.Helper()
		pull := m.open("feature/"+branch, "develop", map[string]string{"infra/" + branch + ".tf": "resource \"terraform_data\" \"" + branch + "\" {}\n"})
		m.planned(pull, "dev")
		if _, err := m.repo.Review(m.ctx, story.Ana, pull, sandbox.Approved); err != nil {
			t.Fatal(err)
		}
		m.checkIs(m.merge(pull), "switchyard / apply (dev)", "success")
		clock.advance(2 * time.Second) // GitHub gives times in whole seconds, and a yes counts that is newer than the last apply
		return pull
	}
	applied("a")
	if _, err := m.repo.Push(m.ctx, story.Ben, "chore/before", nil, "", sandbox.PushOptions{From: "develop"}); err != nil {
		t.Fatal(err)
	}
	pull := applied("b")

	back, err := m.repo.Push(m.ctx, story.Ben, "develop", nil, "", sandbox.PushOptions{From: "chore/before", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	m.checkIs(back, "switchyard / apply (dev)", "action_required")
	if !strings.Contains(m.state("dev"), `"name": "b"`) {
		t.Fatal("it was taken back without a yes")
	}
	forged, asked := m.applyOf(back)
	question := asked.Question
	if question == "" {
		t.Fatalf("nothing is asked: %+v", asked)
	}
	m.comment(story.Cleo, pull, "/apply dev 7777")
	m.said(pull, "7777")
	m.comment(story.Ben, pull, "/apply dev "+question[:8])
	m.said(pull, "ask somebody else")
	view, _ := m.repo.PullView(pull)
	word := func(body string) []operation.Word {
		said := view.Comments[slices.IndexFunc(view.Comments, func(c sandbox.Comment) bool { return c.Body == body })]
		return []operation.Word{{Comment: said.ID, Login: said.Author}}
	}
	placed := *forged.Job
	forged.Job, forged.Operation, forged.Launch = &placed, 999, "stolen-key"
	forged.Targets = slices.Clone(forged.Targets)
	forged.Targets[0].Expected, forged.Doubts = &asked.Targets[0].ChangeSet, nil
	forged.Confirmed, forged.Job.Words = "7777"+strings.Repeat("0", 60), word("/apply dev 7777")
	if run, log := m.dispatch(forged); run.Conclusion != "failure" || !strings.Contains(log, "nobody has reviewed what that takes back") {
		t.Errorf("a yes to another question ended with %s: %s", run.Conclusion, log)
	}
	forged.Operation, forged.Confirmed, forged.Job.Words = 998, question, word("/apply dev "+question[:8])
	if run, log := m.dispatch(forged); run.Conclusion != "failure" || !strings.Contains(log, "of somebody who pushed to the branch") {
		t.Errorf("the yes of who took it back ended with %s: %s", run.Conclusion, log)
	}
	if !strings.Contains(m.state("dev"), `"name": "b"`) {
		t.Fatal("it was taken back for a stolen key")
	}
	m.comment(story.Cleo, pull, "/apply dev "+question[:8])
	m.eventually("it is taken back", func() bool { return !strings.Contains(m.state("dev"), `"name": "b"`) })
	if !strings.Contains(m.state("dev"), `"name": "a"`) {
		t.Errorf("the state is %s", m.state("dev"))
	}
	m.checkIs(back, "switchyard / apply (dev)", "success")
	m.verified()
}
