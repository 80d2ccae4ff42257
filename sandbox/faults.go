package sandbox

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GitHub's words for its limits.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
const (
	secondaryWords = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
	contentWords   = "You have exceeded a secondary rate limit and have been temporarily blocked from content creation. " +
		"Please retry your request again later."
	secondaryDocs  = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	suspendedWords = "This installation has been suspended"
)

// The limits of content that GitHub documents, for Sandbox.LimitContent: "In general, no more than 80
// content-generating requests per minute and no more than 500 content-generating requests per hour are allowed."
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
const (
	ContentPerMinute = 80
	ContentPerHour   = 500
)

// Coming is some API calls that are still to come. Each of its methods says what goes wrong with them;
// without one nothing does. The faults of one call are used up in the order in which they were asked for.
type Coming struct {
	sandbox *Sandbox
	calls   string
	times   int
}

// Next is the next n calls of a route, which is named by its method and the end of its path as GitHub
// documents it, e.g. "PATCH /issues/comments/{comment_id}"; "*" is every call. A name that no route has is
// remembered like a path that is not served, so that the test fails.
func (s *Sandbox) Next(n int, calls string) Coming { return Coming{sandbox: s, calls: calls, times: n} }

// TimeOut has the calls do nothing and get no answer until the caller gives up.
func (c Coming) TimeOut() { c.meet(fault{kind: silence}) }

// Reset has the calls do nothing and their connections reset.
func (c Coming) Reset() { c.meet(fault{kind: hangUp}) }

// LoseAnswer has the calls do their work and their connections reset instead of an answer.
func (c Coming) LoseAnswer() { c.meet(fault{kind: hangUp, works: true}) }

// BadGateway has the calls do nothing and answer 502.
func (c Coming) BadGateway() {
	c.meet(fault{reply: problem(http.StatusBadGateway, "Server Error")})
}

// Unavailable has the calls do nothing and answer 503, with Retry-After unless it is 0.
func (c Coming) Unavailable(retryAfter time.Duration) {
	c.meet(fault{reply: problem(http.StatusServiceUnavailable, "Service Unavailable"), header: after(retryAfter)})
}

// Forbid has the calls do nothing and answer 403 in the words of a secondary rate limit, with Retry-After unless it is 0.
func (c Coming) Forbid(retryAfter time.Duration) {
	c.meet(fault{reply: secondaryLimit(http.StatusForbidden, secondaryWords), header: after(retryAfter)})
}

// Refuse has the calls do nothing and answer 403, as to an App that lacks a permission.
func (c Coming) Refuse() {
	c.meet(fault{reply: problem(http.StatusForbidden, "Resource not accessible by integration")})
}

// TooMany has the calls do nothing and answer 429, with Retry-After unless it is 0.
func (c Coming) TooMany(retryAfter time.Duration) {
	c.meet(fault{reply: secondaryLimit(http.StatusTooManyRequests, secondaryWords), header: after(retryAfter)})
}

// Exhaust has the calls do nothing and answer that the primary rate limit is used up and set back after that time.
func (c Coming) Exhaust(reset time.Duration) {
	at := c.sandbox.now().Add(reset).Unix()
	c.meet(fault{reply: problem(http.StatusForbidden, "API rate limit exceeded for installation."), header: http.Header{
		"X-Ratelimit-Limit": {strconv.Itoa(c.sandbox.rateLimit)}, "X-Ratelimit-Remaining": {"0"},
		"X-Ratelimit-Used": {strconv.Itoa(c.sandbox.rateLimit)}, "X-Ratelimit-Reset": {strconv.FormatInt(at, 10)},
		"X-Ratelimit-Resource": {"core"},
	}})
}

// Nothing has the calls answer an empty list, as GitHub does for a moment about what it has only just been told.
func (c Coming) Nothing() { c.meet(fault{reply: reply{status: http.StatusOK, body: []object{}}}) }

func (c Coming) meet(f fault) {
	s := c.sandbox
	f.calls, f.left = c.calls, c.times
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.routes, f.meets) {
		s.unserved["a fault of "+c.calls] = true
	}
	s.faults = append(s.faults, &f)
}

// after is the header Retry-After; 0 is none.
func after(d time.Duration) http.Header {
	if d <= 0 {
		return http.Header{}
	}
	return http.Header{"Retry-After": {strconv.Itoa(int(d / time.Second))}}
}

// secondaryLimit is the answer of a secondary rate limit.
func secondaryLimit(status int, words string) reply {
	return reply{status: status, body: object{"message": words, "documentation_url": secondaryDocs, "status": strconv.Itoa(status)}}
}

// fault is what goes wrong with the next calls of a route.
type fault struct {
	calls  string // as Sandbox.Next takes it
	left   int
	kind   ending
	works  bool // the call does its work first
	reply  reply
	header http.Header
}

// ending is how the answer to a call ends.
type ending int

const (
	answered ending = iota
	silence         // nothing comes until the caller gives up
	hangUp          // the connection is reset
)

