package hub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/sandbox"
)

// The routes that faults are asked for.
const (
	postComment  = "POST /issues/{issue_number}/comments"
	patchComment = "PATCH /issues/comments/{comment_id}"
	postCheck    = "POST /check-runs"
	postDeploy   = "POST /deployments"
	postStatus   = "POST /deployments/{deployment_id}/statuses"
	getPull      = "GET /pulls/{pull_number}"
	everyCall    = "*"
)

// faulty is a stand-in whose hub has a clock that tests move.
type faulty struct {
	*standIn

	clock  *clockwork.FakeClock
	tokens int // sold; read it between calls
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	f := &faulty{clock: clockwork.NewFakeClockAt(time.Now())}
	f.standIn = newStandIn(t, func(o *sandbox.Options) {
		check := o.Observe
		o.Observe = func(e sandbox.Exchange) {
			if strings.HasSuffix(e.Route, "/access_tokens") {
				f.tokens++
			}
			check(e)
		}
	})
	var err error
	f.hub, err = hub.New(hub.Options{
		AppID: f.AppID(), PrivateKey: f.PrivateKey(), APIURL: f.APIURL(), GraphQLURL: f.GraphQLURL(), Clock: f.clock, Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if unserved := f.Unserved(); len(unserved) > 0 {
			t.Errorf("unserved: %v", unserved)
		}
	})
	return f
}

// calls is how many calls of a route GitHub got.
func (f *faulty) calls(route string) int {
	n := 0
	for name, times := range f.Calls() {
		method, path, _ := strings.Cut(route, " ")
		if route == everyCall || (strings.HasPrefix(name, method+" ") && strings.HasSuffix(name, path)) {
			n += times
		}
	}
	return n
}

// untilSeen is a context of somebody who gives up when GitHub has seen one more call of the route.
func (f *faulty) untilSeen(t *testing.T, route string) context.Context {
	t.Helper()
	ctx, giveUp := context.WithCancel(t.Context())
	t.Cleanup(giveUp)
	before := f.calls(route)
	go func() {
		if f.Await(ctx, func() bool { return f.calls(route) > before }) == nil {
			giveUp()
		}
	}()
	return ctx
}

func TestEachFaultOfAWriteSaysWhenItIsTriedAgainAndIsVisibleOnce(t *testing.T) {
	t.Parallel()
	const (
		atOnce   = 0 // a fault: the caller tries again with its own delay
		noAnswer = "no answer"
	)
	cases := []struct {
		name  string
		fault func(sandbox.Coming)
		wait  time.Duration
	}{
		{noAnswer, sandbox.Coming.TimeOut, atOnce},
		{"a reset connection", sandbox.Coming.Reset, atOnce},
		{"an answer that was lost", sandbox.Coming.LoseAnswer, atOnce},
		{"502", sandbox.Coming.BadGateway, atOnce},
		{"503", func(c sandbox.Coming) { c.Unavailable(0) }, atOnce},
		{"503 with Retry-After", func(c sandbox.Coming) { c.Unavailable(30 * time.Second) }, 30 * time.Second},
		{"403 with Retry-After", func(c sandbox.Coming) { c.Forbid(90 * time.Second) }, 90 * time.Second},
		{"403 without Retry-After", func(c sandbox.Coming) { c.Forbid(0) }, time.Minute},
		{"429 with Retry-After", func(c sandbox.Coming) { c.TooMany(90 * time.Second) }, 90 * time.Second},
		{"429 without Retry-After", func(c sandbox.Coming) { c.TooMany(0) }, time.Minute},
		{"the primary limit", func(c sandbox.Coming) { c.Exhaust(20 * time.Minute) }, 20 * time.Minute},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t)
			number, err := f.remote.OpenIssue(t.Context(), "ana", "t", "b")
			if err != nil {
				t.Fatal(err)
			}
			comment := hub.Comment{Number: number, Body: "one <!-- m -->", Marker: "<!-- m -->"}
			c.fault(f.Next(1, postComment))
			ctx := t.Context()
			if c.name == noAnswer {
				ctx = f.untilSeen(t, postComment)
			}
			_, err = f.hub.PutComment(ctx, f.repo, 0, comment)
			wait, waits := errors.AsType[*hub.Wait](err)
			if err == nil || waits != (c.wait > 0) || (!waits && typed(err)) {
				t.Fatalf("%v, want a wait of %v", err, c.wait)
			}
			comment.Search = true
			if waits {
				f.mustWait(t, wait, c.wait, comment)
			}
			if _, err := f.hub.PutComment(t.Context(), f.repo, 0, comment); err != nil {
				t.Fatal(err)
			}
			if issue, _ := f.remote.Issue(number); len(issue.Comments) != 1 {
				t.Errorf("%d comments, want 1", len(issue.Comments))
			}
		})
	}
}

