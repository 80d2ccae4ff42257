package git_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/operation"
)

const token = "ghs_0123456789abcdefghijklmnopqrstuvwxyzABCD"

var repo = operation.Repository{ID: 42, Owner: "acme", Name: "net work"}

// world is a repository on a server that wants the token, and mirrors of it.
type world struct {
	t       *testing.T
	origin  string // the bare repository that is served
	server  *httptest.Server
	mirrors *git.Mirrors
	dir     string

	mu        sync.Mutex
	processes [][]string
	requests  int
	watch     bool          // look at the processes of the machine during each request
	exposed   []string      // argument lists that held the token
	gate      chan struct{} // requests wait for it; nil: open
	entered   chan struct{}
	token     string // that the server wants
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), token: token, entered: make(chan struct{}, 1)}
	root := t.TempDir()
	w.origin = filepath.Join(root, "acme", "net work.git")
	w.run("", "init", "--quiet", "--bare", "--initial-branch=main", w.origin)
	w.run(w.origin, "config", "uploadpack.allowFilter", "true")
	w.run(w.origin, "config", "uploadpack.allowAnySHA1InWant", "true")
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}, InheritEnv: []string{"PATH"},
	}
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.requests++
		gate, want := w.gate, w.token
		if w.watch {
			w.exposed = append(w.exposed, argumentsWith(token)...)
		}
		w.mu.Unlock()
		select {
		case w.entered <- struct{}{}:
		default: // nobody counts them
		}
		if gate != nil {
			<-gate
		}
		if _, password, _ := r.BasicAuth(); password != want {
			http.Error(rw, "who is "+password, http.StatusForbidden) // it repeats what it must not
			return
		}
		r.Header.Set("Git-Protocol", r.Header.Get("Git-Protocol"))
		backend.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	w.mirrors = w.newMirrors(git.Options{Observe: func(argv []string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.processes = append(w.processes, slices.Clone(argv))
	}})
	return w
}

// accepts has the server want a token from now on.
func (w *world) accepts(token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.token = token
}

func (w *world) newMirrors(options git.Options) *git.Mirrors {
	m := git.New(filepath.Join(w.dir, "mirrors"), func(r operation.Repository) string {
		return w.server.URL + "/" + r.Owner + "/" + strings.ReplaceAll(r.Name, " ", "%20") + ".git"
	}, func(context.Context, operation.Repository) (string, error) { return token, nil }, options)
	w.t.Cleanup(func() { _ = m.Close() })
	return m
}

// argumentsWith gives the argument lists of all processes of this machine that hold a secret.
func argumentsWith(secret string) []string {
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + secret))
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var found []string
	for _, file := range files {
		data, _ := os.ReadFile(file)
		if strings.Contains(string(data), secret) || strings.Contains(string(data), basic) {
			found = append(found, string(data))
		}
	}
	return found
}

func (w *world) run(dir string, args ...string) string {
	w.t.Helper()
	return w.runWith(dir, "", args...)
}

func (w *world) runWith(dir, stdin string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ana <b>", "GIT_AUTHOR_EMAIL=ana@example.com", "GIT_AUTHOR_DATE=1700000000 +0100",
		"GIT_COMMITTER_NAME=Ana", "GIT_COMMITTER_EMAIL=ana@example.com", "GIT_COMMITTER_DATE=1700000000 +0100",
	}
	if dir == w.origin && dir != "" {
		cmd.Env = append(cmd.Env, "GIT_DIR="+dir, "GIT_INDEX_FILE="+filepath.Join(w.dir, "index"))
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// file is a file's content; a name that ends in @ makes a symbolic link.
type files map[string]string

// commit makes a commit of exactly these files in the served repository, and points ref at it.
func (w *world) commit(ref, message string, content files, parents ...string) string {
	w.t.Helper()
	w.run(w.origin, "read-tree", "--empty")
	var index strings.Builder
	for name, text := range content {
		mode := "100644"
		if bare, link := strings.CutSuffix(name, "@"); link {
			mode, name = "120000", bare
		}
		blob := w.runWith(w.origin, text, "hash-object", "-w", "--stdin")
		fmt.Fprintf(&index, "%s %s\t%s\x00", mode, blob, name)
	}
	w.runWith(w.origin, index.String(), "update-index", "-z", "--add", "--index-info")
	args := []string{"commit-tree", w.run(w.origin, "write-tree"), "-m", message}
	for _, parent := range parents {
		args = append(args, "-p", parent)
	}
	sha := w.run(w.origin, args...)
	if ref != "" {
		w.run(w.origin, "update-ref", ref, sha)
	}
	return sha
}

func (w *world) fetch() {
	w.t.Helper()
	if err := w.mirrors.Fetch(w.t.Context(), repo); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.processes, w.requests = nil, 0
}

func (w *world) count() (processes, requests int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.processes), w.requests
}

