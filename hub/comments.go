package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Comment is what a comment on an issue or pull request should show.
type Comment struct {
	Number int    // of the issue or pull request
	Body   string // Markdown
	Marker string // text of Body that no other comment of ours has
	Search bool   // an earlier one may exist although its id is not known: it is looked for by Marker first
}

// CommentRef is where a comment is.
type CommentRef struct {
	ID     int64  `json:"id"`
	NodeID string `json:"node_id"` // its id in the GraphQL API
	URL    string `json:"url"`     // its place on the page
}

// comment is GitHub's comment with what go-github v66 leaves out of it.
type comment struct {
	ID     int64  `json:"id"`
	NodeID string `json:"node_id"`
	URL    string `json:"html_url"`
	Issue  string `json:"issue_url"`
	Body   string `json:"body"`

	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`

	User struct {
		Login string `json:"login"`
		Type  string `json:"type"`
	} `json:"user"`
	App struct {
		ID int64 `json:"id"`
	} `json:"performed_via_github_app"`
}

func (c comment) ref() CommentRef { return CommentRef{ID: c.ID, NodeID: c.NodeID, URL: c.URL} }

// Written is a comment as it is at GitHub now.
type Written struct {
	Number int // of the issue or pull request
	Author string
	Bot    bool // a bot wrote it, or an App in somebody's name
	Body   string
	Made   time.Time
	Edited bool   // it is not as it was when it was made; an edit within the same second is not seen
	Node   string // its id in the GraphQL API
}

// Comment reads a comment.
// See https://docs.github.com/en/rest/issues/comments#get-an-issue-comment.
func (h *Hub) Comment(ctx context.Context, repo operation.Repository, id int64) (Written, error) {
	var got comment
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/issues/comments/{comment_id}",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10)}, out: &got,
		do: "read", thing: "a comment in " + repo.FullName(),
	})
	if err != nil {
		return Written{}, err
	}
	number, err := strconv.Atoi(path.Base(got.Issue))
	if err != nil {
		return Written{}, fmt.Errorf("read a comment in %s: %q names no issue", repo.FullName(), got.Issue)
	}
	return Written{
		Number: number, Author: got.User.Login, Bot: got.User.Type != "User" || got.App.ID != 0, Body: got.Body,
		Made: got.Created, Edited: !got.Updated.Equal(got.Created), Node: got.NodeID,
	}, nil
}

const lastEdit = `query($id: ID!) { node(id: $id) { ... on IssueComment { lastEditedAt } } }`

// Retouched reports whether anybody has ever edited a comment, also within the second in which it was made: whoever may write to issues
// can edit the comments of others, and its times do not show that.
// See https://docs.github.com/en/graphql/reference/objects#issuecomment.
func (h *Hub) Retouched(ctx context.Context, repo operation.Repository, node string) (bool, error) {
	var got struct {
		Node *struct {
			LastEdited *time.Time `json:"lastEditedAt"` //nolint:tagliatelle // GitHub's name
		} `json:"node"`
	}
	err := h.graph(ctx, repo.Installation, lastEdit, map[string]any{"id": node}, &got,
		request{do: "read", thing: "whether a comment in " + repo.FullName() + " was edited"})
	if err != nil {
		return false, err
	}
	if got.Node == nil {
		return false, &Gone{What: "a comment in " + repo.FullName()}
	}
	return got.Node.LastEdited != nil, nil
}

// PutComment makes the comment with that id show the body, or posts one when id is 0 or when it was
// deleted. It returns the comment to use the next time.
// See https://docs.github.com/en/rest/issues/comments.
func (h *Hub) PutComment(ctx context.Context, repo operation.Repository, id int64, c Comment) (CommentRef, error) {
	thing := fmt.Sprintf("a comment on #%d of %s", c.Number, repo.FullName())
	body := map[string]string{"body": clip(c.Body, MaxComment)}
	edit := func(id int64) (CommentRef, error) {
		return h.writeComment(ctx, repo, request{
			method: http.MethodPatch, route: "repos/{owner}/{repo}/issues/comments/{comment_id}",
			args: []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10)}, body: body,
			do: "edit", thing: thing,
		})
	}
	known := id != 0
	if known {
		ref, err := edit(id)
		if _, gone := errors.AsType[*Gone](err); !gone {
			return ref, err
		}
	}
	if c.Search && c.Marker != "" { // also one that was posted in place of a deleted one
		found, err := h.search(ctx, repo, known, func() (int64, error) { return h.findComment(ctx, repo, c) })
		if err != nil {
			return CommentRef{}, err
		}
		if found != 0 {
			return edit(found)
		}
	}
	return h.writeComment(ctx, repo, request{
		method: http.MethodPost, route: "repos/{owner}/{repo}/issues/{issue_number}/comments",
		args: []string{repo.Owner, repo.Name, strconv.Itoa(c.Number)}, body: body,
		do: "post", thing: thing, mustFollow: known,
	})
}

func (h *Hub) writeComment(ctx context.Context, repo operation.Repository, r request) (CommentRef, error) {
	var got comment
	r.out = &got
	if _, err := h.call(ctx, repo.Installation, r); err != nil {
		return CommentRef{}, err
	}
	if _, err := made(r, got.ID); err != nil {
		return CommentRef{}, err
	}
	return got.ref(), nil
}

// findComment looks for the oldest comment that has the marker and was written by this App; 0 is none. A
// person who writes the marker into a comment of their own does not get it overwritten.
func (h *Hub) findComment(ctx context.Context, repo operation.Repository, c Comment) (int64, error) {
	var got []comment
	var found int64
	_, err := h.list(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/issues/{issue_number}/comments",
		args: []string{repo.Owner, repo.Name, strconv.Itoa(c.Number)}, out: &got,
		do: "list", thing: fmt.Sprintf("the comments on #%d of %s", c.Number, repo.FullName()),
	}, maxCommentPages, func() bool {
		for _, candidate := range got {
			if h.ourComment(candidate) && strings.Contains(candidate.Body, c.Marker) {
				found = candidate.ID
				return false
			}
		}
		got = nil
		return true
	})
	return found, err
}

// minimizeComment folds a comment away. See https://docs.github.com/en/graphql/reference/mutations#minimizecomment.
const minimizeComment = `mutation($id: ID!) {
	minimizeComment(input: {subjectId: $id, classifier: OUTDATED}) { minimizedComment { isMinimized } }
}`

// Minimize folds a comment away as outdated. Doing it again changes nothing.
func (h *Hub) Minimize(ctx context.Context, repo operation.Repository, nodeID string) error {
	return h.mutate(ctx, repo.Installation, minimizeComment, map[string]any{"id": nodeID},
		request{do: "minimize", thing: "a comment of " + repo.FullName()})
}

// unminimizeComment unfolds a comment. See https://docs.github.com/en/graphql/reference/mutations#unminimizecomment.
const unminimizeComment = `mutation($id: ID!) { unminimizeComment(input: {subjectId: $id}) { unminimizedComment { isMinimized } } }`

// Unminimize unfolds a comment. Doing it again changes nothing.
func (h *Hub) Unminimize(ctx context.Context, repo operation.Repository, nodeID string) error {
	return h.mutate(ctx, repo.Installation, unminimizeComment, map[string]any{"id": nodeID},
		request{do: "unfold", thing: "a comment of " + repo.FullName()})
}

// React adds a reaction of the App to a comment: +1, -1, laugh, confused, heart, hooray, rocket or eyes.
// Doing it again changes nothing.
// See https://docs.github.com/en/rest/reactions/reactions#create-reaction-for-an-issue-comment.
func (h *Hub) React(ctx context.Context, repo operation.Repository, comment int64, content string) error {
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodPost, route: "repos/{owner}/{repo}/issues/comments/{comment_id}/reactions",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(comment, 10)}, body: map[string]string{"content": content},
		do: "react to", thing: "a comment of " + repo.FullName(),
	})
	return err
}
