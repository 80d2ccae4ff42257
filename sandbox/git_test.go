package sandbox_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/sandbox"
)

func TestGitServesTokensOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	t.Run("a clone with a token has the branches and files", func(t *testing.T) {
		w := w.in(t)
		dir := t.TempDir()
		w.mustGit(dir, "clone", "--quiet", w.remote(w.repo, w.token), "work")
		if out := w.mustGit(filepath.Join(dir, "work"), "ls-files"); out != "README.md\nsrc/terraform/main.tf" {
			t.Errorf("files: %q", out)
		}
		branches := w.mustGit(filepath.Join(dir, "work"), "branch", "--remotes", "--format=%(refname:short)")
		if !strings.Contains(branches, "origin/release/1.0") || !strings.Contains(branches, "origin/develop") {
			t.Errorf("branches: %q", branches)
		}
	})
	t.Run("a blob-less clone gets blobs when it needs them", func(t *testing.T) {
		w := w.in(t)
		dir := t.TempDir()
		w.mustGit(dir, "clone", "--quiet", "--bare", "--filter=blob:none", w.remote(w.repo, w.token), "mirror")
		mirror := filepath.Join(dir, "mirror")
		if out := w.mustGit(mirror, "rev-list", "--objects", "--missing=print", "main"); !strings.Contains(out, "?") {
			t.Errorf("no blob is missing: %q", out)
		}
		if out := w.mustGit(mirror, "cat-file", "-p", "main:README.md"); out != "# network" {
			t.Errorf("README.md: %q", out)
		}
	})
	t.Run("the head and the test merge of a pull request can be fetched", func(t *testing.T) {
		w := w.in(t)
		number := w.open("feature/fetch", "develop", "a.tf", "# a\n")
		view := w.pull(number)
		dir := t.TempDir()
		w.mustGit(dir, "init", "--quiet", "--bare")
		w.mustGit(dir, "fetch", "--quiet", w.remote(w.repo, w.token), "refs/pull/1/head:refs/h", "refs/pull/1/merge:refs/m")
		if got := w.mustGit(dir, "rev-parse", "refs/h"); got != view.Head.SHA {
			t.Errorf("head: expected %s, actual %s", view.Head.SHA, got)
		}
		want := view.Base.SHA + "\n" + view.Head.SHA
		if got := w.mustGit(dir, "rev-parse", "refs/m^1", "refs/m^2"); got != want {
			t.Errorf("parents of the test merge: expected %s, actual %s", want, got)
		}
	})
	t.Run("any commit can be fetched by its SHA", func(t *testing.T) {
		w := w.in(t)
		dir := t.TempDir()
		w.mustGit(dir, "init", "--quiet", "--bare")
		w.mustGit(dir, "fetch", "--quiet", "--depth=1", w.remote(w.repo, w.token), w.repo.Branches()["main"])
	})
	for name, secret := range map[string]string{"a wrong token": "ghs_wrong", "no token": "", "a token without contents": w.newToken(
		map[string]any{"permissions": map[string]string{"issues": "read"}},
	)} {
		t.Run(name+" clones nothing", func(t *testing.T) {
			w := w.in(t)
			if out, err := w.git(t.TempDir(), "clone", w.remote(w.repo, secret), "work"); err == nil {
				t.Errorf("cloned: %s", out)
			}
		})
	}
	t.Run("nothing can be pushed with the App's token", func(t *testing.T) {
		w := w.in(t)
		dir := t.TempDir()
		w.mustGit(dir, "clone", "--quiet", w.remote(w.repo, w.token), "work")
		if out, err := w.git(filepath.Join(dir, "work"), "push", "origin", "HEAD:refs/heads/other"); err == nil {
			t.Errorf("pushed: %s", out)
		}
	})
	t.Run("a token narrowed to other repositories clones nothing", func(t *testing.T) {
		w := w.in(t)
		other, err := w.CreateRepository(w.ctx, "acme", "other", sandbox.Seed{Branches: []sandbox.SeedBranch{{Name: "main"}}})
		w.must(err)
		w.must(w.Install(w.ctx, "acme", "other"))
		narrow := w.newToken(map[string]any{"repositories": []string{"other"}})
		if out, err := w.git(t.TempDir(), "clone", w.remote(w.repo, narrow), "work"); err == nil {
			t.Errorf("cloned: %s", out)
		}
		w.mustGit(t.TempDir(), "clone", "--quiet", w.remote(other, narrow), "work")
	})
}

func TestAPushMovesRefsAndTellsTheApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# one\n")
	before := w.pull(number).Head.SHA
	sha, err := w.repo.Push(w.ctx, "ben", "feature/a", map[string]string{"b.tf": "# b\n", "a.tf": "# two\n"}, "Two files",
		sandbox.PushOptions{Delete: []string{"README.md"}})
	w.must(err)

	if got := w.repo.Branches()["feature/a"]; got != sha {
		t.Errorf("branch: expected %s, actual %s", sha, got)
	}
	if got := w.pull(number).Head.SHA; got != sha {
		t.Errorf("head of the pull request: expected %s, actual %s", sha, got)
	}
	want := []string{"installation created", "push", "pull_request opened", "push", "pull_request synchronize"}
	if diff := cmp.Diff(want, w.events()); diff != "" {
		t.Fatalf("webhooks (-expected +actual):\n%s", diff)
	}
	hooks := w.settled()
	push := hooks[3].payload
	commits, _ := push["commits"].([]any)
	if len(commits) != 1 || push["before"] != before || push["after"] != sha || push["forced"] != false || push["created"] != false {
		t.Fatalf("push: %v", push)
	}
	commit, _ := commits[0].(map[string]any)
	got := []any{commit["added"], commit["modified"], commit["removed"]}
	if diff := cmp.Diff([]any{[]any{"b.tf"}, []any{"a.tf"}, []any{"README.md"}}, got); diff != "" {
		t.Errorf("paths (-expected +actual):\n%s", diff)
	}
	if p := hooks[4].payload; p["before"] != before || p["after"] != sha {
		t.Errorf("synchronize: %v → %v", p["before"], p["after"])
	}
}

func TestAForcePushIsCalledOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.repo.Push(w.ctx, "ana", "develop", map[string]string{"a": "1"}, "One")
	w.must(err)
	_, err = w.repo.Push(w.ctx, "ana", "develop", map[string]string{"a": "2"}, "Instead", sandbox.PushOptions{Force: true})
	w.must(err)
	pushes := w.hooked("push", 2)
	if pushes[0].payload["forced"] != false || pushes[1].payload["forced"] != true {
		t.Errorf("forced: %v, %v", pushes[0].payload["forced"], pushes[1].payload["forced"])
	}
	commits, err := w.repo.Commits(w.ctx, "develop", 10)
	w.must(err)
	if len(commits) != 2 || commits[0].Subject != "Instead" {
		t.Errorf("commits: %v", commits)
	}
}

func TestADeletedBranchAndATagArePushes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# one\n")
	w.must(w.repo.PushTag(w.ctx, "ana", "v1", "main"))
	w.must(w.repo.DeleteBranch(w.ctx, "ana", "feature/a"))
	pushes := w.hooked("push", 3)
	if p := pushes[1].payload; p["ref"] != "refs/tags/v1" || p["created"] != true {
		t.Errorf("tag: %v", p)
	}
	if p := pushes[2].payload; p["deleted"] != true || p["head_commit"] != nil {
		t.Errorf("deletion: %v", p)
	}
	if v := w.pull(number); v.State != "closed" || v.HeadExists {
		t.Errorf("pull request of the deleted branch: %s", v.State)
	}
	if err := w.repo.DeleteBranch(w.ctx, "ana", "main"); err == nil {
		t.Error("the default branch was deleted")
	}
}

