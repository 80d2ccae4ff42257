package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Clone is somebody's own clone of a repository, or a mirror of a server that is not running here. It is only read: nothing is
// fetched into it or written to it, and no program that it names is run.
type Clone struct{ dir string }

// A ShallowError says that a clone lacks a part of the history, so that it cannot tell what contains what.
type ShallowError struct{ Dir string }

// Error says what to do.
func (e *ShallowError) Error() string {
	return e.Dir + " is a shallow clone, which cannot tell what contains what; run `git fetch --unshallow` in it"
}

// OpenClone opens the clone in or above a directory. A shallow one is a ShallowError.
func OpenClone(ctx context.Context, dir string) (Clone, error) {
	clone := Clone{dir}
	shallow, err := clone.output(ctx, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return Clone{}, fmt.Errorf("%s is not in a clone of a repository: %w", dir, err)
	}
	if strings.TrimSpace(shallow) != "false" {
		return Clone{}, &ShallowError{Dir: dir}
	}
	return clone, nil
}

// Has reports whether the clone has a commit.
func (c Clone) Has(ctx context.Context, commit string) (bool, error) {
	if !isObject(commit) {
		return false, nil
	}
	return c.says(ctx, "cat-file", "-e", commit+"^{commit}")
}

// Contains reports whether a commit has another one in its history, or is that one. Both must be in the clone.
func (c Clone) Contains(ctx context.Context, commit, other string) (bool, error) {
	if !isObject(commit) || !isObject(other) {
		return false, fmt.Errorf("%q and %q are not full names of commits", commit, other)
	}
	return c.says(ctx, "merge-base", "--is-ancestor", other, commit)
}

