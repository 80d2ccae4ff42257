package deploy //nolint:testpackage // what breaks off between two steps, and what changes between them, cannot be brought about from outside

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

const locksConfig = `version: 1
environments:
  dev: { branch: develop }
  prod: { branch: main, approvals: 1 }
roots:
  - { dir: infra, backend: { key: "{environment}" } }
`

// configured gives the world a repository with that configuration on its default branch.
func (w *lockWorld) configured(t *testing.T, config string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".github"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, repoconfig.Path), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch", "main"},
		{"add", "."},
		{"-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "a"},
		{"branch", "develop"},
		{"config", "uploadpack.allowFilter", "true"},
		{"config", "uploadpack.allowAnySHA1InWant", "true"},
	} {
		command := exec.CommandContext(t.Context(), "git", args...) //nolint:gosec // words of this test
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	path, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1"}, Stderr: io.Discard,
	})
	t.Cleanup(server.Close)
	w.Git = git.New(t.TempDir(), func(operation.Repository) string { return server.URL + "/.git" },
		func(context.Context, operation.Repository) (string, error) { return "", nil }, git.Options{})
	t.Cleanup(func() { _ = w.Git.Close() })
	if err := w.Store.SaveRepository(t.Context(), w.repo, "main"); err != nil {
		t.Fatal(err)
	}
	if err := w.Git.Fetch(t.Context(), w.repo); err != nil {
		t.Fatal(err)
	}
}

// said is a command of a person in a comment.
func (w *lockWorld) said(t *testing.T, comment int64, by, line string) request {
	t.Helper()
	config, err := repoconfig.Parse([]byte(locksConfig))
	if err != nil {
		t.Fatal(err)
	}
	command, _, err := commands.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return request{
		CommentMade: CommentMade{Repository: w.repo, Number: 42, Comment: comment, Author: by, IsPull: true}, Command: command,
		Config: configured{Config: config}, Person: commands.Person{Login: by, Permission: "maintain"},
	}
}

// answer is what the answer to a comment is to show; empty where none is wanted.
func (w *lockWorld) answerOf(t *testing.T, comment int64) string {
	t.Helper()
	surface, wanted, err := w.Store.Surface(t.Context(), w.repo.ID, answerKey(CommentMade{Comment: comment}))
	if err != nil {
		t.Fatal(err)
	}
	var shown notice
	if wanted {
		if err := json.Unmarshal(surface.Wanted, &shown); err != nil {
			t.Fatal(err)
		}
	}
	return shown.Comment.Body
}

func (w *lockWorld) waitingJobs(t *testing.T) int {
	t.Helper()
	depths, err := w.Store.Depths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	jobs := 0
	for _, depth := range depths {
		jobs += depth.Waiting
	}
	return jobs
}

func TestAHoldWhoseReleaseBrokeOffIsSaidToBeFree(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "here", false)
	ask := w.said(t, 1, "ana", "/unlock dev")
	if text, err := w.unlock(t.Context(), ask); err != nil || !strings.Contains(text, "/confirm") {
		t.Fatalf("%v: %s", err, text)
	}
	yes := w.said(t, 2, "ana", "/confirm "+commands.HoldCode(w.repo.ID, w.apply.ID, w.apply.Attempt, 1))
	for try := range 2 { // the second time its job is done anew
		jobs := w.waitingJobs(t)
		text, err := w.confirmed(t.Context(), yes)
		if err != nil || !strings.Contains(text, "dev is free") {
			t.Errorf("try %d: %v: %s", try, err, text)
		}
		if now := w.waitingJobs(t); try == 0 && now != jobs+1 || now == 0 {
			t.Errorf("try %d: %d jobs wait, before it were %d", try, now, jobs)
		}
	}
	other := w.said(t, 3, "ana", yes.Command.Line)
	if text, err := w.confirmed(t.Context(), other); err != nil || !strings.Contains(text, "confirmed before") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestAHoldThatIsNotKnownToBeDeadIsNotReleasedByOne(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "", false)
	if text, err := w.unlock(t.Context(), w.said(t, 1, "ana", "/unlock dev")); err != nil || strings.Contains(text, "another person") {
		t.Fatalf("%v: %s", err, text)
	}
	// Meanwhile its runner is started, on a server that is gone then.
	if err := w.Store.Launch(t.Context(), w.apply.ID, w.apply.Attempt, "there", "launch"); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Minute)
	code := commands.HoldCode(w.repo.ID, w.apply.ID, w.apply.Attempt, 1)
	if text, err := w.confirmed(t.Context(), w.said(t, 2, "Ana", "/confirm "+code)); err != nil || !strings.Contains(text, "nother person") {
		t.Errorf("%v: %s", err, text)
	}
	if _, held, err := w.Store.Holder(t.Context(), w.repo.ID, "dev"); err != nil || !held {
		t.Errorf("held: %v, %v", held, err)
	}
}

