package pages

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// personCookie remembers whom the reader acts as.
const personCookie = "as"

// frame is what every page has around its content.
type frame struct {
	Title string // of the window
	Token string
	Tab   string // the tab of the repository that the page belongs to
	Repo  *repo
	Error string // why the last act was refused
	// Address is where the page can be fetched anew, if not at the address that the browser shows.
	Address string
	People  []person
}

// repo is a repository as the frame shows it.
type repo struct {
	Owner, Name, DefaultBranch string
	CloneURL                   string
	OpenPulls, OpenIssues      int
}

// Path is the address of the repository's pages.
func (r *repo) Path() string { return "/" + url.PathEscape(r.Owner) + "/" + url.PathEscape(r.Name) }

// person is an entry of the list "as".
type person struct {
	Login, Role string
	Selected    bool
}

// environment is an environment with its newest deployment.
type environment struct {
	Name   string
	Newest deployment
	Count  int
}

// deployment is a deployment with the status that counts.
type deployment struct {
	sandbox.Deployment

	State, StateDescription string
	LogURL                  string
	Updated                 time.Time
}

// event is one entry of the timeline of a pull request or issue.
type event struct {
	At         time.Time
	Comment    *sandbox.Comment
	Review     *sandbox.Review
	Stale      bool // the review is of an older commit than the newest
	Deployment *deployment
	State      string // "merged", "closed" or "commits"
	By         string
	SHA        string
	Commits    []string
}

func (p *pages) frame(r *http.Request, title, tab string, repository *sandbox.Repository) frame {
	f := frame{Title: title, Tab: tab, Token: p.token}
	if repository == nil {
		return f
	}
	f.Repo = p.repo(repository)
	f.Title = title + " · " + repository.FullName()
	chosen := ""
	if cookie, err := r.Cookie(personCookie); err == nil {
		chosen, _ = url.QueryUnescape(cookie.Value)
	}
	for _, someone := range p.world.People() {
		if !someone.Bot {
			f.People = append(f.People, person{
				Login: someone.Login, Role: string(repository.Role(someone.Login)), Selected: someone.Login == chosen,
			})
		}
	}
	return f
}

func (p *pages) repo(repository *sandbox.Repository) *repo {
	view := &repo{
		Owner: repository.Owner(), Name: repository.Name(), DefaultBranch: repository.DefaultBranch(), CloneURL: repository.CloneURL(),
	}
	for _, pull := range repository.Pulls() {
		if pull.State == "open" {
			view.OpenPulls++
		}
	}
	for _, issue := range repository.Issues() {
		if issue.State == "open" {
			view.OpenIssues++
		}
	}
	return view
}

func (p *pages) home(w http.ResponseWriter, r *http.Request) {
	p.list(w, r, "", "Repositories")
}

func (p *pages) owner(w http.ResponseWriter, r *http.Request) {
	p.list(w, r, r.PathValue("owner"), r.PathValue("owner"))
}

// list shows the repositories of one owner, or all of them.
func (p *pages) list(w http.ResponseWriter, r *http.Request, owner, title string) {
	var repos []*repo
	for _, repository := range p.world.Repositories() {
		if owner == "" || strings.EqualFold(owner, repository.Owner()) {
			repos = append(repos, p.repo(repository))
		}
	}
	if len(repos) == 0 && owner != "" {
		p.missing(w, r)
		return
	}
	p.show(w, http.StatusOK, "home.html", struct {
		frame

		Heading string
		Repos   []*repo
		People  []sandbox.Person
	}{p.frame(r, title, "", nil), title, repos, p.world.People()})
}

func (p *pages) deliveries(w http.ResponseWriter, r *http.Request) {
	deliveries := p.world.Deliveries()
	slices.SortStableFunc(deliveries, func(a, b sandbox.Delivery) int { return b.DeliveredAt.Compare(a.DeliveredAt) })
	p.show(w, http.StatusOK, "deliveries.html", struct {
		frame

		Deliveries []sandbox.Delivery
	}{p.frame(r, "Webhook deliveries", "", nil), deliveries})
}

// find returns the repository that a path names, and answers itself when there is none.
func (p *pages) find(w http.ResponseWriter, r *http.Request) (*sandbox.Repository, bool) {
	repository, ok := p.world.Repository(r.PathValue("owner"), r.PathValue("repo"))
	if !ok {
		p.missing(w, r)
	}
	return repository, ok
}

