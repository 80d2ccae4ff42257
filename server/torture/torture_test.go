// Package torture_test lets real server processes meet everything that goes wrong at once, and afterwards asks whether
// anything was lost or done twice.
package torture_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

//nolint:gochecknoglobals // flags of the test
var (
	seconds = flag.Int("seconds", 20, "how long to torture each kind of server")
	seedArg = flag.Uint64("seed", 0, "of everything that is left to chance; 0: another each time")
)

// What the world is made of.
const (
	repositories = 20
	realEvery    = 7    // each so many-th of them has the real Terraform: 3 of 20
	twoRootsEach = 4    // each so many-th of them has two roots in its one hold
	faultShare   = 0.20 // of GitHub's answers
	actors       = 4
	settleLimit  = 5 * time.Minute
)

const config = `version: 1
application: APP
environments:
  dev:  { branch: develop }
  test: { branch: [release, "release/*"] }
  prod: { branch: main }
executor: local
roots:
  - dir: infra
    backend: { path: "STATES/APP-{environment}.tfstate" }
`

const secondRoot = `  - dir: edge
    backend: { path: "STATES/APP-edge-{environment}.tfstate" }
`

const rootFile = `terraform {
  backend "local" {}
}
`

// TestMain lets the test binary be the stand-in for Terraform.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "terraform" {
		os.Exit(playTerraform())
	}
	flag.Parse()
	os.Exit(pgtest.Main(m))
}

func TestNothingIsLostAndNothingIsDoneTwiceOnSQLite(t *testing.T) { //nolint:paralleltest // it takes the whole machine
	w := newWorld(t, 1, "")
	w.torture()
}

func TestNothingIsLostAndNothingIsDoneTwiceByThreeReplicasOnPostgreSQL(t *testing.T) { //nolint:paralleltest // it takes the whole machine
	const replicas = 3
	w := newWorld(t, replicas, pgtest.New(t))
	w.torture()
}

// world is a sandbox of many repositories with replicas that serve it.
type world struct {
	*testing.T

	seed     uint64
	dir      string
	fake     string // directory of the stand-in and its journal
	box      *sandbox.Sandbox
	repos    []*repository
	replicas []*replica
	balancer *balancer
	database string // data source; empty: SQLite in the data directory of the only replica
	acts     atomic.Int64
	kills    int
	calls    struct{ all, faults atomic.Int64 } // of GitHub's API
}

// repository is one of the repositories, and what was done in it.
type repository struct {
	*sandbox.Repository

	roots []string
	real  bool // the real Terraform works in it

	mu    sync.Mutex
	next  int
	heads map[string]bool // all commits that checks may be on
}

