package server_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/store"
)

// asked are the plans that were begun for a pull request, oldest first, as SHAs.
func (s *shop) asked(number int) []string {
	s.t.Helper()
	data, err := store.OpenToRead(s.ctx, "sqlite:"+filepath.Join(s.data, "switchyard.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	ops, err := data.Operations(s.ctx, store.Filter{Pull: number, Kinds: []operation.Kind{operation.Plan}, Limit: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	var heads []string
	for _, op := range ops {
		heads = append(heads, op.Head)
	}
	return heads
}

func TestAForkIsPlannedCommitByCommitWhereAMaintainerSaysSo(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	own := s.open("feature/own", "develop", map[string]string{"infra/own.tf": strings.ReplaceAll(secondFile, "second", "own")})
	fork, err := s.repo.Fork(s.ctx, story.Mallory)
	if err != nil {
		t.Fatal(err)
	}
	first, err := fork.Push(s.ctx, story.Mallory, "feature/gift", map[string]string{
		"infra/second.tf": secondFile, ".github/workflows/gift.yml": "on: push\n",
	}, "gift", sandbox.PushOptions{From: "develop"})
	if err != nil {
		t.Fatal(err)
	}
	number, err := s.repo.OpenPull(s.ctx, story.Mallory, sandbox.Pull{From: story.Mallory + ":feature/gift", To: "develop", Title: "gift"})
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("the fork's checks are there", func() bool { return len(s.repo.Checks(first)) > 0 })

	s.comment(story.Mallory, number, "/plan --fork "+first)
	s.said(number, "`mallory`", "`/plan --fork` needs maintain permission")
	s.comment(story.Ben, number, "/plan --fork "+first)
	s.said(number, "`ben`", "`/plan --fork` needs maintain permission")
	s.comment(story.Ana, number, "/plan --fork "+s.head(own))
	s.said(number, "is not the newest commit of this pull request")
	s.comment(story.Ana, own, "/plan --fork "+s.head(own))
	s.said(own, "comes from this repository")
	if heads := s.asked(number); len(heads) > 0 {
		t.Fatalf("planned %v", heads)
	}

	s.comment(story.Ana, number, "/plan --fork "+first)
	s.said(number, "Exactly `"+first+"` is planned", "changes 2 files", "- `.github/workflows/gift.yml`: runs in GitHub Actions", "- `infra/second.tf`")
	s.checkIs(first, "switchyard / plan (dev)", "success")

	second, err := fork.Push(s.ctx, story.Mallory, "feature/gift", map[string]string{"infra/third.tf": strings.ReplaceAll(secondFile, "second", "third")}, "more",
		sandbox.PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("the new commit's checks are there", func() bool { return len(s.repo.Checks(second)) > 0 })
	s.comment(story.Ana, number, "/plan --fork "+first)
	s.said(number, "`"+first+"` is not the newest commit", "`"+second+"`")
	s.comment(story.Ana, number, "/plan")
	s.said(number, "have somebody with maintain permission comment `/plan --fork`")
	if heads := s.asked(number); len(heads) != 1 || heads[0] != first {
		t.Errorf("planned %v, not only %s", heads, first)
	}
}