// OnBranch reports whether a branch, the clone's own or that of origin, contains a commit which is in the clone. It is not
// known where the clone has no such branch; an empty name asks for any branch.
func (c Clone) OnBranch(ctx context.Context, branch, commit string) (on, known bool, err error) {
	if !isObject(commit) {
		return false, false, fmt.Errorf("%q is not the full name of a commit", commit)
	}
	if strings.ContainsAny(branch, `*?[\`) || strings.HasPrefix(branch, "-") || strings.Contains(branch, "..") {
		return false, false, nil // no branch has such a name: https://git-scm.com/docs/git-check-ref-format
	}
	patterns := []string{path.Join("refs/heads", branch), path.Join("refs/remotes/origin", branch)}
	list := func(options ...string) (bool, error) {
		args := append([]string{"for-each-ref", "--count=1", "--format=%(refname)"}, options...)
		out, err := c.output(ctx, append(args, patterns...)...)
		return strings.TrimSpace(out) != "", err
	}
	if known, err = list(); err != nil || !known {
		return false, false, err
	}
	on, err = list("--contains=" + commit)
	return on, true, err
}

// PullHead is the last commit of a pull request, where refs/pull/NUMBER/head was fetched, as mirrors do.
// https://docs.github.com/en/pull-requests (checking out pull requests locally)
func (c Clone) PullHead(ctx context.Context, number int) (string, bool, error) {
	out, err := c.output(ctx, "for-each-ref", "--format=%(objectname)", pullPrefix+strconv.Itoa(number)+pullSuffix)
	head := strings.TrimSpace(out)
	return head, isObject(head), err
}

// FirstParent is the commit that a commit was put upon; false for one without parents.
func (c Clone) FirstParent(ctx context.Context, commit string) (string, bool, error) {
	if !isObject(commit) {
		return "", false, fmt.Errorf("%q is not the full name of a commit", commit)
	}
	out, err := c.output(ctx, "rev-list", "--max-count=1", "--parents", commit)
	names := strings.Fields(out)
	if err != nil || len(names) < 2 { //nolint:mnd // itself and a parent
		return "", false, err
	}
	return names[1], true, nil
}

// Tree is the tree of a commit.
func (c Clone) Tree(ctx context.Context, commit string) (string, error) {
	if !isObject(commit) {
		return "", fmt.Errorf("%q is not the full name of a commit", commit)
	}
	out, err := c.output(ctx, "rev-parse", "--verify", "--quiet", commit+"^{tree}")
	return strings.TrimSpace(out), err
}

// File reads a file of a commit, at most MaxFile bytes; false where the commit has no such file. A file that the commit has and
// the clone lacks is an error.
func (c Clone) File(ctx context.Context, commit, name string) ([]byte, bool, error) {
	if !isObject(commit) {
		return nil, false, fmt.Errorf("%q is not the full name of a commit", commit)
	}
	entry, err := c.output(ctx, "ls-tree", "-z", commit, "--", name)
	if err != nil || entry == "" {
		return nil, false, err
	}
	fields := strings.Fields(entry) // mode, kind, object, name
	const least = 4
	if len(fields) < least || fields[1] != kindBlob || !isObject(fields[2]) {
		return nil, false, nil
	}
	data, err := c.output(ctx, "cat-file", kindBlob, fields[2])
	if len(data) > MaxFile {
		return nil, false, fmt.Errorf("%s has %d bytes; at most %d are read", name, len(data), MaxFile)
	}
	return []byte(data), err == nil, err
}

// MergeTree is the tree that the merge of two commits has; false where they conflict. It is made in a repository of its own
// that borrows the clone's objects, so that nothing is written to the clone, and neither its configuration nor its attributes
// have a say in it. Where the clone lacks files that both sides changed, that is an error.
func (c Clone) MergeTree(ctx context.Context, base, head string) (tree string, ok bool, err error) {
	if !isObject(base) || !isObject(head) {
		return "", false, fmt.Errorf("%q and %q are not full names of commits", base, head)
	}
	objects, err := c.output(ctx, "rev-parse", "--path-format=absolute", "--git-path", "objects")
	if err != nil {
		return "", false, err
	}
	scratch, err := os.MkdirTemp("", "switchyard-merge-")
	if err != nil {
		return "", false, fmt.Errorf("make room for a merge: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if err := borrow(scratch, strings.TrimSpace(objects), len(base)); err != nil {
		return "", false, fmt.Errorf("make room for a merge: %w", err)
	}
	out, err := Clone{scratch}.output(ctx, "merge-tree", "--write-tree", "--no-messages", base, head)
	failure := (*CommandError)(nil)
	if errors.As(err, &failure) && failure.Code == 1 { // https://git-scm.com/docs/git-merge-tree#_exit_status
		return "", false, nil
	}
	tree = strings.TrimSpace(out)
	return tree, err == nil && isObject(tree), err
}

// borrow makes a bare repository that has another one's objects. length is that of an object's name.
// https://git-scm.com/docs/gitrepository-layout
func borrow(dir, objects string, length int) error {
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
	if length > 40 { //nolint:mnd // SHA-1
		config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = sha256\n"
	}
	for _, name := range []string{"refs", "objects/info"} {
		if err := os.MkdirAll(filepath.Join(dir, name), dirMode); err != nil {
			return err //nolint:wrapcheck // MergeTree does
		}
	}
	for name, text := range map[string]string{
		"HEAD": "ref: refs/heads/none\n", "config": config, "objects/info/alternates": objects + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), fileMode); err != nil {
			return err //nolint:wrapcheck // MergeTree does
		}
	}
	return nil
}

// says reports whether git says yes; what it says beyond no is an error.
func (c Clone) says(ctx context.Context, args ...string) (bool, error) {
	_, err := c.output(ctx, args...)
	failure := (*CommandError)(nil)
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &failure) && (failure.Code == 1 || args[0] == "cat-file" && failure.Code > 0):
		return false, nil
	default:
		return false, err
	}
}

// output gives what git wrote. The commands that are used run nothing that a clone's configuration could name, and do not
// believe what would show another history than that of its commits.
func (c Clone) output(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	argv := append([]string{
		"-C", c.dir, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.commitGraph=false",
	}, args...)
	cmd := exec.CommandContext(ctx, "git", argv...) //nolint:gosec // no shell, and objects are checked
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_ATTR_NOSYSTEM=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_GRAFT_FILE=/dev/null", "GIT_LITERAL_PATHSPECS=1",
	}
	out, stderr := &limited{max: maxOutput}, &limited{max: maxErrorText, cut: true}
	cmd.Stdout, cmd.Stderr = out, stderr
	err := cmd.Run()
	if err == nil {
		return out.String(), nil
	}
	failure := &CommandError{Command: args[0], Code: -1, Text: string(bytes.TrimSpace(stderr.Bytes())), Err: err}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		failure.Code = exit.ExitCode()
	}
	return out.String(), failure
}