func newWorld(t *testing.T, replicas int, database string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "torture-") //nolint:usetesting // kept when the test fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir) // best effort
		}
	})
	w := &world{T: t, seed: *seedArg, dir: dir, database: database}
	if w.seed == 0 {
		w.seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d, %d s", w.seed, *seconds)
	w.fake = filepath.Join(w.dir, "terraform")
	w.must(os.Mkdir(w.fake, 0o700))
	self, err := os.Executable()
	w.must(err)
	w.must(os.Symlink(self, filepath.Join(w.fake, "terraform")))
	realPath, err := exec.LookPath("terraform")
	w.must(err)
	w.must(os.Symlink(realPath, filepath.Join(w.fake, realBinary)))
	w.must(os.Mkdir(filepath.Join(w.dir, "states"), 0o700))

	held := contract.Watch(t)
	w.box, err = sandbox.Start(context.WithoutCancel(t.Context()), sandbox.Options{
		Dir: filepath.Join(w.dir, "github"), Seed: int64(w.seed), RateLimit: 1_000_000, Log: zerolog.Nop(), //nolint:gosec // any bits will do
		Observe: func(e sandbox.Exchange) {
			if e.Event == "" {
				w.calls.all.Add(1)
			}
			if e.Fault {
				w.calls.faults.Add(1)
			}
			held.Observe(e)
		},
	})
	w.must(err)
	t.Cleanup(func() {
		_ = w.box.Close()
		if unserved := w.box.Unserved(); len(unserved) > 0 {
			t.Errorf("the sandbox does not serve %s", strings.Join(unserved, ", "))
		}
	})
	program := buildProgram(t)
	for i := range replicas {
		w.replicas = append(w.replicas,
			newReplica(t, w.box, program, filepath.Join(w.fake, "terraform"), database, w.dir, fmt.Sprintf("replica%d", i+1)))
	}
	for _, r := range w.replicas {
		w.must(r.start(context.WithoutCancel(t.Context())))
	}
	w.balancer = &balancer{replicas: w.replicas, chance: chances(w.seed + 1), client: &http.Client{Transport: &http.Transport{}}}
	front := httptest.NewServer(w.balancer)
	t.Cleanup(front.Close)
	w.box.SetWebhookURL(front.URL)
	w.populate()
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// populate makes the repositories and installs the App on them.
func (w *world) populate() {
	w.Helper()
	w.must(w.box.CreateOrg("acme"))
	for _, login := range []string{"ana", "ben"} {
		w.must(w.box.AddPerson(sandbox.Person{Login: login}))
	}
	var names []string
	for i := range repositories {
		name := fmt.Sprintf("app%02d", i+1)
		r := &repository{roots: []string{"infra"}, real: i%realEvery == 0, heads: map[string]bool{}}
		text := config
		if i%twoRootsEach == 1 {
			text += secondRoot
			r.roots = append(r.roots, "edge")
		}
		text = strings.NewReplacer("APP", name, "STATES", filepath.Join(w.dir, "states")).Replace(text)
		files := map[string]string{".github/switchyard.yml": text, "README.md": name + "\n"}
		for _, root := range r.roots {
			files[root+"/main.tf"] = rootFile
			if r.real {
				files[root+"/"+realMarker] = "\n"
			}
		}
		repo, err := w.box.CreateRepository(w.Context(), "acme", name, sandbox.Seed{
			DefaultBranch: "main",
			Branches:      []sandbox.SeedBranch{{Name: "main", Files: files, As: "ana"}, {Name: "develop", From: "main"}, {Name: "release/1", From: "main"}},
			Roles:         map[string]sandbox.Role{"ana": sandbox.Maintain, "ben": sandbox.Write},
		})
		w.must(err)
		r.Repository = repo
		for _, sha := range repo.Branches() {
			r.heads[sha] = true
		}
		w.repos = append(w.repos, r)
		names = append(names, name)
	}
	w.must(w.box.Install(w.Context(), "acme", names...))
}

// torture does everything at once for a while, lets it settle, and judges.
func (w *world) torture() {
	w.settle() // the installation
	reviewed := w.review()
	before := w.calls.all.Load()
	w.box.SetFaultShare(faultShare)
	w.box.SetLostShare(faultShare / 4)
	w.balancer.wicked.Store(true)
	ctx, cancel := context.WithTimeout(w.Context(), time.Duration(*seconds)*time.Second)
	defer cancel()
	var doing sync.WaitGroup
	doing.Go(func() { // so that the real Terraform applies something, however short the torture is
		for _, merge := range reviewed {
			merge()
		}
	})
	for i := range actors {
		chance := chances(w.seed + 10 + uint64(i))
		doing.Go(func() {
			for ctx.Err() == nil {
				// What was begun is done, also when the time is up: half a push is no push.
				w.act(context.WithoutCancel(ctx), w.repos[pick(chance, len(w.repos))], chance)
				pause(ctx, time.Duration(chance()*float64(800*time.Millisecond)))
			}
		})
	}
	doing.Go(func() { w.killer(ctx) })
	doing.Wait()
	share := 100 * float64(w.calls.faults.Load()) / float64(max(1, w.calls.all.Load()-before))
	w.box.SetFaultShare(0)
	w.box.SetLostShare(0)
	w.balancer.wicked.Store(false)
	w.balancer.pending.Wait()
	w.settle()
	w.Logf("%d acts, %d kills; deliveries: %d handed on, %d doubled, %d delayed, %d failed", w.acts.Load(), w.kills,
		w.balancer.counts.forwarded.Load(), w.balancer.counts.doubled.Load(), w.balancer.counts.delayed.Load(), w.balancer.counts.failed.Load())
	w.Logf("%d calls of GitHub's API, of which %.0f %% failed or lost their answer while it was tortured", w.calls.all.Load(), share)
	w.judge()
}

// review opens a pull request in each repository that has the real Terraform, waits for the plans, and returns what
// merges them.
func (w *world) review() (merges []func()) {
	w.Helper()
	chance := chances(w.seed + 3)
	for _, r := range w.repos {
		if !r.real {
			continue
		}
		r.openPull(w.Context(), chance)
		merges = append(merges, func() { r.merge(w.Context(), r.Pulls()[0].Number) })
	}
	w.settle()
	return merges
}

// killer kills a replica every few seconds and starts it again.
func (w *world) killer(ctx context.Context) {
	chance := chances(w.seed + 2)
	for ctx.Err() == nil {
		pause(ctx, time.Second+time.Duration(chance()*float64(3*time.Second)))
		r := w.replicas[pick(chance, len(w.replicas))]
		r.kill()
		w.kills++
		pause(ctx, time.Duration(chance()*float64(2*time.Second)))
		if err := r.start(context.WithoutCancel(ctx)); err != nil {
			w.Error(err)
			return
		}
	}
}

// act does one thing that people do. What GitHub refuses, such as a merge of what is merged, is no fault.
func (w *world) act(ctx context.Context, r *repository, chance func() float64) {
	w.acts.Add(1)
	open := slices.DeleteFunc(r.Pulls(), func(p sandbox.PullView) bool { return p.State != "open" })
	kind := chance()
	switch {
	case len(open) == 0 || kind < 0.25:
		r.openPull(ctx, chance)
	case kind < 0.33:
		pull := open[pick(chance, len(open))]
		r.push(ctx, pull.Head.Name, r.change(chance))
	case kind < 0.63:
		if planned := slices.DeleteFunc(slices.Clone(open), func(p sandbox.PullView) bool {
			return len(missingChecks("", p)) > 0
		}); len(planned) > 0 && chance() < 0.8 { // people mostly wait for the plan
			open = planned
		}
		r.merge(ctx, open[pick(chance, len(open))].Number)
	case kind < 0.67:
		_ = r.ClosePull(ctx, "ben", open[pick(chance, len(open))].Number) // it may have been merged meanwhile
	case kind < 0.70:
		r.push(ctx, "develop", r.change(chance)) // reviewed by nobody
	case kind < 0.90:
		r.confirm(ctx, chance)
	default:
		comments := []string{"/plan", "/apply dev", "/apply test", "/status", "/why", "/cancel dev", "/aply dev", "hello"}
		pulls := r.Pulls()
		_, _ = r.Comment(ctx, "ana", pulls[pick(chance, len(pulls))].Number, comments[pick(chance, len(comments))])
	}
}

// change is one file of each root, or of one of them, new or other than before.
func (r *repository) change(chance func() float64) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	name := fmt.Sprintf("part%d", r.next)
	roots := r.roots
	if chance() < 0.5 { //nolint:mnd // half of them
		roots = roots[:1]
	}
	files := map[string]string{}
	for _, root := range roots {
		files[root+"/"+name+".tf"] = fmt.Sprintf("resource \"terraform_data\" %q {\n  input = \"%f\"\n}\n", name, chance())
	}
	return files
}

