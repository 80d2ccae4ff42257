package git

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

const (
	// MaxFile is the size of the largest file that ReadFile reads, in bytes.
	MaxFile = 1 << 20
	// maxTree bounds one directory: some 300,000 names.
	maxTree = 16 << 20
	// maxCommit bounds one commit with its message.
	maxCommit = 1 << 20
	// maxLinks bounds the symbolic links on the way to one file.
	maxLinks = 8
	// maxMissing bounds the blobs that one Prefetch brings.
	maxMissing = 1_000_000
)

// An UnknownError says that neither the mirror nor GitHub has an object.
type UnknownError struct {
	Object string // the SHA that was asked for
	Err    error  // what the attempt to fetch it gave
}

// Error names the object.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("object %s is neither in the mirror nor on GitHub: %v", e.Object, e.Err)
}

// Unwrap gives what the attempt to fetch the object gave.
func (e *UnknownError) Unwrap() error { return e.Err }

// Commit is one commit.
type Commit struct {
	Tree      string
	Parents   []string
	Author    Signature
	Committer Signature
	Subject   string // the message's first line, at most 200 characters
}

// Signature says who made a commit and when, by the commit's own words: anybody can write anything
// there.
type Signature struct {
	Name, Email string
	When        time.Time
}

// Has reports whether the mirror has an object. It starts no process and fetches nothing.
func (m *Mirrors) Has(ctx context.Context, repo operation.Repository, object string) (bool, error) {
	if !isObject(object) {
		return false, fmt.Errorf("%q is not the full name of a git object", object)
	}
	_, _, ok, err := m.stat(ctx, repo, object)
	return ok, err
}

// Commit reads one commit.
func (m *Mirrors) Commit(ctx context.Context, repo operation.Repository, sha string) (Commit, error) {
	if err := m.haveCommits(ctx, repo, sha); err != nil {
		return Commit{}, err
	}
	data, _, err := m.read(ctx, repo, sha, kindCommit, maxCommit)
	if err != nil {
		return Commit{}, fmt.Errorf("read commit %s: %w", sha, err)
	}
	return parseCommit(data), nil
}

// Subject gives the first line of a commit's message, at most 200 characters.
func (m *Mirrors) Subject(ctx context.Context, repo operation.Repository, sha string) (string, error) {
	commit, err := m.Commit(ctx, repo, sha)
	return commit.Subject, err
}

// Tree gives the tree of a commit. The tree of a tree is itself.
func (m *Mirrors) Tree(ctx context.Context, repo operation.Repository, commit string) (string, error) {
	kind, err := m.have(ctx, repo, commit)
	if err != nil {
		return "", err
	}
	switch kind {
	case kindTree:
		return commit, nil
	case kindCommit:
		c, err := m.Commit(ctx, repo, commit)
		return c.Tree, err
	default:
		return "", fmt.Errorf("%s is a %s, not a commit", commit, kind)
	}
}

// ReadFile reads a file of a commit or tree, at most MaxFile bytes. It follows symbolic links
// inside the tree; what they point to outside of it, and what is no file, is not found.
func (m *Mirrors) ReadFile(ctx context.Context, repo operation.Repository, commitOrTree, name string) ([]byte, bool, error) {
	found, ok, err := m.lookup(ctx, repo, commitOrTree, name)
	if err != nil || !ok || found.isDir() {
		return nil, false, err
	}
	data, err := m.blob(ctx, repo, found.object, MaxFile)
	if err != nil {
		return nil, false, fmt.Errorf("read %q: %w", name, err)
	}
	return data, true, nil
}

