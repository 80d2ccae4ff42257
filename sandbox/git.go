package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	gitTimeout    = time.Minute
	maxErrorText  = 500
	pushedCommits = 2048 // https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
	zeroSHA       = "0000000000000000000000000000000000000000"
)

// errNoSuchObject is returned for a revision or path that a repository does not have.
var errNoSuchObject = errors.New("no such object")

// gitTool runs git on bare repositories. Every name goes as one argument or on standard input.
type gitTool struct {
	path    string
	backend string // git-http-backend
	home    string
}

type gitCall struct {
	dir   string
	args  []string
	env   []string
	stdin io.Reader
}

// environment of every git process: nothing of the host's configuration plays a part.
func (g gitTool) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
	}
}

// run returns what git printed. An exit status other than 0 is an *exec.ExitError inside the error;
// the output is returned beside it.
func (g gitTool) run(ctx context.Context, c gitCall) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, g.path, c.args...) //nolint:gosec // argv of our own; names are never options
	cmd.Dir, cmd.Stdin = c.dir, c.stdin
	cmd.Env = append(g.environment(), c.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(stderr.String())
		return stdout.Bytes(), fmt.Errorf("git %s: %w: %s", c.args[0], err, text[:min(len(text), maxErrorText)])
	}
	return stdout.Bytes(), nil
}

// saysNo reports whether git ended with status 1, which several commands use for "no".
func saysNo(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 1
}

// line is the first line of git's output.
func line(out []byte) string {
	first, _, _ := bytes.Cut(out, []byte("\n"))
	return string(first)
}

// served is appended to the configuration of each repository.
// https://git-scm.com/docs/git-config#Documentation/git-config.txt-uploadpackallowFilter
const served = "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n[http]\n\treceivepack = false\n[gc]\n\tauto = 0\n"

func (g gitTool) initRepository(ctx context.Context, dir, branch string) error {
	if err := g.checkBranch(ctx, branch); err != nil {
		return err
	}
	args := []string{"init", "--quiet", "--bare", "--template=", "--initial-branch=" + branch, "--", dir}
	if _, err := g.run(ctx, gitCall{args: args}); err != nil {
		return err
	}
	return allowPartialClones(dir)
}

// copyRepository makes a bare copy with the branches of another repository.
func (g gitTool) copyRepository(ctx context.Context, from, dir string) error {
	if _, err := g.run(ctx, gitCall{args: []string{"clone", "--quiet", "--bare", "--template=", "--", from, dir}}); err != nil {
		return err
	}
	return allowPartialClones(dir)
}

func allowPartialClones(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	f, err := root.OpenFile("config", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure repository: %w", err)
	}
	_, err = f.WriteString(served)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("configure repository: %w", err)
	}
	return nil
}

// checkBranch refuses what git does not take as a branch, in particular names with a newline.
func (g gitTool) checkBranch(ctx context.Context, name string) error {
	if _, err := g.run(ctx, gitCall{args: []string{"check-ref-format", "refs/heads/" + name}}); err != nil {
		return fmt.Errorf("%q is not a name that git takes for a branch: %w", name, err)
	}
	return nil
}

type newCommit struct {
	ref     string
	parent  string // empty for a root commit
	author  *account
	message string
	files   map[string]string
	remove  []string
	modes   map[string]string
	email   string // the author's own when empty
	when    time.Time
}

// commit adds a commit and points ref at it, with one process however many files there are.
// https://git-scm.com/docs/git-fast-import
func (g gitTool) commit(ctx context.Context, dir string, c newCommit) (string, error) {
	var in bytes.Buffer
	stamp := strconv.FormatInt(c.when.Unix(), 10) + " +0000"
	person := signature(c.author.name) + " <" + cmp.Or(signature(c.email), c.author.email()) + "> " + stamp
	fmt.Fprintf(&in, "commit %s\nmark :1\nauthor %s\ncommitter %s\ndata %d\n%s\n", c.ref, person, person, len(c.message), c.message)
	if c.parent != "" {
		fmt.Fprintf(&in, "from %s\n", c.parent)
	}
	for _, path := range c.remove {
		fmt.Fprintf(&in, "D %s\n", quotePath(path))
	}
	for _, path := range slices.Sorted(maps.Keys(c.files)) {
		if err := checkPath(path); err != nil {
			return "", err
		}
		mode := c.modes[path]
		if mode == "" {
			mode = "100644"
		}
		fmt.Fprintf(&in, "M %s inline %s\ndata %d\n%s\n", mode, quotePath(path), len(c.files[path]), c.files[path])
	}
	in.WriteString("\nget-mark :1\ndone\n")
	out, err := g.run(ctx, gitCall{dir: dir, args: []string{"fast-import", "--quiet", "--done", "--force"}, stdin: &in})
	if err != nil {
		return "", err
	}
	return line(out), nil
}

