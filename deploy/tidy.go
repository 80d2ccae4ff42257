package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/platform"
	"github.com/switchyard-dev/switchyard/store"
)

// gone begins the name of what is being removed: it was renamed first, so that no runner finds half of it.
const gone = ".gone-"

// tidier is an executor that keeps something of attempts that have ended.
type tidier interface {
	Tidy(before time.Time, keep func(operationID int64, attempt int) bool) (int, error)
}

// Tidy removes from this host what nobody has used for so long: work directories of applies that have ended and of pull
// requests that are closed, and what the executor keeps of old attempts. It says how many directories. It never removes
// what a runner uses, a state that Terraform could not save, and a result that nobody has taken yet.
func (d *Deploy) Tidy(ctx context.Context, age time.Duration) (int, error) {
	ctx = d.Log.WithContext(ctx)
	before := d.Clock.Now().Add(-age)
	removed, err := d.tidyWork(ctx, before)
	executor, ok := d.Executor.(tidier)
	if !ok {
		return removed, err
	}
	open, listErr := d.Store.OnHost(ctx, d.Host)
	if listErr != nil {
		return removed, errors.Join(err, fmt.Errorf("find the runners of this host: %w", listErr))
	}
	needed := map[int64]bool{}
	for _, op := range open {
		needed[op.ID] = true
	}
	attempts, tidyErr := executor.Tidy(before, func(id int64, _ int) bool { return needed[id] })
	return removed + attempts, errors.Join(err, wrap("tidy the executor", tidyErr))
}

// tidyWork looks at the work directories of each repository.
func (d *Deploy) tidyWork(ctx context.Context, before time.Time) (int, error) {
	entries, err := os.ReadDir(d.WorkDir)
	if err != nil {
		return 0, fmt.Errorf("list work directories: %w", err)
	}
	removed := 0
	var all []error
	for _, entry := range entries {
		repo, err := strconv.ParseInt(entry.Name(), 10, 64)
		if err != nil || !entry.IsDir() {
			continue // not ours
		}
		some, err := d.tidyRepository(ctx, repo, filepath.Join(d.WorkDir, entry.Name()), before)
		removed, all = removed+some, append(all, err)
	}
	return removed, errors.Join(all...)
}

// tidyRepository removes in a directory through which no link leads out of it: code of pull requests wrote what is in it.
func (d *Deploy) tidyRepository(ctx context.Context, repo int64, dir string, before time.Time) (removed int, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, fmt.Errorf("open work directories: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return 0, fmt.Errorf("list work directories: %w", err)
	}
	var all []error
	for _, entry := range entries {
		if ctx.Err() != nil {
			break
		}
		did, err := d.tidyOne(ctx, root, repo, entry, before)
		if err != nil {
			all = append(all, fmt.Errorf("tidy %s: %w", filepath.Join(dir, entry.Name()), err))
		}
		if did {
			removed++
		}
	}
	return removed, errors.Join(all...)
}

func (d *Deploy) tidyOne(ctx context.Context, root *os.Root, repo int64, entry fs.DirEntry, before time.Time) (bool, error) {
	name := entry.Name()
	if strings.HasPrefix(name, gone) {
		return true, removeTree(root, name) // an earlier removal broke off
	}
	info, err := entry.Info()
	if err != nil || !info.IsDir() || !info.ModTime().Before(before) {
		return false, wrap("look at it", err)
	}
	if done, err := d.doneWith(ctx, repo, name); err != nil || !done {
		return false, err
	}
	unlock, free, err := takeLock(root, path.Join(name, "lock"))
	if err != nil || !free {
		return false, err
	}
	defer unlock()
	kept, err := unsavedIn(root, name)
	if err != nil {
		return false, fmt.Errorf("look for states that could not be saved: %w", err)
	}
	if kept != "" {
		zerolog.Ctx(ctx).Warn().Str("path", filepath.Join(root.Name(), filepath.FromSlash(kept))).
			Msg("Terraform could not save a state, and nobody has picked it up: push it with `terraform state push`, or delete it")
		return false, nil
	}
	if err := root.Rename(name, gone+name); err != nil {
		return false, fmt.Errorf("rename: %w", err)
	}
	return true, removeTree(root, gone+name)
}

// maxLooked bounds the files of a checkout among which a state is looked for that could not be saved. A larger one is kept.
const maxLooked = 200_000