func (p *pages) repository(w http.ResponseWriter, r *http.Request) {
	repository, ok := p.find(w, r)
	if !ok {
		return
	}
	// A repository without a commit, or without a file of that name, is still worth a page.
	commits, _ := repository.Commits(r.Context(), repository.DefaultBranch(), 1)
	readme, _, _ := repository.ReadFile(r.Context(), repository.DefaultBranch(), "README.md")
	var open []sandbox.PullView
	for _, pull := range repository.Pulls() {
		if pull.State == "open" {
			open = append(open, pull)
		}
	}
	p.show(w, http.StatusOK, "repository.html", struct {
		frame

		Pulls        []sandbox.PullView
		Environments []environment
		Branches     []branch
		Commits      []sandbox.Commit
		Readme       string
	}{p.frame(r, "Overview", "overview", repository), open, environments(repository), branches(repository), commits, readme})
}

func (p *pages) pulls(w http.ResponseWriter, r *http.Request) {
	repository, ok := p.find(w, r)
	if !ok {
		return
	}
	p.showPulls(w, r, repository, http.StatusOK, "")
}

func (p *pages) showPulls(w http.ResponseWriter, r *http.Request, repository *sandbox.Repository, status int, refusal string) {
	closed := r.URL.Query().Get("state") == "closed"
	var (
		shown        []sandbox.PullView
		opens, other int
	)
	for _, pull := range repository.Pulls() {
		isOpen := pull.State == "open"
		if isOpen {
			opens++
		} else {
			other++
		}
		if isOpen != closed {
			shown = append(shown, pull)
		}
	}
	f := p.frame(r, "Pull requests", "pulls", repository)
	f.Error = refusal
	p.show(w, status, "pulls.html", struct {
		frame

		Closed             bool
		OpenCount, Cleared int
		Pulls              []sandbox.PullView
		Branches           []branch
	}{f, closed, opens, other, shown, branches(repository)})
}

func (p *pages) issues(w http.ResponseWriter, r *http.Request) {
	repository, ok := p.find(w, r)
	if !ok {
		return
	}
	p.showIssues(w, r, repository, http.StatusOK, "")
}

func (p *pages) showIssues(w http.ResponseWriter, r *http.Request, repository *sandbox.Repository, status int, refusal string) {
	f := p.frame(r, "Issues", "issues", repository)
	f.Error = refusal
	p.show(w, status, "issues.html", struct {
		frame

		Issues []sandbox.IssueView
	}{f, repository.Issues()})
}

func (p *pages) thread(w http.ResponseWriter, r *http.Request) {
	repository, ok := p.find(w, r)
	if !ok {
		return
	}
	p.showThread(w, r, repository, http.StatusOK, "", "")
}

// showThread shows a pull request or an issue, whichever has the number. A draft is the text of a comment that was refused.
func (p *pages) showThread(w http.ResponseWriter, r *http.Request, repository *sandbox.Repository, status int, refusal, draft string) {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		p.missing(w, r)
		return
	}
	if pull, ok := repository.PullView(number); ok {
		f := p.frame(r, pull.Title+" · #"+strconv.Itoa(number), "pulls", repository)
		f.Error, f.Address = refusal, f.Repo.Path()+"/pull/"+strconv.Itoa(number)
		p.show(w, status, "pull.html", struct {
			frame

			Pull         sandbox.PullView
			Events       []event
			Boxes        []checks
			Deployments  []deployment
			Participants []string
			Draft        string
			Branches     []branch
		}{
			f, pull, pullEvents(repository, pull), checkBoxes(repository, pull), deploymentsOf(repository, pull),
			participants(pull.Author, pull.Comments, pull.Reviews...), draft, branches(repository),
		})
		return
	}
	issue, ok := repository.Issue(number)
	if !ok {
		p.missing(w, r)
		return
	}
	f := p.frame(r, issue.Title+" · #"+strconv.Itoa(number), "issues", repository)
	f.Error, f.Address = refusal, f.Repo.Path()+"/issues/"+strconv.Itoa(number)
	p.show(w, status, "issue.html", struct {
		frame

		Issue        sandbox.IssueView
		Events       []event
		Participants []string
		Draft        string
	}{f, issue, commentEvents(issue.Comments), participants(issue.Author, issue.Comments), draft})
}

