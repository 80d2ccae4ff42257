package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// commitsPerQuery keeps below the parameters that a statement may have: 32766 in SQLite,
// https://www.sqlite.org/limits.html, and 65535 in PostgreSQL.
const commitsPerQuery = 500

// BranchTip is the commit at which a branch was last seen.
func (s *Store) BranchTip(ctx context.Context, repository int64, branch string) (string, bool, error) {
	sha, ok, err := one(ctx, s.read, scanValue[string],
		`SELECT sha FROM branches WHERE repository = $1 AND branch = $2`, repository, branch)
	return sha, ok, wrap("read branch tip", err)
}

// SetBranchTip remembers at which commit a branch was seen.
func (s *Store) SetBranchTip(ctx context.Context, repository int64, branch, sha string) error {
	return s.put(ctx, "save branch tip", `
		INSERT INTO branches (repository, branch, sha) VALUES ($1, $2, $3)
		ON CONFLICT (repository, branch) DO UPDATE SET sha = excluded.sha`, repository, branch, sha)
}

// DropBranch forgets a branch.
func (s *Store) DropBranch(ctx context.Context, repository int64, branch string) error {
	return s.put(ctx, "forget branch", `DELETE FROM branches WHERE repository = $1 AND branch = $2`, repository, branch)
}