// mustWait checks how long a wait is, and that nothing is called before its end, to which it moves the clock.
func (f *faulty) mustWait(t *testing.T, wait *hub.Wait, length time.Duration, comment hub.Comment) {
	t.Helper()
	now := f.clock.Now()
	if got := wait.Until.Sub(now); got < length || got > length+3*time.Second {
		t.Errorf("waits %v, want %v", got, length)
	}
	before := f.calls(everyCall)
	f.clock.Advance(wait.Until.Sub(now) - time.Nanosecond)
	for name, call := range map[string]func() error{
		"a write": func() error { _, err := f.hub.PutComment(t.Context(), f.repo, 0, comment); return err },
		"a read":  func() error { _, err := f.hub.Repository(t.Context(), f.repo); return err },
		"git":     func() error { _, err := f.hub.Token(t.Context(), f.repo); return err },
	} {
		if again, ok := errors.AsType[*hub.Wait](call()); !ok || !again.Until.Equal(wait.Until) {
			t.Errorf("%s does not wait until %v: %v", name, wait.Until, again)
		}
	}
	if n := f.calls(everyCall) - before; n > 0 {
		t.Errorf("%d calls while GitHub wants none", n)
	}
	f.clock.Advance(time.Nanosecond)
}

func TestAReadThatFailsIsAFaultAndSucceedsAfterwards(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	number, _ := f.open(t, "feature/a")
	read := func(ctx context.Context) error { _, err := f.hub.Pull(ctx, f.repo, number); return err }
	works := func() {
		t.Helper()
		if err := read(t.Context()); err != nil {
			t.Error(err)
		}
	}
	fails := func(ctx context.Context) {
		t.Helper()
		if err := read(ctx); err == nil || typed(err) {
			t.Errorf("%v, want a fault", err)
		}
	}
	f.Next(1, getPull).BadGateway()
	fails(t.Context())
	works()
	f.Next(1, getPull).Unavailable(0)
	fails(t.Context())
	works()
	f.Next(1, getPull).TimeOut()
	fails(f.untilSeen(t, getPull))
	works()
}

func TestASecondaryLimitWithoutATimeDoublesFromAMinute(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	number, _ := f.open(t, "feature/a")
	f.Next(4, postComment).Forbid(0)
	for _, length := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute} {
		if _, err := f.hub.Pull(t.Context(), f.repo, number); err != nil { // reads between do not begin it anew
			t.Fatal(err)
		}
		_, err := f.hub.PutComment(t.Context(), f.repo, 0, hub.Comment{Number: number, Body: "x"})
		wait, ok := errors.AsType[*hub.Wait](err)
		if !ok || wait.Until.Sub(f.clock.Now()) != length {
			t.Fatalf("%v, want a wait of %v", err, length)
		}
		f.clock.Advance(length)
	}
	if _, err := f.hub.PutComment(t.Context(), f.repo, 0, hub.Comment{Number: number, Body: "x"}); err != nil {
		t.Error(err)
	}
}

func TestLostAnswersMakeNothingTwice(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	ctx := t.Context()
	number, sha := f.open(t, "feature/a")
	lost := func(route string, put func() error) {
		t.Helper()
		f.Next(1, route).LoseAnswer()
		if err := put(); err == nil || typed(err) {
			t.Errorf("%s: %v, want a fault", route, err)
		}
		if err := put(); err != nil {
			t.Errorf("%s again: %v", route, err)
		}
	}

	check := hub.Check{Name: "plan", HeadSHA: sha, Status: hub.CheckQueued, ExternalID: "plan 1", Search: true}
	lost(postCheck, func() error { _, err := f.hub.PutCheck(ctx, f.repo, 0, check); return err })
	if checks := f.remote.Checks(sha); len(checks) != 1 || checks[0].Updates != 1 {
		t.Errorf("checks: %+v", checks)
	}

	deployment := hub.Deployment{Ref: sha, Environment: "dev", Payload: map[string]any{"operation": 1}, State: "queued", Search: true}
	var id int64
	put := func() (err error) { id, err = f.hub.PutDeployment(ctx, f.repo, 0, "", deployment); return err }
	lost(postDeploy, put)
	deployment.State = "success"
	lost(postStatus, func() error { _, err := f.hub.PutDeployment(ctx, f.repo, id, "queued", deployment); return err })
	if shown := f.remote.Deployments("dev"); len(shown) != 1 || len(shown[0].States) != 2 || shown[0].States[1].State != "success" {
		t.Errorf("deployments: %+v", shown)
	}

	comment := hub.Comment{Number: number, Body: "one <!-- m -->", Marker: "<!-- m -->", Search: true}
	var ref hub.CommentRef
	lost(postComment, func() (err error) { ref, err = f.hub.PutComment(ctx, f.repo, 0, comment); return err })
	comment.Body = "two <!-- m -->"
	lost(patchComment, func() error { _, err := f.hub.PutComment(ctx, f.repo, ref.ID, comment); return err })
	if err := f.remote.DeleteComment(ctx, "ana", ref.ID); err != nil {
		t.Fatal(err)
	}
	lost(postComment, func() error { _, err := f.hub.PutComment(ctx, f.repo, ref.ID, comment); return err })
	if view, _ := f.remote.PullView(number); len(view.Comments) != 1 || view.Comments[0].Body != comment.Body {
		t.Errorf("comments: %+v", view.Comments)
	}
	lost("POST /reactions", func() error { return f.hub.React(ctx, f.repo, f.onlyComment(t, number).ID, "eyes") })
	lost("POST /graphql", func() error { return f.hub.Minimize(ctx, f.repo, f.onlyComment(t, number).NodeID) })
	if shown := f.onlyComment(t, number); shown.Reactions["eyes"] != 1 || !shown.Minimized {
		t.Errorf("comment: %+v", shown)
	}
}

