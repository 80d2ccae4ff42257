package job_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
)

const (
	oneSHA  = "1111111111111111111111111111111111111111"
	twoSHA  = "2222222222222222222222222222222222222222"
	noneSHA = "0000000000000000000000000000000000000000"
)

func TestWhatAnEventAsksOfAJobAlone(t *testing.T) {
	t.Parallel()
	push := `{"ref": "refs/heads/main", "before": "` + twoSHA + `"}`
	dispatch := `{"ref": "refs/heads/main", "inputs": {"comment": "7", "environment": "prod"}}`
	own := `{"action": "opened", "pull_request": {"head": {"repo": {"id": 5}}}}`
	for name, c := range map[string]struct {
		event   job.Event
		want    job.Wish
		says    string // why there is nothing to do
		refused string
	}{
		"a pull request is looked at":  {event: job.Event{Name: "pull_request", Payload: []byte(own)}, want: job.Wish{Look: true}},
		"a merge group is looked at":   {event: job.Event{Name: "merge_group", Payload: []byte(`{}`)}, want: job.Wish{Look: true}},
		"a command is looked at":       {event: job.Event{Name: "issue_comment", Payload: []byte(`{"action": "created", "comment": {"body": "/plan"}}`)}, want: job.Wish{Look: true}},
		"talk is none":                 {event: job.Event{Name: "issue_comment", Payload: []byte(`{"action": "created", "comment": {"body": "I would /plan"}}`)}, says: "slash"},
		"an edited comment is none":    {event: job.Event{Name: "issue_comment", Payload: []byte(`{"action": "edited", "comment": {"body": "/plan"}}`)}, says: "new comment"},
		"a closed pull request":        {event: job.Event{Name: "pull_request", Payload: []byte(`{"action": "closed"}`)}, says: "closed"},
		"a fork":                       {event: job.Event{Name: "pull_request", Payload: []byte(`{"action": "opened", "pull_request": {"head": {"repo": {"id": 6}}}}`)}, says: "fork"},
		"a fork that is gone":          {event: job.Event{Name: "pull_request", Payload: []byte(`{"action": "opened", "pull_request": {"head": {"repo": null}}}`)}, says: "fork"},
		"a job that only applies":      {event: job.Event{Name: "pull_request", Payload: []byte(own), Command: "apply"}, says: "only applies"},
		"a job that only plans":        {event: job.Event{Name: "push", Payload: []byte(push), Command: "plan"}, says: "only plans"},
		"code of strangers with power": {event: job.Event{Name: "pull_request_target", Payload: []byte(own)}, refused: "nobody merged"},
		"a schedule":                   {event: job.Event{Name: "schedule", Payload: []byte(`{}`)}, says: "`schedule` asks for nothing"},
		"a push is applied, and nothing else than it": {
			event: job.Event{Name: "push", Payload: []byte(push), SHA: oneSHA, Actor: "ben"},
			want:  job.Wish{Apply: &job.Apply{Branch: "main", Commit: oneSHA, Before: twoSHA, Actor: "ben"}},
		},
		"a forced push": {
			event: job.Event{Name: "push", Payload: []byte(`{"ref": "refs/heads/main", "before": "` + twoSHA + `", "forced": true}`), SHA: oneSHA},
			want:  job.Wish{Apply: &job.Apply{Branch: "main", Commit: oneSHA, Before: twoSHA, Forced: true}},
		},
		"a tag":                  {event: job.Event{Name: "push", Payload: []byte(`{"ref": "refs/tags/v1"}`)}, says: "tag"},
		"a deleted branch":       {event: job.Event{Name: "push", Payload: []byte(`{"ref": "refs/heads/x", "deleted": true}`)}, says: "deleted"},
		"a branch of the queue":  {event: job.Event{Name: "push", Payload: []byte(`{"ref": "refs/heads/gh-readonly-queue/main/pr-1"}`)}, says: "merge queue"},
		"a push of no commit":    {event: job.Event{Name: "push", Payload: []byte(`{"ref": "refs/heads/main", "before": "main"}`)}, refused: "no commit"},
		"a commit that is none":  {event: job.Event{Name: "push", Payload: []byte(push), Commit: "--upload-pack=x"}, refused: "not the full name of a commit"},
		"a payload that is none": {event: job.Event{Name: "push", Payload: []byte(`[`)}, refused: "read the event"},
		"another command":        {event: job.Event{Name: "push", Payload: []byte(push), Command: "destroy"}, refused: "auto, plan or apply"},
		"a run by hand on a tag": {event: job.Event{Name: "workflow_dispatch", Payload: []byte(`{"ref": "refs/tags/v1"}`)}, refused: "branch of an environment"},
		"a digest that is none":  {event: job.Event{Name: "workflow_dispatch", Payload: []byte(dispatch), SHA: oneSHA, Digest: "`x`"}, refused: "input digest"},
		"a comment that is none": {event: job.Event{Name: "workflow_dispatch", Payload: []byte(`{"ref": "refs/heads/main", "inputs": {"comment": "7x"}}`), SHA: oneSHA}, refused: "comment"},
		"a negative comment":     {event: job.Event{Name: "workflow_dispatch", Payload: []byte(`{"ref": "refs/heads/main", "inputs": {"comment": "-7"}}`), SHA: oneSHA}, refused: "comment"},
		"a plan by hand":         {event: job.Event{Name: "workflow_dispatch", Payload: []byte(dispatch), Command: "plan", Commit: twoSHA}, want: job.Wish{Plan: twoSHA}},
		"a run by hand or by a comment": {
			event: job.Event{Name: "workflow_dispatch", Payload: []byte(dispatch), SHA: oneSHA, Actor: "ben", Digest: "7F3A"},
			want: job.Wish{Apply: &job.Apply{
				Branch: "main", Commit: oneSHA, Before: noneSHA, Actor: "ben", Digest: "7f3a", Comment: 7, Environment: "prod",
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.event.Command == "" {
				c.event.Command = "auto"
			}
			got, err := c.event.Wish(operation.Repository{ID: 5})
			if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Fatalf("it says %v", err)
			}
			if err != nil {
				return
			}
			if (got.Nothing != "") != (c.says != "") || !strings.Contains(got.Nothing, c.says) {
				t.Errorf("it says %q", got.Nothing)
			}
			got.Nothing = ""
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheEventOfAJobIsRead(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(env map[string]string) (job.Event, error) {
		return job.ReadEvent(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	}
	got, err := read(map[string]string{"GITHUB_EVENT_PATH": file, "GITHUB_EVENT_NAME": "push", "INPUT_ENVIRONMENT": "prod"})
	want := job.Event{Name: "push", Payload: []byte("{}"), Command: "auto", Environment: "prod"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := read(map[string]string{"GITHUB_EVENT_PATH": file, "INPUT_CONFIG": "other.yml"}); err == nil ||
		!strings.Contains(err.Error(), "other.yml") {
		t.Errorf("another configuration gives %v", err)
	}
	if _, err := read(map[string]string{"GITHUB_EVENT_PATH": file + "x"}); err == nil {
		t.Error("an event that is not there was read")
	}
}
