package server_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/server"
	"github.com/switchyard-dev/switchyard/settings"
)

// What the storm is made of.
const (
	stormPulls = 300
	stormBot   = "renovate[bot]"
	// stormStep is by how much the clock is moved when there is nothing to do before.
	stormStep = 5 * time.Second
	// stormLimit bounds the time of the clock that the storm may take to be shown: nearly four writes for each pull
	// request, of which bots may make 315 an hour.
	stormLimit = 5 * time.Hour
)

const stormConfig = `version: 1
application: storm
environments:
  dev:  { branch: develop }
  prod: { branch: main }
flow:
  allow: [{ from: "renovate/**", to: develop }]
roots:
  - dir: infra
    backend: { path: "/states/{environment}.tfstate" }
executor: local
`

// stormRunner stands in for the runner, and so for Terraform: a plan of one change, in a moment.
const stormRunner = `#!/bin/sh
set -e
read -r task <"$3" || true
operation=${task#*'"operation":'} attempt=${task#*'"attempt":'} commit=${task#*'"commit":"'} launch=${task#*'"launch":"'}
printf '{"version":1,"operation":%s,"attempt":%s,"commit":"%s","launch":"%s","tools":[{"name":"terraform","version":"1.11.4"}],
"started":"2026-01-01T00:00:00Z","ended":"2026-01-01T00:00:01Z","targets":[{"target":{"root":"infra","environment":"dev"},
"outcome":"planned","change_set":{"digest":"d","counts":{"add":1},"changes":[{"address":"terraform_data.new","action":"create"}]}}]}
' "${operation%%,*}" "${attempt%%,*}" "${commit%%\"*}" "${launch%%\"*}" >"$5.new"
mv "$5.new" "$5"
`

// tempest is a server with a clock that the test holds, on a GitHub with the same clock that enforces its limits of content.
type tempest struct {
	*shop

	clock *clockwork.FakeClock
	begin time.Time
	db    *sql.DB
}