func (f *faulty) onlyComment(t *testing.T, number int) sandbox.Comment {
	t.Helper()
	view, _ := f.remote.PullView(number)
	if len(view.Comments) != 1 {
		t.Fatalf("%d comments, want 1", len(view.Comments))
	}
	return view.Comments[0]
}

func TestADeletedCommentIsPostedAnew(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	number, _ := f.open(t, "feature/a")
	comment := hub.Comment{Number: number, Body: "one <!-- m -->", Marker: "<!-- m -->"}
	ref, err := f.hub.PutComment(t.Context(), f.repo, 0, comment)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.remote.DeleteComment(t.Context(), "ana", ref.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.hub.Minimize(t.Context(), f.repo, ref.NodeID); !isGone(err) {
		t.Errorf("minimise: %v", err)
	}
	if err := f.hub.React(t.Context(), f.repo, ref.ID, "eyes"); !isGone(err) {
		t.Errorf("react: %v", err)
	}
	again, err := f.hub.PutComment(t.Context(), f.repo, ref.ID, comment)
	if err != nil || again.ID == ref.ID || f.onlyComment(t, number).ID != again.ID {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestADeletedBranchIsGone(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	if _, err := f.remote.Push(t.Context(), "ben", "feature/a", map[string]string{"b": "b"}, "add b"); err != nil {
		t.Fatal(err)
	}
	if err := f.remote.DeleteBranch(t.Context(), "ben", "feature/a"); err != nil {
		t.Fatal(err)
	}
	_, err := f.hub.PutDeployment(t.Context(), f.repo, 0, "", hub.Deployment{Ref: "feature/a", Environment: "dev"})
	if !isGone(err) || !strings.Contains(err.Error(), "branch or commit") {
		t.Errorf("deployment: %v", err)
	}
	const nowhere = "0123456789012345678901234567890123456789"
	if _, err := f.hub.PutCheck(t.Context(), f.repo, 0, hub.Check{Name: "n", HeadSHA: nowhere, Status: hub.CheckQueued, Search: true}); !isGone(err) {
		t.Errorf("check: %v", err)
	}
}

func TestATokenThatEndsMidWayIsRenewedOnce(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	number, _ := f.open(t, "feature/a")
	put := func(body string) {
		t.Helper()
		if _, err := f.hub.PutComment(t.Context(), f.repo, 0, hub.Comment{Number: number, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	before := f.tokens
	f.ExpireTokens()
	put("two")
	put("three")
	if view, _ := f.remote.PullView(number); f.tokens != before+1 || len(view.Comments) != 3 {
		t.Errorf("%d tokens bought, want 1; %d comments, want 3", f.tokens-before, len(view.Comments))
	}
}

func TestASuspendedOrRevokedInstallationIsGoneWithWords(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	number, sha := f.open(t, "feature/a")
	put := func() error {
		_, err := f.hub.PutCheck(t.Context(), f.repo, 0, hub.Check{Name: "n", HeadSHA: sha, Status: hub.CheckQueued})
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if err := f.Suspend(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if err := put(); !isGone(err) || !strings.Contains(err.Error(), "suspended") {
		t.Errorf("with a token of before: %v", err)
	}
	f.ExpireTokens()
	if err := put(); !isGone(err) || !strings.Contains(err.Error(), "suspended") {
		t.Errorf("without a token: %v", err)
	}
	installations, err := f.hub.Installations(t.Context())
	if err != nil || len(installations) != 1 || !installations[0].Suspended {
		t.Errorf("%+v, %v", installations, err)
	}
	if err := f.Unsuspend(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Errorf("after the suspension: %v", err)
	}
	if err := f.Uninstall(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.hub.Pull(t.Context(), f.repo, number); !isGone(err) || !strings.Contains(err.Error(), "installation") {
		t.Errorf("after the App was removed: %v", err)
	}
	f.Next(1, "POST /access_tokens").Forbid(0)
	if _, err := f.hub.Token(t.Context(), f.repo); !isWait(err) {
		t.Errorf("a limit on tokens: %v", err)
	}
}

func isWait(err error) bool {
	_, wait := errors.AsType[*hub.Wait](err)
	return wait
}