// SaveRepository remembers a repository under its current name. Operations and surfaces that were
// made before follow a rename or a new installation, so that they can still be shown.
func (s *Store) SaveRepository(ctx context.Context, repo operation.Repository, defaultBranch string) error {
	known, branch, ok, err := s.Repository(ctx, repo.ID)
	if err != nil {
		return err
	}
	if ok && known == repo && branch == defaultBranch {
		return nil
	}
	return s.change(ctx, "save repository", func(t *tx) error {
		if _, err := exec(ctx, t, `
			INSERT INTO repositories (id, installation, owner, name, default_branch) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET installation = excluded.installation, owner = excluded.owner, name = excluded.name,
				default_branch = excluded.default_branch`,
			repo.ID, repo.Installation, repo.Owner, repo.Name, defaultBranch); err != nil || known == repo {
			return err
		}
		for _, table := range []string{"operations", "surfaces"} {
			if _, err := exec(ctx, t, `UPDATE `+table+` SET installation = $2, owner = $3, name = $4 WHERE repository = $1`,
				repo.ID, repo.Installation, repo.Owner, repo.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// knownRepository is a repository with its default branch.
type knownRepository struct {
	operation.Repository

	branch string
}

func scanRepository(row scanner) (knownRepository, error) {
	var r knownRepository
	err := row.Scan(&r.ID, &r.Installation, &r.Owner, &r.Name, &r.branch)
	return r, err //nolint:wrapcheck // list wraps it
}

const selectRepository = `SELECT id, installation, owner, name, default_branch FROM repositories`

// Repository is what was last seen of a repository, and its default branch.
func (s *Store) Repository(ctx context.Context, id int64) (operation.Repository, string, bool, error) {
	r, ok, err := one(ctx, s.read, scanRepository, selectRepository+` WHERE id = $1`, id)
	return r.Repository, r.branch, ok, wrap("read repository", err)
}

// Repositories lists all known repositories by name.
func (s *Store) Repositories(ctx context.Context) ([]operation.Repository, error) {
	known, err := list(ctx, s.read, scanRepository, selectRepository+` ORDER BY owner, name`)
	repos := make([]operation.Repository, len(known))
	for i, r := range known {
		repos[i] = r.Repository
	}
	return repos, wrap("list repositories", err)
}

// RemoveRepository forgets the facts seen in a repository, and what could not be written to it any
// more. Operations, targets and the audit stay: they are history, and count again should it return.
func (s *Store) RemoveRepository(ctx context.Context, id int64) error {
	return s.change(ctx, "remove repository", func(t *tx) error {
		for _, statement := range []string{
			`DELETE FROM repositories WHERE id = $1`,
			`DELETE FROM branches WHERE repository = $1`,
			`DELETE FROM pulls WHERE repository = $1`,
			`DELETE FROM commit_pulls WHERE repository = $1`,
			`UPDATE surfaces SET written = version, claimed = version WHERE repository = $1`,
		} {
			if _, err := exec(ctx, t, statement, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// SavePull remembers a caller's view of a pull request, which is JSON, and its head commit.
func (s *Store) SavePull(ctx context.Context, repository int64, number int, head string, data []byte) error {
	return s.put(ctx, "save pull request", `
		INSERT INTO pulls (repository, number, head, data) VALUES ($1, $2, $3, $4)
		ON CONFLICT (repository, number) DO UPDATE SET head = excluded.head, data = excluded.data`,
		repository, number, head, string(data))
}

// PullsAt lists the saved views of the pull requests with a head commit, by number.
func (s *Store) PullsAt(ctx context.Context, repository int64, head string) ([][]byte, error) {
	views, err := list(ctx, s.read, scanValue[[]byte],
		`SELECT data FROM pulls WHERE repository = $1 AND head = $2 ORDER BY number`, repository, head)
	return views, wrap("find the pull requests of a commit", err)
}

const selectPull = `SELECT data FROM pulls WHERE repository = $1 AND number = $2`

// Pull is the view that SavePull saved last.
func (s *Store) Pull(ctx context.Context, repository int64, number int) ([]byte, bool, error) {
	data, ok, err := one(ctx, s.read, scanValue[string], selectPull, repository, number)
	return []byte(data), ok, wrap("read pull request", err)
}

// CommitPulls tells of commits which pull request brought them, 0 for none. Commits that nobody
// has asked GitHub about yet are absent.
func (s *Store) CommitPulls(ctx context.Context, repository int64, shas []string) (map[string]int, error) {
	type commit struct {
		sha  string
		pull int
	}
	pulls := map[string]int{}
	for chunk := range slices.Chunk(shas, commitsPerQuery) {
		args := []any{repository}
		marks := make([]string, len(chunk))
		for i, sha := range chunk {
			args = append(args, sha)
			marks[i] = "$" + strconv.Itoa(len(args))
		}
		found, err := list(ctx, s.read, func(row scanner) (c commit, err error) {
			err = row.Scan(&c.sha, &c.pull)
			return c, err //nolint:wrapcheck // list wraps it
		}, `SELECT sha, pull FROM commit_pulls WHERE repository = $1 AND sha IN (`+strings.Join(marks, ", ")+`)`, args...)
		if err != nil {
			return nil, wrap("read the pull requests of commits", err)
		}
		for _, c := range found {
			pulls[c.sha] = c.pull
		}
	}
	return pulls, nil
}

// PullCommits lists the commits that a pull request is known to have brought to its branch, in no order.
func (s *Store) PullCommits(ctx context.Context, repository int64, number int) ([]string, error) {
	commits, err := list(ctx, s.read, scanValue[string],
		`SELECT sha FROM commit_pulls WHERE repository = $1 AND pull = $2`, repository, number)
	return commits, wrap("read the commits of a pull request", err)
}

// SaveCommitPulls remembers which pull request brought which commit, 0 for none.
func (s *Store) SaveCommitPulls(ctx context.Context, repository int64, pulls map[string]int) error {
	return s.change(ctx, "save the pull requests of commits", func(t *tx) error {
		for sha, pull := range pulls {
			if _, err := exec(ctx, t, `
				INSERT INTO commit_pulls (repository, sha, pull) VALUES ($1, $2, $3)
				ON CONFLICT (repository, sha) DO UPDATE SET pull = excluded.pull`, repository, sha, pull); err != nil {
				return err
			}
		}
		return nil
	})
}

// put runs one statement in a transaction.
func (s *Store) put(ctx context.Context, verb, statement string, args ...any) error {
	return s.change(ctx, verb, func(t *tx) error {
		_, err := exec(ctx, t, statement, args...)
		return err
	})
}