// unsavedIn finds a state in a work directory that an apply could not save: where its runner keeps such states, and, of a runner that was
// killed before it could do that, in the checkout, where Terraform writes them. Plans write none: what is there came with a pull request.
// What is not newer than git's index, which is written last of the checkout, came with the commit of an apply.
func unsavedIn(root *os.Root, name string) (string, error) {
	kept := path.Join(name, "errored")
	switch found, err := fs.ReadDir(root.FS(), kept); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("list: %w", err)
	case len(found) > 0:
		return kept, nil
	case !strings.HasPrefix(name, "apply-"):
		return "", nil
	}
	var checkedOut time.Time
	if index, err := root.Lstat(path.Join(name, "index")); err == nil {
		checkedOut = index.ModTime()
	}
	tree, unsaved, looked := path.Join(name, "tree"), "", 0
	err := fs.WalkDir(root.FS(), tree, func(file string, entry fs.DirEntry, err error) error {
		looked++
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission): // of a directory that was made like that
			return nil
		case err != nil:
			return err
		case looked > maxLooked:
			unsaved = tree
			return fs.SkipAll
		case entry.Type().IsRegular() && entry.Name() == "errored.tfstate" && !committed(entry, checkedOut):
			unsaved = file
			return fs.SkipAll
		}
		return nil
	})
	return unsaved, wrap("look through the checkout", err)
}

// committed reports whether a file was there when the checkout was made. Where that is not known, it counts as written later.
func committed(file fs.DirEntry, checkedOut time.Time) bool {
	info, err := file.Info()
	return err == nil && !checkedOut.IsZero() && !info.ModTime().After(checkedOut)
}

// doneWith reports whether nothing will use a work directory any more: its operation has ended, or its
// pull request is closed.
func (d *Deploy) doneWith(ctx context.Context, repo int64, name string) (bool, error) {
	var id int64
	var attempt, number int
	switch {
	case matches(name, "apply-%d-%d", &id, &attempt), matches(name, "lock-%d-%d", &id, &attempt), matches(name, "group-%d", &id):
		op, err := d.Store.Operation(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return true, nil
		}
		return op.State.Ended() || attempt != 0 && op.Attempt > attempt, wrap("read its operation", err)
	case matches(name, "pull-%d", &number):
		plans, err := d.openPlans(ctx, repo, number)
		if err != nil || len(plans) > 0 {
			return false, err
		}
		data, ok, err := d.Store.Pull(ctx, repo, number)
		if err != nil || !ok {
			return err == nil, wrap("read its pull request", err)
		}
		var facts pullFacts
		if err := json.Unmarshal(data, &facts); err != nil { //nolint:musttag // see pullFacts
			return false, fmt.Errorf("read its pull request: %w", err)
		}
		return facts.State != hub.Open, nil
	}
	return false, nil
}

// matches reads the numbers of a name that has this form and nothing else.
func matches(name, form string, numbers ...any) bool {
	if _, err := fmt.Sscanf(name, form, numbers...); err != nil {
		return false
	}
	values := make([]any, len(numbers))
	for i, number := range numbers {
		switch n := number.(type) {
		case *int64:
			values[i] = *n
		case *int:
			values[i] = *n
		}
	}
	return fmt.Sprintf(form, values...) == name
}

// takeLock takes a runner's lock on its work directory; false when it has it.
func takeLock(root *os.Root, name string) (unlock func(), free bool, err error) {
	file, err := root.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, true, nil // no runner has come so far, and it is old
	}
	if err != nil {
		return nil, false, fmt.Errorf("open its lock: %w", err)
	}
	err = platform.Lock(file)
	if err == nil {
		return func() { _ = file.Close() }, true, nil // nothing was written
	}
	if errors.Is(err, platform.ErrLocked) {
		err = nil
	}
	return nil, false, errors.Join(wrap("take its lock", err), file.Close())
}

// removeTree removes a tree, also one with directories that cannot be written to.
func removeTree(root *os.Root, name string) error {
	if root.RemoveAll(name) == nil {
		return nil
	}
	const private = 0o700
	_ = fs.WalkDir(root.FS(), name, func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && err == nil {
			_ = root.Chmod(path, private) // what cannot be changed is told by the removal
		}
		return nil
	})
	return wrap("remove", root.RemoveAll(name))
}
