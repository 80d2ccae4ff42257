package handlers

import (
	"context"
	"strings"

	"github.com/switchyard-dev/switchyard/deploy"
)

// issueCommentActions are the actions on a comment that can be a command, and why. Others are not: an
// edited comment would let somebody put other words under a reaction, and a deleted one asks for nothing.
// See https://docs.github.com/en/webhooks/webhook-events-and-payloads#issue_comment.
var issueCommentActions = map[string]string{
	"created": "a person may have asked for something",
}

// IssueComment handles the event issue_comment, which is sent for issues and pull requests alike.
type IssueComment struct{ accepter }

type issueCommentEvent struct {
	envelope

	Issue struct {
		Number      int       `json:"number"`
		PullRequest *struct{} `json:"pull_request"`
	} `json:"issue"`
	Comment struct {
		ID   int64  `json:"id"`
		Body string `json:"body"`
		User struct {
			Login string `json:"login"`
			Type  string `json:"type"`
		} `json:"user"`
		App *struct{} `json:"performed_via_github_app"`
	} `json:"comment"`
}

// Handles names the event.
func (h *IssueComment) Handles() []string { return []string{"issue_comment"} }

// Handle accepts the delivery when the comment begins like a command. Whether it is one, and whether its
// author may give it, is decided later.
func (h *IssueComment) Handle(ctx context.Context, event, deliveryID string, payload []byte) error {
	var got issueCommentEvent
	if err := read(event, payload, &got); err != nil {
		return err
	}
	if _, matters := issueCommentActions[got.Action]; !matters {
		return ignore(ctx, got.envelope, "only a new comment can be a command")
	}
	if !strings.HasPrefix(got.Comment.Body, "/") {
		return ignore(ctx, got.envelope, "its first line does not begin with a slash")
	}
	repo, err := got.repository(event)
	if err != nil {
		return err
	}
	if got.Issue.Number <= 0 || got.Comment.ID <= 0 || got.Comment.User.Login == "" {
		return &Malformed{Event: event, Reason: "the issue's number, the comment's id or its author is missing"}
	}
	comment := deploy.CommentMade{
		Repository: repo, Number: got.Issue.Number, IsPull: got.Issue.PullRequest != nil,
		Comment: got.Comment.ID, Author: got.Comment.User.Login, Body: got.Comment.Body,
		Bot: got.Comment.User.Type != "User" || got.Comment.App != nil,
	}
	return h.accept(ctx, event, deliveryID, payload, got.envelope, comment.Job())
}
