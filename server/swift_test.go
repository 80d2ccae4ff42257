package server_test

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox/story"
)

// dispatches reads how many were counted, and how long they took in all, in seconds.
func (y *yard) dispatches(kind string) (count, seconds float64) {
	y.t.Helper()
	request, err := http.NewRequestWithContext(y.ctx, http.MethodGet, y.Server.URL()+"/metrics", http.NoBody)
	if err != nil {
		y.t.Fatal(err)
	}
	response, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		y.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		for what, to := range map[string]*float64{"count": &count, "sum": &seconds} {
			if value, ok := strings.CutPrefix(lines.Text(), "switchyard_dispatch_seconds_"+what+`{kind="`+kind+`"} `); ok {
				if *to, err = strconv.ParseFloat(value, 64); err != nil {
					y.t.Fatal(err)
				}
			}
		}
	}
	return count, seconds
}

func TestAMetricTellsHowLongItTakesFromACommentToADispatch(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	before, spent := y.dispatches("plan")
	y.comment(story.Ben, pull, "/plan")
	y.eventually("a plan was dispatched", func() bool {
		count, seconds := y.dispatches("plan")
		if count == before {
			return false
		}
		if count != before+1 || seconds <= spent || seconds > spent+patience.Seconds() {
			t.Errorf("%v in %v s, before %v in %v s", count, seconds, before, spent)
		}
		t.Logf("from the comment to the dispatch, without GitHub's time: %.0f ms", 1000*(seconds-spent))
		return true
	})
}