// must gives a call's answer, and fails the test on its error.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestAMirrorFollowsItsRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.commit("refs/heads/main", "first", files{"a": "1"})
	head := w.commit("refs/pull/7/head", "a pull request", files{"a": "2"}, first)
	w.commit("refs/heads/gone", "will go", files{"a": "3"}, first)
	w.fetch()

	sha, ok, err := w.mirrors.Branch(t.Context(), repo, "main")
	if err != nil || !ok || sha != first {
		t.Errorf("main = %q, %v, %v; want %s", sha, ok, err, first)
	}
	if sha, ok, _ := w.mirrors.PullHead(t.Context(), repo, 7); !ok || sha != head {
		t.Errorf("pull request 7 = %q, %v; want %s", sha, ok, head)
	}
	if _, ok, _ := w.mirrors.PullHead(t.Context(), repo, 8); ok {
		t.Error("pull request 8 exists")
	}

	w.run(w.origin, "update-ref", "-d", "refs/heads/gone")
	forced := w.commit("refs/heads/main", "forced", files{"a": "9"})
	w.commit("refs/heads/gone/deeper", "a directory where a branch was", files{"a": "3"}, first)
	w.fetch()
	got, err := w.mirrors.Branches(t.Context(), repo, func(string) bool { return true })
	equal(t, "branches", must[map[string]string](t)(got, err), map[string]string{
		"main": forced, "gone/deeper": w.run(w.origin, "rev-parse", "refs/heads/gone/deeper"),
	})

	t.Run("another process finds what was fetched", func(t *testing.T) {
		again := w.newMirrors(git.Options{})
		if sha, ok, err := again.Branch(t.Context(), repo, "main"); err != nil || !ok || sha != forced {
			t.Errorf("main = %q, %v, %v; want %s", sha, ok, err, forced)
		}
	})
	t.Run("the lock of a process that died is no obstacle", func(t *testing.T) {
		lock := filepath.Join(w.mirrors.Dir(repo), "refs", "heads", "main.lock")
		if err := os.MkdirAll(filepath.Dir(lock), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(lock, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w.commit("refs/heads/main", "next", files{"a": "10"}, forced)
		if err := w.newMirrors(git.Options{}).Fetch(t.Context(), repo); err != nil {
			t.Error(err)
		}
	})
}

func TestATokenIsOnlyInTheEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.watch = true
	base := w.commit("refs/heads/main", "base", files{"a": "1\n2\n3\n4\n5\n", "b": "x"})
	ours := w.commit("refs/heads/main", "ours", files{"a": "1!\n2\n3\n4\n5\n", "b": "x"}, base)
	theirs := w.commit("refs/heads/x", "theirs", files{"a": "1\n2\n3\n4\n5!\n", "b": "x"}, base)
	w.fetch()
	_, before := w.count()
	merge := must[git.MergeResult](t)(w.mirrors.Merge(t.Context(), repo, ours, theirs))
	if merge.Tree == "" {
		t.Fatalf("merge = %+v", merge)
	}
	if _, after := w.count(); after == before {
		t.Error("merging contents needed no request: the mirror is not blob-less, or this test shows nothing")
	}
	if err := w.mirrors.Prefetch(t.Context(), repo, merge.Tree); err != nil {
		t.Fatal(err)
	}
	if len(w.exposed) > 0 {
		t.Errorf("arguments that held the token: %q", w.exposed)
	}
	w.nowhereOnDisk()

	t.Run("nor in the error when it is refused", func(t *testing.T) {
		w.mu.Lock()
		w.token = "another"
		w.mu.Unlock()
		err := w.mirrors.Fetch(t.Context(), repo)
		if err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("error = %v", err)
		}
		if failure := (*git.CommandError)(nil); !errors.As(err, &failure) || failure.Command != "fetch" {
			t.Errorf("error = %#v; want that of fetch", err)
		}
	})
}