func TestMergesAreReal(t *testing.T) {
	t.Parallel()
	for method, wantParents := range map[string]int{sandbox.MergeCommit: 2, sandbox.Squash: 1, sandbox.Rebase: 1} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			number := w.open("feature/a", "develop", "a.tf", "# a\n")
			_, err := w.repo.Push(w.ctx, "ana", "feature/a", map[string]string{"b.tf": "# b\n"}, "Second")
			w.must(err)
			onto, err := w.repo.Push(w.ctx, "ben", "develop", map[string]string{"c.tf": "# c\n"}, "Meanwhile")
			w.must(err)
			sha, err := w.repo.Merge(w.ctx, "ana", number, method)
			w.must(err)

			dir := t.TempDir()
			w.mustGit(dir, "clone", "--quiet", "--branch=develop", w.remote(w.repo, w.token), "work")
			dir = filepath.Join(dir, "work")
			if got := w.mustGit(dir, "ls-files"); got != "README.md\na.tf\nb.tf\nc.tf\nsrc/terraform/main.tf" {
				t.Errorf("files after the merge: %q", got)
			}
			if got := len(strings.Fields(w.mustGit(dir, "log", "-1", "--format=%P"))); got != wantParents {
				t.Errorf("parents: expected %d, actual %d", wantParents, got)
			}
			if w.mustGit(dir, "merge-base", onto, sha) != onto || w.mustGit(dir, "rev-parse", "HEAD") != sha {
				t.Error("the base branch does not descend from what it was")
			}
			view := w.pull(number)
			if view.State != "merged" || view.MergeCommit != sha || view.MergedBy != "ana" {
				t.Errorf("view: %s %s by %s", view.State, view.MergeCommit, view.MergedBy)
			}
			associated := w.get("/repos/acme/network/commits/" + sha + "/pulls").list()
			if len(associated) != 1 || associated[0]["number"] != float64(number) {
				t.Errorf("pull requests of %s: %v", sha, associated)
			}
			events := w.events()
			if got := events[len(events)-2:]; !cmp.Equal(got, []string{"pull_request closed", "push"}) {
				t.Errorf("webhooks: %v", got)
			}
		})
	}
}

func TestConflictsAreFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "README.md", "# ours\n")
	if !w.pull(number).Mergeable {
		t.Fatal("not mergeable before the conflict")
	}
	_, err := w.repo.Push(w.ctx, "ben", "develop", map[string]string{"README.md": "# theirs\n"}, "Meanwhile")
	w.must(err)
	if w.pull(number).Mergeable {
		t.Error("mergeable in spite of the conflict")
	}
	o := w.get("/repos/acme/network/pulls/1").object()
	if o["mergeable"] != false || o["mergeable_state"] != "dirty" || o["merge_commit_sha"] != nil {
		t.Errorf("pull request: %v %v %v", o["mergeable"], o["mergeable_state"], o["merge_commit_sha"])
	}
	for _, method := range []string{sandbox.MergeCommit, sandbox.Squash, sandbox.Rebase} {
		if _, err := w.repo.Merge(w.ctx, "ana", number, method); err == nil {
			t.Errorf("%s merged a conflict", method)
		}
	}
	out := w.mustGit(t.TempDir(), "ls-remote", w.remote(w.repo, w.token), "refs/pull/*")
	if strings.Contains(out, "refs/pull/1/merge") || !strings.Contains(out, "refs/pull/1/head") {
		t.Errorf("refs: %s", out)
	}
}

func TestAPushThatContainsAPullRequestMergesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	_, err := w.repo.Push(w.ctx, "ana", "develop", nil, "", sandbox.PushOptions{From: "feature/a", Force: true})
	w.must(err)
	if got := w.pull(number).State; got != "merged" {
		t.Errorf("state: %s", got)
	}
}

func TestAForkIsAnotherRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fork, err := w.repo.Fork(w.ctx, "eve")
	w.must(err)
	_, err = fork.Push(w.ctx, "eve", "evil", map[string]string{"evil.tf": "# evil\n"}, "Evil", sandbox.PushOptions{From: "develop"})
	w.must(err)
	number, err := w.repo.OpenPull(w.ctx, "eve", sandbox.Pull{From: "eve:evil", To: "develop"})
	w.must(err)
	sha, err := fork.Push(w.ctx, "eve", "evil", map[string]string{"evil.tf": "# more\n"}, "More")
	w.must(err)
	view := w.pull(number)
	if !view.Fork || view.Head.SHA != sha || view.Head.Repository != "eve/network" || view.Title != "Evil" {
		t.Errorf("view: %+v", view)
	}
	head, _ := w.get("/repos/acme/network/pulls/1").object()["head"].(map[string]any)
	if r, _ := head["repo"].(map[string]any); r["full_name"] != "eve/network" || r["fork"] != true {
		t.Errorf("head: %v", r)
	}
	want := []string{"installation created", "pull_request opened", "pull_request synchronize"}
	if diff := cmp.Diff(want, w.events()); diff != "" {
		t.Errorf("webhooks: a fork's pushes are its own (-expected +actual):\n%s", diff)
	}
	w.mustGit(t.TempDir(), "clone", "--quiet", w.remote(w.repo, w.token), "x")
	if out, err := w.git(t.TempDir(), "clone", w.remote(fork, w.token), "x"); err == nil {
		t.Errorf("the fork was cloned with a token of its parent: %s", out)
	}
	_, err = w.repo.Merge(w.ctx, "ana", number, sandbox.Squash)
	w.must(err)
	if _, ok, _ := w.repo.ReadFile(w.ctx, "develop", "evil.tf"); !ok {
		t.Error("the fork's file did not arrive")
	}
}

func TestHostileNamesAreJustNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{
		"a b", `quo"te's`, "$(touch pwned)", "`id`", "..", "-rf", "größe-日本", strings.Repeat("n", 300), "%2e%2e", "x;y&z?q#f",
	} {
		t.Run("repository "+name[:min(len(name), 10)], func(t *testing.T) {
			w := w.in(t)
			r, err := w.CreateRepository(w.ctx, "acme", name, sandbox.Seed{
				Branches: []sandbox.SeedBranch{{Name: "main", Files: map[string]string{"f": "x"}}},
			})
			w.must(err)
			w.must(w.Install(w.ctx, "acme", name))
			out := w.mustGit(t.TempDir(), "ls-remote", w.remote(r, w.token), "HEAD")
			if !strings.HasPrefix(out, r.Branches()["main"]) {
				t.Errorf("ls-remote: %q", out)
			}
		})
	}
	for _, branch := range []string{
		`feature/quo"te's`, "feature/$(id)", "feature/`id`", "feature/größe-日本", "-rf", "feature/;&|<>", "feature/%2e",
	} {
		t.Run("branch "+branch, func(t *testing.T) {
			w := w.in(t)
			number := w.open(branch, "develop", "file of "+branch, "# x\n")
			view := w.pull(number)
			if view.Head.Name != branch || w.repo.Branches()[branch] != view.Head.SHA {
				t.Errorf("head: %q", view.Head.Name)
			}
			sha, err := w.repo.Merge(w.ctx, "ana", number, sandbox.MergeCommit)
			w.must(err)
			if commits, err := w.repo.Commits(w.ctx, "develop", 1); err != nil || commits[0].SHA != sha {
				t.Errorf("develop: %v %v", commits, err)
			}
			w.must(w.repo.DeleteBranch(w.ctx, "ana", branch))
		})
	}
	for _, path := range []string{
		"a b", `quo"te\`, "new\nline", "$(id)", "日本.tf", "-rf", ":(glob)*", "tab\there", strings.Repeat("d/", 50) + "f",
	} {
		t.Run("file "+path[:min(len(path), 10)], func(t *testing.T) {
			w := w.in(t)
			_, err := w.repo.Push(w.ctx, "ana", "develop", map[string]string{path: "content of " + path}, "Add")
			w.must(err)
			got, ok, err := w.repo.ReadFile(w.ctx, "develop", path)
			if err != nil || !ok || got != "content of "+path {
				t.Errorf("content: %q %v %v", got, ok, err)
			}
		})
	}
	for _, branch := range []string{"a b", "a..b", "a\nb", "a\ncommit refs/heads/main", "", "a~1", "x.lock"} {
		t.Run("refused branch "+branch, func(t *testing.T) {
			w := w.in(t)
			before := w.repo.Branches()
			if _, err := w.repo.Push(w.ctx, "ana", branch, map[string]string{"a": "b"}, "Add"); err == nil {
				t.Error("pushed")
			}
			if diff := cmp.Diff(before, w.repo.Branches()); diff != "" {
				t.Errorf("branches changed: %s", diff)
			}
		})
	}
	for _, path := range []string{"../evil", "a/../../b", ".git/config", "a//b", "/etc/passwd", "sub/.GIT/hooks/x"} {
		t.Run("refused file "+path, func(t *testing.T) {
			w := w.in(t)
			if _, err := w.repo.Push(w.ctx, "ana", "develop", map[string]string{path: "x"}, "Add"); err == nil {
				t.Error("pushed")
			}
		})
	}
}

func TestPeopleMayOnlyDoWhatTheirRoleAllows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	refused := map[string]func() error{
		"an outsider pushes": func() error {
			_, err := w.repo.Push(w.ctx, "eve", "develop", map[string]string{"a": "b"}, "x")
			return err
		},
		"an outsider merges":           func() error { _, err := w.repo.Merge(w.ctx, "eve", number, sandbox.Squash); return err },
		"an outsider closes":           func() error { return w.repo.ClosePull(w.ctx, "eve", number) },
		"an outsider changes the base": func() error { return w.repo.EditBase(w.ctx, "eve", number, "main") },
		"nobody comments":              func() error { _, err := w.repo.Comment(w.ctx, "nobody", number, "hi"); return err },
		"a comment is too long":        func() error { _, err := w.repo.Comment(w.ctx, "ana", number, strings.Repeat("x", 65_537)); return err },
		"a pull request without commits": func() error {
			_, err := w.repo.OpenPull(w.ctx, "ana", sandbox.Pull{From: "develop", To: "main"})
			return err
		},
		"a second pull request": func() error {
			_, err := w.repo.OpenPull(w.ctx, "ana", sandbox.Pull{From: "feature/a", To: "develop"})
			return err
		},
	}
	for name, do := range refused {
		if err := do(); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
	if _, err := w.repo.Comment(w.ctx, "eve", number, "/apply dev"); err != nil {
		t.Errorf("an outsider may comment on a public repository: %v", err)
	}
}

func TestClosingReopeningAndRetargetingAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	w.must(w.repo.ClosePull(w.ctx, "ana", number))
	w.must(w.repo.ReopenPull(w.ctx, "ana", number))
	w.must(w.repo.EditBase(w.ctx, "ana", number, "main"))
	hooks := w.hooked("pull_request", 4)
	changes, _ := hooks[3].payload["changes"].(map[string]any)
	base, _ := changes["base"].(map[string]any)
	if ref, _ := base["ref"].(map[string]any); ref["from"] != "develop" {
		t.Errorf("changes: %v", changes)
	}
	if got := w.pull(number).Base.Name; got != "main" {
		t.Errorf("base: %s", got)
	}
}

func TestAMergeQueueAsksForChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.open("feature/a", "main", "a.tf", "# a\n")
	two := w.open("feature/b", "main", "b.tf", "# b\n")
	group, err := w.repo.QueueMergeGroup(w.ctx, "main", one, two)
	w.must(err)
	asked, _ := w.hooked("merge_group", 1)[0].payload["merge_group"].(map[string]any)
	if asked["head_sha"] != group.SHA || asked["head_ref"] != group.Ref || asked["base_ref"] != "refs/heads/main" {
		t.Errorf("merge group: %v", asked)
	}
	for _, path := range []string{"a.tf", "b.tf"} {
		if _, ok, _ := w.repo.ReadFile(w.ctx, group.SHA, path); !ok {
			t.Errorf("the group lacks %s", path)
		}
	}
}
