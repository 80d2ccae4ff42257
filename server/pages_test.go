package server_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
)

// large is a file with n resources whose values take some 300 bytes each to show.
func large(n int, word string) map[string]string {
	return map[string]string{"infra/large.tf": fmt.Sprintf(`resource "terraform_data" "large" {
  count = %d
  input = "%s-${count.index}-%s"
}
`, n, word, strings.Repeat("v", 250))}
}

// further are the further comments of a pull request in the order in which they were posted.
func (s *shop) further(number int) []sandbox.Comment {
	s.t.Helper()
	view, _ := s.repo.PullView(number)
	var pages []sandbox.Comment
	for _, comment := range view.Comments {
		if comment.Bot && strings.Contains(comment.Body, fmt.Sprintf("<!-- switchyard:pull:%d:page:", number)) {
			pages = append(pages, comment)
		}
	}
	return pages
}

// pagesAre waits until the one comment leads to so many further ones, which are in their order, and returns them.
func (s *shop) pagesAre(number, n int) []sandbox.Comment {
	s.t.Helper()
	head := s.head(number)
	s.eventually(fmt.Sprintf("#%d leads to %d further comments", number, n), func() bool {
		view, _ := s.repo.PullView(number)
		for _, comment := range view.Comments {
			if strings.Contains(comment.Body, render.Marker(number)) {
				return strings.Contains(comment.Body, head[:7]) && strings.Contains(comment.Body, fmt.Sprintf("[%d of %d](", n+1, n+1))
			}
		}
		return false
	})
	var pages []sandbox.Comment
	s.eventually(fmt.Sprintf("%d further comments show the plan of %s", n, head[:7]), func() bool {
		pages = s.further(number)
		for i, page := range pages[:min(n, len(pages))] {
			if !strings.Contains(page.Body, head[:7]) || !strings.Contains(page.Body, fmt.Sprintf(", %d of %d.** [1 of %d](", i+2, n+1, n+1)) || page.Minimized {
				return false
			}
		}
		return len(pages) >= n
	})
	first := s.said(number, render.Marker(number))
	var ids []int64
	for _, page := range pages[:n] {
		ids = append(ids, page.ID)
		if !strings.Contains(first.Body, fmt.Sprintf("#issuecomment-%d)", page.ID)) {
			s.t.Errorf("the first comment does not lead to comment %d", page.ID)
		}
	}
	s.checkOf(head, "switchyard / plan (dev)", "leads to the further comments", func(check sandbox.Check) bool {
		return strings.Contains(check.Summary, fmt.Sprintf("#issuecomment-%d)", ids[n-1]))
	})
	return pages
}

var shownValue = regexp.MustCompile(`"(one|two|three)-\d+-`)

