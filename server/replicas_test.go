package server_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/server"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

// takenOver is within what time another server goes on with the work of one that was killed.
const takenOver = 15 * time.Second

// overdueVariable shortens Overdue of a server process.
const overdueVariable = "TEST_OVERDUE"

// serve is what this test's binary does as a server process. It ends with the test.
func serve() error {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it or dies
		os.Exit(1)
	}()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	options, err := settings.Load("", os.LookupEnv)
	if err != nil {
		return err
	}
	ctx := context.Background()
	running, err := server.New(ctx, server.Options{Settings: options, Log: zerolog.New(os.Stderr).With().Timestamp().Logger(), Program: program})
	if err != nil {
		return err
	}
	if text := os.Getenv(overdueVariable); text != "" {
		overdue, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		running.SetOverdue(overdue)
	}
	return running.Run(ctx)
}

// replica is a server process of a world, which can be killed and started again on its data directory.
type replica struct {
	w             *world
	name, address string
	terraform     string // what it runs as Terraform
	database      string // empty: one of its own
	settings      []string
	cmd           *exec.Cmd
	ended         chan struct{}
	log           bytes.Buffer // of the process that runs, read when it has ended
}

func (w *world) replica(name, database string, settings ...string) *replica {
	w.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(w.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		w.t.Skip("terraform is not on PATH")
	}
	r := &replica{
		w: w, name: name, address: listener.Addr().String(), terraform: terraform, database: database, settings: settings,
	}
	w.t.Cleanup(func() {
		r.kill()
		if w.t.Failed() {
			w.t.Logf("the log of %s:\n%s", name, r.log.String())
		}
	})
	return r
}

func (r *replica) dir() string { return filepath.Join(r.w.data, r.name) }

// identity is that of its data directory.
func (r *replica) identity() string {
	r.w.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir(), "host"))
	if err != nil {
		r.w.t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// gated has each Terraform process of a subcommand wait while a barrier is closed, for two minutes at most.
func (r *replica) gated(subcommand string) barrier {
	r.w.t.Helper()
	b := barrier{t: r.w.t.(*testing.T), path: filepath.Join(r.w.States, r.name+"-"+subcommand+".hold")}
	program := filepath.Join(r.w.t.TempDir(), "terraform")
	text := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = %s ]; then for i in $(seq 2400); do [ -e '%s' ] || break; sleep 0.05; done; fi\nexec '%s' \"$@\"\n",
		subcommand, b.path, r.terraform)
	if err := os.WriteFile(program, []byte(text), 0o700); err != nil {
		r.w.t.Fatal(err)
	}
	r.terraform = program
	return b
}

// start starts the process and waits until it answers.
func (r *replica) start() {
	r.w.t.Helper()
	program, err := os.Executable()
	if err != nil {
		r.w.t.Fatal(err)
	}
	box := r.w.Box
	cmd := exec.Command(program, "serve")
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.w.data, "SWITCHYARD_LISTEN=" + r.address, "SWITCHYARD_DATA_DIR=" + r.dir(),
		"SWITCHYARD_APP_ID=" + strconv.FormatInt(box.AppID(), 10), "SWITCHYARD_PRIVATE_KEY=" + string(box.PrivateKey()),
		"SWITCHYARD_WEBHOOK_SECRETS=" + box.WebhookSecret(), "SWITCHYARD_GITHUB_URL=" + box.URL(),
		"SWITCHYARD_TERRAFORM_PATH=" + r.terraform, "SWITCHYARD_WRITES_PER_MINUTE=0", "SWITCHYARD_WRITES_PER_HOUR=0",
		"SWITCHYARD_ISOLATION_WRITE=" + r.w.States,
	}, r.settings...)
	if r.database != "" {
		cmd.Env = append(cmd.Env, "SWITCHYARD_DATABASE="+r.database)
	}
	if _, err := cmd.StdinPipe(); err != nil { // held open until this process ends
		r.w.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = &r.log, &r.log
	if err := cmd.Start(); err != nil {
		r.w.t.Fatalf("start %s: %v", r.name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, as a rule
		close(ended)
	}()
	r.cmd, r.ended = cmd, ended
	limited, cancel := context.WithTimeout(r.w.ctx, patience)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond) //nolint:forbidigo // another process gives no signal
	defer ticker.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(limited, "tcp", r.address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ticker.C:
		case <-ended:
			r.w.t.Fatalf("%s ended while it started:\n%s", r.name, r.log.String())
		case <-limited.Done():
			r.w.t.Fatalf("%s does not answer", r.name)
		}
	}
}