func (p *pages) deployments(w http.ResponseWriter, r *http.Request) {
	repository, ok := p.find(w, r)
	if !ok {
		return
	}
	var all []deployment
	for _, d := range repository.Deployments("") {
		all = append(all, latest(d))
	}
	p.show(w, http.StatusOK, "deployments.html", struct {
		frame

		Environments []environment
		Deployments  []deployment
	}{p.frame(r, "Deployments", "deployments", repository), environments(repository), all})
}

// branch is one branch with its tip.
type branch struct {
	Name, SHA string
	Default   bool
}

func branches(repository *sandbox.Repository) []branch {
	all := repository.Branches()
	list := make([]branch, 0, len(all))
	for name, sha := range all {
		list = append(list, branch{name, sha, name == repository.DefaultBranch()})
	}
	slices.SortFunc(list, func(a, b branch) int {
		if a.Default != b.Default {
			if a.Default {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return list
}

func (p *pages) branches(w http.ResponseWriter, r *http.Request) {
	repository, ok := p.find(w, r)
	if !ok {
		return
	}
	p.show(w, http.StatusOK, "branches.html", struct {
		frame

		Branches []branch
	}{p.frame(r, "Branches", "branches", repository), branches(repository)})
}

func environments(repository *sandbox.Repository) []environment {
	var list []environment
	for _, d := range repository.Deployments("") {
		i := slices.IndexFunc(list, func(e environment) bool { return e.Name == d.Environment })
		if i < 0 {
			list = append(list, environment{Name: d.Environment, Newest: latest(d), Count: 1})
			continue
		}
		list[i].Count++
	}
	slices.SortFunc(list, func(a, b environment) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// latest adds the status that counts: the newest. A deployment without one is pending.
func latest(d sandbox.Deployment) deployment {
	view := deployment{Deployment: d, State: "pending", StateDescription: d.Description, Updated: d.CreatedAt}
	if n := len(d.States); n > 0 {
		status := d.States[n-1]
		view.State, view.Updated, view.LogURL = status.State, status.CreatedAt, status.LogURL
		if status.Description != "" {
			view.StateDescription = status.Description
		}
	}
	return view
}

// deploymentsOf are the deployments of a pull request's head or merge, newest first.
func deploymentsOf(repository *sandbox.Repository, pull sandbox.PullView) []deployment {
	return deploymentsAt(repository, pull.Head.SHA, pull.MergeCommit)
}

// deploymentsAt are the deployments of some commits, newest first.
func deploymentsAt(repository *sandbox.Repository, shas ...string) []deployment {
	var list []deployment
	for _, d := range repository.Deployments("") {
		if slices.Contains(shas, d.SHA) {
			list = append(list, latest(d))
		}
	}
	return list
}

func commentEvents(comments []sandbox.Comment) []event {
	events := make([]event, 0, len(comments))
	for i := range comments {
		events = append(events, event{At: comments[i].CreatedAt, Comment: &comments[i]})
	}
	return events
}

// pullEvents is the timeline of a pull request: comments, reviews, deployments and its end, in the order in which they happened.
func pullEvents(repository *sandbox.Repository, pull sandbox.PullView) []event {
	events := commentEvents(pull.Comments)
	switch {
	case pull.State == "merged":
		events = append(events, event{At: pull.MergedAt, State: "merged", By: pull.MergedBy, SHA: pull.MergeCommit})
	case !pull.ClosedAt.IsZero():
		events = append(events, event{At: pull.ClosedAt, State: "closed"})
	}
	for i := range pull.Reviews {
		review := &pull.Reviews[i]
		events = append(events, event{At: review.SubmittedAt, Review: review, Stale: review.Commit != pull.Head.SHA})
	}
	for _, d := range deploymentsOf(repository, pull) {
		events = append(events, event{At: d.CreatedAt, Deployment: &d})
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.At.Compare(b.At) })
	if len(pull.Commits) > 0 {
		events = slices.Insert(events, 0, event{At: pull.CreatedAt, State: "commits", By: pull.Author, Commits: pull.Commits})
	}
	return events
}

func participants(author string, comments []sandbox.Comment, reviews ...sandbox.Review) []string {
	list := []string{author}
	for _, comment := range comments {
		if !slices.Contains(list, comment.Author) {
			list = append(list, comment.Author)
		}
	}
	for _, review := range reviews {
		if !slices.Contains(list, review.Author) {
			list = append(list, review.Author)
		}
	}
	return list
}