// checkPath refuses the paths that GitHub refuses to receive; git itself cannot check them out.
func checkPath(path string) error {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return fmt.Errorf("git refuses the path %q", path)
		}
	}
	return nil
}

// quotePath writes a path the way fast-import reads it, whatever bytes it has.
func quotePath(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(path) {
		switch c := path[i]; c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// signature removes from a name what ends a name in git's format.
func signature(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == '<' || r == '>' {
			return -1
		}
		return r
	}, name)
}

// email is the address that GitHub writes into commits that are made on its pages.
func (a *account) email() string {
	return signature(fmt.Sprintf("%d+%s@users.noreply.github.com", a.id, a.login))
}

// refUpdate sets a ref, or deletes it where sha is empty.
type refUpdate struct{ ref, sha string }

func (g gitTool) updateRefs(ctx context.Context, dir string, updates ...refUpdate) error {
	var in bytes.Buffer
	for _, u := range updates {
		if u.sha == "" {
			fmt.Fprintf(&in, "delete %s\x00\x00", u.ref)
			continue
		}
		fmt.Fprintf(&in, "update %s\x00%s\x00\x00", u.ref, u.sha)
	}
	_, err := g.run(ctx, gitCall{dir: dir, args: []string{"update-ref", "--stdin", "-z"}, stdin: &in})
	return err
}

func (g gitTool) updateRef(ctx context.Context, dir, ref, sha string) error {
	return g.updateRefs(ctx, dir, refUpdate{ref, sha})
}

// fetch copies a branch of another repository on disk to ref.
func (g gitTool) fetch(ctx context.Context, dir, from, branch, ref string) error {
	args := []string{"fetch", "--quiet", "--no-tags", "--", from, "+refs/heads/" + branch + ":" + ref}
	_, err := g.run(ctx, gitCall{dir: dir, args: args})
	return err
}

// mergeTree merges two commits; clean is false when they conflict.
func (g gitTool) mergeTree(ctx context.Context, dir, ours, theirs string) (tree string, clean bool, err error) {
	args := []string{"merge-tree", "--write-tree", "--no-messages", "--allow-unrelated-histories", ours, theirs}
	out, err := g.run(ctx, gitCall{dir: dir, args: args})
	if saysNo(err) {
		return "", false, nil
	}
	return line(out), err == nil, err
}

// person is who a commit is by, and when.
type person struct {
	name, email string
	when        time.Time
}

func (p person) env(prefix string) []string {
	return []string{
		prefix + "_NAME=" + signature(p.name), prefix + "_EMAIL=" + p.email,
		prefix + "_DATE=@" + strconv.FormatInt(p.when.Unix(), 10) + " +0000",
	}
}

func (g gitTool) commitTree(
	ctx context.Context, dir, tree, message string, author, committer person, parents ...string,
) (string, error) {
	args := append(make([]string, 0, 2+2*len(parents)), "commit-tree", tree) //nolint:mnd // -p and the parent
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	out, err := g.run(ctx, gitCall{
		dir: dir, args: args, stdin: strings.NewReader(message),
		env: append(author.env("GIT_AUTHOR"), committer.env("GIT_COMMITTER")...),
	})
	return line(out), err
}

func (g gitTool) isAncestor(ctx context.Context, dir, ancestor, commit string) (bool, error) {
	_, err := g.run(ctx, gitCall{dir: dir, args: []string{"merge-base", "--is-ancestor", ancestor, commit}})
	if saysNo(err) {
		return false, nil
	}
	return err == nil, err
}