func (r *repository) openPull(ctx context.Context, chance func() float64) {
	from, to := "feature", "develop"
	switch kind := chance(); {
	case kind < 0.15:
		from, to = "hotfix", "main"
	case kind < 0.35:
		from, to = "fix", "release/1"
	}
	files := r.change(chance)
	branch := from + "/" + strings.TrimSuffix(filepath.Base(slices.Collect(maps.Keys(files))[0]), ".tf")
	sha, err := r.Push(ctx, "ben", branch, files, "Change "+branch, sandbox.PushOptions{From: to})
	if err != nil {
		return
	}
	r.saw(sha)
	_, _ = r.OpenPull(ctx, "ben", sandbox.Pull{From: branch, To: to, Title: branch})
}

func (r *repository) merge(ctx context.Context, number int) {
	if sha, err := r.Merge(ctx, "ana", number, sandbox.MergeCommit); err == nil {
		r.saw(sha)
	}
}

// asked is the command that a comment of ours asks a person for.
var asked = regexp.MustCompile("comment `(/apply [a-z]+ [0-9a-f]+)`") //nolint:gochecknoglobals // a constant in all but name

// confirm says yes to some question that is or was asked.
func (r *repository) confirm(ctx context.Context, chance func() float64) {
	type question struct {
		pull int
		yes  string
	}
	var questions []question
	for _, pull := range r.Pulls() {
		for _, comment := range pull.Comments {
			if found := asked.FindStringSubmatch(comment.Body); comment.Bot && found != nil {
				questions = append(questions, question{pull.Number, found[1]})
			}
		}
	}
	if len(questions) > 0 {
		q := questions[pick(chance, len(questions))]
		_, _ = r.Comment(ctx, "ana", q.pull, q.yes) // always allowed
	}
}

func (r *repository) push(ctx context.Context, branch string, files map[string]string) {
	if sha, err := r.Push(ctx, "ben", branch, files, "Change it"); err == nil {
		r.saw(sha)
	}
}

func (r *repository) saw(sha string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heads[sha] = true
}

func pick(chance func() float64, n int) int { return int(chance() * float64(n)) }

// pause waits, at most until ctx ends: what people do takes time.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