func TestAYesCountsByTheConfigurationOfItsTime(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "here", false)
	for environment, want := range map[string]render.ConfirmKind{
		"dev": "", "prod": render.ConfirmSelf, "gone": render.ConfirmUnknown,
	} {
		asked := store.Confirmation{
			Command: commandBreak, Environment: environment, Root: "infra", By: "ana", Comment: 1, Expires: w.clock.Now().Add(time.Minute),
		}
		r := w.said(t, 2, "ANA", "/confirm 7K3M9PQX")
		asked.Two = twoNow(r.Config, asked)
		if kind, _, err := w.mayConfirm(t.Context(), r, asked, true); err != nil || kind != want {
			t.Errorf("%s: %q, %v", environment, kind, err)
		}
	}
}

func TestNobodyIsAskedByAConfigurationThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	good, err := repoconfig.Parse([]byte(locksConfig))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		config      configured
		environment string
		want        render.LockVerdict
	}{
		"a good one asks":                    {configured{Config: good}, "prod", render.LockAsk},
		"a broken one does not":              {configured{Config: repoconfig.Default(), Problem: "line 3"}, "prod", render.LockFailed},
		"nor does none":                      {configured{Config: repoconfig.Default()}, "prod", render.LockFailed},
		"nor one that has not this any more": {configured{Config: good}, "test", render.LockFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			facts := commands.LockFacts{Targets: []render.LockedTarget{{
				Target: operation.Target{Root: "infra", Environment: test.environment}, Holder: render.LockHolder{Life: render.Dead},
				Found: &operation.StateLock{Lease: operation.LeaseHeld, Info: &operation.LockInfo{ID: "l1"}},
			}}}
			got := decideLock(test.config, test.environment, facts)
			if got.Verdict != test.want || (facts.Targets[0].Error == "") != (test.want == render.LockAsk) {
				t.Errorf("%s, %+v", got.Verdict, facts.Targets[0])
			}
		})
	}
}

// fails has every write to a table fail from now on, as a process that is killed before it does.
func (w *lockWorld) fails(t *testing.T, table string) {
	t.Helper()
	db, err := sql.Open("sqlite", w.file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(),
		`CREATE TRIGGER killed BEFORE INSERT ON `+table+` BEGIN SELECT RAISE(ABORT, 'killed'); END`); err != nil {
		t.Fatal(err)
	}
}

func TestAnAnswerToCancelIsNotLeftInTheMiddle(t *testing.T) {
	t.Parallel()
	t.Run("where what it waits for could not be kept, it is not answered", func(t *testing.T) {
		t.Parallel()
		w := newLockWorld(t, "here", true)
		w.fails(t, "stop_answers")
		if text, err := w.cancel(t.Context(), w.said(t, 5, "ana", "/cancel dev")); err == nil {
			t.Errorf("it did not fail: %s", text)
		}
		if text := w.answerOf(t, 5); text != "" {
			t.Errorf("it is not seen to again, as it has an answer: %s", text)
		}
	})
	t.Run("where what it stops has ended, and nobody could say so, the next who looks does", func(t *testing.T) {
		t.Parallel()
		w := newLockWorld(t, "here", true)
		w.configured(t, locksConfig)
		if text, err := w.cancel(t.Context(), w.said(t, 5, "ana", "/cancel dev")); err != nil || text != "" {
			t.Fatalf("%v: %s", err, text)
		}
		if text := w.answerOf(t, 5); !strings.Contains(text, "Stopping") {
			t.Fatal(text)
		}
		w.ends(t, operation.Cancelled)
		if err := w.showEnded(t.Context(), w.repo.ID, "dev"); err != nil {
			t.Fatal(err)
		}
		if text := w.answerOf(t, 5); !strings.Contains(text, "**Stopped: ") {
			t.Error(text)
		}
	})
}

func TestOnAPullRequestCancelMeansWhatHasTheEnvironmentThatIsNamed(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{"/cancel dev": "Stopping the apply to dev", "/cancel": "nothing to cancel"} {
		w := newLockWorld(t, "here", true) // its apply is of another pull request
		r := w.said(t, 5, "ana", line)
		r.Command.Environment = "dev"
		text, err := w.cancel(t.Context(), r)
		if text += w.answerOf(t, 5); err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v: %s", line, err, text)
		}
	}
}

