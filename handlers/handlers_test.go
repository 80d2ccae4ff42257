package handlers_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/handlers"
)

// TestExamples replays payloads that GitHub published (npm @octokit/webhooks-examples 7.6.1, MIT).
func TestExamples(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("no examples", err)
	}
	var got strings.Builder
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		event, _, _ := strings.Cut(name, ".")
		w := newWorld(t)
		answer := w.serve(hook(event, mustRead(t, path)))
		fmt.Fprintf(&got, "%s: %d %s", name, answer.Code, answer.Body)
		got.WriteString(w.inbox.effects())
	}
	golden(t, "examples.golden", got.String())
}

// TestOneHandlerPerEvent matters because go-githubapp silently ignores a second handler for an event.
func TestOneHandlerPerEvent(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, handler := range handlers.All(&inbox{}) {
		for _, event := range handler.Handles() {
			seen[event]++
		}
	}
	for event, count := range seen {
		if count != 1 {
			t.Errorf("event %s has %d handlers", event, count)
		}
	}
}

func TestTheAppSubscribesToWhatIsHandled(t *testing.T) {
	t.Parallel()
	var app struct {
		Events []string `yaml:"default_events"`
	}
	if err := yaml.Unmarshal(mustRead(t, "../app.yml"), &app); err != nil {
		t.Fatal(err)
	}
	// GitHub sends these to each App without being asked.
	want := append(app.Events, "installation", "installation_repositories", "ping") //nolint:gocritic // a new list
	var got []string
	for _, handler := range handlers.All(&inbox{}) {
		got = append(got, handler.Handles()...)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events of app.yml and handlers differ (-app.yml +handlers):\n%s", diff)
	}
}

const head = `"installation":{"id":7},"repository":{"id":5,"full_name":"acme/network"},"sender":{"login":"ana"}`