// kill is kill -9. Runners go on.
func (r *replica) kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill() // that it is gone is no error
	<-r.ended
	r.cmd = nil
}

func (r *replica) hears() { r.w.Box.SetWebhookURL("http://" + r.address + "/api/github/hook") }

// newBareWorld is a sandbox with acme and its people, but without a server.
func newBareWorld(t *testing.T, change ...func(*sandbox.Options)) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	held := contract.Watch(t)
	dir := t.TempDir()
	options := sandbox.Options{Dir: filepath.Join(dir, "github"), Observe: held.Observe, Log: quiet}
	for _, c := range change {
		c(&options)
	}
	box, err := sandbox.Start(ctx, options)
	if err != nil {
		t.Fatalf("start the sandbox: %v", err)
	}
	t.Cleanup(func() { _ = box.Close() })
	w := &world{Box: box, States: filepath.Join(dir, "states"), t: t, ctx: ctx, data: filepath.Join(dir, "data")}
	for _, dir := range []string{w.States, w.data} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := box.CreateOrg("acme"); err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{story.Ana, story.Ben, story.Cleo} {
		if err := box.AddPerson(sandbox.Person{Login: login}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// replicas is a shop with two servers on one PostgreSQL. Only a runs, and hears of what happens; b is started where a
// test says so, because each of two servers may take any job.
type replicas struct {
	*shop
	a, b *replica
	db   *sql.DB
}

func newReplicas(t *testing.T, gate string, settings ...string) (*replicas, barrier) {
	t.Helper()
	database := pgtest.New(t)
	w := newBareWorld(t)
	p := &replicas{a: w.replica("a", database, settings...), b: w.replica("b", database, settings...)}
	b := p.a.gated(gate)
	var err error
	if p.db, err = sql.Open("pgx", database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.db.Close() })
	p.a.start()
	p.a.hears()
	p.shop = newShopOn(t, w, nil)
	return p, b
}

// files is a change that leaves a word where it is applied, each time.
func (s *shop) files(name string) map[string]string {
	return map[string]string{"infra/" + name + ".tf": fmt.Sprintf(`resource "terraform_data" %q {
  provisioner "local-exec" {
    command = "echo %s >> '%s/applied'"
  }
}
`, name, name, s.States)}
}

// applications are the words that were left by what was applied.
func (s *shop) applications() string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.States, "applied"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(data)), " ")
}

// appliedOnce checks that each of these was applied, in this order, and none of them twice.
func (s *shop) appliedOnce(names ...string) {
	s.t.Helper()
	if got, want := s.applications(), strings.Join(names, " "); got != want {
		s.t.Errorf("applied: %q, want %q", got, want)
	}
}

// openPlanned opens a pull request with a change and waits for its plan.
func (s *shop) openPlanned(name string) int {
	s.t.Helper()
	number := s.open("feature/"+name, "develop", s.files(name))
	s.planned(number, "dev")
	return number
}

// column waits until a query gives something, which it returns.
func (p *replicas) column(what, query string, args ...any) string {
	p.t.Helper()
	limited, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond) //nolint:forbidigo // another process gives no signal
	defer ticker.Stop()
	for {
		var value string
		err := p.db.QueryRowContext(limited, query, args...).Scan(&value)
		if err == nil {
			return value
		}
		select {
		case <-ticker.C:
		case <-limited.Done():
			p.t.Fatalf("%s: %v\neffects:\n%s", what, err, strings.Join(p.Box.Effects(), "\n"))
		}
	}
}

