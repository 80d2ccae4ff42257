// Package git keeps one bare, blob-less mirror of each repository and answers questions about it:
// tips of branches, trees, merges, changed paths, files. Package deploy calls it before every
// decision. It never runs anything that comes from a repository, never writes to GitHub, and never
// puts a token into an argument list or onto the disk.
//
// A mirror's own configuration names no remote. Only the few commands that may talk to GitHub get
// its address and a token, through their environment; so whatever else opens the mirror, such as
// the runner, works offline and sees a missing object as what it is.
package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
)

const (
	// defaultFetchLimit bounds one fetch, the first one of a large repository too.
	defaultFetchLimit = 15 * time.Minute
	// localLimit bounds a command that answers one question.
	localLimit = 2 * time.Minute
	// defaultMaxPacks bounds the packs of a mirror. Each fetch adds one, and every one of them makes
	// each look-up slower.
	defaultMaxPacks = 100
	// dirMode and fileMode are for the owner only: a mirror holds private code.
	dirMode, fileMode = 0o700, 0o600
)

// mirrorConfig is the whole configuration of a mirror: no remote, no address, no token.
const mirrorConfig = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"

// Credentials gives a token that may read the repository. It is asked before each command that may
// talk to GitHub; an empty token asks without one.
type Credentials func(ctx context.Context, repo operation.Repository) (token string, err error)

// Options are what a Mirrors can do without.
type Options struct {
	FetchLimit time.Duration          // of one fetch; 0: 15 minutes
	MaxPacks   int                    // a mirror with more is repacked; 0: 100
	Refs       []string               // full names of the refs that a fetch brings; empty: all branches and heads of pull requests
	Env        map[string]string      // for commands that talk to GitHub: proxy and certificate variables
	Observe    func(argv []string)    // is called with the arguments of each git process that is started
	Log        zerolog.Logger         // gets what went wrong in the background
	LookPath   func() (string, error) // finds git; nil: on PATH
}

// Mirrors are the mirrors below one directory, which no other process may use. Its methods may be
// called from many goroutines. All of them but Fetch and Dir need a mirror that was fetched once.
type Mirrors struct {
	dir     string
	remote  func(operation.Repository) string
	cred    Credentials
	options Options
	path    string // PATH of git's processes

	ctx   context.Context //nolint:containedctx // the life of fetches that several callers wait for
	close context.CancelFunc

	mu      sync.Mutex
	mirrors map[int64]*mirror
	readers []*mirror // those with a running reader, least recently used first
}

// mirror is what is known about one mirror.
type mirror struct {
	gitDir string

	mu   sync.Mutex
	next *flight           // a fetch that has not begun
	now  *flight           // the fetch that runs
	refs map[string]string // full ref name → commit, as of the last fetch; nil: not known
	full []string          // trees that were found to have all their blobs, the newest last

	fetching semaphore
	cleaned  bool // locks of a process that died have been removed; guarded by fetching

	reading semaphore
	reader  *reader // guarded by reading
}

// flight is one fetch that several callers wait for.
type flight struct {
	repo operation.Repository
	done chan struct{}
	err  error
}

// wait waits for the end of the fetch.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the fetch of %s: %w", f.repo.FullName(), context.Cause(ctx))
	}
}

// landed notes that no fetch runs.
func (mir *mirror) landed() {
	mir.mu.Lock()
	defer mir.mu.Unlock()
	mir.now = nil
}

// semaphore is a mutex that can be waited for with a context.
type semaphore chan struct{}

func (s semaphore) lock(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // the caller's own reason
	}
}

func (s semaphore) tryLock() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s semaphore) unlock() { <-s }

