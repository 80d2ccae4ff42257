package job

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
)

// answers is a server that answers in this order, the last time and again.
type answers struct {
	*httptest.Server

	mu     sync.Mutex
	asked  []string
	tokens []string
}

func newAnswers(t *testing.T, statuses ...int) *answers {
	t.Helper()
	a := &answers{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, r.Method+" "+r.URL.Path+" "+string(body))
		a.tokens = append(a.tokens, r.Header.Get("Authorization"))
		status := statuses[min(len(a.asked), len(statuses))-1]
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		if status == http.StatusConflict {
			_, _ = io.WriteString(w, `{"reason": "The operation was cancelled by ana. `+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+`"}`)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func TestAServerThatWasNamedHasToConfirmAnApply(t *testing.T) {
	t.Parallel()
	const question = `POST /api/job/confirm {"operation":5,"attempt":2,"launch":"launched-once"}`
	for name, c := range map[string]struct {
		statuses []int
		asked    int
		want     string // of the error; empty: it goes on
	}{
		"it says yes":                                  {[]int{200}, 1, ""},
		"it says no, and why":                          {[]int{409}, 1, "the server says no: The operation was cancelled by ana. ***"},
		"it does not know the job":                     {[]int{401}, 1, "does not confirm the apply: it answers 401"},
		"it is another program":                        {[]int{404}, 1, "does not confirm the apply: it answers 404"},
		"it sends the job elsewhere":                   {[]int{302}, 1, "does not confirm the apply: it answers 302"},
		"it says yes at last":                          {[]int{502, 429, 200}, 3, ""},
		"it has no answer, and nothing is applied":     {[]int{503}, 3, "did not confirm the apply: no answer: it answers 503"},
		"an empty yes of a proxy that made it no JSON": {[]int{204}, 1, "it answers 204"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newAnswers(t, c.statuses...)
			s, task := newStep(t), applyTask()
			task.Job.Server = server.URL
			err := s.confirmed(t, task)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("it gives %v, not %q", err, c.want)
			}
			if errors.Is(err, operation.ErrNoAnswer) != strings.Contains(c.want, "no answer") {
				t.Errorf("%v is taken for another kind of answer", err)
			}
			if len(server.asked) != c.asked || server.asked[0] != question || !strings.HasPrefix(server.tokens[0], "Bearer ey") {
				t.Errorf("asked %q with %d tokens", server.asked, len(server.tokens))
			}
			if want := []string{"an identity for " + server.URL}; cmp.Diff(want, s.asked[:1]) != "" {
				t.Errorf("it asked GitHub for %q", s.asked)
			}
		})
	}
}

// confirmed asks as the runner does. Time goes on whenever the job waits for it.
func (s *step) confirmed(t *testing.T, task operation.Task) error {
	t.Helper()
	clock := clockwork.NewFakeClockAt(noon)
	s.clock = clock
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for clock.BlockUntilContext(ctx, 1) == nil {
			clock.Advance(confirmEvery)
		}
	}()
	confirm, err := s.parts(t, task).confirm(task)
	if err != nil {
		return err
	}
	if confirm == nil {
		return errors.New("nobody is asked")
	}
	return confirm(ctx)
}

func TestAServerThatCannotBeReachedIsNoYes(t *testing.T) {
	t.Parallel()
	server := newAnswers(t, http.StatusOK)
	server.Close()
	s, task := newStep(t), applyTask()
	task.Job.Server = server.URL
	if err := s.confirmed(t, task); err == nil || !strings.Contains(err.Error(), "did not confirm the apply: no answer: ask it:") {
		t.Errorf("it gives %v", err)
	}
}

func TestWhichServerIsAsked(t *testing.T) {
	t.Parallel()
	plan := applyTask()
	plan.Kind = operation.Plan
	for name, c := range map[string]struct {
		task     operation.Task
		input    string
		claimed  string
		identity bool
		want     string // of the error
	}{
		"none":                                   {applyTask(), "", "", true, "nobody is asked"},
		"none for a plan":                        {plan, "https://a.example", "", true, "nobody is asked"},
		"another than the workflow names":        {applyTask(), "https://a.example", "https://evil.example", true, "the workflow `https://a.example`"},
		"one without HTTPS":                      {applyTask(), "", "http://a.example", true, "must begin with https://"},
		"one with a name and a password":         {applyTask(), "", "https://a.example@evil.example", true, "must be like"},
		"one with a query":                       {applyTask(), "", "https://a.example?x=", true, "must be like"},
		"a file":                                 {applyTask(), "", "file:///etc/passwd", true, "must be like"},
		"the audience of somebody else's tokens": {applyTask(), "", "api://AzureADTokenExchange", true, "must begin with https://"},
		"a job that cannot prove which it is":    {applyTask(), "https://a.example", "", false, "`id-token: write`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStep(t)
			s.env["INPUT_SERVER"] = c.input
			if !c.identity {
				s.machine.Identity = Identity{}
			}
			task := c.task
			job := *task.Job
			job.Server = c.claimed
			task.Job = &job
			err := s.confirmed(t, task)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it gives %v, not %q", err, c.want)
			}
		})
	}
}

func TestNothingIsAppliedThatIsNotConfirmed(t *testing.T) {
	t.Parallel()
	server := newAnswers(t, http.StatusConflict)
	s, task := newStep(t), applyTask()
	task.Job.Server = server.URL
	s.does = func(ctx context.Context, task operation.Task, confirm func(context.Context) error) operation.Result {
		result := resultOf(task, operation.TargetStopped)
		result.Targets[0].Error = "Not applied: " + confirm(ctx).Error()
		return result
	}
	if err := s.dispatched(t, task); !errors.Is(err, ErrNotDone) || !strings.Contains(s.log.String(), "The operation was cancelled by ana.") {
		t.Errorf("it ends with %v: %s", err, s.log.String())
	}
}
