package server_test

import (
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
)

func TestWithoutAnAppWhatDoesNotWorkIsAnsweredInWordsAndNotOffered(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	issue, err := l.repo.OpenIssue(l.ctx, story.Ana, "A lock is stuck", "dev")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"/help", "/break-lease dev", "/confirm 7K3M9PQX", "/cancel dev", "/unlock dev"} {
		l.comment(story.Ana, issue, body)
	}
	l.answered(issue, "`/break-lease` does nothing", "/acme/shop/actions,", "switchyard-break-lease.yml")
	l.answered(issue, "`/confirm` does nothing")
	l.answered(issue, "`/cancel` cannot stop anything")
	l.answered(issue, "nobody who would remember `/unlock`")
	l.answered(issue, "| `/apply ", "| `/plan ")
	view, _ := l.repo.Issue(issue)
	for _, comment := range view.Comments {
		if isHelp(comment) && (strings.Contains(comment.Body, "/cancel") || strings.Contains(comment.Body, "/break-lease") ||
			strings.Contains(comment.Body, "/confirm") || strings.Contains(comment.Body, "/approve-replace")) {
			t.Errorf("it offers what does not work:\n%s", comment.Body)
		}
	}
}

func isHelp(comment sandbox.Comment) bool {
	return strings.Contains(comment.Body, "| command | what it does |")
}