// New makes the mirrors below dir, which is made when it is needed. remote gives the clone URL of a
// repository: http or https, without user or password.
func New(dir string, remote func(operation.Repository) string, cred Credentials, options Options) *Mirrors {
	if options.FetchLimit == 0 {
		options.FetchLimit = defaultFetchLimit
	}
	if options.MaxPacks == 0 {
		options.MaxPacks = defaultMaxPacks
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Mirrors{
		dir: dir, remote: remote, cred: cred, options: options, path: os.Getenv("PATH"),
		ctx: ctx, close: cancel, mirrors: map[int64]*mirror{},
	}
}

// Close stops everything that runs. The mirrors stay on disk.
func (m *Mirrors) Close() error {
	m.close()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mir := range m.readers {
		if mir.reading.tryLock() { // a busy one ends with its caller
			mir.stopReader()
			mir.reading.unlock()
		}
	}
	m.readers = nil
	return nil
}

// Dir is the directory of a repository's mirror. It is named by the id: names can change, and may
// hold anything.
func (m *Mirrors) Dir(repo operation.Repository) string {
	return filepath.Join(m.dir, strconv.FormatInt(repo.ID, 10)+".git")
}

// Fetch brings the mirror up to date: all branches and the heads of all pull requests; what is gone
// on GitHub goes here too. The first time it makes the mirror. Callers of one repository share a
// fetch, but only one that began after they called: what they were told of is in the mirror then.
// The fetch goes on when a caller leaves, for the others.
func (m *Mirrors) Fetch(ctx context.Context, repo operation.Repository) error {
	mir := m.mirror(repo)
	mir.mu.Lock()
	next := mir.next
	if next == nil {
		next = &flight{repo: repo, done: make(chan struct{})}
		mir.next = next
		go m.fly(mir, next) //nolint:contextcheck // a fetch outlives the caller who asked first
	}
	mir.mu.Unlock()
	return next.wait(ctx)
}

// Join is Fetch for who can check by Has whether what they need has come: a fetch that runs already
// will do, although it began before they called.
func (m *Mirrors) Join(ctx context.Context, repo operation.Repository) error {
	mir := m.mirror(repo)
	mir.mu.Lock()
	now := mir.now
	mir.mu.Unlock()
	if now == nil {
		return m.Fetch(ctx, repo)
	}
	return now.wait(ctx)
}

// fly waits for the fetch before it, closes its own door, and fetches.
func (m *Mirrors) fly(mir *mirror, f *flight) {
	defer close(f.done)
	err := mir.fetching.lock(m.ctx)
	mir.mu.Lock()
	mir.next = nil
	if err == nil {
		mir.now = f
	}
	mir.mu.Unlock()
	if err != nil {
		f.err = fmt.Errorf("fetch %s: %w", f.repo.FullName(), err)
		return
	}
	defer mir.fetching.unlock()
	defer mir.landed()
	ctx, cancel := context.WithTimeout(m.ctx, m.options.FetchLimit)
	defer cancel()
	if err := m.fetch(ctx, mir, f.repo); err != nil {
		f.err = fmt.Errorf("fetch %s: %w", f.repo.FullName(), err)
	}
}

func (m *Mirrors) fetch(ctx context.Context, mir *mirror, repo operation.Repository) error {
	if err := m.prepare(ctx, mir); err != nil {
		return err
	}
	err := m.git(ctx, mir, call{
		remote: &repo,
		config: mir.fetchConfig(),
		args: append([]string{
			"fetch", "--quiet", "--no-progress", "--force", "--prune", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
			"--no-show-forced-updates", "--no-recurse-submodules", "--end-of-options", "origin",
		}, m.refspecs()...),
	})
	if err != nil {
		mir.setRefs(nil) // some may have moved
		return err
	}
	refs, err := m.readRefs(ctx, mir)
	mir.setRefs(refs)
	if err != nil {
		return err
	}
	m.maintain(ctx, mir, repo)
	return nil
}

// refspecs are what a fetch brings.
func (m *Mirrors) refspecs() []string {
	if len(m.options.Refs) == 0 {
		return []string{
			"+" + headsPrefix + "*:" + headsPrefix + "*", "+" + pullPrefix + "*" + pullSuffix + ":" + pullPrefix + "*" + pullSuffix,
		}
	}
	specs := make([]string, 0, len(m.options.Refs))
	for _, ref := range m.options.Refs {
		specs = append(specs, "+"+ref+":"+ref)
	}
	return specs
}

// smallBlobs lets a fetch bring files of up to 64 KiB, as configuration is.
// https://git-scm.com/docs/git-rev-list#Documentation/git-rev-list.txt---filterfilter-spec
const smallBlobs = "blob:limit=65536"

// fetchConfig has a fetch bring the small files of new commits, which are looked at next: that saves
// another request. The first fetch brings none, because it would bring those of the whole history.
func (mir *mirror) fetchConfig() []string {
	packs, err := mir.packs()
	if err != nil || len(packs) == 0 {
		return nil
	}
	return []string{filterSetting + smallBlobs}
}

// packs are the mirror's files of objects; a mirror that was never fetched has none.
func (mir *mirror) packs() ([]string, error) {
	//nolint:wrapcheck // never fails: the pattern is escaped
	return filepath.Glob(filepath.Join(globEscape(mir.gitDir), "objects", "pack", "*.pack"))
}

// prepare makes the mirror if it is new, and removes what a process that died has left.
func (m *Mirrors) prepare(ctx context.Context, mir *mirror) error {
	if err := os.MkdirAll(mir.gitDir, dirMode); err != nil {
		return fmt.Errorf("make mirror: %w", err)
	}
	if !mir.cleaned {
		if err := removeLocks(mir.gitDir); err != nil {
			return err
		}
		mir.cleaned = true
	}
	config := filepath.Join(mir.gitDir, "config")
	if data, err := os.ReadFile(config); err == nil && string(data) == mirrorConfig { //nolint:gosec // our own directory and a number
		return nil
	}
	if err := m.git(ctx, mir, call{args: []string{"init", "--quiet", "--bare", "--template="}}); err != nil {
		return err
	}
	if err := os.WriteFile(config, []byte(mirrorConfig), fileMode); err != nil {
		return fmt.Errorf("configure mirror: %w", err)
	}
	return nil
}

// removeLocks removes the locks that a killed git has left: nobody else uses the directory, so they
// protect nothing and would make every later fetch fail.
func removeLocks(gitDir string) error {
	var locks []string
	err := filepath.WalkDir(gitDir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "objects":
			return fs.SkipDir
		case !entry.IsDir() && (strings.HasSuffix(name, ".lock") || entry.Name() == "gc.pid"):
			locks = append(locks, name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for stale locks: %w", err)
	}
	for _, lock := range locks {
		if err := os.Remove(lock); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove stale lock: %w", err)
		}
	}
	return nil
}

// maintain repacks a mirror that has become slow. That it failed is no reason to fail a fetch.
func (m *Mirrors) maintain(ctx context.Context, mir *mirror, repo operation.Repository) {
	packs, err := mir.packs()
	if err == nil && len(packs) > m.options.MaxPacks {
		// It needs to know that blobs may be missing, and so the remote.
		err = m.git(ctx, mir, call{remote: &repo, args: []string{"gc", "--quiet"}})
		mir.forgetFull() // what no branch contains any more may be gone
	}
	if err != nil {
		m.options.Log.Warn().Err(err).Str("repository", repo.FullName()).Msg("could not repack the mirror")
	}
}

func globEscape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

func (m *Mirrors) mirror(repo operation.Repository) *mirror {
	m.mu.Lock()
	defer m.mu.Unlock()
	mir, ok := m.mirrors[repo.ID]
	if !ok {
		mir = &mirror{gitDir: m.Dir(repo), fetching: make(semaphore, 1), reading: make(semaphore, 1)}
		m.mirrors[repo.ID] = mir
	}
	return mir
}