// launched waits until the runner of an operation of a kind runs on a server, and returns when the attempt began.
func (p *replicas) launched(kind string, r *replica) time.Time {
	p.t.Helper()
	started := p.column("a runner of "+r.name, `SELECT CAST(started AS TEXT) FROM operations WHERE kind = $1 AND host = $2
		AND state <> 'queued' ORDER BY id DESC LIMIT 1`, kind, r.identity())
	millis, err := strconv.ParseInt(started, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return time.UnixMilli(millis)
}

// loseA merges two pull requests: a begins to apply the first and is killed, b is there, and the second waits.
func (p *replicas) loseA(hold barrier) (first, second int, firstSHA, secondSHA string) {
	p.t.Helper()
	first, second = p.openPlanned("one"), p.openPlanned("two")
	hold.close()
	firstSHA = p.merge(first)
	p.launched("apply", p.a)
	p.b.start()
	p.b.hears()
	p.a.kill()
	secondSHA = p.merge(second)
	return first, second, firstSHA, secondSHA
}

// longAgo has a, which was killed, be dead for as long as others wait for it.
func (p *replicas) longAgo() {
	p.t.Helper()
	host := p.a.identity()
	for _, statement := range []string{
		`UPDATE replicas SET seen = seen - 15000 WHERE id = $1`,
		`UPDATE jobs SET until = 0 WHERE worker = $1 AND state = 'running'`,
	} {
		if _, err := p.db.ExecContext(p.ctx, statement, host); err != nil {
			p.t.Fatal(err)
		}
	}
}

// unknown waits until people are told that it is not known what became of the apply on a.
func (p *replicas) unknown(number int, sha string) {
	p.t.Helper()
	host, err := os.Hostname()
	if err != nil {
		p.t.Fatal(err)
	}
	p.said(number, "not known whether the apply", "still runs", host, "bring that server back", "`/unlock dev`")
	p.said(number, "not known whether the apply", "the hold ends at", "state lock is held from "+host, "`/unlock dev`", away)
	p.checkOf(sha, "switchyard / apply (dev)", "says that it is not known", func(c sandbox.Check) bool {
		return c.Status == "in_progress" && strings.Contains(c.Title, "not known")
	})
}

// away marks the comment that calls people where it is not known whether an apply still runs.
const away = "/1/away -->"

// calledOnce waits until that comment is minimised, and checks that it was posted once.
func (s *shop) calledOnce(number int) {
	s.t.Helper()
	calls := 0
	s.eventually("the comment that called people is minimised", func() bool {
		calls = 0
		open := false
		view, _ := s.repo.PullView(number)
		for _, comment := range view.Comments {
			if strings.Contains(comment.Body, away) {
				calls++
				open = open || !comment.Minimized
			}
		}
		return !open
	})
	if calls != 1 {
		s.t.Errorf("people were called %d times", calls)
	}
}

// waits checks that an apply has not begun.
func (p *replicas) waits(sha string) {
	p.t.Helper()
	p.checkOf(sha, "switchyard / apply (dev)", "is queued", func(c sandbox.Check) bool { return c.Status == "queued" })
	var begun int
	if err := p.db.QueryRowContext(p.ctx, `SELECT COUNT(*) FROM operations WHERE kind = 'apply' AND head = $1 AND attempt > 0`, sha).
		Scan(&begun); err != nil || begun != 0 {
		p.t.Errorf("an apply began beside one of which nothing is known: %d, %v", begun, err)
	}
}

func TestAnApplyWhoseServerDiesHoldsItsEnvironmentUntilThatServerIsBackAndTellsItsOutcome(t *testing.T) {
	t.Parallel()
	p, hold := newReplicas(t, "apply")
	first, second, firstSHA, secondSHA := p.loseA(hold)
	p.unknown(first, firstSHA)
	p.waits(secondSHA)
	hold.open() // the runner goes on without its server
	p.file("the runner ends", filepath.Join(p.States, "applied"), 1)
	p.file("the runner leaves its result", p.resultOf("apply"), 1)
	p.waits(secondSHA)
	p.a.start()
	p.checkIs(firstSHA, "switchyard / apply (dev)", "success")
	p.said(first, "Applied to dev")
	p.checkIs(secondSHA, "switchyard / apply (dev)", "success")
	p.said(second, "Applied to dev")
	p.appliedOnce("one", "two")
}

func TestAnApplyWhoseServerComesBackWhileItRunsIsKnownAgain(t *testing.T) {
	t.Parallel()
	p, hold := newReplicas(t, "apply")
	first, _, firstSHA, secondSHA := p.loseA(hold)
	p.longAgo()
	p.unknown(first, firstSHA)
	p.a.start()
	p.said(first, "Waiting for dev", "has been applying")
	p.calledOnce(first)
	p.checkOf(firstSHA, "switchyard / apply (dev)", "says that it runs", func(c sandbox.Check) bool { return c.Title == "Applying to dev" })
	p.waits(secondSHA)
	hold.open()
	p.checkIs(firstSHA, "switchyard / apply (dev)", "success")
	p.checkIs(secondSHA, "switchyard / apply (dev)", "success")
	p.appliedOnce("one", "two")
}

func TestUnlockEndsAnApplyWhoseServerDiedAndItsLateResultIsNotTaken(t *testing.T) {
	t.Parallel()
	p, hold := newReplicas(t, "apply")
	first, second, firstSHA, secondSHA := p.loseA(hold)
	p.longAgo()
	p.unknown(first, firstSHA)
	p.repo.SetRole(story.Cleo, sandbox.Maintain)
	p.comment(story.Ana, first, "/unlock dev")
	p.comment(story.Cleo, first, "/confirm "+p.code(first)) // nobody can tell whether it lives, so two are asked
	p.said(first, "not known whether dev was changed", "released by ana, confirmed by cleo", "`/apply dev`")
	p.calledOnce(first)
	p.checkIs(firstSHA, "switchyard / apply (dev)", "failure")
	p.checkIs(secondSHA, "switchyard / apply (dev)", "success")
	p.said(second, "Applied to dev")
	p.launched("apply", p.b)
	both := strings.Fields(p.applications()) // in whatever order
	if len(both) != 2 {
		t.Errorf("applied: %q", both)
	}
	// What a had planned is refused by Terraform now, because the state has moved.
	hold.open()
	p.file("the runner of a leaves its result", p.resultOf("apply"), 1)
	p.a.start()
	third := p.openPlanned("three")
	p.checkIs(p.merge(third), "switchyard / apply (dev)", "success")
	p.checkIs(firstSHA, "switchyard / apply (dev)", "failure")
	p.appliedOnce(append(both, "three")...)
}

// resultOf is the file that the runner of the first operation of a kind leaves on a.
func (p *replicas) resultOf(kind string) string {
	p.t.Helper()
	attempt := p.column("an operation", `SELECT CAST(id AS TEXT) || '-1' FROM operations WHERE kind = $1 ORDER BY id LIMIT 1`, kind)
	return filepath.Join(p.a.dir(), "runs", attempt+"-*", "result.json")
}

// file waits until so many files match a pattern.
func (s *shop) file(what, pattern string, count int) {
	s.t.Helper()
	limited, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond) //nolint:forbidigo // another process gives no signal
	defer ticker.Stop()
	for {
		if found, _ := filepath.Glob(pattern); len(found) >= count {
			return
		}
		select {
		case <-ticker.C:
		case <-limited.Done():
			s.t.Fatalf("%s: no %s", what, pattern)
		}
	}
}

