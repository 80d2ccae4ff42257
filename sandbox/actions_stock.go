package sandbox

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// stock are the stand-ins for GitHub's own actions.
//
//go:embed stock
var stock embed.FS

// actionsSlug is the name of the App that GITHUB_TOKEN is of, and actionsAppID its id on github.com.
const (
	actionsSlug  = "github-actions"
	actionsAppID = 15368
)

func (st *state) actionsBot() *account { return st.accounts[actionsSlug+"[bot]"] }

// prepareActions serves the stand-ins for GitHub's own actions.
func (s *Sandbox) prepareActions(ctx context.Context) error {
	if s.actions == nil {
		return nil
	}
	if s.actions.Runner == nil {
		return errors.New("start sandbox: ActionsOptions.Runner is nil")
	}
	for _, name := range []string{"checkout", "upload-artifact", "download-artifact"} {
		files, err := fs.Sub(stock, "stock/"+name)
		if err != nil {
			return fmt.Errorf("read the action %s: %w", name, err)
		}
		if err := s.RegisterAction(ctx, "actions", name, files, "v4", "v5", "v6"); err != nil {
			return err
		}
	}
	return nil
}

// RegisterAction makes a public repository of the files of an action, with these tags, so that workflows can use it or its
// workflows. Any commit that a workflow pins it to is taken for this one.
func (s *Sandbox) RegisterAction(ctx context.Context, owner, name string, files fs.FS, tags ...string) error {
	contents, modes := map[string]string{}, map[string]string{}
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(files, path)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		contents[path] = string(raw)
		if info, err := entry.Info(); err == nil && info.Mode()&0o100 != 0 {
			modes[path] = "100755"
		}
		if strings.HasSuffix(path, ".yml") || strings.HasSuffix(path, ".yaml") {
			contents[path] = s.repin(ctx, contents[path])
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("register the action %s/%s: %w", owner, name, err)
	}
	s.mu.Lock()
	if _, err := s.account(owner); err != nil {
		s.addAccount(owner, owner, "Organization", s.now())
	}
	s.mu.Unlock()
	r, err := s.newRepository(owner, name)
	if err != nil {
		return err
	}
	r.action, r.defaultBranch = true, "main"
	if err := s.git.initRepository(ctx, r.dir, r.defaultBranch); err != nil {
		return err
	}
	sha, err := s.git.commit(ctx, r.dir, newCommit{
		ref: "refs/heads/main", author: r.owner, message: "Release", files: contents, modes: modes, when: s.now(),
	})
	if err != nil {
		return fmt.Errorf("register the action %s/%s: %w", owner, name, err)
	}
	r.branches["main"] = sha
	var refs []refUpdate
	for _, tag := range tags {
		if err := s.git.checkBranch(ctx, tag); err != nil {
			return err
		}
		refs = append(refs, refUpdate{"refs/tags/" + tag, sha})
	}
	if err := s.git.updateRefs(ctx, r.dir, refs...); err != nil {
		return err
	}
	return s.adopt(r)
}

// pin finds actions that are pinned to a commit.
var pin = regexp.MustCompile(`(uses:\s*["']?)([\w.-]+/[\w.-]+[^@\s"']*@[0-9a-f]{40})`)

// repin has an action use the registered version of the actions that it pins.
func (s *Sandbox) repin(ctx context.Context, text string) string {
	return pin.ReplaceAllStringFunc(text, func(found string) string {
		parts := pin.FindStringSubmatch(found)
		return parts[1] + s.served(ctx, parts[2])
	})
}

// served is an action as the stand-in has it: pinned to a commit that it does not have, it is the newest one here.
func (s *Sandbox) served(ctx context.Context, uses string) string {
	full, at, _ := strings.Cut(uses, "@")
	parts := strings.SplitN(full, "/", 3)
	if len(parts) < 2 || !isSHA(at) {
		return uses
	}
	r, ok := s.Repository(parts[0], parts[1])
	if !ok || !r.action || r.hasCommit(ctx, at) {
		return uses
	}
	return full + "@main"
}

func (r *Repository) hasCommit(ctx context.Context, sha string) bool {
	_, err := r.sandbox.git.resolve(ctx, r.dir, sha)
	return err == nil
}

// author is who a call acts as: the bot of the App, or of GitHub Actions for the token of a job.
func (c *call) author() *account {
	if c.token != nil && c.token.job != nil {
		return c.sandbox.actionsBot()
	}
	return c.sandbox.bot()
}

// byJob reports whether a call is made with the token of a job.
func (c *call) byJob() bool { return c.token != nil && c.token.job != nil }

// actionsAppObject is GitHub's own App for Actions.
func (s *Sandbox) actionsAppObject() object {
	created := stamp(s.bot().created)
	return s.fill("app", []string{"slug", actionsSlug, "name", "GitHub Actions"}, object{
		"id": actionsAppID, "node_id": nodeID("A", actionsAppID), "owner": s.accountObject(s.accounts["github"]),
		"created_at": created, "updated_at": created, "permissions": object{"actions": "write", "checks": "write", "metadata": "read"},
		"events": []string{"check_run"},
	})
}
