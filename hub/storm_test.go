package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/sandbox"
)

// oneCall is how long one call of GitHub takes in a storm.
const oneCall = 200 * time.Millisecond

// signer signs the App's own tokens by the clock of the storm, because the library that makes them has the real one.
type signer struct {
	next  http.RoundTripper
	clock clockwork.Clock
	box   *sandbox.Sandbox
}

func (s *signer) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(strings.TrimPrefix(r.URL.Path, "/api/v3"), "/app/") {
		key, err := jwt.ParseRSAPrivateKeyFromPEM(s.box.PrivateKey())
		if err != nil {
			return nil, err
		}
		token, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
			Issuer: strconv.FormatInt(s.box.AppID(), 10), IssuedAt: jwt.NewNumericDate(s.clock.Now().Add(-time.Minute)),
			ExpiresAt: jwt.NewNumericDate(s.clock.Now().Add(5 * time.Minute)),
		}).SignedString(key)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return s.next.RoundTrip(r)
}

// wish is one thing that GitHub should show, as a publisher keeps it.
type wish struct {
	bot      bool
	due      time.Time
	tried    bool // an answer was lost
	put      func(ctx context.Context, search bool) error
	finished time.Time
}

// storm is a publisher with one worker.
type storm struct {
	*standIn

	clock  *clockwork.FakeClock
	issues map[int]bool // that have a comment each
	wishes []*wish
	sha    string
	calls  int // of Put, also those that had to wait
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	s := &storm{clock: clockwork.NewFakeClockAt(time.Now()), issues: map[int]bool{}}
	s.standIn = newStandIn(t, func(o *sandbox.Options) { o.Now = s.clock.Now })
	s.LimitContent(sandbox.ContentPerMinute, sandbox.ContentPerHour)
	var err error
	s.hub, err = hub.New(hub.Options{
		AppID: s.AppID(), PrivateKey: s.PrivateKey(), APIURL: s.APIURL(), GraphQLURL: s.GraphQLURL(), Clock: s.clock,
		Transport: &signer{next: http.DefaultTransport, clock: s.clock, box: s.Sandbox},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.sha = s.remote.Branches()["develop"]
	return s
}

// want adds a comment on a thread of its own, and a check.
func (s *storm) want(t *testing.T, bot bool) (comment, check *wish) {
	t.Helper()
	number, err := s.remote.OpenIssue(t.Context(), "ana", "t", "b")
	if err != nil {
		t.Fatal(err)
	}
	s.issues[number] = true
	name := fmt.Sprintf("plan %d", number)
	comment = &wish{bot: bot, due: s.clock.Now(), put: func(ctx context.Context, search bool) error {
		_, err := s.hub.PutComment(ctx, s.repo, 0, hub.Comment{Number: number, Body: "plan <!-- m -->", Marker: "<!-- m -->", Search: search})
		return err
	}}
	check = &wish{bot: bot, due: s.clock.Now(), put: func(ctx context.Context, search bool) error {
		_, err := s.hub.PutCheck(ctx, s.repo, 0, hub.Check{Name: name, HeadSHA: s.sha, Status: hub.CheckQueued, ExternalID: name, Search: search})
		return err
	}}
	s.wishes = append(s.wishes, comment, check)
	return comment, check
}

// next is the wish to write now: people's first, then what has been due for longest. Where none is due the
// clock moves to the first one that will be.
func (s *storm) next() *wish {
	var best, first *wish
	for _, w := range s.wishes {
		switch {
		case !w.finished.IsZero():
		case w.due.After(s.clock.Now()):
			if first == nil || w.due.Before(first.due) {
				first = w
			}
		case best == nil, !w.bot && best.bot, w.bot == best.bot && w.due.Before(best.due):
			best = w
		}
	}
	if best == nil && first != nil {
		s.clock.Advance(first.due.Sub(s.clock.Now()))
		return first
	}
	return best
}

// drain writes until all is written, or until the time.
func (s *storm) drain(t *testing.T, until time.Time) {
	t.Helper()
	for w := s.next(); w != nil && s.clock.Now().Before(until); w = s.next() {
		ctx := t.Context()
		if w.bot {
			ctx = hub.ForBots(ctx)
		}
		s.calls++
		err := w.put(ctx, w.tried)
		if wait, ok := errors.AsType[*hub.Wait](err); ok {
			w.due = wait.RetryAt(s.clock.Now())
			continue
		}
		s.clock.Advance(oneCall)
		if err == nil {
			w.finished = s.clock.Now()
			continue
		}
		if typed(err) {
			t.Fatal(err)
		}
		w.due, w.tried = s.clock.Now().Add(2*time.Second), true
	}
}

// check checks that GitHub shows everything once and never had to refuse a write.
func (s *storm) check(t *testing.T) {
	t.Helper()
	if n := s.ContentRefused(); n > 0 {
		t.Errorf("GitHub refused %d writes for their number", n)
	}
	for number := range s.issues {
		if issue, _ := s.remote.Issue(number); len(issue.Comments) != 1 {
			t.Errorf("#%d has %d comments, want 1", number, len(issue.Comments))
		}
	}
	if n := len(s.remote.Checks(s.sha)); n != len(s.issues) {
		t.Errorf("%d checks, want %d", n, len(s.issues))
	}
}

func TestAStormIsWrittenWithoutOneWriteOverTheLimitAndPeopleGoFirst(t *testing.T) {
	t.Parallel()
	s := newStorm(t)
	begin := s.clock.Now()
	for range 300 {
		s.want(t, true)
	}
	var people []*wish
	for range 10 {
		comment, check := s.want(t, false)
		people = append(people, comment, check)
	}
	s.drain(t, begin.Add(5*time.Minute))
	for i, w := range people {
		if took := w.finished.Sub(begin); w.finished.IsZero() || took > time.Duration(len(people))*oneCall {
			t.Errorf("the %dth write for people came after %v", i+1, took)
		}
	}
	late := s.clock.Now()
	for range 10 {
		comment, check := s.want(t, false)
		people = append(people, comment, check)
	}
	s.drain(t, begin.Add(24*time.Hour))
	for _, w := range people[20:] {
		if took := w.finished.Sub(late); took > 20*oneCall {
			t.Errorf("a write for people in the middle of the storm took %v", took)
		}
	}
	s.check(t)
	took := s.clock.Since(begin)
	if took > 2*time.Hour {
		t.Errorf("the storm took %v, want at most two hours", took)
	}
	calls := s.Calls()
	posted := calls["POST /repos/{owner}/{repo}/issues/{issue_number}/comments"] + calls["POST /repos/{owner}/{repo}/check-runs"]
	if renewed := 1; posted > len(s.wishes)+renewed { // the token's hour ends once, in the midst of a call
		t.Errorf("%d writes for %d wishes", posted, len(s.wishes))
	}
	t.Logf("%d wishes were written with %d calls after %d tries, in %v of the clock", len(s.wishes), posted, s.calls, took.Round(time.Second))
}

func TestAStormOfFaultsIsVisibleOnce(t *testing.T) {
	t.Parallel()
	s := newStorm(t)
	for i := range 40 {
		s.want(t, i%2 == 0)
	}
	if err := s.hub.React(t.Context(), s.repo, 1, "eyes"); !isGone(err) { // buys the token
		t.Fatal(err)
	}
	for _, route := range []string{postComment, postCheck} {
		s.Next(5, route).LoseAnswer()
		s.Next(5, route).BadGateway()
		s.Next(5, route).Reset()
	}
	s.drain(t, s.clock.Now().Add(24*time.Hour))
	s.check(t)
}