// Files gives the names of the files in one directory of a commit or tree, without those in
// directories below it. A directory that does not exist has none.
func (m *Mirrors) Files(ctx context.Context, repo operation.Repository, tree, dir string) ([]string, error) {
	found, ok, err := m.lookup(ctx, repo, tree, dir)
	if err != nil || !ok || !found.isDir() {
		return nil, err
	}
	entries, err := m.entries(ctx, repo, found.object)
	if err != nil {
		return nil, err
	}
	var names []string
	for name, e := range entries {
		if e.isFile() || e.isLink() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// MaxBlobs is how many files Blobs lists; more are an error.
const MaxBlobs = 100_000

// Blobs gives the files of a directory of a commit or tree and of all directories below it, by their
// path from the top of the repository, with their modes and object names: equal ones have equal content.
// It reads no content. A directory that does not exist has none.
func (m *Mirrors) Blobs(ctx context.Context, repo operation.Repository, tree, dir string) (map[string]string, error) {
	found, ok, err := m.lookup(ctx, repo, tree, dir)
	if err != nil || !ok || !found.isDir() {
		return nil, err
	}
	type directory struct{ path, object string }
	left := []directory{{path.Clean(dir), found.object}}
	blobs := map[string]string{}
	for len(left) > 0 {
		here := left[len(left)-1]
		left = left[:len(left)-1]
		entries, err := m.entries(ctx, repo, here.object)
		if err != nil {
			return nil, err
		}
		for name, e := range entries {
			full := path.Join(here.path, name)
			if e.isDir() {
				left = append(left, directory{full, e.object})
				continue
			}
			if blobs[full] = e.mode + " " + e.object; len(blobs) > MaxBlobs {
				return nil, fmt.Errorf("%s has more than %d files", dir, MaxBlobs)
			}
		}
	}
	return blobs, nil
}

// Prefetch brings every blob of a commit or tree, or only of some of its directories, into the
// mirror with at most one request, so that the tree can be checked out without credentials.
func (m *Mirrors) Prefetch(ctx context.Context, repo operation.Repository, tree string, dirs ...string) error {
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	var roots []string
	for _, dir := range dirs {
		found, ok, err := m.lookup(ctx, repo, tree, dir)
		if err != nil {
			return err
		}
		if ok && !m.mirror(repo).isFull(found.object) {
			roots = append(roots, found.object)
		}
	}
	if len(roots) == 0 {
		return nil
	}
	missing, err := m.missing(ctx, repo, roots)
	if err != nil {
		return err
	}
	if err := m.fetchObjects(ctx, repo, missing, "noop"); err != nil {
		return err
	}
	m.mirror(repo).rememberFull(roots)
	return nil
}

// maxFull bounds the trees of a mirror that are remembered to be whole.
const maxFull = 200

func (mir *mirror) isFull(tree string) bool {
	mir.mu.Lock()
	defer mir.mu.Unlock()
	return slices.Contains(mir.full, tree)
}

func (mir *mirror) rememberFull(trees []string) {
	mir.mu.Lock()
	defer mir.mu.Unlock()
	mir.full = append(mir.full, trees...)
	mir.full = slices.Delete(mir.full, 0, max(0, len(mir.full)-maxFull))
}

func (mir *mirror) forgetFull() {
	mir.mu.Lock()
	defer mir.mu.Unlock()
	mir.full = nil
}

// missing gives the objects below some trees that the mirror does not have.
func (m *Mirrors) missing(ctx context.Context, repo operation.Repository, trees []string) ([]string, error) {
	var missing []string
	out := &lines{each: func(line string) error {
		if object, ok := strings.CutPrefix(line, "?"); ok {
			missing = append(missing, object)
		}
		if len(missing) > maxMissing {
			return errTooMuch
		}
		return nil
	}}
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	args := []string{"rev-list", "--objects", "--no-object-names", "--missing=print", "--stdin"}
	stdin := strings.NewReader(strings.Join(trees, "\n") + "\n")
	if err := m.git(ctx, m.mirror(repo), call{args: args, stdin: stdin, out: out}); err != nil {
		return nil, fmt.Errorf("list missing blobs: %w", err)
	}
	return missing, nil
}

// fetchObjects brings objects into the mirror by their names. The negotiation "noop" brings just
// them, "consecutive" leaves out what the mirror has of a commit's history.
func (m *Mirrors) fetchObjects(ctx context.Context, repo operation.Repository, objects []string, negotiation string) error {
	if len(objects) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.options.FetchLimit)
	defer cancel()
	err := m.git(ctx, m.mirror(repo), call{
		remote: &repo,
		config: []string{"fetch.negotiationAlgorithm=" + negotiation},
		args: []string{
			"fetch", "--quiet", "--no-progress", "--no-tags", "--no-write-fetch-head",
			"--no-auto-maintenance", "--no-recurse-submodules", "--stdin", "--end-of-options", "origin",
		},
		stdin: strings.NewReader(strings.Join(objects, "\n") + "\n"),
	})
	if err != nil {
		return fmt.Errorf("fetch %d objects of %s: %w", len(objects), repo.FullName(), err)
	}
	return nil
}

// haveCommits makes sure that commits are in the mirror.
func (m *Mirrors) haveCommits(ctx context.Context, repo operation.Repository, commits ...string) error {
	for _, sha := range commits {
		kind, err := m.have(ctx, repo, sha)
		if err != nil {
			return err
		}
		if kind != kindCommit {
			return fmt.Errorf("%s is a %s, not a commit", sha, kind)
		}
	}
	return nil
}

func (m *Mirrors) haveObjects(ctx context.Context, repo operation.Repository, objects ...string) error {
	for _, object := range objects {
		if _, err := m.have(ctx, repo, object); err != nil {
			return err
		}
	}
	return nil
}

// have gives the kind of an object. One that the mirror lacks is fetched: the head of a pull
// request that came after the last fetch, or a commit that a force-push took from every branch.
func (m *Mirrors) have(ctx context.Context, repo operation.Repository, object string) (string, error) {
	if !isObject(object) {
		return "", fmt.Errorf("%q is not the full name of a git object", object)
	}
	kind, _, ok, err := m.stat(ctx, repo, object)
	if err != nil || ok {
		return kind, err
	}
	if err := m.fetchObjects(ctx, repo, []string{object}, "consecutive"); err != nil {
		if ctx.Err() != nil || !notThere(err) {
			return "", err
		}
		return "", &UnknownError{Object: object, Err: err}
	}
	kind, _, ok, err = m.stat(ctx, repo, object)
	if err == nil && !ok {
		err = &UnknownError{Object: object, Err: errors.New("GitHub did not send it")}
	}
	return kind, err
}

// notThere reports whether a fetch failed because GitHub does not have the object, in the words of git's upload-pack there. Whatever else
// fails, as the network, says nothing of it.
// See https://git-scm.com/docs/protocol-v2.
func notThere(err error) bool {
	failure := (*CommandError)(nil)
	return errors.As(err, &failure) && strings.Contains(failure.Text, "not our ref")
}

// blob reads a blob, which is fetched when the mirror lacks it.
func (m *Mirrors) blob(ctx context.Context, repo operation.Repository, object string, limit int64) ([]byte, error) {
	data, ok, err := m.read(ctx, repo, object, kindBlob, limit)
	if err != nil || ok {
		return data, err
	}
	if err := m.fetchObjects(ctx, repo, []string{object}, "noop"); err != nil {
		return nil, err
	}
	data, ok, err = m.read(ctx, repo, object, kindBlob, limit)
	if err == nil && !ok {
		err = &UnknownError{Object: object, Err: errors.New("GitHub did not send it")}
	}
	return data, err
}

// entry is one line of a tree.
type entry struct{ mode, object string }

func (e entry) isDir() bool  { return e.mode == "40000" }
func (e entry) isLink() bool { return e.mode == "120000" }
func (e entry) isFile() bool { return strings.HasPrefix(e.mode, "100") }

// lookup finds a path in a commit or tree. "" and "." are the tree itself.
func (m *Mirrors) lookup(ctx context.Context, repo operation.Repository, commitOrTree, name string) (entry, bool, error) {
	root, err := m.Tree(ctx, repo, commitOrTree)
	if err != nil {
		return entry{}, false, err
	}
	parts := splitPath(name)
	if slices.Contains(parts, "") || slices.Contains(parts, "..") {
		return entry{}, false, nil // only links may lead upwards
	}
	above := []string{root} // the directories from the root to here
	links := 0
	for len(parts) > 0 {
		part := parts[0]
		parts = parts[1:]
		switch {
		case part == "" || part == ".":
			continue
		case part == ".." && len(above) > 1:
			above = above[:len(above)-1]
			continue
		}
		entries, err := m.entries(ctx, repo, above[len(above)-1])
		if err != nil {
			return entry{}, false, err
		}
		found, ok := entries[part]
		switch {
		case ok && found.isDir():
			above = append(above, found.object)
		case ok && found.isLink() && links < maxLinks:
			links++
			target, err := m.blob(ctx, repo, found.object, maxTree)
			if err != nil || strings.HasPrefix(string(target), "/") {
				return entry{}, false, err
			}
			parts = append(strings.Split(string(target), "/"), parts...)
		case ok && found.isFile() && len(parts) == 0:
			return found, true, nil
		default:
			return entry{}, false, nil
		}
	}
	return entry{mode: "40000", object: above[len(above)-1]}, true, nil
}

// splitPath gives the parts of a path; of the root there is one, ".".
func splitPath(name string) []string {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if name == "" {
		name = "."
	}
	return strings.Split(name, "/")
}

// entries reads one directory.
func (m *Mirrors) entries(ctx context.Context, repo operation.Repository, tree string) (map[string]entry, error) {
	data, ok, err := m.read(ctx, repo, tree, kindTree, maxTree)
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", tree, err)
	}
	if !ok {
		return nil, &UnknownError{Object: tree, Err: errors.New("it belongs to a commit that is in the mirror")}
	}
	return parseTree(data, len(tree)/2)
}