// nowhereOnDisk looks for the token in all files of the mirrors, and for changes of their configuration.
func (w *world) nowhereOnDisk() {
	w.t.Helper()
	err := filepath.WalkDir(w.dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
		if strings.Contains(string(data), token) || strings.Contains(string(data), basic) {
			w.t.Errorf("%s holds the token", name)
		}
		if entry.Name() == "config" && (strings.Contains(string(data), "http") || strings.Contains(string(data), "promisor")) {
			w.t.Errorf("git has written to the configuration: %s", data)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := w.commit("", "base", files{"a": "1\n", "b": "1\n"})
	one := w.commit("refs/heads/one", "one", files{"a": "one\n", "b": "1\n"}, base)
	two := w.commit("refs/heads/two", "two", files{"a": "two\n", "b": "1\n"}, base)
	other := w.commit("refs/heads/other", "other file", files{"a": "1\n", "b": "2\n"}, base)
	strange := w.commit("refs/heads/strange", "no history in common", files{"z": "1"})
	hostile := "$(touch x)\n; \"a\" ü"
	left := w.commit("refs/heads/left", "left", files{hostile: "left\n"}, base)
	right := w.commit("refs/heads/right", "right", files{hostile: "right\n"}, base)
	late := w.commit("", "never on a branch", files{"a": "1\n", "b": "1\n", "c": "late"}, base)
	w.fetch()
	want := w.commit("", "", files{"a": "one\n", "b": "2\n"})
	for _, tt := range []struct {
		name       string
		base, head string
		want       git.MergeResult
	}{
		{"changes of different files are put together", one, other, git.MergeResult{Tree: w.run(w.origin, "rev-parse", want+"^{tree}")}},
		{"changes of one line conflict", one, two, git.MergeResult{Conflicts: []string{"a"}}},
		{"a conflict has its file's name, whatever it is", left, right, git.MergeResult{Conflicts: []string{hostile}}},
		{
			"branches without a common commit conflict in words", one, strange,
			git.MergeResult{Conflicts: []string{"the two branches have no commit in common"}},
		},
		{
			"a commit that came after the last fetch is fetched", base, late,
			git.MergeResult{Tree: w.run(w.origin, "rev-parse", late+"^{tree}")},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := w.mirrors.Merge(t.Context(), repo, tt.base, tt.head)
			equal(t, "merge", must[git.MergeResult](t)(got, err), tt.want)
		})
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mirrors
	root := w.commit("refs/heads/main", "root", files{"a": "1", "dir/keep": "1", "dir/old name": "1"})
	side := w.commit("refs/heads/release/1.0", "side\n\nbody", files{"a": "2", "dir/keep": "1", "dir/old name": "1"}, root)
	next := w.commit("", "next", files{"a": "1", "dir/keep": "1", "dir/new\nname": "1"}, root)
	merge := w.commit("refs/heads/main", "merge", files{"a": "2", "dir/keep": "1", "dir/new\nname": "1"}, next, side)
	tip := w.commit("refs/heads/main", strings.Repeat("ä", 300), files{"a": "3", "dir/keep": "1"}, merge)
	w.commit("refs/heads/release/2.0", "open", files{"a": "4"}, root)
	w.commit("refs/heads/release/2.0-x/y", "open too", files{"a": "5"}, root)
	strange := w.commit("refs/heads/strange", "no history in common", files{"z": "1"})
	w.fetch()
	ctx := t.Context()

	equal(t, "changed files", must[[]string](t)(m.ChangedFiles(ctx, repo, root, merge)), []string{"a", "dir/new\nname", "dir/old name"})
	tree := must[string](t)(m.Tree(ctx, repo, merge))
	equal(t, "changed files of trees", must[[]string](t)(m.ChangedFiles(ctx, repo, tree, tip)), []string{"a", "dir/new\nname"})
	equal(t, "no changed files", must[[]string](t)(m.ChangedFiles(ctx, repo, tree, merge)), []string(nil))
	base, ok, err := m.MergeBase(ctx, repo, side, next)
	if err != nil || !ok || base != root {
		t.Errorf("merge base = %q, %v, %v; want %s", base, ok, err, root)
	}
	if base, ok, err := m.MergeBase(ctx, repo, side, strange); err != nil || ok {
		t.Errorf("merge base of strangers = %q, %v, %v", base, ok, err)
	}
	equal(t, "ancestor", must[bool](t)(m.IsAncestor(ctx, repo, side, tip)), true)
	equal(t, "ancestor of itself", must[bool](t)(m.IsAncestor(ctx, repo, tip, tip)), true)
	equal(t, "descendant", must[bool](t)(m.IsAncestor(ctx, repo, tip, side)), false)
	equal(t, "first parents", must[[]string](t)(m.FirstParents(ctx, repo, root, tip, 10)), []string{tip, merge, next})
	equal(t, "capped first parents", must[[]string](t)(m.FirstParents(ctx, repo, root, tip, 2)), []string{tip, merge})
	equal(t, "first parents from nowhere", must[[]string](t)(m.FirstParents(ctx, repo, "", tip, 10)), []string{tip})
	equal(t, "unmerged", must[[]string](t)(m.UnmergedBranches(ctx, repo, "release/", "main")), []string{"release/2.0", "release/2.0-x/y"})
	equal(t, "unmerged into nothing", must[[]string](t)(m.UnmergedBranches(ctx, repo, "release/", "none")),
		[]string{"release/1.0", "release/2.0", "release/2.0-x/y"})
	equal(t, "subject", must[string](t)(m.Subject(ctx, repo, side)), "side")
	equal(t, "long subject", len([]rune(must[string](t)(m.Subject(ctx, repo, tip)))), 200)
	commit := must[git.Commit](t)(m.Commit(ctx, repo, merge))
	equal(t, "parents", commit.Parents, []string{next, side})
	equal(t, "author", commit.Author.Email+" "+commit.Author.When.String(), "ana@example.com 2023-11-14 22:13:20 +0000 UTC")
}

func TestNamesAreJustNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{
		"$(touch${IFS}x)", "--upload-pack=touch", "';touch$IFS;\"|&", "ünï-ço∂é", strings.Repeat("x", 200), "main@", "-",
	} {
		t.Run("branch "+name, func(t *testing.T) {
			sha := w.commit("refs/heads/"+name, "x", files{"a": name})
			w.fetch()
			got, ok, err := w.mirrors.Branch(t.Context(), repo, name)
			if err != nil || !ok || got != sha {
				t.Fatalf("branch = %q, %v, %v; want %s", got, ok, err, sha)
			}
			open := must[[]string](t)(w.mirrors.UnmergedBranches(t.Context(), repo, name, "main@"))
			equal(t, "unmerged", slices.Contains(open, name), name != "main@")
		})
	}
	for _, name := range []string{"a..b", "a\nb", "../main@", "*", "main@^{tree}", "HEAD", "main@ ", ""} {
		t.Run(fmt.Sprintf("no branch %q", name), func(t *testing.T) {
			if got, ok, err := w.mirrors.Branch(t.Context(), repo, name); ok || err != nil {
				t.Errorf("branch = %q, %v, %v", got, ok, err)
			}
		})
	}
	for i, name := range []string{
		"$(touch x)", "--help", "a\nb", "a\tb\"'\\", "ü", strings.Repeat("y", 255), "*.tf", "a blob 3", ":(top)x", "\xff\xfe",
	} {
		t.Run(fmt.Sprintf("file %q", name), func(t *testing.T) {
			base := w.commit("", "base", files{"keep": ""})
			sha := w.commit("refs/heads/files", "x", files{"keep": "", name: strconv.Itoa(i), "dir/" + name + "/" + name: "deep"}, base)
			w.fetch()
			if data, ok, err := w.mirrors.ReadFile(t.Context(), repo, sha, name); err != nil || !ok || string(data) != strconv.Itoa(i) {
				t.Errorf("file = %q, %v, %v", data, ok, err)
			}
			equal(t, "files", must[[]string](t)(w.mirrors.Files(t.Context(), repo, sha, "dir/"+name)), []string{name})
			want := []string{name, "dir/" + name + "/" + name}
			slices.Sort(want)
			equal(t, "changed", must[[]string](t)(w.mirrors.ChangedFiles(t.Context(), repo, base, sha)), want)
			if err := w.mirrors.Prefetch(t.Context(), repo, sha, "dir/"+name); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("what is no full SHA is refused before git sees it", func(t *testing.T) {
		for _, sha := range []string{"", "main", "--all", "HEAD", strings.Repeat("A", 40), "refs/heads/main\n"} {
			if _, err := w.mirrors.Tree(t.Context(), repo, sha); err == nil {
				t.Errorf("%q was accepted", sha)
			}
			if _, err := w.mirrors.ChangedFiles(t.Context(), repo, sha, sha); err == nil {
				t.Errorf("%q was accepted", sha)
			}
			if _, err := w.mirrors.IsAncestor(t.Context(), repo, sha, sha); err == nil {
				t.Errorf("%q was accepted", sha)
			}
		}
	})
	t.Run("a commit that nobody has is named", func(t *testing.T) {
		_, err := w.mirrors.Tree(t.Context(), repo, strings.Repeat("1", 40))
		if unknown := (*git.UnknownError)(nil); !errors.As(err, &unknown) || unknown.Object != strings.Repeat("1", 40) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("a commit that cannot be asked for is not said to be nobody's", func(t *testing.T) {
		w.accepts("another token")
		defer w.accepts(token)
		_, err := w.mirrors.IsAncestor(t.Context(), repo, strings.Repeat("1", 40), strings.Repeat("2", 40))
		if unknown := (*git.UnknownError)(nil); err == nil || errors.As(err, &unknown) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("a repository that was never fetched is said to be so", func(t *testing.T) {
		stranger := operation.Repository{ID: 43, Owner: "acme", Name: "other"}
		if _, _, err := w.mirrors.Branch(t.Context(), stranger, "main"); !errors.Is(err, git.ErrNoMirror) {
			t.Errorf("error = %v", err)
		}
		if _, err := w.mirrors.Tree(t.Context(), stranger, strings.Repeat("1", 40)); !errors.Is(err, git.ErrNoMirror) {
			t.Errorf("error = %v", err)
		}
	})
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sha := w.commit("refs/heads/main", "x", files{
		"a/b/c.txt": "content\n", "empty": "", "big": strings.Repeat("x", git.MaxFile+1), "full": strings.Repeat("x", git.MaxFile),
		"a/link@": "b/c.txt", "up@": "a/../a/./b/", "out@": "../../etc/passwd", "absolute@": "/etc/passwd", "loop@": "loop", "a/binary": "a\nb missing\n\x00",
	})
	w.fetch()
	tree := must[string](t)(w.mirrors.Tree(t.Context(), repo, sha))
	for _, tt := range []struct{ name, path, want string }{
		{"a file", "a/b/c.txt", "content\n"},
		{"a file with a needless ./", "./a/b/c.txt", "content\n"},
		{"an empty file", "empty", ""},
		{"a file of exactly the limit", "full", strings.Repeat("x", git.MaxFile)},
		{"a file that looks like git's answer", "a/binary", "a\nb missing\n\x00"},
		{"a link", "a/link", "content\n"},
		{"a file behind a linked directory", "up/c.txt", "content\n"},
	} {
		t.Run(tt.name+" is read", func(t *testing.T) {
			t.Parallel()
			for _, from := range []string{sha, tree} {
				data, ok, err := w.mirrors.ReadFile(t.Context(), repo, from, tt.path)
				if err != nil || !ok || string(data) != tt.want {
					t.Errorf("got %d bytes, %v, %v; want %d bytes", len(data), ok, err, len(tt.want))
				}
			}
		})
	}
	for _, name := range []string{
		"none", "a", "a/b", "", ".", "..", "../x", "/etc/passwd", "a/../empty", "empty/x", "out", "absolute", "loop", "a//b/c.txt", "a\x00b",
	} {
		t.Run(fmt.Sprintf("%q is not found", name), func(t *testing.T) {
			t.Parallel()
			if data, ok, err := w.mirrors.ReadFile(t.Context(), repo, sha, name); ok || err != nil {
				t.Errorf("got %q, %v, %v", data, ok, err)
			}
		})
	}
	t.Run("a file over the limit is an error", func(t *testing.T) {
		t.Parallel()
		if _, _, err := w.mirrors.ReadFile(t.Context(), repo, sha, "big"); err == nil || !strings.Contains(err.Error(), `"big"`) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("files of a directory are listed without those below", func(t *testing.T) {
		t.Parallel()
		equal(t, "files", must[[]string](t)(w.mirrors.Files(t.Context(), repo, sha, "a")), []string{"binary", "link"})
		equal(t, "files of none", must[[]string](t)(w.mirrors.Files(t.Context(), repo, sha, "none")), []string(nil))
		equal(t, "files of a file", must[[]string](t)(w.mirrors.Files(t.Context(), repo, sha, "empty")), []string(nil))
	})
	t.Run("blobs are those of a directory and of all below it", func(t *testing.T) {
		t.Parallel()
		blobs := must[map[string]string](t)(w.mirrors.Blobs(t.Context(), repo, sha, "a"))
		equal(t, "paths", slices.Sorted(maps.Keys(blobs)), []string{"a/b/c.txt", "a/binary", "a/link"})
		equal(t, "a file", blobs["a/b/c.txt"], "100644 d95f3ad14dee633a758d2e331151e950dd13e4ed")
		if !strings.HasPrefix(blobs["a/link"], "120000 ") {
			t.Errorf("a link is %q", blobs["a/link"])
		}
		all := must[map[string]string](t)(w.mirrors.Blobs(t.Context(), repo, tree, "."))
		equal(t, "the whole tree", len(all), 10)
		equal(t, "blobs of none", len(must[map[string]string](t)(w.mirrors.Blobs(t.Context(), repo, sha, "none"))), 0)
	})
}

// TestARunnerNeedsNoCredentials checks a tree out the way the runner does: with the mirror alone.
func TestARunnerNeedsNoCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	content := files{}
	for i := range 300 {
		content[fmt.Sprintf("dir%d/file%d", i%7, i)] = fmt.Sprint("content ", i)
	}
	base := w.commit("refs/heads/main", "base", content)
	content["dir0/file0"] = "changed"
	head := w.commit("refs/heads/x", "x", content, base)
	w.fetch()
	merge := must[git.MergeResult](t)(w.mirrors.Merge(t.Context(), repo, base, head))

	_, err := checkout(t, w.mirrors.Dir(repo), merge.Tree)
	if err == nil {
		t.Fatal("the tree could be checked out before it was prefetched: the mirror is not blob-less")
	}
	w.reset()
	if err := w.mirrors.Prefetch(t.Context(), repo, merge.Tree, "dir0", "dir1", "none"); err != nil {
		t.Fatal(err)
	}
	some, requests := w.count()
	if err := w.mirrors.Prefetch(t.Context(), repo, merge.Tree); err != nil {
		t.Fatal(err)
	}
	processes, _ := w.count()
	t.Logf("prefetch: %d processes and %d requests for two directories, %d processes more for the rest", some, requests, processes-some)
	if processes != 4 {
		t.Errorf("%d processes for two prefetches; want a rev-list and a fetch each", processes)
	}
	dir, err := checkout(t, w.mirrors.Dir(repo), merge.Tree)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "dir0", "file0"))
	if err != nil || string(data) != "changed" {
		t.Errorf("file = %q, %v", data, err)
	}
	w.reset()
	if err := w.mirrors.Prefetch(t.Context(), repo, merge.Tree); err != nil {
		t.Fatal(err)
	}
	if processes, requests := w.count(); processes != 0 || requests != 0 {
		t.Errorf("a second prefetch took %d processes and %d requests", processes, requests)
	}
}

func checkout(t *testing.T, gitDir, tree string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("git", "read-tree", "-u", "--reset", tree)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_DIR=" + gitDir, "GIT_WORK_TREE=" + dir,
		"GIT_INDEX_FILE=" + filepath.Join(t.TempDir(), "index"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=none",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
}

func TestCallersShareOnlyAFetchThatBeganAfterThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.commit("refs/heads/main", "x", files{"a": "1"})
	w.fetch()
	w.reset()
	<-w.entered
	gate := make(chan struct{})
	w.mu.Lock()
	w.gate = gate
	w.mu.Unlock()

	ended := make(chan error, 10)
	fetch := func() { ended <- w.mirrors.Fetch(t.Context(), repo) }
	go fetch()
	<-w.entered // the first has begun
	sha := w.commit("refs/heads/late", "pushed meanwhile", files{"a": "2"})
	for range 5 {
		go fetch()
	}
	close(gate)
	for range 6 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if got, ok, err := w.mirrors.Branch(t.Context(), repo, "late"); err != nil || !ok || got != sha {
		t.Errorf("late = %q, %v, %v; want %s", got, ok, err, sha)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fetches := 0
	for _, argv := range w.processes {
		if argv[1] == "fetch" {
			fetches++
		}
	}
	if fetches < 2 || fetches > 6 {
		t.Errorf("%d fetches; want the first and at least one that began after the push", fetches)
	}
}

func TestWhoCanCheckJoinsAFetchThatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gate := make(chan struct{})
	w.gate = gate
	sha := w.commit("refs/heads/main", "x", files{"a": "1"})
	ended := make(chan error, 1)
	go func() { ended <- w.mirrors.Fetch(t.Context(), repo) }()
	<-w.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.mirrors.Join(ctx, repo); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	close(gate)
	if err := errors.Join(w.mirrors.Join(t.Context(), repo), <-ended); err != nil {
		t.Fatal(err)
	}
	equal(t, "has", must[bool](t)(w.mirrors.Has(t.Context(), repo, sha)), true)
	w.reset()
	equal(t, "has what nobody has", must[bool](t)(w.mirrors.Has(t.Context(), repo, strings.Repeat("1", 40))), false)
	if processes, requests := w.count(); processes+requests != 0 {
		t.Errorf("looking took %d processes and %d requests", processes, requests)
	}
	if _, err := w.mirrors.Has(t.Context(), repo, "main"); err == nil {
		t.Error("a branch's name was accepted")
	}
}

// TestALaterFetchBringsSmallFiles saves the request that reading the configuration would cost.
func TestALaterFetchBringsSmallFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.commit("refs/heads/main", "first", files{"old": "1"})
	w.fetch()
	sha := w.commit("refs/heads/main", "second", files{"old": "1", "small": "2", "big": strings.Repeat("x", 100_000)}, first)
	w.fetch()
	for name, want := range map[string]bool{"small": false, "old": true, "big": true} {
		w.reset()
		if _, ok, err := w.mirrors.ReadFile(t.Context(), repo, sha, name); err != nil || !ok {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if _, requests := w.count(); (requests > 0) != want {
			t.Errorf("%s took %d requests", name, requests)
		}
	}
}

func TestWhoJoinsWaitsForNoFetchButTheOneThatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.commit("refs/heads/main", "x", files{"a": "1"})
	w.fetch()
	w.reset()
	<-w.entered
	gate := make(chan struct{})
	w.mu.Lock()
	w.gate = gate
	w.mu.Unlock()

	ended := make(chan error, 2)
	go func() { ended <- w.mirrors.Fetch(t.Context(), repo) }()
	<-w.entered
	late := w.commit("refs/heads/late", "pushed meanwhile", files{"a": "2"})
	go func() { ended <- w.mirrors.Join(t.Context(), repo) }()
	close(gate)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	fetches := 0
	for _, argv := range w.processes {
		if argv[1] == "fetch" {
			fetches++
		}
	}
	if fetches > 2 { // two when the first ended before the other joined
		t.Errorf("%d fetches", fetches)
	}
	if err := w.mirrors.Join(t.Context(), repo); err != nil { // none runs: this one begins now
		t.Fatal(err)
	}
	if ok, err := w.mirrors.Has(t.Context(), repo, late); err != nil || !ok {
		t.Errorf("has the late commit: %v, %v", ok, err)
	}
	if ok, err := w.mirrors.Has(t.Context(), repo, strings.Repeat("1", 40)); err != nil || ok {
		t.Errorf("has a commit that does not exist: %v, %v", ok, err)
	}
}

func TestAFetchBringsSmallFilesOfNewCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.commit("refs/heads/main", "x", files{"old": "of a time before"})
	w.fetch()
	large := strings.Repeat("x", 100<<10)
	sha := w.commit("refs/heads/main", "y", files{"old": "of a time before", "small": "1", "large": large}, old)
	w.fetch()
	for _, file := range []struct {
		name    string
		content string
		asks    bool // GitHub
	}{{"small", "1", false}, {"large", large, true}, {"old", "of a time before", true}} {
		w.reset()
		data, ok, err := w.mirrors.ReadFile(t.Context(), repo, sha, file.name)
		if err != nil || !ok || string(data) != file.content {
			t.Errorf("%s = %d bytes, %v, %v", file.name, len(data), ok, err)
		}
		if _, requests := w.count(); requests > 0 != file.asks {
			t.Errorf("reading %s took %d requests", file.name, requests)
		}
	}
}

func TestACallerMayLeave(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.commit("refs/heads/main", "x", files{"a": "1"})
	gate := make(chan struct{})
	w.gate = gate
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.mirrors.Fetch(ctx, repo) }()
	<-w.entered
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	close(gate)
	w.fetch()
}

func TestCloseStopsAFetchThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gate := make(chan struct{})
	w.gate = gate
	t.Cleanup(func() { close(gate) })
	ended := make(chan error, 1)
	go func() { ended <- w.mirrors.Fetch(context.WithoutCancel(t.Context()), repo) }()
	<-w.entered
	if err := w.mirrors.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func TestAMirrorIsRepackedAndStaysWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const most = 3
	w.mirrors = w.newMirrors(git.Options{MaxPacks: most})
	first := w.commit("refs/heads/main", "0", files{"a": "0", "b": "kept"})
	w.fetch()
	must[[]string](t)(w.mirrors.Files(t.Context(), repo, first, "")) // a reader that saw the first pack
	last := first
	for i := range most + 2 {
		last = w.commit("refs/heads/main", strconv.Itoa(i), files{"a": strconv.Itoa(i), "b": "kept"}, last)
		w.fetch()
	}
	packs, _ := filepath.Glob(filepath.Join(w.mirrors.Dir(repo), "objects", "pack", "*.pack"))
	if len(packs) > most {
		t.Errorf("%d packs", len(packs))
	}
	for _, sha := range []string{first, last} {
		if data, ok, err := w.mirrors.ReadFile(t.Context(), repo, sha, "b"); err != nil || !ok || string(data) != "kept" {
			t.Errorf("file = %q, %v, %v", data, ok, err)
		}
	}
	equal(t, "ancestor", must[bool](t)(w.mirrors.IsAncestor(t.Context(), repo, first, last)), true)
	w.nowhereOnDisk()
}

func TestManyRepositoriesAreReadAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sha := w.commit("refs/heads/main", "x", files{"a": "1"})
	var all sync.WaitGroup
	for id := range int64(12) {
		other := operation.Repository{ID: 100 + id, Owner: repo.Owner, Name: repo.Name}
		if err := w.mirrors.Fetch(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			all.Go(func() {
				if data, ok, err := w.mirrors.ReadFile(t.Context(), other, sha, "a"); err != nil || !ok || string(data) != "1" {
					t.Errorf("file = %q, %v, %v", data, ok, err)
				}
			})
		}
	}
	all.Wait()
}

// TestProcessesOfOneLook counts what a look at a pull request costs.
func TestProcessesOfOneLook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := w.commit("refs/heads/develop", "base", files{".github/switchyard.yml": "version: 1", "src/main.tf": "", "src/mod/main.tf": ""})
	w.fetch()
	w.look(t, base)
	w.reset()
	head := w.commit("refs/pull/1/head", "head", files{".github/switchyard.yml": "version: 1", "src/main.tf": "x", "src/mod/main.tf": ""}, base)
	w.fetch()
	w.look(t, head)
	processes, requests := w.count()
	t.Logf("a look: %d processes, %d requests", processes, requests)
	if processes > 5 {
		t.Errorf("%d processes: %q", processes, w.processes)
	}
}

func (w *world) look(t *testing.T, head string) {
	t.Helper()
	m, ctx := w.mirrors, t.Context()
	base, _, err := m.Branch(ctx, repo, "develop")
	if err != nil {
		t.Fatal(err)
	}
	merge := must[git.MergeResult](t)(m.Merge(ctx, repo, base, head))
	if err := m.Prefetch(ctx, repo, merge.Tree); err != nil {
		t.Fatal(err)
	}
	must[[]string](t)(m.ChangedFiles(ctx, repo, base, merge.Tree))
	must[[]string](t)(m.UnmergedBranches(ctx, repo, "release/", "main"))
	for _, dir := range []string{"src", "src/mod"} {
		for _, name := range must[[]string](t)(m.Files(ctx, repo, merge.Tree, dir)) {
			if _, ok, err := m.ReadFile(ctx, repo, merge.Tree, dir+"/"+name); !ok || err != nil {
				t.Errorf("%s/%s: %v, %v", dir, name, ok, err)
			}
		}
	}
	if _, ok, err := m.ReadFile(ctx, repo, base, ".github/switchyard.yml"); !ok || err != nil {
		t.Errorf("configuration: %v, %v", ok, err)
	}
}
