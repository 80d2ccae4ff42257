package runner

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/switchyard-dev/switchyard/terraform"
)

// checkOut makes the work tree equal to one git tree. A tree that an earlier plan left is brought up to date in place.
func (w *workDir) checkOut(ctx context.Context, gitDir, tree, pathVariable string) error {
	if w.hasTree() {
		err := w.updateTree(ctx, gitDir, tree, pathVariable)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	if err := w.remove("tree", "index", "index.lock"); err != nil {
		return err
	}
	if err := os.Mkdir(w.tree(), privateDir); err != nil {
		return fmt.Errorf("make directory for the tree: %w", err)
	}
	return w.git(ctx, gitDir, pathVariable, "read-tree", "--reset", "-u", tree)
}

// updateTree brings a tree up to date: files that differ are written again, files that git does not know are removed.
func (w *workDir) updateTree(ctx context.Context, gitDir, tree, pathVariable string) error {
	if err := w.remove("index.lock"); err != nil {
		return err
	}
	if err := w.git(ctx, gitDir, pathVariable, "read-tree", "--reset", "-u", tree); err != nil {
		return err
	}
	return w.git(ctx, gitDir, pathVariable, "clean", "-ffdxq")
}

// git runs git on the tree with our own index. It reads no configuration but the repository's, runs no hook and never
// goes to the network: a missing object is an error at once. Git itself does not write through symbolic links.
// https://git-scm.com/docs/git#_environment_variables
func (w *workDir) git(ctx context.Context, gitDir, pathVariable string, args ...string) error {
	all := append([]string{
		"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false", "-c", "core.symlinks=true",
		"-c", "core.attributesFile=/dev/null", "-c", "core.excludesFile=/dev/null", "-c", "protocol.allow=never",
	}, args...)
	cmd := exec.CommandContext(ctx, "git", all...) //nolint:gosec // argv of ours; the tree is a checked object name
	cmd.Dir = w.tree()
	cmd.Env = []string{
		"PATH=" + pathVariable, "HOME=" + w.path("home"), "LC_ALL=C",
		"GIT_DIR=" + gitDir, "GIT_WORK_TREE=" + w.tree(), "GIT_INDEX_FILE=" + w.path("index"),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1",
	}
	var said limitedBuffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("git %s: %w", args[0], context.Cause(ctx))
		}
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(terraform.Clean(said.String())))
	}
	return nil
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct{ bytes.Buffer }

// maxGitOutput is how much of git's words are kept, in bytes.
const maxGitOutput = 4 << 10

// Write never fails.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if room := maxGitOutput - b.Len(); room > 0 {
		_, _ = b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// rootDir resolves the directory of a root. A symbolic link may lead to another place in the tree, never out of it.
func (w *workDir) rootDir(dir string) (string, error) {
	resolved, err := filepath.EvalSymlinks(filepath.Join(w.tree(), filepath.FromSlash(dir)))
	if err != nil {
		return "", fmt.Errorf("root %q is not in this commit", dir)
	}
	if resolved != w.tree() && !strings.HasPrefix(resolved, w.tree()+string(filepath.Separator)) {
		return "", fmt.Errorf("root %q is a symbolic link that leads out of the repository", dir)
	}
	info, err := os.Stat(resolved)
	if err != nil {
		return "", fmt.Errorf("look at root: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("root %q is not a directory", dir)
	}
	return resolved, nil
}