// resolve finds the commit of a full SHA, branch or tag, in this order.
func (g gitTool) resolve(ctx context.Context, dir, ref string) (string, error) {
	names := []string{"refs/heads/" + ref, "refs/tags/" + ref}
	switch {
	case isSHA(ref):
		names = []string{ref}
	case strings.HasPrefix(ref, "refs/"):
		names = []string{ref}
	case strings.HasPrefix(ref, "heads/"), strings.HasPrefix(ref, "tags/"):
		names = append(names, "refs/"+ref)
	}
	for _, name := range names {
		args := []string{"rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}"}
		out, err := g.run(ctx, gitCall{dir: dir, args: args})
		if err == nil {
			return line(out), nil
		}
		if ctx.Err() != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("find %q: %w", ref, errNoSuchObject)
}

func isSHA(s string) bool {
	return len(s) == len(zeroSHA) && strings.Trim(s, "0123456789abcdef") == ""
}

// commitsBetween lists the commits of head that base does not have, newest first.
func (g gitTool) commitsBetween(ctx context.Context, dir, base, head string) ([]string, error) {
	out, err := g.run(ctx, gitCall{dir: dir, args: []string{"rev-list", "--topo-order", head, "^" + base}})
	return strings.Fields(string(out)), err
}

// diffStat counts what a pull request changes: from the merge base to the head.
func (g gitTool) diffStat(ctx context.Context, dir, base, head string) (files, additions, deletions int) {
	out, err := g.run(ctx, gitCall{dir: dir, args: []string{"diff", "--shortstat", "--no-ext-diff", base + "..." + head}})
	if err != nil {
		// Without a common ancestor there is no merge base to count from.
		return 0, 0, 0
	}
	for part := range strings.SplitSeq(string(out), ",") {
		number, words, _ := strings.Cut(strings.TrimSpace(part), " ")
		n, convErr := strconv.Atoi(number)
		switch {
		case convErr != nil:
		case strings.HasPrefix(words, "file"):
			files = n
		case strings.HasPrefix(words, "insertion"):
			additions = n
		case strings.HasPrefix(words, "deletion"):
			deletions = n
		}
	}
	return files, additions, deletions
}

// loggedCommit is one commit of a push.
type loggedCommit struct {
	sha, tree                string
	author, committer        person
	message                  string
	added, modified, removed []string
}

const logFormat = "--format=%H%x02%T%x02%an%x02%ae%x02%at%x02%cn%x02%ce%x02%ct%x02%B"

// log lists commits of after that none of without has, oldest first, with the paths that they change.
func (g gitTool) log(ctx context.Context, dir, after string, limit int, without ...string) ([]loggedCommit, error) {
	args := []string{
		"log", "-z", "--reverse", "--topo-order", "--name-status", "--no-renames", "--diff-merges=first-parent",
		"--max-count=" + strconv.Itoa(limit), logFormat, after,
	}
	for _, sha := range without {
		args = append(args, "^"+sha)
	}
	out, err := g.run(ctx, gitCall{dir: dir, args: args})
	if err != nil {
		return nil, err
	}
	return parseLog(string(out))
}

// parseLog reads NUL-separated entries: a header of at least a SHA, or one status letter and then a path.
func parseLog(out string) ([]loggedCommit, error) {
	var commits []loggedCommit
	entries := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	for i := 0; i < len(entries); i++ {
		entry := strings.TrimPrefix(entries[i], "\n")
		if entry == "" {
			continue
		}
		if len(entry) > 1 {
			c, err := parseLogHeader(entry)
			if err != nil {
				return nil, err
			}
			commits = append(commits, c)
			continue
		}
		i++
		if len(commits) == 0 || i >= len(entries) {
			return nil, errors.New("read git log: a path without a commit")
		}
		c := &commits[len(commits)-1]
		switch entry {
		case "A":
			c.added = append(c.added, entries[i])
		case "D":
			c.removed = append(c.removed, entries[i])
		default:
			c.modified = append(c.modified, entries[i])
		}
	}
	return commits, nil
}

func parseLogHeader(entry string) (loggedCommit, error) {
	const fields = 9
	f := strings.SplitN(entry, "\x02", fields)
	if len(f) < fields {
		return loggedCommit{}, fmt.Errorf("read git log: %d fields instead of %d", len(f), fields)
	}
	authored, err1 := strconv.ParseInt(f[4], 10, 64)
	committed, err2 := strconv.ParseInt(f[7], 10, 64)
	return loggedCommit{
		sha: f[0], tree: f[1], message: strings.TrimRight(f[8], "\n"),
		author:    person{f[2], f[3], time.Unix(authored, 0).UTC()},
		committer: person{f[5], f[6], time.Unix(committed, 0).UTC()},
	}, errors.Join(err1, err2)
}

// treeEntry is one file or directory of a tree.
type treeEntry struct {
	mode, kind, sha, path string
}

// entries lists path of a commit: the entry itself, or what is in it where path ends with a slash or is empty.
func (g gitTool) entries(ctx context.Context, dir, commit, path string) ([]treeEntry, error) {
	args := []string{"--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit}
	if path != "" {
		args = append(args, "--", path)
	}
	out, err := g.run(ctx, gitCall{dir: dir, args: args})
	if err != nil {
		return nil, err
	}
	var entries []treeEntry
	for record := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		meta, name, ok := strings.Cut(record, "\t")
		f := strings.Fields(meta)
		if !ok || len(f) != 3 {
			continue
		}
		entries = append(entries, treeEntry{mode: f[0], kind: f[1], sha: f[2], path: name})
	}
	return entries, nil
}

func (g gitTool) blob(ctx context.Context, dir, sha string) ([]byte, error) {
	return g.run(ctx, gitCall{dir: dir, args: []string{"cat-file", "blob", sha}})
}