func TestAnApplyWhoseServerNeverComesBackEndsWithItsTimeLimit(t *testing.T) {
	t.Parallel()
	p, hold := newReplicas(t, "apply", "SWITCHYARD_LIMITS_APPLY=14s", "SWITCHYARD_LIMITS_LOCK=10s", "SWITCHYARD_LIMITS_STOP_GRACE=2s", overdueVariable+"=2s")
	first, second, firstSHA, secondSHA := p.loseA(hold)
	p.unknown(first, firstSHA)
	p.waits(secondSHA)
	p.said(first, "not known whether dev was changed", "never answered again", "`/apply dev`")
	p.calledOnce(first)
	p.checkIs(firstSHA, "switchyard / apply (dev)", "failure")
	p.checkIs(secondSHA, "switchyard / apply (dev)", "success")
	p.said(second, "Applied to dev")
	if got := len(strings.Fields(p.applications())); got != 2 {
		t.Errorf("applied: %q", p.applications())
	}
}

func TestAPlanWhoseServerDiesIsMadeAnewByAnotherOne(t *testing.T) {
	t.Parallel()
	p, hold := newReplicas(t, "plan")
	p.openPlanned("before") // the repository is taken in
	hold.close()
	number := p.open("feature/one", "develop", p.files("one"))
	p.launched("plan", p.a)
	p.b.start()
	p.b.hears()
	p.a.kill()
	killed := time.Now()
	if took := p.launched("plan", p.b).Sub(killed); took > takenOver {
		t.Errorf("it was begun anew after %v, not within %v", took, takenOver)
	}
	p.planned(number, "dev")
	p.said(number, "Plan for dev")
	hold.open()
	p.a.start()
	after := p.openPlanned("after")
	p.said(after, "Plan for dev")
	view, _ := p.repo.PullView(number)
	if len(view.Comments) != 1 {
		t.Errorf("it has %d comments: %v", len(view.Comments), view.Comments)
	}
	for _, check := range view.Checks {
		if check.Conclusion != "success" {
			t.Errorf("%s is %s %s", check.Name, check.Status, check.Conclusion)
		}
	}
}

