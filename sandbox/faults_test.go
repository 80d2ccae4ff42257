package sandbox_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	postComment  = "POST /issues/{issue_number}/comments"
	commentsPath = repoPath + "/issues/1/comments"
)

// post writes a comment that gets no answer, and returns how that looks.
func (w *world) post(ctx context.Context) error {
	w.t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.APIURL()+commentsPath, strings.NewReader(`{"body":"x"}`))
	w.must(err)
	request.Header.Set("Authorization", "Bearer "+w.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	return err
}

func TestFaultsMeetTheNextCallsOfTheirRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	comment := map[string]any{"body": "x"}

	w.Next(2, postComment).BadGateway()
	w.Next(1, postComment).Unavailable(7 * time.Second)
	w.want(http.StatusOK, http.MethodGet, commentsPath, nil)
	w.want(http.StatusBadGateway, http.MethodPost, commentsPath, comment)
	w.want(http.StatusBadGateway, http.MethodPost, commentsPath, comment)
	if a := w.want(http.StatusServiceUnavailable, http.MethodPost, commentsPath, comment); a.header.Get("Retry-After") != "7" {
		t.Errorf("503: %v", a.header)
	}
	w.want(http.StatusCreated, http.MethodPost, commentsPath, comment)

	w.Next(1, "*").Forbid(30 * time.Second)
	if a := w.want(http.StatusForbidden, http.MethodGet, repoPath, nil); a.header.Get("Retry-After") != "30" || !strings.Contains(string(a.raw), "secondary rate limit") {
		t.Errorf("403: %v %s", a.header, a.raw)
	}
	w.Next(1, "*").TooMany(0)
	if a := w.want(http.StatusTooManyRequests, http.MethodGet, repoPath, nil); a.header.Get("Retry-After") != "" {
		t.Errorf("429: %v", a.header)
	}
	w.Next(1, "*").Exhaust(time.Minute)
	a := w.want(http.StatusForbidden, http.MethodGet, repoPath, nil)
	if reset := strconv.FormatInt(w.clock.Now().Add(time.Minute).Unix(), 10); a.header.Get("X-Ratelimit-Remaining") != "0" || a.header.Get("X-Ratelimit-Reset") != reset {
		t.Errorf("primary limit: %v", a.header)
	}
	w.want(http.StatusOK, http.MethodGet, repoPath, nil)
	if n := len(w.pull(number).Comments); n != 1 {
		t.Errorf("%d comments, want 1", n)
	}
}

func TestFaultsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	want := func(comments int, err, cause error) {
		t.Helper()
		if n := len(w.pull(number).Comments); n != comments || (cause != nil && !errors.Is(err, cause)) || err == nil {
			t.Errorf("%d comments and %v, want %d and %v", n, err, comments, cause)
		}
	}
	w.Next(1, postComment).Reset()
	err := w.post(w.ctx)
	want(0, err, syscall.ECONNRESET)

	w.Next(1, postComment).TimeOut()
	ctx, giveUp := context.WithCancel(w.ctx)
	const route = "POST /repos/{owner}/{repo}/issues/{issue_number}/comments"
	go func() {
		if w.Await(ctx, func() bool { return w.Calls()[route] == 2 }) == nil {
			giveUp()
		}
	}()
	err = w.post(ctx)
	giveUp()
	want(0, err, context.Canceled)

	w.Next(1, postComment).LoseAnswer()
	err = w.post(w.ctx)
	want(1, err, nil)
}

func TestAFaultOfARouteThatDoesNotExistIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Next(1, "PATCH /comment").Reset()
	if got := w.Unserved(); len(got) != 1 || got[0] != "a fault of PATCH /comment" {
		t.Errorf("%q", got)
	}
}

func TestTheLimitOfContentIsEnforcedForEachInstallation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open("feature/a", "develop", "a.tf", "# a\n")
	comment := map[string]any{"body": "x"}
	write := func(n int) {
		t.Helper()
		for range n {
			w.want(http.StatusCreated, http.MethodPost, commentsPath, comment)
		}
	}
	refused := func() {
		t.Helper()
		a := w.want(http.StatusForbidden, http.MethodPost, commentsPath, comment)
		if !strings.Contains(string(a.raw), "secondary rate limit") || a.header.Get("X-Ratelimit-Remaining") == "0" {
			t.Errorf("%v %s", a.header, a.raw)
		}
	}
	write(3) // nothing is enforced yet
	w.LimitContent(2, 5)
	write(2)
	refused()
	w.want(http.StatusOK, http.MethodGet, commentsPath, nil)
	w.clock.advance(time.Minute)
	write(2)
	w.clock.advance(time.Minute)
	write(1)
	refused() // the hour
	w.clock.advance(58 * time.Minute)
	w.token = w.newToken(nil)
	write(2)
	refused()
	if n := w.ContentRefused(); n != 3 {
		t.Errorf("%d writes were refused, want 3", n)
	}
}

func TestASuspendedInstallationIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Suspend(w.ctx, "acme"))
	w.want(http.StatusForbidden, http.MethodGet, repoPath, nil)
	app := w.jwt(w.PrivateKey(), nil)
	installed := w.call(app, http.MethodGet, "/app/installations", nil).list()[0]
	if installed["suspended_at"] == nil {
		t.Errorf("%v", installed)
	}
	tokens := "/app/installations/" + strconv.FormatInt(int64(installed["id"].(float64)), 10) + "/access_tokens"
	if a := w.call(app, http.MethodPost, tokens, nil); a.status != http.StatusForbidden || !strings.Contains(string(a.raw), "suspended") {
		t.Errorf("a token: %d %s", a.status, a.raw)
	}
	w.must(w.Unsuspend(w.ctx, "acme"))
	w.want(http.StatusOK, http.MethodGet, repoPath, nil)
	w.ExpireTokens()
	w.want(http.StatusUnauthorized, http.MethodGet, repoPath, nil)
	events := strings.Join(w.events(), " ")
	if !strings.Contains(events, "installation suspend installation unsuspend") {
		t.Errorf("webhooks: %s", events)
	}
}

func TestADeletedCommentIsNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	id, err := w.repo.Comment(w.ctx, "ben", number, "hello")
	w.must(err)
	if w.repo.DeleteComment(w.ctx, "eve", id) == nil {
		t.Error("a stranger may delete comments")
	}
	w.must(w.repo.DeleteComment(w.ctx, "ana", id))
	w.want(http.StatusNotFound, http.MethodPatch, repoPath+"/issues/comments/"+strconv.FormatInt(id, 10), map[string]any{"body": "x"})
	if events := strings.Join(w.events(), " "); !strings.Contains(events, "issue_comment deleted") {
		t.Errorf("webhooks: %s", events)
	}
}