// parseTree reads the form "MODE NAME NUL OBJECT", the object in hash bytes.
func parseTree(data []byte, hash int) (map[string]entry, error) {
	entries := map[string]entry{}
	for len(data) > 0 {
		end := slices.Index(data, 0)
		if end < 0 || len(data) < end+1+hash {
			return nil, errors.New("a tree of the mirror is damaged")
		}
		mode, name, ok := strings.Cut(string(data[:end]), " ")
		if !ok {
			return nil, errors.New("a tree of the mirror is damaged")
		}
		entries[name] = entry{mode: mode, object: hex.EncodeToString(data[end+1 : end+1+hash])}
		data = data[end+1+hash:]
	}
	return entries, nil
}

// parseCommit reads what it finds: a commit's words are its author's.
func parseCommit(data []byte) Commit {
	head, message, _ := strings.Cut(string(data), "\n\n")
	commit := Commit{Subject: subject(message)}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			commit.Tree = value
		case "parent":
			commit.Parents = append(commit.Parents, value)
		case "author":
			commit.Author = parseSignature(value)
		case "committer":
			commit.Committer = parseSignature(value)
		}
	}
	return commit
}

func subject(message string) string {
	const most = 200
	line, _, _ := strings.Cut(strings.TrimLeft(message, "\n"), "\n")
	runes := []rune(strings.ToValidUTF8(line, "�"))
	if len(runes) > most {
		runes = append(runes[:most-1], '…')
	}
	return string(runes)
}

// parseSignature reads "Name <email> SECONDS ZONE".
func parseSignature(value string) Signature {
	var s Signature
	name, rest, _ := strings.Cut(value, " <")
	email, when, _ := strings.Cut(rest, "> ")
	s.Name, s.Email = strings.ToValidUTF8(name, "�"), strings.ToValidUTF8(email, "�")
	var seconds int64
	if _, err := fmt.Sscan(when, &seconds); err == nil {
		s.When = time.Unix(seconds, 0).UTC()
	}
	return s
}