func TestAPlanThatFitsNowhereIsShownInFurtherCommentsWhichAreEditedInPlace(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/large", "develop", large(500, "one"))
	pages := s.pagesAre(number, 4)
	s.quiet()
	var all strings.Builder
	for _, page := range pages {
		all.WriteString(page.Body)
	}
	if got := len(shownValue.FindAllString(all.String(), -1)); got != 500 {
		t.Errorf("%d values of 500 are shown", got)
	}
	t.Run("another plan that shows the same writes none of them again", func(t *testing.T) {
		before := effectsOn(s, "issues/comments")
		s.comment(story.Ben, number, "/plan")
		s.said(number, "**Planning dev.**")
		s.quiet()
		for _, page := range s.further(number) {
			if page.Edits != 0 {
				t.Errorf("comment %d was edited:\n%s", page.ID, strings.Join(effectsOn(s, "issues/comments")[len(before):], "\n"))
			}
		}
	})
	t.Run("the plan of another head edits them", func(t *testing.T) {
		s.push("feature/large", large(500, "two"))
		s.pagesAre(number, 4)
		s.quiet()
		for _, page := range s.further(number) {
			if page.Edits != 1 {
				t.Errorf("comment %d was edited %d times", page.ID, page.Edits)
			}
		}
	})
	t.Run("a shorter plan leaves one line in those that it does not need", func(t *testing.T) {
		s.push("feature/large", large(5, "two"))
		s.planned(number, "dev")
		s.quiet()
		head := s.head(number)
		for _, page := range s.further(number) {
			if !page.Minimized || page.Edits != 2 || !strings.HasPrefix(page.Body, "**Not needed by the plan of [`"+head[:7]+"`](") || strings.Count(page.Body, "\n") > 2 {
				t.Errorf("comment %d, minimised %t, edited %d times: %.300s", page.ID, page.Minimized, page.Edits, page.Body)
			}
		}
		if first := s.said(number, render.Marker(number)); strings.Contains(first.Body, "further comment") {
			t.Error("the first comment still leads to them")
		}
		s.push("feature/large", large(4, "two"))
		s.planned(number, "dev")
		s.quiet()
		for _, page := range s.further(number) {
			if page.Edits != 2 {
				t.Errorf("comment %d was edited again", page.ID)
			}
		}
	})
	t.Run("a long one again uses them again", func(t *testing.T) {
		s.push("feature/large", large(360, "three"))
		again := s.pagesAre(number, 3)
		s.quiet()
		if len(again) != 4 || again[0].ID != pages[0].ID || !again[3].Minimized {
			t.Errorf("%d further comments; the first is %d, and was %d; the fourth is minimised: %t",
				len(again), again[0].ID, pages[0].ID, again[3].Minimized)
		}
	})
}

// effectsOn are the effects whose text has a word.
func effectsOn(s *shop, word string) []string {
	var found []string
	for _, effect := range s.Box.Effects() {
		if strings.Contains(effect, word) {
			found = append(found, effect)
		}
	}
	return found
}

func TestFurtherCommentsTakeOneCallEachAndTwoThatLeadToThem(t *testing.T) { //nolint:paralleltest // what goes on for long is told in further calls: the others must not slow it down
	s := newShop(t, nil)
	s.takenIn()
	before := s.Box.Calls()
	s.pagesAre(s.open("feature/large", "develop", large(500, "one")), 4)
	s.quiet()
	got := counted(before, s.Box.Calls())
	want := map[string]int{
		"GET /repos/{owner}/{repo}/pulls/{pull_number}":             1,
		"POST /repos/{owner}/{repo}/check-runs":                     2,
		"PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}":     2, // the plan's end, and the links
		"POST /repos/{owner}/{repo}/issues/{issue_number}/comments": 5,
		"PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}":  1, // the links
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestFurtherCommentsGoOnAfterARestart(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/large", "develop", large(500, "one"))
	s.eventually("the first further comment is there", func() bool { return len(s.further(number)) > 0 })
	s.stop()
	if n := len(s.further(number)); n == 4 {
		t.Log("the machine was so busy that all of them are there already")
	}
	s.start(quiet)
	if pages := s.pagesAre(number, 4); len(pages) != 4 {
		t.Errorf("%d further comments", len(pages))
	}
}

func TestACommandShowsOneRootBeforeTheOthers(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	files := map[string]string{}
	for i, dir := range f.roots {
		files[dir+"/large.tf"] = large(250, []string{"one", "two"}[i])["infra/large.tf"]
	}
	number := f.open("feature/large", "develop", files)
	if first := shownValue.FindString(f.pagesAre(number, 4)[0].Body); first != `"one-0-` {
		t.Errorf("the first further comment begins with %s", first)
	}
	f.quiet()
	f.comment(story.Ben, number, "/plan dev "+f.roots[1])
	f.eventually("the second root is shown first", func() bool { return shownValue.FindString(f.further(number)[0].Body) == `"two-0-` })
	f.quiet()
	if n := len(f.further(number)); n != 4 {
		t.Errorf("%d further comments", n)
	}
}
