package hub

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// maxIssuePages bounds the open issues of the App that are looked through for one: at most 500.
const maxIssuePages = 5

// OpenIssue is an issue that the App keeps open for something, found again by a hidden mark in its text.
type OpenIssue struct {
	Title  string
	Body   string // Markdown, with Marker in it
	Marker string
}

// issue is what is read of GitHub's issue.
type issue struct {
	Number int    `json:"number"`
	Body   string `json:"body"`
	User   struct {
		Login string `json:"login"`
	} `json:"user"`
	Pull *struct{} `json:"pull_request"`
}

// Issue gives the number of the oldest open issue of the App that has the marker, and opens one where there is none. A person who
// writes the marker into an issue of their own does not get it used.
// See https://docs.github.com/en/rest/issues/issues.
func (h *Hub) Issue(ctx context.Context, repo operation.Repository, wanted OpenIssue) (int, error) {
	bot, err := h.BotLogin(ctx)
	if err != nil {
		return 0, err
	}
	found, err := h.search(ctx, repo, false, func() (int64, error) { return h.findIssue(ctx, repo, bot, wanted.Marker) })
	if err != nil || found != 0 {
		return int(found), err
	}
	var got issue
	r := request{
		method: http.MethodPost, route: "repos/{owner}/{repo}/issues", args: []string{repo.Owner, repo.Name},
		body: map[string]string{"title": clip(wanted.Title, maxIssueTitle), "body": clip(wanted.Body, MaxComment)}, out: &got,
		do: "open", thing: "an issue in " + repo.FullName(),
	}
	if _, err := h.call(ctx, repo.Installation, r); err != nil {
		return 0, err
	}
	if _, err := made(r, int64(got.Number)); err != nil {
		return 0, err
	}
	return h.onlyIssue(ctx, repo, bot, wanted.Marker, got.Number)
}

// onlyIssue is the oldest open issue with the marker now that one was opened. Another server may have opened one at the same moment: the
// newer of the two is closed by who opened it.
func (h *Hub) onlyIssue(ctx context.Context, repo operation.Repository, bot, marker string, opened int) (int, error) {
	oldest, err := h.findIssue(ctx, repo, bot, marker)
	if err != nil || oldest == 0 || oldest >= int64(opened) {
		return opened, err
	}
	_, err = h.call(ctx, repo.Installation, request{
		method: http.MethodPatch, route: "repos/{owner}/{repo}/issues/{issue_number}",
		args: []string{repo.Owner, repo.Name, strconv.Itoa(opened)}, body: map[string]string{"state": "closed", "state_reason": "not_planned"},
		do: "close", thing: "an issue in " + repo.FullName(),
	})
	return int(oldest), err
}

// findIssue looks for the oldest open issue of the App with the marker; 0 is none.
func (h *Hub) findIssue(ctx context.Context, repo operation.Repository, bot, marker string) (int64, error) {
	var got []issue
	var found int64
	_, err := h.list(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/issues", args: []string{repo.Owner, repo.Name}, out: &got,
		query: url.Values{"state": {"open"}, "creator": {bot}, "direction": {"asc"}, "sort": {"created"}},
		do:    "list", thing: "the issues of " + repo.FullName(),
	}, maxIssuePages, func() bool {
		for _, candidate := range got {
			if candidate.Pull == nil && strings.EqualFold(candidate.User.Login, bot) && strings.Contains(candidate.Body, marker) {
				found = int64(candidate.Number)
				return false
			}
		}
		got = nil
		return true
	})
	return found, err
}
