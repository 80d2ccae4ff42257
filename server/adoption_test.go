package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
)

func TestWhatIsMergedBeforeTheRepositoryWasFirstLookedAtIsApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stop() // the App is installed while the server is away, and finds the merge in the branch when it comes back
	s := newShopOn(t, w, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	sha := s.merge(number)
	w.eventually("GitHub has given up to tell", func() bool {
		return slices.ContainsFunc(w.Box.Deliveries(), func(d sandbox.Delivery) bool {
			return d.Event == "push" && d.StatusCode != http.StatusOK && strings.Contains(string(d.Payload), sha)
		})
	})
	w.start(quiet)
	s.checkIs(sha, "switchyard / apply (dev)", "action_required") // nobody has seen its plan
	s.comment(story.Ana, number, "/apply dev "+s.digest(number, "dev"))
	s.checkIs(sha, "switchyard / apply (dev)", "success")
}