func TestWhichLocksAreStillLookedAt(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	dead := operation.Operation{ID: 5, Kind: operation.Apply, State: operation.Interrupted, Roots: []string{"app", "db"}}
	later := func(kind operation.Kind, state operation.State, roots ...string) operation.Operation {
		return operation.Operation{ID: 6, Kind: kind, State: state, Roots: roots}
	}
	look := func(state operation.State, found ...string) operation.Operation {
		op := later(operation.ExplainLock, state, "app", "db")
		op.Lock, op.Result, op.Ended = &operation.LockRequest{Of: 5, Watch: true}, &operation.Result{}, noon.Add(-24*time.Hour)
		for _, root := range found {
			op.Result.Targets = append(op.Result.Targets, operation.TargetResult{
				Target: operation.Target{Root: root}, Found: &operation.StateLock{},
			})
		}
		return op
	}
	failed := func(ago time.Duration) operation.Operation {
		op := look(operation.Failed)
		op.Ended = noon.Add(-ago)
		return op
	}
	asked := look(operation.Failed)
	asked.Lock.Watch, asked.Ended = false, noon
	before := later(operation.Apply, operation.Succeeded, "app", "db")
	before.ID = 4
	for name, test := range map[string]struct {
		since []operation.Operation
		want  []string
	}{
		"all of them when nothing came after it":             {nil, []string{"app", "db"}},
		"not those in which something worked since":          {[]operation.Operation{later(operation.Apply, operation.Succeeded, "app")}, []string{"db"}},
		"nor the one that was broken":                        {[]operation.Operation{later(operation.BreakLease, operation.Succeeded, "db")}, []string{"app"}},
		"what worked before it says nothing":                 {[]operation.Operation{before}, []string{"app", "db"}},
		"none while something is at work":                    {[]operation.Operation{later(operation.Apply, operation.Running, "app")}, nil},
		"none while it is looked":                            {[]operation.Operation{look(operation.Queued)}, nil},
		"none that were looked at":                           {[]operation.Operation{look(operation.Succeeded, "app", "db")}, []string{}},
		"one that could not be looked at beside another":     {[]operation.Operation{look(operation.Succeeded, "db")}, []string{"app"}},
		"all again a while after a look that failed":         {[]operation.Operation{failed(15 * time.Minute)}, []string{"app", "db"}},
		"none right after a look that failed":                {[]operation.Operation{failed(15*time.Minute - time.Second)}, nil},
		"all again, after a longer while":                    {[]operation.Operation{failed(60 * time.Minute), failed(2 * time.Hour), failed(3 * time.Hour)}, []string{"app", "db"}},
		"none before that":                                   {[]operation.Operation{failed(59 * time.Minute), failed(2 * time.Hour), failed(3 * time.Hour)}, nil},
		"none after too many tries":                          {[]operation.Operation{failed(9 * time.Hour), failed(9 * time.Hour), failed(9 * time.Hour), failed(9 * time.Hour)}, nil},
		"all whatever a person has looked at":                {[]operation.Operation{asked}, []string{"app", "db"}},
		"a failed apply says nothing of the locks that left": {[]operation.Operation{later(operation.Apply, operation.Failed, "app")}, []string{"app", "db"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, toWatch(dead, test.since, noon)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestALockThatWasLeftBehindIsTold(t *testing.T) {
	t.Parallel()
	odd := "-->\x00" + strings.Repeat("x", 9000)
	for name, test := range map[string]struct {
		found  operation.StateLock
		holder render.LockHolder
		want   bool
	}{
		"one that an operation of ours left": {
			operation.StateLock{Lease: operation.LeaseHeld, Info: &operation.LockInfo{ID: "l1"}},
			render.LockHolder{Operation: &operation.Operation{ID: 1}, Life: render.Dead},
			true,
		},
		"one that has no description": {operation.StateLock{Lease: operation.LeaseHeld}, render.LockHolder{Life: render.Unknown}, true},
		"one with an id that no database keeps": {
			operation.StateLock{Lease: operation.LeaseHeld, Info: &operation.LockInfo{ID: odd}},
			render.LockHolder{Operation: &operation.Operation{ID: 1}, Life: render.Dead},
			true,
		},
		"not that of somebody else": {
			operation.StateLock{Lease: operation.LeaseHeld, Info: &operation.LockInfo{ID: "l1"}}, render.LockHolder{Life: render.Unknown}, false,
		},
		"not one that is free": {operation.StateLock{Lease: operation.LeaseFree}, render.LockHolder{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLockWorld(t, "here", false)
			op := operation.Operation{ID: 9, Repository: w.repo, Environment: "dev", Lock: &operation.LockRequest{Of: 1, Watch: true}}
			view := render.LockView{Environment: "dev", Targets: []render.LockedTarget{{
				Target: operation.Target{Root: "infra", Environment: "dev"}, Found: &test.found, Holder: test.holder,
			}}}
			for range 2 { // it is told once
				if err := w.sayStuck(t.Context(), op, view); err != nil {
					t.Fatal(err)
				}
			}
			wanted, err := w.Store.DueSurfaces(t.Context())
			if err != nil || (wanted == 1) != test.want || wanted > 1 {
				t.Errorf("%d entries, %v", wanted, err)
			}
			surface, _, err := w.Store.ClaimSurface(t.Context(), time.Minute)
			if err != nil || len(surface.Key) > 200 || strings.Contains(surface.Key, "-->") {
				t.Errorf("%q, %v", surface.Key, err)
			}
		})
	}
}

func codeOf(comment int64) string { return strings.Repeat(strconv.FormatInt(comment, 10), 8) }

// broke is an operation that broke a lock, or was to, and was confirmed with a comment.
func (w *lockWorld) broke(t *testing.T, comment int64) operation.Operation {
	t.Helper()
	code := codeOf(comment)
	if _, err := w.Store.Ask(t.Context(), store.Confirmation{Repository: w.repo.ID, Code: code, Command: commandBreak}, time.Minute); err != nil {
		t.Fatal(err)
	}
	op, err := w.Store.QueueConfirmed(t.Context(), operation.Operation{
		Kind: operation.BreakLease, Repository: w.repo, Environment: "dev", Branch: "develop", Head: "h", Roots: []string{"infra"}, Actor: "ana",
		Lock: &operation.LockRequest{Said: comment, SaidIn: 42, Break: &operation.LockTask{}},
	}, code, comment, "ana")
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func TestEveryBrokenLockIsShownWhateverComesAfterIt(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "here", false)
	w.configured(t, locksConfig)
	w.ends(t, operation.Interrupted)
	first := w.broke(t, 5)
	for range 2 { // its job is done anew
		text, err := w.confirmed(t.Context(), w.said(t, 5, "ana", "/confirm "+codeOf(5)))
		if answer := w.answerOf(t, 5); err != nil || text != "" || !strings.Contains(answer, "is broken next") {
			t.Errorf("%v: %s%s", err, text, answer)
		}
	}
	if _, taken, err := w.Store.TakeHold(t.Context(), w.repo.ID, "dev"); err != nil || !taken {
		t.Fatal(taken, err)
	}
	if err := w.Store.Launch(t.Context(), first.ID, 1, "here", "launch"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Store.Finish(t.Context(), store.Finish{Operation: first.ID, Attempt: 1, State: operation.Failed}); err != nil {
		t.Fatal(err)
	}
	w.broke(t, 6) // waits, so it is the newest
	if err := w.showLastBroken(t.Context(), w.repo.ID, "dev"); err != nil {
		t.Fatal(err)
	}
	if text := w.answerOf(t, 5); text == "" || strings.Contains(text, "is broken next") {
		t.Errorf("it is not said how it ended: %s", text)
	}
	if _, told, err := w.Store.Surface(t.Context(), w.repo.ID, incidentKey("dev", brokenEntry(first))); err != nil || !told {
		t.Errorf("it has no entry: %v", err)
	}
}

func TestALockThatIsToBeBrokenIsFirstInTheLine(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "here", false)
	client, err := hub.New(hub.Options{Bearer: "t"}) // asked for nothing, it knows of no limits
	if err != nil {
		t.Fatal(err)
	}
	w.Hub = client
	w.configured(t, locksConfig)
	config, err := repoconfig.Parse([]byte(locksConfig))
	if err != nil {
		t.Fatal(err)
	}
	w.ends(t, operation.Interrupted)
	for _, pull := range []int{51, 52} {
		if _, _, err := w.Store.QueueApply(t.Context(), operation.Operation{
			Kind: operation.Apply, Repository: w.repo, Environment: "dev", Branch: "develop", Head: strconv.Itoa(pull), Pull: pull, Pulls: []int{pull},
			Roots: []string{"infra"}, Actor: "ben", Priority: 1,
		}); err != nil {
			t.Fatal(err)
		}
		if pull == 51 { // it has the environment, and the other one waits
			if _, taken, err := w.Store.TakeHold(t.Context(), w.repo.ID, "dev"); err != nil || !taken {
				t.Fatal(taken, err)
			}
		}
	}
	w.broke(t, 5)
	line, err := w.waiting(t.Context(), w.repo.ID, "dev")
	if err != nil || len(line) != 2 || line[0].Kind != operation.BreakLease || line[1].Pull != 52 {
		t.Errorf("%v: %v", line, err)
	}
	view, err := w.applyView(t.Context(), line[1], 52)
	if err != nil || view.Position != 3 {
		t.Errorf("the apply behind it is said to be number %d: %v", view.Position, err)
	}
	status, err := w.status(t.Context(), request{
		CommentMade: CommentMade{Repository: w.repo}, Config: configured{Config: config}, Command: commands.Command{Environment: "dev"},
	})
	if err != nil || !strings.Contains(status, "- 2nd in line: the breaking of the state lock of `infra` in dev") {
		t.Errorf("%v: %s", err, status)
	}
}
