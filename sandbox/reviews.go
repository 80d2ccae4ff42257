package sandbox

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The states of a review, as webhooks and PullView give them; the REST API writes them in capitals.
// https://docs.github.com/en/rest/pulls/reviews
const (
	Approved         = "approved"
	ChangesRequested = "changes_requested"
	Commented        = "commented"
	Dismissed        = "dismissed"
	pendingReview    = "pending" // begun by the App and not submitted yet
)

// listedCommits is how many commits of a pull request are listed.
// https://docs.github.com/en/rest/pulls/pulls#list-commits-on-a-pull-request
const listedCommits = 250

// review is one review of a pull request.
type review struct {
	id        int64
	author    *account
	state     string
	body      string
	commit    string
	submitted time.Time
}

// Review submits a person's review of the head of a pull request and sends pull_request_review.submitted. The state is Approved,
// ChangesRequested or Commented; the body is the review's text. It returns the review's id.
func (r *Repository) Review(_ context.Context, as string, number int, state string, body ...string) (int64, error) {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	author, err := r.actor(as, Read)
	if err != nil {
		return 0, err
	}
	t, err := r.pullNumber(number)
	if err != nil {
		return 0, err
	}
	if !slices.Contains([]string{Approved, ChangesRequested, Commented}, state) {
		return 0, fmt.Errorf("review pull request %d: there is no state %q", number, state)
	}
	if why := t.refuseOwn(author, state); why != "" {
		return 0, fmt.Errorf("review pull request %d: %s", number, why)
	}
	text := strings.Join(body, "\n")
	if text == "" && state != Approved {
		text = "Please see to this." // GitHub takes neither without a text
	}
	made := &review{id: s.nextID(), author: author, body: text, commit: t.pull.head.sha}
	t.pull.reviews = append(t.pull.reviews, made)
	s.submit(r, t, made, state)
	return made.id, nil
}

// DismissReview takes the weight from a review and sends pull_request_review.dismissed.
func (r *Repository) DismissReview(_ context.Context, as string, number int, id int64, _ string) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	actor, err := r.actor(as, Write)
	if err != nil {
		return err
	}
	t, err := r.pullNumber(number)
	if err != nil {
		return err
	}
	found := t.review(id)
	if found == nil {
		return fmt.Errorf("pull request %d has no review %d", number, id)
	}
	if why := found.refuseDismissal(); why != "" {
		return fmt.Errorf("dismiss review %d: %s", id, why)
	}
	s.dismiss(r, t, found, actor)
	return nil
}

// refuseOwn says what GitHub does to who reviews their own pull request; empty when it may be reviewed.
func (t *thread) refuseOwn(author *account, state string) string {
	switch {
	case t.author != author || state == Commented:
		return ""
	case state == Approved:
		return "Can not approve your own pull request"
	default:
		return "Can not request changes on your own pull request"
	}
}

func (v *review) refuseDismissal() string {
	if v.state == Approved || v.state == ChangesRequested {
		return ""
	}
	return "Can not dismiss a " + strings.ReplaceAll(v.state, "_", " ") + " pull request review"
}

// review finds a review. The caller holds mu.
func (t *thread) review(id int64) *review {
	i := slices.IndexFunc(t.pull.reviews, func(v *review) bool { return v.id == id })
	if i < 0 {
		return nil
	}
	return t.pull.reviews[i]
}

// submit is what people and the App do alike. The caller holds mu.
func (s *Sandbox) submit(r *Repository, t *thread, v *review, state string) {
	v.state, v.submitted = state, s.now()
	t.updated = v.submitted
	s.emitReview(r, t, v, v.author, "submitted")
}

// dismiss is what people and the App do alike. The caller holds mu.
func (s *Sandbox) dismiss(r *Repository, t *thread, v *review, actor *account) {
	v.state = Dismissed
	t.updated = s.now()
	s.emitReview(r, t, v, actor, "dismissed")
}

func (s *Sandbox) emitReview(r *Repository, t *thread, v *review, sender *account, action string) {
	shown := s.reviewObject(r, t, v)
	shown["state"] = v.state
	s.emit(r, sender, "pull_request_review", action, object{"review": shown, "pull_request": s.pullSimpleObject(r, t)})
	s.change()
}