func TestCancelStopsAnApplyThatAnotherServerRuns(t *testing.T) {
	t.Parallel()
	for name, hears := range map[string]func(*replicas){
		"which hears of it":             func(p *replicas) { p.signal(syscall.SIGCONT) },
		"which dies before it hears it": func(p *replicas) { p.a.kill(); p.a.start() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := newReplicas(t, "apply")
			word := filepath.Join(p.States, "word")
			number := p.open("feature/slow", "develop", map[string]string{"infra/slow.tf": fmt.Sprintf(`resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "echo begun > '%s'; for i in $(seq 2400); do sleep 0.05; done"
  }
}
`, word)})
			p.planned(number, "dev")
			sha := p.merge(number)
			p.file("Terraform is in the middle of it", word, 1)
			p.b.start()
			p.b.hears()
			// While a stands still, it is b that takes the command; a stays alive for the others meanwhile.
			p.signal(syscall.SIGSTOP)
			p.comment(story.Ana, number, "/cancel dev")
			p.said(number, "Stopping")
			hears(p)
			p.checkIs(sha, "switchyard / apply (dev)", "cancelled")
			p.said(number, "cancelled")
			var result string
			if err := p.db.QueryRowContext(p.ctx, `SELECT result FROM operations WHERE kind = 'apply'`).Scan(&result); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(result, "nterrupt") { // Terraform says so
				t.Errorf("Terraform was not interrupted: %s", result)
			}
		})
	}
}

// signal sends a signal to a.
func (p *replicas) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.a.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func TestAServerThatIsKilledAtAnyMomentAppliesEachMergeOnce(t *testing.T) {
	t.Parallel()
	w := newBareWorld(t)
	r := w.replica("alone", "", "SWITCHYARD_SWEEP=2s")
	r.start()
	r.hears()
	s := newShopOn(t, w, nil)
	const merges = 5
	names := make([]string, merges)
	for i := range names {
		names[i] = fmt.Sprintf("part%d", i)
		number := s.openPlanned(names[i])
		sha := s.merge(number)
		wait := time.Duration(rand.Int64N(int64(900 * time.Millisecond)))
		<-time.After(wait)
		r.kill()
		r.start()
		if check := s.ends(sha); check.Conclusion != "success" {
			// In the few milliseconds in which a runner is started nobody can tell whether it was; then a person is asked.
			t.Logf("killed %v after merge %d: %s", wait, i, check.Title)
			if check.Title != "It is not known whether dev was changed" {
				t.Fatalf("it ended as %s: %s", check.Conclusion, check.Summary)
			}
			s.comment(story.Ana, number, "/apply dev")
			s.checkIs(sha, "switchyard / apply (dev)", "success")
		}
	}
	s.appliedOnce(names...)
}

// ends waits until the apply of a commit has ended.
func (s *shop) ends(sha string) sandbox.Check {
	s.t.Helper()
	return s.checkOf(sha, "switchyard / apply (dev)", "ends", func(c sandbox.Check) bool { return c.Conclusion != "" })
}

func TestASecondServerOnADataDirectoryRefusesToStart(t *testing.T) {
	t.Parallel()
	w := newBareWorld(t)
	r := w.replica("alone", "")
	r.start()
	options := server.ForSandbox(w.Box, r.dir(), "/bin/true", quiet) // it runs nothing
	second, err := server.New(t.Context(), options)
	if err == nil {
		_ = second.Close()
		t.Fatal("it started")
	}
	if want := "another server uses the data directory " + r.dir() + "; end it first"; !strings.Contains(err.Error(), want) {
		t.Errorf("it says %q, want %q", err, want)
	}
	r.kill()
	if second, err = server.New(t.Context(), options); err != nil {
		t.Fatalf("after the first has died: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
