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
	realOnes     = 2    // of them have the real Terraform
	faultShare   = 0.20 // of GitHub's answers
	actors       = 4
	settleLimit  = 2 * time.Minute
)

const config = `version: 1
application: APP
environments:
  dev:  { branch: develop }
  test: { branch: [release, "release/*"] }
  prod: { branch: main }
roots:
  - dir: infra
    backend: { path: "STATES/APP-{environment}.tfstate" }
executor: local
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
}

// repository is one of the repositories, and what was done in it.
type repository struct {
	*sandbox.Repository

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

	w.box, err = sandbox.Start(context.WithoutCancel(t.Context()), sandbox.Options{
		Dir: filepath.Join(w.dir, "github"), Seed: int64(w.seed), RateLimit: 1_000_000, Log: zerolog.Nop(), //nolint:gosec // any bits will do
		Observe: contract.Watch(t).Observe,
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
		text := strings.NewReplacer("APP", name, "STATES", filepath.Join(w.dir, "states")).Replace(config)
		files := map[string]string{".github/switchyard.yml": text, "infra/main.tf": rootFile, "README.md": name + "\n"}
		if i < realOnes {
			files["infra/"+realMarker] = "\n"
		}
		repo, err := w.box.CreateRepository(w.Context(), "acme", name, sandbox.Seed{
			DefaultBranch: "main",
			Branches:      []sandbox.SeedBranch{{Name: "main", Files: files, As: "ana"}, {Name: "develop", From: "main"}, {Name: "release/1", From: "main"}},
			Roles:         map[string]sandbox.Role{"ana": sandbox.Maintain, "ben": sandbox.Write},
		})
		w.must(err)
		r := &repository{Repository: repo, heads: map[string]bool{}}
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
	w.box.SetFaultShare(faultShare)
	w.box.SetLostShare(faultShare / 4)
	w.balancer.wicked.Store(true)
	ctx, cancel := context.WithTimeout(w.Context(), time.Duration(*seconds)*time.Second)
	defer cancel()
	var doing sync.WaitGroup
	for i := range actors {
		chance := chances(w.seed + 10 + uint64(i))
		doing.Go(func() {
			for ctx.Err() == nil {
				w.act(ctx, w.repos[pick(chance, len(w.repos))], chance)
				pause(ctx, time.Duration(chance()*float64(800*time.Millisecond)))
			}
		})
	}
	doing.Go(func() { w.killer(ctx) })
	doing.Wait()
	w.box.SetFaultShare(0)
	w.box.SetLostShare(0)
	w.balancer.wicked.Store(false)
	w.balancer.pending.Wait()
	w.settle()
	w.Logf("%d acts, %d kills; deliveries: %d handed on, %d doubled, %d delayed, %d failed", w.acts.Load(), w.kills,
		w.balancer.counts.forwarded.Load(), w.balancer.counts.doubled.Load(), w.balancer.counts.delayed.Load(), w.balancer.counts.failed.Load())
	w.judge()
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
	case len(open) == 0 || kind < 0.30:
		r.openPull(ctx, chance)
	case kind < 0.45:
		pull := open[pick(chance, len(open))]
		r.push(ctx, pull.Head.Name, r.change(chance))
	case kind < 0.75:
		pull := open[pick(chance, len(open))]
		if sha, err := r.Merge(ctx, "ana", pull.Number, sandbox.MergeCommit); err == nil {
			r.saw(sha)
		}
	case kind < 0.80:
		_ = r.ClosePull(ctx, "ben", open[pick(chance, len(open))].Number) // it may have been merged meanwhile
	case kind < 0.88:
		r.push(ctx, "develop", r.change(chance)) // reviewed by nobody
	default:
		comments := []string{"/plan", "/apply dev", "/apply test", "/status", "/why", "/cancel dev", "/aply dev", "hello"}
		pulls := r.Pulls()
		_, _ = r.Comment(ctx, "ana", pulls[pick(chance, len(pulls))].Number, comments[pick(chance, len(comments))])
	}
}

// change is one file of the root, new or other than before.
func (r *repository) change(chance func() float64) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	name := fmt.Sprintf("part%d", r.next)
	return map[string]string{
		"infra/" + name + ".tf": fmt.Sprintf("resource \"terraform_data\" %q {\n  input = \"%f\"\n}\n", name, chance()),
	}
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