// meets reports whether the fault is for calls of the route.
func (f *fault) meets(r route) bool {
	if f.calls == "*" {
		return true
	}
	method, path, ok := strings.Cut(f.calls, " ")
	return ok && r.method == method && strings.HasSuffix(r.pattern, path)
}

// takeFault is the fault that this call meets; nil is none. The caller holds mu.
func (s *Sandbox) takeFault(r route) *fault {
	for _, f := range s.faults {
		if f.left > 0 && f.meets(r) {
			f.left--
			return f
		}
	}
	return nil
}

// answer is what a call meets that does not work.
func (f *fault) answer() reply {
	answer := f.reply
	answer.ending, answer.header = f.kind, f.header.Clone()
	return answer
}

// end ends a call without an answer. It reports whether it did.
func (a *reply) end(ctx context.Context, w http.ResponseWriter) bool {
	switch a.ending {
	case silence:
		<-ctx.Done() // the caller gave up, or the sandbox closes
	case hangUp:
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return false
		}
		if tcp, ok := connection.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // so that it is reset, not closed
		}
		_ = connection.Close() // nobody is to hear of it
	case answered:
		return false
	}
	return true
}

// LimitContent has GitHub's secondary limit of content enforced from now on, for each installation: that
// many writes in any minute and in any hour; the others answer 403 and do nothing. 0 is no limit, as at the
// start. GitHub does not list which requests generate content: here every write of an installation does.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
func (s *Sandbox) LimitContent(perMinute, perHour int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contentPerMinute, s.contentPerHour = perMinute, perHour
}

// ContentRefused is how many writes were refused by the limit of LimitContent.
func (s *Sandbox) ContentRefused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contentRefused
}

// overContent counts a write of an installation, or refuses it. The caller holds mu.
func (s *Sandbox) overContent(c *call) *reply {
	if s.contentPerMinute == 0 && s.contentPerHour == 0 || c.token == nil || c.request.Method == http.MethodGet {
		return nil
	}
	now, id := s.now(), c.token.installation.id
	kept := slices.DeleteFunc(s.content[id], func(at time.Time) bool { return now.Sub(at) >= time.Hour })
	lastMinute := 0
	for _, at := range kept {
		if now.Sub(at) < time.Minute {
			lastMinute++
		}
	}
	s.content[id] = kept
	if over(lastMinute, s.contentPerMinute) || over(len(kept), s.contentPerHour) {
		s.contentRefused++
		p := secondaryLimit(http.StatusForbidden, contentWords)
		return &p
	}
	s.content[id] = append(kept, now)
	return nil
}

// over reports whether one more would be more than the limit; 0 is none.
func over(count, limit int) bool { return limit > 0 && count >= limit }

// ExpireTokens ends every installation token that was handed out so far, as if its hour were over or it had been revoked.
func (s *Sandbox) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Suspend has the App suspended by an owner until Unsuspend, and sends installation.suspend. Meanwhile
// calls with its tokens and purchases of new ones answer 403.
// https://docs.github.com/en/apps/maintaining-github-apps/suspending-a-github-app-installation
func (s *Sandbox) Suspend(_ context.Context, owner string) error {
	return s.suspension(owner, "suspend", s.now())
}

// Unsuspend ends a suspension and sends installation.unsuspend.
func (s *Sandbox) Unsuspend(_ context.Context, owner string) error {
	return s.suspension(owner, "unsuspend", time.Time{})
}

func (s *Sandbox) suspension(owner, action string, since time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	account, err := s.account(owner)
	if err != nil {
		return err
	}
	i := s.installationOf(account)
	if i == nil {
		return fmt.Errorf("the App is not installed on %s", owner)
	}
	i.suspended = since
	list := make([]object, 0, len(i.repositories))
	for _, r := range i.repositories {
		list = append(list, s.repositoryName(r))
	}
	s.enqueue("installation", action, object{
		"installation": s.installationObject(i), "repositories": list, "sender": s.accountObject(account),
	}, i.id, nil)
	s.change()
	return nil
}

// refuseSuspended is what an App's installation that is suspended answers; nil where it is not. The caller holds mu.
func (i *installation) refuseSuspended() *reply {
	if i.suspended.IsZero() {
		return nil
	}
	p := problem(http.StatusForbidden, suspendedWords)
	return &p
}

// DeleteComment deletes a comment and sends issue_comment.deleted.
func (r *Repository) DeleteComment(_ context.Context, as string, id int64) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t, c := r.comment(id)
	if c == nil {
		return fmt.Errorf("%s has no comment %d", r.FullName(), id)
	}
	needs := Write
	if strings.EqualFold(c.author.login, as) {
		needs = Read
	}
	actor, err := r.actor(as, needs)
	if err != nil {
		return err
	}
	t.comments = slices.DeleteFunc(t.comments, func(other *comment) bool { return other == c })
	t.updated = s.now()
	s.emit(r, actor, "issue_comment", "deleted", object{
		"issue": s.issueObject(r, t), "comment": s.commentObject(r, t, c),
	})
	s.change()
	return nil
}
