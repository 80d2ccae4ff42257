package server_test

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/store"
)

// verified checks the whole ledger of a repository again, with the server's own mirror: what honest people did must hold,
// and nothing of it may be beyond checking.
func (s *shop) verified() {
	s.t.Helper()
	data, err := store.OpenToRead(s.ctx, "sqlite:"+filepath.Join(s.data, "switchyard.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	repos, err := data.Repositories(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	applies, changes := 0, 0
	for _, repo := range repos {
		mirror := filepath.Join(s.data, "mirrors", strconv.FormatInt(repo.ID, 10)+".git")
		if _, err := os.Stat(mirror); err != nil {
			continue // nothing happened there
		}
		clone, err := git.OpenClone(s.ctx, mirror)
		if err != nil {
			s.t.Fatal(err)
		}
		result, err := deploy.Verification{Store: data, Clone: &clone, Repository: repo, Limit: 100}.Verify(s.ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, found := range result.Findings {
			s.t.Errorf("verified: %+v", found)
		}
		applies, changes = applies+result.Applies, changes+result.Changes
	}
	if applies == 0 || changes == 0 {
		s.t.Errorf("only %d changes of %d applies were verified", changes, applies)
	}
}
