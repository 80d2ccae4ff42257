package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/go-github/v66/github"

	"github.com/switchyard-dev/switchyard/operation"
)

// App is the App that this Hub calls GitHub as.
type App struct {
	ID   int64
	Slug string // its comments are by SLUG[bot]
	Name string
}

// App asks GitHub who the App is, which also proves that its key is accepted.
// See https://docs.github.com/en/rest/apps/apps#get-the-authenticated-app.
func (h *Hub) App(ctx context.Context) (App, error) {
	var app github.App
	_, err := h.call(ctx, theApp, request{
		method: http.MethodGet, route: "app", out: &app,
		do: "read", thing: fmt.Sprintf("the App %d", h.appID),
	})
	if _, gone := errors.AsType[*Gone](err); gone {
		return App{}, &NeedsPerson{
			What:   fmt.Sprintf("GitHub at %s knows no App %d with this key.", h.api.Host, h.appID),
			Remedy: "Check the App's id, its private key and the API URL.",
		}
	}
	if err != nil {
		return App{}, err
	}
	return App{ID: app.GetID(), Slug: app.GetSlug(), Name: app.GetName()}, nil
}

// Installation is one place where the App is installed.
type Installation struct {
	ID        int64
	Account   string // login of the organisation or person
	Suspended bool
}

// Installations lists where the App is installed.
// See https://docs.github.com/en/rest/apps/apps#list-installations-for-the-authenticated-app.
func (h *Hub) Installations(ctx context.Context) ([]Installation, error) {
	var got []*github.Installation
	var all []Installation
	_, err := h.list(ctx, theApp, request{
		method: http.MethodGet, route: "app/installations", out: &got,
		do: "list", thing: "the App's installations",
	}, maxInstallationPages, func() bool {
		for _, i := range got {
			all = append(all, Installation{ID: i.GetID(), Account: i.GetAccount().GetLogin(), Suspended: i.SuspendedAt != nil})
		}
		got = nil
		return true
	})
	return all, err
}

// Info is what GitHub says about a repository.
type Info struct {
	operation.Repository

	DefaultBranch string
	Private       bool
	Archived      bool
}

func info(installation int64, r *github.Repository) Info {
	return Info{
		Repository: operation.Repository{
			ID: r.GetID(), Installation: installation, Owner: r.GetOwner().GetLogin(), Name: r.GetName(),
		},
		DefaultBranch: r.GetDefaultBranch(), Private: r.GetPrivate(), Archived: r.GetArchived(),
	}
}

// Repositories lists the repositories of an installation.
// See https://docs.github.com/en/rest/apps/installations#list-repositories-accessible-to-the-app-installation.
func (h *Hub) Repositories(ctx context.Context, installation int64) ([]Info, error) {
	var got github.ListRepositories
	var all []Info
	more, err := h.list(ctx, installation, request{
		method: http.MethodGet, route: "installation/repositories", out: &got,
		do: "list", thing: fmt.Sprintf("the repositories of installation %d", installation),
	}, maxRepositoryPages, func() bool {
		for _, r := range got.Repositories {
			all = append(all, info(installation, r))
		}
		got = github.ListRepositories{}
		return true
	})
	if more {
		h.log.Warn().Int64("installation", installation).Int("read", len(all)).Msg("The installation has more repositories than are read")
	}
	return all, err
}

// Repository reads a repository. A renamed one is found by its old name and returned with its new one.
// See https://docs.github.com/en/rest/repos/repos#get-a-repository.
func (h *Hub) Repository(ctx context.Context, repo operation.Repository) (Info, error) {
	var got github.Repository
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}", args: []string{repo.Owner, repo.Name}, out: &got,
		do: "read", thing: "repository " + repo.FullName(),
	})
	if err != nil {
		return Info{}, err
	}
	return info(repo.Installation, &got), nil
}

// The states of a pull request. GitHub's own has no "merged".
const (
	Open   = "open"
	Closed = "closed"
	Merged = "merged"
)

// Bot is the type of an account that is a bot's: of an App. A bot with an ordinary account is a User to GitHub.
// See https://docs.github.com/en/rest/users/users#get-a-user.
const Bot = "Bot"

// Pull is a pull request.
type Pull struct {
	Number         int
	State          string // Open, Closed or Merged
	Title          string
	Author         string // login; "ghost" when the account is gone
	AuthorType     string // User or Bot
	HeadRef        string // branch
	HeadSHA        string
	HeadRepository string // owner/name; empty when the fork is gone
	BaseRef        string // branch
	DefaultBranch  string // of the repository of the base
	Fork           bool   // its head is in another repository, or in one that is gone
	Draft          bool
	Comments       int // only from Hub.Pull
	HTMLURL        string
	MergeCommit    string // only when merged, and only as long as GitHub gives it
}

