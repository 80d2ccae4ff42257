package hub

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v66/github"

	"github.com/switchyard-dev/switchyard/operation"
)

// Bounds on what is read of one pull request.
const (
	maxReviewPages = 10 // 1,000 reviews
	// maxCommits is how many commits of a pull request GitHub lists at most. See
	// https://docs.github.com/en/rest/pulls/pulls#list-commits-on-a-pull-request.
	maxCommits = 250
	// maxAuthors bounds the logins that are kept, and the addresses: whoever writes a commit's message can name any number of
	// co-authors in it.
	maxAuthors = 500
)

// Review is one review of a pull request that was submitted.
type Review struct {
	ID        int64
	Login     string // "" when the account is gone
	Type      string // User or Bot; "" when the account is gone
	State     string // approved, changes_requested, commented or dismissed
	Commit    string // that was reviewed; "" when it is gone
	Submitted time.Time
}

// Reviews lists the reviews of a pull request that were submitted, oldest first. It reads at most 1,000 and reports whether there
// are more, so that nobody's newest review can be missed without a word.
// See https://docs.github.com/en/rest/pulls/reviews#list-reviews-for-a-pull-request.
func (h *Hub) Reviews(ctx context.Context, repo operation.Repository, number int) (reviews []Review, more bool, err error) {
	var got []*github.PullRequestReview
	seen := map[int64]bool{} // a page shifts when a review is deleted meanwhile
	more, err = h.list(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/pulls/{pull_number}/reviews",
		args: []string{repo.Owner, repo.Name, strconv.Itoa(number)}, out: &got,
		do: "list", thing: fmt.Sprintf("the reviews of pull request #%d of %s", number, repo.FullName()),
	}, maxReviewPages, func() bool {
		for _, r := range got {
			state := strings.ToLower(r.GetState())
			if seen[r.GetID()] || state == "pending" {
				continue
			}
			seen[r.GetID()] = true
			reviews = append(reviews, Review{
				ID: r.GetID(), Login: r.GetUser().GetLogin(), Type: r.GetUser().GetType(), State: state,
				Commit: r.GetCommitID(), Submitted: r.GetSubmittedAt().Time,
			})
		}
		got = nil
		return true
	})
	if err != nil {
		return nil, false, err
	}
	if more {
		h.log.Warn().Str("repository", repo.FullName()).Int("number", number).Int("read", len(reviews)).
			Msg("The pull request has more reviews than are read")
	}
	return reviews, more, nil
}

// Authors is who wrote the commits of a pull request, as its commits say: git lets anybody write any name.
type Authors struct {
	Logins  []string // of authors, committers and co-authors, each once, sorted; without GitHub's own web-flow
	Noname  []string // addresses of people in the commits that no account is known for, each once, sorted
	Commits int      // how many were read
	// More says that this is not everybody: GitHub listed as many commits as it lists at most, or they name too many people.
	More bool
}

// PullAuthors reads who wrote the commits of a pull request. It reads the 250 commits that GitHub lists at most.
// See https://docs.github.com/en/rest/pulls/pulls#list-commits-on-a-pull-request.
func (h *Hub) PullAuthors(ctx context.Context, repo operation.Repository, number int) (Authors, error) {
	var got []*github.RepositoryCommit
	people := authors{noreply: []string{"users.noreply.github.com", "users.noreply." + h.web.Hostname()}, logins: map[string]string{}}
	commits := 0
	more, err := h.list(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/pulls/{pull_number}/commits",
		args: []string{repo.Owner, repo.Name, strconv.Itoa(number)}, out: &got,
		do: "list", thing: fmt.Sprintf("the commits of pull request #%d of %s", number, repo.FullName()),
	}, (maxCommits+perPage-1)/perPage, func() bool {
		for _, c := range got {
			commits++
			people.add(c.GetAuthor().GetLogin(), c.GetCommit().GetAuthor().GetEmail())
			if email := c.GetCommit().GetCommitter().GetEmail(); !strings.EqualFold(email, webFlowEmail) {
				people.add(c.GetCommitter().GetLogin(), email)
			}
			people.addCoAuthors(c.GetCommit().GetMessage())
		}
		got = nil
		return true
	})
	if err != nil {
		return Authors{}, err
	}
	made := people.all()
	made.Commits, made.More = commits, made.More || more || commits >= maxCommits
	return made, nil
}

// webFlow is who commits what people merge and edit on GitHub's pages; they are its authors. Nobody is an author by this name. See
// https://docs.github.com/en/authentication/managing-commit-signature-verification/about-commit-signature-verification.
const (
	webFlow      = "web-flow"
	webFlowEmail = "noreply@github.com"
)

// authors gathers people from commits.
type authors struct {
	noreply   []string          // domains of the addresses that GitHub gives to accounts
	logins    map[string]string // by address in small letters; "" while no account is known for it
	unmatched []string          // logins of commits without an address
	cut       bool
}

func (a *authors) add(login, email string) {
	email = strings.ToLower(strings.TrimSpace(email))
	if login == webFlow {
		login = ""
	}
	switch {
	case email == "" && login == "":
		return
	case email == "":
		if a.room(len(a.unmatched)) && !slices.Contains(a.unmatched, login) {
			a.unmatched = append(a.unmatched, login)
		}
		return
	}
	known, met := a.logins[email]
	if !met && !a.room(len(a.logins)) {
		return
	}
	if login == "" {
		login = a.loginOf(email)
	}
	if known == "" {
		a.logins[email] = login
	} else if login != "" && !strings.EqualFold(known, login) { // one address, two accounts: both count
		a.add(login, "")
	}
}

// room reports whether one more person is kept, and remembers it when not.
func (a *authors) room(kept int) bool {
	a.cut = a.cut || kept >= maxAuthors
	return kept < maxAuthors
}

// loginOf reads the login out of an address that GitHub gave to an account: ID+LOGIN or, older, LOGIN before the domain. See
// https://docs.github.com/en/account-and-profile/reference/email-addresses-reference#your-noreply-email-address.
func (a *authors) loginOf(email string) string {
	name, domain, ok := strings.Cut(email, "@")
	if !ok || !slices.Contains(a.noreply, domain) {
		return ""
	}
	if id, login, ok := strings.Cut(name, "+"); ok && strings.Trim(id, "0123456789") == "" {
		return login
	}
	return name
}

// coAuthor is the trailer that names a co-author. It is looked for in the whole message, also where git would not take it for one.
// See https://docs.github.com/en/pull-requests, "Creating a commit with multiple authors".
var coAuthor = regexp.MustCompile(`(?im)^[ \t]*co-authored-by:[^\n<]*<([^<>\s]+)>`)

func (a *authors) addCoAuthors(message string) {
	found := coAuthor.FindAllStringSubmatch(message, maxAuthors+1)
	a.cut = a.cut || len(found) > maxAuthors
	for _, match := range found {
		a.add("", match[1])
	}
}

func (a *authors) all() Authors {
	made := Authors{More: a.cut}
	lower := map[string]bool{}
	keep := func(login string) {
		if !lower[strings.ToLower(login)] {
			lower[strings.ToLower(login)] = true
			made.Logins = append(made.Logins, login)
		}
	}
	for _, login := range a.unmatched {
		keep(login)
	}
	for _, email := range slices.Sorted(maps.Keys(a.logins)) {
		login := a.logins[email]
		if login == "" {
			made.Noname = append(made.Noname, email)
			continue
		}
		keep(login)
	}
	slices.Sort(made.Logins)
	return made
}