// reviewObject is a review as the REST API gives it.
func (s *Sandbox) reviewObject(r *Repository, t *thread, v *review) object {
	html := t.htmlURL(r) + "#pullrequestreview-" + strconv.FormatInt(v.id, 10)
	pull := r.apiURL() + "/pulls/" + strconv.Itoa(t.number)
	shown := object{
		"id": v.id, "node_id": nodeID("PRR", v.id), "user": s.accountObject(v.author), "body": v.body, "state": strings.ToUpper(v.state),
		"commit_id": v.commit, "html_url": html, "pull_request_url": pull, "author_association": association(r, v.author),
		"_links": object{"html": object{"href": html}, "pull_request": object{"href": pull}},
	}
	if !v.submitted.IsZero() {
		shown["submitted_at"] = stamp(v.submitted)
	}
	return shown
}

// reviewViews are the submitted reviews, oldest first.
func reviewViews(t *thread) []Review {
	views := make([]Review, 0, len(t.pull.reviews))
	for _, v := range t.pull.reviews {
		if v.state == pendingReview {
			continue
		}
		views = append(views, Review{
			ID: v.id, Author: v.author.login, Bot: v.author.kind == "Bot", State: v.state, Body: v.body, Commit: v.commit,
			SubmittedAt: v.submitted,
		})
	}
	return views
}

// pullOfPath finds the pull request that the path names. The caller holds mu.
func (c *call) pullOfPath() *thread {
	t, err := c.repository.pullNumber(int(c.id("pull_number")))
	if err != nil {
		return nil
	}
	return t
}

// listReviews lists reviews in the order of time; one that is not submitted is shown to nobody but its author, which is the App.
func listReviews(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.pullOfPath()
	if t == nil {
		return notFound()
	}
	return list(c, t.pull.reviews, func(v *review) object { return s.reviewObject(c.repository, t, v) })
}

func getReview(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.pullOfPath()
	if t == nil || t.review(c.id("review_id")) == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.reviewObject(c.repository, t, t.review(c.id("review_id")))}
}

type reviewRequest struct {
	Body     string  `json:"body"`
	Event    *string `json:"event"`
	CommitID string  `json:"commit_id"`
}

// createReview reviews as the App. Without an event the review is pending.
// https://docs.github.com/en/rest/pulls/reviews#create-a-review-for-a-pull-request
func createReview(c *call) reply {
	s := c.sandbox
	asked, refused := decode[reviewRequest](c)
	if refused != nil {
		return *refused
	}
	states := map[string]string{"APPROVE": Approved, "REQUEST_CHANGES": ChangesRequested, "COMMENT": Commented, "": pendingReview}
	state, known := states[deref(asked.Event)]
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.pullOfPath()
	if t == nil {
		return notFound()
	}
	if asked.CommitID == "" {
		asked.CommitID = t.pull.head.sha
	}
	var refusal string
	switch {
	case !known:
		refusal = "Variable $event of type PullRequestReviewEvent was provided invalid value"
	case (state == ChangesRequested || state == Commented) && strings.TrimSpace(asked.Body) == "":
		refusal = "Body can't be blank"
	case asked.CommitID != t.pull.head.sha && !slices.Contains(t.pull.facts.commits, asked.CommitID):
		refusal = "commit_id is not part of the pull request"
	case state == pendingReview && slices.ContainsFunc(t.pull.reviews, func(v *review) bool { return v.state == pendingReview }):
		refusal = "User can only have one pending review per pull request"
	default:
		refusal = t.refuseOwn(c.author(), state)
	}
	if refusal != "" {
		return unprocessable(refusal)
	}
	made := &review{id: s.nextID(), author: c.author(), state: state, body: asked.Body, commit: asked.CommitID}
	t.pull.reviews = append(t.pull.reviews, made)
	if state != pendingReview {
		s.submit(c.repository, t, made, state)
	}
	return reply{status: http.StatusOK, body: s.reviewObject(c.repository, t, made), effect: state}
}