func pull(repo operation.Repository, p *github.PullRequest) Pull {
	made := Pull{
		Number: p.GetNumber(), State: p.GetState(), Title: p.GetTitle(),
		Author: p.GetUser().GetLogin(), AuthorType: p.GetUser().GetType(),
		HeadRef: p.GetHead().GetRef(), HeadSHA: p.GetHead().GetSHA(), HeadRepository: p.GetHead().GetRepo().GetFullName(),
		BaseRef: p.GetBase().GetRef(), DefaultBranch: p.GetBase().GetRepo().GetDefaultBranch(),
		Draft: p.GetDraft(), Comments: p.GetComments(), HTMLURL: p.GetHTMLURL(),
	}
	if made.Author == "" { // see https://docs.github.com/en/account-and-profile/concepts/account-deletion
		made.Author = "ghost"
	}
	if p.GetMerged() || p.MergedAt != nil {
		made.State, made.MergeCommit = Merged, p.GetMergeCommitSHA()
	}
	base := p.GetBase().GetRepo().GetID()
	if base == 0 {
		base = repo.ID
	}
	made.Fork = p.GetHead().GetRepo() == nil || p.GetHead().GetRepo().GetID() != base
	return made
}

// Pull reads a pull request.
// See https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request.
func (h *Hub) Pull(ctx context.Context, repo operation.Repository, number int) (Pull, error) {
	var got github.PullRequest
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/pulls/{pull_number}",
		args: []string{repo.Owner, repo.Name, strconv.Itoa(number)}, out: &got,
		do: "read", thing: fmt.Sprintf("pull request #%d of %s", number, repo.FullName()),
	})
	if err != nil {
		return Pull{}, err
	}
	return pull(repo, &got), nil
}

// PullsOfCommit lists the pull requests that have the commit, open ones and merged ones.
// See https://docs.github.com/en/rest/commits/commits#list-pull-requests-associated-with-a-commit.
func (h *Hub) PullsOfCommit(ctx context.Context, repo operation.Repository, sha string) ([]Pull, error) {
	return h.pulls(ctx, repo, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/commits/{commit_sha}/pulls",
		args: []string{repo.Owner, repo.Name, sha},
		do:   "list", thing: fmt.Sprintf("the pull requests of commit %s of %s", harmless(sha), repo.FullName()),
	}, maxCommitPullPages)
}

// OpenPulls lists the open pull requests, the newest first, at most 1,000.
// See https://docs.github.com/en/rest/pulls/pulls#list-pull-requests.
func (h *Hub) OpenPulls(ctx context.Context, repo operation.Repository) ([]Pull, error) {
	return h.pulls(ctx, repo, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/pulls",
		args: []string{repo.Owner, repo.Name}, query: url.Values{"state": {"open"}},
		do: "list", thing: "the open pull requests of " + repo.FullName(),
	}, maxPullPages)
}

func (h *Hub) pulls(ctx context.Context, repo operation.Repository, r request, pages int) ([]Pull, error) {
	var got []*github.PullRequest
	var all []Pull
	seen := map[int]bool{} // a page shifts when a pull request is opened meanwhile
	r.out = &got
	more, err := h.list(ctx, repo.Installation, r, pages, func() bool {
		for _, p := range got {
			if !seen[p.GetNumber()] {
				seen[p.GetNumber()] = true
				all = append(all, pull(repo, p))
			}
		}
		got = nil
		return true
	})
	if more {
		h.log.Warn().Str("repository", repo.FullName()).Int("read", len(all)).Msg("There are more pull requests than are read")
	}
	return all, err
}

// basic reports whether GitHub itself defines the role.
func basic(role string) bool {
	switch role {
	case "none", "read", "triage", "write", "maintain", "admin":
		return true
	}
	return false
}

// Permission is what the person may do in the repository: none, read, triage, write, maintain or admin,
// the highest of all grants. A custom role counts as the basic role it was made from, by GitHub's word; a
// login that GitHub does not know has none.
// See https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user.
func (h *Hub) Permission(ctx context.Context, repo operation.Repository, login string) (string, error) {
	var got github.RepositoryPermissionLevel
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/collaborators/{username}/permission",
		args: []string{repo.Owner, repo.Name, login}, out: &got,
		do: "read", thing: fmt.Sprintf("the permission of %s in %s", harmless(login), repo.FullName()),
	})
	if _, gone := errors.AsType[*Gone](err); gone {
		return "none", nil
	}
	if err != nil {
		return "", err
	}
	for _, role := range []string{got.GetRoleName(), got.GetPermission()} {
		if basic(role) {
			return role, nil
		}
	}
	return "none", nil
}

// InTeam reports whether the person is an active member of the organisation's team, directly or in a
// child team. A team that does not exist has no members.
// See https://docs.github.com/en/rest/teams/members#get-team-membership-for-a-user.
func (h *Hub) InTeam(ctx context.Context, repo operation.Repository, team, login string) (bool, error) {
	var got github.Membership
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "orgs/{org}/teams/{team_slug}/memberships/{username}",
		args: []string{repo.Owner, team, login}, out: &got,
		do: "read", thing: fmt.Sprintf("whether %s is in team %s of %s", harmless(login), harmless(team), repo.Owner),
	})
	if _, gone := errors.AsType[*Gone](err); gone {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return strings.EqualFold(got.GetState(), "active"), nil
}