func newTempest(t *testing.T) *tempest {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	dir := t.TempDir()
	p := &tempest{clock: clockwork.NewFakeClockAt(time.Now())}
	box, err := sandbox.Start(ctx, sandbox.Options{Dir: filepath.Join(dir, "github"), Now: p.clock.Now, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	w := &world{Box: box, States: filepath.Join(dir, "states"), t: t, ctx: ctx, data: filepath.Join(dir, "data")}
	for _, person := range []sandbox.Person{{Login: story.Ana}, {Login: story.Ben}, {Login: stormBot, Bot: true}} {
		if err := box.AddPerson(person); err != nil {
			t.Fatal(err)
		}
	}
	if err := box.CreateOrg("acme"); err != nil {
		t.Fatal(err)
	}
	repo, err := box.CreateRepository(ctx, "acme", "storm", sandbox.Seed{
		DefaultBranch: "main",
		Branches: []sandbox.SeedBranch{
			{Name: "main", Files: map[string]string{".github/switchyard.yml": stormConfig, "infra/main.tf": rootFile}, As: story.Ana},
			{Name: "develop", From: "main"},
		},
		Roles: map[string]sandbox.Role{story.Ana: sandbox.Maintain, story.Ben: sandbox.Write, stormBot: sandbox.Write},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.shop = &shop{world: w, repo: repo}
	p.serve(t, dir)
	box.LimitContent(sandbox.ContentPerMinute, sandbox.ContentPerHour)
	if err := box.Install(ctx, "acme", "storm"); err != nil {
		t.Fatal(err)
	}
	return p
}

// serve starts the server.
func (p *tempest) serve(t *testing.T, dir string) {
	t.Helper()
	runner := filepath.Join(dir, "runner")
	if err := os.WriteFile(runner, []byte(stormRunner), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	options := server.ForSandbox(p.Box, p.data, runner, quiet)
	options.Clock = p.clock
	options.Settings.Writes = settings.Defaults().Writes
	options.Settings.Parallel.Plans = 8
	options.Settings.Terraform.Path = runner // it is never started
	options.Settings.GitHub.API = p.signedByTheClock(t, options.Settings.GitHub.API)
	var err error
	if p.Server, err = server.New(p.ctx, options); err != nil {
		t.Fatal(err)
	}
	p.Box.SetWebhookURL(p.Server.URL() + "/api/github/hook")
	ctx, cancel := context.WithCancel(p.ctx)
	done := make(chan error, 1)
	go func() { done <- p.Server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	if p.db, err = sql.Open("sqlite", "file:"+filepath.Join(p.data, "switchyard.db")+"?_pragma=query_only(1)&_pragma=busy_timeout(5000)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.db.Close() })
}

// signedByTheClock is the address of the API behind a proxy that signs the App's own tokens by the clock that the
// test holds: the library that makes them has the real one.
func (p *tempest) signedByTheClock(t *testing.T, api string) string {
	t.Helper()
	target, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(p.Box.PrivateKey())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(strings.TrimPrefix(r.URL.Path, target.Path), "/app") {
			signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
				Issuer: strconv.FormatInt(p.Box.AppID(), 10), IssuedAt: jwt.NewNumericDate(p.clock.Now().Add(-time.Minute)),
				ExpiresAt: jwt.NewNumericDate(p.clock.Now().Add(5 * time.Minute)),
			}).SignedString(key)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			r.Header.Set("Authorization", "Bearer "+signed)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front.URL + target.Path
}

// opens has somebody open a pull request that adds a file.
func (p *tempest) opens(as, branch string) int {
	p.t.Helper()
	files := map[string]string{"infra/" + filepath.Base(branch) + ".tf": "# " + branch + "\n"}
	if _, err := p.repo.Push(p.ctx, as, branch, files, branch, sandbox.PushOptions{From: "develop"}); err != nil {
		p.t.Fatalf("push: %v", err)
	}
	number, err := p.repo.OpenPull(p.ctx, as, sandbox.Pull{From: branch, To: "develop", Title: branch})
	if err != nil {
		p.t.Fatalf("open: %v", err)
	}
	return number
}

// left is how much the server has to do: jobs that could run now, surfaces that are being written, and all surfaces
// that do not show yet what they should.
func (p *tempest) left() (jobs, writing, surfaces int) {
	p.t.Helper()
	err := p.db.QueryRowContext(p.ctx, `SELECT (SELECT COUNT(*) FROM jobs WHERE state IN ('waiting', 'running')),
		(SELECT COUNT(*) FROM surfaces WHERE claimed_until > 0), (SELECT COUNT(*) FROM surfaces WHERE version > written)`).
		Scan(&jobs, &writing, &surfaces)
	if err != nil {
		p.t.Fatalf("ask what is left: %v", err)
	}
	return jobs, writing, surfaces
}

// calm waits until the server can do no more at this time of the clock, and says how much is left to be shown.
func (p *tempest) calm() int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 5*patience) // the first time, hundreds of plans may be left
	defer cancel()
	ticker := time.NewTicker(time.Millisecond) //nolint:forbidigo // the database gives no signal
	defer ticker.Stop()
	for still := 0; ; {
		jobs, writing, surfaces := p.left()
		if still++; jobs+writing > 0 {
			still = 0
		}
		if still > 1 {
			return surfaces
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			p.t.Fatalf("%d jobs are not done, %d writes go on", jobs, writing)
		}
	}
}

// shows reports whether a pull request shows its plan: two checks that have ended, and one comment.
func (p *tempest) shows(number int) error {
	view, _ := p.repo.PullView(number)
	for _, name := range []string{"switchyard / gitflow", "switchyard / plan (dev)"} {
		if !slices.ContainsFunc(view.Checks, func(c sandbox.Check) bool { return c.Name == name && c.Conclusion == "success" }) {
			return fmt.Errorf("check %q of #%d has not succeeded", name, number)
		}
	}
	if len(view.Checks) != 2 {
		return fmt.Errorf("#%d has %d checks", number, len(view.Checks))
	}
	var comments []string
	for _, comment := range view.Comments {
		if comment.Bot && strings.Contains(comment.Body, "switchyard:pull") {
			comments = append(comments, comment.Body)
		}
	}
	if len(comments) != 1 || !strings.Contains(comments[0], "Plan for dev") {
		return fmt.Errorf("#%d has the comments %q", number, comments)
	}
	return nil
}

// shown waits until a pull request shows its plan while the clock stands still.
func (p *tempest) shown(what string, number int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 5*patience)
	defer cancel()
	if err := p.Box.Await(ctx, func() bool { return p.shows(number) == nil }); err != nil {
		p.t.Fatalf("%s is not shown: %v, %v", what, p.shows(number), err)
	}
}

// A storm takes all of a machine for a while: beside it, other tests would wait in vain.
func TestAStormOfABotIsShownWithoutOneWriteOverTheLimitAndPeopleGoFirst(t *testing.T) { //nolint:paralleltest // see above
	p := newTempest(t)
	p.calm()
	p.begin = p.clock.Now()
	var bots []int
	var person int
	for i := range stormPulls {
		bots = append(bots, p.opens(stormBot, fmt.Sprintf("renovate/dependency-%d", i)))
		p.clock.Advance(time.Second) // 300 of them in five minutes
		if i == stormPulls/2 {
			person = p.opens(story.Ben, "feature/mine")
		}
	}
	opened := p.clock.Now()
	p.shown("the person's pull request", person)
	if took := p.clock.Since(opened); took > 0 {
		t.Errorf("the person's pull request was shown %v after the last of the bot's was opened", took)
	}
	p.calm()
	hidden := slices.DeleteFunc(slices.Clone(bots), func(number int) bool { return p.shows(number) == nil })
	if len(hidden) < stormPulls/2 {
		t.Errorf("%d pull requests of the bot wait; the test needs more of a storm", len(hidden))
	}

	p.comment(story.Ben, person, "/status")
	status := p.said(person, "updates of bots' pull requests wait", "People's go first", "until", "UTC")
	t.Logf("/status: %s", strings.SplitN(status.Body, "\n", 2)[0])
	asked := hidden[len(hidden)-1]
	p.comment(story.Ben, asked, "/plan") // now a person wants it
	p.shown("the bot's pull request that a person asked for", asked)

	for left := p.calm(); left > 0; left = p.calm() {
		if p.clock.Since(p.begin) > stormLimit {
			t.Fatalf("after %v of the clock %d updates are not shown", stormLimit, left)
		}
		p.clock.Advance(stormStep)
	}
	for _, number := range append(bots, person) {
		if err := p.shows(number); err != nil {
			t.Error(err)
		}
	}
	if refused := p.Box.ContentRefused(); refused > 0 {
		t.Errorf("GitHub refused %d writes for their number", refused)
	}
	writes := 0
	for call, count := range p.Box.Calls() {
		if !strings.HasPrefix(call, "GET ") {
			writes += count
		}
	}
	t.Logf("%d pull requests were shown with %d writes, in %v of the clock", stormPulls+1, writes, p.clock.Since(p.begin).Round(time.Second))
}
