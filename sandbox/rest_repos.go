package sandbox

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// maxContents is the size up to which the contents API sends a file inside JSON.
// https://docs.github.com/en/rest/repos/contents#get-repository-content
const maxContents = 1 << 20

func getRepository(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	return reply{status: http.StatusOK, body: s.fullRepositoryObject(c.repository)}
}

func getPermission(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.account(c.params["username"])
	if err != nil {
		return notFound()
	}
	role := c.repository.role(a.login)
	user := s.accountObject(a)
	user["role_name"] = string(role)
	user["permissions"] = object{
		"pull": role.atLeast(Read), "triage": role.atLeast(Triage), "push": role.atLeast(Write),
		"maintain": role.atLeast(Maintain), "admin": role.atLeast(Admin),
	}
	return reply{status: http.StatusOK, body: object{
		"permission": role.permission(), "role_name": string(role), "user": user,
	}}
}

func listPulls(c *call) reply {
	s := c.sandbox
	query := c.request.URL.Query()
	state, head, base := query.Get("state"), query.Get("head"), query.Get("base")
	if state == "" {
		state = "open"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pulls := slices.DeleteFunc(c.repository.pulls(), func(t *thread) bool {
		p := t.pull
		return state != "all" && threadState(t) != state || base != "" && p.base.branch != base ||
			head != "" && p.head.repository.owner.login+":"+p.head.branch != head
	})
	if query.Get("direction") != "asc" {
		slices.Reverse(pulls)
	}
	return list(c, pulls, func(t *thread) object { return s.pullSimpleObject(c.repository, t) })
}

func getPull(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := c.repository.pullNumber(int(c.id("pull_number")))
	if err != nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.pullObject(c.repository, t)}
}

// listPullsOfCommit lists the pull requests that a commit is part of or that brought it.
// https://docs.github.com/en/rest/commits/commits#list-pull-requests-associated-with-a-commit
func listPullsOfCommit(c *call) reply {
	s := c.sandbox
	sha, err := s.git.resolve(c.request.Context(), c.repository.dir, c.params["commit_sha"])
	if errors.Is(err, errNoSuchObject) {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.params["commit_sha"])
	} else if err != nil {
		return problem(http.StatusInternalServerError, "git failed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pulls := slices.DeleteFunc(c.repository.pulls(), func(t *thread) bool {
		p := t.pull
		return !slices.Contains(p.facts.commits, sha) && !slices.Contains(p.landed, sha) && (!p.merged || p.mergeSHA != sha)
	})
	return list(c, pulls, func(t *thread) object { return s.pullSimpleObject(c.repository, t) })
}

// getContents reads a file or directory at a branch, tag or SHA.
func getContents(c *call) reply {
	s, r := c.sandbox, c.repository
	ref := c.request.URL.Query().Get("ref")
	if ref == "" {
		ref = r.DefaultBranch()
	}
	ctx := c.request.Context()
	sha, err := s.git.resolve(ctx, r.dir, ref)
	if err != nil {
		return problem(http.StatusNotFound, "No commit found for the ref "+ref)
	}
	wanted := strings.Trim(c.params["path"], "/")
	if wanted != "" && checkPath(wanted) != nil {
		return notFound()
	}
	entries, err := s.git.entries(ctx, r.dir, sha, wanted)
	if err != nil || wanted != "" && len(entries) == 0 {
		return notFound()
	}
	if wanted != "" && entries[0].kind == "blob" {
		return c.fileContents(entries[0], ref)
	}
	if wanted != "" {
		if entries, err = s.git.entries(ctx, r.dir, sha, wanted+"/"); err != nil {
			return notFound()
		}
	}
	body := make([]object, 0, len(entries))
	for _, e := range entries {
		body = append(body, c.entryObject(e, ref, 0))
	}
	return reply{status: http.StatusOK, body: body}
}

func (c *call) fileContents(e treeEntry, ref string) reply {
	content, err := c.sandbox.git.blob(c.request.Context(), c.repository.dir, e.sha)
	if err != nil {
		return problem(http.StatusInternalServerError, "git failed")
	}
	if strings.Contains(c.request.Header.Get("Accept"), ".raw") {
		return reply{status: http.StatusOK, raw: append([]byte{}, content...), kind: "application/vnd.github.raw; charset=utf-8"}
	}
	o := c.entryObject(e, ref, len(content))
	o["encoding"], o["content"] = "base64", base64.StdEncoding.EncodeToString(content)
	if len(content) > maxContents {
		o["encoding"], o["content"] = "none", ""
	}
	return reply{status: http.StatusOK, body: o}
}

func (c *call) entryObject(e treeEntry, ref string, size int) object {
	kind := map[string]string{"blob": "file", "tree": "dir", "commit": "submodule"}[e.kind]
	escaped := make([]string, 0, strings.Count(e.path, "/")+1)
	for part := range strings.SplitSeq(e.path, "/") {
		escaped = append(escaped, url.PathEscape(part))
	}
	where := strings.Join(escaped, "/")
	self := c.repository.apiURL() + "/contents/" + where + "?ref=" + url.QueryEscape(ref)
	git := c.repository.apiURL() + "/git/" + e.kind + "s/" + e.sha
	html := c.repository.HTMLURL() + "/blob/" + url.PathEscape(ref) + "/" + where
	return object{
		"type": kind, "size": size, "name": path.Base(e.path), "path": e.path, "sha": e.sha, "url": self, "git_url": git,
		"html_url": html, "download_url": nil, "_links": object{"self": self, "git": git, "html": html},
	}
}