func TestEvents(t *testing.T) {
	t.Parallel()
	const sha = "0123456789012345678901234567890123456789"
	cases := []struct{ name, event, body string }{
		{"an edited base is looked at", "pull_request", `{"action":"edited","number":3,"changes":{"base":{"ref":{"from":"main"}}},` + head + `}`},
		{"an edited title is not", "pull_request", `{"action":"edited","number":3,"changes":{"title":{"from":"x"}},` + head + `}`},
		{"an unknown action of pull_request is ignored", "pull_request", `{"action":"exploded","number":3,` + head + `}`},
		{"a pull request without a number is malformed", "pull_request", `{"action":"opened",` + head + `}`},
		{"a number that is a word is malformed", "pull_request", `{"action":"opened","number":"three",` + head + `}`},
		{"a webhook of a repository, not of the App, is malformed", "pull_request", `{"action":"opened","number":3,"repository":{"id":5,"full_name":"acme/network"}}`},
		{"a repository without an id is malformed", "pull_request", `{"action":"opened","number":3,"installation":{"id":7},"repository":{"full_name":"acme/network"}}`},
		{"a repository's name with two slashes is malformed", "pull_request", `{"action":"opened","number":3,"installation":{"id":7},"repository":{"id":5,"full_name":"a/../b"}}`},

		{"an approval is looked at", "pull_request_review", review("submitted", "approved", 3)},
		{"requested changes are looked at", "pull_request_review", review("submitted", "changes_requested", 3)},
		{"a state that is new is looked at", "pull_request_review", review("submitted", "doubted", 3)},
		{"a comment is no approval", "pull_request_review", review("submitted", "commented", 3)},
		{"a dismissed review is looked at", "pull_request_review", review("dismissed", "dismissed", 3)},
		{"an edited review says the same", "pull_request_review", review("edited", "approved", 3)},
		{"a review of no pull request is malformed", "pull_request_review", review("submitted", "approved", 0)},
		{"a review without its pull request is malformed", "pull_request_review", `{"action":"submitted","review":{"state":"approved"},` + head + `}`},
		{"a review whose state is a number is malformed", "pull_request_review", `{"action":"submitted","review":{"state":1},"pull_request":{"number":3},` + head + `}`},
		{"a command in a review is not obeyed", "pull_request_review", `{"action":"submitted","review":{"state":"commented","body":"/apply prod"},"pull_request":{"number":3},` + head + `}`},

		{"a branch with an odd name is just a name", "push", `{"ref":"refs/heads/feature/$(id) \"ü\" ../x","before":"` + sha + `",` + head + `}`},
		{"a force-push says so", "push", `{"ref":"refs/heads/main","before":"` + sha + `","forced":true,` + head + `}`},
		{"a deleted branch is seen", "push", `{"ref":"refs/heads/release/1.0","before":"` + sha + `","deleted":true,` + head + `}`},
		{"a new branch is seen", "push", `{"ref":"refs/heads/release/1.0","before":"0000000000000000000000000000000000000000","created":true,` + head + `}`},
		{"a branch of the merge queue is ignored", "push", `{"ref":"refs/heads/gh-readonly-queue/main/pr-1-` + sha + `","before":"` + sha + `",` + head + `}`},
		{"a tag is ignored", "push", `{"ref":"refs/tags/v1","before":"` + sha + `",` + head + `}`},
		{"a branch without a name is malformed", "push", `{"ref":"refs/heads/","before":"` + sha + `",` + head + `}`},
		{"a branch with a newline is malformed", "push", `{"ref":"refs/heads/a\nb","before":"` + sha + `",` + head + `}`},
		{"a before that is an option is malformed", "push", `{"ref":"refs/heads/main","before":"--upload-pack=x",` + head + `}`},

		{"a command is kept", "issue_comment", comment("created", "User", "/apply dev\nplease", `,"pull_request":{}`, "")},
		{"a command on an issue is kept", "issue_comment", comment("created", "User", "/help", "", "")},
		{"a bot's command is kept as a bot's", "issue_comment", comment("created", "Bot", "/apply dev", `,"pull_request":{}`, "")},
		{"a command that an App wrote for a person is a bot's", "issue_comment", comment("created", "User", "/apply dev", "", `,"performed_via_github_app":{"id":1}`)},
		{"no App is null", "issue_comment", comment("created", "User", "/apply dev", "", `,"performed_via_github_app":null`)},
		{"an edited command is ignored", "issue_comment", comment("edited", "User", "/apply dev", "", "")},
		{"a deleted command is ignored", "issue_comment", comment("deleted", "User", "/apply dev", "", "")},
		{"a command on the second line is talk", "issue_comment", comment("created", "User", "hello\n/apply dev", "", "")},
		{"an empty comment is talk", "issue_comment", comment("created", "User", "", "", "")},

		{"a re-run is for each pull request of this repository", "check_run", `{"action":"rerequested","check_run":{"pull_requests":[{"number":3,"base":{"repo":{"id":5}}},{"number":4,"base":{"repo":{"id":5}}},{"number":9,"base":{"repo":{"id":6}}}]},` + head + `}`},
		{"a re-run on a head in a fork is for the commit", "check_run", `{"action":"rerequested","check_run":{"head_sha":"` + sha + `","check_suite":{"head_branch":null},"pull_requests":[]},` + head + `}`},
		{"a re-run for pull requests elsewhere is for the commit", "check_run", `{"action":"rerequested","check_run":{"head_sha":"` + sha + `","pull_requests":[{"number":9,"base":{"repo":{"id":6}}}]},` + head + `}`},
		{"a re-run on no commit is malformed", "check_run", `{"action":"rerequested","check_run":{"head_sha":"--upload-pack=x"},` + head + `}`},
		{"a button is a re-run", "check_run", `{"action":"requested_action","check_run":{"pull_requests":[{"number":3}]},` + head + `}`},
		{"our own check run is ignored", "check_run", `{"action":"created","check_run":{"pull_requests":[{"number":3}]},` + head + `}`},

		{"a merge group waits", "merge_group", `{"action":"checks_requested","merge_group":{"head_sha":"` + sha + `","base_ref":"refs/heads/release/1.0"},` + head + `}`},
		{"a destroyed merge group does not", "merge_group", `{"action":"destroyed","merge_group":{"head_sha":"` + sha + `","base_ref":"refs/heads/main"},` + head + `}`},
		{"a merge group on no commit is malformed", "merge_group", `{"action":"checks_requested","merge_group":{"head_sha":"HEAD","base_ref":"refs/heads/main"},` + head + `}`},

		{"a dispatched run that ended is looked at", "workflow_run", `{"action":"completed","workflow_run":{"id":9,"event":"workflow_dispatch"},` + head + `}`},
		{"a dispatched run that begins is looked at", "workflow_run", `{"action":"in_progress","workflow_run":{"id":9,"event":"workflow_dispatch"},` + head + `}`},
		{"a run with the name of an operation is looked at by that name", "workflow_run", `{"action":"requested","workflow_run":{"id":9,` +
			`"event":"workflow_dispatch","display_title":"switchyard apply prod, operation 5.2 5d1b7a30"},` + head + `}`},
		{"another name of a run is not kept", "workflow_run", `{"action":"requested","workflow_run":{"id":9,"event":"workflow_dispatch",` +
			`"display_title":"deploy\u0000 everything"},` + head + `}`},
		{"a run of the repository's own tests is ignored", "workflow_run", `{"action":"completed","workflow_run":{"id":9,"event":"push"},` + head + `}`},
		{"an unknown action of workflow_run is ignored", "workflow_run", `{"action":"exploded","workflow_run":{"id":9,"event":"workflow_dispatch"},` + head + `}`},
		{"a run without an id is malformed", "workflow_run", `{"action":"completed","workflow_run":{"event":"workflow_dispatch"},` + head + `}`},
		{"a run whose id is a path is malformed", "workflow_run", `{"action":"completed","workflow_run":{"id":"../1","event":"workflow_dispatch"},` + head + `}`},
		{"a job that waits is looked at", "workflow_job", `{"action":"waiting","workflow_job":{"run_id":9},` + head + `}`},
		{"a job that ended is told of its run", "workflow_job", `{"action":"completed","workflow_job":{"run_id":9},` + head + `}`},
		{"a job without a run is malformed", "workflow_job", `{"action":"waiting","workflow_job":{},` + head + `}`},

		{"a job that waits for the gate is answered", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"https://api.github.com/repos/acme/network/actions/runs/9/deployment_protection_rule",` + head + `}`},
		{"the gate of GitHub Enterprise Server is known", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"https://github.example.com/api/v3/repos/acme/network/actions/runs/9/deployment_protection_rule",` + head + `}`},
		{"an unknown action of the gate is ignored", "deployment_protection_rule", `{"action":"exploded","environment":"prod","deployment_callback_url":"https://api.github.com/repos/acme/network/actions/runs/9/deployment_protection_rule",` + head + `}`},
		{"a callback to another repository is malformed", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"https://api.github.com/repos/acme/other/actions/runs/9/deployment_protection_rule",` + head + `}`},
		{"a callback with a path before the repository is malformed", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"https://api.github.com/evil/repos/acme/network/actions/runs/9/deployment_protection_rule",` + head + `}`},
		{"a callback with a query is malformed", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"https://api.github.com/repos/acme/network/actions/runs/9/deployment_protection_rule?x=1",` + head + `}`},
		{"a callback whose run is a path is malformed", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"https://api.github.com/repos/acme/network/actions/runs/../1/deployment_protection_rule",` + head + `}`},
		{"a callback to a file is malformed", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"file:///repos/acme/network/actions/runs/9/deployment_protection_rule",` + head + `}`},
		{"a callback with run 0 is malformed", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"https://api.github.com/repos/acme/network/actions/runs/0/deployment_protection_rule",` + head + `}`},
		{"a callback with a run of forty digits is malformed", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"https://api.github.com/repos/acme/network/actions/runs/9999999999999999999999999999999999999999/deployment_protection_rule",` + head + `}`},
		{"a callback of very many characters is malformed", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":"https://` + strings.Repeat("a", 2000) + `/repos/acme/network/actions/runs/9/deployment_protection_rule",` + head + `}`},
		{"a gate without an environment is malformed", "deployment_protection_rule", `{"action":"requested","environment":"","deployment_callback_url":"https://api.github.com/repos/acme/network/actions/runs/9/deployment_protection_rule",` + head + `}`},
		{"a gate without a callback is malformed", "deployment_protection_rule", `{"action":"requested","environment":"prod","deployment_callback_url":null,` + head + `}`},

		{"an installation without a list is kept", "installation", `{"action":"created","installation":{"id":7}}`},
		{"an installation without an id is malformed", "installation", `{"action":"created"}`},
		{"a suspension keeps what is known", "installation", `{"action":"suspend","installation":{"id":7},"repositories":[{"id":5,"full_name":"acme/network"}]}`},

		{"null is malformed", "push", `null`},
		{"a list is malformed", "push", `[]`},
		{"a ping is answered", "ping", `{"zen":"Keep it logically awesome."}`},
	}
	var got strings.Builder
	for _, c := range cases {
		w := newWorld(t)
		answer := w.serve(hook(c.event, []byte(c.body)))
		fmt.Fprintf(&got, "%s: %d %s%s", c.name, answer.Code, answer.Body, w.inbox.effects())
		if answer.Code >= http.StatusInternalServerError {
			t.Errorf("%s: %d", c.name, answer.Code)
		}
	}
	golden(t, "events.golden", got.String())
}

func review(action, state string, number int) string {
	return fmt.Sprintf(`{"action":%q,"review":{"id":9,"state":%q,"user":{"login":"ben"}},"pull_request":{"number":%d,"state":"closed"},%s}`,
		action, state, number, head)
}

func comment(action, kind, body, issue, app string) string {
	return fmt.Sprintf(`{"action":%q,"issue":{"number":3%s},"comment":{"id":11,"body":%q,"user":{"login":"ana","type":%q}%s},%s}`,
		action, issue, body, kind, app, head)
}