// dismissReview takes the weight from a review as the App.
// https://docs.github.com/en/rest/pulls/reviews#dismiss-a-review-for-a-pull-request
func dismissReview(c *call) reply {
	s := c.sandbox
	asked, refused := decode[struct {
		Message string `json:"message"`
	}](c)
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.pullOfPath()
	if t == nil || t.review(c.id("review_id")) == nil {
		return notFound()
	}
	found := t.review(c.id("review_id"))
	if strings.TrimSpace(asked.Message) == "" {
		return unprocessable("message can't be blank")
	}
	if why := found.refuseDismissal(); why != "" {
		return unprocessable(why)
	}
	s.dismiss(c.repository, t, found, c.author())
	return reply{status: http.StatusOK, body: s.reviewObject(c.repository, t, found), effect: words(asked.Message)}
}

// unprocessable is a 422 whose errors are sentences.
func unprocessable(why string) reply {
	return reply{status: http.StatusUnprocessableEntity, body: object{
		"message": "Unprocessable Entity", "errors": []string{why}, "documentation_url": documentation, "status": "422",
	}}
}

// listPullCommits lists the commits that a pull request brings, oldest first, at most 250.
func listPullCommits(c *call) reply {
	s, r := c.sandbox, c.repository
	s.mu.Lock()
	t := c.pullOfPath()
	var shas []string
	if t != nil {
		shas = slices.Clone(t.pull.facts.commits)
	}
	s.mu.Unlock()
	if t == nil {
		return notFound()
	}
	slices.Reverse(shas)
	commits, err := s.git.describe(c.request.Context(), r.dir, shas[:min(len(shas), listedCommits)])
	if err != nil {
		return problem(http.StatusInternalServerError, "git failed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return list(c, commits, func(d describedCommit) object { return s.pullCommitObject(r, d) })
}

// describedCommit is a commit with its parents.
type describedCommit struct {
	loggedCommit

	parents []string
}

// describe reads commits by their SHAs, in the order given.
func (g gitTool) describe(ctx context.Context, dir string, shas []string) ([]describedCommit, error) {
	if len(shas) == 0 {
		return nil, nil
	}
	const parentsFirst = "--format=%P%x02"
	args := append([]string{"log", "-z", "--no-walk=unsorted", parentsFirst + strings.TrimPrefix(logFormat, "--format=")}, shas...)
	out, err := g.run(ctx, gitCall{dir: dir, args: args})
	if err != nil {
		return nil, err
	}
	commits := make([]describedCommit, 0, len(shas))
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		parents, rest, _ := strings.Cut(entry, "\x02")
		logged, err := parseLogHeader(rest)
		if err != nil {
			return nil, err
		}
		commits = append(commits, describedCommit{loggedCommit: logged, parents: strings.Fields(parents)})
	}
	return commits, nil
}

// pullCommitObject is a commit as the REST API gives it. The caller holds mu.
func (s *Sandbox) pullCommitObject(r *Repository, d describedCommit) object {
	address := func(sha string) string { return r.apiURL() + "/commits/" + sha }
	html := func(sha string) string { return r.HTMLURL() + "/commit/" + sha }
	by := func(p person) object { return object{"name": p.name, "email": p.email, "date": stamp(p.when)} }
	parents := make([]object, 0, len(d.parents))
	for _, sha := range d.parents {
		parents = append(parents, object{"sha": sha, "url": address(sha), "html_url": html(sha)})
	}
	return object{
		"sha": d.sha, "node_id": "C_" + d.sha, "url": address(d.sha), "html_url": html(d.sha), "comments_url": address(d.sha) + "/comments",
		"author": s.accountOrNull(s.accountOfEmail(d.author.email)), "committer": s.accountOrNull(s.accountOfEmail(d.committer.email)),
		"parents": parents,
		"commit": object{
			"author": by(d.author), "committer": by(d.committer), "message": d.message, "comment_count": 0,
			"url": r.apiURL() + "/git/commits/" + d.sha, "tree": object{"sha": d.tree, "url": r.apiURL() + "/git/trees/" + d.tree},
			"verification": object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil},
		},
	}
}

// accountOfEmail is whose address that is; nil where GitHub would know no account for it. The caller holds mu.
func (s *Sandbox) accountOfEmail(email string) *account {
	if email == "noreply@github.com" {
		return &account{id: webFlowID, login: "web-flow", name: "GitHub", kind: "User"}
	}
	for _, a := range s.accounts {
		if a.email() == email {
			return a
		}
	}
	return nil
}

// webFlowID is the id of the account that commits what people do on GitHub's pages: https://api.github.com/users/web-flow
const webFlowID = 19_864_447
